/**
 * Simulation of the riscv64 instructions that read or write the pc, on a trap frame (Linux:
 * arch/riscv/kernel/probes/simulate-insn.c; formats: RISC-V Unprivileged ISA, chapters "RV32I" and "C").
 *
 * Registers are pairs of 32-bit words; no BigInt.
 */
import type { KAddr } from "@alien-ts/abi";
import type { ProbeArgs } from "../probe-args.ts";

export type Simulation = (args: ProbeArgs, addr: KAddr) => void;

/** The simulation of the instruction `bits`, or undefined if it can run out of line. */
export const simulationOf = (bits: number): Simulation | undefined =>
  (bits & 3) === 3 ? fullSimulation(bits) : compressedSimulation(bits);

function fullSimulation(bits: number): Simulation | undefined {
  const rd = (bits >>> 7) & 31;
  const rs1 = (bits >>> 15) & 31;
  switch (bits & 0x7f) {
    case 0x17:
      return (args, addr) => {
        writeRelative(args, rd, addr + (bits & ~0xfff));
        args.update_pc(addr + 4);
      };
    case 0x63:
      return branchSimulation(bits, rs1, (bits >>> 20) & 31);
    case 0x67:
      return (args, addr) => jumpRegister(args, { rd, rs1, imm: bits >> 20, next: addr + 4 });
    case 0x6f:
      return (args, addr) => {
        writeRelative(args, rd, addr + 4);
        jumpRelative(args, addr + immJ(bits));
      };
    default:
      return undefined;
  }
}

function compressedSimulation(bits: number): Simulation | undefined {
  const rs1 = (bits >>> 7) & 31;
  switch (bits & 0xe003) {
    case 0xa001: // c.j
      return (args, addr) => jumpRelative(args, addr + immCJ(bits));
    case 0xc001: // c.beqz
    case 0xe001: // c.bnez
      return (args, addr) => {
        const isZero = isEqual(args, 8 + (rs1 & 7), 0);
        const isTaken = isZero === ((bits & 0xe003) === 0xc001);
        jumpRelative(args, addr + (isTaken ? immCB(bits) : 2));
      };
    case 0x8002: // c.jr, c.jalr; c.mv and c.add if there is a second register
      if (((bits >>> 2) & 31) !== 0 || rs1 === 0) return undefined;
      return (args, addr) =>
        jumpRegister(args, { rd: (bits & 0x1000) === 0 ? 0 : 1, rs1, imm: 0, next: addr + 2 });
    default:
      return undefined;
  }
}

function branchSimulation(bits: number, rs1: number, rs2: number): Simulation | undefined {
  const holds = CONDITIONS[(bits >>> 13) & 3];
  if (holds === undefined) return undefined;
  const isNegated = (bits & 0x1000) !== 0;
  const offset = immB(bits);
  return (args, addr) => jumpRelative(args, addr + (holds(args, rs1, rs2) !== isNegated ? offset : 4));
}

type Condition = (args: ProbeArgs, rs1: number, rs2: number) => boolean;

const isEqual: Condition = (args, rs1, rs2) =>
  low(args, rs1) === low(args, rs2) && high(args, rs1) === high(args, rs2);
const isLessSigned: Condition = (args, rs1, rs2) =>
  high(args, rs1) === high(args, rs2)
    ? low(args, rs1) >>> 0 < low(args, rs2) >>> 0
    : high(args, rs1) < high(args, rs2);
const isLessUnsigned: Condition = (args, rs1, rs2) =>
  high(args, rs1) === high(args, rs2)
    ? low(args, rs1) >>> 0 < low(args, rs2) >>> 0
    : high(args, rs1) >>> 0 < high(args, rs2) >>> 0;

/** By the upper two bits of funct3; the lowest negates. */
const CONDITIONS = [isEqual, undefined, isLessSigned, isLessUnsigned] as const;

const low = (args: ProbeArgs, register: number): number =>
  register === 0 ? 0 : args.registerLow(register) | 0;
const high = (args: ProbeArgs, register: number): number =>
  register === 0 ? 0 : args.registerHigh(register) | 0;

interface RegisterJump {
  readonly rd: number;
  readonly rs1: number;
  readonly imm: number;
  readonly next: KAddr;
}

/** jalr, whose target is read before the link is written: they may be the same register. */
function jumpRegister(args: ProbeArgs, { rd, rs1, imm, next }: RegisterJump): void {
  const base = low(args, rs1);
  const target = (base + imm) | 0;
  const carry = target >>> 0 < base >>> 0 ? 1 : 0;
  const targetHigh = (high(args, rs1) + (imm >> 31) + carry) | 0;
  writeRelative(args, rd, next);
  args.setPcWords(target & ~1, targetHigh);
}

const WORD = 0x1_0000_0000;

/** @param target low word of a kernel address, which may have left [0, 2^32): then the high word changes. */
function jumpRelative(args: ProbeArgs, target: number): void {
  args.setPcWords(target | 0, (args.pcHigh() + Math.floor(target / WORD)) | 0);
}

function writeRelative(args: ProbeArgs, rd: number, value: number): void {
  if (rd !== 0) args.setRegister(rd, value | 0, (args.pcHigh() + Math.floor(value / WORD)) | 0);
}

const immJ = (bits: number): number =>
  ((bits >> 31) << 20) | (bits & 0xf_f000) | ((bits >>> 9) & 0x800) | ((bits >>> 20) & 0x7fe);
const immB = (bits: number): number =>
  ((bits >> 31) << 12) | ((bits << 4) & 0x800) | ((bits >>> 20) & 0x7e0) | ((bits >>> 7) & 0x1e);
const immCJ = (bits: number): number =>
  (((bits << 19) >> 31) << 11) |
  ((bits << 2) & 0x400) |
  ((bits >>> 1) & 0x300) |
  ((bits << 1) & 0x80) |
  ((bits >>> 1) & 0x40) |
  ((bits << 3) & 0x20) |
  ((bits >>> 7) & 0x10) |
  ((bits >>> 2) & 0xe);
const immCB = (bits: number): number =>
  (((bits << 19) >> 31) << 8) |
  ((bits << 1) & 0xc0) |
  ((bits << 3) & 0x20) |
  ((bits >>> 7) & 0x18) |
  ((bits >>> 2) & 0x6);
