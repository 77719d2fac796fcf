/**
 * `Jit`: compiles prepared programs to WebAssembly, and runs them for `BpfMachine`.
 *
 * One `Jit` per linear memory. It owns `SCRATCH_BYTES` of that memory (the mailbox), a function table and the runtime module.
 * `compile` sets `program.compiled`, after which `BpfMachine.run` runs the compiled code; helpers see the same machine as in
 * the interpreter. A trap of WebAssembly is a fault of the program, never an exception of the host; what a helper throws is a
 * bug and passes through. Runs nest as on the interpreter: the mailbox of the outer run is put aside.
 */
import type { KAddr, LinearMemory } from "@alien-ts/abi";
import type { BpfMachine } from "../machine.ts";
import type { BpfProgram, CompiledProgram, Helper } from "../program.ts";
import { RUN } from "../run.ts";
import type { FaultKind, RunOptions, RunStatus } from "../run.ts";
import { callbacksOf, compileModule } from "./compile.ts";
import type { CompiledModule } from "./compile.ts";
import { FRAME_BYTES, MAX_FRAMES } from "./constants.ts";
import { findFunctions } from "./functions.ts";
import type { ProgramRequest, Target } from "./module-context.ts";
import type { CompileOptions } from "./options.ts";
import { runtimeModule, tailCallProbe } from "./runtime-module.ts";
import { ACCESS, ASK, ASK_SHIFT, SCRATCH, SCRATCH_BYTES, STOP, TAIL } from "./scratch.ts";
import type { WasmApi, WasmInstance, WasmMemory, WasmTable } from "./wasm-api.ts";

const PAGE_BYTES = 0x1_0000;
const TABLE_GROWTH = 64;
const MAILBOX_WORDS = SCRATCH_BYTES / 4;

export interface JitOptions {
  /** The host's `WebAssembly`. */
  readonly wasm: WasmApi;
  /** The memory whose buffer `linear` is a view of. */
  readonly memory: WasmMemory;
  readonly linear: LinearMemory;
  /** `SCRATCH_BYTES` of the memory, 8-byte aligned, that nothing else uses. */
  readonly scratch: KAddr;
  /** For tests: as if the engine had no `return_call_indirect`. */
  readonly withoutTailCalls?: boolean;
}

export class Jit {
  readonly linear: LinearMemory;
  readonly scratch: KAddr;
  /** r0 to r10 of the mailbox, as a machine's register file. */
  readonly registers: Int32Array;
  /** The mailbox as words. */
  readonly words: Int32Array;
  /** The machine that runs, and the nesting of runs. */
  machine: BpfMachine | null = null;
  private nesting = 0;
  /** Whether the mailbox has the state of the run. */
  private hasState = false;
  private readonly aside: Int32Array[] = [];
  private readonly wasm: WasmApi;
  private readonly memory: WasmMemory;
  private readonly table: WasmTable;
  private readonly freeSlots: number[] = [];
  private readonly target: Target;
  private readonly imports: Record<string, unknown>;
  /** Calls a compiled program, by its `entryOf`; for callers that have prepared the run themselves. */
  readonly dispatch: (slot: number, context: KAddr, stackTop: KAddr) => number;
  private readonly dispatchRepeat: (slot: number, context: KAddr, stackTop: KAddr, count: number) => number;
  private readonly dispatchCallback: (slot: number, framePointer: KAddr) => void;

  constructor({ wasm, memory, linear, scratch, withoutTailCalls = false }: JitOptions) {
    if (memory.buffer !== linear.buffer) throw new Error("the JIT's memory is not the linear memory");
    this.linear = linear;
    this.scratch = scratch;
    this.words = new Int32Array(linear.buffer, scratch, MAILBOX_WORDS);
    this.registers = this.words.subarray(0, 22);
    this.wasm = wasm;
    this.memory = memory;
    this.table = new wasm.Table({ element: "anyfunc", initial: 1 });
    this.target = {
      memoryPages: linear.size / PAGE_BYTES,
      memoryBytes: linear.size,
      high: linear.baseHi | 0,
      scratch,
      hasTailCalls: !withoutTailCalls && wasm.validate(tailCallProbe()),
    };
    const runtime = this.instantiate(runtimeModule(this.target), { vm: { memory, table: this.table } });
    this.dispatch = runtime.exports["run"] as (slot: number, context: KAddr, stackTop: KAddr) => number;
    this.dispatchRepeat = runtime.exports["repeat"] as typeof this.dispatchRepeat;
    this.dispatchCallback = runtime.exports["callback"] as (slot: number, framePointer: KAddr) => void;
    this.imports = this.makeImports(runtime.exports["enter"]);
  }

