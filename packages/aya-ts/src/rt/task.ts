/**
 * One task of the executor: what it waits for, and what has become ready since it ran last.
 *
 * The executor owns it; futures register their waiters here, so that an abort reaches them.
 */

/** Rejects an aborted task's futures, and its handle. */
export class Aborted extends Error {
  constructor() {
    super("the task was aborted");
    this.name = "Aborted";
  }
}

/** One `await` of a future. */
export interface Waiter {
  /** Takes the waiter out of its future and queues the task with the error. */
  abort(error: Aborted): void;
}

export class TaskState {
  /** Deliveries that the next poll makes, in the order in which they became ready. */
  ready: (() => void)[] = [];
  isQueued = false;
  isDone = false;
  abortError: Aborted | undefined;
  /** Awaits whose result has not been delivered. */
  waiting = 0;
  /** It has begun to wait since the last delivery. */
  hasWaited = false;
  readonly #waiters = new Set<Waiter>();

  /** The task cannot go on by itself. */
  get isQuiet(): boolean {
    return this.isDone || this.waiting > 0;
  }

  wait(waiter: Waiter): void {
    this.waiting += 1;
    this.hasWaited = true;
    this.#waiters.add(waiter);
  }

  /** The waiter's result is queued; it counts as waiting until it is delivered. */
  settled(waiter: Waiter): void {
    this.#waiters.delete(waiter);
  }

  /** The waiter will never get a result. */
  forget(waiter: Waiter): void {
    if (this.#waiters.delete(waiter)) this.waiting -= 1;
  }

  /** Every future that the task waits for, now or later, fails; so `finally` and `using` run. */
  abort(): void {
    if (this.isDone || this.abortError !== undefined) return;
    this.abortError = new Aborted();
    for (const waiter of Array.from(this.#waiters)) waiter.abort(this.abortError);
  }
}
