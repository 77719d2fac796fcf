/**
 * Keeps kernel bugs out of programs: what a system call throws stops the machine instead of unwinding the program that made
 * it, which could catch it and go on.
 *
 * Interface: `guardedHost`.
 */
import { PENDING, type ProgramHost, type TrapPort } from "@alien-ts/abi";

/** `host`, whose programs' traps report what they throw to `onBug`, and then never end. */
export function guardedHost(host: ProgramHost, onBug: (error: unknown) => void): ProgramHost {
  return {
    has: (program) => host.has(program),
    start: (image, port) => host.start(image, guard(port, onBug)),
    startThread: (parent, port) => host.startThread(parent, guard(port, onBug)),
    exited: (port) => host.exited(port),
  };
}

/** The port itself, since hosts know tasks by it. */
function guard(port: TrapPort, onBug: (error: unknown) => void): TrapPort {
  const trap = port.trap.bind(port);
  port.trap = (nr, a0, a1, a2, a3, a4, a5) => {
    try {
      return trap(nr, a0, a1, a2, a3, a4, a5);
    } catch (error) {
      onBug(error);
      return PENDING;
    }
  };
  return port;
}
