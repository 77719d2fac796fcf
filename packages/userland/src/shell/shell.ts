/**
 * The shell as an interpreter: runs parsed commands in a process.
 *
 * There is no fork that copies an address space. A subshell, a stage of a pipeline, a background command and a command
 * substitution are a child process of their own (clone with CLONE_VM: own descriptors, directory, umask, signal state)
 * whose `Shell` works on a copy of the state. So they behave as after fork: nothing they change is seen outside.
 * A simple command that is a program is started by vfork and exec.
 */
import { NR } from "@alien-ts/abi";
import type { Process } from "../libc/process.ts";
import type { AndOrNode, CommandNode, CompoundNode, ListNode, PipelineNode } from "./ast.ts";
import type { Builtins } from "./builtin.ts";
import { ExitControl, InterruptControl, LoopControl, ReturnControl } from "./control.ts";
import { type ExpansionHost, expandFields, expandPattern, expandText } from "./expand.ts";
import { type Job, JobTable } from "./jobs.ts";
import { parseScript } from "./parser.ts";
import { type SavedDescriptor, applyRedirects, resolveRedirects, restoreDescriptors } from "./redirect.ts";
import { runSimple } from "./simple.ts";
import { runPipeline, runSubshell, startBackground, substituteCommand } from "./subshell.ts";
import { Traps } from "./traps.ts";
import { ShellError, type ShellState, type Variable } from "./variables.ts";
import { SyntaxError } from "./lexer.ts";
import { SystemError } from "../libc/errors.ts";
import { matchesPattern } from "../libc/glob.ts";

/** `$?` of a command that SIGINT has ended. */
const INTERRUPTED = 130;

export interface ShellSetup {
  readonly process: Process;
  readonly state: ShellState;
  readonly traps: Traps;
  readonly interactive: boolean;
  readonly builtins: Builtins;
  /** Those of the shell that starts this one in a child. */
  readonly inheritedJobs?: readonly Job[];
}

export class Shell implements ExpansionHost {
  readonly process: Process;
  readonly state: ShellState;
  readonly traps: Traps;
  readonly jobs: JobTable;
  readonly builtins: Builtins;
  readonly interactive: boolean;
  /** Lines that the user has entered; the oldest first. */
  history: string[] = [];
  /** Variables that `local` has hidden, one map per function that runs. */
  readonly locals: Map<string, Variable | undefined>[] = [];
  loopDepth = 0;
  /** Status of the last command substitution of a command that has no words. */
  substitutionStatus: number | undefined;
  /** Above zero where `set -e` does not apply: conditions, `!`, `&&` and `||`. */
  #tested = 0;

  constructor(setup: ShellSetup) {
    this.process = setup.process;
    this.state = setup.state;
    this.traps = setup.traps;
    this.interactive = setup.interactive;
    this.builtins = setup.builtins;
    this.jobs = new JobTable(setup.process, setup.inheritedJobs);
    this.process.stdout.setBuffering("full");
  }

  /** The shell of a child process: a copy of the state, no jobs, no caught traps. */
  inChild(child: Process): Shell {
    const state = this.state.copy();
    state.options.delete("m");
    const shell = new Shell({
      process: child,
      state,
      traps: Traps.forSubshell(this.traps),
      interactive: false,
      builtins: this.builtins,
      inheritedJobs: [...this.jobs.inherited, ...this.jobs.jobs].map((job) => ({ ...job })),
    });
    shell.loopDepth = this.loopDepth;
    shell.#tested = this.#tested;
    return shell;
  }

  substitute(body: ListNode): Promise<string> {
    return substituteCommand(this, body);
  }

  /** Parses and runs a text; `$?`. */
  async runText(text: string): Promise<number> {
    return this.runList(parseScript(text, this.state.aliases));
  }

  async runList(list: ListNode): Promise<number> {
    for (const { command, background } of list.items) {
      if (background) {
        this.state.status = await startBackground(this, command);
        continue;
      }
      this.state.status = await this.#runAndOr(command);
      await this.runPendingTraps();
    }
    if (list.items.length === 0) this.state.status = 0;
    return this.state.status;
  }

