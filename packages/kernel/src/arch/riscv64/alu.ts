/**
 * Execution of the register-to-register instructions: `alu` (RV64I) and `multiply` (RV64M).
 *
 * Both read operand `a` from the instruction's rs1 and take operand `b` as two words, so that immediates use the same code, and
 * write rd in the context. `context` is the index of the context's first 32-bit word in `regs`.
 */
import {
  add64,
  divideSigned64,
  divideUnsigned64,
  lessSigned,
  lessUnsigned,
  mul64,
  mulHighSigned64,
  mulHighSignedUnsigned64,
  mulHighUnsigned64,
  shiftLeft64,
  shiftRightArithmetic64,
  shiftRightLogical64,
  sub64,
} from "./arithmetic.ts";
import { type Instruction, Op } from "./instruction.ts";

export function alu(regs: Int32Array, context: number, insn: Instruction, bl: number, bh: number): void {
  const rd = context + insn.rd;
  const al = regs[context + insn.rs1]!;
  const ah = regs[context + insn.rs1 + 1]!;
  switch (insn.op) {
    case Op.add:
      return add64(regs, rd, al, ah, bl, bh);
    case Op.sub:
      return sub64(regs, rd, al, ah, bl, bh);
    case Op.sll:
      return shiftLeft64(regs, rd, al, ah, bl & 63);
    case Op.srl:
      return shiftRightLogical64(regs, rd, al, ah, bl & 63);
    case Op.sra:
      return shiftRightArithmetic64(regs, rd, al, ah, bl & 63);
    case Op.slt:
      return setPair(regs, rd, lessSigned(al, ah, bl, bh) ? 1 : 0, 0);
    case Op.sltu:
      return setPair(regs, rd, lessUnsigned(al, ah, bl, bh) ? 1 : 0, 0);
    case Op.xor:
      return setPair(regs, rd, al ^ bl, ah ^ bh);
    case Op.or:
      return setPair(regs, rd, al | bl, ah | bh);
    case Op.and:
      return setPair(regs, rd, al & bl, ah & bh);
    case Op.addw:
      return setWord(regs, rd, (al + bl) | 0);
    case Op.subw:
      return setWord(regs, rd, (al - bl) | 0);
    case Op.sllw:
      return setWord(regs, rd, al << bl);
    case Op.srlw:
      return setWord(regs, rd, (al >>> bl) | 0);
    case Op.sraw:
      return setWord(regs, rd, al >> bl);
    default:
      throw new Error(`operation ${insn.op} is not one of the alu's`);
  }
}

/** @param scratch four words, for the halves of a division. */
export function multiply(regs: Int32Array, context: number, insn: Instruction, scratch: Int32Array): void {
  const rd = context + insn.rd;
  const al = regs[context + insn.rs1]!;
  const ah = regs[context + insn.rs1 + 1]!;
  const bl = regs[context + insn.rs2]!;
  const bh = regs[context + insn.rs2 + 1]!;
  switch (insn.op) {
    case Op.mul:
      return mul64(regs, rd, al, ah, bl, bh);
    case Op.mulh:
      return mulHighSigned64(regs, rd, al, ah, bl, bh);
    case Op.mulhsu:
      return mulHighSignedUnsigned64(regs, rd, al, ah, bl, bh);
    case Op.mulhu:
      return mulHighUnsigned64(regs, rd, al, ah, bl, bh);
    case Op.div:
      divideSigned64(scratch, al, ah, bl, bh);
      return setPair(regs, rd, scratch[0]!, scratch[1]!);
    case Op.divu:
      divideUnsigned64(scratch, al, ah, bl, bh);
      return setPair(regs, rd, scratch[0]!, scratch[1]!);
    case Op.rem:
      divideSigned64(scratch, al, ah, bl, bh);
      return setPair(regs, rd, scratch[2]!, scratch[3]!);
    case Op.remu:
      divideUnsigned64(scratch, al, ah, bl, bh);
      return setPair(regs, rd, scratch[2]!, scratch[3]!);
    case Op.mulw:
      return setWord(regs, rd, Math.imul(al, bl));
    // A division by zero gives NaN, which `| 0` would make 0; -2^31 / -1 = 2^31, which `| 0` wraps as the ISA wants.
    case Op.divw:
      return setWord(regs, rd, bl === 0 ? -1 : (al / bl) | 0);
    case Op.divuw:
      return setWord(regs, rd, bl === 0 ? -1 : ((al >>> 0) / (bl >>> 0)) | 0);
    case Op.remw:
      return setWord(regs, rd, bl === 0 ? al : (al % bl) | 0);
    case Op.remuw:
      return setWord(regs, rd, bl === 0 ? al : ((al >>> 0) % (bl >>> 0)) | 0);
    default:
      throw new Error(`operation ${insn.op} is not one of the multiplier's`);
  }
}

/** Whether the branch is taken. */
export function isTaken(regs: Int32Array, context: number, insn: Instruction): boolean {
  const al = regs[context + insn.rs1]!;
  const ah = regs[context + insn.rs1 + 1]!;
  const bl = regs[context + insn.rs2]!;
  const bh = regs[context + insn.rs2 + 1]!;
  switch (insn.op) {
    case Op.beq:
      return al === bl && ah === bh;
    case Op.bne:
      return al !== bl || ah !== bh;
    case Op.blt:
      return lessSigned(al, ah, bl, bh);
    case Op.bge:
      return !lessSigned(al, ah, bl, bh);
    case Op.bltu:
      return lessUnsigned(al, ah, bl, bh);
    case Op.bgeu:
      return !lessUnsigned(al, ah, bl, bh);
    default:
      throw new Error(`operation ${insn.op} is not a branch`);
  }
}

export function setPair(regs: Int32Array, rd: number, low: number, high: number): void {
  regs[rd] = low;
  regs[rd + 1] = high;
}

/** A 32-bit result, sign-extended. */
export function setWord(regs: Int32Array, rd: number, low: number): void {
  regs[rd] = low;
  regs[rd + 1] = low >> 31;
}
