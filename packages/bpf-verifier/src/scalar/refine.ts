/**
 * What a conditional jump teaches: whether it is decided (`decide`), and what is known on each side of it (`refine`).
 *
 * Answers to is_scalar_branch_taken() and regs_refine_cond_op() in kernel/bpf/verifier.c.
 */
import type { Bits, JumpOp } from "@alien-ts/bpf-isa";
import { ScalarDraft, isSettled } from "./scalar.ts";
import type { Scalar } from "./scalar.ts";
import { add, below, larger32, less, out, smaller32, subtract } from "./words.ts";

/** A comparison, or `jnset`: the bits of a jset that was not taken. */
export type Comparison = JumpOp | "jnset";

const NEGATED: Record<Comparison, Comparison> = {
  jeq: "jne",
  jne: "jeq",
  jgt: "jle",
  jge: "jlt",
  jlt: "jge",
  jle: "jgt",
  jsgt: "jsle",
  jsge: "jslt",
  jslt: "jsge",
  jsle: "jsgt",
  jset: "jnset",
  jnset: "jset",
};

/** What holds where `op` does not. */
export const negated = (op: Comparison): Comparison => NEGATED[op];

const SWAPPED: Partial<Record<JumpOp, JumpOp>> = {
  jgt: "jlt",
  jge: "jle",
  jlt: "jgt",
  jle: "jge",
  jsgt: "jslt",
  jsge: "jsle",
  jslt: "jsgt",
  jsle: "jsge",
};

/** The operation that gives the same result with its operands exchanged. */
export const swapped = (op: JumpOp): JumpOp => SWAPPED[op] ?? op;

/** True or false where the comparison always or never holds; undefined where it may do either. */
export function decide(op: JumpOp, bits: Bits, a: Scalar, b: Scalar): boolean | undefined {
  switch (op) {
    case "jeq":
      return decideEqual(a, b, bits);
    case "jne": {
      const isEqual = decideEqual(a, b, bits);
      return isEqual === undefined ? undefined : !isEqual;
    }
    case "jset":
      return decideSet(a, b, bits);
    case "jgt":
      return belowAll(b, a, bits) ? true : atMostAll(a, b, bits) ? false : undefined;
    case "jge":
      return atMostAll(b, a, bits) ? true : belowAll(a, b, bits) ? false : undefined;
    case "jlt":
      return belowAll(a, b, bits) ? true : atMostAll(b, a, bits) ? false : undefined;
    case "jle":
      return atMostAll(a, b, bits) ? true : belowAll(b, a, bits) ? false : undefined;
    case "jsgt":
      return lessAll(b, a, bits) ? true : mostAll(a, b, bits) ? false : undefined;
    case "jsge":
      return mostAll(b, a, bits) ? true : lessAll(a, b, bits) ? false : undefined;
    case "jslt":
      return lessAll(a, b, bits) ? true : mostAll(b, a, bits) ? false : undefined;
    case "jsle":
      return mostAll(a, b, bits) ? true : lessAll(b, a, bits) ? false : undefined;
  }
}

/** Every number of `a` is below every number of `b`, unsigned; at most it; below it, signed; at most it, signed. */
const belowAll = (a: Scalar, b: Scalar, bits: Bits): boolean =>
  bits === 32 ? a.umax32 >>> 0 < b.umin32 >>> 0 : below(a.umaxHigh, a.umaxLow, b.uminHigh, b.uminLow);
const atMostAll = (a: Scalar, b: Scalar, bits: Bits): boolean =>
  bits === 32 ? a.umax32 >>> 0 <= b.umin32 >>> 0 : !below(b.uminHigh, b.uminLow, a.umaxHigh, a.umaxLow);
const lessAll = (a: Scalar, b: Scalar, bits: Bits): boolean =>
  bits === 32 ? a.s32max < b.s32min : less(a.smaxHigh, a.smaxLow, b.sminHigh, b.sminLow);
const mostAll = (a: Scalar, b: Scalar, bits: Bits): boolean =>
  bits === 32 ? a.s32max <= b.s32min : !less(b.sminHigh, b.sminLow, a.smaxHigh, a.smaxLow);

