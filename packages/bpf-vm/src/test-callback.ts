/** A helper that calls back into its program, and a program that has it do so, for the tests of both engines. */
import { asm, program } from "@alien-ts/bpf-isa";
import type { Insn } from "@alien-ts/bpf-isa";
import type { Helper } from "./program.ts";

/** As bpf_loop: r1 = count, r2 = function, r3 = what the function gets in its r2; its r1 is the turn. */
export const loopHelper: Helper = (machine) => {
  const count = machine.argLow(1);
  const slot = machine.argLow(2);
  const data = machine.argLow(3);
  for (let i = 0; i < count; i++) {
    machine.setArg(1, i, 0);
    machine.setArgPointer(2, data);
    if (!machine.callFunction(slot)) return;
  }
  machine.setR0(count, 0);
};

/** Five turns of helper 1, each of which adds its number to a word of the caller's frame and spoils r6 and its own frame. */
export const LOOP_PROGRAM: readonly Insn[] = program(
  asm.storeImm(8, 10, -8, 0),
  asm.movImm(6, 1000),
  asm.movImm(1, 5),
  asm.functionAddress(2, 7),
  asm.movReg(3, 10),
  asm.aluImm("add", 3, -8),
  asm.call(1),
  asm.load(8, 0, 10, -8),
  asm.aluReg("add", 0, 6),
  asm.exit(),
  asm.load(8, 3, 2, 0),
  asm.aluReg("add", 3, 1),
  asm.storeReg(8, 2, 0, 3),
  asm.storeReg(8, 10, -8, 3),
  asm.movImm(6, 0),
  asm.exit(),
);

/** Its result, and the instructions that the interpreter executes. */
export const LOOP_RESULT = { r0: 1010, executed: 10 + 5 * 6 } as const;
