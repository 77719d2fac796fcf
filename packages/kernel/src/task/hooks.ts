/** What subsystems do when tasks are made, replace their image, and end: an explicit list on the kernel, in boot order. */
import type { Result } from "@alien-ts/abi";
import type { Cx } from "../core/cx.ts";
import type { Task } from "../core/task.ts";

export interface TaskHooks {
  /** Name for messages. */
  readonly name: string;
  /**
   * The child shares or copies the parent's state as `flags` (CLONE.*) say. `parent` is undefined for a kernel thread made at
   * boot. An error undoes the clone: `exit` runs for the hooks before.
   */
  fork?(cx: Cx, parent: Task | undefined, child: Task, flags: number): Result<0>;
  /** The task has a new image (after the point of no return). */
  exec?(cx: Cx, task: Task): void;
  /** The task ends; it still has its memory. Runs in reverse order. */
  exit?(cx: Cx, task: Task): void;
}

declare module "../core/kernel.ts" {
  interface Kernel {
    taskHooks: TaskHooks[];
  }
}