function decideEqual(a: Scalar, b: Scalar, bits: Bits): boolean | undefined {
  const isWhole = bits === 64;
  const unknownLow = a.maskLow | b.maskLow;
  const unknownHigh = isWhole ? a.maskHigh | b.maskHigh : 0;
  const differs =
    (a.valueLow & ~unknownLow) !== (b.valueLow & ~unknownLow) ||
    (isWhole && (a.valueHigh & ~unknownHigh) !== (b.valueHigh & ~unknownHigh));
  if ((unknownLow | unknownHigh) === 0) return !differs;
  if (differs || isApart(a, b, 32)) return false;
  return isWhole && isApart(a, b, 64) ? false : undefined;
}

const isApart = (a: Scalar, b: Scalar, bits: Bits): boolean =>
  belowAll(b, a, bits) || belowAll(a, b, bits) || lessAll(b, a, bits) || lessAll(a, b, bits);

/** Linux: only a constant is looked at, the second one first. */
function decideSet(a: Scalar, b: Scalar, bits: Bits): boolean | undefined {
  const isKnown = (x: Scalar): boolean => x.maskLow === 0 && (bits === 32 || x.maskHigh === 0);
  const [number, constant] = isKnown(b) ? [a, b] : [b, a];
  if (!isKnown(constant)) return undefined;
  const high = bits === 32 ? 0 : constant.valueHigh;
  const low = constant.valueLow;
  if (((number.valueHigh & high) | (number.valueLow & low)) !== 0) return true;
  const possible = ((number.valueHigh | number.maskHigh) & high) | ((number.valueLow | number.maskLow) & low);
  return possible === 0 ? false : undefined;
}

/** A number that is compared with itself, where the comparison holds. */
export function refineSame(op: Comparison, bits: Bits, a: Scalar): Scalar {
  const x = new ScalarDraft(a);
  learn(op, bits, x, x);
  return settle(x);
}

/** `a` and `b` where the comparison holds. */
export function refine(op: Comparison, bits: Bits, a: Scalar, b: Scalar): readonly [Scalar, Scalar] {
  const x = new ScalarDraft(a);
  const y = new ScalarDraft(b);
  learn(op, bits, x, y);
  return [settle(x), isUnchangedConstant(y, b) ? b : settle(y)];
}

const isUnchangedConstant = (draft: ScalarDraft, before: Scalar): boolean =>
  draft.valueLow === before.valueLow &&
  draft.valueHigh === before.valueHigh &&
  isSettled(draft) &&
  isSettled(before);

function settle(draft: ScalarDraft): Scalar {
  draft.sync();
  if (!draft.isSane) {
    draft.unbound64();
    draft.unbound32();
  }
  return draft.freeze();
}

function learn(op: Comparison, bits: Bits, x: ScalarDraft, y: ScalarDraft): void {
  switch (op) {
    case "jgt":
    case "jge":
    case "jsgt":
    case "jsge":
      return learn(SWAPPED[op]!, bits, y, x);
    case "jeq":
      return learnEqual(bits, x, y);
    case "jne":
      return isConst(y, bits)
        ? learnUnequal(bits, x, y)
        : isConst(x, bits)
          ? learnUnequal(bits, y, x)
          : undefined;
    case "jset":
    case "jnset":
      return isConst(y, bits)
        ? learnBits(op, bits, x, y)
        : isConst(x, bits)
          ? learnBits(op, bits, y, x)
          : undefined;
    case "jle":
    case "jlt":
      return learnLess(bits, x, y, op === "jlt");
    case "jsle":
    case "jslt":
      return learnLessSigned(bits, x, y, op === "jslt");
  }
}

const isConst = ({ maskHigh, maskLow }: ScalarDraft, bits: Bits): boolean =>
  maskLow === 0 && (bits === 32 || maskHigh === 0);

