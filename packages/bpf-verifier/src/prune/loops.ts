/**
 * Loops of the walk: which remembered states do not know yet what they need, since a path that leads back into their loop ended at
 * a state whose own paths were still open. Linux: maybe_enter_scc(), maybe_exit_scc(), add_scc_backedge(), propagate_backedges().
 *
 * A *visit* is a component of the program (components.ts) that is walked below one chain of calls. It is entered by the first
 * state that is remembered in it, and left when all paths of that state ended. A path that ends in it at an equal state leaves a
 * *back edge*: its last state, and the one that stands for it. What is precise in the latter must be precise on the way to the
 * former, which may make more precise in the latter in turn; so marks are carried along all back edges until none is new. Before
 * that, states of the visit may only be compared with all their numbers.
 *
 * Differs from Linux: 6.18 has no visits of calls that call back, and prunes by states whose marks are missing there. Ours are not
 * shown in the log.
 */
import type { Analysis } from "../analysis.ts";
import { markEverything, propagatePrecision } from "./precision.ts";
import type { State } from "../state/state.ts";

/** MAX_BACKEDGE_ITERS */
const MAX_ROUNDS = 64;

interface Backedge {
  /** Where the path ended. */
  readonly state: State;
  /** The state that stands for what would have followed. */
  readonly equal: State;
}

/** One component below one chain of calls. */
export interface LoopVisit {
  readonly name: string;
  readonly isShown: boolean;
  entry: State | undefined;
  backedges: Backedge[];
}

export class Loops {
  readonly #analysis: Analysis;
  readonly #components: Int32Array;
  readonly #hasCallbacks: boolean;
  readonly #visits = new Map<string, LoopVisit>();
  /** Back edges of Linux whose marks are not carried along yet. */
  backedges = 0;

  constructor(analysis: Analysis, components: Int32Array) {
    this.#analysis = analysis;
    this.#components = components;
    this.#hasCallbacks = components.some((component) => component < 0);
  }

  /** Another function is walked. */
  restart(): void {
    this.#visits.clear();
    this.backedges = 0;
  }

  /** `state` was just remembered. */
  enter(state: State): void {
    const inner = this.#visit(this.#chain(state, false));
    const outer = this.#hasCallbacks ? this.#visit(this.#chain(state, true)) : inner;
    if (outer === undefined) return;
    state.loops = inner === undefined || inner === outer ? [outer] : [inner, outer];
    for (const visit of state.loops) {
      if (visit.entry !== undefined) continue;
      visit.entry = state;
      this.#log(visit, "enter");
    }
  }

  /** The current path ended at `equal`, whose own paths are open or may lack marks, by Linux's measure or only by ours. */
  addBackedge(equal: State, isLinux: boolean): void {
    const state = this.#analysis.state.copy();
    for (const visit of equal.loops) {
      if (visit.isShown && !isLinux) continue;
      this.#log(visit, "backedge");
      visit.backedges.push({ state, equal });
      if (visit.isShown) this.backedges += 1;
    }
  }

  /** All paths of `state` ended. */
  leave(state: State): void {
    for (const visit of state.loops) {
      if (visit.entry !== state) continue;
      this.#log(visit, "exit");
      visit.entry = undefined;
      if (visit.isShown) this.backedges -= visit.backedges.length;
      this.#propagate(visit);
      visit.backedges = [];
    }
  }

  #propagate({ backedges, isShown }: LoopVisit): void {
    const { log } = this.#analysis;
    // Linux has the newest first.
    const edges = backedges.toReversed();
    for (let round = 0, isChanged = true; isChanged; round++) {
      if (round > MAX_ROUNDS) {
        if (isShown && log.isVerbose) log.line("propagate_backedges: too many iterations");
        for (const { state } of edges) markEverything(this.#analysis, state, !isShown);
        return;
      }
      isChanged = false;
      for (const { state, equal } of edges) {
        if (propagatePrecision(this.#analysis, { old: equal, state, isQuiet: !isShown })) isChanged = true;
      }
    }
  }

  /**
   * Calls down to the outermost frame that is in a loop, and that loop's number; undefined for a state that is in none. Linux:
   * compute_scc_callchain()
   *
   * @param withCallbacks calls that call back count as loops.
   */
  #chain(state: State, withCallbacks: boolean): readonly number[] | undefined {
    const chain: number[] = [];
    for (const { index } of state.frames) {
      const at = state.frames[index + 1]?.callSite ?? state.insn;
      const component = this.#components[at] ?? 0;
      const isLoop = component > 0 || (component < 0 && withCallbacks);
      chain.push(isLoop ? component : at);
      if (isLoop) return chain;
    }
    return undefined;
  }

  #visit(chain: readonly number[] | undefined): LoopVisit | undefined {
    if (chain === undefined) return undefined;
    const key = chain.join(",");
    let visit = this.#visits.get(key);
    if (visit === undefined) {
      visit = { name: nameOf(chain), isShown: chain.at(-1)! > 0, entry: undefined, backedges: [] };
      this.#visits.set(key, visit);
    }
    return visit;
  }

  #log({ name, isShown }: LoopVisit, what: string): void {
    const { log } = this.#analysis;
    if (isShown && log.isVerbose) log.line(`SCC ${what} ${name}`);
  }
}

/** Whether marks of precision may be missing in `state`. */
export const isIncomplete = ({ loops }: State): boolean =>
  loops.some(({ backedges }) => backedges.length > 0);

/** Whether Linux knows. Linux: incomplete_read_marks() */
export const isIncompleteInLinux = ({ loops }: State): boolean =>
  loops.length > 0 && loops[0]!.isShown && loops[0]!.backedges.length > 0;

/** Calls at instruction 0, which Linux takes for the end of the list, are not printed. */
function nameOf(chain: readonly number[]): string {
  const calls = chain.slice(0, -1);
  const end = calls.indexOf(0);
  return `(${[...(end < 0 ? calls : calls.slice(0, end)), chain.at(-1)].join(",")})`;
}
