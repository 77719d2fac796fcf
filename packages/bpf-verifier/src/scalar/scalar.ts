/**
 * What is known of a 64-bit number: bits (tnum) and bounds, as unsigned and signed number of 64 and of 32 bits.
 *
 * `Scalar` is immutable and shared freely between states. `ScalarDraft` is what the operations work on: it has the same fields,
 * writable; `sync` lets each view learn from the others, `freeze` makes the `Scalar`. Numbers of 64 bits are pairs of signed
 * 32-bit words (as bigints, which cost an allocation each, they took a third of the time of a verification); the getters give
 * bigints to those who do not count. Answers to reg_bounds_sync() and what it calls in kernel/bpf/verifier.c.
 */
import { U64_MAX } from "./tnum.ts";
import type { Tnum } from "./tnum.ts";
import {
  add,
  below,
  highOf,
  larger32,
  less,
  lowOf,
  onesBelow,
  out,
  signed,
  smaller32,
  subtract,
  unsigned,
} from "./words.ts";

export const S64_MIN = -0x8000_0000_0000_0000n;
export const S64_MAX = 0x7fff_ffff_ffff_ffffn;
export const S32_MIN = -0x8000_0000;
export const S32_MAX = 0x7fff_ffff;
export const U32_MAX = 0xffff_ffff;
export { U64_MAX };

/** The numbers of a scalar as others see them. */
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

/** As words: all are signed 32-bit integers, also where they stand for unsigned numbers. */
interface Words {
  readonly valueHigh: number;
  readonly valueLow: number;
  readonly maskHigh: number;
  readonly maskLow: number;
  readonly uminHigh: number;
  readonly uminLow: number;
  readonly umaxHigh: number;
  readonly umaxLow: number;
  readonly sminHigh: number;
  readonly sminLow: number;
  readonly smaxHigh: number;
  readonly smaxLow: number;
  readonly umin32: number;
  readonly umax32: number;
  readonly s32min: number;
  readonly s32max: number;
}

export class Scalar implements Words, Bounds {
  readonly valueHigh: number;
  readonly valueLow: number;
  readonly maskHigh: number;
  readonly maskLow: number;
  readonly uminHigh: number;
  readonly uminLow: number;
  readonly umaxHigh: number;
  readonly umaxLow: number;
  readonly sminHigh: number;
  readonly sminLow: number;
  readonly smaxHigh: number;
  readonly smaxLow: number;
  readonly umin32: number;
  readonly umax32: number;
  readonly s32min: number;
  readonly s32max: number;

  constructor(from: Words) {
    this.valueHigh = from.valueHigh;
    this.valueLow = from.valueLow;
    this.maskHigh = from.maskHigh;
    this.maskLow = from.maskLow;
    this.uminHigh = from.uminHigh;
    this.uminLow = from.uminLow;
    this.umaxHigh = from.umaxHigh;
    this.umaxLow = from.umaxLow;
    this.sminHigh = from.sminHigh;
    this.sminLow = from.sminLow;
    this.smaxHigh = from.smaxHigh;
    this.smaxLow = from.smaxLow;
    this.umin32 = from.umin32;
    this.umax32 = from.umax32;
    this.s32min = from.s32min;
    this.s32max = from.s32max;
  }

  get tnum(): Tnum {
    return { value: unsigned(this.valueHigh, this.valueLow), mask: unsigned(this.maskHigh, this.maskLow) };
  }
  get umin(): bigint {
    return unsigned(this.uminHigh, this.uminLow);
  }
  get umax(): bigint {
    return unsigned(this.umaxHigh, this.umaxLow);
  }
  get smin(): bigint {
    return signed(this.sminHigh, this.sminLow);
  }
  get smax(): bigint {
    return signed(this.smaxHigh, this.smaxLow);
  }
  get u32min(): number {
    return this.umin32 >>> 0;
  }
  get u32max(): number {
    return this.umax32 >>> 0;
  }

  get isConst(): boolean {
    return (this.maskHigh | this.maskLow) === 0;
  }

  get isZero(): boolean {
    return (this.maskHigh | this.maskLow | this.valueHigh | this.valueLow) === 0;
  }

