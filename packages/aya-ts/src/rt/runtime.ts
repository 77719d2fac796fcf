/**
 * The single-threaded async runtime: `const rt = await Runtime.open(sys); await rt.blockOn(async () => …)`.
 *
 * Inside `blockOn`, await futures of this runtime, and system calls made through `rt.sys`; both keep the order of tasks
 * independent of microtasks. Times are milliseconds. One epoll_pwait(2) per turn; no host timers.
 */
import { AsyncFd } from "./async-fd.ts";
import { Clock, TIMESPEC_BYTES } from "./clock.ts";
import { Executor } from "./executor.ts";
import type { Driver, JoinHandle } from "./executor.ts";
import { Future } from "./future.ts";
import { Reactor } from "./reactor.ts";
import type { Interest } from "./reactor.ts";
import { Signals } from "./signals.ts";
import { Timers } from "./timers.ts";
import type { Timer } from "./timers.ts";
import { serialise } from "../sys/sys.ts";
import type { SerialSys, Sys } from "../sys/sys.ts";
import type { UAddr } from "@alien-ts/abi";

/** The time given to `timeout` is over. */
export class Elapsed extends Error {
  constructor(ms: number) {
    super(`not done after ${ms} ms`);
    this.name = "Elapsed";
  }
}

export interface RuntimeOptions {
  /** The clock stands still, and jumps to the next timer when there is nothing else to do. */
  readonly startPaused?: boolean;
  /** Hears of spawned tasks that fail while nobody waits for their handle. */
  readonly onTaskError?: (error: unknown) => void;
}

interface Parts {
  readonly sys: SerialSys;
  readonly reactor: Reactor;
  readonly executor: Executor;
  readonly signal: Signals;
  readonly clock: Clock;
  readonly clockBuffer: UAddr;
}

export class Runtime {
  /** The system calls of code that runs inside this runtime: they wait for each other. */
  readonly sys: SerialSys;
  readonly signal: Signals;
  readonly #parts: Parts;
  readonly #executor: Executor;
  readonly #timers = new Timers();
  readonly #clock: Clock;
  readonly #driver: Driver = { park: (mayBlock) => this.#park(mayBlock) };

  private constructor(parts: Parts) {
    this.sys = parts.sys;
    this.signal = parts.signal;
    this.#parts = parts;
    this.#executor = parts.executor;
    this.#clock = parts.clock;
  }

  static async open(system: Sys, options: RuntimeOptions = {}): Promise<Runtime> {
    const sys = serialise(system);
    const reactor = await Reactor.open(sys);
    const executor = new Executor(sys, options.onTaskError);
    const spawn = (body: () => Promise<void>): void => void executor.spawn(body);
    const signal = await Signals.open({ sys, scheduler: executor, reactor, spawn });
    const clockBuffer = await sys.alloc(TIMESPEC_BYTES);
    const clock = new Clock(sys, clockBuffer);
    if (options.startPaused === true) clock.pause(await clock.nowMs());
    return new Runtime({ sys, reactor, executor, signal, clock, clockBuffer });
  }

