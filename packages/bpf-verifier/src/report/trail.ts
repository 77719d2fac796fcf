/**
 * The path that a verification is on: every instruction with the registers before it, back to a limit. An observer of the walk; a
 * path that was put aside is taken up where it was left.
 */
import type { WalkObserver } from "../env.ts";
import type { Register } from "../state/register.ts";
import type { Frame, State } from "../state/state.ts";

export interface Step {
  readonly insn: number;
  /** Frames in use. */
  readonly depth: number;
  readonly frame: Frame;
  /** Before the instruction. */
  readonly registers: readonly Register[];
}

const KEPT = 4096;

export class Trail implements WalkObserver {
  #steps: Step[] = [];
  /** Steps that were dropped from the front. */
  #dropped = 0;
  readonly #forks = new Map<State, number>();
  #current: State | undefined;

  /** The last one is the instruction at which the walk stands. */
  get steps(): readonly Step[] {
    return this.#steps;
  }

  before(state: State, insn: number): void {
    if (state !== this.#current) this.#switchTo(state);
    const frame = state.top;
    this.#steps.push({ insn, depth: state.frames.length, frame, registers: [...frame.registers] });
    if (this.#steps.length <= 2 * KEPT) return;
    this.#steps = this.#steps.slice(KEPT);
    this.#dropped += KEPT;
  }

  pushed(state: State): void {
    this.#forks.set(state, this.#dropped + this.#steps.length);
  }

  #switchTo(state: State): void {
    const length = this.#forks.get(state) ?? 0;
    this.#forks.delete(state);
    this.#steps.length = Math.max(0, length - this.#dropped);
    this.#dropped = Math.min(this.#dropped, length);
    this.#current = state;
  }
}
