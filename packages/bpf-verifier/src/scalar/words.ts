/**
 * 64-bit arithmetic on pairs of signed 32-bit words, as the scalars hold them: small integers, which cost no allocation.
 *
 * A pair is passed as (high, low). Comparisons are functions; results of two words are left in `out`, which the next call overwrites.
 */

/** What the last operation gave. */
export const out = { high: 0, low: 0 };

/** a < b, as unsigned numbers of 32 bits. */
export const below32 = (a: number, b: number): boolean => a >>> 0 < b >>> 0;
export const smaller32 = (a: number, b: number): number => (a >>> 0 < b >>> 0 ? a : b);
export const larger32 = (a: number, b: number): number => (a >>> 0 > b >>> 0 ? a : b);

/** All bits up to the highest that is set. */
export const onesBelow = (word: number): number => (word === 0 ? 0 : (0xffff_ffff >>> Math.clz32(word)) | 0);

/** a < b, unsigned. */
export const below = (aHigh: number, aLow: number, bHigh: number, bLow: number): boolean =>
  aHigh === bHigh ? aLow >>> 0 < bLow >>> 0 : aHigh >>> 0 < bHigh >>> 0;

/** a < b, signed. */
export const less = (aHigh: number, aLow: number, bHigh: number, bLow: number): boolean =>
  aHigh === bHigh ? aLow >>> 0 < bLow >>> 0 : aHigh < bHigh;

/** a + b. */
export function add(aHigh: number, aLow: number, bHigh: number, bLow: number): void {
  const low = (aLow + bLow) | 0;
  out.high = (aHigh + bHigh + (low >>> 0 < aLow >>> 0 ? 1 : 0)) | 0;
  out.low = low;
}

/** a - b. */
export function subtract(aHigh: number, aLow: number, bHigh: number, bLow: number): void {
  out.high = (aHigh - bHigh - (aLow >>> 0 < bLow >>> 0 ? 1 : 0)) | 0;
  out.low = (aLow - bLow) | 0;
}

/** A shift left by 0 to 63. */
export function shiftLeft(high: number, low: number, by: number): void {
  if (by >= 32) {
    out.high = low << (by - 32);
    out.low = 0;
  } else if (by > 0) {
    out.high = (high << by) | (low >>> (32 - by));
    out.low = low << by;
  } else {
    out.high = high;
    out.low = low;
  }
}

/** A shift right by 0 to 63 that brings in zeros, or the sign. */
export function shiftRight(high: number, low: number, by: number, isSigned: boolean): void {
  const sign = isSigned ? high >> 31 : 0;
  if (by >= 32) {
    out.low = by === 32 ? high : isSigned ? high >> (by - 32) : (high >>> (by - 32)) | 0;
    out.high = sign;
  } else if (by > 0) {
    out.low = (low >>> by) | (high << (32 - by));
    out.high = isSigned ? high >> by : (high >>> by) | 0;
  } else {
    out.high = high;
    out.low = low;
  }
}

/** The unsigned number. */
export const unsigned = (high: number, low: number): bigint =>
  (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0);
/** The signed number. */
export const signed = (high: number, low: number): bigint => (BigInt(high) << 32n) | BigInt(low >>> 0);
export const highOf = (value: bigint): number => Number(BigInt.asIntN(32, value >> 32n));
export const lowOf = (value: bigint): number => Number(BigInt.asIntN(32, value));
