/**
 * The executor's clock: CLOCK_MONOTONIC, or a paused one that stands still until it is advanced, or until the executor has
 * nothing else to do and jumps to the next timer (tokio's `start_paused`).
 */
import { CLOCK, NR, NSEC_PER_MSEC, NSEC_PER_SEC, timespec } from "@alien-ts/abi";
import type { UAddr } from "@alien-ts/abi";
import { recordSize } from "../sys/record.ts";
import type { Sys } from "../sys/sys.ts";

export const TIMESPEC_BYTES = recordSize(timespec);

export class Clock {
  readonly #sys: Sys;
  /** Where the kernel writes the time. */
  readonly #buffer: UAddr;
  /** What is added to the kernel's time, or the time itself while paused. Milliseconds. */
  #offsetMs = 0;
  #pausedMs: number | undefined;

  constructor(sys: Sys, buffer: UAddr) {
    this.#sys = sys;
    this.#buffer = buffer;
  }

  get isPaused(): boolean {
    return this.#pausedMs !== undefined;
  }

  /** Milliseconds, with a fraction; a promise when reading it preempts the task. */
  nowMs(): number | Promise<number> {
    if (this.#pausedMs !== undefined) return this.#pausedMs;
    const result = this.#sys.trap(NR.clock_gettime, CLOCK.MONOTONIC, this.#buffer);
    return typeof result === "number" ? this.#read() : result.then(() => this.#read());
  }

  /** Stops the clock at `nowMs`. */
  pause(nowMs: number): void {
    this.#pausedMs = nowMs;
  }

  /** Lets the clock run on from where it stands. @param kernelMs time of the kernel's clock, as `nowMs` gave it unpaused. */
  resume(kernelMs: number): void {
    if (this.#pausedMs === undefined) return;
    this.#offsetMs += this.#pausedMs - kernelMs;
    this.#pausedMs = undefined;
  }

  /** Moves a paused clock to `ms`, never back. */
  jumpTo(ms: number): void {
    if (this.#pausedMs !== undefined) this.#pausedMs = Math.max(this.#pausedMs, ms);
  }

  #read(): number {
    const seconds = this.#sys.memory.readU64(this.#buffer);
    const nanoseconds = this.#sys.memory.readU64(this.#buffer + 8);
    return (seconds * NSEC_PER_SEC + nanoseconds) / NSEC_PER_MSEC + this.#offsetMs;
  }
}
