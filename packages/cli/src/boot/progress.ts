/**
 * What the watchdog reads of the kernel's thread: a few words of shared memory, written without locks.
 *
 * Interface: `Progress`. The writer counts what it does (`step`) and says when it waits (`setBusy(false)`): a kernel that waits
 * for input or a timer is not stuck. The name of the running task is there for the report; a torn name is possible, and harmless.
 */
const STEPS = 0;
const BUSY = 1;
const PID = 2;
const NAME = 4;
const NAME_WORDS = 16;

export class Progress {
  readonly buffer: SharedArrayBuffer;
  readonly #words: Int32Array;

  constructor(buffer = new SharedArrayBuffer((NAME + NAME_WORDS) * Int32Array.BYTES_PER_ELEMENT)) {
    this.buffer = buffer;
    this.#words = new Int32Array(buffer);
  }

  step(): void {
    this.#words[STEPS] = (this.#words[STEPS]! + 1) | 0;
  }

  get steps(): number {
    return Atomics.load(this.#words, STEPS);
  }

  setBusy(isBusy: boolean): void {
    Atomics.store(this.#words, BUSY, isBusy ? 1 : 0);
  }

  get isBusy(): boolean {
    return Atomics.load(this.#words, BUSY) === 1;
  }

  /** The task whose code runs. Cheap where it is the one before. */
  setTask(pid: number, name: () => string): void {
    if (this.#words[PID] === pid) return;
    this.#words[PID] = pid;
    const text = name();
    for (let i = 0; i < NAME_WORDS; i++) this.#words[NAME + i] = i < text.length ? text.charCodeAt(i) : 0;
  }

  /** "task 12 (sh)". */
  get task(): string {
    const codes = [...this.#words.subarray(NAME, NAME + NAME_WORDS)].filter((code) => code !== 0);
    return `task ${this.#words[PID]} (${String.fromCharCode(...codes)})`;
  }
}
