/**
 * What the kernel's own tests share: small kernels, and tasks without programs. Not part of the package's interface.
 *
 * `startTask` makes a kernel thread of a generator; `settle` steps the scheduler until nothing can run.
 */
import { isErr } from "@alien-ts/abi";
import { bootCore, type BootOptions } from "./boot.ts";
import type { Cx } from "./core/cx.ts";
import type { Kernel } from "./core/kernel.ts";
import type { Blocking } from "./core/row.ts";
import type { Task } from "./core/task.ts";
import { WaitQueue, waitEvent } from "./sched/wait.ts";
import { startKernelThread } from "./task/fork.ts";
import { initKprobes } from "./trace/kprobes.ts";
import { testVariant } from "./testing-variant.ts";

export const TEST_MEMORY_BYTES = 16 * 1024 * 1024;

/** A kernel with probes and no other subsystem, in 16 MiB, whose init sleeps. */
export function testKernel(options: BootOptions = {}): Kernel {
  const kernel = bootCore({
    memory: new ArrayBuffer(TEST_MEMORY_BYTES),
    debugAllocations: true,
    ...testVariant(),
    ...options,
  });
  initKprobes(kernel);
  startTask(kernel, "init", function* (cx) {
    yield* waitEvent(cx, new WaitQueue(), () => false);
  });
  kernel.sched.run();
  return kernel;
}

/** A task that runs `body` in the kernel and ends with it. */
export function startTask(kernel: Kernel, name: string, body: (cx: Cx) => Blocking<void>): Task {
  const task = startKernelThread(kernel.bootCx, name, body);
  if (isErr(task)) throw new Error(`no task: ${task.name}`);
  return task;
}

/** Runs until every task sleeps or is gone. */
export function settle(kernel: Kernel): void {
  kernel.sched.run();
}
