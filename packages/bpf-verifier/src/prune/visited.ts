/**
 * Where states are remembered and compared, so that what was proven is not proven again. Answers to is_state_visited().
 */
import { EINVAL } from "@alien-ts/abi";
import { CALL } from "@alien-ts/bpf-isa";
import type { Insn } from "@alien-ts/bpf-isa";
import type { Analysis } from "../analysis.ts";
import { isActiveIterator } from "../call/iterator-state.ts";
import { callsCallback, callsLater } from "../call/callback-kinds.ts";
import type { VerifierEnv } from "../env.ts";
import { sourceLine } from "../source.ts";
import { stateText } from "../print.ts";
import { History } from "../state/history.ts";
import { NOT_INIT } from "../state/register.ts";
import type { State } from "../state/state.ts";
import { Reject, reject } from "../verdict.ts";
import { Comparison, isSameButFrame, statesEqual } from "./equal.ts";
import type { Exactness } from "./equal.ts";
import { isIncomplete, isIncompleteInLinux } from "./loops.ts";
import type { Loops } from "./loops.ts";
import { propagatePrecision } from "./precision.ts";

/** What is special about an instruction, from the shape of the program alone. */
export interface Points {
  /** States may be compared here. */
  readonly prune: Uint8Array;
  /** Its predecessor on a path is not the instruction before it. */
  readonly jump: Uint8Array;
  /** A state is remembered at every visit. */
  readonly checkpoint: Uint8Array;
  /** An iterator is advanced here. */
  readonly next: Uint8Array;
  /** A function is called back from here. */
  readonly callback: Uint8Array;
}

const WIDE = 0x18;
const CALL_OPCODE = 0x85;

/** Linux: visit_insn() */
export function findPoints(env: VerifierEnv, advances: (insn: Insn) => boolean): Points {
  const { insns } = env;
  const next = new Uint8Array(insns.length + 1);
  const prune = new Uint8Array(insns.length + 1);
  const jump = new Uint8Array(insns.length + 1);
  const checkpoint = new Uint8Array(insns.length + 1);
  const callback = new Uint8Array(insns.length + 1);
  const target = (index: number): void => {
    prune[index] = 1;
    jump[index] = 1;
  };
  insns.forEach((insn, index) => {
    const kind = insn.opcode & 7;
    if (insn.opcode === WIDE && insn.src === 4) {
      target(index + 2);
      prune[index] = 1;
      target(index + 1 + insn.imm);
      return;
    }
    if ((kind !== 5 && kind !== 6) || insn.opcode === 0x95) return;
    if (insn.opcode === CALL_OPCODE) {
      if (callsLater(env, insn)) prune[index] = 1;
      if (callsCallback(env, insn)) {
        callback[index] = 1;
        checkpoint[index] = 1;
        target(index);
      }
      if (advances(insn)) {
        next[index] = 1;
        checkpoint[index] = 1;
        prune[index] = 1;
      }
      target(index + 1);
      if (insn.src === CALL.LOCAL) {
        prune[index] = 1;
        target(index + 1 + insn.imm);
      }
      return;
    }
    if (insn.opcode === 0x05 || insn.opcode === 0x06) {
      target(index + 1 + (insn.opcode === 0x06 ? insn.imm : insn.off));
      return;
    }
    prune[index] = 1;
    if (insn.opcode === MAY_GOTO && insn.src === 0) checkpoint[index] = 1;
    target(index + 1 + insn.off);
  });
  return { prune, jump, checkpoint, next, callback };
}

interface Remembered {
  readonly state: State;
  misses: number;
  hits: number;
  /** A register in which it differed from a state; -1 for none. */
  difference: number;
}

/** What is remembered of one instruction and call, the newest last. */
interface Bucket {
  readonly remembered: Remembered[];
  /** Those of which nothing was forgotten yet. */
  readonly uncleaned: State[];
}

const MAY_GOTO = 0xe5;
/** BPF_COMPLEXITY_LIMIT_STATES */
const MOST_UNPRIVILEGED = 64;

/** How a state that was met before bears on the current one: loops are those of Linux, or only ours. */
type Match = "no" | "covers" | "loops" | "calls back" | Reject;

export class Visited {
  readonly #analysis: Analysis;
  readonly #points: Points;
  readonly #live: Uint16Array;
  readonly #loops: Loops;
  readonly #comparison: Comparison;
  /** By instruction and call, as Linux's table. */
  #buckets: (Bucket | undefined)[];
  #previousJumps = 0;
  #previousProcessed = 0;
  /** States that may still be compared, and those dropped whose paths are open. */
  #kept = 0;
  #dropped = 0;
  jumps = 0;
  total = 0;
  peak = 0;
  mostPerInsn = 0;

