/**
 * Timers of one executor: a heap by deadline, ties in the order of creation. Deadlines are milliseconds of the executor's
 * clock, rounded up, as in tokio's wheel.
 */

export interface Timer {
  readonly deadlineMs: number;
  readonly sequence: number;
  readonly fire: () => void;
  isCancelled: boolean;
}

export class Timers {
  readonly #heap: Timer[] = [];
  #sequence = 0;

  add(deadlineMs: number, fire: () => void): Timer {
    const timer: Timer = { deadlineMs, sequence: this.#sequence++, fire, isCancelled: false };
    this.#heap.push(timer);
    this.#up(this.#heap.length - 1);
    return timer;
  }

  /** Deadline of the earliest timer, or undefined when there is none. */
  next(): number | undefined {
    this.#dropCancelled();
    return this.#heap[0]?.deadlineMs;
  }

  /** Fires every timer that is due at `nowMs`, earliest first. */
  fireUntil(nowMs: number): void {
    for (let next = this.next(); next !== undefined && next <= nowMs; next = this.next()) this.#pop().fire();
  }

  #dropCancelled(): void {
    while (this.#heap[0]?.isCancelled === true) this.#pop();
  }

  /** The heap is not empty. */
  #pop(): Timer {
    const first = this.#heap[0]!;
    const last = this.#heap.pop()!;
    if (this.#heap.length > 0) {
      this.#heap[0] = last;
      this.#down(0);
    }
    return first;
  }

  #up(from: number): void {
    for (let at = from; at > 0;) {
      const parent = (at - 1) >> 1;
      if (isBefore(this.#heap[parent]!, this.#heap[at]!)) return;
      this.#swap(at, parent);
      at = parent;
    }
  }

  #down(from: number): void {
    for (let at = from; ;) {
      const left = 2 * at + 1;
      const right = left + 1;
      if (left >= this.#heap.length) return;
      const smaller =
        right < this.#heap.length && isBefore(this.#heap[right]!, this.#heap[left]!) ? right : left;
      if (isBefore(this.#heap[at]!, this.#heap[smaller]!)) return;
      this.#swap(at, smaller);
      at = smaller;
    }
  }

  #swap(a: number, b: number): void {
    const held = this.#heap[a]!;
    this.#heap[a] = this.#heap[b]!;
    this.#heap[b] = held;
  }
}

const isBefore = (a: Timer, b: Timer): boolean =>
  a.deadlineMs === b.deadlineMs ? a.sequence < b.sequence : a.deadlineMs < b.deadlineMs;
