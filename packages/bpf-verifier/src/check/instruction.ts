/**
 * One instruction by itself: reserved fields, registers, constants. Linux: do_check_insn() and what it calls.
 *
 * Differs from Linux: no value is tracked yet, so that of the register checks only the two remain which need none (`is
 * invalid`, `frame pointer is read only`); the VM holds every access against memory at run time instead.
 */
import { EACCES, EINVAL } from "@alien-ts/abi";
import {
  ATOMIC,
  CALL,
  CLASS,
  LOAD_ACQUIRE,
  MODE,
  REG,
  REGISTERS,
  SIZE,
  STORE_RELEASE,
  identify,
} from "@alien-ts/bpf-isa";
import type { Insn } from "@alien-ts/bpf-isa";
import type { Verification } from "../state.ts";
import { reject } from "../verdict.ts";
import type { Check } from "../verdict.ts";
import { checkHelperCall } from "./call.ts";
import { checkStackAccess } from "./stack.ts";

export function checkInstruction(verification: Verification, insn: Insn): Check {
  switch (insn.opcode & 7) {
    case CLASS.ALU:
    case CLASS.ALU64:
      return checkAlu(insn);
    case CLASS.LDX:
      return reads(insn.src) ?? writes(insn.dst) ?? checkStackAccess(insn, insn.src, "read");
    case CLASS.STX:
      return (insn.opcode & 0xe0) === MODE.ATOMIC ? checkAtomic(insn) : checkStore(insn);
    case CLASS.ST:
      if ((insn.opcode & 0xe0) !== MODE.MEM || insn.src !== 0) return reserved("BPF_ST");
      return reads(insn.dst) ?? checkStackAccess(insn, insn.dst, "write");
    case CLASS.LD:
      return checkLoadImmediate(verification, insn);
    default:
      return checkJump(verification, insn);
  }
}

const reserved = (what: string): Check => reject(EINVAL, `${what} uses reserved fields`);

/** check_reg_arg(): the register exists. */
function reads(register: number): Check {
  return register < REGISTERS ? undefined : reject(EINVAL, `R${register} is invalid`);
}

/** check_reg_arg(): and is not the frame pointer. */
function writes(register: number): Check {
  return reads(register) ?? (register === REG.R10 ? reject(EACCES, "frame pointer is read only") : undefined);
}

/** check_alu_op() */
function checkAlu(insn: Insn): Check {
  const { opcode, dst, src, off, imm } = insn;
  const operation = opcode & 0xf0;
  const isRegister = (opcode & 8) !== 0;
  if (operation === 0x80) {
    if (isRegister || src !== 0 || off !== 0 || imm !== 0) return reserved("BPF_NEG");
    return writes(dst);
  }
  if (operation === 0xd0) {
    const isWidth = imm === 16 || imm === 32 || imm === 64;
    if (src !== 0 || off !== 0 || !isWidth || identify(insn) === undefined) return reserved("BPF_END");
    return writes(dst);
  }
  if (operation === 0xb0) {
    const hasSource = isRegister ? imm === 0 && isMoveOffset(opcode, off) : src === 0 && off === 0;
    if (!hasSource) return reserved("BPF_MOV");
    return (isRegister ? reads(src) : undefined) ?? writes(dst);
  }
  const isDivision = operation === 0x30 || operation === 0x90;
  const isOffset = off === 0 || (off === 1 && isDivision);
  if ((isRegister ? imm !== 0 : src !== 0) || !isOffset) return reserved("BPF_ALU");
  return (
    (isRegister ? reads(src) : undefined) ?? reads(dst) ?? checkConstant(insn, isDivision) ?? writes(dst)
  );
}

/** 8, 16 and 32 are sign extensions from fewer bits. */
function isMoveOffset(opcode: number, off: number): boolean {
  return off === 0 || off === 8 || off === 16 || (off === 32 && (opcode & 7) === CLASS.ALU64);
}

