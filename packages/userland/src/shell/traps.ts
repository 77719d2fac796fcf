/**
 * The `trap` builtin's state: actions by signal (0 is EXIT), and signals that have come.
 *
 * A handler only notes the signal; the shell runs the action between two commands, as XCU 2.14 says. Signals that were
 * ignored when the shell started stay ignored; a subshell starts with the ignored ones only.
 */
import { SIG } from "@alien-ts/abi";
import type { Process } from "../libc/process.ts";
import { setSignal, trySetSignal } from "../libc/signals.ts";

export class Traps {
  /** The command to run; "" ignores. */
  readonly actions = new Map<number, string>();
  readonly #pending: number[] = [];
  /** Ctrl-C has come in an interactive shell that does not trap it. */
  interrupted = false;
  readonly #note = (signal: number): void => {
    this.#pending.push(signal);
  };
  readonly #interrupt = (): void => {
    this.interrupted = true;
  };

  static forSubshell(parent: Traps): Traps {
    const traps = new Traps();
    for (const [signal, action] of parent.actions) if (action === "") traps.actions.set(signal, "");
    return traps;
  }

  /** An interactive shell survives Ctrl-C and Ctrl-\, and is not stopped. */
  async beInteractive(process: Process): Promise<void> {
    await setSignal(process, SIG.INT, this.#interrupt);
    // It does nothing, but it ends the line editor's read, which then paints for the new width.
    await setSignal(process, SIG.WINCH, () => {});
    for (const signal of [SIG.QUIT, SIG.TERM]) await setSignal(process, signal, "ignore");
  }

  /** Sets, ignores ("") or resets (undefined) the action of a signal. A raw result for signals that cannot be caught. */
  async set(
    process: Process,
    signal: number,
    action: string | undefined,
    options: { readonly interactive: boolean },
  ): Promise<number> {
    if (action === undefined) this.actions.delete(signal);
    else this.actions.set(signal, action);
    if (signal === 0) return 0;
    if (action !== undefined) return trySetSignal(process, signal, action === "" ? "ignore" : this.#note);
    if (options.interactive && signal === SIG.INT) return trySetSignal(process, signal, this.#interrupt);
    const stays = options.interactive && (signal === SIG.QUIT || signal === SIG.TERM);
    return trySetSignal(process, signal, stays ? "ignore" : "default");
  }

  get hasPending(): boolean {
    return this.#pending.length > 0;
  }

  /** The first signal that waits to be handled, without taking it. */
  get nextPending(): number | undefined {
    return this.#pending[0];
  }

  takePending(): number | undefined {
    return this.#pending.shift();
  }
}
