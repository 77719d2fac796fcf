/**
 * `BpfEngine`: the BPF state of one kernel: its maps, programs, machines and stacks. `bpf()` (commands/) and `perfEventOpen()`
 * (perf/) take it as their first argument; two engines share nothing.
 *
 * Accepted programs run compiled, or in the interpreter where net.core.bpf_jit_enable was 0 at their load, on one machine per CPU
 * and stacks in linear memory. What no proof bounds is counted: callbacks of helpers, turns of may_goto. A program that goes on for
 * too long, or faults (a bug of the verifier's), stops, answers 0, and is told of in the kernel log.
 */
import { type KAddr, type LinearMemory, MAX_BPF_STACK, PAGE_SIZE } from "@alien-ts/abi";
import {
  BpfMachine,
  describeFault,
  type Helper,
  MemoryRegions,
  RUN,
  type RunOptions,
  runOptions,
  SCRATCH_BYTES as JIT_SCRATCH_BYTES,
} from "@alien-ts/bpf-vm";
import { BtfObject } from "./btf/btf-object.ts";
import { type HelperHost, SCRATCH_BYTES } from "./helpers/host.ts";
import { bindHelpers } from "./helpers/table.ts";
import { type MapHost, MapTable } from "./maps/map.ts";
import type { KernelAuxiliaryOps } from "./ports.ts";
import { ProgramCompiler } from "./programs/compiler.ts";
import type { BpfProgram } from "./programs/program.ts";

const MAX_FRAMES = 8;
const STACK_BYTES = MAX_BPF_STACK * MAX_FRAMES;
/** Runs that may nest on one CPU. */
const MAX_NESTING = 4;
/** Instructions of a run in the interpreter: as many as its counter can count, a quarter of a minute's. */
const MOST_INSNS = 0x7fff_ffff;
/** Calls of callbacks in a run: half a second's. */
const MOST_TURNS = 1 << 26;
const STACK_PAGES = (STACK_BYTES * MAX_NESTING) / PAGE_SIZE;

interface Cpu {
  readonly machine: BpfMachine;
  readonly stacks: KAddr;
  /** Run options per nesting level. */
  readonly options: readonly RunOptions[];
  nesting: number;
  /** Whether a kprobe or tracepoint program is running (`bpf_prog_active`). */
  isTracing: boolean;
}

export class BpfEngine implements HelperHost, MapHost {
  readonly ports: KernelAuxiliaryOps;
  readonly m: LinearMemory;
  readonly maps: MapTable;
  readonly regions = new MemoryRegions();
  readonly scratch: KAddr;
  /** Undefined where the host cannot compile. */
  readonly compiler: ProgramCompiler | undefined;
  readonly resultHigh: KAddr;
  readonly helpers: readonly (Helper | undefined)[];
  readonly programs = new Set<BpfProgram>();
  readonly btfs = new Set<BtfObject>();
  /** The kernel's own types, whose id is 1; undefined where it has none. */
  readonly kernelBtf: BtfObject | undefined;
  readonly #cpus: Cpu[] = [];
  #lastProgramId = 0;
  #lastBtfId = 0;
  #lastEventId = 0;

  /** Throws where there is no memory for its stacks: a kernel makes its engine at boot. */
  constructor(ports: KernelAuxiliaryOps) {
    this.ports = ports;
    this.m = ports.memory;
    this.maps = new MapTable(ports);
    // With or without a compiler the same memory is taken, so that either engine's run has the same addresses.
    this.scratch = ports.alloc(SCRATCH_BYTES + JIT_SCRATCH_BYTES);
    if (this.scratch === 0) throw new Error("no memory for BPF");
    const mailbox = this.scratch + SCRATCH_BYTES;
    this.compiler = ports.jit === undefined ? undefined : new ProgramCompiler(this, ports.jit, mailbox);
    this.resultHigh = this.compiler?.resultHigh ?? mailbox;
    this.helpers = bindHelpers(this);
    const { kernelBtf } = ports;
    this.kernelBtf = kernelBtf === undefined ? undefined : new BtfObject(this, kernelBtf, "vmlinux");
    for (let cpu = 0; cpu < ports.possibleCpus; cpu++) this.#cpus.push(this.#makeCpu());
  }

  /** Whether interpreted programs have every access checked: what the verifier claims, for tests. */
  set checksAccesses(isChecked: boolean) {
    for (const { options } of this.#cpus) for (const one of options) one.isChecked = isChecked;
  }

  /** Makes the limits of runs smaller, for tests: callbacks, and units of fuel. */
  limitRuns(turns: number, fuel: number): void {
    for (const { options } of this.#cpus) for (const one of options) Object.assign(one, { turns, fuel });
  }

  nextProgramId(): number {
    return ++this.#lastProgramId;
  }
  nextBtfId(): number {
    return ++this.#lastBtfId;
  }
  nextEventId(): number {
    return ++this.#lastEventId;
  }

  /** Runs `program` on the current CPU. */
  run(program: BpfProgram, context: KAddr): number {
    const cpu = this.#cpus[this.ports.currentCpu()]!;
    const options = cpu.options[cpu.nesting];
    if (options === undefined) {
      program.missCount += 1;
      return 0;
    }
    options.contextBytes = program.contextBytes;
    cpu.nesting += 1;
    program.get();
    program.runCount += 1;
    const status = cpu.machine.run(program.prepared, context, options);
    const result = status === RUN.done ? cpu.machine.r0Low >>> 0 : this.#report(program, cpu.machine, status);
    program.put();
    cpu.nesting -= 1;
    return result;
  }

  /** `trace_call_bpf`: as `run`, but a program of this kind does not interrupt another on the same CPU: that is a miss. */
  runTracing(program: BpfProgram, context: KAddr): number {
    const cpu = this.#cpus[this.ports.currentCpu()]!;
    if (cpu.isTracing) {
      program.missCount += 1;
      return 0;
    }
    cpu.isTracing = true;
    const result = this.run(program, context);
    cpu.isTracing = false;
    return result;
  }

  /** Gives back what the constructor took. Maps, programs and events must be gone. */
  destroy(): void {
    for (const { stacks } of this.#cpus) this.ports.freePages(stacks, STACK_PAGES);
    this.ports.free(this.scratch);
  }

  #report(program: BpfProgram, machine: BpfMachine, status: number): number {
    const what = status === RUN.outOfFuel ? "ran for too long" : describeFault(machine.fault);
    this.ports.printk(`bpf: program ${program.name || program.id} stopped: ${what}`);
    return 0;
  }

  #makeCpu(): Cpu {
    const stacks = this.ports.allocPages(STACK_PAGES);
    if (stacks === 0) throw new Error("no memory for BPF stacks");
    const options = Array.from({ length: MAX_NESTING }, (_, level) =>
      runOptions({
        stackTop: stacks + STACK_BYTES * (level + 1),
        isChecked: false,
        fuel: MOST_INSNS,
        turns: MOST_TURNS,
      }),
    );
    return { machine: new BpfMachine(this.m, this.regions), stacks, options, nesting: 0, isTracing: false };
  }
}
