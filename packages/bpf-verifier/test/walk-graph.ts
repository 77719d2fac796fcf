/**
 * What a verification walked, as a graph: each visit of an instruction with the state before it, and the visits that follow. A path
 * that an earlier state covers goes on where that state did.
 *
 * Interface: `WalkGraph` watches a verification; `roots` are the visits at which walks begin, one for the main function and one for
 * each global function; `marked` of a visit is the state that was remembered there, with the marks of precision it got later.
 */
import type { WalkObserver } from "../src/env.ts";
import { History } from "../src/state/history.ts";
import type { State } from "../src/state/state.ts";

export interface Visit {
  readonly insn: number;
  readonly state: State;
  /** Visits that come next on the same path, or on one that was put aside here. */
  readonly next: Visit[];
  /** Earlier visits that cover what comes next. */
  readonly covered: Visit[];
  /** What was remembered here, without slots that nobody read behind it. */
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
    const visit: Visit = { insn, state: copyOf(state), next: [], covered: [], marked: undefined };
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

  covered(state: State, old: State): void {
    this.prunes += 1;
    this.#at.get(state)!.covered.push(this.#byMemory.get(old)!);
  }
}

function copyOf(state: State): State {
  const copy = state.copy();
  copy.history = new History();
  return copy;
}