  async #runAndOr(node: AndOrNode): Promise<number> {
    const last = node.rest.length;
    let status = await this.#stage(node.first, last > 0);
    for (const [index, { operator, pipeline }] of node.rest.entries()) {
      if ((operator === "&&") !== (status === 0)) continue;
      status = await this.#stage(pipeline, index + 1 < last);
    }
    return status;
  }

  async #stage(pipeline: PipelineNode, isTested: boolean): Promise<number> {
    const { negated } = pipeline;
    const run = (): Promise<number> => runPipeline(this, pipeline);
    const raw = isTested || negated ? await this.tested(run) : await run();
    const status = negated ? Number(raw === 0) : raw;
    this.state.status = status;
    if (status !== 0 && !isTested && !negated) this.checkErrexit(status);
    return status;
  }

  /** Runs where a failure is tested, so that `set -e` ignores it. */
  async tested<T>(run: () => Promise<T>): Promise<T> {
    this.#tested += 1;
    try {
      return await run();
    } finally {
      this.#tested -= 1;
    }
  }

  checkErrexit(status: number): void {
    if (this.#tested === 0 && this.state.options.has("e")) throw new ExitControl(status);
  }

  /** One command in this process. With `isLast` the process has nothing to do afterwards and may be replaced. */
  async runCommand(node: CommandNode, options: { readonly isLast?: boolean } = {}): Promise<number> {
    switch (node.kind) {
      case "simple":
        return runSimple(this, node, options.isLast === true);
      case "function":
        this.state.functions.set(node.name, node.body);
        return 0;
      case "subshell":
        return runSubshell(this, node, options.isLast === true);
      default:
        return this.withRedirects(node.redirects, () => this.#runCompound(node));
    }
  }

  /** Runs `body` with redirections in force; 1 where one cannot be made. */
  async withRedirects(redirects: CompoundNode["redirects"], body: () => Promise<number>): Promise<number> {
    if (redirects.length === 0) return body();
    const saved: SavedDescriptor[] = [];
    try {
      const resolved = await resolveRedirects(this, redirects);
      await this.process.stdout.flush();
      try {
        await applyRedirects(this.process, resolved, { noclobber: this.state.options.has("C"), saved });
      } catch (error) {
        return await this.redirectFailed(error);
      }
      return await body();
    } finally {
      await this.flush();
      await restoreDescriptors(this.process, saved);
    }
  }

  async redirectFailed(error: unknown): Promise<number> {
    if (error instanceof SystemError) await this.complain(error.message);
    else if (error instanceof ShellError) await this.complain(error.message);
    else throw error;
    return 1;
  }

  async #runCompound(node: Exclude<CompoundNode, { kind: "subshell" }>): Promise<number> {
    switch (node.kind) {
      case "group":
        return this.runList(node.body);
      case "if":
        return this.#runIf(node);
      case "while":
        return this.#loop(
          async () => ((await this.#runTested(node.condition)) === 0) !== node.until,
          node.body,
        );
      case "for":
        return this.#runFor(node);
      case "case":
        return this.#runCase(node);
    }
  }

  #runTested(list: ListNode): Promise<number> {
    return this.tested(() => this.runList(list));
  }

  async #runIf(node: Extract<CompoundNode, { kind: "if" }>): Promise<number> {
    for (const { condition, body } of node.branches) {
      if ((await this.#runTested(condition)) === 0) return this.runList(body);
    }
    return node.otherwise === undefined ? 0 : this.runList(node.otherwise);
  }

  async #runFor(node: Extract<CompoundNode, { kind: "for" }>): Promise<number> {
    const values = node.words === undefined ? this.state.positional : await expandFields(this, node.words);
    let index = 0;
    const next = (): Promise<boolean> => {
      if (index >= values.length) return Promise.resolve(false);
      this.state.set(node.name, values[index]!);
      index += 1;
      return Promise.resolve(true);
    };
    return this.#loop(next, node.body);
  }

  async #loop(next: () => Promise<boolean>, body: ListNode): Promise<number> {
    let status = 0;
    this.loopDepth += 1;
    try {
      while (await this.#guarded(next)) {
        // A loop of builtins would never enter the kernel otherwise, and could not be interrupted.
        await this.process.trap(NR.sched_yield);
        const more = await this.#guarded(async () => {
          status = await this.runList(body);
          return true;
        });
        if (!more) break;
      }
      return this.state.status === 0 ? 0 : status;
    } finally {
      this.loopDepth -= 1;
    }
  }

  /** Runs one part of a loop: false where the loop is left by `break`. */
  async #guarded(run: () => Promise<boolean>): Promise<boolean> {
    try {
      return await run();
    } catch (error) {
      if (!(error instanceof LoopControl)) throw error;
      this.state.status = 0;
      if (error.levels > 1 && this.loopDepth > 1) throw new LoopControl(error.kind, error.levels - 1);
      return error.kind === "continue";
    }
  }

  async #runCase(node: Extract<CompoundNode, { kind: "case" }>): Promise<number> {
    const subject = await expandText(this, node.word);
    for (const { patterns, body } of node.items) {
      for (const pattern of patterns) {
        if (matchesPattern(await expandPattern(this, pattern), subject)) return this.runList(body);
      }
    }
    return 0;
  }

  /** Runs the actions of signals that have come since the last command. */
  async runPendingTraps(): Promise<void> {
    if (this.traps.interrupted) {
      this.traps.interrupted = false;
      throw new InterruptControl();
    }
    for (let signal = this.traps.takePending(); signal !== undefined; signal = this.traps.takePending()) {
      const action = this.traps.actions.get(signal);
      if (action === undefined || action === "") continue;
      const { status } = this.state;
      await this.runText(action);
      this.state.status = status;
    }
  }

  /** Waits for children in the foreground. One that SIGINT killed also ends what an interactive shell was doing. */
  async runForeground(group: number, pids: readonly number[], source: string): Promise<number> {
    const status = await this.jobs.runForeground(group, pids, source);
    if (status === INTERRUPTED && this.interactive) throw new InterruptControl(true);
    return status;
  }

  /** The EXIT trap, once. */
  async runExitTrap(status: number): Promise<number> {
    const action = this.traps.actions.get(0);
    if (action === undefined || action === "") return status;
    this.traps.actions.delete(0);
    this.state.status = status;
    try {
      await this.runText(action);
    } catch (error) {
      if (error instanceof ExitControl) return error.status;
      return this.reportError(error);
    }
    return status;
  }

  /** Runs what a whole process does, and turns what is thrown into its exit status. */
  async runToExit(body: () => Promise<number>): Promise<number> {
    let status: number;
    try {
      status = await body();
    } catch (error) {
      status = error instanceof ExitControl ? error.status : await this.reportError(error);
    }
    status = await this.runExitTrap(status);
    await this.flush();
    return status;
  }

  /** Tells of an error that ends a command line; its status. Anything else is thrown again. */
  async reportError(error: unknown): Promise<number> {
    if (error instanceof InterruptControl) {
      if (!error.onNewLine) await this.process.stderr.write("\n");
      return error.status;
    }
    if (error instanceof ShellError) {
      await this.complain(error.message);
      return error.status;
    }
    if (error instanceof SyntaxError) {
      await this.complain(this.interactive ? error.message : `line ${error.line}: ${error.message}`);
      return 2;
    }
    if (error instanceof SystemError) {
      await this.complain(error.message);
      return 1;
    }
    if (error instanceof LoopControl) return 0;
    // Outside of a function of this process: the process, or the line of a session, ends.
    if (error instanceof ReturnControl) return error.status;
    // The host's limit on the length of a text; dash says the same where memory ends.
    if (error instanceof RangeError) {
      await this.complain("Out of space");
      return 2;
    }
    throw error;
  }

  async complain(message: string): Promise<void> {
    await this.flush();
    await this.process.stderr.write(`${this.state.name}: ${message}\n`);
  }

  /** Flushes standard output; false where it cannot be written. */
  async flush(): Promise<boolean> {
    try {
      await this.process.stdout.flush();
      return true;
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      this.process.stdout.discard();
      await this.process.stderr.write(`${this.state.name}: ${error.message}\n`);
      return false;
    }
  }
}
