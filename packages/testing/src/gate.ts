/**
 * Holds user code back while nobody drives the machine, and lets the host's own tasks run in between.
 *
 * A program goes on by itself as long as its system calls are answered at once, and in virtual time a sleep is one: a loop of
 * `sleep 1` would never let the test run again. So every trap passes the gate. While it is closed, and after TRAPS_PER_TURN
 * traps, a trap is put off, and its program waits as if it slept; the kernel does not notice. A trap that throws is a kernel
 * bug: it is kept in `bug` and its program never continues.
 */
import { PENDING, type ProgramHost, type TrapPort } from "@alien-ts/abi";

const TRAPS_PER_TURN = 500;

export class TrapGate {
  /** What a system call threw. */
  bug: unknown = undefined;
  #isOpen = false;
  #left = 0;
  #waiting: (() => void)[] = [];

  /** `host`, whose programs' traps pass this gate. */
  guard(host: ProgramHost): ProgramHost {
    return {
      has: (program) => host.has(program),
      start: (image, port) => host.start(image, this.#guardPort(port)),
      startThread: (parent, port) => host.startThread(parent, this.#guardPort(port)),
      exited: (port) => host.exited(port),
    };
  }

  get hasWaiting(): boolean {
    return this.#waiting.length > 0;
  }

  open(): void {
    this.#isOpen = true;
  }

  close(): void {
    this.#isOpen = false;
  }

  /** Makes the traps that were put off. */
  release(): void {
    this.#left = TRAPS_PER_TURN;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const trap of waiting) trap();
  }

  /** Nothing that waits will ever continue. */
  abandon(): void {
    this.#isOpen = false;
    this.#waiting = [];
  }

  /** The port itself, since the host and the kernel know tasks by it. */
  #guardPort(port: TrapPort): TrapPort {
    const trap = port.trap.bind(port);
    port.trap = (...args) => {
      if (this.#isOpen && this.#left > 0) {
        this.#left -= 1;
        return this.#try(() => trap(...args));
      }
      this.#waiting.push(() => {
        const outcome = this.#try(() => trap(...args));
        if (outcome !== PENDING) port.onResume(outcome);
      });
      return PENDING;
    };
    return port;
  }

  #try(trap: () => ReturnType<TrapPort["trap"]>): ReturnType<TrapPort["trap"]> {
    try {
      return trap();
    } catch (error) {
      this.bug ??= error;
      return PENDING;
    }
  }
}
