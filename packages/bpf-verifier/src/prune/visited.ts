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
import { stateText } from "../print.ts";
import type { Frame, State } from "../state/state.ts";
import { reject } from "../verdict.ts";
import type { Reject } from "../verdict.ts";
import { statesEqual } from "./equal.ts";
import type { Exactness } from "./equal.ts";
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
    if (insn.opcode === 0xe5) checkpoint[index] = 1;
    target(index + 1 + insn.off);
  });
  return { prune, jump, checkpoint, next };
}

interface Remembered {
  readonly state: State;
  misses: number;
  hits: number;
}

const MAY_GOTO = 0xe5;

export class Visited {
  readonly #analysis: Analysis;
  readonly #points: Points;
  readonly #live: Uint16Array;
  readonly #states = new Map<number, Remembered[]>();
  #previousJumps = 0;
  #previousProcessed = 0;
  jumps = 0;
  total = 0;
  mostPerInsn = 0;

  constructor(analysis: Analysis, points: Points, live: Uint16Array) {
    this.#analysis = analysis;
    this.#points = points;
    this.#live = live;
  }

  /** Forgets the distances of an earlier function. */
  restart(): void {
    this.#states.clear();
    this.#previousJumps = this.jumps;
    this.#previousProcessed = this.#analysis.processed;
  }

  #equal(old: State, now: State, exactness: Exactness): boolean {
    return statesEqual(old, now, {
      exactness,
      live: (frame, isTop) => this.#liveIn(frame, isTop, old),
      mayReadAnything: this.#analysis.env.privileges.mayReadUninitialised,
    });
  }

  #liveIn(frame: Frame, isTop: boolean, state: State): number {
    if (isTop) return this.#live[state.insn]!;
    // A caller goes on behind its call; a callback's caller may call again.
    const site = state.frames[frame.index + 1]!.callSite;
    return site < 0 ? 0x3ff : this.#live[site]! | (this.#live[site + 1] ?? 0);
  }

  /** True where an earlier state covers the current one. */
  check(index: number): boolean | Reject {
    const analysis = this.#analysis;
    const { state, env } = analysis;
    const isForced = env.isStateFrequent || this.#points.checkpoint[index] === 1 || state.history.length > 40;
    let adds =
      isForced ||
      (this.jumps - this.#previousJumps >= 2 && analysis.processed - this.#previousProcessed >= 8);
    const list = this.#states.get(index) ?? [];
    this.#clean(list);
    let count = 0;
    for (let i = 0; i < list.length; i++) {
      const remembered = list[i]!;
      count += 1;
      const old = remembered.state;
      if (old.branches > 0) {
        const outcome = this.#checkLoop(index, old, state);
        if (typeof outcome !== "string") return outcome;
        if (outcome === "hit") return this.#hit(remembered, index, true);
        if (
          !isForced &&
          this.jumps - this.#previousJumps < 20 &&
          analysis.processed - this.#previousProcessed < 100
        )
          adds = false;
      } else {
        // Inside a loop the marks of precision may be incomplete: all numbers count.
        const isComplete = old.loopEntry === undefined && env.observer?.comparesAllNumbers !== true;
        const exactness = isComplete ? "safe" : "within";
        if (this.#equal(old, state, exactness)) return this.#hit(remembered, index, false);
      }
      if (adds) remembered.misses += 1;
      const factor = this.#points.checkpoint[index] === 1 && old.branches > 0 ? 64 : 3;
      if (remembered.misses > remembered.hits * factor + factor) {
        list.splice(i, 1);
        i -= 1;
      }
    }
    this.mostPerInsn = Math.max(this.mostPerInsn, count);
    if (adds) this.#remember(index, list);
    return false;
  }

  /** What nobody will read is forgotten, once all paths from a state are known. Linux: clean_live_states() */
  #clean(list: readonly Remembered[]): void {
    for (const { state } of list) {
      if (state.branches > 0 || state.isCleaned || state.loopEntry !== undefined) continue;
      this.#analysis.liveStack.clean(state);
      state.isCleaned = true;
    }
  }

  /** The old state's paths are still open: it is an ancestor, or a sibling of one. */
  #checkLoop(index: number, old: State, now: State): "hit" | "miss" | Reject {
    const analysis = this.#analysis;
    const insn = analysis.insns[index]!;
    if (insn.opcode === MAY_GOTO) {
      if (old.mayGotoDepth !== now.mayGotoDepth && this.#equal(old, now, "within")) return "hit";
    }
    if (this.#points.next[index] === 1)
      return this.#equal(old, now, "within") && isActiveIterator(now) ? "hit" : "miss";
    if (callsCallback(analysis.env, insn)) return this.#equal(old, now, "within") ? "hit" : "miss";
    const isLoop =
      old.mayGotoDepth === now.mayGotoDepth &&
      old.callbackUnrollDepth === now.callbackUnrollDepth &&
      !depthsDiffer(old, now) &&
      this.#equal(old, now, "exact");
    if (!isLoop) return "miss";
    const frame = now.top;
    return reject(
      EINVAL,
      `infinite loop detected at insn ${index}\ncur state:${stateText(now, frame, undefined)}\nold state:${stateText(old, old.top, undefined)}`,
    );
  }

  #hit(remembered: Remembered, index: number, isOpen: boolean): true {
    remembered.hits += 1;
    const { state } = this.#analysis;
    const old = remembered.state;
    this.#analysis.env.observer?.covered?.(state, old);
    const entry = isOpen ? old : old.loopEntry;
    if (entry !== undefined && entry.branches > 0) {
      for (let at: State | undefined = state.parent; at !== undefined && at !== entry; at = at.parent) {
        if (at.loopEntry === undefined || at.loopEntry.dfsDepth > entry.dfsDepth) at.loopEntry = entry;
      }
      entry.isUsedAsLoopEntry = true;
      if (entry.loopEntry === undefined) entry.loopEntry = entry;
    }
    if (this.#points.jump[index] === 1)
      state.history.push({ index, previous: this.#analysis.previous, stack: undefined, linked: undefined });
    propagatePrecision(this.#analysis, old);
    return true;
  }

  #remember(index: number, list: Remembered[]): void {
    const { state, processed, env } = this.#analysis;
    this.total += 1;
    this.#previousJumps = this.jumps;
    this.#previousProcessed = processed;
    if (env.privileges.isCapable) {
      state.replaceAll((register) => register.withPrecision(false));
    }
    const copy = state.copy();
    copy.insn = index;
    copy.loopEntry = undefined;
    state.parent = copy;
    state.firstInsn = index;
    state.dfsDepth = copy.dfsDepth + 1;
    state.history = [];
    list.unshift({ state: copy, misses: 0, hits: 0 });
    this.#states.set(index, list);
    env.observer?.remembered?.(copy, index);
  }
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

/** A path ended: states without open paths are done. Linux: update_branch_counts() */
export function closePath(state: State): void {
  for (let at: State | undefined = state; at !== undefined; at = at.parent) {
    at.branches -= 1;
    if (at.branches > 0) return;
  }
}

/** The state at the last visit of an instruction on this path. Linux: find_prev_entry() */
export function findPreviousEntry(state: State, index: number): State | undefined {
  for (let at = state.parent; at !== undefined; at = at.parent) {
    if (at.insn === index && hasSameCallSites(at, state)) return at;
  }
  return undefined;
}

/** Whether the same calls led there: a loop in a function begins anew where the function is called from elsewhere. */
const hasSameCallSites = ({ frames }: State, other: State): boolean =>
  frames.length === other.frames.length &&
  frames.every(({ callSite }, i) => callSite === other.frames[i]!.callSite);
