/**
 * The state of a program at one instruction: frames, references, locks. Answers to struct bpf_verifier_state.
 *
 * `copy` shares registers and slots, which never change, and copies the lists that hold them.
 */
import { REGISTERS } from "@alien-ts/bpf-isa";
import { History } from "./history.ts";
import type { Register } from "./register.ts";
import { NOT_INIT } from "./register.ts";
import type { Instance } from "../prune/live-stack.ts";
import type { LoopVisit } from "../prune/loops.ts";
import type { StackSlot } from "./stack.ts";
import { EMPTY_SLOT } from "./stack.ts";

const NO_LOOPS: readonly LoopVisit[] = [];
const NO_REFERENCES: readonly Reference[] = [];
const EMPTY: readonly Register[] = Array.from({ length: REGISTERS }, () => NOT_INIT);

export class Frame {
  readonly index: number;
  readonly subprogram: number;
  /** The call instruction that made it; -1 in the main function. */
  readonly callSite: number;
  readonly registers: Register[];
  readonly stack: StackSlot[];
  /** It runs as callback of a helper. */
  isCallback = false;
  isAsyncCallback = false;
  /** Of a callback that runs later: how many of them had to run before it was set. */
  asyncEntries = 0;
  isExceptionCallback = false;
  /** What its result must lie in. */
  returnRange: { readonly min: bigint; readonly max: bigint } | undefined;
  /** Of a caller: calls of one callback so far, so that loops through helpers end. */
  callbackDepth = 0;
  /** What is known of the stack of its function as it was called here. */
  instance: Instance | undefined = undefined;

  constructor(index: number, subprogram: number, callSite: number, like?: Frame) {
    this.index = index;
    this.subprogram = subprogram;
    this.callSite = callSite;
    this.registers = (like?.registers ?? EMPTY).slice();
    this.stack = like === undefined ? [] : like.stack.slice();
  }

  copy(): Frame {
    const copy = new Frame(this.index, this.subprogram, this.callSite, this);
    copy.isCallback = this.isCallback;
    copy.isAsyncCallback = this.isAsyncCallback;
    copy.asyncEntries = this.asyncEntries;
    copy.isExceptionCallback = this.isExceptionCallback;
    copy.returnRange = this.returnRange;
    copy.callbackDepth = this.callbackDepth;
    copy.instance = this.instance;
    return copy;
  }

  /** Makes slots up to number `slot`. */
  grow(slot: number): void {
    while (this.stack.length <= slot) this.stack.push(EMPTY_SLOT);
  }
}

/** Something that must be given back before the program ends. */
export interface Reference {
  readonly kind: "object" | "lock" | "lock_irq" | "res_lock" | "res_lock_irq" | "irq";
  readonly id: number;
  /** Where it was taken. */
  readonly insn: number;
  /** What a lock lies in: told apart by id and by object. */
  readonly object: unknown;
}

export class State {
  frames: Frame[] = [];
  references: readonly Reference[] = NO_REFERENCES;
  activeLocks = 0;
  activeLockId = 0;
  activeLockObject: unknown = undefined;
  activePreemptLocks = 0;
  activeIrqId = 0;
  activeRcuLocks = 0;
  /** The path is one that only a mispredicted jump takes. */
  isSpeculative = false;
  /** Every number counts when states are compared: nobody tracks which decided something. */
  areNumbersPrecise = false;
  isInSleepable = false;
  /** The instruction that it stands before. */
  insn = 0;
  /** First and last instruction of the piece of path since `parent`. */
  firstInsn = 0;
  lastInsn = 0;
  parent: State | undefined;
  /** Paths through it that are not explored to their end. */
  branches = 0;
  history = new History();
  mayGotoDepth = 0;
  callbackUnrollDepth = 0;
  /** Of a remembered state: the loops that it is in, the innermost first. */
  loops: readonly LoopVisit[] = NO_LOOPS;
  /** It is no longer compared with others. */
  isDropped = false;

  get top(): Frame {
    return this.frames[this.frames.length - 1]!;
  }
  get registers(): Register[] {
    return this.top.registers;
  }
  get hasLocks(): boolean {
    return this.activeLocks > 0;
  }

  copy(): State {
    const copy = new State();
    for (let i = 0; i < this.frames.length; i++) copy.frames.push(this.frames[i]!.copy());
    copy.references = this.references;
    copy.activeLocks = this.activeLocks;
    copy.activeLockId = this.activeLockId;
    copy.activeLockObject = this.activeLockObject;
    copy.activePreemptLocks = this.activePreemptLocks;
    copy.activeIrqId = this.activeIrqId;
    copy.activeRcuLocks = this.activeRcuLocks;
    copy.isSpeculative = this.isSpeculative;
    copy.areNumbersPrecise = this.areNumbersPrecise;
    copy.isInSleepable = this.isInSleepable;
    copy.insn = this.insn;
    copy.firstInsn = this.firstInsn;
    copy.lastInsn = this.lastInsn;
    copy.parent = this.parent;
    copy.branches = this.branches;
    copy.history = this.history.copy();
    copy.mayGotoDepth = this.mayGotoDepth;
    copy.callbackUnrollDepth = this.callbackUnrollDepth;
    return copy;
  }

  hold(reference: Reference): void {
    this.references = [...this.references, reference];
  }

  /** Replaces every register and spilled register for which `change` gives another. */
  replaceAll(change: (register: Register) => Register): void {
    for (const frame of this.frames) {
      const { registers, stack } = frame;
      for (let i = 0; i < REGISTERS; i++) registers[i] = change(registers[i]!);
      for (let i = 0; i < stack.length; i++) {
        const slot = stack[i]!;
        if (slot.types[7] !== "r") continue;
        const spilled = change(slot.spilled);
        if (spilled !== slot.spilled) stack[i] = { types: slot.types, spilled };
      }
    }
  }
}
