import { LinearMemory } from "@alien-ts/abi";
import { asm, program } from "@alien-ts/bpf-isa";
import { expect, test } from "vitest";
import { breakpoints, Coverage } from "./hooks.ts";
import type { RunHook } from "./hooks.ts";
import { BpfMachine } from "./machine.ts";
import { prepare } from "./program.ts";
import { RUN, runOptions } from "./run.ts";

const LOOP = program(
  asm.movImm(0, 0),
  asm.movImm(1, 5),
  asm.aluReg("add", 0, 1),
  asm.aluImm("sub", 1, 1),
  asm.jumpImm("jne", 1, 0, -3),
  asm.exit(),
);

function run(hook: RunHook, insns = LOOP, fuel = 1000) {
  const machine = new BpfMachine(new LinearMemory(new ArrayBuffer(0x4_0000)));
  const callTwice = (at: BpfMachine): void => {
    for (let i = 0; i < 2; i++) if (!at.callFunction(3)) return;
  };
  const prepared = prepare(insns, { helpers: [callTwice] });
  const status = machine.run(prepared, 0, runOptions({ stackTop: 0x2_0000, fuel, hook }));
  return { status, r0: machine.r0Low, executed: machine.executed };
}

test("coverage counts each instruction", () => {
  const coverage = new Coverage(prepare(LOOP));
  expect(run(coverage)).toEqual({ status: RUN.done, r0: 15, executed: 18 });
  const machine = new BpfMachine(new LinearMemory(new ArrayBuffer(0x4_0000)));
  const prepared = prepare(LOOP);
  const counted = new Coverage(prepared);
  machine.run(prepared, 0, runOptions({ stackTop: 0x2_0000, hook: counted }));
  expect([...counted.counts]).toEqual([1, 1, 5, 5, 5, 1, 0]);
  expect([...coverage.counts]).toEqual([0, 0, 0, 0, 0, 0, 0]);
});

test("a breakpoint sees registers, changes them, and stops the run", () => {
  const seen: number[] = [];
  const change = breakpoints(new Set([3]), (machine, slot) => {
    seen.push(slot, machine.argLow(1));
    if (machine.argLow(1) === 4) machine.setArg(1, 1, 0);
    return true;
  });
  expect(run(change)).toEqual({ status: RUN.done, r0: 9, executed: 9 });
  expect(seen).toEqual([3, 5, 3, 4]);
  expect(run(breakpoints(new Set([4]), () => false))).toEqual({ status: RUN.stopped, r0: 5, executed: 4 });
});

test("what a helper calls is stepped, and the budget is one for all", () => {
  const insns = program(asm.movImm(0, 1), asm.call(0), asm.exit(), asm.aluImm("add", 0, 1), asm.exit());
  const slots: number[] = [];
  const hook: RunHook = { before: (_, slot) => slots.push(slot) > 0 };
  expect(run(hook, insns)).toEqual({ status: RUN.done, r0: 3, executed: 7 });
  expect(slots).toEqual([0, 1, 3, 4, 3, 4, 2]);
  expect(run(hook, insns, 4)).toMatchObject({ status: RUN.outOfFuel, executed: 4 });
  expect(run(hook, insns, 7)).toMatchObject({ status: RUN.done, executed: 7 });
});
