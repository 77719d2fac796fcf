/**
 * `BpfMachine`: runs prepared programs over one linear memory, on one CPU.
 *
 * `run` takes a program, its context and `RunOptions`, and answers with a `RunStatus`; r0 is then in `r0Low` and `r0High`, and
 * `executed` has the exact number of instructions. A run allocates nothing. What a program does wrong is a status with
 * `fault` filled in, never a throw. Runs nest: a helper may run another program (or the same) on this machine or another one;
 * the outer run goes on unharmed. A helper may also call back into its own program (`callFunction`) or replace it
 * (`tailCall`). In a checked run every access is held against the stack frames in use, the context and the machine's
 * `MemoryRegions`, and its pointer must carry the memory's high word; in an unchecked one only the memory's end stops it.
 */
import type { KAddr, LinearMemory } from "@alien-ts/abi";
import { FRAME_BYTES, MAX_FRAMES, MAX_MAY_GOTO, MAX_TAIL_CALLS } from "@alien-ts/bpf-isa";
import type { RunHook } from "./hooks.ts";
import { FRAME } from "./core.ts";
import { PAUSED, interpreter } from "./interpreter.ts";
import { STRIDE } from "./program.ts";
import type { BpfProgram, CompiledProgram } from "./program.ts";
import { MemoryRegions } from "./regions.ts";
import { RUN, runOptions } from "./run.ts";
import type { BpfFault, FaultKind, RunOptions, RunStatus } from "./run.ts";

/** Index of r6 in a register file. */
const R6 = 12;

const NO_REGISTERS = new Int32Array(22);
const NO_OPTIONS = runOptions({ stackTop: 0 });

interface Replaced {
  readonly depth: number;
  readonly program: BpfProgram;
}

/** The slot of a fault whose place is not known. */
const UNKNOWN_SLOT = -1;

interface AccessFault {
  readonly low: number;
  readonly high: number;
  readonly size: number;
  readonly isWrite: boolean;
}

const NOWHERE: AccessFault = { low: 0, high: 0, size: 0, isWrite: false };

export class BpfMachine {
  readonly memory: LinearMemory;
  readonly regions: MemoryRegions;
  readonly fault: BpfFault = {
    kind: "access",
    pc: 0,
    addressLow: 0,
    addressHigh: 0,
    size: 0,
    isWrite: false,
  };
  /** r0 of the last run that was done, and instructions of the last run. */
  r0Low = 0;
  r0High = 0;
  executed = 0;

  /** Register file of the running program: r's low word at 2r, its high word at 2r + 1. */
  regs: Int32Array = NO_REGISTERS;
  program: BpfProgram | null = null;
  /** What is left of the running program's budget. */
  fuel = 0;
  /** Frames in use besides the first. */
  depth = 0;
  /** Code index of the instruction that the fuel did not suffice for. */
  pausedAt = 0;
  /** Code index of the helper call being made. */
  callIndex = 0;
  /** After a helper: the run was stopped, or a tail call is to be made. */
  isInterrupted = false;

  /** Options of the run. */
  options: RunOptions = NO_OPTIONS;
  /** The compiled program that runs, null where the interpreter does. */
  private running: CompiledProgram | null = null;
  private hook: RunHook | null = null;
  /** What is left of the budget of a run with a hook, whose `fuel` is a single instruction's. */
  private budget = 0;
  /** High word of kernel addresses, signed. */
  readonly high: number;
  private readonly memoryBytes: number;
  private isChecked = true;
  context = 0;
  private tailCallsLeft = 0;
  private turnsLeft = 0;
  private pendingTail: BpfProgram | null = null;
  /** How a function that a helper called ended the run; `done` where none did. */
  private stopStatus: RunStatus = RUN.done;
  /** Words of the frames in use, by `FRAME`. */
  readonly frames = new Int32Array(FRAME.words * MAX_FRAMES);
  /** Frames whose program was replaced by a tail call, with what runs again when they end. */
  private readonly replaced: Replaced[] = [];
  /** Runs what is run while this machine is running. */
  private inner: BpfMachine | null = null;