  /** Whether the low 32 bits are known. */
  get isConst32(): boolean {
    return this.maskLow === 0;
  }

  /** The constant as a signed number; only for one that `isConst`. */
  get constant(): bigint {
    return signed(this.valueHigh, this.valueLow);
  }

  /** The constant as a signed number, exact where it has at most 53 bits; only for one that `isConst`. */
  get constantNumber(): number {
    return this.valueHigh * 0x1_0000_0000 + (this.valueLow >>> 0);
  }

  /** The signed bounds, exact where they have at most 53 bits. */
  get sminNumber(): number {
    return this.sminHigh * 0x1_0000_0000 + (this.sminLow >>> 0);
  }
  get smaxNumber(): number {
    return this.smaxHigh * 0x1_0000_0000 + (this.smaxLow >>> 0);
  }

  get umaxNumber(): number {
    return (this.umaxHigh >>> 0) * 0x1_0000_0000 + (this.umaxLow >>> 0);
  }

  /** Whether the 64-bit bounds leave any number. */
  get isPossible(): boolean {
    return (
      !below(this.umaxHigh, this.umaxLow, this.uminHigh, this.uminLow) &&
      !less(this.smaxHigh, this.smaxLow, this.sminHigh, this.sminLow)
    );
  }

  /** Bits that the number has at most. */
  get width(): number {
    return this.umaxHigh === 0 ? 32 - Math.clz32(this.umaxLow) : 64 - Math.clz32(this.umaxHigh);
  }

  /** Whether every number, moved by `off`, is a multiple of `size`, a power of two up to 8. */
  isAlignedAt(off: number, size: number): boolean {
    return (((this.valueLow + off) | this.maskLow) & (size - 1)) === 0;
  }

  equals(other: Scalar): boolean {
    return (
      this === other ||
      (this.valueLow === other.valueLow &&
        this.valueHigh === other.valueHigh &&
        this.maskLow === other.maskLow &&
        this.maskHigh === other.maskHigh &&
        this.uminLow === other.uminLow &&
        this.uminHigh === other.uminHigh &&
        this.umaxLow === other.umaxLow &&
        this.umaxHigh === other.umaxHigh &&
        this.sminLow === other.sminLow &&
        this.sminHigh === other.sminHigh &&
        this.smaxLow === other.smaxLow &&
        this.smaxHigh === other.smaxHigh &&
        this.umin32 === other.umin32 &&
        this.umax32 === other.umax32 &&
        this.s32min === other.s32min &&
        this.s32max === other.s32max)
    );
  }

  /** Whether every view of `other` lies inside this one's. */
  contains(other: Scalar): boolean {
    if (this === other) return true;
    if (((other.maskLow & ~this.maskLow) | (other.maskHigh & ~this.maskHigh)) !== 0) return false;
    return (
      this.valueLow === (other.valueLow & ~this.maskLow) &&
      this.valueHigh === (other.valueHigh & ~this.maskHigh) &&
      !below(other.uminHigh, other.uminLow, this.uminHigh, this.uminLow) &&
      !below(this.umaxHigh, this.umaxLow, other.umaxHigh, other.umaxLow) &&
      !less(other.sminHigh, other.sminLow, this.sminHigh, this.sminLow) &&
      !less(this.smaxHigh, this.smaxLow, other.smaxHigh, other.smaxLow) &&
      this.umin32 >>> 0 <= other.umin32 >>> 0 &&
      this.umax32 >>> 0 >= other.umax32 >>> 0 &&
      this.s32min <= other.s32min &&
      this.s32max >= other.s32max
    );
  }
}

/** Whether every view knows the number. */
export const isSettled = (of: Words): boolean =>
  (of.maskHigh | of.maskLow) === 0 &&
  of.uminLow === of.valueLow &&
  of.umaxLow === of.valueLow &&
  of.sminLow === of.valueLow &&
  of.smaxLow === of.valueLow &&
  of.umin32 === of.valueLow &&
  of.umax32 === of.valueLow &&
  of.s32min === of.valueLow &&
  of.s32max === of.valueLow &&
  of.uminHigh === of.valueHigh &&
  of.umaxHigh === of.valueHigh &&
  of.sminHigh === of.valueHigh &&
  of.smaxHigh === of.valueHigh;