  /** Where a typed helper leaves the high word of a u64 result. */
  get resultHigh(): KAddr {
    return this.scratch + SCRATCH.resultHigh;
  }

  /** Compiles `program`, so that it runs in WebAssembly from now on; false where it is too large for the host's engine. */
  compile(program: BpfProgram, options: CompileOptions): boolean {
    return this.compileAll([program], options);
  }

  /** As `compile`, all programs in one module: it costs the host a tenth of a millisecond or more, however small it is. */
  compileAll(programs: readonly BpfProgram[], options: CompileOptions): boolean {
    const requests = programs.map((program) => {
      const functions = findFunctions(program);
      const slots = this.takeSlots(2 + callbacksOf(functions).length);
      return { program, functions, target: this.target, options, slots };
    });
    const compiled = compileModule(requests);
    let instance: WasmInstance;
    try {
      instance = this.instantiate(compiled.bytes, this.importsOf(programs, compiled));
    } catch (error) {
      for (const { slots } of requests) this.freeSlots.push(...slots);
      if (error instanceof this.wasm.CompileError || error instanceof RangeError) return false;
      throw error;
    }
    requests.forEach((request, program) => {
      const { prefix } = compiled.programs[program]!;
      request.slots.forEach((slot, i) => this.table.set(slot, instance.exports[prefix + i]));
      request.program.compiled = this.makeProgram(request, compiled.bytes);
    });
    return true;
  }

  private makeProgram({ functions, slots, options }: Request, code: Uint8Array): JitProgram {
    const callbacks = callbacksOf(functions);
    const isChecked = options.checks === "all";
    const readsR2 = (functions.byEntry.get(0)!.liveIn & 4) !== 0;
    const needsState = isChecked || options.hasFuel || callbacks.length > 0 || readsR2;
    return new JitProgram(this, {
      slots,
      callbacks,
      code,
      isChecked,
      needsState,
      hasFuel: options.hasFuel,
    });
  }

  /** The table slot of a program that this JIT has compiled. */
  entryOf({ compiled }: BpfProgram): number | undefined {
    return compiled instanceof JitProgram && compiled.jit === this ? compiled.slots[0] : undefined;
  }

  /** Forgets the compiled form of `program`, which no run may be using. */
  release(program: BpfProgram): void {
    if (!(program.compiled instanceof JitProgram)) return;
    for (const slot of program.compiled.slots) this.table.set(slot, null);
    this.freeSlots.push(...program.compiled.slots);
    program.compiled = null;
  }

  // --- Runs ---------------------------------------------------------------------------------------------------------

  /** Calls the program `repeats` times, at least once; how the last run ended. */
  run(machine: BpfMachine, program: JitProgram, context: KAddr, repeats: number): RunStatus {
    const outer = this.machine;
    if (outer !== null) this.putAside();
    this.machine = machine;
    const { options } = machine;
    const { hasState } = this;
    this.hasState = program.needsState;
    if (program.needsState) this.writeState(options, context);
    let status: RunStatus = RUN.done;
    try {
      machine.r0Low =
        repeats === 1
          ? this.dispatch(program.slots[0]!, context, options.stackTop)
          : this.dispatchRepeat(program.slots[1]!, context, options.stackTop, repeats);
      machine.r0High = this.words[1]!;
    } catch (error) {
      status = this.statusOf(machine, error);
    }
    machine.executed = program.hasFuel ? options.fuel - this.words[FUEL]! : 0;
    this.machine = outer;
    this.hasState = hasState;
    if (outer !== null) this.takeBack();
    return status;
  }

  /** Calls a callback of the running program, one frame below the helper's caller; false where the run must end. */
  callback(machine: BpfMachine, slot: number): boolean {
    const { words } = this;
    const framePointer = words[FRAME]! >>> 0;
    if (framePointer < words[STACK_FLOOR]! >>> 0) return machine.interruptWith("call depth");
    if (words[TURNS] === 0) return machine.interrupt(RUN.outOfFuel);
    words[TURNS]! -= 1;
    const { callIndex } = machine;
    try {
      this.dispatchCallback(slot, framePointer);
    } catch (error) {
      return machine.interrupt(this.statusOf(machine, error));
    }
    words[FRAME] = framePointer;
    machine.callIndex = callIndex;
    return true;
  }

  /** Callbacks that the run may still make. */
  get turnsLeft(): number {
    return this.hasState ? this.words[TURNS]! : this.machine!.options.turns;
  }

