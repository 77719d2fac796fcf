/**
 * What an arithmetic instruction does to what is known: one row per operation. Answers to adjust_scalar_min_max_vals().
 *
 * A row changes the draft of the destination; the draft's 32-bit views follow the 32-bit operation on the low halves, which is
 * also what a 32-bit instruction computes. `applyAlu` picks the row, extends and syncs.
 */
import type { AluOp, Bits } from "@alien-ts/bpf-isa";
import {
  S32_MAX,
  S32_MIN,
  S64_MAX,
  S64_MIN,
  SCALAR_UNKNOWN,
  SCALAR_ZERO,
  ScalarDraft,
  U32_MAX,
  U64_MAX,
  scalarOfWords,
} from "./scalar.ts";
import type { Scalar } from "./scalar.ts";
import { add, below, below32, larger32, out, shiftLeft, shiftRight, smaller32, subtract } from "./words.ts";

type KnownBits = Pick<Scalar, "valueHigh" | "valueLow" | "maskHigh" | "maskLow">;

type Row = (draft: ScalarDraft, source: Scalar, bits: Bits) => void;

const ROWS: Partial<Record<AluOp, Row>> = {
  add: (draft, source) => {
    addBounds(draft, source);
    addBits(draft, source);
  },
  sub: (draft, source) => {
    subtractBounds(draft, source);
    subtractBits(draft, source);
  },
  mul: (draft, source) => {
    multiplyBits(draft, source);
    multiplyBounds(draft, source);
  },
  and: (draft, source) => {
    const valueHigh = draft.valueHigh & source.valueHigh;
    const valueLow = draft.valueLow & source.valueLow;
    const possibleHigh = (draft.valueHigh | draft.maskHigh) & (source.valueHigh | source.maskHigh);
    const possibleLow = (draft.valueLow | draft.maskLow) & (source.valueLow | source.maskLow);
    const isKnown32 = draft.maskLow === 0 && source.maskLow === 0;
    setBits(draft, valueHigh, valueLow, possibleHigh & ~valueHigh, possibleLow & ~valueLow);
    if (isKnown32) draft.know32(valueLow);
    else {
      draft.umin32 = valueLow;
      draft.umax32 = smaller32(draft.umax32, source.umax32);
      signFromUnsigned32(draft);
    }
    draft.uminHigh = valueHigh;
    draft.uminLow = valueLow;
    draft.lowerUmax(source.umaxHigh, source.umaxLow);
    signFromUnsigned64(draft);
  },
  or: (draft, source) => {
    const valueHigh = draft.valueHigh | source.valueHigh;
    const valueLow = draft.valueLow | source.valueLow;
    const isKnown32 = draft.maskLow === 0 && source.maskLow === 0;
    const maskHigh = (draft.maskHigh | source.maskHigh) & ~valueHigh;
    const maskLow = (draft.maskLow | source.maskLow) & ~valueLow;
    setBits(draft, valueHigh, valueLow, maskHigh, maskLow);
    if (isKnown32) draft.know32(valueLow);
    else {
      draft.umin32 = larger32(draft.umin32, source.umin32);
      draft.umax32 = valueLow | maskLow;
      signFromUnsigned32(draft);
    }
    draft.raiseUmin(source.uminHigh, source.uminLow);
    draft.umaxHigh = valueHigh | maskHigh;
    draft.umaxLow = valueLow | maskLow;
    signFromUnsigned64(draft);
  },
  xor: (draft, source) => {
    const maskHigh = draft.maskHigh | source.maskHigh;
    const maskLow = draft.maskLow | source.maskLow;
    const valueHigh = (draft.valueHigh ^ source.valueHigh) & ~maskHigh;
    const valueLow = (draft.valueLow ^ source.valueLow) & ~maskLow;
    const isKnown32 = draft.maskLow === 0 && source.maskLow === 0;
    setBits(draft, valueHigh, valueLow, maskHigh, maskLow);
    if (isKnown32) draft.know32(valueLow);
    else {
      draft.umin32 = valueLow;
      draft.umax32 = valueLow | maskLow;
      signFromUnsigned32(draft);
    }
    draft.uminHigh = valueHigh;
    draft.uminLow = valueLow;
    draft.umaxHigh = valueHigh | maskHigh;
    draft.umaxLow = valueLow | maskLow;
    signFromUnsigned64(draft);
  },
  lsh: (draft, source, bits) => (bits === 32 ? shiftLeft32 : shiftLeft64)(draft, source),
  rsh: (draft, source, bits) => (bits === 32 ? shiftRight32 : shiftRight64)(draft, source),
  arsh: (draft, source, bits) => (bits === 32 ? shiftRightSigned32 : shiftRightSigned64)(draft, source),
};