  constructor(memory: LinearMemory, regions: MemoryRegions = new MemoryRegions()) {
    this.memory = memory;
    this.regions = regions;
    this.high = memory.baseHi | 0;
    this.memoryBytes = memory.size;
  }

  /** Runs `program` with r1 = `context` (NULL where 0) and r10 = the top of the stack. */
  run(program: BpfProgram, context: KAddr, options: RunOptions): RunStatus {
    if (this.program !== null) return this.runNested(program, context, options);
    if (program.compiled !== null && options.hook === null) {
      return this.runCompiled(program, context, options, 1);
    }
    this.start(program, context, options);
    const status = this.execute(0, 0);
    this.finish(options.fuel);
    return status;
  }

  /**
   * Runs `program` `count` times, or until a run does not end with an exit, as BPF_PROG_TEST_RUN does: r0 is the last one's, and
   * a compiled program's fuel and tail calls are those of all runs together.
   */
  runRepeatedly(program: BpfProgram, context: KAddr, options: RunOptions, count: number): RunStatus {
    if (program.compiled !== null && this.program === null && options.hook === null) {
      return this.runCompiled(program, context, options, count);
    }
    let status: RunStatus = RUN.done;
    for (let i = 0; i < count && status === RUN.done; i++) status = this.run(program, context, options);
    return status;
  }

  // --- What helpers use ---------------------------------------------------------------------------------------------

  /** Low word of r1 (n = 1) to r5: the index of a pointer, or a 32-bit value, as a signed number. */
  argLow(n: number): number {
    return this.regs[2 * n]!;
  }

  argHigh(n: number): number {
    return this.regs[2 * n + 1]!;
  }

  /** The address in r1 to r5 as an index into linear memory. */
  argPointer(n: number): KAddr {
    return this.regs[2 * n]! >>> 0;
  }

  /**
   * The address in r1 to r5, of which the helper will access `size` bytes (not 0). 0 where this run may not: then the run has
   * ended with a fault, and the helper returns at once.
   */
  argMemory(n: number, size: number, isWrite: boolean): KAddr {
    const low = this.regs[2 * n]!;
    if (this.mayAccess(low, this.regs[2 * n + 1]!, size, isWrite)) return low >>> 0;
    this.interrupt(this.stopAccess(this.callIndex, 2 * n, 0, size, isWrite));
    return 0;
  }

  setR0(low: number, high: number): void {
    this.regs[0] = low;
    this.regs[1] = high;
  }

  /** A signed 32-bit result, such as a negative errno. */
  setR0Signed(value: number): void {
    this.regs[0] = value;
    this.regs[1] = value >> 31;
  }

  /** A kernel address; 0 is NULL. */
  setR0Pointer(address: KAddr): void {
    this.regs[0] = address;
    this.regs[1] = address === 0 ? 0 : this.high;
  }

  /** Sets argument `n` of the function that `callFunction` will call. */
  setArg(n: number, low: number, high: number): void {
    this.regs[2 * n] = low;
    this.regs[2 * n + 1] = high;
  }

  setArgPointer(n: number, address: KAddr): void {
    this.setArg(n, address, address === 0 ? 0 : this.high);
  }

  /**
   * Calls the function at `slot` of the running program with r1 to r5 as they are, in a frame of its own; r0 is its result.
   * False where the run must end (fault, fuel): the helper returns at once.
   */
  callFunction(slot: number): boolean {
    const program = this.program!;
    if (this.running !== null) return this.running.callFunction(this, slot);
    if (this.turnsLeft === 0) return this.interrupt(RUN.outOfFuel);
    this.turnsLeft -= 1;
    const callIndex = this.callIndex;
    const target = slot >= 0 && slot < program.insns.length ? slot : program.insns.length;
    if (!this.enter(callIndex)) {
      return this.interrupt(this.stop("call depth", callIndex));
    }
    const status = this.execute(target * STRIDE, this.depth);
    if (status !== RUN.done) return this.interrupt(status);
    this.leave();
    this.callIndex = callIndex;
    return true;
  }

