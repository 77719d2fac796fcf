/**
 * What the tasks of one address space share: the addresses of functions handed out at run time, and the heap.
 *
 * Memory itself is the kernel's; a space knows what some addresses *mean* to TypeScript code. A function keeps its
 * address until it is released; addresses are reused after that.
 */
import type { ProgramImage, UAddr } from "@alien-ts/abi";
import { FUNCTION_BYTES, type Program, SLOT_COUNT, type UserFunction, slotsOffset } from "./program.ts";

export class Space {
  readonly program: Program;
  readonly image: ProgramImage;
  /** The libc heap of this space; libc/heap.ts makes and owns it. */
  heap: unknown = undefined;
  readonly #functions = new Map<UAddr, UserFunction>();
  readonly #addresses = new Map<UserFunction, UAddr>();
  readonly #released: UAddr[] = [];
  #used = 0;
  readonly #routines = new Map<number, UserFunction>();
  #lastRoutine = 0;

  constructor(program: Program, image: ProgramImage) {
    this.program = program;
    this.image = image;
  }

  /** The address of `fn` in this space: the same one until it is released. */
  addressOf(fn: UserFunction): UAddr {
    const known = this.#addresses.get(fn);
    if (known !== undefined) return known;
    const addr = this.#released.pop() ?? this.#freshSlot();
    this.#functions.set(addr, fn);
    this.#addresses.set(fn, addr);
    return addr;
  }

  release(fn: UserFunction): void {
    const addr = this.#addresses.get(fn);
    if (addr === undefined) return;
    this.#addresses.delete(fn);
    this.#functions.delete(addr);
    this.#released.push(addr);
  }

  functionAt(addr: UAddr): UserFunction | undefined {
    return this.#functions.get(addr);
  }

  /** Keeps a routine for a task that is about to start; the number goes to it as its argument. */
  putRoutine(routine: UserFunction): number {
    this.#lastRoutine += 1;
    this.#routines.set(this.#lastRoutine, routine);
    return this.#lastRoutine;
  }

  /** The routine kept under `key`, once. */
  takeRoutine(key: number): UserFunction | undefined {
    const routine = this.#routines.get(key);
    this.#routines.delete(key);
    return routine;
  }

  #freshSlot(): UAddr {
    if (this.#used === SLOT_COUNT) {
      throw new Error(`${this.program.name} has handed out all ${SLOT_COUNT} function addresses`);
    }
    return this.image.base + slotsOffset(this.program) + FUNCTION_BYTES * this.#used++;
  }
}
