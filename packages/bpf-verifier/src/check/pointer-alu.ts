/** A pointer and a number: what remains a pointer, and where to. Linux: adjust_ptr_min_max_vals(). */
import { EACCES, EINVAL } from "@alien-ts/abi";
import { ALU } from "@alien-ts/bpf-isa";
import type { AluOp, Bits } from "@alien-ts/bpf-isa";
import type { Analysis } from "../analysis.ts";
import { MAX_VARIABLE_OFFSET } from "../analysis.ts";
import { S64_MIN, ScalarDraft } from "../scalar/scalar.ts";
import type { Scalar } from "../scalar/scalar.ts";
import { applyAlu } from "../scalar/transfer.ts";
import { FLAG, kindName } from "../state/register.ts";
import type { Register } from "../state/register.ts";
import { beginSum, checkMoved, endSum } from "../speculation/masks.ts";
import type { MaskedSum } from "../speculation/masks.ts";
import { Reject, reject } from "../verdict.ts";
import type { Check } from "../verdict.ts";

export interface PointerSum {
  readonly dst: number;
  readonly op: AluOp;
  readonly bits: Bits;
  readonly base: Register;
  readonly offset: Register;
  /** The register of the second operand; undefined where the instruction holds it. */
  readonly src: number | undefined;
  /** The destination held the number. */
  readonly isSwapped: boolean;
}

export function addToPointer(analysis: Analysis, sum: PointerSum): Check {
  const { dst, op, bits, base, offset } = sum;
  const { scalar } = offset;
  if (!scalar.isPossible) {
    analysis.setUnknown(dst);
    return undefined;
  }
  if (bits !== 64) {
    if (op === "sub" && analysis.env.privileges.mayLeakPointers) {
      analysis.setUnknown(dst);
      return undefined;
    }
    return reject(EACCES, `R${dst} 32-bit pointer arithmetic prohibited`);
  }
  if (base.isMaybeNull)
    return reject(EACCES, `R${dst} pointer arithmetic on ${kindName(base)} prohibited, null-check it first`);
  // Read by probes wherever it points. Differs from Linux: a number that such a pointer is added to is not taken for unchanged.
  if (base.kind === "mem" && base.has(FLAG.UNTRUSTED)) {
    if (sum.isSwapped) analysis.setUnknown(dst);
    else analysis.set(dst, base);
    return undefined;
  }
  if (isImmovable(base, scalar, op))
    return reject(EACCES, `R${dst} pointer arithmetic on ${kindName(base)} prohibited`);
  const insane = checkOffset(offset, base) ?? checkOffset(base, base);
  if (insane !== undefined) return insane;
  switch (op) {
    case "add":
    case "sub":
      return move(analysis, { ...sum, op });
    case "and":
    case "or":
    case "xor":
      return reject(EACCES, `R${dst} bitwise operator ${ALU[op].symbol} on pointer prohibited`);
    default:
      return reject(EACCES, `R${dst} pointer arithmetic with ${ALU[op].symbol} operator prohibited`);
  }
}

/** Whether no number may be added to a pointer of this kind. */
function isImmovable(base: Register, amount: Scalar, op: AluOp): boolean {
  switch (base.kind) {
    case "map_ptr":
      return !(amount.isZero && op === "add");
    case "flow_keys":
      return !amount.isConst;
    case "pkt_end":
    case "sock":
    case "sock_common":
    case "tcp_sock":
    case "xdp_sock":
      return true;
    default:
      return false;
  }
}

const MOST_OFFSET = Number(MAX_VARIABLE_OFFSET);

/** Linux: check_reg_sane_offset(). `base` is the pointer that messages name. */
function checkOffset(register: Register, base: Register): Check {
  const { scalar } = register;
  const off = register.isPointer ? register.off : 0;
  const least = scalar.isConst ? scalar.constantNumber : scalar.sminNumber;
  if (Math.abs(least) < MOST_OFFSET && Math.abs(off) < MOST_OFFSET) return undefined;
  const name = kindName(base);
  if (scalar.isConst && (scalar.constant >= MAX_VARIABLE_OFFSET || scalar.constant <= -MAX_VARIABLE_OFFSET))
    return reject(EINVAL, `math between ${name} pointer and ${scalar.constant} is not allowed`);
  const fixed = register.isPointer ? BigInt(register.off) : 0n;
  if (fixed >= MAX_VARIABLE_OFFSET || fixed <= -MAX_VARIABLE_OFFSET)
    return reject(EINVAL, `${name} pointer offset ${fixed} is not allowed`);
  if (scalar.smin === S64_MIN)
    return reject(
      EINVAL,
      `math between ${name} pointer and register with unbounded min value is not allowed`,
    );
  if (scalar.smin >= MAX_VARIABLE_OFFSET || scalar.smin <= -MAX_VARIABLE_OFFSET)
    return reject(EINVAL, `value ${scalar.smin} makes ${name} pointer be out of bounds`);
  return undefined;
}

const fitsS32 = (x: number): boolean => x === (x | 0);

/** A known number goes into the fixed offset; another makes the position unknown. */
function added(analysis: Analysis, base: Register, { scalar }: Register): Register {
  if (scalar.isConst && fitsS32(base.off + scalar.constantNumber))
    return base.withOffset(base.off + scalar.constantNumber);
  const moved = base.with({ scalar: without32(applyAlu("add", 64, base.scalar, scalar)) });
  return base.isPacket ? moved.with({ id: analysis.newId(), range: 0 }) : moved;
}

function subtracted(analysis: Analysis, base: Register, { scalar }: Register): Register {
  if (scalar.isConst && fitsS32(base.off - scalar.constantNumber))
    return base.withOffset(base.off - scalar.constantNumber);
  const moved = base.with({ scalar: without32(applyAlu("sub", 64, base.scalar, scalar)) });
  if (!base.isPacket) return moved;
  // Something that may have been added makes the proven range meaningless.
  return moved.with({ id: analysis.newId(), ...(scalar.sminHigh < 0 ? { range: 0 } : {}) });
}

/** The low halves of offsets are not tracked; what the 64-bit views say of them is. */
function without32(scalar: Scalar): Scalar {
  const draft = new ScalarDraft(scalar);
  draft.unbound32();
  return draft.sync().freeze();
}

function move(analysis: Analysis, sum: MaskedSum): Check {
  const { op, dst, base, offset, isSwapped } = sum;
  const begun = beginSum(analysis, sum);
  if (begun instanceof Reject) return begun;
  if (op === "sub" && isSwapped) return reject(EACCES, `R${dst} tried to subtract pointer from scalar`);
  if (op === "sub" && base.kind === "fp")
    return reject(EACCES, `R${dst} subtraction from stack pointer prohibited`);
  const moved = op === "add" ? added(analysis, base, offset) : subtracted(analysis, base, offset);
  const bad =
    checkOffset(moved, moved) ?? checkMoved(analysis, dst, moved) ?? endSum(analysis, sum, begun, moved);
  if (bad !== undefined) return bad;
  analysis.set(dst, moved);
  return undefined;
}