  private writeState(options: RunOptions, context: KAddr): void {
    const { words } = this;
    words[R2] = options.r2;
    words[STACK_TOP] = options.stackTop;
    words[STACK_FLOOR] = options.stackTop - FRAME_BYTES * (MAX_FRAMES - 1);
    words[FUEL] = options.fuel;
    words[TURNS] = options.turns;
    words[CONTEXT] = context;
    words[READABLE] = options.contextBytes;
    words[WRITABLE] = options.contextIsWritable ? options.contextBytes : 0;
  }

  /** What a trap stands for; anything else is a bug and thrown on. */
  private statusOf(machine: BpfMachine, error: unknown): RunStatus {
    if (!(error instanceof this.wasm.RuntimeError)) {
      this.machine = null;
      this.nesting = 0;
      machine.abandon();
      throw error;
    }
    return machine.takeStop();
  }

  private putAside(): void {
    const level = this.nesting++;
    (this.aside[level] ??= new Int32Array(MAILBOX_WORDS)).set(this.words);
  }

  private takeBack(): void {
    this.words.set(this.aside[--this.nesting]!);
  }

  // --- What programs import -----------------------------------------------------------------------------------------

  private makeImports(enter: unknown): Record<string, unknown> {
    return {
      memory: this.memory,
      enter,
      ask: (question: number, a: number, b: number, c: number, d: number): number =>
        this.answer(question, a, b, c, d),
    };
  }

  private answer(question: number, a: number, b: number, c: number, d: number): number {
    const more = question >> ASK_SHIFT;
    switch (question & 0xff) {
      case ASK.access:
        return this.access({ low: a, high: b, info: more, slot: c, frame: d });
      case ASK.stop:
        return this.stop(more, a);
      case ASK.packet:
        return this.readPacket(a, more);
      case ASK.tail:
        return this.runTail(a >>> 0, b >>> 0);
      default: {
        const helper = this.machine!.program!.helpers[a];
        return helper === undefined ? 2 : this.callHelper(helper, b);
      }
    }
  }

  private importsOf(
    programs: readonly BpfProgram[],
    compiled: CompiledModule,
  ): Record<string, Record<string, unknown>> {
    const calls: Record<string, unknown> = {};
    const direct: Record<string, unknown> = {};
    compiled.programs.forEach(({ prefix, machineCalls, typed }, i) => {
      for (const call of machineCalls) calls[prefix + call] = this.bind(programs[i]!.calls[call]!);
      for (const [id, helper] of typed) {
        direct[prefix + id] = helper.kind === "wasm" ? helper.function : helper.call;
      }
    });
    return { vm: this.imports, calls, typed: direct };
  }

  /** A closure per helper, so that the call in it sees one target. */
  private bind(helper: Helper): (slot: number) => number {
    return (slot) => {
      const machine = this.machine!;
      machine.enterHelper(slot);
      helper(machine);
      return machine.isInterrupted ? this.interrupted(machine) : 0;
    };
  }

  private callHelper(helper: Helper, slot: number): number {
    const machine = this.machine!;
    machine.enterHelper(slot);
    helper(machine);
    return machine.isInterrupted ? this.interrupted(machine) : 0;
  }

  /** Tells the program how to go on after a helper that interrupted. */
  private interrupted(machine: BpfMachine): number {
    const next = machine.takeTail();
    if (next === null) this.words[TAIL_AT] = TAIL.stop;
    else if (next.compiled instanceof JitProgram && next.compiled.jit === this) {
      if (next.compiled.needsState && !this.hasState) {
        this.writeState(machine.options, machine.context);
        this.hasState = true;
      }
      machine.program = next;
      this.words[TAIL_AT] = next.compiled.slots[0]!;
    } else {
      this.interpreted = next;
      this.words[TAIL_AT] = TAIL.interpreted;
    }
    return 1;
  }

  /** What `runTail` is to run. */
  private interpreted: BpfProgram | null = null;

  private runTail(context: KAddr, framePointer: KAddr): number {
    const machine = this.machine!;
    const status = machine.runInterpreted(this.interpreted!, context, framePointer);
    if (status !== RUN.done) {
      machine.interrupt(status);
      return 0;
    }
    return 1;
  }

