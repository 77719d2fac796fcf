/**
 * A predecoded instruction: the form that decode.ts makes and cpu.ts executes.
 *
 * All records have one shape and are never changed after `make`. `kind` selects the work (the Cpu's first switch), `op` the
 * operation within it. Registers are indices of 32-bit words from the start of a context: the low word of x_i is at 2·i, the
 * high word after it.
 */
import { SINK_WORD, ZERO_WORD } from "./pt-regs.ts";

export interface Instruction {
  readonly kind: Kind;
  readonly op: Op;
  readonly rd: number;
  readonly rs1: number;
  readonly rs2: number;
  /** Sign-extended to 32 bits; a host call's index; the value of lui and auipc. */
  readonly imm: number;
  readonly length: 2 | 4;
  /** As fetched: 16 or 32 bits, unsigned. */
  readonly bits: number;
}

export const Kind = {
  illegal: 0,
  unsupported: 1,
  alu: 2,
  aluImm: 3,
  mul: 4,
  load: 5,
  store: 6,
  branch: 7,
  lui: 8,
  auipc: 9,
  jal: 10,
  jalr: 11,
  fence: 12,
  fenceI: 13,
  ecall: 14,
  ebreak: 15,
  hostCall: 16,
} as const;
export type Kind = (typeof Kind)[keyof typeof Kind];

export const Op = {
  none: 0,
  add: 1,
  sub: 2,
  sll: 3,
  slt: 4,
  sltu: 5,
  xor: 6,
  srl: 7,
  sra: 8,
  or: 9,
  and: 10,
  addw: 11,
  subw: 12,
  sllw: 13,
  srlw: 14,
  sraw: 15,
  mul: 16,
  mulh: 17,
  mulhsu: 18,
  mulhu: 19,
  div: 20,
  divu: 21,
  rem: 22,
  remu: 23,
  mulw: 24,
  divw: 25,
  divuw: 26,
  remw: 27,
  remuw: 28,
  lb: 29,
  lh: 30,
  lw: 31,
  ld: 32,
  lbu: 33,
  lhu: 34,
  lwu: 35,
  sb: 36,
  sh: 37,
  sw: 38,
  sd: 39,
  beq: 40,
  bne: 41,
  blt: 42,
  bge: 43,
  bltu: 44,
  bgeu: 45,
} as const;
export type Op = (typeof Op)[keyof typeof Op];

/** The one place that makes records, so that they share a hidden class. */
export const make = (fields: Instruction): Instruction => ({
  kind: fields.kind,
  op: fields.op,
  rd: fields.rd,
  rs1: fields.rs1,
  rs2: fields.rs2,
  imm: fields.imm,
  length: fields.length,
  bits: fields.bits,
});

export const registerRead = (x: number): number => 2 * (x === 0 ? ZERO_WORD : x);
export const registerWrite = (x: number): number => 2 * (x === 0 ? SINK_WORD : x);
