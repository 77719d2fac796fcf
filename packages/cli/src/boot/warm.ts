/**
 * Boots a machine for the build, which keeps what V8 compiled on the way as the code cache of the kernel's thread.
 *
 * Interface: `warmUp`, which resolves when the machine has ended.
 */
import { parseBootArguments } from "./arguments.ts";
import { Machine } from "./machine.ts";

/** Reaches what a boot with a pipeline reaches: a shell, a child, a file, a pipe. */
const COMMANDS = "/bin/echo a | /bin/cat >/tmp/a; /bin/ls /tmp";

export function warmUp(): Promise<void> {
  const args = parseBootArguments(["--quiet", "-c", COMMANDS]);
  if (!(typeof args === "object" && "cpus" in args)) throw new Error("the arguments of the warm-up are bad");
  return new Promise((resolve) => {
    const host = {
      output: (): void => {},
      errorOutput: (): void => {},
      log: (): void => {},
      ended: (): void => resolve(),
    };
    new Machine({ arguments: args, isTerminal: false }, host).start();
  });
}
