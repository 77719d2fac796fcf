/**
 * The run queue: one task at a time, each until it waits for the executor again. Shaped like tokio's `current_thread`.
 *
 * How a task is known to have stopped: its code reaches the executor only through futures and traps. After a delivery the
 * executor waits until the task awaits a future or ends (`touch`), however many microtasks that takes: so the nesting of
 * `async` functions cannot change the order of tasks. Code that runs beside a waiting one in the same task (`Promise.all`)
 * has `GRACE_HOPS` microtasks to reach its next future or trap; `LONG_GRACE_HOPS` where all that the task waits for is older
 * than what was delivered, so that it probably goes on. A task that awaits something foreign holds up the others.
 */
import type { SerialSys } from "../sys/sys.ts";
import { Future } from "./future.ts";
import type { Scheduler } from "./future.ts";
import { TaskState } from "./task.ts";

/** Tasks polled before the driver is looked at (tokio's `event_interval`). */
const EVENT_INTERVAL = 61;
/** Turns that aborted tasks have to end in. */
const SHUTDOWN_TURNS = 64;
/** Microtasks without activity after which a task counts as stopped. */
const GRACE_HOPS = 32;
const LONG_GRACE_HOPS = 4096;

/** What the run queue needs of timers and epoll. */
export interface Driver {
  /** @param mayBlock there is nothing to run. */
  park(mayBlock: boolean): Promise<void>;
}

/** The result of a spawned task: await it, or abort the task. */
export class JoinHandle<T> extends Future<T> {
  readonly #task: TaskState;

  constructor(scheduler: Scheduler, task: TaskState) {
    super(scheduler);
    this.#task = task;
  }

  get isFinished(): boolean {
    return this.isComplete;
  }

  /** The task's pending awaits fail with `Aborted`, and so does this handle, when its `finally` blocks have run. */
  abort(): void {
    this.#task.abort();
  }
}

export class Executor implements Scheduler {
  current: TaskState | undefined;
  readonly #sys: SerialSys;
  readonly #queue: TaskState[] = [];
  #root: TaskState | undefined;
  #isRootWoken = false;
  #deferred: Future<void>[] = [];
  #activity = 0;
  #onActivity: (() => void) | undefined;
  readonly #live = new Set<TaskState>();
  readonly #onTaskError: ((error: unknown) => void) | undefined;

  /** @param onTaskError hears of tasks that fail while nobody waits for them. */
  constructor(sys: SerialSys, onTaskError?: (error: unknown) => void) {
    this.#sys = sys;
    this.#onTaskError = onTaskError;
  }

  /** Runs `main` and everything that is spawned, until `main` ends. */
  async run<T>(main: () => Promise<T>, driver: Driver): Promise<T> {
    if (this.#root !== undefined) throw new Error("blockOn inside blockOn: spawn a task instead");
    const root = new TaskState();
    this.#root = root;
    const handle = this.#start(root, main);
    try {
      while (!root.isDone) await this.#turn(root, driver);
    } finally {
      this.#root = undefined;
    }
    return await handle;
  }

  /** Aborts all tasks, and runs them until they have ended; gives up on those that go on regardless. */
  async shutdown(driver: Driver): Promise<void> {
    const others = Array.from(this.#live);
    if (others.length === 0) return;
    await this.run(async () => {
      for (const task of others) task.abort();
      for (let turn = 0; turn < SHUTDOWN_TURNS && others.some(({ isDone }) => !isDone); turn++)
        await this.yieldNow();
    }, driver);
  }

  /** The task runs after those that are queued. */
  spawn<T>(body: () => Promise<T>): JoinHandle<T> {
    return this.#start(new TaskState(), body);
  }

  /** Completes after the driver's next turn, so that other tasks and events come first. */
  yieldNow(): Future<void> {
    const future = new Future<void>(this);
    this.#deferred.push(future);
    return future;
  }

  touch(): void {
    this.#activity += 1;
    this.#onActivity?.();
  }

  wake(task: TaskState, deliver: () => void): void {
    task.ready.push(deliver);
    if (task.isQueued) return;
    task.isQueued = true;
    if (task === this.#root) this.#isRootWoken = true;
    else this.#queue.push(task);
  }

  #start<T>(task: TaskState, body: () => Promise<T>): JoinHandle<T> {
    const handle = new JoinHandle<T>(this, task);
    this.#live.add(task);
    const finish = (settle: () => void): void => {
      task.isDone = true;
      this.#live.delete(task);
      settle();
      this.touch();
    };
    const fail = (error: unknown): void => {
      const isUnheard = !handle.isAwaited && task !== this.#root && error !== task.abortError;
      finish(() => handle.fail(error));
      if (isUnheard) this.#onTaskError?.(error);
    };
    // A start counts as one wait, which its delivery ends.
    task.waiting = 1;
    this.wake(task, () => {
      if (task.abortError !== undefined) {
        return fail(task.abortError);
      }
      // Through a promise, so that a body that throws at once is a task that failed.
      void new Promise<T>((resolve) => resolve(body())).then(
        (value) => finish(() => handle.complete(value)),
        fail,
      );
    });
    return handle;
  }

  async #turn(root: TaskState, driver: Driver): Promise<void> {
    if (this.#isRootWoken) {
      this.#isRootWoken = false;
      await this.#poll(root);
      if (root.isDone) return;
    }
    for (let polled = 0; polled < EVENT_INTERVAL; polled++) {
      const task = this.#queue.shift();
      if (task === undefined) break;
      await this.#poll(task);
    }
    const deferred = this.#deferred;
    this.#deferred = [];
    await driver.park(deferred.length === 0 && !this.#isRootWoken && this.#queue.length === 0);
    for (const future of deferred) future.complete();
  }

  /** Delivers what became ready before this poll, one by one. */
  async #poll(task: TaskState): Promise<void> {
    const batch = task.ready;
    task.ready = [];
    task.isQueued = false;
    this.current = task;
    for (const deliver of batch) {
      task.waiting -= 1;
      task.hasWaited = false;
      deliver();
      await this.#untilStopped(task);
    }
    this.current = undefined;
  }

  async #untilStopped(task: TaskState): Promise<void> {
    for (;;) {
      if (!task.isQuiet) await this.#nextActivity();
      const seen = this.#activity;
      const hops = task.hasWaited || task.isDone ? GRACE_HOPS : LONG_GRACE_HOPS;
      for (let hop = 0; hop < hops && this.#activity === seen; hop++) await undefined;
      if (this.#sys.pending > 0) await this.#sys.idle();
      else if (this.#activity === seen && task.isQuiet) return;
    }
  }

  #nextActivity(): Promise<void> {
    return new Promise((resolve) => {
      this.#onActivity = () => {
        this.#onActivity = undefined;
        resolve();
      };
    });
  }
}
