/**
 * What is known of a 64-bit number: bits (tnum) and bounds, as unsigned and signed number of 64 and of 32 bits.
 *
 * `Scalar` is immutable and shared freely between states. `ScalarDraft` is what the operations work on: it has the same fields,
 * writable; `sync` lets each view learn from the others, `freeze` makes the `Scalar`. Bounds of 32 bits are JavaScript
 * numbers, of 64 bits bigints. Answers to reg_bounds_sync() and what it calls in kernel/bpf/verifier.c.
 */
import {
  U64_MAX,
  tnumClearLow32,
  tnumIntersect,
  tnumLow32,
  tnumOr,
  tnumRange,
  TNUM_UNKNOWN,
} from "./tnum.ts";
import type { Tnum } from "./tnum.ts";

export const S64_MIN = -0x8000_0000_0000_0000n;
export const S64_MAX = 0x7fff_ffff_ffff_ffffn;
export const S32_MIN = -0x8000_0000;
export const S32_MAX = 0x7fff_ffff;
export const U32_MAX = 0xffff_ffff;
export { U64_MAX };

export interface Bounds {
  readonly tnum: Tnum;
  readonly umin: bigint;
  readonly umax: bigint;
  readonly smin: bigint;
  readonly smax: bigint;
  readonly u32min: number;
  readonly u32max: number;
  readonly s32min: number;
  readonly s32max: number;
}

export class Scalar implements Bounds {
  readonly tnum: Tnum;
  readonly umin: bigint;
  readonly umax: bigint;
  readonly smin: bigint;
  readonly smax: bigint;
  readonly u32min: number;
  readonly u32max: number;
  readonly s32min: number;
  readonly s32max: number;

  constructor(from: Bounds) {
    this.tnum = from.tnum;
    this.umin = from.umin;
    this.umax = from.umax;
    this.smin = from.smin;
    this.smax = from.smax;
    this.u32min = from.u32min;
    this.u32max = from.u32max;
    this.s32min = from.s32min;
    this.s32max = from.s32max;
  }

  get isConst(): boolean {
    return this.tnum.mask === 0n;
  }

  /** Whether the low 32 bits are known. */
  get isConst32(): boolean {
    return (this.tnum.mask & 0xffff_ffffn) === 0n;
  }

  /** The constant as a signed number; only for one that `isConst`. */
  get constant(): bigint {
    return BigInt.asIntN(64, this.tnum.value);
  }
}

/** The number `value`, given modulo 2^64. */
export function scalarConst(value: bigint): Scalar {
  const unsigned = BigInt.asUintN(64, value);
  const signed = BigInt.asIntN(64, value);
  const low = Number(BigInt.asIntN(32, value));
  return new Scalar({
    tnum: { value: unsigned, mask: 0n },
    umin: unsigned,
    umax: unsigned,
    smin: signed,
    smax: signed,
    u32min: low >>> 0,
    u32max: low >>> 0,
    s32min: low,
    s32max: low,
  });
}

export const SCALAR_UNKNOWN = new Scalar({
  tnum: TNUM_UNKNOWN,
  umin: 0n,
  umax: U64_MAX,
  smin: S64_MIN,
  smax: S64_MAX,
  u32min: 0,
  u32max: U32_MAX,
  s32min: S32_MIN,
  s32max: S32_MAX,
});

export const SCALAR_ZERO = scalarConst(0n);

const signed64 = (x: bigint): bigint => BigInt.asIntN(64, x);
const unsigned64 = (x: bigint): bigint => BigInt.asUintN(64, x);
const low32 = (x: bigint): number => Number(x & 0xffff_ffffn);
const larger = (a: bigint, b: bigint): bigint => (a > b ? a : b);
const smaller = (a: bigint, b: bigint): bigint => (a < b ? a : b);

export class ScalarDraft {
  tnum: Tnum;
  umin: bigint;
  umax: bigint;
  smin: bigint;
  smax: bigint;
  u32min: number;
  u32max: number;
  s32min: number;
  s32max: number;

  constructor(from: Bounds) {
    this.tnum = from.tnum;
    this.umin = from.umin;
    this.umax = from.umax;
    this.smin = from.smin;
    this.smax = from.smax;
    this.u32min = from.u32min;
    this.u32max = from.u32max;
    this.s32min = from.s32min;
    this.s32max = from.s32max;
  }

  freeze(): Scalar {
    return new Scalar(this);
  }

  unbound64(): void {
    this.umin = 0n;
    this.umax = U64_MAX;
    this.unboundSigned64();
  }
  unboundSigned64(): void {
    this.smin = S64_MIN;
    this.smax = S64_MAX;
  }
  unbound32(): void {
    this.u32min = 0;
    this.u32max = U32_MAX;
    this.unboundSigned32();
  }
  unboundSigned32(): void {
    this.s32min = S32_MIN;
    this.s32max = S32_MAX;
  }

