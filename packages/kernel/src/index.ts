/** The kernel: memory, tasks, scheduler, file systems, system calls, probes, BPF. */
export {
  boot,
  bootCore,
  type BootOptions,
  CPUS_MAX,
  DEFAULT_MEMORY_BYTES,
  DEFAULT_RELEASE,
  MEMORY_BYTES_MAX,
  MEMORY_BYTES_MIN,
} from "./boot.ts";
export { Clock } from "./core/clock.ts";
export { Kernel, KernelBug, type KernelConfig } from "./core/kernel.ts";
export { type CoverageRow, kernelCoverage } from "./coverage.ts";
export { NO_OBSERVER, type Observer } from "./core/observer.ts";
export { type LogLine, timestamp } from "./core/printk.ts";
export type { Console } from "./ipc/tty/console.ts";
export { formatOops } from "./oops.ts";
export type { TurnStatus } from "./sched/scheduler.ts";
export type { Subsystem } from "./subsystems.ts";
export { systemMap } from "./system-map.ts";
export type { Port } from "./task/port.ts";
export { FunctionHit, type Watch, watchEvent, watchFunction, watchReturn } from "./trace/watch.ts";
