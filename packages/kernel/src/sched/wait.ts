/**
 * Wait queues and `waitEvent`, the only loop that waits. Linux: kernel/sched/wait.c.
 *
 * A task sleeps inside the kernel function that sleeps in Linux: it enters itself into a queue, checks its condition, and
 * yields; a waker changes what the condition reads and calls `wakeUp`. Entries may also be callbacks (epoll, poll), which run
 * in the waker's context and get the poll mask that it passed.
 */
import { ERESTARTSYS, type Result } from "@alien-ts/abi";
import type { Cx } from "../core/cx.ts";
import type { Blocking } from "../core/row.ts";
import { TASK, type Task } from "../core/task.ts";
import { HrTimer } from "./timers.ts";
import { try_to_wake_up } from "./wakeup.ts";

export interface WaitEntry {
  /** Runs in the waker's context. Returns whether it woke someone (what counts against `exclusive` wakes). */
  wake(cx: Cx, key: number): boolean;
  /** Woken one at a time, after all others. */
  readonly exclusive: boolean;
}

export class WaitQueue {
  /** Copied on write: an entry may remove itself while the queue is being woken. */
  #entries: readonly WaitEntry[] = [];

  add(entry: WaitEntry): void {
    this.#entries = entry.exclusive ? [...this.#entries, entry] : [entry, ...this.#entries];
  }

  remove(entry: WaitEntry): void {
    if (this.#entries.includes(entry)) this.#entries = this.#entries.filter((e) => e !== entry);
  }

  get isEmpty(): boolean {
    return this.#entries.length === 0;
  }

  /** Linux: __wake_up_common. @param exclusives how many exclusive waiters to wake; 0 wakes all. */
  wake(cx: Cx, key: number, exclusives: number): void {
    let left = exclusives;
    for (const entry of this.#entries) {
      if (entry.wake(cx, key) && entry.exclusive && --left === 0) return;
    }
  }
}

/** wake_up(): every waiter that is not exclusive and one that is. `key` is a poll mask; 0 stands for any event. */
export function wakeUp(cx: Cx, queue: WaitQueue, key = 0): void {
  if (!queue.isEmpty) queue.wake(cx, key, 1);
}

/** wake_up_all(). */
export function wakeUpAll(cx: Cx, queue: WaitQueue, key = 0): void {
  if (!queue.isEmpty) queue.wake(cx, key, 0);
}

export interface WaitOptions {
  /** Ends the wait at this CLOCK_MONOTONIC time. */
  readonly deadlineNs?: number;
  /** TASK.INTERRUPTIBLE (default), TASK.KILLABLE or TASK.UNINTERRUPTIBLE. */
  readonly state?: number;
  readonly exclusive?: boolean;
  /** Wait on these queues too. */
  readonly also?: readonly WaitQueue[];
}

/**
 * Sleeps until `condition()` holds: true; or until the deadline: false; or until a signal is pending: ERESTARTSYS. The
 * condition is checked before sleeping and after every wake-up, and must have no effect.
 */
export function* waitEvent(
  cx: Cx,
  queue: WaitQueue,
  condition: () => boolean,
  options: WaitOptions = {},
): Blocking<Result<boolean>> {
  if (condition()) return true;
  const state = options.state ?? TASK.INTERRUPTIBLE;
  const queues = options.also === undefined ? [queue] : [queue, ...options.also];
  const entry = taskEntry(cx.task, options.exclusive ?? false);
  for (const q of queues) q.add(entry);
  const result = yield* waitLoop(cx, condition, state, options.deadlineNs);
  for (const q of queues) q.remove(entry);
  return result;
}

function* waitLoop(
  cx: Cx,
  condition: () => boolean,
  state: number,
  deadlineNs: number | undefined,
): Blocking<Result<boolean>> {
  const { task } = cx;
  const { sched, clock } = cx.kernel;
  const wake = (timerCx: Cx): void => void try_to_wake_up(timerCx, task, state);
  const timer = deadlineNs === undefined ? undefined : new HrTimer(wake);
  let result: Result<boolean> | undefined;
  while (result === undefined) {
    if (signalEndsWait(task, state)) result = ERESTARTSYS;
    else if (deadlineNs !== undefined && clock.nowNs() >= deadlineNs) result = condition();
    else {
      if (timer?.isActive === false) sched.timers.start(timer, deadlineNs!);
      task.t.__state = state;
      yield;
      task.t.__state = TASK.RUNNING;
      if (condition()) result = true;
    }
  }
  if (timer !== undefined) sched.timers.cancel(timer);
  return result;
}

function signalEndsWait(task: Task, state: number): boolean {
  if ((state & TASK.INTERRUPTIBLE) !== 0) return task.hasPendingSignal;
  return (state & TASK.WAKEKILL) !== 0 && task.hasFatalSignal;
}

function taskEntry(task: Task, exclusive: boolean): WaitEntry {
  return { exclusive, wake: (cx) => try_to_wake_up(cx, task, TASK.INTERRUPTIBLE | TASK.UNINTERRUPTIBLE) };
}

/** Sleeps for a time (schedule_timeout): false when it passed, ERESTARTSYS on a signal. */
export function sleepUntil(
  cx: Cx,
  deadlineNs: number,
  state: number = TASK.INTERRUPTIBLE,
): Blocking<Result<boolean>> {
  return waitEvent(cx, new WaitQueue(), () => false, { deadlineNs, state });
}

/** Lets other tasks run; the caller stays runnable. Linux: cond_resched(), sched_yield(2). */
export function* condResched(cx: Cx): Blocking<void> {
  if (cx.kernel.sched.needsResched(cx.task)) yield;
}
