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
  ScalarDraft,
  SCALAR_ZERO,
  U32_MAX,
  U64_MAX,
} from "./scalar.ts";
import type { Scalar } from "./scalar.ts";
import {
  tnumAdd,
  tnumAnd,
  tnumLow32,
  tnumMul,
  tnumNegate,
  tnumOr,
  tnumShiftLeft,
  tnumShiftRight,
  tnumShiftRightSigned,
  tnumSub,
  tnumXor,
} from "./tnum.ts";

type Row = (draft: ScalarDraft, source: Scalar, bits: Bits) => void;

const ROWS: Partial<Record<AluOp, Row>> = {
  add: (draft, source) => {
    addBounds(draft, source);
    draft.tnum = tnumAdd(draft.tnum, source.tnum);
  },
  sub: (draft, source) => {
    subtractBounds(draft, source);
    draft.tnum = tnumSub(draft.tnum, source.tnum);
  },
  mul: (draft, source) => {
    draft.tnum = tnumMul(draft.tnum, source.tnum);
    multiplyBounds(draft, source);
  },
  and: (draft, source) => {
    const before = isKnown(draft);
    draft.tnum = tnumAnd(draft.tnum, source.tnum);
    bitwiseBounds(draft, source, before, {
      min32: (bits) => bits,
      max32: (_, a, b) => Math.min(a, b),
      min64: (bits) => bits,
      max64: (_, a, b) => (a < b ? a : b),
    });
  },
  or: (draft, source) => {
    const before = isKnown(draft);
    draft.tnum = tnumOr(draft.tnum, source.tnum);
    bitwiseBounds(draft, source, before, {
      min32: (_, a, b) => Math.max(a, b),
      max32: (bits) => bits,
      min64: (_, a, b) => (a > b ? a : b),
      max64: (bits) => bits,
    });
  },
  xor: (draft, source) => {
    const before = isKnown(draft);
    draft.tnum = tnumXor(draft.tnum, source.tnum);
    bitwiseBounds(draft, source, before, {
      min32: (bits) => bits,
      max32: (bits) => bits,
      min64: (bits) => bits,
      max64: (bits) => bits,
    });
  },
  lsh: (draft, source, bits) => (bits === 32 ? shiftLeft32 : shiftLeft64)(draft, source),
  rsh: (draft, source, bits) => (bits === 32 ? shiftRight32 : shiftRight64)(draft, source),
  arsh: (draft, source, bits) => (bits === 32 ? shiftRightSigned32 : shiftRightSigned64)(draft, source),
};