function checkConstant({ opcode, imm }: Insn, isDivision: boolean): Check {
  if ((opcode & 8) !== 0) return undefined;
  if (isDivision && imm === 0) return reject(EINVAL, "div by zero");
  const operation = opcode & 0xf0;
  const isShift = operation === 0x60 || operation === 0x70 || operation === 0xc0;
  const bits = (opcode & 7) === CLASS.ALU64 ? 64 : 32;
  return isShift && (imm < 0 || imm >= bits) ? reject(EINVAL, `invalid shift ${imm}`) : undefined;
}

function checkStore(insn: Insn): Check {
  if ((insn.opcode & 0xe0) !== MODE.MEM || insn.imm !== 0) return reserved("BPF_STX");
  return reads(insn.src) ?? reads(insn.dst) ?? checkStackAccess(insn, insn.dst, "write");
}

const RMW_OPERATIONS: readonly number[] = Object.values(ATOMIC).map(({ imm }) => imm);

/** check_atomic() */
function checkAtomic(insn: Insn): Check {
  const { opcode, dst, src, imm } = insn;
  if (imm === LOAD_ACQUIRE) return reads(src) ?? writes(dst) ?? checkStackAccess(insn, src, "read");
  if (imm === STORE_RELEASE) return reads(src) ?? reads(dst) ?? checkStackAccess(insn, dst, "write");
  if (!RMW_OPERATIONS.includes(imm)) {
    return reject(
      EINVAL,
      `BPF_ATOMIC uses invalid atomic opcode ${(imm >>> 0).toString(16).padStart(2, "0")}`,
    );
  }
  const size = opcode & 0x18;
  if (size !== SIZE.W && size !== SIZE.DW) return reject(EINVAL, "invalid atomic operand size");
  const writesSource = (imm & 1) !== 0 && imm !== ATOMIC.cmpxchg.imm;
  return (
    reads(src) ??
    reads(dst) ??
    (writesSource ? writes(src) : undefined) ??
    checkStackAccess(insn, dst, "read")
  );
}

/** check_ld_imm(), check_ld_abs() */
function checkLoadImmediate({ env }: Verification, insn: Insn): Check {
  const mode = insn.opcode & 0xe0;
  if (mode === MODE.IMM) {
    return insn.off === 0 ? writes(insn.dst) : reserved("BPF_LD_IMM64");
  }
  if (!env.programType.hasPacketLoads) {
    return reject(EINVAL, "BPF_LD_[ABS|IND] instructions not allowed for this program type");
  }
  const isIndirect = mode === MODE.IND;
  if (insn.dst !== 0 || insn.off !== 0 || (!isIndirect && insn.src !== 0))
    return reserved("BPF_LD_[ABS|IND]");
  return isIndirect ? reads(insn.src) : undefined;
}

function checkJump(verification: Verification, insn: Insn): Check {
  const { opcode, dst, src, off, imm } = insn;
  const isWide = (opcode & 7) === CLASS.JMP32;
  switch (opcode & 0xf0) {
    case 0x80:
      if (src > CALL.KFUNC || (src !== CALL.KFUNC && off !== 0) || dst !== 0) return reserved("BPF_CALL");
      return src === CALL.HELPER ? checkHelperCall(verification, imm) : undefined;
    case 0x90:
      return src !== 0 || dst !== 0 || imm !== 0 || off !== 0 ? reserved("BPF_EXIT") : undefined;
    case 0x00:
      return src !== 0 || dst !== 0 || (isWide ? off : imm) !== 0 ? reserved("BPF_JA") : undefined;
    case 0xe0:
      return src !== 0 || dst !== 0 || imm !== 0 ? reject(EINVAL, `invalid may_goto imm ${imm}`) : undefined;
    default: {
      const isRegister = (opcode & 8) !== 0;
      if (isRegister ? imm !== 0 : src !== 0) return reserved("BPF_JMP/JMP32");
      return (isRegister ? reads(src) : undefined) ?? reads(dst);
    }
  }
}
