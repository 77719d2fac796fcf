/**
 * procfs (Linux: fs/proc; proc(5)): what the kernel and its tasks are, as text.
 *
 *     initProcfs(kernel);                                        // after initVfs and initAnonInodes, before anyone registers
 *     mountAtBoot(cx, "proc", "/proc");
 *     proc_create(kernel, "modules", file(showModules));         // a file or directory of another subsystem
 *     registerPidEntry(kernel, pidFile("sessionid", show));      // pid.ts: an entry in every /proc/<pid>
 *     registerSysctl(kernel, "kernel/panic", intSysctl([cell(0)]));   // sysctl.ts
 *
 * Files are made when they are read; nothing here holds a task, a file or memory between reads.
 */
import { FS_MAGIC } from "@alien-ts/abi";
import type { Cx } from "../../core/cx.ts";
import type { Kernel } from "../../core/kernel.ts";
import type { FileSystemType } from "../../vfs/super.ts";
import { register_filesystem } from "../../vfs/vfs.ts";
import {
  dir,
  dynamicDir,
  file,
  type SimpleDir,
  simpleFileSystem,
  type SimpleNode,
  special,
  symlink,
} from "../simple.ts";
import { addAt, removeAt } from "../sysfs/tree.ts";
import { CPU_NODES } from "./cpu-info.ts";
import { bytesText, right } from "./format.ts";
import { kallsyms_operations } from "./kallsyms.ts";
import { initSyslog, kmsg_operations } from "./kmsg.ts";
import { MEMORY_NODES } from "./memory-info.ts";
import { Namespaces } from "./namespaces.ts";
import { listPids, lookupPid, PID_ENTRIES } from "./pid.ts";
import { registerKernelSysctls } from "./sysctl-tables.ts";
import { Sysctls } from "./sysctl.ts";
import type { PidEntry } from "./target.ts";
import { NO_LOGIN_UID } from "./task-misc.ts";
import { Uts } from "./uts.ts";

declare module "../../core/kernel.ts" {
  interface Kernel {
    procfs: Procfs;
  }
}

export class Procfs {
  readonly root: SimpleDir;
  /** /proc/<pid>/net, the same for all: there is one network namespace. */
  readonly net: SimpleDir = dir({});
  readonly pidEntries = new Map<string, PidEntry>();
  readonly namespaces: Namespaces;

  constructor(cx: Cx) {
    for (const entry of PID_ENTRIES) this.pidEntries.set(entry.name, entry);
    this.namespaces = new Namespaces(cx);
    this.root = dynamicDir(
      { lookup: (by, name) => lookupPid(by, name), list: (by) => listPids(by) },
      { ...systemNodes(), ...CPU_NODES(), ...MEMORY_NODES(), sys: cx.kernel.sysctl.root },
    );
  }
}

/** Makes `kernel.uts`, `kernel.sysctl`, `kernel.syslog` and `kernel.procfs`, and registers the file system type. */
export function initProcfs(kernel: Kernel): void {
  kernel.uts = new Uts(kernel);
  kernel.sysctl = new Sysctls();
  registerKernelSysctls(kernel);
  initSyslog(kernel);
  kernel.procfs = new Procfs(kernel.bootCx);
  register_filesystem(
    kernel,
    simpleFileSystem({ name: "proc", magic: FS_MAGIC.PROC, root: kernel.procfs.root }),
  );
  const { task: bootTask } = kernel.bootCx;
  bootTask.oomScoreAdj = 0;
  bootTask.loginUid = NO_LOGIN_UID;
  kernel.taskHooks.push({
    name: "procfs",
    fork(_cx, parent, child) {
      child.oomScoreAdj = parent?.oomScoreAdj ?? 0;
      child.loginUid = parent?.loginUid ?? NO_LOGIN_UID;
      return 0;
    },
  });
}

/** Adds a node under /proc; its directories are made. Throws when the name is taken. */
export const proc_create = (kernel: Kernel, path: string, node: SimpleNode): void =>
  addAt(kernel.procfs.root, path, node, FOLDER_MODE);

/** Takes a node away, with what is below it. Linux: remove_proc_subtree(). */
export const remove_proc_entry = (kernel: Kernel, path: string): void => removeAt(kernel.procfs.root, path);

const FOLDER_MODE = 0o555;

/** One line per type, with what it needs to be mounted (filesystems_proc_show). */
const showFilesystems = ({ vfs }: Kernel): string =>
  [...vfs.types.values()]
    .map(({ name, nodev }: FileSystemType) => `${nodev ? "nodev" : ""}\t${name}\n`)
    .join("");

/** Linux: devinfo_show(). */
const showDevices = ({ vfs }: Kernel): string =>
  `Character devices:\n${vfs.charDevices
    .list()
    .map(({ major, name }) => `${right(major, 3)} ${name}\n`)
    .join("")}\nBlock devices:\n`;

/** Loaded modules, newest first, of which only the symbols are known here; a module loader that knows more replaces the file. */
const showModules = ({ text }: Kernel): string =>
  text.symbols.modules
    .toReversed()
    .map((name) => `${name} 0 0 - Live 0x0000000000000000\n`)
    .join("");

const systemNodes = (): Readonly<Record<string, SimpleNode>> => ({
  cmdline: file(({ kernel }) => `${bytesText(kernel.config.commandLine)}\n`),
  devices: file(({ kernel }) => showDevices(kernel)),
  filesystems: file(({ kernel }) => showFilesystems(kernel)),
  kallsyms: special(kallsyms_operations),
  kmsg: special(kmsg_operations, { mode: 0o400 }),
  modules: file(({ kernel }) => showModules(kernel)),
  mounts: symlink("self/mounts"),
  net: symlink("self/net"),
  partitions: file(() => ""),
  self: symlink(({ task }) => String(task.tgid)),
  "thread-self": symlink(({ task }) => `${task.tgid}/task/${task.pid}`),
  version: file(({ kernel }) => `${kernel.uts.banner}\n`),
});
