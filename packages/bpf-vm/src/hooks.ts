/**
 * Hooks into the interpreter: code that is called before every instruction of a run, for debuggers, coverage and traces.
 *
 * A run with a hook (`RunOptions.hook`) is interpreted one instruction at a time, also where the program is compiled; budgets,
 * counts and results are those of a run without. Runs without a hook pay nothing for it.
 */
import type { BpfMachine } from "./machine.ts";
import type { BpfProgram } from "./program.ts";

export interface RunHook {
  /**
   * Called before the instruction at `slot` is executed. It may read and write the machine's registers (`argLow`, `setArg`, …)
   * and memory. False stops the run: its status is then `RUN.stopped`.
   */
  before(machine: BpfMachine, slot: number): boolean;
}

/** Calls `hit` before the instructions at `slots` only. */
export function breakpoints(
  slots: ReadonlySet<number>,
  hit: (machine: BpfMachine, slot: number) => boolean,
): RunHook {
  return { before: (machine, slot) => !slots.has(slot) || hit(machine, slot) };
}

/** How often each instruction of a program was executed, added up over runs. */
export class Coverage implements RunHook {
  /** By slot. */
  readonly counts: Uint32Array;
  private readonly program: BpfProgram;

  constructor(program: BpfProgram) {
    this.program = program;
    this.counts = new Uint32Array(program.insns.length + 1);
  }

  before(machine: BpfMachine, slot: number): boolean {
    if (machine.program === this.program) this.counts[slot]! += 1;
    return true;
  }
}
