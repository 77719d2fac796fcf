/**
 * Kprobes on riscv64: lengths, breakpoints, and how each instruction is executed when displaced.
 *
 * Which instructions are refused, simulated or stepped follows arch/riscv/kernel/probes/decode-insn.c: system instructions
 * (ebreak among them), fences and c.ebreak are refused; what reads or writes the pc is simulated; the rest is stepped.
 *
 * Differs from Linux: LR and SC are refused, since a trap between them ends the reservation and the loop around them would
 * never finish (arm64 refuses its exclusives for the same reason).
 */
import { EINVAL, type Result } from "@alien-ts/abi";
import type { Execution, KprobeArch } from "../arch.ts";
import { hostCallIndex } from "./riscv64-host-call.ts";
import { simulationOf } from "./riscv64-simulate.ts";

const EBREAK = Uint8Array.of(0x73, 0x00, 0x10, 0x00);
const C_EBREAK = Uint8Array.of(0x02, 0x90);

const OPCODE = { fence: 0x0f, atomic: 0x2f, system: 0x73 } as const;
/** funct5 of an atomic. */
const FUNCT5 = { lr: 2, sc: 3 } as const;

export const riscv64: KprobeArch = {
  instructionBytesMax: 4,
  alignmentBytes: 2,
  hasSingleStep: false,
  instructionLength: (code) => (code.length < 2 ? 0 : (code[0]! & 3) === 3 ? 4 : 2),
  breakpoint: (length) => (length === 4 ? EBREAK : C_EBREAK),
  prepare(instruction) {
    const bits = instruction.reduceRight((value, byte) => (value << 8) | byte, 0);
    return instruction.length === 2 ? prepareCompressed(bits) : prepareFull(bits);
  },
};

function prepareCompressed(bits: number): Result<Execution> {
  return bits === 0x9002 ? EINVAL : stepOrSimulate(bits);
}

function prepareFull(bits: number): Result<Execution> {
  const opcode = bits & 0x7f;
  const funct5 = bits >>> 27;
  if (opcode === OPCODE.system || opcode === OPCODE.fence) return EINVAL;
  if (opcode === OPCODE.atomic && (funct5 === FUNCT5.lr || funct5 === FUNCT5.sc)) return EINVAL;
  const index = hostCallIndex(bits);
  return index < 0 ? stepOrSimulate(bits) : { kind: "hostCall", index };
}

function stepOrSimulate(bits: number): Execution {
  const simulate = simulationOf(bits);
  return simulate === undefined ? { kind: "step" } : { kind: "simulate", simulate };
}