function learnEqual(bits: Bits, x: ScalarDraft, y: ScalarDraft): void {
  if (bits === 32) {
    x.umin32 = y.umin32 = larger32(x.umin32, y.umin32);
    x.umax32 = y.umax32 = smaller32(x.umax32, y.umax32);
    x.s32min = y.s32min = Math.max(x.s32min, y.s32min);
    x.s32max = y.s32max = Math.min(x.s32max, y.s32max);
  } else {
    x.raiseUmin(y.uminHigh, y.uminLow);
    x.lowerUmax(y.umaxHigh, y.umaxLow);
    x.raiseSmin(y.sminHigh, y.sminLow);
    x.lowerSmax(y.smaxHigh, y.smaxLow);
    y.raiseUmin(x.uminHigh, x.uminLow);
    y.lowerUmax(x.umaxHigh, x.umaxLow);
    y.raiseSmin(x.sminHigh, x.sminLow);
    y.lowerSmax(x.smaxHigh, x.smaxLow);
    const maskHigh = x.maskHigh & y.maskHigh;
    x.valueHigh = y.valueHigh = (x.valueHigh | y.valueHigh) & ~maskHigh;
    x.maskHigh = y.maskHigh = maskHigh;
  }
  const maskLow = x.maskLow & y.maskLow;
  x.valueLow = y.valueLow = (x.valueLow | y.valueLow) & ~maskLow;
  x.maskLow = y.maskLow = maskLow;
}

/** A bound that is the excluded constant moves by one. */
function learnUnequal(bits: Bits, x: ScalarDraft, { valueHigh: high, valueLow: low }: ScalarDraft): void {
  if (bits === 32) {
    if (x.umin32 === low) x.umin32 = (x.umin32 + 1) | 0;
    if (x.umax32 === low) x.umax32 = (x.umax32 - 1) | 0;
    if (x.s32min === low) x.s32min = (x.s32min + 1) | 0;
    if (x.s32max === low) x.s32max = (x.s32max - 1) | 0;
    return;
  }
  if (x.uminHigh === high && x.uminLow === low) {
    add(high, low, 0, 1);
    x.uminHigh = out.high;
    x.uminLow = out.low;
  }
  if (x.umaxHigh === high && x.umaxLow === low) {
    subtract(high, low, 0, 1);
    x.umaxHigh = out.high;
    x.umaxLow = out.low;
  }
  if (x.sminHigh === high && x.sminLow === low) {
    add(high, low, 0, 1);
    x.sminHigh = out.high;
    x.sminLow = out.low;
  }
  if (x.smaxHigh === high && x.smaxLow === low) {
    subtract(high, low, 0, 1);
    x.smaxHigh = out.high;
    x.smaxLow = out.low;
  }
}

function learnBits(op: "jset" | "jnset", bits: Bits, x: ScalarDraft, constant: ScalarDraft): void {
  const high = bits === 64 ? constant.valueHigh : 0;
  const low = constant.valueLow;
  if (op === "jset") {
    // Of several bits it is not known which one is set.
    const isSingle =
      high === 0 ? (low & (low - 1)) === 0 && low !== 0 : low === 0 && (high & (high - 1)) === 0;
    if (!isSingle) return;
    x.valueHigh |= high;
    x.valueLow |= low;
  } else {
    // Linux forgets the bounds first: on paths that nothing takes they would contradict the bits.
    x.unbound64();
    x.unbound32();
    x.valueHigh &= ~high;
    x.valueLow &= ~low;
  }
  x.maskHigh &= ~high;
  x.maskLow &= ~low;
}

/** x < y, or x <= y. A bound at the end of its line goes round it, as in Linux. */
function learnLess(bits: Bits, x: ScalarDraft, y: ScalarDraft, isStrict: boolean): void {
  const gap = isStrict ? 1 : 0;
  if (bits === 32) {
    x.umax32 = smaller32(x.umax32, (y.umax32 - gap) | 0);
    y.umin32 = larger32((x.umin32 + gap) | 0, y.umin32);
    return;
  }
  subtract(y.umaxHigh, y.umaxLow, 0, gap);
  x.lowerUmax(out.high, out.low);
  add(x.uminHigh, x.uminLow, 0, gap);
  y.raiseUmin(out.high, out.low);
}

function learnLessSigned(bits: Bits, x: ScalarDraft, y: ScalarDraft, isStrict: boolean): void {
  const gap = isStrict ? 1 : 0;
  if (bits === 32) {
    x.s32max = Math.min(x.s32max, (y.s32max - gap) | 0);
    y.s32min = Math.max((x.s32min + gap) | 0, y.s32min);
    return;
  }
  subtract(y.smaxHigh, y.smaxLow, 0, gap);
  x.lowerSmax(out.high, out.low);
  add(x.sminHigh, x.sminLow, 0, gap);
  y.raiseSmin(out.high, out.low);
}