/** The result of `a op b`; nothing is known of divisions, and of shifts by amounts that are not known or too large. */
export function applyAlu(op: AluOp, bits: Bits, a: Scalar, b: Scalar): Scalar {
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
  draft.tnum = tnumNegate(a.tnum);
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

function finish(draft: ScalarDraft, bits: Bits): Scalar {
  if (bits === 32) draft.zeroExtend32();
  return draft.sync().freeze();
}

function isComputable(op: AluOp, bits: Bits, source: Scalar): boolean {
  if (op !== "lsh" && op !== "rsh" && op !== "arsh") return true;
  // The whole source counts, also for an operation on low halves.
  return (bits === 64 ? source.isConst : source.isConst32) && source.umax < BigInt(bits);
}

const fitsS32 = (x: number): boolean => x >= S32_MIN && x <= S32_MAX;
const fitsS64 = (x: bigint): boolean => x >= S64_MIN && x <= S64_MAX;

/** Wrapping of both ends or of none keeps the order of the ends; wrapping of one loses it. */
export function addBounds(draft: ScalarDraft, source: Scalar): void {
  setSigned32(draft, draft.s32min + source.s32min, draft.s32max + source.s32max);
  setUnsigned32(draft, draft.u32min + source.u32min, draft.u32max + source.u32max);
  setSigned64(draft, draft.smin + source.smin, draft.smax + source.smax);
  setUnsigned64(draft, draft.umin + source.umin, draft.umax + source.umax);
}

function subtractBounds(draft: ScalarDraft, source: Scalar): void {
  setSigned32(draft, draft.s32min - source.s32max, draft.s32max - source.s32min);
  setUnsigned32(draft, draft.u32min - source.u32max, draft.u32max - source.u32min);
  setSigned64(draft, draft.smin - source.smax, draft.smax - source.smin);
  setUnsigned64(draft, draft.umin - source.umax, draft.umax - source.umin);
}

function setSigned32(draft: ScalarDraft, min: number, max: number): void {
  const fits = fitsS32(min) && fitsS32(max);
  draft.s32min = fits ? min : S32_MIN;
  draft.s32max = fits ? max : S32_MAX;
}

function setUnsigned32(draft: ScalarDraft, min: number, max: number): void {
  const wraps = Math.floor(min / 0x1_0000_0000) !== Math.floor(max / 0x1_0000_0000);
  draft.u32min = wraps ? 0 : min >>> 0;
  draft.u32max = wraps ? U32_MAX : max >>> 0;
}

function setSigned64(draft: ScalarDraft, min: bigint, max: bigint): void {
  const fits = fitsS64(min) && fitsS64(max);
  draft.smin = fits ? min : S64_MIN;
  draft.smax = fits ? max : S64_MAX;
}

function setUnsigned64(draft: ScalarDraft, min: bigint, max: bigint): void {
  const wraps = min >> 64n !== max >> 64n;
  draft.umin = wraps ? 0n : BigInt.asUintN(64, min);
  draft.umax = wraps ? U64_MAX : BigInt.asUintN(64, max);
}

function multiplyBounds(draft: ScalarDraft, source: Scalar): void {
  const wide = BigInt(draft.u32max) * BigInt(source.u32max);
  if (wide > BigInt(U32_MAX)) {
    draft.u32min = 0;
    draft.u32max = U32_MAX;
  } else {
    draft.u32min *= source.u32min;
    draft.u32max = Number(wide);
  }
  const products32 = [draft.s32min, draft.s32max].flatMap((a) =>
    [source.s32min, source.s32max].map((b) => a * b),
  );
  if (products32.every(fitsS32)) {
    draft.s32min = Math.min(...products32);
    draft.s32max = Math.max(...products32);
  } else draft.unboundSigned32();
  const umax = draft.umax * source.umax;
  draft.umin = umax > U64_MAX ? 0n : draft.umin * source.umin;
  draft.umax = umax > U64_MAX ? U64_MAX : umax;
  const products = [
    draft.smin * source.smin,
    draft.smin * source.smax,
    draft.smax * source.smin,
    draft.smax * source.smax,
  ];
  if (products.every(fitsS64)) {
    draft.smin = products.reduce((a, b) => (a < b ? a : b));
    draft.smax = products.reduce((a, b) => (a > b ? a : b));
  } else draft.unboundSigned64();
}

interface Known {
  readonly whole: boolean;
  readonly low: boolean;
}
const isKnown = ({ tnum }: { readonly tnum: { readonly mask: bigint } }): Known => ({
  whole: tnum.mask === 0n,
  low: (tnum.mask & 0xffff_ffffn) === 0n,
});

interface BitwiseRule {
  min32(bits: number, a: number, b: number): number;
  max32(bits: number, a: number, b: number): number;
  min64(bits: bigint, a: bigint, b: bigint): bigint;
  max64(bits: bigint, a: bigint, b: bigint): bigint;
}

/** Bounds after and, or, xor: from the bits of the result, or from the operands' bounds, whichever the rule says. */
function bitwiseBounds(draft: ScalarDraft, source: Scalar, before: Known, rule: BitwiseRule): void {
  const { value, mask } = draft.tnum;
  if (before.low && source.isConst32) draft.know32(Number(value & 0xffff_ffffn));
  else {
    const { u32min, u32max } = draft;
    draft.u32min = rule.min32(Number(value & 0xffff_ffffn), u32min, source.u32min);
    draft.u32max = rule.max32(Number((value | mask) & 0xffff_ffffn), u32max, source.u32max);
    const isOrdered = (draft.u32min | 0) <= (draft.u32max | 0);
    draft.s32min = isOrdered ? draft.u32min | 0 : S32_MIN;
    draft.s32max = isOrdered ? draft.u32max | 0 : S32_MAX;
  }
  if (before.whole && source.isConst) {
    draft.umin = value;
    draft.umax = value;
    draft.smin = BigInt.asIntN(64, value);
    draft.smax = draft.smin;
    return;
  }
  const { umin, umax } = draft;
  draft.umin = rule.min64(value, umin, source.umin);
  draft.umax = rule.max64(value | mask, umax, source.umax);
  const low = BigInt.asIntN(64, draft.umin);
  const high = BigInt.asIntN(64, draft.umax);
  draft.smin = low <= high ? low : S64_MIN;
  draft.smax = low <= high ? high : S64_MAX;
}

/** The low half of both shifts left; `by` is below 32, or its result is not used. */
function shiftLeftBounds32(draft: ScalarDraft, by: number): void {
  draft.unboundSigned32();
  if (by > 31 || draft.u32max > 2 ** (31 - by)) {
    draft.u32min = 0;
    draft.u32max = U32_MAX;
  } else {
    draft.u32min = (draft.u32min << by) >>> 0;
    draft.u32max = (draft.u32max << by) >>> 0;
  }
}

function shiftLeft32(draft: ScalarDraft, { u32min: by }: Scalar): void {
  shiftLeftBounds32(draft, by);
  draft.tnum = tnumLow32(tnumShiftLeft(tnumLow32(draft.tnum), by));
  draft.unbound64();
  draft.learn32FromBits();
}

function shiftLeft64(draft: ScalarDraft, source: Scalar): void {
  const by = Number(source.umin);
  const { s32min, s32max } = draft;
  shiftLeftBounds32(draft, by);
  // A shift by 32 is the first half of a sign extension: the sign is that of the low half.
  draft.smax = by === 32 && s32max >= 0 ? BigInt(s32max) << 32n : S64_MAX;
  draft.smin = by === 32 && s32min >= 0 ? BigInt(s32min) << 32n : S64_MIN;
  if (draft.umax > 1n << BigInt(63 - by)) {
    draft.umin = 0n;
    draft.umax = U64_MAX;
  } else {
    draft.umin <<= BigInt(by);
    draft.umax <<= BigInt(by);
  }
  draft.tnum = tnumShiftLeft(draft.tnum, by);
  draft.learnFromBits();
}

function shiftRight32(draft: ScalarDraft, { u32min: by }: Scalar): void {
  draft.unboundSigned32();
  draft.tnum = tnumShiftRight(tnumLow32(draft.tnum), by);
  draft.u32min >>>= by;
  draft.u32max >>>= by;
  draft.unbound64();
  draft.learn32FromBits();
}

function shiftRight64(draft: ScalarDraft, source: Scalar): void {
  const by = Number(source.umin);
  draft.unboundSigned64();
  draft.tnum = tnumShiftRight(draft.tnum, by);
  draft.umin >>= source.umin;
  draft.umax >>= source.umin;
  draft.unbound32();
  draft.learnFromBits();
}

function shiftRightSigned32(draft: ScalarDraft, { u32min: by }: Scalar): void {
  draft.s32min >>= by;
  draft.s32max >>= by;
  draft.tnum = tnumShiftRightSigned(tnumLow32(draft.tnum), by, 32);
  draft.u32min = 0;
  draft.u32max = U32_MAX;
  draft.unbound64();
  draft.learn32FromBits();
}

function shiftRightSigned64(draft: ScalarDraft, source: Scalar): void {
  const by = Number(source.umin);
  draft.smin >>= source.umin;
  draft.smax >>= source.umin;
  draft.tnum = tnumShiftRightSigned(draft.tnum, by, 64);
  draft.umin = 0n;
  draft.umax = U64_MAX;
  draft.unbound32();
  draft.learnFromBits();
}
