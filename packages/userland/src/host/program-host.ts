/**
 * Runs TypeScript programs for a kernel: the `ProgramHost` of abi/trap.
 *
 * A program's main, a thread's entry and a signal handler are async functions over one `Task`. What main returns is the
 * exit status; what a thread's entry returns ends the thread. An uncaught exception prints its stack on descriptor 2 and
 * ends the process by SIGABRT, as an abort() does; a `UserFault` ends it by the SIGSEGV that the kernel has sent.
 * User code never runs inside `start` or `startThread`: it begins in a microtask.
 */
import {
  NR,
  type ProgramHost,
  type ProgramImage,
  SIG,
  SIG_SETMASK,
  type TrapPort,
  type UAddr,
  UserFault,
  utf8Encode,
} from "@alien-ts/abi";
import type { Program } from "./program.ts";
import { Space } from "./space.ts";
import { Task } from "./task.ts";

export function createProgramHost(programs: readonly Program[]): ProgramHost {
  return new TypeScriptHost(programs);
}

class TypeScriptHost implements ProgramHost {
  readonly #programs: ReadonlyMap<string, Program>;
  readonly #tasks = new Map<TrapPort, Task>();

  constructor(programs: readonly Program[]) {
    this.#programs = new Map(programs.map((program) => [program.name, program]));
  }

  has(program: string): boolean {
    return this.#programs.has(program);
  }

  start(image: ProgramImage, port: TrapPort): void {
    const program = this.#programs.get(image.program);
    if (program === undefined) throw new Error(`no program is called ${image.program}`);
    this.exited(port);
    const task = new Task(port, new Space(program, image));
    this.#tasks.set(port, task);
    void runProgram(program, task);
  }

  startThread(parent: TrapPort, port: TrapPort): void {
    const creator = this.#tasks.get(parent);
    if (creator === undefined) throw new Error("a thread's parent is not a task of this host");
    const task = new Task(port, creator.space);
    this.#tasks.set(port, task);
    void runThread(task);
  }

  exited(port: TrapPort): void {
    this.#tasks.get(port)?.abandon();
    this.#tasks.delete(port);
  }
}

async function runProgram(program: Program, task: Task): Promise<void> {
  await undefined;
  try {
    const status = await program.main(task);
    await task.trap(NR.exit_group, status & 0xff);
  } catch (error) {
    await dieBy(task, error);
  }
}

async function runThread(task: Task): Promise<void> {
  await undefined;
  try {
    const { memory, sp } = task.port;
    const entry = task.space.functionAt(memory.readU64(sp));
    if (entry === undefined) throw new UserFault(memory.readU64(sp));
    const result = await entry(task, memory.readU64(sp + 8), 0, 0);
    await task.trap(NR.exit, typeof result === "number" ? result & 0xff : 0);
  } catch (error) {
    await dieBy(task, error);
  }
}

/** Never returns to user code: the last trap does not end. */
async function dieBy(task: Task, error: unknown): Promise<void> {
  // Code that was not awaited may still be in a trap, and the task has only one way into the kernel.
  await task.idle();
  if (error instanceof UserFault) return raise(task, SIG.SEGV);
  try {
    await printError(task, error);
  } catch {
    // The report needs memory and a descriptor; a process without them still dies by its signal.
  }
  return raise(task, SIG.ABRT);
}

async function raise(task: Task, signal: number): Promise<void> {
  try {
    const action = belowStack(task, 64);
    task.memory.write(action, new Uint8Array(32));
    await task.trap(NR.rt_sigaction, signal, action, 0, 8);
    await task.trap(NR.rt_sigprocmask, SIG_SETMASK, action, 0, 8);
  } catch (error) {
    // Not even a stack is left. The fault has sent a signal of its own, which comes with the next trap.
    if (!(error instanceof UserFault)) throw error;
  }
  const pid = await task.trap(NR.getpid);
  const tid = await task.trap(NR.gettid);
  await task.trap(NR.tgkill, pid, tid, signal);
  await task.trap(NR.exit_group, 128 + signal);
}

async function printError(task: Task, error: unknown): Promise<void> {
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  const bytes = utf8Encode(`${text}\n`).subarray(0, 2048);
  const buffer = belowStack(task, bytes.length);
  task.memory.write(buffer, bytes);
  await task.trap(NR.write, 2, buffer, bytes.length);
}

/** Scratch bytes on the task's own stack: nothing else uses the words below its start. */
function belowStack(task: Task, length: number): UAddr {
  const addr = task.port.sp - length;
  return addr - (addr % 16);
}