  constructor(analysis: Analysis, points: Points, live: Uint16Array, loops: Loops) {
    this.#analysis = analysis;
    this.#points = points;
    this.#live = live;
    this.#loops = loops;
    this.#buckets = analysis.insns.map(() => undefined);
    this.#comparison = new Comparison(live, analysis.env.privileges.mayReadUninitialised);
  }

  /** Forgets all of an earlier function but the distances and numbers. */
  restart(): void {
    this.#buckets = this.#buckets.map(() => undefined);
    this.#loops.restart();
  }

  #equal(remembered: Remembered, now: State, exactness: Exactness): boolean {
    const old = remembered.state;
    const comparison = this.#comparison;
    comparison.exactness = exactness;
    comparison.arePrecise = old.areNumbersPrecise;
    comparison.comparesExactly = this.#analysis.exploresLimits;
    comparison.difference = remembered.difference;
    const isEqual = statesEqual(old, now, comparison);
    remembered.difference = comparison.difference;
    return isEqual;
  }

  /** explored_state() */
  #bucket(index: number, { top }: State): Bucket {
    const number = ((index ^ top.callSite) >>> 0) % this.#buckets.length;
    return (this.#buckets[number] ??= { remembered: [], uncleaned: [] });
  }

  /** True where an earlier state covers the current one. */
  check(index: number): boolean | Reject {
    const analysis = this.#analysis;
    const { state, env } = analysis;
    const isForced =
      (env.isStateFrequent && env.privileges.isCapable) ||
      this.#points.checkpoint[index] === 1 ||
      state.history.length > 40;
    const jumps = this.jumps - this.#previousJumps;
    const steps = analysis.processed - this.#previousProcessed;
    let adds = isForced || (jumps >= 2 && steps >= 8);
    const bucket = this.#bucket(index, state);
    if (bucket.uncleaned.length > 0) this.#clean(bucket, index, state);
    const list = bucket.remembered;
    const count = list.length;
    for (let i = count - 1; i >= 0; i--) {
      const remembered = list[i]!;
      const old = remembered.state;
      if (old.insn !== index) continue;
      const isOpen = old.branches > 0;
      const match = isOpen ? this.#matchOpen(index, remembered, state) : this.#matchClosed(remembered, state);
      if (match instanceof Reject) return match;
      if (match !== "no") return this.#hit(remembered, index, match);
      // Turns of a loop have states of their own, which help nobody.
      if (old.branches > 0 && !isForced && jumps < 20 && steps < 100) adds = false;
      if (adds) remembered.misses += 1;
      if (this.#isUseless(remembered, index)) this.#drop(list, i);
    }
    this.mostPerInsn = Math.max(this.mostPerInsn, count);
    if (adds && (env.privileges.isCapable || count <= MOST_UNPRIVILEGED)) this.#remember(index, bucket);
    return false;
  }

  /** What nobody will read is forgotten, once all paths from a state are known. Linux: clean_live_states() */
  #clean(bucket: Bucket, index: number, now: State): void {
    const { uncleaned } = bucket;
    let kept = 0;
    for (let i = 0; i < uncleaned.length; i++) {
      const state = uncleaned[i]!;
      if (state.isDropped) continue;
      const isOpen = state.insn !== index || state.branches > 0 || isIncomplete(state);
      if (isOpen || !hasSameCallSites(state, now)) uncleaned[kept++] = state;
      else this.#forgetUnread(state);
    }
    if (kept < uncleaned.length) uncleaned.length = kept;
  }

  #forgetUnread(state: State): void {
    const { frames, insn } = state;
    this.#analysis.liveStack.clean(state);
    for (const { index, registers } of frames) {
      const live = this.#live[frames[index + 1]?.callSite ?? insn]!;
      for (let i = 0; i < 10; i++) if ((live & (1 << i)) === 0) registers[i] = NOT_INIT;
    }
  }

  #isUseless({ state, misses, hits }: Remembered, index: number): boolean {
    const factor = this.#points.checkpoint[index] === 1 && state.branches > 0 ? 64 : 3;
    return misses > hits * factor + factor;
  }

  #drop(list: Remembered[], at: number): void {
    const { state } = list[at]!;
    list.splice(at, 1);
    this.#kept -= 1;
    state.isDropped = true;
    if (state.branches > 0 || isIncompleteInLinux(state)) this.#dropped += 1;
  }

  #matchClosed(remembered: Remembered, now: State): Match {
    const old = remembered.state;
    // Marks of precision may be missing: all numbers count.
    if (isIncompleteInLinux(old)) return this.#equal(remembered, now, "within") ? "loops" : "no";
    const isLoop = isIncomplete(old);
    const exactness = isLoop || this.#analysis.env.observer?.comparesAllNumbers === true ? "ranges" : "safe";
    if (!this.#equal(remembered, now, exactness)) return "no";
    return isLoop ? "calls back" : "covers";
  }

  /** The old state's paths are still open: the current one is a later turn of a loop. */
  #matchOpen(index: number, remembered: Remembered, now: State): Match {
    const old = remembered.state;
    const { callback, next } = this.#points;
    const { isAsyncCallback, asyncEntries } = old.top;
    // Another run of a callback, not another turn.
    if (isAsyncCallback && asyncEntries !== now.top.asyncEntries) return "no";
    const isSame = (): boolean => old.loops.length > 0 && this.#equal(remembered, now, "within");
    if (next[index] === 1) return isSame() && isActiveIterator(now) ? "loops" : "no";
    if (this.#analysis.insns[index]!.opcode === MAY_GOTO && old.mayGotoDepth !== now.mayGotoDepth && isSame())
      return "loops";
    if (callback[index] === 1) return isSame() ? "calls back" : "no";
    const isEndless =
      mayBeLooping(old, now) &&
      old.mayGotoDepth === now.mayGotoDepth &&
      old.callbackUnrollDepth === now.callbackUnrollDepth &&
      !depthsDiffer(old, now) &&
      this.#equal(remembered, now, "exact");
    if (!isEndless) return "no";
    sourceLine(this.#analysis, index);
    return reject(
      EINVAL,
      `infinite loop detected at insn ${index}\ncur state:${stateText(now, now.top, undefined)}\nold state:${stateText(old, old.top, undefined)}`,
    );
  }

  #hit(remembered: Remembered, index: number, match: Exclude<Match, Reject>): true {
    remembered.hits += 1;
    const { state } = this.#analysis;
    const old = remembered.state;
    this.#analysis.env.observer?.covered?.(state, old);
    if (this.#points.jump[index] === 1) state.history.push(index, this.#analysis.previous);
    propagatePrecision(this.#analysis, { old, state, isQuiet: false });
    if (match !== "covers") {
      this.#loops.addBackedge(old, match === "loops");
      this.#measure();
    }
    return true;
  }

  #remember(index: number, bucket: Bucket): void {
    const { state, processed, env } = this.#analysis;
    this.total += 1;
    this.#kept += 1;
    this.#measure();
    this.#previousJumps = this.jumps;
    this.#previousProcessed = processed;
    const copy = state.copy();
    copy.insn = index;
    this.#loops.enter(copy);
    state.parent = copy;
    state.firstInsn = index;
    state.history = new History();
    bucket.remembered.push({ state: copy, misses: 0, hits: 0, difference: -1 });
    bucket.uncleaned.push(copy);
    env.observer?.remembered?.(copy, index);
  }

  /** Linux: update_peak_states() */
  #measure(): void {
    this.peak = Math.max(this.peak, this.#kept + this.#dropped + this.#loops.backedges);
  }

  /** A path ended: states without open paths are done. Linux: update_branch_counts() */
  close(state: State): void {
    for (let at: State | undefined = state; at !== undefined; at = at.parent) {
      at.branches -= 1;
      if (at.branches > 0) return;
      this.#loops.leave(at);
      if (at.isDropped && !isIncompleteInLinux(at)) this.#dropped -= 1;
    }
  }
}

