/**
 * Readiness of a descriptor, as tokio's `AsyncFd`: edge-triggered and cached. After a call that answered EAGAIN, clear the
 * readiness (`clearReady`), then await it again; `io` does both.
 *
 * The descriptor stays its owner's: closing an `AsyncFd` only ends the watch.
 */
import { EAGAIN } from "@alien-ts/abi";
import { failedWith } from "../sys/sys.ts";
import { Future } from "./future.ts";
import type { Scheduler } from "./future.ts";
import type { Interest, Reactor } from "./reactor.ts";

type Direction = "readable" | "writable";

export class AsyncFd {
  readonly fd: number;
  readonly #scheduler: Scheduler;
  readonly #reactor: Reactor;
  #token = 0;
  #isReady: Record<Direction, boolean> = { readable: false, writable: false };
  #waiting: Record<Direction, Set<Future<void>>> = { readable: new Set(), writable: new Set() };

  private constructor(fd: number, scheduler: Scheduler, reactor: Reactor) {
    this.fd = fd;
    this.#scheduler = scheduler;
    this.#reactor = reactor;
  }

  static async open(fd: number, { scheduler, reactor, interest }: AsyncFdContext): Promise<AsyncFd> {
    const self = new AsyncFd(fd, scheduler, reactor);
    self.#token = await reactor.add(fd, interest, (readiness) => {
      if (readiness.readable) self.#setReady("readable");
      if (readiness.writable) self.#setReady("writable");
    });
    return self;
  }

  /** Completes when the descriptor has become readable (or failed, or hung up) since the last `clearReady`. */
  readable(): Future<void> {
    return this.#ready("readable");
  }

  writable(): Future<void> {
    return this.#ready("writable");
  }

  /** The last call answered EAGAIN: only a new event makes the descriptor ready again. */
  clearReady(direction: Direction): void {
    this.#isReady[direction] = false;
  }

  /** Awaits readiness and makes the call, again and again while it answers EAGAIN. */
  async io(direction: Direction, call: () => number | Promise<number>): Promise<number> {
    for (;;) {
      await this.#ready(direction);
      const result = await call();
      if (!failedWith(result, EAGAIN)) return result;
      this.clearReady(direction);
    }
  }

  async close(): Promise<void> {
    await this.#reactor.remove(this.fd, this.#token);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #ready(direction: Direction): Future<void> {
    const waiting = this.#waiting[direction];
    const future: Future<void> = new Future<void>(this.#scheduler, () => waiting.delete(future));
    if (this.#isReady[direction]) future.complete();
    else waiting.add(future);
    return future;
  }

  #setReady(direction: Direction): void {
    this.#isReady[direction] = true;
    const waiting = this.#waiting[direction];
    this.#waiting[direction] = new Set();
    for (const future of waiting) future.complete();
  }
}

export interface AsyncFdContext {
  readonly scheduler: Scheduler;
  readonly reactor: Reactor;
  readonly interest: Interest;
}
