/**
 * A value that the executor will have: what tasks await. A thenable, not a promise, so that the executor knows which task
 * waits for what, and decides when it continues.
 *
 * `complete` and `fail` only queue the waiting tasks; they run when the executor polls them. A future that is complete
 * already continues its task at once. Awaiting the same future twice is fine.
 */
import type { TaskState, Waiter } from "./task.ts";

/** What a future needs of the executor. */
export interface Scheduler {
  /** The task whose code runs now; undefined outside `blockOn`. */
  readonly current: TaskState | undefined;
  /** The current task did something that the executor waits for. */
  touch(): void;
  /** Queues `task` to run `deliver`, which ends one of its waits. */
  wake(task: TaskState, deliver: () => void): void;
}

type State<T> =
  | { readonly kind: "pending" }
  | { readonly kind: "value"; readonly value: T }
  | { readonly kind: "error"; readonly error: unknown };

interface Await<T> extends Waiter {
  readonly task: TaskState | undefined;
  readonly resolve: (value: T) => void;
  readonly reject: (error: unknown) => void;
}

export class Future<T> implements PromiseLike<T> {
  readonly #scheduler: Scheduler;
  readonly #onCancel: (() => void) | undefined;
  #state: State<T> = { kind: "pending" };
  #awaits = new Set<Await<T>>();

  /** @param onCancel releases what stands behind the future (a timer). */
  constructor(scheduler: Scheduler, onCancel?: () => void) {
    this.#scheduler = scheduler;
    this.#onCancel = onCancel;
  }

  get isComplete(): boolean {
    return this.#state.kind !== "pending";
  }

  /** Whether some code waits for it now. */
  get isAwaited(): boolean {
    return this.#awaits.size > 0;
  }

  // A thenable on purpose: `await` and the combinators of Promise call it.
  // oxlint-disable-next-line unicorn/no-thenable
  then<A = T, B = never>(
    onValue?: ((value: T) => A | PromiseLike<A>) | null,
    onError?: ((error: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    return new Promise<T>((resolve, reject) => this.#register(resolve, reject)).then(onValue, onError);
  }

  complete(value: T): void {
    this.#settle({ kind: "value", value });
  }

  fail(error: unknown): void {
    this.#settle({ kind: "error", error });
  }

  /** Nobody will await this any more: frees its timer or registration. Code that waits for it never continues. */
  cancel(): void {
    if (this.isComplete) return;
    for (const entry of this.#awaits) entry.task?.forget(entry);
    this.#awaits.clear();
    this.#onCancel?.();
  }

  #register(resolve: (value: T) => void, reject: (error: unknown) => void): void {
    const task = this.#scheduler.current;
    if (task?.abortError !== undefined) return reject(task.abortError);
    if (this.#state.kind === "value") return resolve(this.#state.value);
    if (this.#state.kind === "error") return reject(this.#state.error);
    const entry: Await<T> = {
      task,
      resolve,
      reject,
      abort: (error) => {
        this.#awaits.delete(entry);
        // The last one that waited is gone: so is the reason for the timer.
        if (this.#awaits.size === 0) this.#onCancel?.();
        this.#deliver(entry, { kind: "error", error });
      },
    };
    this.#awaits.add(entry);
    task?.wait(entry);
    this.#scheduler.touch();
  }

  #settle(state: State<T>): void {
    if (this.isComplete) return;
    this.#state = state;
    const awaits = this.#awaits;
    this.#awaits = new Set();
    for (const entry of awaits) this.#deliver(entry, state);
  }

  #deliver(entry: Await<T>, state: State<T>): void {
    const deliver = (): void => {
      if (state.kind === "value") entry.resolve(state.value);
      else if (state.kind === "error") entry.reject(state.error);
    };
    if (entry.task === undefined) return deliver();
    entry.task.settled(entry);
    this.#scheduler.wake(entry.task, deliver);
  }
}