/** The result of `a op b`; nothing is known of divisions, and of shifts by amounts that are not known or too large. */
export function applyAlu(op: AluOp, bits: Bits, a: Scalar, b: Scalar): Scalar {
  if (op === "add" && bits === 64 && a.isConst && b.isConst) {
    add(a.valueHigh, a.valueLow, b.valueHigh, b.valueLow);
    return scalarOfWords(out.high, out.low);
  }
  const row = ROWS[op];
  if (row === undefined || !isComputable(op, bits, b)) return SCALAR_UNKNOWN;
  const draft = new ScalarDraft(a);
  row(draft, b, bits);
  return finish(draft, bits);
}

/** Two's complement negation: 0 - a. */
export function applyNegate(bits: Bits, a: Scalar): Scalar {
  const draft = new ScalarDraft(SCALAR_ZERO);
  subtractBounds(draft, a);
  subtractBits(draft, a);
  return finish(draft, bits);
}

/** An unknown number of `bits` bits, zero extended. */
export function unknownOf(bits: Bits): Scalar {
  return bits === 64 ? SCALAR_UNKNOWN : UNKNOWN_32;
}
const UNKNOWN_32 = finish(new ScalarDraft(SCALAR_UNKNOWN), 32);

/** `base` moved by a constant delta. */
export function addConstant(base: Scalar, delta: Scalar): Scalar {
  return applyAlu("add", 64, base, delta);
}

/** The same for what an addition of low halves made: the high half is zero. */
export function addConstant32(base: Scalar, delta: Scalar): Scalar {
  const draft = new ScalarDraft(base);
  ROWS.add!(draft, delta, 64);
  return finish(draft, 32);
}

function finish(draft: ScalarDraft, bits: Bits): Scalar {
  if (bits === 32) draft.zeroExtend32();
  return draft.sync().freeze();
}

function isComputable(op: AluOp, bits: Bits, source: Scalar): boolean {
  if (op !== "lsh" && op !== "rsh" && op !== "arsh") return true;
  // The whole source counts, also for an operation on low halves.
  const isConst = bits === 64 ? source.isConst : source.isConst32;
  return isConst && source.umaxHigh === 0 && source.umaxLow >>> 0 < bits;
}

function setBits(
  draft: ScalarDraft,
  valueHigh: number,
  valueLow: number,
  maskHigh: number,
  maskLow: number,
): void {
  draft.valueHigh = valueHigh;
  draft.valueLow = valueLow;
  draft.maskHigh = maskHigh;
  draft.maskLow = maskLow;
}

/** The bits of a sum: those that no carry out of an unknown bit may change. Linux: tnum_add() */
function addBits(draft: ScalarDraft, source: KnownBits): void {
  add(draft.valueHigh, draft.valueLow, source.valueHigh, source.valueLow);
  const sumHigh = out.high;
  const sumLow = out.low;
  add(draft.maskHigh, draft.maskLow, source.maskHigh, source.maskLow);
  add(out.high, out.low, sumHigh, sumLow);
  const maskHigh = (out.high ^ sumHigh) | draft.maskHigh | source.maskHigh;
  const maskLow = (out.low ^ sumLow) | draft.maskLow | source.maskLow;
  setBits(draft, sumHigh & ~maskHigh, sumLow & ~maskLow, maskHigh, maskLow);
}

/** Linux: tnum_sub() */
function subtractBits(draft: ScalarDraft, source: Scalar): void {
  subtract(draft.valueHigh, draft.valueLow, source.valueHigh, source.valueLow);
  const high = out.high;
  const low = out.low;
  add(high, low, draft.maskHigh, draft.maskLow);
  const mostHigh = out.high;
  const mostLow = out.low;
  subtract(high, low, source.maskHigh, source.maskLow);
  const maskHigh = (mostHigh ^ out.high) | draft.maskHigh | source.maskHigh;
  const maskLow = (mostLow ^ out.low) | draft.maskLow | source.maskLow;
  setBits(draft, high & ~maskHigh, low & ~maskLow, maskHigh, maskLow);
}

