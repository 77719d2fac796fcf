/**
 * What aya-ts needs of the system: system calls, and memory that they can point into. A libc implements it.
 *
 * Numbers are as in `abi/trap`: a result in [-4095, -1] is a negated errno. `serialise(sys)` makes calls of concurrent code
 * wait for each other, since a task may have one trap outstanding; everything here goes through it.
 */
import { utf8Encode } from "@alien-ts/abi";
import type { UAddr, UserMemory } from "@alien-ts/abi";

export interface Sys {
  readonly memory: UserMemory;
  /** Enters the kernel. A promise only when the task sleeps or is preempted. */
  trap(
    nr: number,
    a0?: number,
    a1?: number,
    a2?: number,
    a3?: number,
    a4?: number,
    a5?: number,
  ): number | Promise<number>;
  /** A block of `bytes` bytes, aligned to 8, with undefined contents. */
  alloc(bytes: number): UAddr | Promise<UAddr>;
  free(addr: UAddr): void | Promise<void>;
  /** The address under which the kernel calls `handler`, for rt_sigaction(2). Asked once per runtime. */
  handlerAddress(handler: SignalHandler): UAddr;
}

export type SignalHandler = (signal: number) => void | Promise<void>;

/** A `Sys` whose traps wait for each other, in the order in which they are made. */
export interface SerialSys extends Sys {
  /** Traps that have not ended. */
  readonly pending: number;
  /** Fulfilled when the trap that is last now has ended. */
  idle(): Promise<unknown>;
  /** Enters the kernel at once: for a signal handler, which runs inside a trap that others wait for. */
  trapNow: Sys["trap"];
}

const serials = new WeakMap<Sys, SerialSys>();

/** The same `sys` always gives the same object, and a serial one gives itself. */
export function serialise(sys: Sys): SerialSys {
  if (sys instanceof Serial) return sys;
  let serial = serials.get(sys);
  if (serial === undefined) serials.set(sys, (serial = new Serial(sys)));
  return serial;
}

class Serial implements SerialSys {
  readonly memory: UserMemory;
  pending = 0;
  readonly #sys: Sys;
  /** The last trap that did not end at once. */
  #tail: Promise<unknown> = Promise.resolve();

  constructor(sys: Sys) {
    this.#sys = sys;
    this.memory = sys.memory;
  }

  trap(nr: number, a0 = 0, a1 = 0, a2 = 0, a3 = 0, a4 = 0, a5 = 0): number | Promise<number> {
    if (this.pending > 0) return this.#follow(() => this.#sys.trap(nr, a0, a1, a2, a3, a4, a5));
    const result = this.#sys.trap(nr, a0, a1, a2, a3, a4, a5);
    return typeof result === "number" ? result : this.#follow(() => result);
  }

  trapNow(nr: number, a0 = 0, a1 = 0, a2 = 0, a3 = 0, a4 = 0, a5 = 0): number | Promise<number> {
    return this.#sys.trap(nr, a0, a1, a2, a3, a4, a5);
  }

  /** Memory may need a trap (brk, mmap), so it waits its turn too. */
  alloc(bytes: number): UAddr | Promise<UAddr> {
    if (this.pending > 0) return this.#follow(() => this.#sys.alloc(bytes));
    const result = this.#sys.alloc(bytes);
    return typeof result === "number" ? result : this.#follow(() => result);
  }

  free(addr: UAddr): void | Promise<void> {
    if (this.pending > 0) return this.#follow(() => this.#sys.free(addr));
    const result = this.#sys.free(addr);
    return result === undefined ? undefined : this.#follow(() => result);
  }

  handlerAddress(handler: SignalHandler): UAddr {
    return this.#sys.handlerAddress(handler);
  }

  idle(): Promise<unknown> {
    return this.#tail;
  }

  /** Runs `enter` when all traps before it have ended. */
  async #follow<T>(enter: () => T | Promise<T>): Promise<T> {
    const before = this.#tail;
    const isFirst = this.pending === 0;
    this.pending += 1;
    const result = isFirst ? Promise.resolve(enter()) : before.then(enter);
    const counted = result.finally(() => {
      this.pending -= 1;
    });
    this.#tail = counted.catch(() => undefined);
    return counted;
  }
}

/** Space of this many zero bytes, or these bytes. */
export type Part = Uint8Array | number;

/** Runs `body` with the addresses of `parts`, which lie in one block that is freed afterwards. */
export async function withParts<T>(
  sys: Sys,
  parts: readonly Part[],
  body: (at: readonly UAddr[]) => T | Promise<T>,
): Promise<T> {
  const sizes = parts.map((part) => Math.ceil((typeof part === "number" ? part : part.length) / 8) * 8);
  const total = sizes.reduce((sum, size) => sum + size, 0);
  const base = await sys.alloc(Math.max(total, 8));
  try {
    let next = base;
    const at = parts.map((part, index) => {
      const here = next;
      sys.memory.write(here, typeof part === "number" ? new Uint8Array(part) : part);
      next += sizes[index]!;
      return here;
    });
    return await body(at);
  } finally {
    await sys.free(base);
  }
}

/** A C string as a part. */
export const cStringPart = (text: string): Uint8Array => utf8Encode(`${text}\0`);

/** Whether a result is `errno` negated. */
export const failedWith = (result: number, ...errnos: readonly { readonly number: number }[]): boolean =>
  errnos.some(({ number }) => result === -number);
