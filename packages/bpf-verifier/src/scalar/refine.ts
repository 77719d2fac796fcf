/**
 * What a conditional jump teaches: whether it is decided (`decide`), and what is known on each side of it (`refine`).
 *
 * Answers to is_scalar_branch_taken() and regs_refine_cond_op() in kernel/bpf/verifier.c.
 */
import type { Bits, JumpOp } from "@alien-ts/bpf-isa";
import { ScalarDraft } from "./scalar.ts";
import type { Scalar } from "./scalar.ts";
import { tnumAnd, tnumIntersect, tnumLow32, tnumOr, tnumWithLow32 } from "./tnum.ts";
import type { Tnum } from "./tnum.ts";

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

interface Range {
  readonly tnum: Tnum;
  readonly umin: number | bigint;
  readonly umax: number | bigint;
  readonly smin: number | bigint;
  readonly smax: number | bigint;
}

function rangeOf(scalar: Scalar, bits: Bits): Range {
  if (bits === 64) return scalar;
  const { u32min, u32max, s32min, s32max } = scalar;
  return { tnum: tnumLow32(scalar.tnum), umin: u32min, umax: u32max, smin: s32min, smax: s32max };
}

/** True or false where the comparison always or never holds; undefined where it may do either. */
export function decide(op: JumpOp, bits: Bits, a: Scalar, b: Scalar): boolean | undefined {
  const x = rangeOf(a, bits);
  const y = rangeOf(b, bits);
  switch (op) {
    case "jeq":
      return decideEqual(a, b, bits);
    case "jne": {
      const isEqual = decideEqual(a, b, bits);
      return isEqual === undefined ? undefined : !isEqual;
    }
    case "jset":
      return y.tnum.mask === 0n
        ? decideSet(x.tnum, y.tnum.value)
        : x.tnum.mask === 0n
          ? decideSet(y.tnum, x.tnum.value)
          : undefined;
    case "jgt":
      return x.umin > y.umax ? true : x.umax <= y.umin ? false : undefined;
    case "jge":
      return x.umin >= y.umax ? true : x.umax < y.umin ? false : undefined;
    case "jlt":
      return x.umax < y.umin ? true : x.umin >= y.umax ? false : undefined;
    case "jle":
      return x.umax <= y.umin ? true : x.umin > y.umax ? false : undefined;
    case "jsgt":
      return x.smin > y.smax ? true : x.smax <= y.smin ? false : undefined;
    case "jsge":
      return x.smin >= y.smax ? true : x.smax < y.smin ? false : undefined;
    case "jslt":
      return x.smax < y.smin ? true : x.smin >= y.smax ? false : undefined;
    case "jsle":
      return x.smax <= y.smin ? true : x.smin > y.smax ? false : undefined;
  }
}

function decideEqual(a: Scalar, b: Scalar, bits: Bits): boolean | undefined {
  const x = rangeOf(a, bits);
  const y = rangeOf(b, bits);
  if (x.tnum.mask === 0n && y.tnum.mask === 0n) return x.tnum.value === y.tnum.value;
  const known = ~(x.tnum.mask | y.tnum.mask);
  if ((x.tnum.value & known) !== (y.tnum.value & known)) return false;
  if (isApart(x, y)) return false;
  if (bits === 64 && isApart(rangeOf(a, 32), rangeOf(b, 32))) return false;
  return undefined;
}

const isApart = (x: Range, y: Range): boolean =>
  x.umin > y.umax || x.umax < y.umin || x.smin > y.smax || x.smax < y.smin;

function decideSet({ value, mask }: Tnum, bits: bigint): boolean | undefined {
  if ((value & bits) !== 0n) return true;
  return ((value | mask) & bits) === 0n ? false : undefined;
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
  return [settle(x), settle(y)];
}

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
        ? learnBits(op, bits, x, y.tnum)
        : isConst(x, bits)
          ? learnBits(op, bits, y, x.tnum)
          : undefined;
    case "jle":
    case "jlt":
      return learnLess(bits, x, y, op === "jlt");
    case "jsle":
    case "jslt":
      return learnLessSigned(bits, x, y, op === "jslt");
  }
}

