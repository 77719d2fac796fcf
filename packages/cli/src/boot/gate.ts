/**
 * What the app puts between programs and the trap gate.
 *
 * - Kernel bugs stop the machine: what a system call throws does not unwind the program that made it, which could catch it.
 * - Programs let the host's loop turn: one whose calls never sleep runs in microtasks alone, and no key that the user presses
 *   would ever arrive. Every so many calls, a result is given in the next macrotask. The kernel does not see this: the order
 *   of tasks, and virtual time, stay the same.
 *
 * Interface: `gatedHost`.
 */
import { PENDING, type ProgramHost, type TrapPort } from "@alien-ts/abi";

/** About a millisecond of calls. */
const CALLS_PER_MACROTASK = 1000;

export function gatedHost(host: ProgramHost, onBug: (error: unknown) => void): ProgramHost {
  const gate = new Gate(onBug);
  return {
    has: (program) => host.has(program),
    start: (image, port) => host.start(image, gate.put(port)),
    startThread: (parent, port) => host.startThread(parent, gate.put(port)),
    exited: (port) => host.exited(port),
  };
}

class Gate {
  readonly #onBug: (error: unknown) => void;
  #left = CALLS_PER_MACROTASK;

  constructor(onBug: (error: unknown) => void) {
    this.#onBug = onBug;
  }

  /** The port itself, since hosts know tasks by it. */
  put(port: TrapPort): TrapPort {
    const trap = port.trap.bind(port);
    port.trap = (nr, a0, a1, a2, a3, a4, a5) => {
      try {
        const outcome = trap(nr, a0, a1, a2, a3, a4, a5);
        this.#left -= 1;
        if (outcome === PENDING || this.#left > 0) return outcome;
        this.#left = CALLS_PER_MACROTASK;
        setImmediate(() => port.onResume(outcome));
        return PENDING;
      } catch (error) {
        this.#onBug(error);
        return PENDING;
      }
    };
    return port;
  }
}