/** The number of two words. */
export function scalarOfWords(high: number, low: number): Scalar {
  return new Scalar({
    valueHigh: high,
    valueLow: low,
    maskHigh: 0,
    maskLow: 0,
    uminHigh: high,
    uminLow: low,
    umaxHigh: high,
    umaxLow: low,
    sminHigh: high,
    sminLow: low,
    smaxHigh: high,
    smaxLow: low,
    umin32: low,
    umax32: low,
    s32min: low,
    s32max: low,
  });
}

/** The number `value`, given modulo 2^64. */
export const scalarConst = (value: bigint): Scalar => scalarOfWords(highOf(value), lowOf(value));

export const SCALAR_UNKNOWN = new Scalar({
  valueHigh: 0,
  valueLow: 0,
  maskHigh: -1,
  maskLow: -1,
  uminHigh: 0,
  uminLow: 0,
  umaxHigh: -1,
  umaxLow: -1,
  sminHigh: S32_MIN,
  sminLow: 0,
  smaxHigh: S32_MAX,
  smaxLow: -1,
  umin32: 0,
  umax32: -1,
  s32min: S32_MIN,
  s32max: S32_MAX,
});

export const SCALAR_ZERO = scalarConst(0n);

export class ScalarDraft implements Words {
  valueHigh: number;
  valueLow: number;
  maskHigh: number;
  maskLow: number;
  uminHigh: number;
  uminLow: number;
  umaxHigh: number;
  umaxLow: number;
  sminHigh: number;
  sminLow: number;
  smaxHigh: number;
  smaxLow: number;
  umin32: number;
  umax32: number;
  s32min: number;
  s32max: number;

  constructor(from: Words) {
    this.valueHigh = from.valueHigh;
    this.valueLow = from.valueLow;
    this.maskHigh = from.maskHigh;
    this.maskLow = from.maskLow;
    this.uminHigh = from.uminHigh;
    this.uminLow = from.uminLow;
    this.umaxHigh = from.umaxHigh;
    this.umaxLow = from.umaxLow;
    this.sminHigh = from.sminHigh;
    this.sminLow = from.sminLow;
    this.smaxHigh = from.smaxHigh;
    this.smaxLow = from.smaxLow;
    this.umin32 = from.umin32;
    this.umax32 = from.umax32;
    this.s32min = from.s32min;
    this.s32max = from.s32max;
  }

  freeze(): Scalar {
    return new Scalar(this);
  }

  setTnum({ value, mask }: Tnum): void {
    this.valueHigh = highOf(value);
    this.valueLow = lowOf(value);
    this.maskHigh = highOf(mask);
    this.maskLow = lowOf(mask);
  }
  /** The signed bounds one by one. */
  set smin(value: bigint) {
    this.sminHigh = highOf(value);
    this.sminLow = lowOf(value);
  }
  set smax(value: bigint) {
    this.smaxHigh = highOf(value);
    this.smaxLow = lowOf(value);
  }
  setUnsigned(min: bigint, max: bigint): void {
    this.uminHigh = highOf(min);
    this.uminLow = lowOf(min);
    this.umaxHigh = highOf(max);
    this.umaxLow = lowOf(max);
  }
  setSigned(min: bigint, max: bigint): void {
    this.smin = min;
    this.smax = max;
  }

  unbound64(): void {
    this.unboundUnsigned64();
    this.unboundSigned64();
  }
  unboundUnsigned64(): void {
    this.uminHigh = 0;
    this.uminLow = 0;
    this.umaxHigh = -1;
    this.umaxLow = -1;
  }
  unboundSigned64(): void {
    this.sminHigh = S32_MIN;
    this.sminLow = 0;
    this.smaxHigh = S32_MAX;
    this.smaxLow = -1;
  }
  unbound32(): void {
    this.unboundUnsigned32();
    this.unboundSigned32();
  }
  unboundUnsigned32(): void {
    this.umin32 = 0;
    this.umax32 = -1;
  }
  unboundSigned32(): void {
    this.s32min = S32_MIN;
    this.s32max = S32_MAX;
  }