  private access({ low, high, info, slot, frame }: AccessQuestion): number {
    const machine = this.machine!;
    const size = info & ACCESS.sizeMask;
    const isWrite = (info & ACCESS.write) !== 0;
    machine.enterHelper(slot);
    this.words[FRAME] = frame;
    const isAllowed = machine.mayAccess(low, high, size, isWrite);
    if (isAllowed && ((info & ACCESS.aligned) === 0 || (low & (size - 1)) === 0)) return 1;
    machine.interrupt(
      machine.faultAt(slot, isAllowed ? "misaligned" : "access", { low, high, size, isWrite }),
    );
    return 0;
  }

  private stop(reason: number, slot: number): number {
    const machine = this.machine!;
    const kind = STOP_FAULTS[reason];
    if (kind === undefined) this.words[FUEL] = 0;
    machine.interrupt(kind === undefined ? RUN.outOfFuel : machine.faultAt(slot, kind));
    return 0;
  }

  private readPacket(offset: number, size: number): number {
    const value = this.machine!.readPacket(offset, size);
    if (value < 0) return -value;
    this.words[PACKET] = value;
    return 0;
  }

  // --- Modules ------------------------------------------------------------------------------------------------------

  private instantiate(bytes: Uint8Array, imports: Record<string, Record<string, unknown>>): WasmInstance {
    return new this.wasm.Instance(new this.wasm.Module(bytes), imports);
  }

  private takeSlots(count: number): number[] {
    while (this.freeSlots.length < count) {
      const first = this.table.grow(TABLE_GROWTH);
      for (let slot = first + TABLE_GROWTH - 1; slot >= first; slot--) this.freeSlots.push(slot);
    }
    return Array.from({ length: count }, () => this.freeSlots.pop()!);
  }
}

interface Request extends ProgramRequest {
  /** Table slots of the entry, of the function that repeats it, and of `callbacksOf(functions)`. */
  readonly slots: readonly number[];
}

interface JitProgramParts {
  /** Of the entry, of the function that repeats it, and of the callbacks. */
  readonly slots: readonly number[];
  readonly callbacks: readonly number[];
  readonly code: Uint8Array;
  readonly isChecked: boolean;
  readonly hasFuel: boolean;
  /** Whether it reads more of the run's state than context and stack. */
  readonly needsState: boolean;
}

/** A program in the table of a `Jit`. */
class JitProgram implements CompiledProgram {
  readonly jit: Jit;
  readonly slots: readonly number[];
  readonly code: Uint8Array;
  readonly isChecked: boolean;
  readonly hasFuel: boolean;
  readonly needsState: boolean;
  private readonly callbacks: readonly number[];

  constructor(jit: Jit, parts: JitProgramParts) {
    this.jit = jit;
    this.slots = parts.slots;
    this.code = parts.code;
    this.callbacks = parts.callbacks;
    this.isChecked = parts.isChecked;
    this.hasFuel = parts.hasFuel;
    this.needsState = parts.needsState;
  }

  get registers(): Int32Array {
    return this.jit.registers;
  }

  get frame(): KAddr {
    return this.jit.words[FRAME]! >>> 0;
  }

  get turnsLeft(): number {
    return this.jit.turnsLeft;
  }

  run(machine: BpfMachine, context: KAddr, repeats: number): RunStatus {
    return this.jit.run(machine, this, context, repeats);
  }

  callFunction(machine: BpfMachine, slot: number): boolean {
    const index = this.callbacks.indexOf(slot);
    if (index < 0) return machine.interruptWith("bad instruction");
    return this.jit.callback(machine, this.slots[index + 2]!);
  }
}

interface AccessQuestion {
  readonly low: number;
  readonly high: number;
  readonly info: number;
  readonly slot: number;
  readonly frame: number;
}

/** Faults by `STOP` reason; the end of the fuel is none. */
const STOP_FAULTS: Readonly<Record<number, FaultKind>> = {
  [STOP.callDepth]: "call depth",
  [STOP.unknownHelper]: "unknown helper",
  [STOP.badInstruction]: "bad instruction",
  [STOP.noPacket]: "no packet",
};

const word = (offset: number): number => offset >> 2;
const R2 = word(SCRATCH.registers) + 4;
const FUEL = word(SCRATCH.fuel);
const STACK_TOP = word(SCRATCH.stackTop);
const STACK_FLOOR = word(SCRATCH.stackFloor);
const FRAME = word(SCRATCH.frame);
const PACKET = word(SCRATCH.packet);
const TAIL_AT = word(SCRATCH.tail);
const CONTEXT = word(SCRATCH.context);
const TURNS = word(SCRATCH.turns);
const READABLE = word(SCRATCH.readable);
const WRITABLE = word(SCRATCH.writable);