  /**
   * After the helper returns, the running program's current function is replaced by `program`, with r1 as it is. False, and
   * nothing happens, where 33 tail calls have been made.
   */
  tailCall(program: BpfProgram): boolean {
    if (this.tailCallsLeft === 0) return false;
    this.tailCallsLeft -= 1;
    this.pendingTail = program;
    this.isInterrupted = true;
    return true;
  }

  /** Whether a checked run may touch [address, address + size): helpers ask before they follow a pointer. */
  mayAccess(low: number, high: number, size: number, isWrite: boolean): boolean {
    if (!this.isChecked) return low >>> 0 <= this.memoryBytes - size;
    if (high !== this.high) return false;
    const { options } = this;
    const stackLow = this.running?.frame ?? options.stackTop - (this.depth + 1) * FRAME_BYTES;
    const inStack = (low - stackLow) >>> 0;
    if (inStack <= options.stackTop - stackLow - size) return true;
    const inContext = (low - this.context) >>> 0;
    if (inContext <= options.contextBytes - size) return options.contextIsWritable || !isWrite;
    return this.regions.allows(low >>> 0, size, isWrite);
  }

  /** Addresses below it may be accessed in any size without asking `mayAccess`: none in a checked run. */
  get trustedEnd(): number {
    return this.isChecked ? 0 : this.memoryBytes - 7;
  }

  // --- What the interpreter uses ------------------------------------------------------------------------------------

  /** Starts a frame: saves r6 to r9, moves r10. False where 8 are in use. */
  enter(returnTo: number): boolean {
    if (this.depth === MAX_FRAMES - 1) return false;
    const { regs, frames } = this;
    const at = this.depth * FRAME.words;
    for (let i = 0; i < FRAME.loopsLeft; i++) frames[at + i] = regs[R6 + i]!;
    frames[at + FRAME.returnTo] = returnTo;
    this.depth += 1;
    frames[at + FRAME.words + FRAME.loopsLeft] = MAX_MAY_GOTO;
    regs[20]! -= FRAME_BYTES;
    return true;
  }

  /** Ends a frame; returns the code index saved by `enter`. After a tail call in it, the program is its caller's. */
  leave(): number {
    if (this.replaced.length > 0) this.putBack();
    this.depth -= 1;
    const { regs, frames } = this;
    const at = this.depth * FRAME.words;
    for (let i = 0; i < FRAME.loopsLeft; i++) regs[R6 + i] = frames[at + i]!;
    this.setFramePointer(regs);
    return frames[at + FRAME.returnTo]!;
  }

  /** Whether a tail call replaced the program of a frame in use. */
  get hasReplaced(): boolean {
    return this.replaced.length > 0;
  }

  /** After a helper that interrupted: makes the pending tail call and returns `done`, or says how the run ends. */
  resume(): RunStatus {
    const next = this.pendingTail;
    this.pendingTail = null;
    this.isInterrupted = false;
    if (this.stopStatus !== RUN.done) return this.stopStatus;
    if (next !== null && next !== this.program) this.replaceProgram(next);
    return RUN.done;
  }

  /** Packet-legacy load: -1 outside the packet, -2 where there is none. */
  readPacket(offset: number, size: number): number {
    const { packet } = this.options;
    return packet === null ? -2 : packet.read(this.context, offset, size as 1 | 2 | 4);
  }

  /** Ends the run with a fault at the instruction with code index `index`, which does not count as executed. */
  stop(kind: FaultKind, index: number): RunStatus {
    this.fuel += 1;
    this.fault.kind = kind;
    this.fault.pc = index / STRIDE;
    return RUN.fault;
  }

