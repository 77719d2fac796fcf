/**
 * The interpreter and the JIT as engines of the shared suite (engine-suite.ts).
 */
import { LinearMemory } from "@alien-ts/abi";
import { CASE_LAYOUT, callCaseHelper } from "./engine-suite.ts";
import type { Engine, EngineCase, EngineResult } from "./engine-suite.ts";
import type { RunHook } from "./hooks.ts";
import { Jit } from "./jit/jit.ts";
import type { WasmApi, WasmMemory } from "./jit/wasm-api.ts";
import { BpfMachine } from "./machine.ts";
import { prepare } from "./program.ts";
import type { BpfProgram } from "./program.ts";
import { RUN, runOptions } from "./run.ts";

/** An interpreter with memory of its own, cleared before each case. `isChecked` false runs without region checks. */
export function interpreterEngine(isChecked = true): Engine {
  const memory = new LinearMemory(new ArrayBuffer(CASE_LAYOUT.memoryBytes), CASE_LAYOUT.baseHigh);
  const machine = new BpfMachine(memory);
  return {
    name: isChecked ? "checked interpreter" : "interpreter",
    isExact: true,
    isTrusting: false,
    runAll: (tests) => tests.map((test) => runCase(machine, prepareCase(test), test, isChecked)),
  };
}

/** The interpreter stepped by a hook that counts: it must count what the run says was executed. */
export function steppedEngine(): Engine {
  const engine = interpreterEngine();
  const memory = new LinearMemory(new ArrayBuffer(CASE_LAYOUT.memoryBytes), CASE_LAYOUT.baseHigh);
  const machine = new BpfMachine(memory);
  return {
    name: "stepped interpreter",
    isExact: engine.isExact,
    isTrusting: false,
    runAll: (tests) =>
      tests.map((test) => {
        let steps = 0;
        const hook: RunHook = {
          before: () => {
            steps += 1;
            return true;
          },
        };
        const result = runCase(machine, prepareCase(test), test, true, hook);
        // The hook also saw the instruction that faulted.
        const seen = steps - (result.kind === "fault" ? 1 : 0);
        return seen === result.executed ? result : { ...result, executed: -1 };
      }),
  };
}

/** Where the mailbox is: beyond the stack. */
const SCRATCH_ADDR = 0x2_8000;

/** What a host must give for the JIT. */
export interface JitHost {
  readonly wasm: WasmApi;
  /** A memory of `pages` pages of 64 KiB. */
  newMemory(pages: number): WasmMemory & { readonly buffer: ArrayBuffer };
}

/** A JIT with memory of its own, cleared before each case; it compiles with fuel, and with all checks unless it trusts. */
export function jitEngine(host: JitHost, { isTrusting = false } = {}): Engine {
  const memory = host.newMemory(CASE_LAYOUT.memoryBytes / 0x1_0000);
  const linear = new LinearMemory(memory.buffer, CASE_LAYOUT.baseHigh);
  const machine = new BpfMachine(linear);
  const jit = new Jit({ wasm: host.wasm, memory, linear, scratch: SCRATCH_ADDR });
  return {
    name: isTrusting ? "trusting JIT" : "checked JIT",
    isExact: false,
    isTrusting,
    runAll: (tests) => {
      const programs = new Map<EngineCase["insns"], BpfProgram>();
      for (const test of tests) if (!programs.has(test.insns)) programs.set(test.insns, prepareCase(test));
      const all = [...programs.values()];
      if (!jit.compileAll(all, { checks: isTrusting ? "none" : "all", hasFuel: true }))
        throw new Error("cases were not compiled");
      const results = tests.map((test) => runCase(machine, programs.get(test.insns)!, test, true));
      for (const program of all) jit.release(program);
      return results;
    },
  };
}

const prepareCase = (test: EngineCase): BpfProgram =>
  prepare(test.insns, { helpers: [undefined, caseHelper] });

function runCase(
  machine: BpfMachine,
  program: BpfProgram,
  test: EngineCase,
  isChecked: boolean,
  hook: RunHook | null = null,
): EngineResult {
  const { u8 } = machine.memory;
  const { contextAddr, stackTop, stackBytes } = CASE_LAYOUT;
  u8.fill(0, stackTop - stackBytes, stackTop);
  u8.set(test.context, contextAddr);
  const { packet } = test;
  const options = runOptions({
    stackTop,
    contextBytes: test.context.length,
    contextIsWritable: true,
    fuel: test.fuel,
    hook,
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