  /** Aborts the tasks that have not ended, so that what they hold is released, and frees descriptors and memory. */
  async close(): Promise<void> {
    await this.#executor.shutdown(this.#driver);
    await this.signal.close(this.#parts.reactor);
    await this.#parts.reactor.close();
    await this.sys.free(this.#parts.clockBuffer);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Runs `main`, and the tasks that are spawned, until `main` ends; gives or throws its result. */
  blockOn<T>(main: () => Promise<T>): Promise<T> {
    return this.#executor.run(main, this.#driver);
  }

  /** Starts a task; it runs when the current one waits. */
  spawn<T>(body: () => Promise<T>): JoinHandle<T> {
    return this.#executor.spawn(body);
  }

  /** Lets other tasks and events come first. */
  yieldNow(): Future<void> {
    return this.#executor.yieldNow();
  }

  /** Completes after `ms` milliseconds, rounded up to whole ones. */
  sleep(ms: number): Future<void> {
    return this.#timer((now) => now + ms);
  }

  /** Completes at `deadlineMs` of `now()`. */
  sleepUntil(deadlineMs: number): Future<void> {
    return this.#timer(() => deadlineMs);
  }

  /** Milliseconds of this runtime's clock. */
  async now(): Promise<number> {
    return this.#clock.nowMs();
  }

  /** Ticks at once, then every `periodMs`; ticks that were missed follow at once (tokio's burst). */
  async *interval(periodMs: number): AsyncGenerator<void, never> {
    if (!(periodMs > 0)) throw new RangeError(`interval of ${periodMs} ms: expected more than 0`);
    for (let deadline = await this.now(); ; deadline += periodMs) {
      await this.sleepUntil(deadline);
      yield;
    }
  }

  /** The first of `branches` that is done, by name; futures among the others are cancelled. */
  async select<B extends Record<string, PromiseLike<unknown>>>(branches: B): Promise<Selected<B>> {
    const entries = Object.entries(branches);
    try {
      return await Promise.race(
        entries.map(
          async ([name, branch]): Promise<Selected<B>> => ({ name, value: await branch }) as Selected<B>,
        ),
      );
    } finally {
      for (const [, branch] of entries) if (branch instanceof Future) branch.cancel();
    }
  }

  /** Throws `Elapsed` when `work` is not done in time. Work that is not a future goes on unheeded. */
  async timeout<T>(ms: number, work: PromiseLike<T>): Promise<T> {
    const first = await this.select({ work, clock: this.sleep(ms) });
    if (first.name === "clock") throw new Elapsed(ms);
    return first.value as T;
  }

  /** Watches a descriptor; readable and writable unless told otherwise. */
  asyncFd(fd: number, interest: Interest = { readable: true, writable: true }): Promise<AsyncFd> {
    return AsyncFd.open(fd, { scheduler: this.#executor, reactor: this.#parts.reactor, interest });
  }

  /** A future that the caller completes. */
  future<T>(): Future<T> {
    return new Future<T>(this.#executor);
  }

  /** Makes a sleeping `blockOn` look at its queue: for signal handlers and other threads. */
  wake(): Promise<void> {
    return this.#parts.reactor.wake();
  }

  /** Stops the clock. */
  async pause(): Promise<void> {
    if (!this.#clock.isPaused) this.#clock.pause(await this.#clock.nowMs());
  }

  /** Moves a paused clock, and fires what has become due. */
  async advance(ms: number): Promise<void> {
    if (!this.#clock.isPaused) throw new Error("advance needs a paused clock");
    const target = (await this.now()) + ms;
    for (let next = this.#timers.next(); next !== undefined && next <= target; next = this.#timers.next()) {
      this.#clock.jumpTo(next);
      this.#timers.fireUntil(next);
      await this.yieldNow();
    }
    this.#clock.jumpTo(target);
  }

  #timer(deadline: (nowMs: number) => number): Future<void> {
    let timer: Timer | undefined;
    const future: Future<void> = new Future<void>(this.#executor, () => {
      if (timer !== undefined) timer.isCancelled = true;
    });
    const add = (nowMs: number): void => {
      const due = deadline(nowMs);
      if (due <= nowMs) future.complete();
      else timer = this.#timers.add(Math.ceil(due), () => future.complete());
    };
    const now = this.#clock.nowMs();
    if (typeof now === "number") add(now);
    else void now.then(add);
    return future;
  }

  async #park(mayBlock: boolean): Promise<void> {
    const deadline = this.#timers.next();
    if (this.#clock.isPaused) return this.#parkPaused(mayBlock, deadline);
    if (deadline === undefined) {
      await this.#parts.reactor.poll(mayBlock ? -1 : 0);
      return;
    }
    const timeoutMs = mayBlock ? Math.max(0, Math.ceil(deadline - (await this.#clock.nowMs()))) : 0;
    await this.#parts.reactor.poll(timeoutMs);
    this.#timers.fireUntil(await this.#clock.nowMs());
  }

  /** Time passes only when nothing else can happen. */
  async #parkPaused(mayBlock: boolean, deadline: number | undefined): Promise<void> {
    const events = await this.#parts.reactor.poll(mayBlock && deadline === undefined ? -1 : 0);
    if (!mayBlock || events > 0 || deadline === undefined) return;
    this.#clock.jumpTo(deadline);
    this.#timers.fireUntil(deadline);
  }
}

/** The branch that was first. */
export type Selected<B extends Record<string, PromiseLike<unknown>>> = {
  readonly [K in keyof B]: { readonly name: K; readonly value: Awaited<B[K]> };
}[keyof B];