  /** Ends the run because of an access; `low` + `high` is the base register, `offset` is added to it. */
  stopAccess(
    index: number,
    base: number,
    offset: number,
    size: number,
    isWrite: boolean,
    kind: FaultKind = "access",
  ): RunStatus {
    const low = this.regs[base]!;
    const sum = (low >>> 0) + offset;
    const { fault } = this;
    fault.addressLow = sum >>> 0;
    fault.addressHigh = (this.regs[base + 1]! + (sum < 0 ? -1 : sum >= 0x1_0000_0000 ? 1 : 0)) >>> 0;
    fault.size = size;
    fault.isWrite = isWrite;
    return this.stop(kind, index);
  }

  // --- What compiled programs use -----------------------------------------------------------------------------------

  /** Notes at which slot a call is made. */
  enterHelper(slot: number): void {
    this.callIndex = slot * STRIDE;
  }

  /** Fills in the fault of a program that stops at `slot`. */
  faultAt(slot: number, kind: FaultKind, access?: AccessFault): RunStatus {
    const { fault } = this;
    fault.kind = kind;
    fault.pc = slot;
    if (access !== undefined) {
      fault.addressLow = access.low >>> 0;
      fault.addressHigh = access.high >>> 0;
      fault.size = access.size;
      fault.isWrite = access.isWrite;
    }
    return RUN.fault;
  }

  /** Ends the run with `status` when the helper, or what else was called, returns. */
  interrupt(status: RunStatus): false {
    this.stopStatus = status;
    this.isInterrupted = true;
    return false;
  }

  interruptWith(kind: FaultKind): false {
    return this.interrupt(this.faultAt(this.callIndex / STRIDE, kind));
  }

  /** After a helper that interrupted: the program that replaces the running function, or null where the run ends. */
  takeTail(): BpfProgram | null {
    if (this.stopStatus !== RUN.done) return null;
    const next = this.pendingTail;
    this.pendingTail = null;
    this.isInterrupted = false;
    return next;
  }

  /** How the run ended that a trap has stopped. A trap that nothing announced is an access outside the memory. */
  takeStop(): RunStatus {
    const status = this.stopStatus;
    return status === RUN.done ? this.faultAt(UNKNOWN_SLOT, "access", NOWHERE) : status;
  }

  /** Runs a program that is not compiled in place of a compiled function; r0 is left in the registers. */
  runInterpreted(program: BpfProgram, context: KAddr, framePointer: KAddr): RunStatus {
    this.inner ??= new BpfMachine(this.memory, this.regions);
    const { inner } = this;
    const status = inner.interpretOnly(
      program,
      context,
      { ...this.options, stackTop: framePointer, turns: this.running!.turnsLeft },
      this.tailCallsLeft,
    );
    this.regs[0] = inner.r0Low;
    this.regs[1] = inner.r0High;
    if (status === RUN.fault) Object.assign(this.fault, inner.fault);
    return status;
  }

  /** Forgets the run that a throw has ended. */
  abandon(): void {
    this.program = null;
    this.running = null;
    this.depth = 0;
    if (this.replaced.length > 0) this.replaced.length = 0;
  }

  // --- Runs ---------------------------------------------------------------------------------------------------------

  private start(program: BpfProgram, context: KAddr, options: RunOptions): void {
    const { core } = interpreter();
    core.begin();
    const regs = core.file;
    this.program = program;
    this.regs = regs;
    this.options = options;
    this.isChecked = options.isChecked;
    this.fuel = options.fuel;
    this.frames[FRAME.loopsLeft] = MAX_MAY_GOTO;
    this.tailCallsLeft = MAX_TAIL_CALLS;
    this.turnsLeft = options.turns;
    this.isInterrupted = false;
    this.stopStatus = RUN.done;
    this.pendingTail = null;
    this.context = context;
    this.hook = options.hook;
    if (options.isChecked) regs.fill(0, 0, 20);
    if (options.hook !== null) this.budget = options.fuel;
    regs[2] = context;
    regs[3] = context === 0 ? 0 : this.high;
    regs[4] = options.r2;
    regs[5] = 0;
    this.setFramePointer(regs);
  }

