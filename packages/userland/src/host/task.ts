/**
 * One task as TypeScript code sees it: `trap()` and the memory. The only place where promises meet the trap gate.
 *
 * `trap()` returns a number when the kernel answers at once, and a promise when the task sleeps or a signal handler has
 * to run first. One trap may be outstanding: a second throws. The promise of a task that was killed, has exited or has
 * executed another image never settles, so its code simply never continues.
 */
import { NR, PENDING, type TrapOutcome, type TrapPort, UserFault, type UserMemory } from "@alien-ts/abi";
import type { Space } from "./space.ts";

const never = new Promise<never>(() => {});

export class Task {
  readonly port: TrapPort;
  readonly space: Space;
  readonly memory: UserMemory;
  #resolve: ((value: number | Promise<number>) => void) | undefined;
  #isOutstanding = false;
  #isGone = false;
  #onIdle: (() => void) | undefined;

  constructor(port: TrapPort, space: Space) {
    this.port = port;
    this.space = space;
    this.memory = port.memory;
    port.onResume = (outcome) => this.#resumed(outcome);
  }

  /** Enters the kernel. The result is a system call's: a value, or a negated errno. */
  trap(nr: number, a0 = 0, a1 = 0, a2 = 0, a3 = 0, a4 = 0, a5 = 0): number | Promise<number> {
    if (this.#isGone) return never;
    if (this.#isOutstanding) {
      throw new Error("a second system call while one is outstanding: await the first");
    }
    this.#isOutstanding = true;
    const outcome = this.port.trap(nr, a0, a1, a2, a3, a4, a5);
    if (this.#isGone) return never;
    if (outcome === PENDING) {
      return new Promise((resolve) => {
        this.#resolve = resolve;
      });
    }
    this.#isOutstanding = false;
    return typeof outcome === "number" ? outcome : this.#upcall(outcome.pc, outcome);
  }

  /** Fulfilled when no trap is outstanding. */
  async idle(): Promise<void> {
    while (this.#isOutstanding) {
      await new Promise<void>((resolve) => {
        this.#onIdle = resolve;
      });
    }
  }

  /** The task has exited, or runs another image: none of its code continues. */
  abandon(): void {
    this.#isGone = true;
    this.#resolve = undefined;
  }

  #resumed(outcome: TrapOutcome): void {
    const resolve = this.#resolve;
    if (this.#isGone || resolve === undefined) return;
    this.#resolve = undefined;
    this.#isOutstanding = false;
    this.#onIdle?.();
    resolve(typeof outcome === "number" ? outcome : this.#upcall(outcome.pc, outcome));
  }

  /** Runs a signal handler, which may itself trap; the outcome of `rt_sigreturn` is that of the interrupted trap. */
  async #upcall(
    pc: number,
    { a0, a1, a2 }: { readonly a0: number; readonly a1: number; readonly a2: number },
  ): Promise<number> {
    const handler = this.space.functionAt(pc);
    if (handler === undefined) throw new UserFault(pc);
    await handler(this, a0, a1, a2);
    return this.trap(NR.rt_sigreturn);
  }
}