/** Long multiplication; an unknown bit of the draft joins the sums with and without the source. Linux: tnum_mul() */
function multiplyBits(draft: ScalarDraft, source: Scalar): void {
  const { valueHigh, valueLow, maskHigh, maskLow } = draft;
  const sum = new ScalarDraft(SCALAR_ZERO);
  const shifted = new ScalarDraft(source);
  for (let bit = 0; bit < 64; bit++) {
    const value = bit < 32 ? valueLow >>> bit : valueHigh >>> (bit - 32);
    const mask = bit < 32 ? maskLow >>> bit : maskHigh >>> (bit - 32);
    if (bit >= 32 && value === 0 && mask === 0) break;
    if ((value & 1) !== 0) addBits(sum, shifted);
    else if ((mask & 1) !== 0) {
      const { valueHigh: oldHigh, valueLow: oldLow, maskHigh: oldMaskHigh, maskLow: oldMaskLow } = sum;
      addBits(sum, shifted);
      const joinedHigh = (oldHigh ^ sum.valueHigh) | oldMaskHigh | sum.maskHigh;
      const joinedLow = (oldLow ^ sum.valueLow) | oldMaskLow | sum.maskLow;
      const commonHigh = oldHigh & sum.valueHigh & ~joinedHigh;
      setBits(sum, commonHigh, oldLow & sum.valueLow & ~joinedLow, joinedHigh, joinedLow);
    }
    shiftLeft(shifted.valueHigh, shifted.valueLow, 1);
    shifted.valueHigh = out.high;
    shifted.valueLow = out.low;
    shiftLeft(shifted.maskHigh, shifted.maskLow, 1);
    shifted.maskHigh = out.high;
    shifted.maskLow = out.low;
  }
  setBits(draft, sum.valueHigh, sum.valueLow, sum.maskHigh, sum.maskLow);
}

const fitsS32 = (x: number): boolean => x >= S32_MIN && x <= S32_MAX;
const fitsS64 = (x: bigint): boolean => x >= S64_MIN && x <= S64_MAX;

/** Wrapping of both ends or of none keeps the order of the ends; wrapping of one loses it. */
export function addBounds(draft: ScalarDraft, source: Scalar): void {
  setSigned32(draft, draft.s32min + source.s32min, draft.s32max + source.s32max);
  const min32 = (draft.umin32 + source.umin32) | 0;
  const max32 = (draft.umax32 + source.umax32) | 0;
  const wraps32 = below32(min32, draft.umin32) !== below32(max32, draft.umax32);
  draft.umin32 = wraps32 ? 0 : min32;
  draft.umax32 = wraps32 ? -1 : max32;

  add(draft.sminHigh, draft.sminLow, source.sminHigh, source.sminLow);
  const sminHigh = out.high;
  const sminLow = out.low;
  add(draft.smaxHigh, draft.smaxLow, source.smaxHigh, source.smaxLow);
  const minFits = ((draft.sminHigh ^ sminHigh) & (source.sminHigh ^ sminHigh)) >= 0;
  const maxFits = ((draft.smaxHigh ^ out.high) & (source.smaxHigh ^ out.high)) >= 0;
  setSigned64(draft, minFits && maxFits, sminHigh, sminLow);

  add(draft.uminHigh, draft.uminLow, source.uminHigh, source.uminLow);
  const uminHigh = out.high;
  const uminLow = out.low;
  add(draft.umaxHigh, draft.umaxLow, source.umaxHigh, source.umaxLow);
  const minWraps = below(uminHigh, uminLow, draft.uminHigh, draft.uminLow);
  const maxWraps = below(out.high, out.low, draft.umaxHigh, draft.umaxLow);
  setUnsigned64(draft, minWraps === maxWraps, uminHigh, uminLow);
}

