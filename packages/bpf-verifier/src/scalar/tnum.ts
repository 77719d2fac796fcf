/**
 * Tristate numbers: 64 bits of which some are known. A number x is in `{ value, mask }` when x & ~mask === value.
 *
 * The rare operations, as pure functions over unsigned 64-bit bigints; `value & mask` is always 0. What every instruction needs
 * works on words in `scalar.ts` and `transfer.ts`. Answers to kernel/bpf/tnum.c.
 */
export interface Tnum {
  readonly value: bigint;
  /** Bits that are not known. */
  readonly mask: bigint;
}

export const U64_MAX = 0xffff_ffff_ffff_ffffn;
const U32_MASK = 0xffff_ffffn;

const tnum = (value: bigint, mask: bigint): Tnum => ({ value, mask });

const TNUM_UNKNOWN: Tnum = tnum(0n, U64_MAX);

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

/** The low `bytes` bytes in the opposite order, zero extended. */
export function tnumSwapBytes(a: Tnum, bytes: number): Tnum {
  const swap = (x: bigint): bigint => {
    let swapped = 0n;
    for (let i = 0; i < bytes; i++) swapped = (swapped << 8n) | ((x >> BigInt(8 * i)) & 0xffn);
    return swapped;
  };
  return tnum(swap(a.value), swap(a.mask));
}
