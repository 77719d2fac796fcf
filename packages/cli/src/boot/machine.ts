/**
 * A machine: a booted kernel with userland's programs, and the loop that runs it. The kernel has no
 * timer and no promise; here are the host's macrotasks, timers and clock.
 *
 * Interface: `Machine`, `MachineHost`. Input, output and the end go through `MachineHost` and the methods, so that a machine
 * runs in a worker, in a test, or in a benchmark alike. It ends once: `ended` is the last call.
 */
import { Layout, NR } from "@alien-ts/abi";
import {
  boot,
  Clock,
  formatOops,
  type Kernel,
  type LogLine,
  NO_OBSERVER,
  type Observer,
  timestamp,
  jitMemory,
  type WasmHost,
} from "@alien-ts/kernel";
import { createProgramHost, imageFiles, PROGRAMS } from "@alien-ts/userland";
import { kallsyms } from "../kallsyms.ts";
import type { BootArguments } from "./arguments.ts";
import { gatedHost } from "./gate.ts";
import { STATUS_BUG } from "./messages.ts";
import type { Progress } from "./progress.ts";

export interface MachineHost {
  /** What programs wrote to the console, and the kernel log of a terminal. */
  output(bytes: Uint8Array): void;
  /** What programs write to standard error, where they have no terminal. */
  errorOutput(bytes: Uint8Array): void;
  /** A line for people: the kernel log without a terminal, an oops. */
  log(line: string): void;
  ended(status: number): void;
}

export interface MachineOptions {
  readonly arguments: BootArguments;
  /** Whether a person sits at the console. */
  readonly isTerminal: boolean;
  readonly progress?: Progress;
  /** Called when the shell first reads its input or executes a program. */
  readonly onShellReady?: () => void;
}

const BYTES_PER_MIB = 1024 * 1024;

export class Machine {
  readonly kernel: Kernel;
  readonly #host: MachineHost;
  readonly #progress: Progress | undefined;
  #immediate: NodeJS.Immediate | undefined;
  #timer: NodeJS.Timeout | undefined;
  #hasEnded = false;

  /** Boots. The first program runs once `start` was called. */
  constructor(options: MachineOptions, host: MachineHost) {
    this.#host = host;
    this.#progress = options.progress;
    this.kernel = bootKernel(options, (error) => this.#oops(error));
    this.kernel.sched.strictTasks = options.arguments.strictTasks;
    this.kernel.console.isTerminal = options.isTerminal;
    this.kernel.console.onOutput = (bytes) => host.output(bytes);
    this.kernel.console.onErrorOutput = (bytes) => host.errorOutput(bytes);
    this.kernel.onForeignTrap = () => this.#schedule();
    if (options.onShellReady !== undefined) onShellReady(this.kernel, options.onShellReady);
    this.#showLog(options);
  }

  start(): void {
    this.#schedule();
  }

  /** Bytes from the user, or from standard input. */
  input(bytes: Uint8Array): void {
    this.#interrupt(() => this.kernel.console.input(bytes));
  }

  resize(rows: number, columns: number): void {
    this.#interrupt(() => this.kernel.console.resize(rows, columns));
  }

  /** Input has ended. */
  hangup(): void {
    this.#interrupt(() => this.kernel.console.hangup());
  }

  #showLog({ arguments: { quiet, commands }, isTerminal }: MachineOptions): void {
    const { kernel } = this;
    const show = (line: LogLine): void => {
      if (isTerminal && commands === undefined) kernel.console.printLine(line.timeNs, line.text);
      else this.#host.log(timestamp(line.timeNs) + line.text);
    };
    if (quiet) return;
    for (const line of kernel.log.from(0)) if (line.level < kernel.log.consoleLevel) show(line);
    kernel.log.onConsoleLine = show;
  }

  /** Something happens from outside: the kernel sees it at once, and goes on in the next macrotask. */
  #interrupt(event: () => void): void {
    if (this.#hasEnded) return;
    try {
      event();
    } catch (error) {
      this.#oops(error);
      return;
    }
    this.#schedule();
  }

  #schedule(): void {
    if (this.#hasEnded || this.#immediate !== undefined) return;
    this.#progress?.setBusy(true);
    this.#immediate = setImmediate(() => this.#turn());
  }

