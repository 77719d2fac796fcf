/**
 * Decoding of the C extension of RV64 (RISC-V Unprivileged ISA, chapter "C", listing "RVC instruction listings").
 *
 * Each compressed instruction becomes the instruction that the listing says it expands to, with length 2. Reserved encodings
 * (c.addi4spn, c.addi16sp and c.lui of 0, c.addiw to x0, c.lwsp and c.ldsp to x0, c.jr of x0, …) are `illegal`; hints execute
 * as the instruction they are encoded as, which changes nothing; the double-precision loads and stores are `unsupported`.
 */
import { type Instruction, Kind, make, Op, registerRead, registerWrite } from "./instruction.ts";

/** @param bits 16 bits whose low two are not 11. */
export function decodeCompressed(bits: number): Instruction {
  switch (((bits & 3) << 3) | (bits >>> 13)) {
    case 0o00:
      return addi4spn(bits);
    case 0o02:
      return expand(bits, Kind.load, Op.lw, { rd: low(bits, 2), rs1: low(bits, 7), imm: immWord(bits) });
    case 0o03:
      return expand(bits, Kind.load, Op.ld, { rd: low(bits, 2), rs1: low(bits, 7), imm: immDouble(bits) });
    case 0o06:
      return expand(bits, Kind.store, Op.sw, { rs2: low(bits, 2), rs1: low(bits, 7), imm: immWord(bits) });
    case 0o07:
      return expand(bits, Kind.store, Op.sd, { rs2: low(bits, 2), rs1: low(bits, 7), imm: immDouble(bits) });
    case 0o10:
      return expand(bits, Kind.aluImm, Op.add, { rd: full(bits, 7), rs1: full(bits, 7), imm: imm6(bits) });
    case 0o11:
      return addiw(bits);
    case 0o12:
      return expand(bits, Kind.aluImm, Op.add, { rd: full(bits, 7), imm: imm6(bits) });
    case 0o13:
      return full(bits, 7) === SP ? addi16sp(bits) : lui(bits);
    case 0o14:
      return miscAlu(bits);
    case 0o15:
      return expand(bits, Kind.jal, Op.none, { imm: immJump(bits) });
    case 0o16:
      return expand(bits, Kind.branch, Op.beq, { rs1: low(bits, 7), imm: immBranch(bits) });
    case 0o17:
      return expand(bits, Kind.branch, Op.bne, { rs1: low(bits, 7), imm: immBranch(bits) });
    default:
      return quadrant2AndRest(bits);
  }
}

function quadrant2AndRest(bits: number): Instruction {
  const rd = full(bits, 7);
  const rs2 = full(bits, 2);
  switch (((bits & 3) << 3) | (bits >>> 13)) {
    case 0o20:
      return expand(bits, Kind.aluImm, Op.sll, { rd, rs1: rd, imm: imm6(bits) & 63 });
    case 0o22:
      return rd === 0 ? illegal(bits) : expand(bits, Kind.load, Op.lw, { rd, rs1: SP, imm: immLwsp(bits) });
    case 0o23:
      return rd === 0 ? illegal(bits) : expand(bits, Kind.load, Op.ld, { rd, rs1: SP, imm: immLdsp(bits) });
    case 0o24:
      return jumpOrAdd(bits);
    case 0o26:
      return expand(bits, Kind.store, Op.sw, { rs2, rs1: SP, imm: immSwsp(bits) });
    case 0o27:
      return expand(bits, Kind.store, Op.sd, { rs2, rs1: SP, imm: immSdsp(bits) });
    case 0o01: // c.fld
    case 0o05: // c.fsd
    case 0o21: // c.fldsp
    case 0o25: // c.fsdsp
      return expand(bits, Kind.unsupported, Op.none, {});
    default:
      return illegal(bits);
  }
}

function addi4spn(bits: number): Instruction {
  const imm = ((bits >>> 7) & 0x30) | ((bits >>> 1) & 0x3c0) | ((bits >>> 4) & 4) | ((bits >>> 2) & 8);
  return imm === 0 ? illegal(bits) : expand(bits, Kind.aluImm, Op.add, { rd: low(bits, 2), rs1: SP, imm });
}

function addiw(bits: number): Instruction {
  const rd = full(bits, 7);
  return rd === 0 ? illegal(bits) : expand(bits, Kind.aluImm, Op.addw, { rd, rs1: rd, imm: imm6(bits) });
}

function addi16sp(bits: number): Instruction {
  const imm =
    (sign(bits) << 9) |
    ((bits >>> 2) & 0x10) |
    ((bits << 1) & 0x40) |
    ((bits << 4) & 0x180) |
    ((bits << 3) & 0x20);
  return imm === 0 ? illegal(bits) : expand(bits, Kind.aluImm, Op.add, { rd: SP, rs1: SP, imm });
}

