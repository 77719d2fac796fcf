/**
 * Predecoding of RV64IMC with Zifencei and the host call.
 *
 * `decode(bits)` turns the bits of one instruction into an `Instruction`: what kind of work it is, which operation, where its
 * registers lie in a context (as indices of 32-bit words, x0 already mapped to the zero or the sink word), and its immediate.
 * Compressed instructions become their 32-bit equivalents of length 2 (decode-compressed.ts), so that execution knows one
 * form. Every encoding has an answer: what this hart does not have is `unsupported` (Zicsr, privileged instructions, A, F, D),
 * what nobody has is `illegal`; both trap when executed.
 *
 * Formats: RISC-V Unprivileged ISA, chapter "RV32/64G Instruction Set Listings".
 */
import { hostCallIndex } from "@alien-ts/kprobe";
import { decodeCompressed } from "./decode-compressed.ts";
import { type Instruction, Kind, make, Op, registerRead, registerWrite } from "./instruction.ts";

/** Bytes of the instruction whose first 16 bits are `half`. */
export const instructionLength = (half: number): 2 | 4 => ((half & 3) === 3 ? 4 : 2);

/** @param bits 32 bits; of a compressed instruction only the low half is looked at. */
export function decode(bits: number): Instruction {
  if ((bits & 3) !== 3) return decodeCompressed(bits & 0xffff);
  switch (bits & 0x7f) {
    case 0x03:
      return load(bits);
    case 0x0f:
      return fence(bits);
    case 0x13:
      return opImm(bits);
    case 0x17:
      return upper(Kind.auipc, bits);
    case 0x1b:
      return opImm32(bits);
    case 0x23:
      return store(bits);
    case 0x33:
      return registerOp(bits, OP);
    case 0x37:
      return upper(Kind.lui, bits);
    case 0x3b:
      return registerOp(bits, OP_32);
    case 0x63:
      return branch(bits);
    case 0x67:
      return jalr(bits);
    case 0x6f:
      return plain(Kind.jal, Op.none, bits, 0, 0, immJ(bits));
    case 0x73:
      return system(bits);
    case 0x0b:
      return hostCall(bits);
    default:
      return plain(
        UNSUPPORTED_OPCODES.has(bits & 0x7f) ? Kind.unsupported : Kind.illegal,
        Op.none,
        bits,
        0,
        0,
        0,
      );
  }
}

/** LOAD-FP, STORE-FP, AMO, MADD, MSUB, NMSUB, NMADD, OP-FP. */
const UNSUPPORTED_OPCODES: ReadonlySet<number> = new Set([0x07, 0x27, 0x2f, 0x43, 0x47, 0x4b, 0x4f, 0x53]);

const rdOf = (bits: number): number => (bits >>> 7) & 31;
const rs1Of = (bits: number): number => (bits >>> 15) & 31;
const rs2Of = (bits: number): number => (bits >>> 20) & 31;
const funct3Of = (bits: number): number => (bits >>> 12) & 7;
const immI = (bits: number): number => bits >> 20;
const immS = (bits: number): number => ((bits >> 25) << 5) | rdOf(bits);
const immB = (bits: number): number =>
  ((bits >> 31) << 12) | ((bits << 4) & 0x800) | ((bits >>> 20) & 0x7e0) | ((bits >>> 7) & 0x1e);
const immJ = (bits: number): number =>
  ((bits >> 31) << 20) | (bits & 0xf_f000) | ((bits >>> 9) & 0x800) | ((bits >>> 20) & 0x7fe);

/** The instruction with the registers of its fields, as the format has them. */
const plain = (kind: Kind, op: Op, bits: number, rs1: number, rs2: number, imm: number): Instruction =>
  make({
    kind,
    op,
    length: 4,
    bits: bits >>> 0,
    imm,
    rd: registerWrite(rdOf(bits)),
    rs1: registerRead(rs1),
    rs2: registerRead(rs2),
  });

const illegal = (bits: number): Instruction => plain(Kind.illegal, Op.none, bits, 0, 0, 0);

const upper = (kind: Kind, bits: number): Instruction => plain(kind, Op.none, bits, 0, 0, bits & ~0xfff);

function load(bits: number): Instruction {
  const op = [Op.lb, Op.lh, Op.lw, Op.ld, Op.lbu, Op.lhu, Op.lwu][funct3Of(bits)];
  return op === undefined ? illegal(bits) : plain(Kind.load, op, bits, rs1Of(bits), 0, immI(bits));
}