const isConst = ({ tnum }: ScalarDraft, bits: Bits): boolean =>
  (bits === 64 ? tnum.mask : tnum.mask & 0xffff_ffffn) === 0n;

function learnEqual(bits: Bits, x: ScalarDraft, y: ScalarDraft): void {
  if (bits === 32) {
    x.u32min = y.u32min = Math.max(x.u32min, y.u32min);
    x.u32max = y.u32max = Math.min(x.u32max, y.u32max);
    x.s32min = y.s32min = Math.max(x.s32min, y.s32min);
    x.s32max = y.s32max = Math.min(x.s32max, y.s32max);
    const low = tnumIntersect(tnumLow32(x.tnum), tnumLow32(y.tnum));
    x.tnum = tnumWithLow32(x.tnum, low);
    y.tnum = tnumWithLow32(y.tnum, low);
    return;
  }
  x.umin = y.umin = x.umin > y.umin ? x.umin : y.umin;
  x.umax = y.umax = x.umax < y.umax ? x.umax : y.umax;
  x.smin = y.smin = x.smin > y.smin ? x.smin : y.smin;
  x.smax = y.smax = x.smax < y.smax ? x.smax : y.smax;
  x.tnum = y.tnum = tnumIntersect(x.tnum, y.tnum);
}

/** A bound that is the excluded constant moves by one. */
function learnUnequal(bits: Bits, x: ScalarDraft, constant: ScalarDraft): void {
  if (bits === 32) {
    const value = Number(constant.tnum.value & 0xffff_ffffn);
    if (x.u32min === value) x.u32min += 1;
    if (x.u32max === value) x.u32max -= 1;
    if (x.s32min === (value | 0)) x.s32min += 1;
    if (x.s32max === (value | 0)) x.s32max -= 1;
    return;
  }
  const { value } = constant.tnum;
  const signed = BigInt.asIntN(64, value);
  if (x.umin === value) x.umin += 1n;
  if (x.umax === value) x.umax -= 1n;
  if (x.smin === signed) x.smin += 1n;
  if (x.smax === signed) x.smax -= 1n;
}

function learnBits(op: "jset" | "jnset", bits: Bits, x: ScalarDraft, constant: Tnum): void {
  const value = bits === 64 ? constant.value : constant.value & 0xffff_ffffn;
  if (op === "jset") {
    // Of several bits it is not known which one is set.
    if (value === 0n || (value & (value - 1n)) !== 0n) return;
    x.tnum = tnumOr(x.tnum, { value, mask: 0n });
    return;
  }
  x.tnum = tnumAnd(x.tnum, { value: BigInt.asUintN(64, ~value), mask: 0n });
}

function learnLess(bits: Bits, x: ScalarDraft, y: ScalarDraft, isStrict: boolean): void {
  if (bits === 32) {
    const gap = isStrict ? 1 : 0;
    x.u32max = Math.min(x.u32max, y.u32max - gap);
    y.u32min = Math.max(x.u32min + gap, y.u32min);
    return;
  }
  const gap = isStrict ? 1n : 0n;
  if (y.umax - gap < x.umax) x.umax = y.umax - gap;
  if (x.umin + gap > y.umin) y.umin = x.umin + gap;
}

function learnLessSigned(bits: Bits, x: ScalarDraft, y: ScalarDraft, isStrict: boolean): void {
  if (bits === 32) {
    const gap = isStrict ? 1 : 0;
    x.s32max = Math.min(x.s32max, y.s32max - gap);
    y.s32min = Math.max(x.s32min + gap, y.s32min);
    return;
  }
  const gap = isStrict ? 1n : 0n;
  if (y.smax - gap < x.smax) x.smax = y.smax - gap;
  if (x.smin + gap > y.smin) y.smin = x.smin + gap;
}