  /** The low 32 bits are exactly `value`; the rest stays. */
  know32(value: number): void {
    const word = value | 0;
    this.valueLow = word;
    this.maskLow = 0;
    this.umin32 = word;
    this.umax32 = word;
    this.s32min = word;
    this.s32max = word;
  }

  /** Every view learns what the others know. */
  sync(): this {
    if (isSettled(this)) return this;
    this.learnFromBits();
    for (let round = 0; round < 3 && this.deduce(); round++);
    this.learnBits();
    this.learnFromBits();
    return this;
  }

  /** Bounds from known bits. Linux: __update_reg_bounds() */
  learnFromBits(): void {
    this.learn32FromBits();
    const { valueHigh, valueLow, maskHigh, maskLow } = this;
    const allHigh = valueHigh | maskHigh;
    const allLow = valueLow | maskLow;
    this.raiseSmin(valueHigh | (maskHigh & S32_MIN), valueLow);
    this.lowerSmax(valueHigh | (maskHigh & S32_MAX), allLow);
    this.raiseUmin(valueHigh, valueLow);
    this.lowerUmax(allHigh, allLow);
    this.learnOnlyMember(allHigh, allLow);
  }

  /** The only number between the unsigned bounds that the known bits allow. `allHigh` and `allLow` are the largest they allow. */
  private learnOnlyMember(allHigh: number, allLow: number): void {
    const { uminHigh, uminLow, umaxHigh, umaxLow } = this;
    const isMinAllowed =
      (uminHigh & ~this.maskHigh) === this.valueHigh && (uminLow & ~this.maskLow) === this.valueLow;
    this.nextMember(uminHigh, uminLow);
    const { high, low } = out;
    const isPastMax = below(umaxHigh, umaxLow, high, low);
    if (isMinAllowed) {
      if (isPastMax) this.know64(uminHigh, uminLow);
    } else if (high === allHigh && low === allLow) this.know64(high, low);
    else if (!isPastMax) {
      this.nextMember(high, low);
      if (below(umaxHigh, umaxLow, out.high, out.low)) this.know64(high, low);
    }
  }

  /** The smallest number above a pair that the known bits allow, or the largest of all. Linux: tnum_step() */
  private nextMember(high: number, low: number): void {
    const { valueHigh, valueLow, maskHigh, maskLow } = this;
    if (!below(high, low, valueHigh | maskHigh, valueLow | maskLow)) {
      out.high = valueHigh | maskHigh;
      out.low = valueLow | maskLow;
      return;
    }
    if (below(high, low, valueHigh, valueLow)) {
      out.high = valueHigh;
      out.low = valueLow;
      return;
    }
    subtract(high, low, valueHigh, valueLow);
    // What is above a known bit that differs starts anew; a carry runs through all known bits.
    const fixedHigh = out.high & ~maskHigh;
    const fixedLow = out.low & ~maskLow;
    const filledHigh = out.high | ~maskHigh | onesBelow(fixedHigh);
    const filledLow = out.low | ~maskLow | (fixedHigh === 0 ? onesBelow(fixedLow) : -1);
    add(filledHigh, filledLow, 0, 1);
    out.high = valueHigh | (out.high & maskHigh);
    out.low = valueLow | (out.low & maskLow);
  }

  /** The number is exactly this pair. */
  private know64(high: number, low: number): void {
    this.valueHigh = this.uminHigh = this.umaxHigh = this.sminHigh = this.smaxHigh = high;
    this.uminLow = this.umaxLow = this.sminLow = this.smaxLow = low;
    this.maskHigh = 0;
    this.know32(low);
  }

  learn32FromBits(): void {
    const { valueLow: value, maskLow: mask } = this;
    this.s32min = Math.max(this.s32min, value | (mask & S32_MIN));
    this.s32max = Math.min(this.s32max, value | (mask & S32_MAX));
    this.umin32 = larger32(this.umin32, value);
    this.umax32 = smaller32(this.umax32, value | mask);
  }