function store(bits: number): Instruction {
  const op = [Op.sb, Op.sh, Op.sw, Op.sd][funct3Of(bits)];
  return op === undefined ? illegal(bits) : plain(Kind.store, op, bits, rs1Of(bits), rs2Of(bits), immS(bits));
}

function branch(bits: number): Instruction {
  const op = [Op.beq, Op.bne, undefined, undefined, Op.blt, Op.bge, Op.bltu, Op.bgeu][funct3Of(bits)];
  return op === undefined
    ? illegal(bits)
    : plain(Kind.branch, op, bits, rs1Of(bits), rs2Of(bits), immB(bits));
}

const jalr = (bits: number): Instruction =>
  funct3Of(bits) === 0 ? plain(Kind.jalr, Op.none, bits, rs1Of(bits), 0, immI(bits)) : illegal(bits);

function opImm(bits: number): Instruction {
  const funct3 = funct3Of(bits);
  if (funct3 === 1 || funct3 === 5) {
    const funct6 = bits >>> 26;
    const op = funct3 === 1 ? (funct6 === 0 ? Op.sll : undefined) : rightShift(funct6, Op.srl, Op.sra);
    return op === undefined
      ? illegal(bits)
      : plain(Kind.aluImm, op, bits, rs1Of(bits), 0, (bits >>> 20) & 63);
  }
  const op = [Op.add, Op.none, Op.slt, Op.sltu, Op.xor, Op.none, Op.or, Op.and][funct3]!;
  return plain(Kind.aluImm, op, bits, rs1Of(bits), 0, immI(bits));
}

function opImm32(bits: number): Instruction {
  const funct3 = funct3Of(bits);
  if (funct3 === 0) return plain(Kind.aluImm, Op.addw, bits, rs1Of(bits), 0, immI(bits));
  const isFiveBits = ((bits >>> 25) & 1) === 0;
  const funct6 = bits >>> 26;
  const left = funct3 === 1 && funct6 === 0 ? Op.sllw : undefined;
  const op = funct3 === 5 ? rightShift(funct6, Op.srlw, Op.sraw) : left;
  return op === undefined || !isFiveBits
    ? illegal(bits)
    : plain(Kind.aluImm, op, bits, rs1Of(bits), 0, rs2Of(bits));
}

const rightShift = (funct6: number, logical: Op, arithmetic: Op): Op | undefined =>
  funct6 === 0 ? logical : funct6 === 0x10 ? arithmetic : undefined;

/** Operations of OP and OP-32 by funct7, then funct3. */
type RegisterOps = Readonly<Record<number, readonly (Op | undefined)[]>>;
const OP: RegisterOps = {
  0x00: [Op.add, Op.sll, Op.slt, Op.sltu, Op.xor, Op.srl, Op.or, Op.and],
  0x01: [Op.mul, Op.mulh, Op.mulhsu, Op.mulhu, Op.div, Op.divu, Op.rem, Op.remu],
  0x20: [Op.sub, undefined, undefined, undefined, undefined, Op.sra],
};
const OP_32: RegisterOps = {
  0x00: [Op.addw, Op.sllw, undefined, undefined, undefined, Op.srlw],
  0x01: [Op.mulw, undefined, undefined, undefined, Op.divw, Op.divuw, Op.remw, Op.remuw],
  0x20: [Op.subw, undefined, undefined, undefined, undefined, Op.sraw],
};

function registerOp(bits: number, table: RegisterOps): Instruction {
  const funct7 = bits >>> 25;
  const op = table[funct7]?.[funct3Of(bits)];
  if (op === undefined) return illegal(bits);
  return plain(funct7 === 1 ? Kind.mul : Kind.alu, op, bits, rs1Of(bits), rs2Of(bits), 0);
}

function fence(bits: number): Instruction {
  const funct3 = funct3Of(bits);
  if (funct3 > 1) return illegal(bits);
  return plain(funct3 === 0 ? Kind.fence : Kind.fenceI, Op.none, bits, 0, 0, 0);
}

function system(bits: number): Instruction {
  const kind = bits === 0x73 ? Kind.ecall : bits === 0x0010_0073 ? Kind.ebreak : Kind.unsupported;
  return plain(kind, Op.none, bits, 0, 0, 0);
}

function hostCall(bits: number): Instruction {
  const index = hostCallIndex(bits);
  return index < 0 ? illegal(bits) : plain(Kind.hostCall, Op.none, bits, 0, 0, index);
}
