/**
 * Masks of pointer arithmetic: what is added to a pointer is 0 where a mispredicted path gives it a number that no right path has.
 * `beginSum` before the sum is made, `endSum` after it, `noteNumbers` for sums of numbers. Linux: sanitize_ptr_alu(),
 * sanitize_val_alu(), sanitize_check_bounds().
 */
import { EACCES, ENOMEM } from "@alien-ts/abi";
import { FRAME_BYTES } from "@alien-ts/bpf-isa";
import { checkMapValue } from "../access/region.ts";
import type { Analysis } from "../analysis.ts";
import { tnumText } from "../print.ts";
import { ScalarDraft } from "../scalar/scalar.ts";
import type { Register } from "../state/register.ts";
import { Reject, reject } from "../verdict.ts";
import type { Check } from "../verdict.ts";

/** How one instruction's operand is masked; "none" for a sum of numbers, which must not share it with one of pointers. */
export type Mask =
  | "none"
  | {
      /** The most that may be added or taken. */
      readonly limit: number;
      readonly isNegative: boolean;
      /** The number is known: it is put in place of the register. */
      readonly isConstant: boolean;
      /** The pointer is in the destination, the number in the source; otherwise the other way round. */
      readonly isSourceMasked: boolean;
    };

/** A pointer and a number that are added or subtracted. */
export interface MaskedSum {
  readonly op: "add" | "sub";
  readonly dst: number;
  /** The register of the second operand; undefined where the instruction holds it. */
  readonly src: number | undefined;
  readonly base: Register;
  readonly offset: Register;
  /** The destination held the number. */
  readonly isSwapped: boolean;
}

/** What the first half found: the mask before the sum. */
export interface Begun {
  readonly mask: Exclude<Mask, "none">;
  readonly isLeft: boolean;
}

const PROHIBITED = "pointer arithmetic with it prohibited for !root";

function needsNoMask(analysis: Analysis, src: number | undefined): boolean {
  return (
    analysis.env.privileges.bypassesSpecV1 ||
    src === undefined ||
    analysis.notes[analysis.index]!.hasBarrierBefore
  );
}

/** Undefined where nothing is masked. */
export function beginSum(analysis: Analysis, sum: MaskedSum): Begun | Reject | undefined {
  if (needsNoMask(analysis, sum.src)) return undefined;
  const { op, base, offset, isSwapped } = sum;
  const { scalar } = offset;
  const { isConst } = scalar;
  const isNegative = scalar.smin < 0n;
  const walked = isConst ? undefined : (): Check => pushUnmoved(analysis, sum);
  if (analysis.state.isSpeculative) return walked?.();
  if (!isConst && isNegative !== scalar.smax < 0n)
    return refuse(`R${numberRegister(sum)} has unknown scalar with mixed signed bounds`);
  const isLeft = (op === "add") === isNegative;
  const limit = limitOf(sum, base, isLeft);
  if (limit instanceof Reject) return limit;
  if (!isConst) analysis.exploresLimits = true;
  const full = walked?.();
  if (full !== undefined) return full;
  return { mask: { limit, isNegative, isConstant: isConst, isSourceMasked: !isSwapped }, isLeft };
}

/** The mask is as wide as the pointer has moved. */
export function endSum(analysis: Analysis, sum: MaskedSum, begun: Begun | undefined, moved: Register): Check {
  if (begun === undefined || needsNoMask(analysis, sum.src) || analysis.state.isSpeculative) return undefined;
  const limit = limitOf(sum, moved, begun.isLeft);
  if (limit instanceof Reject) return limit;
  return noteMask(analysis, sum, { ...begun.mask, limit: Math.abs((begun.mask.limit - limit) | 0) });
}

/** A sum of numbers is never masked. */
export function noteNumbers(
  analysis: Analysis,
  op: "add" | "sub",
  dst: number,
  src: number | undefined,
): Check {
  return needsNoMask(analysis, src) ? undefined : noteMask(analysis, { op, dst }, "none");
}