  raiseUmin(high: number, low: number): void {
    if (!below(this.uminHigh, this.uminLow, high, low)) return;
    this.uminHigh = high;
    this.uminLow = low;
  }
  lowerUmax(high: number, low: number): void {
    if (!below(high, low, this.umaxHigh, this.umaxLow)) return;
    this.umaxHigh = high;
    this.umaxLow = low;
  }
  raiseSmin(high: number, low: number): void {
    if (!less(this.sminHigh, this.sminLow, high, low)) return;
    this.sminHigh = high;
    this.sminLow = low;
  }
  lowerSmax(high: number, low: number): void {
    if (!less(high, low, this.smaxHigh, this.smaxLow)) return;
    this.smaxHigh = high;
    this.smaxLow = low;
  }

  /** Whether any bound has changed: where none has, none will. */
  private deduce(): boolean {
    const { uminHigh, uminLow, umaxHigh, umaxLow, sminHigh, sminLow, smaxHigh, smaxLow } = this;
    const { umin32, umax32, s32min, s32max } = this;
    this.deduce32();
    this.deduce64();
    this.deduceMixed();
    return (
      uminLow !== this.uminLow ||
      umaxLow !== this.umaxLow ||
      sminLow !== this.sminLow ||
      smaxLow !== this.smaxLow ||
      umin32 !== this.umin32 ||
      umax32 !== this.umax32 ||
      s32min !== this.s32min ||
      s32max !== this.s32max ||
      uminHigh !== this.uminHigh ||
      umaxHigh !== this.umaxHigh ||
      sminHigh !== this.sminHigh ||
      smaxHigh !== this.smaxHigh
    );
  }

  /** 32-bit bounds from 64-bit ones with equal high halves, and signed from unsigned ones. */
  private deduce32(): void {
    const { uminHigh, uminLow, umaxHigh, umaxLow, sminHigh, sminLow, smaxHigh, smaxLow } = this;
    if (uminHigh === umaxHigh) this.deduce32From(uminLow, umaxLow);
    if (sminHigh === smaxHigh) this.deduce32From(sminLow, smaxLow);
    if (((uminHigh + 1) | 0) === umaxHigh) this.deduce32AcrossZero(uminLow, umaxLow);
    if (((sminHigh + 1) | 0) === smaxHigh) this.deduce32AcrossZero(sminLow, smaxLow);
    if (this.umin32 <= this.umax32) {
      this.s32min = Math.max(this.s32min, this.umin32);
      this.s32max = Math.min(this.s32max, this.umax32);
    }
    if (this.s32min >>> 0 <= this.s32max >>> 0) {
      this.umin32 = larger32(this.s32min, this.umin32);
      this.umax32 = smaller32(this.s32max, this.umax32);
    } else this.deduce32FromWrapped();
  }

  /** The signed range wraps: two pieces of the unsigned line, of which one may be out of the unsigned range. */
  private deduce32FromWrapped(): void {
    const { s32min, s32max } = this;
    if (this.umax32 >>> 0 < s32min >>> 0) {
      this.s32min = this.umin32;
      this.umax32 = smaller32(this.umax32, s32max);
    } else if (s32max >>> 0 < this.umin32 >>> 0) {
      this.s32max = this.umax32;
      this.umin32 = larger32(this.umin32, s32min);
    }
  }

  private deduce32From(low: number, high: number): void {
    if (low >>> 0 <= high >>> 0) {
      this.umin32 = larger32(this.umin32, low);
      this.umax32 = smaller32(this.umax32, high);
    }
    if (low <= high) {
      this.s32min = Math.max(this.s32min, low);
      this.s32max = Math.min(this.s32max, high);
    }
  }

  /** High halves that differ by one: the low half goes from negative to positive once. */
  private deduce32AcrossZero(low: number, high: number): void {
    if (low >= 0 || high < 0) return;
    this.s32min = Math.max(this.s32min, low);
    this.s32max = Math.min(this.s32max, high);
  }