  private execute(index: number, depth: number): RunStatus {
    if (this.hook !== null) return this.executeHooked(this.hook, index, depth);
    const { interpret } = interpreter();
    let status = interpret(this, index, depth);
    while (status === PAUSED) status = interpret(this, this.pausedAt, depth);
    return status;
  }

  /** One instruction at a time; what a helper calls within one is stepped too. */
  private executeHooked(hook: RunHook, index: number, depth: number): RunStatus {
    for (let at = index; ; at = this.pausedAt) {
      this.fuel = 0;
      if (this.budget === 0) return RUN.outOfFuel;
      if (!hook.before(this, at / STRIDE)) return RUN.stopped;
      this.budget -= 1;
      this.fuel = 1;
      const status = interpreter().interpret(this, at, depth) as RunStatus;
      if (status === RUN.outOfFuel && this.budget > 0) continue;
      // A fault has given its unit back.
      this.budget += this.fuel;
      this.fuel = 0;
      return status;
    }
  }

  private runCompiled(program: BpfProgram, context: KAddr, options: RunOptions, repeats: number): RunStatus {
    const compiled = program.compiled!;
    this.program = program;
    this.running = compiled;
    this.regs = compiled.registers;
    this.options = options;
    this.isInterrupted = false;
    this.stopStatus = RUN.done;
    this.tailCallsLeft = MAX_TAIL_CALLS;
    this.context = context;
    this.isChecked = compiled.isChecked;
    const status = compiled.run(this, context, repeats);
    this.program = null;
    this.running = null;
    return status;
  }

  /** As `run`, for a program that may be compiled too. */
  private interpretOnly(
    program: BpfProgram,
    context: KAddr,
    options: RunOptions,
    tailCallsLeft: number,
  ): RunStatus {
    this.start(program, context, options);
    this.tailCallsLeft = tailCallsLeft;
    const status = this.execute(0, 0);
    this.finish(options.fuel);
    return status;
  }

  /** Keeps r0 and gives back the register files of all programs that are left. */
  private finish(fuel: number): void {
    this.r0Low = this.regs[0]!;
    this.r0High = this.regs[1]!;
    this.executed = fuel - (this.hook === null ? this.fuel : this.budget);
    this.depth = 0;
    if (this.replaced.length > 0) this.replaced.length = 0;
    this.program = null;
    interpreter().core.end();
  }

  /** A run within a helper of a run: it has a machine of its own, so that nothing need be saved. */
  private runNested(program: BpfProgram, context: KAddr, options: RunOptions): RunStatus {
    this.inner ??= new BpfMachine(this.memory, this.regions);
    const { inner } = this;
    const status = inner.run(program, context, options);
    this.r0Low = inner.r0Low;
    this.r0High = inner.r0High;
    this.executed = inner.executed;
    if (status === RUN.fault) Object.assign(this.fault, inner.fault);
    return status;
  }

  /** Replaces program and registers of the current frame; r1 is kept. */
  private replaceProgram(next: BpfProgram): void {
    const { program, regs, depth } = this;
    if (depth > 0 && this.replaced.at(-1)?.depth !== depth) this.replaced.push({ depth, program: program! });
    const [low, high] = [regs[2]!, regs[3]!];
    if (this.isChecked) regs.fill(0, 0, 20);
    this.setArg(1, low, high);
    this.program = next;
    this.setFramePointer(regs);
  }

  /** At the end of a frame whose program was replaced: its caller's goes on. */
  private putBack(): void {
    const outer = this.replaced.at(-1)!;
    if (outer.depth !== this.depth) return;
    this.replaced.pop();
    this.program = outer.program;
  }

  private setFramePointer(regs: Int32Array): void {
    regs[20] = this.options.stackTop - this.depth * FRAME_BYTES;
    regs[21] = this.high;
  }
}
