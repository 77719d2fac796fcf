/**
 * What a verification walked, as a graph: each visit of an instruction with the state before it, and the visits that follow. A path
 * that an earlier state covers goes on where that state did.
 *
 * Interface: `WalkGraph` watches a verification; `roots` are the visits at which walks begin, one for the main function and one for
 * each global function; `marked` of a visit is the state that was remembered there, with the marks of precision it got later.
 */
import type { WalkObserver } from "../src/env.ts";
import type { State } from "../src/state/state.ts";

export interface Visit {
  readonly insn: number;
  readonly state: State;
  /** Visits that come next on the same path, or on one that was put aside here. */
  readonly next: Visit[];
  /** Earlier visits that cover what comes next. */
  readonly covered: Visit[];
  /** The state without those slots of the stack that nobody reads behind it: what counts where it covers another. */
  read: State;
  /** What was remembered here. */
  marked: State | undefined;
}

export class TooLarge extends Error {}

export class WalkGraph implements WalkObserver {
  readonly comparesAllNumbers: boolean;
  readonly roots: Visit[] = [];
  readonly #most: number;
  readonly #distort: ((state: State, previous: number) => void) | undefined;
  readonly #at = new Map<State, Visit>();
  readonly #byMemory = new Map<State, Visit>();
  readonly #remembered: State[] = [];
  #here: Visit | undefined;
  readonly visits: Visit[] = [];
  /** How often a path ended in another. */
  prunes = 0;

  /** @param mostVisits the walk ends with `TooLarge` beyond. @param distort plants a bug: changes the state before an instruction. */
  constructor(
    comparesAllNumbers: boolean,
    mostVisits: number,
    distort?: (state: State, previous: number) => void,
  ) {
    this.comparesAllNumbers = comparesAllNumbers;
    this.#most = mostVisits;
    this.#distort = distort;
  }

  before(state: State, insn: number): void {
    if (this.visits.length >= this.#most) throw new TooLarge();
    const from = this.#at.get(state);
    this.#distort?.(state, from?.insn ?? -1);
    const seen = copyAt(state, insn);
    const visit: Visit = { insn, state: seen, read: seen, next: [], covered: [], marked: undefined };
    for (const memory of this.#remembered) {
      this.#byMemory.set(memory, visit);
      visit.marked = memory;
    }
    this.#remembered.length = 0;
    this.visits.push(visit);
    if (from === undefined) this.roots.push(visit);
    else from.next.push(visit);
    this.#at.set(state, visit);
    this.#here = visit;
  }

  pushed(state: State): void {
    this.#at.set(state, this.#here!);
  }

  remembered(state: State): void {
    this.#remembered.push(state);
  }

  walked(forget: (state: State) => void): void {
    if (this.prunes === 0) return;
    for (const memory of this.#byMemory.keys()) forget(memory);
    for (const visit of this.visits) {
      const copy = copyAt(visit.state, visit.insn);
      forget(copy);
      visit.read = copy;
    }
  }

  covered(state: State, old: State): void {
    this.prunes += 1;
    this.#at.get(state)!.covered.push(this.#byMemory.get(old)!);
  }
}

function copyAt(state: State, insn: number): State {
  const copy = state.copy();
  copy.insn = insn;
  copy.history = [];
  return copy;
}