  /** The low 32 bits are exactly `value` (unsigned); the rest stays. */
  know32(value: number): void {
    this.tnum = tnumOr(tnumClearLow32(this.tnum), { value: BigInt(value), mask: 0n });
    this.u32min = value;
    this.u32max = value;
    this.s32min = value | 0;
    this.s32max = value | 0;
  }

  /** Every view learns what the others know. */
  sync(): this {
    this.learnFromBits();
    this.deduce();
    this.deduce();
    this.deduce();
    this.learnBits();
    this.learnFromBits();
    return this;
  }

  /** Bounds from known bits. Linux: __update_reg_bounds() */
  learnFromBits(): void {
    this.learn32FromBits();
    const { value, mask } = this.tnum;
    this.smin = larger(this.smin, signed64(value | (mask & (1n << 63n))));
    this.smax = smaller(this.smax, signed64(value | (mask & S64_MAX)));
    this.umin = larger(this.umin, value);
    this.umax = smaller(this.umax, value | mask);
  }

  learn32FromBits(): void {
    const value = low32(this.tnum.value);
    const mask = low32(this.tnum.mask);
    this.s32min = Math.max(this.s32min, value | (mask & S32_MIN));
    this.s32max = Math.min(this.s32max, value | (mask & S32_MAX));
    this.u32min = Math.max(this.u32min, value);
    this.u32max = Math.min(this.u32max, (value | mask) >>> 0);
  }

  private deduce(): void {
    this.deduce32();
    this.deduce64();
    this.deduceMixed();
  }

  /** 32-bit bounds from 64-bit ones with equal high halves, and signed from unsigned ones. */
  private deduce32(): void {
    this.deduce32From(this.umin, this.umax);
    this.deduce32From(unsigned64(this.smin), unsigned64(this.smax));
    this.deduce32AcrossZero(this.umin, this.umax);
    this.deduce32AcrossZero(unsigned64(this.smin), unsigned64(this.smax));
    if ((this.u32min | 0) <= (this.u32max | 0)) {
      this.s32min = Math.max(this.s32min, this.u32min | 0);
      this.s32max = Math.min(this.s32max, this.u32max | 0);
    }
    if (this.s32min >>> 0 <= this.s32max >>> 0) {
      this.u32min = Math.max(this.s32min >>> 0, this.u32min);
      this.u32max = Math.min(this.s32max >>> 0, this.u32max);
    }
  }

  private deduce32From(min: bigint, max: bigint): void {
    if (min >> 32n !== max >> 32n) return;
    const low = low32(min);
    const high = low32(max);
    if (low <= high) {
      this.u32min = Math.max(this.u32min, low);
      this.u32max = Math.min(this.u32max, high);
    }
    if ((low | 0) <= (high | 0)) {
      this.s32min = Math.max(this.s32min, low | 0);
      this.s32max = Math.min(this.s32max, high | 0);
    }
  }

  /** High halves that differ by one: the low half goes from negative to positive once. */
  private deduce32AcrossZero(min: bigint, max: bigint): void {
    if (BigInt.asUintN(32, (min >> 32n) + 1n) !== max >> 32n) return;
    const low = low32(min) | 0;
    const high = low32(max) | 0;
    if (low >= 0 || high < 0) return;
    this.s32min = Math.max(this.s32min, low);
    this.s32max = Math.min(this.s32max, high);
  }

  private deduce64(): void {
    if (signed64(this.umin) <= signed64(this.umax)) {
      this.smin = larger(this.smin, signed64(this.umin));
      this.smax = smaller(this.smax, signed64(this.umax));
    }
    const low = unsigned64(this.smin);
    const high = unsigned64(this.smax);
    if (low <= high) {
      this.umin = larger(low, this.umin);
      this.umax = smaller(high, this.umax);
    } else if (this.umax < low) {
      // The signed range wraps: two pieces of the unsigned line, of which one is out of the unsigned range.
      this.smin = signed64(this.umin);
      this.umax = smaller(this.umax, high);
    } else if (high < this.umin) {
      this.smax = signed64(this.umax);
      this.umin = larger(this.umin, low);
    }
  }

  /** 64-bit bounds from 32-bit ones: the low half of each bound cannot be outside of them. */
  private deduceMixed(): void {
    const lowMin = BigInt(this.u32min);
    const lowMax = BigInt(this.u32max);
    this.umin = larger(this.umin, ((this.umin >> 32n) << 32n) | lowMin);
    this.umax = smaller(this.umax, ((this.umax >> 32n) << 32n) | lowMax);
    this.smin = larger(this.smin, ((this.smin >> 32n) << 32n) | lowMin);
    this.smax = smaller(this.smax, ((this.smax >> 32n) << 32n) | lowMax);
    if (this.s32min < 0 || this.smin < BigInt(S32_MIN) || this.smax > BigInt(S32_MAX)) return;
    // Sign extended, and the low half is positive: so is the whole.
    this.smin = BigInt(this.s32min);
    this.smax = BigInt(this.s32max);
    this.umin = this.smin;
    this.umax = this.smax;
    this.tnum = tnumIntersect(this.tnum, tnumRange(this.umin, this.umax));
  }

