/**
 * The watchdog over the kernel's thread: a program whose code never returns to the kernel (a synchronous endless loop) cannot
 * be stopped in its own thread, so another one watches that there is progress.
 *
 * Interface: `Watchdog`. `check` is called at even intervals; it holds no timer, so tests drive it by hand.
 */
import type { Progress } from "./progress.ts";

export class Watchdog {
  readonly #progress: Progress;
  readonly #limit: number;
  #seenSteps = -1;
  #idleChecks = 0;

  /** @param limit checks in a row without progress that are one too many. */
  constructor(progress: Progress, limit: number) {
    this.#progress = progress;
    this.#limit = limit;
  }

  /** What is stuck, or undefined. */
  check(): string | undefined {
    const { steps, isBusy, task } = this.#progress;
    if (!isBusy || steps !== this.#seenSteps) {
      this.#seenSteps = steps;
      this.#idleChecks = 0;
      return undefined;
    }
    this.#idleChecks += 1;
    return this.#idleChecks < this.#limit
      ? undefined
      : `${task} made no system call for ${this.#limit} s and does not return: a synchronous endless loop cannot be interrupted`;
  }
}
