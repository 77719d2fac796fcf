/**
 * A process as its own code sees it: arguments, environment, standard streams, and the way into the kernel.
 *
 * `openProcess(task)` reads argc, argv, envp and the auxiliary vector from the initial stack (System V ABI, "Process
 * initialization"). `trap` gives raw results; the functions of the other modules of libc take the process as their first
 * parameter and throw `SystemError`. A thread or a forked child works on its own `Process` over its own task.
 */
import type { SyscallName, UAddr, UserMemory } from "@alien-ts/abi";
import { NR } from "@alien-ts/abi";
import type { Task } from "../host/task.ts";
import { SystemError, failed, errnoOf } from "./errors.ts";
import { type Heap, heapOf } from "./heap.ts";
import { Stream } from "./stdio.ts";
import { basename, fromBytes, toBytes } from "./text.ts";

export class Process {
  readonly task: Task;
  readonly memory: UserMemory;
  readonly heap: Heap;
  readonly argv: readonly string[];
  readonly env: Map<string, string>;
  readonly auxv: ReadonlyMap<number, number>;
  readonly stdin: Stream;
  readonly stdout: Stream;
  readonly stderr: Stream;
  /** Signals that a handler is set for, which a child resets: it must not run its parent's handlers. */
  readonly caughtSignals = new Set<number>();
  /** Functions that run before the process exits, last one first, as atexit(3). */
  readonly atExit: (() => void | Promise<void>)[] = [];

  constructor(task: Task, start: StartVectors) {
    this.task = task;
    this.memory = task.memory;
    this.heap = heapOf(task);
    this.argv = start.argv;
    this.env = start.env;
    this.auxv = start.auxv;
    this.stdin = new Stream(this, 0);
    this.stdout = new Stream(this, 1);
    this.stderr = new Stream(this, 2, "none");
  }

  /** A raw system call: a result, or a negated errno. */
  trap(
    nr: number,
    a0?: number,
    a1?: number,
    a2?: number,
    a3?: number,
    a4?: number,
    a5?: number,
  ): number | Promise<number> {
    return this.task.trap(nr, a0, a1, a2, a3, a4, a5);
  }

  /** A system call by name; throws `SystemError`. */
  async call(
    name: SyscallName,
    a0?: number,
    a1?: number,
    a2?: number,
    a3?: number,
    a4?: number,
    a5?: number,
  ): Promise<number> {
    const result = await this.task.trap(NR[name], a0, a1, a2, a3, a4, a5);
    if (failed(result)) throw new SystemError(name, errnoOf(result));
    return result;
  }

  malloc(size: number): Promise<UAddr> {
    return this.heap.allocate(this.task, size);
  }

  free(block: UAddr): void | Promise<void> {
    return this.heap.release(this.task, block);
  }

  /** Copies a C string into the heap; the caller frees it. */
  async allocString(text: string): Promise<UAddr> {
    const bytes = toBytes(text);
    const addr = await this.malloc(bytes.length + 1);
    this.memory.write(addr, bytes);
    this.memory.write(addr + bytes.length, ZERO);
    return addr;
  }

  /** Flushes the streams, runs the `atExit` functions and ends the process. Never returns. */
  async exit(status: number): Promise<never> {
    for (let fn = this.atExit.pop(); fn !== undefined; fn = this.atExit.pop()) await fn();
    const result = await this.#flushed(status);
    for (const stream of [this.stdin, this.stdout, this.stderr]) await stream.release();
    await this.task.trap(NR.exit_group, result & 0xff);
    throw new Error("exit_group returned");
  }

  /** The status to exit with: 1 where the last output cannot be written. */
  async #flushed(status: number): Promise<number> {
    try {
      await this.stdout.flush();
      return status;
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      await this.stderr.write(`${basename(this.argv[0] ?? "")}: ${error.message}\n`);
      return status === 0 ? 1 : status;
    }
  }
}

const ZERO = new Uint8Array(1);

export interface StartVectors {
  readonly argv: readonly string[];
  readonly env: Map<string, string>;
  readonly auxv: ReadonlyMap<number, number>;
}

export const openProcess = (task: Task): Process => new Process(task, readVectors(task.memory, task.port.sp));

function readVectors(memory: UserMemory, sp: UAddr): StartVectors {
  const argc = memory.readU64(sp);
  const argv: string[] = [];
  let at = sp + 8;
  for (let i = 0; i < argc; i++, at += 8) argv.push(fromBytes(memory.readCString(memory.readU64(at))));
  at += 8;
  const env = new Map<string, string>();
  for (let entry = memory.readU64(at); entry !== 0; at += 8, entry = memory.readU64(at)) {
    const text = fromBytes(memory.readCString(entry));
    const equals = text.indexOf("=");
    if (equals > 0) env.set(text.slice(0, equals), text.slice(equals + 1));
  }
  at += 8;
  const auxv = new Map<number, number>();
  for (let key = memory.readU64(at); key !== 0; at += 16, key = memory.readU64(at)) {
    auxv.set(key, memory.readU64(at + 8));
  }
  return { argv, env, auxv };
}