function subtractBounds(draft: ScalarDraft, source: Scalar): void {
  setSigned32(draft, draft.s32min - source.s32max, draft.s32max - source.s32min);
  const wraps32 = below32(draft.umin32, source.umax32) !== below32(draft.umax32, source.umin32);
  const min32 = (draft.umin32 - source.umax32) | 0;
  draft.umax32 = wraps32 ? -1 : (draft.umax32 - source.umin32) | 0;
  draft.umin32 = wraps32 ? 0 : min32;

  subtract(draft.sminHigh, draft.sminLow, source.smaxHigh, source.smaxLow);
  const sminHigh = out.high;
  const sminLow = out.low;
  const minFits = ((draft.sminHigh ^ source.smaxHigh) & (draft.sminHigh ^ sminHigh)) >= 0;
  subtract(draft.smaxHigh, draft.smaxLow, source.sminHigh, source.sminLow);
  const maxFits = ((draft.smaxHigh ^ source.sminHigh) & (draft.smaxHigh ^ out.high)) >= 0;
  setSigned64(draft, minFits && maxFits, sminHigh, sminLow);

  const minWraps = below(draft.uminHigh, draft.uminLow, source.umaxHigh, source.umaxLow);
  const maxWraps = below(draft.umaxHigh, draft.umaxLow, source.uminHigh, source.uminLow);
  subtract(draft.uminHigh, draft.uminLow, source.umaxHigh, source.umaxLow);
  const uminHigh = out.high;
  const uminLow = out.low;
  subtract(draft.umaxHigh, draft.umaxLow, source.uminHigh, source.uminLow);
  setUnsigned64(draft, minWraps === maxWraps, uminHigh, uminLow);
}

function setSigned32(draft: ScalarDraft, min: number, max: number): void {
  const fits = fitsS32(min) && fitsS32(max);
  draft.s32min = fits ? min : S32_MIN;
  draft.s32max = fits ? max : S32_MAX;
}

/** The minimum as given, the maximum from `out`; nothing where they do not fit. */
function setSigned64(draft: ScalarDraft, fits: boolean, minHigh: number, minLow: number): void {
  if (!fits) return draft.unboundSigned64();
  draft.sminHigh = minHigh;
  draft.sminLow = minLow;
  draft.smaxHigh = out.high;
  draft.smaxLow = out.low;
}

function setUnsigned64(draft: ScalarDraft, fits: boolean, minHigh: number, minLow: number): void {
  if (!fits) return draft.unboundUnsigned64();
  draft.uminHigh = minHigh;
  draft.uminLow = minLow;
  draft.umaxHigh = out.high;
  draft.umaxLow = out.low;
}

/** Products of 64 bits are made of bigints: programs multiply little. */
function multiplyBounds(draft: ScalarDraft, source: Scalar): void {
  const before = draft.freeze();
  const wide = before.u32max * source.u32max;
  if (wide > U32_MAX) draft.unboundUnsigned32();
  else {
    draft.umin32 = (before.u32min * source.u32min) | 0;
    draft.umax32 = wide | 0;
  }
  const products32 = [
    before.s32min * source.s32min,
    before.s32min * source.s32max,
    before.s32max * source.s32min,
    before.s32max * source.s32max,
  ];
  if (products32.every(fitsS32)) {
    draft.s32min = Math.min(...products32) | 0;
    draft.s32max = Math.max(...products32) | 0;
  } else draft.unboundSigned32();
  const umax = before.umax * source.umax;
  draft.setUnsigned(umax > U64_MAX ? 0n : before.umin * source.umin, umax > U64_MAX ? U64_MAX : umax);
  const products = [
    before.smin * source.smin,
    before.smin * source.smax,
    before.smax * source.smin,
    before.smax * source.smax,
  ];
  if (products.every(fitsS64))
    draft.setSigned(
      products.reduce((a, b) => (a < b ? a : b)),
      products.reduce((a, b) => (a > b ? a : b)),
    );
  else draft.unboundSigned64();
}

/** After and, or, xor: signed bounds are the unsigned ones where these do not cross the sign. */
function signFromUnsigned32(draft: ScalarDraft): void {
  const isOrdered = draft.umin32 <= draft.umax32;
  draft.s32min = isOrdered ? draft.umin32 : S32_MIN;
  draft.s32max = isOrdered ? draft.umax32 : S32_MAX;
}

function signFromUnsigned64(draft: ScalarDraft): void {
  const { uminHigh, uminLow, umaxHigh, umaxLow } = draft;
  if (uminHigh > umaxHigh || (uminHigh === umaxHigh && uminLow >>> 0 > umaxLow >>> 0)) {
    draft.unboundSigned64();
    return;
  }
  draft.sminHigh = uminHigh;
  draft.sminLow = uminLow;
  draft.smaxHigh = umaxHigh;
  draft.smaxLow = umaxLow;
}

