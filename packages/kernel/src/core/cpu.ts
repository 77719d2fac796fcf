/** One simulated CPU: its number and what runs on it. Upper layers add their per-CPU state (see kernel.ts). */
import type { Kernel } from "./kernel.ts";
import type { Task } from "./task.ts";

export class Cpu {
  readonly kernel: Kernel;
  readonly id: number;
  /** The task that this CPU runs, or its idle task. */
  current!: Task;
  idle!: Task;
  /** Nesting of interrupt context on this CPU. */
  irqDepth = 0;

  constructor(kernel: Kernel, id: number) {
    this.kernel = kernel;
    this.id = id;
  }
}
