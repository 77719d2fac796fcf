/**
 * Moves a machine while somebody waits for it: the loop over the scheduler's turns, and the promises that end it.
 *
 * `until` registers a wait; the loop runs while there is one, and the gate closes at the moment at which the last is settled,
 * so that what the machine does never depends on how long the test takes.
 */
import { formatOops, type Kernel } from "@alien-ts/kernel";
import type { TrapGate } from "./gate.ts";
import { Macrotasks } from "./macrotask.ts";

export interface Settle<T> {
  resolve(value: T): void;
  reject(error: unknown): void;
}

export interface WaitDescription {
  /** For messages: `run("ls")`. */
  readonly what: string;
  /** Nanoseconds of kernel time after which the wait is given up. */
  readonly limitNs?: number;
}

interface Wait {
  readonly what: string;
  readonly limitNs: number;
  readonly deadlineNs: number;
  reject(error: unknown): void;
}

export class Driver {
  readonly #kernel: Kernel;
  readonly #gate: TrapGate;
  readonly #consoleText: () => string;
  readonly #macrotasks = new Macrotasks();
  readonly #waits = new Set<Wait>();
  #isRunning = false;
  /** Why the machine will never move again. */
  #over: Error | undefined;

  /** @param consoleText what the console shows: the reason of an end that nobody asked for stands there. */
  constructor(kernel: Kernel, gate: TrapGate, consoleText: () => string) {
    this.#kernel = kernel;
    this.#gate = gate;
    this.#consoleText = consoleText;
  }

  /** Runs the machine until `begin`'s settler is called. */
  until<T>(description: WaitDescription, begin: (settle: Settle<T>) => void): Promise<T> {
    if (this.#over !== undefined) return Promise.reject(this.#over);
    return new Promise<T>((resolve, reject) => {
      const limitNs = description.limitNs ?? Number.POSITIVE_INFINITY;
      const deadlineNs = this.#kernel.clock.nowNs() + limitNs;
      const end = (settle: () => void): void => {
        if (!this.#waits.delete(wait)) return;
        if (this.#waits.size === 0) this.#gate.close();
        settle();
      };
      const wait: Wait = {
        what: description.what,
        limitNs,
        deadlineNs,
        reject: (error) => end(() => reject(error)),
      };
      this.#waits.add(wait);
      this.#gate.open();
      begin({ resolve: (value) => end(() => resolve(value)), reject: wait.reject });
      void this.#run();
    });
  }

  /** Stops the machine for good; outstanding waits are rejected. */
  stop(): void {
    this.#kernel.sched.halted ??= 0;
    this.#end(new Error("the machine was closed"));
  }

  async #run(): Promise<void> {
    if (this.#isRunning) return;
    this.#isRunning = true;
    try {
      while (this.#waits.size > 0) {
        this.#step();
        await this.#macrotasks.next();
      }
    } catch (error) {
      this.#end(error instanceof MachineStopped ? error : this.#oops(error));
    }
    this.#isRunning = false;
    this.#macrotasks.close();
  }

  #step(): void {
    const { sched, clock } = this.#kernel;
    if (this.#gate.bug !== undefined) throw this.#gate.bug;
    for (const wait of this.#waits)
      if (clock.nowNs() > wait.deadlineNs)
        wait.reject(new Error(`${wait.what} takes more than ${wait.limitNs / 1e6} ms of kernel time`));
    if (this.#waits.size === 0) return;
    if (this.#gate.hasWaiting) {
      this.#gate.release();
      return;
    }
    const status = sched.turn();
    if (status.state === "halted")
      throw new MachineStopped(
        `the machine has stopped with status ${status.status}\n${this.#consoleText()}`,
      );
    if (status.state === "idle" && status.wakeInNs === undefined && sched.strictTasks)
      throw new MachineStopped(`every task sleeps, and nothing will wake one: waiting for ${this.#list()}`);
  }

  #list(): string {
    return [...this.#waits].map(({ what }) => what).join(", ");
  }

  /** What a kernel bug looks like to the test: the oops, with the error as its cause. */
  #oops(error: unknown): Error {
    return new Error(formatOops(this.#kernel, error).join("\n"), { cause: error });
  }

  #end(reason: Error): void {
    this.#over ??= reason;
    this.#gate.abandon();
    for (const wait of this.#waits) wait.reject(reason);
    this.#macrotasks.close();
  }
}

class MachineStopped extends Error {}
