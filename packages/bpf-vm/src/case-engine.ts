/**
 * The interpreter as an engine of the shared suite (engine-suite.ts).
 */
import { LinearMemory } from "@alien-ts/abi";
import { CASE_LAYOUT, callCaseHelper } from "./engine-suite.ts";
import type { Engine, EngineCase, EngineResult } from "./engine-suite.ts";
import { BpfMachine } from "./machine.ts";
import { prepare } from "./program.ts";
import { RUN, runOptions } from "./run.ts";

/** An interpreter with memory of its own, cleared before each case. `isChecked` false runs without region checks. */
export function interpreterEngine(isChecked = true): Engine {
  const memory = new LinearMemory(new ArrayBuffer(CASE_LAYOUT.memoryBytes), CASE_LAYOUT.baseHigh);
  const machine = new BpfMachine(memory);
  return {
    name: isChecked ? "checked interpreter" : "interpreter",
    run: (test) => runCase(machine, test, isChecked),
  };
}

function runCase(machine: BpfMachine, test: EngineCase, isChecked: boolean): EngineResult {
  const { u8 } = machine.memory;
  const { contextAddr, stackTop, stackBytes } = CASE_LAYOUT;
  u8.fill(0, stackTop - stackBytes, stackTop);
  u8.set(test.context, contextAddr);
  const program = prepare(test.insns, { helpers: [undefined, caseHelper] });
  const { packet } = test;
  const options = runOptions({
    stackTop,
    contextBytes: test.context.length,
    contextIsWritable: true,
    fuel: test.fuel,
    isChecked,
    r2: test.context.length,
    packet: packet === undefined ? null : { read: (_, offset, size) => readBigEndian(packet, offset, size) },
  });
  const status = machine.run(program, contextAddr, options);
  const context = u8.slice(contextAddr, contextAddr + test.context.length);
  const { executed } = machine;
  if (status === RUN.fault) return { kind: "fault", pc: machine.fault.pc, executed, context };
  if (status === RUN.outOfFuel) return { kind: "fuel", executed, context };
  return { kind: "done", r0: word64(machine.r0Low, machine.r0High), executed, context };
}

function caseHelper(machine: BpfMachine): void {
  const args = [1, 2, 3, 4, 5].map((n) => word64(machine.argLow(n), machine.argHigh(n)));
  const r0 = callCaseHelper(args);
  machine.setR0(Number(BigInt.asIntN(32, r0)), Number(BigInt.asIntN(32, r0 >> 32n)));
}

function readBigEndian(bytes: Uint8Array, offset: number, size: number): number {
  if (offset < 0 || offset + size > bytes.length) return -1;
  let value = 0;
  for (let i = 0; i < size; i++) value = value * 256 + bytes[offset + i]!;
  return value;
}

const word64 = (low: number, high: number): bigint => (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0);
