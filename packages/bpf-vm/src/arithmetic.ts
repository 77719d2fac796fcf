/**
 * 64-bit arithmetic on register files of 32-bit words, without `bigint` (six times slower by measurement).
 *
 * A register is two words of an Int32Array: low at an even index, high after it. Functions read the registers at `d` and `s`
 * and write the one at `d`; semantics are RFC 9669 section 4.1. Nothing here allocates or keeps state.
 */

const TWO_32 = 0x1_0000_0000;
/** Below this a remainder times 2^32 plus a low word is exact in a double. */
export const SMALL_DIVISOR = 0x20_0000;

/** d = d / s, unsigned; 0 where s is 0. */
export function divide(regs: Int32Array, d: number, s: number): void {
  const by = regs[s]!;
  if (regs[s + 1] === 0 && by > 0 && by < SMALL_DIVISOR) {
    divideBySmall(regs, d, by, false);
    return;
  }
  divideUnsigned(regs, d, regs[d]!, regs[d + 1]!, regs[s]!, regs[s + 1]!, false);
}

/** d = d % s, unsigned; unchanged where s is 0. */
export function modulo(regs: Int32Array, d: number, s: number): void {
  const by = regs[s]!;
  if (regs[s + 1] === 0 && by > 0 && by < SMALL_DIVISOR) {
    divideBySmall(regs, d, by, true);
    return;
  }
  divideUnsigned(regs, d, regs[d]!, regs[d + 1]!, regs[s]!, regs[s + 1]!, true);
}

/** d = d s/ s or d s% s, truncating; the smallest number divided by -1 is itself. */
export function divideSigned(regs: Int32Array, d: number, s: number, isModulo: boolean): void {
  const aLow = regs[d]!;
  const aHigh = regs[d + 1]!;
  const bLow = regs[s]!;
  const bHigh = regs[s + 1]!;
  const isNegative = aHigh < 0 !== (!isModulo && bHigh < 0);
  const a = aHigh < 0;
  const b = bHigh < 0;
  divideUnsigned(
    regs,
    d,
    a ? -aLow | 0 : aLow,
    a ? negatedHigh(aLow, aHigh) : aHigh,
    b ? -bLow | 0 : bLow,
    b ? negatedHigh(bLow, bHigh) : bHigh,
    isModulo,
  );
  if (isNegative) negate(regs, d);
}

/** d = -d */
function negate(regs: Int32Array, d: number): void {
  const low = regs[d]!;
  regs[d + 1] = negatedHigh(low, regs[d + 1]!);
  regs[d] = -low;
}

const negatedHigh = (low: number, high: number): number => (~high + (low === 0 ? 1 : 0)) | 0;

function divideUnsigned(
  regs: Int32Array,
  d: number,
  aLow: number,
  aHigh: number,
  bLow: number,
  bHigh: number,
  isModulo: boolean,
): void {
  if (bHigh === 0) {
    const b = bLow >>> 0;
    if (b === 0) return put(regs, d, isModulo ? aLow : 0, isModulo ? aHigh : 0);
    if (aHigh === 0) {
      const a = aLow >>> 0;
      return put(regs, d, isModulo ? a % b : (a / b) >>> 0, 0);
    }
    if (b < SMALL_DIVISOR) {
      put(regs, d, aLow, aHigh);
      return divideBySmall(regs, d, b, isModulo);
    }
  }
  divideByLarge(regs, d, aLow, aHigh, bLow, bHigh, isModulo);
}

/**
 * d = d / b or d % b for a divisor in [1, 2^21): schoolbook, one word at a time, in doubles. A remainder of doubles (`%`) would
 * be a call of fmod, which takes ten times as long.
 */
function divideBySmall(regs: Int32Array, d: number, b: number, isModulo: boolean): void {
  const low = regs[d]! >>> 0;
  const high = regs[d + 1]! >>> 0;
  const highQuotient = high === 0 ? 0 : (high / b) >>> 0;
  const rest = (high - highQuotient * b) * TWO_32 + low;
  // Below 2^32, because the remainder carried down is below b; one too large where the division rounds up.
  let quotient = Math.floor(rest / b);
  let remainder = rest - quotient * b;
  if (remainder < 0) {
    quotient -= 1;
    remainder += b;
  }
  regs[d] = isModulo ? remainder : quotient;
  regs[d + 1] = isModulo ? 0 : highQuotient;
}

/**
 * Estimates the quotient in doubles and corrects it. The divisor is at least 2^21, so the quotient is below 2^43 and its
 * estimate wrong by at most one; from 2^62 on the quotient is below 4 and is counted.
 */
function divideByLarge(
  regs: Int32Array,
  d: number,
  aLow: number,
  aHigh: number,
  bLow: number,
  bHigh: number,
  isModulo: boolean,
): void {
  let quotient = 0;
  let low = aLow;
  let high = aHigh;
  if (bHigh >>> 0 < 0x4000_0000) {
    quotient = Math.floor(((aHigh >>> 0) * TWO_32 + (aLow >>> 0)) / ((bHigh >>> 0) * TWO_32 + (bLow >>> 0)));
    const qLow = quotient | 0;
    const qHigh = Math.floor(quotient / TWO_32) | 0;
    const productLow = Math.imul(qLow, bLow);
    const productHigh = multiplyHigh(qLow, bLow) + Math.imul(qLow, bHigh) + Math.imul(qHigh, bLow);
    low = (aLow - productLow) | 0;
    high = (aHigh - productHigh - (aLow >>> 0 < productLow >>> 0 ? 1 : 0)) | 0;
    if (high < 0) {
      quotient -= 1;
      const sum = (low + bLow) | 0;
      high = (high + bHigh + (sum >>> 0 < low >>> 0 ? 1 : 0)) | 0;
      low = sum;
    }
  }
  while (isAtLeast(low, high, bLow, bHigh)) {
    quotient += 1;
    high = (high - bHigh - (low >>> 0 < bLow >>> 0 ? 1 : 0)) | 0;
    low = (low - bLow) | 0;
  }
  if (isModulo) put(regs, d, low, high);
  else put(regs, d, quotient, Math.floor(quotient / TWO_32));
}

/** High word of the unsigned product of two words. */
function multiplyHigh(a: number, b: number): number {
  const aLow = a & 0xffff;
  const aHigh = a >>> 16;
  const bLow = b & 0xffff;
  const bHigh = b >>> 16;
  const carry = Math.imul(aLow, bLow) >>> 16;
  const first = (Math.imul(aHigh, bLow) + carry) >>> 0;
  const second = (Math.imul(aLow, bHigh) + (first & 0xffff)) >>> 0;
  return (Math.imul(aHigh, bHigh) + (first >>> 16) + (second >>> 16)) | 0;
}

function isAtLeast(aLow: number, aHigh: number, bLow: number, bHigh: number): boolean {
  return aHigh === bHigh ? aLow >>> 0 >= bLow >>> 0 : aHigh >>> 0 > bHigh >>> 0;
}

/** Stores words of any range; the array keeps their low 32 bits. */
function put(regs: Int32Array, d: number, low: number, high: number): void {
  regs[d] = low;
  regs[d + 1] = high;
}