const numberRegister = ({ isSwapped, dst, src }: MaskedSum): number => (isSwapped ? dst : src!);
const refuse = (what: string): Reject => reject(EACCES, `${what}, ${PROHIBITED}`);

/** One instruction has one mask, whatever the path. Linux: update_alu_sanitation_state() */
function noteMask(analysis: Analysis, { op, dst }: Pick<MaskedSum, "op" | "dst">, mask: Mask): Check {
  const notes = analysis.notes[analysis.index]!;
  if (notes.mask !== undefined && !isSame(notes.mask, mask))
    return refuse(`R${dst} tried to ${op} from different maps, paths or scalars`);
  notes.mask = mask;
  return undefined;
}

function isSame(a: Mask, b: Mask): boolean {
  if (a === "none" || b === "none") return a === b;
  return (
    a.limit === b.limit &&
    a.isNegative === b.isNegative &&
    a.isConstant === b.isConstant &&
    a.isSourceMasked === b.isSourceMasked
  );
}

/** How far the pointer may move to that side. Linux: retrieve_ptr_limit() */
function limitOf(sum: MaskedSum, pointer: Register, isLeft: boolean): number | Reject {
  const { op, dst, src, isSwapped } = sum;
  const { scalar, off } = pointer;
  let limit: number;
  let most: number;
  if (pointer.kind === "fp" && pointer.flags === 0) {
    // The frame pointer itself is outside, and where steps to the left begin.
    most = FRAME_BYTES + (isLeft ? 1 : 0);
    limit = -(Number(BigInt.asIntN(32, scalar.tnum.value)) + off);
  } else if (pointer.kind === "map_value" && pointer.flags === 0) {
    most = pointer.map!.valueSize;
    limit = Number(BigInt.asIntN(32, isLeft ? scalar.smin : scalar.umax)) + off;
  } else return refuse(`R${isSwapped ? src! : dst} has pointer with unsupported alu operation`);
  return limit >>> 0 >= most ? refuse(`R${dst} tried to ${op} beyond pointer bounds`) : limit >>> 0;
}

/** The path on which the mask gives 0: the pointer has not moved. */
function pushUnmoved(analysis: Analysis, { dst, base, isSwapped }: MaskedSum): Check {
  const state = analysis.state.copy();
  const draft = new ScalarDraft(base.scalar);
  draft.unbound32();
  state.registers[dst] = isSwapped ? base : base.withScalar(draft.freeze());
  const full = analysis.push(analysis.index + 1, state, true);
  if (full === undefined) return undefined;
  const refusal = `R${dst} could not be pushed for speculative verification, ${PROHIBITED}`;
  return reject(ENOMEM, `${full.message}\n${refusal}`);
}

/** Where pointers may be moved to, even if nothing is read there. Linux: sanitize_check_bounds() */
export function checkMoved(analysis: Analysis, dst: number, moved: Register): Check {
  if (analysis.env.privileges.bypassesSpecV1 || moved.flags !== 0) return undefined;
  const { scalar, kind } = moved;
  if (kind === "map_value") {
    const outside = checkMapValue(
      moved,
      { number: dst, off: moved.off, size: 1, isZeroAllowed: false },
      false,
    );
    if (outside === undefined) return undefined;
    const what = `R${dst} pointer arithmetic of map value goes out of range, prohibited for !root`;
    return reject(EACCES, `${outside.message}\n${what}`);
  }
  if (kind !== "fp") return undefined;
  const off = moved.off + Number(BigInt.asIntN(32, scalar.tnum.value));
  if (!scalar.isConst) {
    const where = `var_off=${tnumText(scalar.tnum)} off=${off}`;
    return reject(EACCES, `R${dst} variable stack access prohibited for !root, ${where}`);
  }
  if (off < 0 && off >= -FRAME_BYTES) return undefined;
  const what = `R${dst} stack pointer arithmetic goes out of range, prohibited for !root; off=${off}`;
  return reject(EACCES, what);
}