function lui(bits: number): Instruction {
  const imm = imm6(bits) << 12;
  return imm === 0 ? illegal(bits) : expand(bits, Kind.lui, Op.none, { rd: full(bits, 7), imm });
}

function miscAlu(bits: number): Instruction {
  const rd = low(bits, 7);
  const imm = imm6(bits);
  switch ((bits >>> 10) & 3) {
    case 0:
      return expand(bits, Kind.aluImm, Op.srl, { rd, rs1: rd, imm: imm & 63 });
    case 1:
      return expand(bits, Kind.aluImm, Op.sra, { rd, rs1: rd, imm: imm & 63 });
    case 2:
      return expand(bits, Kind.aluImm, Op.and, { rd, rs1: rd, imm });
    default: {
      const op = MISC_ALU[((bits >>> 10) & 4) | ((bits >>> 5) & 3)];
      return op === undefined
        ? illegal(bits)
        : expand(bits, Kind.alu, op, { rd, rs1: rd, rs2: low(bits, 2) });
    }
  }
}

/** By bit 12 and bits 6..5; the last two are reserved. */
const MISC_ALU = [Op.sub, Op.xor, Op.or, Op.and, Op.subw, Op.addw] as const;

/** c.jr, c.mv, c.ebreak, c.jalr, c.add */
function jumpOrAdd(bits: number): Instruction {
  const rd = full(bits, 7);
  const rs2 = full(bits, 2);
  const isLinking = (bits & 0x1000) !== 0;
  if (rs2 !== 0) return expand(bits, Kind.alu, Op.add, { rd, rs1: isLinking ? rd : 0, rs2 });
  if (rd === 0) return isLinking ? expand(bits, Kind.ebreak, Op.none, {}) : illegal(bits);
  return expand(bits, Kind.jalr, Op.none, { rd: isLinking ? RA : 0, rs1: rd });
}

interface Operands {
  readonly rd?: number;
  readonly rs1?: number;
  readonly rs2?: number;
  readonly imm?: number;
}

const expand = (
  bits: number,
  kind: Kind,
  op: Op,
  { rd = 0, rs1 = 0, rs2 = 0, imm = 0 }: Operands,
): Instruction =>
  make({
    kind,
    op,
    length: 2,
    bits,
    imm,
    rd: registerWrite(rd),
    rs1: registerRead(rs1),
    rs2: registerRead(rs2),
  });

const illegal = (bits: number): Instruction => expand(bits, Kind.illegal, Op.none, {});

const RA = 1;
const SP = 2;

/** One of x8 … x15. */
const low = (bits: number, shift: number): number => 8 + ((bits >>> shift) & 7);
const full = (bits: number, shift: number): number => (bits >>> shift) & 31;
/** 0 or -1. */
const sign = (bits: number): number => (bits << 19) >> 31;

const imm6 = (bits: number): number => (sign(bits) << 5) | ((bits >>> 2) & 31);
const immWord = (bits: number): number => ((bits >>> 7) & 0x38) | ((bits >>> 4) & 4) | ((bits << 1) & 0x40);
const immDouble = (bits: number): number => ((bits >>> 7) & 0x38) | ((bits << 1) & 0xc0);
const immLwsp = (bits: number): number =>
  ((bits >>> 7) & 0x20) | ((bits >>> 2) & 0x1c) | ((bits << 4) & 0xc0);
const immLdsp = (bits: number): number =>
  ((bits >>> 7) & 0x20) | ((bits >>> 2) & 0x18) | ((bits << 4) & 0x1c0);
const immSwsp = (bits: number): number => ((bits >>> 7) & 0x3c) | ((bits >>> 1) & 0xc0);
const immSdsp = (bits: number): number => ((bits >>> 7) & 0x38) | ((bits >>> 1) & 0x1c0);
const immJump = (bits: number): number =>
  (sign(bits) << 11) |
  ((bits << 2) & 0x400) |
  ((bits >>> 1) & 0x300) |
  ((bits << 1) & 0x80) |
  ((bits >>> 1) & 0x40) |
  ((bits << 3) & 0x20) |
  ((bits >>> 7) & 0x10) |
  ((bits >>> 2) & 0xe);
const immBranch = (bits: number): number =>
  (sign(bits) << 8) |
  ((bits << 1) & 0xc0) |
  ((bits << 3) & 0x20) |
  ((bits >>> 7) & 0x18) |
  ((bits >>> 2) & 0x6);
