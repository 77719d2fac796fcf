/**
 * Tristate numbers: 64 bits of which some are known. A number x is in `{ value, mask }` when x & ~mask === value.
 *
 * Pure functions over unsigned 64-bit bigints; `value & mask` is always 0. Answers to kernel/bpf/tnum.c.
 */
export interface Tnum {
  readonly value: bigint;
  /** Bits that are not known. */
  readonly mask: bigint;
}

export const U64_MAX = 0xffff_ffff_ffff_ffffn;
const U32_MASK = 0xffff_ffffn;

const wrap = (x: bigint): bigint => BigInt.asUintN(64, x);
const tnum = (value: bigint, mask: bigint): Tnum => ({ value, mask });

export const TNUM_UNKNOWN: Tnum = tnum(0n, U64_MAX);

/** Every number from `min` to `max` (unsigned): the bits above the highest that differs are known. */
export function tnumRange(min: bigint, max: bigint): Tnum {
  const differing = min ^ max;
  if (differing === 0n) return tnum(min, 0n);
  if (differing >> 63n !== 0n) return TNUM_UNKNOWN;
  const delta = (1n << bitLength(differing)) - 1n;
  return tnum(min & ~delta, delta);
}

/** Position of the highest bit that is set, counted from 1. */
function bitLength(x: bigint): bigint {
  const high = Number(x >> 32n);
  return BigInt(high === 0 ? 32 - Math.clz32(Number(x & U32_MASK)) : 64 - Math.clz32(high));
}

export function tnumAdd(a: Tnum, b: Tnum): Tnum {
  const sumOfMasks = a.mask + b.mask;
  const sumOfValues = a.value + b.value;
  const mask = wrap((sumOfMasks + sumOfValues) ^ sumOfValues) | a.mask | b.mask;
  return tnum(wrap(sumOfValues) & ~mask & U64_MAX, mask);
}

export function tnumSub(a: Tnum, b: Tnum): Tnum {
  const difference = wrap(a.value - b.value);
  const highest = wrap(difference + a.mask);
  const lowest = wrap(difference - b.mask);
  const mask = (highest ^ lowest) | a.mask | b.mask;
  return tnum(difference & ~mask & U64_MAX, mask);
}

export const tnumNegate = (a: Tnum): Tnum => tnumSub(tnum(0n, 0n), a);

export function tnumAnd(a: Tnum, b: Tnum): Tnum {
  const possible = (a.value | a.mask) & (b.value | b.mask);
  const value = a.value & b.value;
  return tnum(value, possible & ~value);
}

export function tnumOr(a: Tnum, b: Tnum): Tnum {
  const value = a.value | b.value;
  return tnum(value, (a.mask | b.mask) & ~value);
}

export function tnumXor(a: Tnum, b: Tnum): Tnum {
  const mask = a.mask | b.mask;
  return tnum((a.value ^ b.value) & ~mask, mask);
}

/** Long multiplication; an unknown bit of `a` joins the sums with and without `b`. */
export function tnumMul(a: Tnum, b: Tnum): Tnum {
  if (a.mask === 0n && b.mask === 0n) return tnum(wrap(a.value * b.value), 0n);
  let sum = tnum(0n, 0n);
  let { value, mask } = a;
  let shifted = b;
  while (value !== 0n || mask !== 0n) {
    if ((value & 1n) !== 0n) sum = tnumAdd(sum, shifted);
    else if ((mask & 1n) !== 0n) sum = tnumUnion(sum, tnumAdd(sum, shifted));
    value >>= 1n;
    mask >>= 1n;
    shifted = tnumShiftLeft(shifted, 1);
  }
  return sum;
}

/** Numbers that are in `a` or in `b`, and some more. */
export function tnumUnion(a: Tnum, b: Tnum): Tnum {
  const mask = (a.value ^ b.value) | a.mask | b.mask;
  return tnum(a.value & b.value & ~mask, mask);
}

export const tnumShiftLeft = (a: Tnum, by: number): Tnum =>
  tnum(wrap(a.value << BigInt(by)), wrap(a.mask << BigInt(by)));

export const tnumShiftRight = (a: Tnum, by: number): Tnum =>
  tnum(a.value >> BigInt(by), a.mask >> BigInt(by));

/** An arithmetic shift of the low `bits` bits; an unknown sign gives unknown bits. */
export function tnumShiftRightSigned(a: Tnum, by: number, bits: 32 | 64): Tnum {
  const shift = (x: bigint): bigint => BigInt.asUintN(bits, BigInt.asIntN(bits, x) >> BigInt(by));
  return tnum(shift(a.value), shift(a.mask));
}

/** Numbers that are in both; meaningless when there are none. */
export function tnumIntersect(a: Tnum, b: Tnum): Tnum {
  const mask = a.mask & b.mask;
  return tnum((a.value | b.value) & ~mask, mask);
}

/** Whether every number of `b` is in `a`. */
export function tnumContains(a: Tnum, b: Tnum): boolean {
  if ((b.mask & ~a.mask) !== 0n) return false;
  return a.value === (b.value & ~a.mask);
}

/** The low `bytes` bytes in the opposite order, zero extended. */
export function tnumSwapBytes(a: Tnum, bytes: number): Tnum {
  const swap = (x: bigint): bigint => {
    let swapped = 0n;
    for (let i = 0; i < bytes; i++) swapped = (swapped << 8n) | ((x >> BigInt(8 * i)) & 0xffn);
    return swapped;
  };
  return tnum(swap(a.value), swap(a.mask));
}

export const tnumLow32 = (a: Tnum): Tnum => tnum(a.value & U32_MASK, a.mask & U32_MASK);
export const tnumClearLow32 = (a: Tnum): Tnum => tnum((a.value >> 32n) << 32n, (a.mask >> 32n) << 32n);
/** `low` replaces the low 32 bits of `a`. */
export const tnumWithLow32 = (a: Tnum, low: Tnum): Tnum => tnumOr(tnumClearLow32(a), tnumLow32(low));

/** Whether every number of `a` is a multiple of `size`, a power of two. */
export const tnumIsAligned = (a: Tnum, size: number): boolean =>
  ((a.value | a.mask) & BigInt(size - 1)) === 0n;