  private deduce64(): void {
    if (!less(this.umaxHigh, this.umaxLow, this.uminHigh, this.uminLow)) {
      this.raiseSmin(this.uminHigh, this.uminLow);
      this.lowerSmax(this.umaxHigh, this.umaxLow);
    }
    const { sminHigh, sminLow, smaxHigh, smaxLow } = this;
    if (!below(smaxHigh, smaxLow, sminHigh, sminLow)) {
      this.raiseUmin(sminHigh, sminLow);
      this.lowerUmax(smaxHigh, smaxLow);
    } else if (below(this.umaxHigh, this.umaxLow, sminHigh, sminLow)) {
      // The signed range wraps: two pieces of the unsigned line, of which one is out of the unsigned range.
      this.sminHigh = this.uminHigh;
      this.sminLow = this.uminLow;
      this.lowerUmax(smaxHigh, smaxLow);
    } else if (below(smaxHigh, smaxLow, this.uminHigh, this.uminLow)) {
      this.smaxHigh = this.umaxHigh;
      this.smaxLow = this.umaxLow;
      this.raiseUmin(sminHigh, sminLow);
    }
  }

  /** 64-bit bounds from 32-bit ones: the low half of each bound cannot be outside of them. */
  private deduceMixed(): void {
    this.uminLow = larger32(this.uminLow, this.umin32);
    this.umaxLow = smaller32(this.umaxLow, this.umax32);
    this.sminLow = larger32(this.sminLow, this.umin32);
    this.smaxLow = smaller32(this.smaxLow, this.umax32);
    const { s32min, s32max } = this;
    if (s32min < 0) return;
    const isAbove = this.sminHigh > -1 || (this.sminHigh === -1 && this.sminLow < 0);
    const isBelow = this.smaxHigh < 0 || (this.smaxHigh === 0 && this.smaxLow >= 0);
    if (!isAbove || !isBelow) return;
    // Sign extended, and the low half is positive: so is the whole.
    this.sminHigh = this.uminHigh = 0;
    this.sminLow = this.uminLow = s32min;
    this.smaxHigh = this.umaxHigh = s32max >> 31;
    this.smaxLow = this.umaxLow = s32max;
    this.learnBits64();
  }

  /** Bits from bounds. Linux: __reg_bound_offset() */
  private learnBits(): void {
    this.learnBits64();
    const changing = this.umin32 ^ this.umax32;
    const delta = changing === 0 ? 0 : -1 >>> Math.clz32(changing);
    const mask = this.maskLow & delta;
    this.valueLow = (this.valueLow | (this.umin32 & ~delta)) & ~mask;
    this.maskLow = mask;
  }

  /** All numbers between the unsigned bounds have the bits above the highest that changes. */
  private learnBits64(): void {
    const { uminHigh, uminLow, umaxHigh, umaxLow } = this;
    const changingHigh = uminHigh ^ umaxHigh;
    const changingLow = uminLow ^ umaxLow;
    const deltaHigh = changingHigh === 0 ? 0 : -1 >>> Math.clz32(changingHigh);
    const deltaLow = changingHigh !== 0 ? -1 : changingLow === 0 ? 0 : -1 >>> Math.clz32(changingLow);
    const maskHigh = this.maskHigh & deltaHigh;
    const maskLow = this.maskLow & deltaLow;
    this.valueHigh = (this.valueHigh | (uminHigh & ~deltaHigh)) & ~maskHigh;
    this.valueLow = (this.valueLow | (uminLow & ~deltaLow)) & ~maskLow;
    this.maskHigh = maskHigh;
    this.maskLow = maskLow;
  }

  /** The high half becomes zero; bounds follow the low half. Linux: zext_32_to_64() */
  zeroExtend32(): void {
    this.valueHigh = 0;
    this.maskHigh = 0;
    this.uminHigh = 0;
    this.uminLow = this.umin32;
    this.umaxHigh = 0;
    this.umaxLow = this.umax32;
    const isPositive = this.s32min >= 0 && this.s32max >= 0;
    this.sminHigh = 0;
    this.sminLow = isPositive ? this.s32min : 0;
    this.smaxHigh = 0;
    this.smaxLow = isPositive ? this.s32max : -1;
  }

  /** Whether some number fits into every view; where none does, the path that led here cannot be taken. */
  get isSane(): boolean {
    return (
      !below(this.umaxHigh, this.umaxLow, this.uminHigh, this.uminLow) &&
      !less(this.smaxHigh, this.smaxLow, this.sminHigh, this.sminLow) &&
      this.umin32 >>> 0 <= this.umax32 >>> 0 &&
      this.s32min <= this.s32max
    );
  }
}
