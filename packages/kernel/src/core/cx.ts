/**
 * `cx`: who runs. The first parameter of every kernel function and gate; it is no part of the C signature.
 *
 * A task has one context for life; the scheduler sets `cpu` when it puts the task on a CPU, so a body that slept may find
 * another CPU there. The context holds the task's call stack of rows (by slot), which the gates push and pop: it is what
 * `/proc/<pid>/stack`, stack traces and oopses print. It is not unwound by a throw: a throw stops the kernel.
 */
import type { KAddr } from "@alien-ts/abi";
import type { Cpu } from "./cpu.ts";
import type { Kernel } from "./kernel.ts";
import type { Task } from "./task.ts";

/** Rows that a call stack records; deeper ones are called, but not shown. Linux's 16 KiB stacks hold about as many frames. */
export const CALL_DEPTH_MAX = 256;

export class Cx {
  readonly kernel: Kernel;
  readonly task: Task;
  cpu: Cpu;
  /** Per row slot: 1 when some byte of the row's text differs from the linked image. Shared by all contexts of a kernel. */
  readonly armed: Uint8Array;
  readonly stack: Int32Array = new Int32Array(CALL_DEPTH_MAX);
  depth = 0;
  /** Where the next armed call puts its register context: the lowest used byte of the task's kernel stack. */
  ksp: KAddr = 0;
  /** Lowest address of the kernel stack. */
  kstackBase: KAddr = 0;

  constructor(kernel: Kernel, task: Task, cpu: Cpu, armed: Uint8Array) {
    this.kernel = kernel;
    this.task = task;
    this.cpu = cpu;
    this.armed = armed;
  }
}