  #turn(): void {
    this.#immediate = undefined;
    if (this.#hasEnded) return;
    clearTimeout(this.#timer);
    this.#progress?.step();
    try {
      const status = this.kernel.sched.turn();
      if (status.state === "halted") this.#end(status.status);
      else if (status.state === "running") this.#schedule();
      else this.#sleep(status.wakeInNs);
    } catch (error) {
      this.#oops(error);
    }
  }

  /** Nothing can run before the timer, or before input. */
  #sleep(wakeInNs: number | undefined): void {
    this.#progress?.setBusy(false);
    if (wakeInNs === undefined) return;
    // setTimeout's longest delay is 2^31 - 1 ms; waking early does no harm.
    const delayMs = Math.min(Math.ceil(wakeInNs / 1e6), 2 ** 31 - 1);
    this.#timer = setTimeout(() => this.#schedule(), delayMs);
  }

  #oops(error: unknown): void {
    if (this.#hasEnded) return;
    const stamp = timestamp(this.kernel.clock.nowNs());
    for (const line of formatOops(this.kernel, error)) this.#host.log(stamp + line);
    this.#end(STATUS_BUG);
  }

  #end(status: number): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#progress?.setBusy(false);
    clearTimeout(this.#timer);
    clearImmediate(this.#immediate);
    this.#host.ended(status);
  }
}

function bootKernel(options: MachineOptions, onBug: (error: unknown) => void): Kernel {
  const { cpus, seed, release, memoryMiB, layoutSeed, commandLine } = options.arguments;
  return boot({
    ...jitMemory((globalThis as { readonly WebAssembly?: WasmHost }).WebAssembly, memoryMiB * BYTES_PER_MIB),
    layout: layoutSeed === undefined ? Layout.natural() : Layout.shuffled(layoutSeed),
    clock: chooseClock(options),
    observer: options.progress === undefined ? NO_OBSERVER : new ProgressObserver(options.progress),
    cpus,
    seed,
    commandLine,
    ...(release === undefined ? {} : { release }),
    ...(kallsyms === undefined ? {} : { kallsyms }),
    programHost: gatedHost(createProgramHost(PROGRAMS), onBug),
    files: imageFiles(PROGRAMS),
    init: ["/sbin/init", ...initArguments(options)],
  });
}

/** A session on a terminal; without one, the commands, or a shell that reads them from the console. */
function initArguments({ arguments: { commands }, isTerminal }: MachineOptions): string[] {
  if (isTerminal && commands === undefined) return ["--once"];
  return ["-c", commands ?? "exec sh"];
}

function chooseClock({ arguments: { clock, commands }, isTerminal }: MachineOptions): Clock {
  const kind = clock ?? (isTerminal && commands === undefined ? "host" : "virtual");
  if (kind === "virtual") return Clock.virtual();
  const nowMs = Date.now();
  return Clock.host(() => Math.floor(performance.now() * 1e6), {
    sec: Math.floor(nowMs / 1000),
    nsec: (nowMs % 1000) * 1e6,
  });
}

/** Tells the watchdog that programs make system calls, and which task runs. */
class ProgressObserver implements Observer {
  readonly #progress: Progress;
  constructor(progress: Progress) {
    this.#progress = progress;
  }
  trap(cx: Parameters<Observer["trap"]>[0]): void {
    this.#progress.step();
    this.#progress.setTask(cx.task.pid, () => cx.task.t.comm);
  }
  contextSwitch(): void {}
  textTrap(): void {}
  timer(): void {}
  console(): void {}
}

const STANDARD_INPUT = 0;

/** Calls `ready` when the shell first reads its input, or a process that it made executes a program. */
function onShellReady(kernel: Kernel, ready: () => void): void {
  const previous = kernel.onSyscallEnter;
  const { roles } = kernel.text.arch;
  kernel.onSyscallEnter = (cx, regs, nr) => {
    previous?.(cx, regs, nr);
    if (cx.task.t.comm !== "sh") return;
    const isRead =
      nr === NR.read && kernel.mem.dv.getUint32(regs + roles.originalArgument, true) === STANDARD_INPUT;
    if (!isRead && nr !== NR.execve) return;
    kernel.onSyscallEnter = previous;
    ready();
  };
}
