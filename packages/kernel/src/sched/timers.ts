/**
 * High-resolution timers: a binary heap over (expiry, order of start). Linux: kernel/time/hrtimer.c.
 * Callbacks run in interrupt context: they must not sleep. A timer that is started again moves.
 */
import type { Cx } from "../core/cx.ts";

export class HrTimer {
  readonly callback: (cx: Cx, timer: HrTimer) => void;
  /** CLOCK_MONOTONIC nanoseconds; meaningful while it is started. */
  expiresNs = 0;
  /** Index in the heap, or −1. */
  slot = -1;
  order = 0;

  constructor(callback: (cx: Cx, timer: HrTimer) => void) {
    this.callback = callback;
  }

  get isActive(): boolean {
    return this.slot >= 0;
  }
}

export class TimerQueue {
  readonly #heap: HrTimer[] = [];
  #order = 0;

  /** Starts or restarts `timer` for the absolute time `expiresNs`. */
  start(timer: HrTimer, expiresNs: number): void {
    this.cancel(timer);
    timer.expiresNs = expiresNs;
    timer.order = this.#order++;
    timer.slot = this.#heap.length;
    this.#heap.push(timer);
    this.#up(timer.slot);
  }

  /** True when it was active. */
  cancel(timer: HrTimer): boolean {
    const at = timer.slot;
    if (at < 0) return false;
    const last = this.#heap.pop()!;
    timer.slot = -1;
    if (last !== timer) {
      this.#heap[at] = last;
      last.slot = at;
      this.#up(at);
      this.#down(last.slot);
    }
    return true;
  }

  /** Expiry of the first timer. */
  get nextNs(): number | undefined {
    return this.#heap[0]?.expiresNs;
  }

  /** Takes the first timer off when it is due at `nowNs`. */
  takeExpired(nowNs: number): HrTimer | undefined {
    const first = this.#heap[0];
    if (first === undefined || first.expiresNs > nowNs) return undefined;
    this.cancel(first);
    return first;
  }

  #before(a: HrTimer, b: HrTimer): boolean {
    return a.expiresNs < b.expiresNs || (a.expiresNs === b.expiresNs && a.order < b.order);
  }

  #swap(i: number, j: number): void {
    const a = this.#heap[i]!;
    const b = this.#heap[j]!;
    this.#heap[i] = b;
    this.#heap[j] = a;
    b.slot = i;
    a.slot = j;
  }

  #up(from: number): void {
    let at = from;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!this.#before(this.#heap[at]!, this.#heap[parent]!)) return;
      this.#swap(at, parent);
      at = parent;
    }
  }

  #down(from: number): void {
    let at = from;
    for (;;) {
      const left = 2 * at + 1;
      let least = at;
      for (const child of [left, left + 1])
        if (child < this.#heap.length && this.#before(this.#heap[child]!, this.#heap[least]!)) least = child;
      if (least === at) return;
      this.#swap(at, least);
      at = least;
    }
  }
}