/** The low half of both shifts left; `by` is below 32, or its result is not used. */
function shiftLeftBounds32(draft: ScalarDraft, by: number): void {
  draft.unboundSigned32();
  if (by > 31 || draft.umax32 >>> 0 > 2 ** (31 - by)) draft.unboundUnsigned32();
  else {
    draft.umin32 <<= by;
    draft.umax32 <<= by;
  }
}

function shiftLeft32(draft: ScalarDraft, { umin32: by }: Scalar): void {
  shiftLeftBounds32(draft, by);
  setBits(draft, 0, draft.valueLow << by, 0, draft.maskLow << by);
  draft.unbound64();
  draft.learn32FromBits();
}

function shiftLeft64(draft: ScalarDraft, { uminLow: by }: Scalar): void {
  const { s32min, s32max } = draft;
  shiftLeftBounds32(draft, by);
  draft.unboundSigned64();
  // A shift by 32 is the first half of a sign extension: the sign is that of the low half.
  if (by === 32) {
    draft.smaxHigh = s32max;
    draft.smaxLow = 0;
    draft.sminHigh = s32min;
    draft.sminLow = 0;
  }
  shiftLeft(0, 1, 63 - by);
  if (below(out.high, out.low, draft.umaxHigh, draft.umaxLow)) draft.unboundUnsigned64();
  else {
    shiftLeft(draft.uminHigh, draft.uminLow, by);
    draft.uminHigh = out.high;
    draft.uminLow = out.low;
    shiftLeft(draft.umaxHigh, draft.umaxLow, by);
    draft.umaxHigh = out.high;
    draft.umaxLow = out.low;
  }
  shiftLeft(draft.valueHigh, draft.valueLow, by);
  draft.valueHigh = out.high;
  draft.valueLow = out.low;
  shiftLeft(draft.maskHigh, draft.maskLow, by);
  draft.maskHigh = out.high;
  draft.maskLow = out.low;
  draft.learnFromBits();
}

function shiftRight32(draft: ScalarDraft, { umin32: by }: Scalar): void {
  draft.unboundSigned32();
  setBits(draft, 0, (draft.valueLow >>> by) | 0, 0, (draft.maskLow >>> by) | 0);
  draft.umin32 = (draft.umin32 >>> by) | 0;
  draft.umax32 = (draft.umax32 >>> by) | 0;
  draft.unbound64();
  draft.learn32FromBits();
}

function shiftRightBits(draft: ScalarDraft, by: number, isSigned: boolean): void {
  shiftRight(draft.valueHigh, draft.valueLow, by, isSigned);
  draft.valueHigh = out.high;
  draft.valueLow = out.low;
  shiftRight(draft.maskHigh, draft.maskLow, by, isSigned);
  draft.maskHigh = out.high;
  draft.maskLow = out.low;
}

function shiftRight64(draft: ScalarDraft, { uminLow: by }: Scalar): void {
  draft.unboundSigned64();
  shiftRightBits(draft, by, false);
  shiftRight(draft.uminHigh, draft.uminLow, by, false);
  draft.uminHigh = out.high;
  draft.uminLow = out.low;
  shiftRight(draft.umaxHigh, draft.umaxLow, by, false);
  draft.umaxHigh = out.high;
  draft.umaxLow = out.low;
  draft.unbound32();
  draft.learnFromBits();
}

function shiftRightSigned32(draft: ScalarDraft, { umin32: by }: Scalar): void {
  draft.s32min >>= by;
  draft.s32max >>= by;
  setBits(draft, 0, draft.valueLow >> by, 0, draft.maskLow >> by);
  draft.unboundUnsigned32();
  draft.unbound64();
  draft.learn32FromBits();
}

function shiftRightSigned64(draft: ScalarDraft, { uminLow: by }: Scalar): void {
  shiftRightBits(draft, by, true);
  shiftRight(draft.sminHigh, draft.sminLow, by, true);
  draft.sminHigh = out.high;
  draft.sminLow = out.low;
  shiftRight(draft.smaxHigh, draft.smaxLow, by, true);
  draft.smaxHigh = out.high;
  draft.smaxLow = out.low;
  draft.unboundUnsigned64();
  draft.unbound32();
  draft.learnFromBits();
}