/** Linux: states_maybe_looping(), a first glance. */
function mayBeLooping(old: State, now: State): boolean {
  if (old.frames.length !== now.frames.length) return false;
  const before = old.registers;
  const { registers } = now;
  for (let i = 0; i < registers.length; i++) if (!isSameButFrame(before[i]!, registers[i]!)) return false;
  return true;
}

/** Turns of an iterator differ: not the same state, however equal. Linux: iter_active_depths_differ() */
function depthsDiffer(old: State, now: State): boolean {
  return old.frames.some((frame, index) =>
    frame.stack.some(({ spilled }, slot) => {
      const { iterator } = spilled;
      if (iterator?.state !== "active") return false;
      return now.frames[index]?.stack[slot]?.spilled.iterator?.depth !== iterator.depth;
    }),
  );
}

/** The state at the last visit of an instruction on this path. Linux: find_prev_entry() */
export function findPreviousEntry(state: State, index: number): State | undefined {
  for (let at = state.parent; at !== undefined; at = at.parent) {
    if (at.insn === index && !at.isDropped && hasSameCallSites(at, state)) return at;
  }
  return undefined;
}

/** Whether the same calls led there: a loop in a function begins anew where the function is called from elsewhere. */
const hasSameCallSites = ({ frames }: State, other: State): boolean =>
  frames.length === other.frames.length &&
  frames.every(({ callSite }, i) => callSite === other.frames[i]!.callSite);
