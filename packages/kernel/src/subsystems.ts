/** The subsystems of the kernel, in boot order: an explicit list. A new one is one line. */
import type { Kernel } from "./core/kernel.ts";
import { initBpf } from "./bpf/host.ts";
import { initDebugfs } from "./fs/debugfs/debugfs.ts";
import { initDevpts } from "./fs/devpts/devpts.ts";
import { initDevtmpfs } from "./fs/devtmpfs/devtmpfs.ts";
import { initExec } from "./fs/exec.ts";
import { initProcfs } from "./fs/proc/procfs.ts";
import { initSysfs } from "./fs/sysfs/sysfs.ts";
import { initTmpfs } from "./fs/tmpfs/tmpfs.ts";
import { initIpc } from "./ipc/init.ts";
import { initSyscalls } from "./syscalls/table.ts";
import { initTracing } from "./trace/init.ts";
import { initDebugfsKprobes } from "./trace/debugfs-kprobes.ts";
import { initKprobes } from "./trace/kprobes.ts";
import { initTraceBuffer } from "./trace/trace-buffer.ts";
import { initAnonInodes } from "./vfs/anon-inodes.ts";
import { initBootFiles, initVfs } from "./vfs/init.ts";
import { mountRoot } from "./vfs/namespace.ts";

export interface Subsystem {
  readonly name: string;
  /** Runs once, at boot, in list order. Must not sleep. */
  init(kernel: Kernel): void;
}

/** The VFS, its first file systems and the root mount. */
function initFiles(kernel: Kernel): void {
  const cx = kernel.bootCx;
  initVfs(kernel);
  initBootFiles(cx);
  initAnonInodes(cx);
  initTmpfs(cx);
  mountRoot(cx, "tmpfs");
}

export const SUBSYSTEMS: readonly Subsystem[] = [
  { name: "files", init: initFiles },
  { name: "ipc", init: ({ bootCx }) => initIpc(bootCx) },
  { name: "proc", init: initProcfs },
  { name: "sysfs", init: initSysfs },
  { name: "devtmpfs", init: ({ bootCx }) => initDevtmpfs(bootCx) },
  { name: "devpts", init: ({ bootCx }) => initDevpts(bootCx) },
  { name: "debugfs", init: initDebugfs },
  { name: "kprobes", init: initKprobes },
  { name: "kprobes in debugfs", init: initDebugfsKprobes },
  { name: "trace buffer", init: initTraceBuffer },
  { name: "bpf", init: initBpf },
  { name: "tracing", init: initTracing },
  { name: "exec", init: initExec },
  { name: "system calls", init: initSyscalls },
];