  /** Bits from bounds. Linux: __reg_bound_offset() */
  private learnBits(): void {
    const whole = tnumIntersect(this.tnum, tnumRange(this.umin, this.umax));
    const low = tnumIntersect(tnumLow32(whole), tnumRange(BigInt(this.u32min), BigInt(this.u32max)));
    this.tnum = tnumOr(tnumClearLow32(whole), low);
  }

  /** The high half becomes zero; bounds follow the low half. Linux: zext_32_to_64() */
  zeroExtend32(): void {
    this.tnum = tnumLow32(this.tnum);
    this.umin = BigInt(this.u32min);
    this.umax = BigInt(this.u32max);
    const isPositive = this.s32min >= 0 && this.s32max >= 0;
    this.smin = isPositive ? BigInt(this.s32min) : 0n;
    this.smax = isPositive ? BigInt(this.s32max) : BigInt(U32_MAX);
  }

  /** Whether some number fits into every view; where none does, the path that led here cannot be taken. */
  get isSane(): boolean {
    return (
      this.umin <= this.umax &&
      this.smin <= this.smax &&
      this.u32min <= this.u32max &&
      this.s32min <= this.s32max
    );
  }
}

/** The scalar with only its low `bytes` bytes kept, zero extended. Linux: coerce_reg_to_size() */
export function zeroExtend(scalar: Scalar, bytes: number): Scalar {
  if (bytes >= 8) return scalar;
  const draft = new ScalarDraft(scalar);
  const mask = (1n << BigInt(bytes * 8)) - 1n;
  draft.tnum = { value: draft.tnum.value & mask, mask: draft.tnum.mask & mask };
  if ((draft.umin & ~mask) === (draft.umax & ~mask)) {
    draft.umin &= mask;
    draft.umax &= mask;
  } else {
    draft.umin = 0n;
    draft.umax = mask;
  }
  draft.smin = draft.umin;
  draft.smax = draft.umax;
  if (bytes < 4) draft.unbound32();
  return draft.sync().freeze();
}

/** Bounds of `size` bytes, sign extended, of which nothing else is known. */
function signedRange(bytes: number): Scalar {
  const max = (1n << BigInt(bytes * 8 - 1)) - 1n;
  const draft = new ScalarDraft(SCALAR_UNKNOWN);
  draft.smin = -max - 1n;
  draft.smax = max;
  draft.s32min = Number(-max - 1n);
  draft.s32max = Number(max);
  return draft.freeze();
}

/** The low `bytes` bytes, sign extended to 64 bits. Linux: coerce_reg_to_size_sx() */
export function signExtend64(scalar: Scalar, bytes: number): Scalar {
  const bits = bytes * 8;
  if (scalar.isConst) return scalarConst(BigInt.asIntN(bits, scalar.tnum.value));
  const unchanged = scalar.smax >> BigInt(bits) === scalar.smin >> BigInt(bits);
  if (unchanged) {
    const max = BigInt.asIntN(bits, scalar.smax);
    const min = BigInt.asIntN(bits, scalar.smin);
    const low = smaller(min, max);
    const high = larger(min, max);
    if (min >= 0n === max >= 0n) {
      const draft = new ScalarDraft(SCALAR_UNKNOWN);
      draft.smin = low;
      draft.smax = high;
      draft.umin = unsigned64(low);
      draft.umax = unsigned64(high);
      draft.tnum = tnumRange(draft.umin, draft.umax);
      draft.s32min = Number(BigInt.asIntN(32, low));
      draft.s32max = Number(BigInt.asIntN(32, high));
      draft.u32min = draft.s32min >>> 0;
      draft.u32max = draft.s32max >>> 0;
      return draft.freeze();
    }
  }
  return signedRange(bytes);
}

/** The low `bytes` bytes, sign extended to 32 bits; the high half is not looked at. Linux: coerce_subreg_to_size_sx() */
export function signExtend32(scalar: Scalar, bytes: number): ScalarDraft {
  const draft = new ScalarDraft(scalar);
  const bits = bytes * 8;
  const narrow = (x: number): number => (x << (32 - bits)) >> (32 - bits);
  if (scalar.isConst32) {
    draft.know32(narrow(low32(scalar.tnum.value)) >>> 0);
    return draft;
  }
  if (scalar.s32max >> bits === scalar.s32min >> bits) {
    const max = narrow(scalar.s32max);
    const min = narrow(scalar.s32min);
    if (min >= 0 === max >= 0) {
      draft.s32min = Math.min(min, max);
      draft.s32max = Math.max(min, max);
      draft.u32min = draft.s32min >>> 0;
      draft.u32max = draft.s32max >>> 0;
      draft.tnum = tnumLow32(tnumRange(BigInt(draft.u32min), BigInt(draft.u32max)));
      return draft;
    }
  }
  const range = 2 ** (bits - 1);
  draft.s32min = -range;
  draft.s32max = range - 1;
  draft.u32min = 0;
  draft.u32max = U32_MAX;
  draft.tnum = tnumLow32(TNUM_UNKNOWN);
  return draft;
}
