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
export { jitMemory, type JitHost, type WasmHost } from "@alien-ts/bpf-basic";
export { Clock } from "./core/clock.ts";
export { Kernel, KernelBug, type KernelConfig } from "./core/kernel.ts";
export { type CoverageRow, kernelCoverage } from "./coverage.ts";
export { NO_OBSERVER, type Observer } from "./core/observer.ts";
export { type LogLine, timestamp } from "./core/printk.ts";
export type { Console } from "./ipc/tty/console.ts";
export { formatOops } from "./oops.ts";
export type { TurnStatus } from "./sched/scheduler.ts";
export type { Subsystem } from "./subsystems.ts";
export { kernelBtf, systemMap } from "./system-map.ts";
export type { Port } from "./task/port.ts";
export { FunctionHit, type Watch, watchEvent, watchFunction, watchReturn } from "./trace/watch.ts";

// What a subsystem from outside is made of: rows, state of its own on `Kernel`, system calls, files, sleeping, time, probes.
export type { RowModule } from "./core/image.ts";
export type { Cx } from "./core/cx.ts";
export type { Cpu } from "./core/cpu.ts";
export type { Task } from "./core/task.ts";
export { ownerPtr, ownerPtrOrNull, type Owned, voidType } from "./core/owner.ts";
export {
  type Blocking,
  blockingFn,
  type Gate,
  isBlocking,
  kernelFn,
  type RowOptions,
  sleepingFn,
} from "./core/row.ts";
export {
  int,
  offsetArg,
  sizeArg,
  slong,
  syscall,
  type SyscallArg,
  type SyscallRow,
  uint,
  ulongArg,
  userPointer,
} from "./core/syscall.ts";
export { debugfsFile } from "./fs/debugfs/debugfs.ts";
export { dir, dynamicDir, file, simpleFileSystem, special, symlink } from "./fs/simple.ts";
export { copy_from_user, copy_to_user, readUserBytes, writeUserBytes } from "./mm/uaccess.ts";
export { HrTimer } from "./sched/timers.ts";
export { condResched, sleepUntil, waitEvent, WaitQueue, wakeUp, wakeUpAll } from "./sched/wait.ts";
export { taskp } from "./sched/wakeup.ts";
export { addSyscall } from "./syscalls/table.ts";
export { startKernelThread } from "./task/fork.ts";
export type { TaskHooks } from "./task/hooks.ts";
export { plantKprobe, removeKprobe } from "./trace/kprobes.ts";
export { originOf, type TraceOrigin } from "./trace/trace-buffer.ts";
export type { File, FileOperations } from "./vfs/file.ts";
export { register_filesystem } from "./vfs/vfs.ts";

// Files that declare fields of `Kernel` and `Task`, and whose names are not needed: so that the fields are in the types.
export type {} from "./bpf/host.ts";
export type {} from "./fs/proc/procfs.ts";
export type {} from "./fs/sysfs/sysfs.ts";
export type {} from "./task/create.ts";
export type {} from "./task/process.ts";
export type {} from "./trace/events.ts";
export type {} from "./vfs/fd-table.ts";
