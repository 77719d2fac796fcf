/**
 * procfs (Linux: fs/proc; proc(5)): what the kernel and its tasks are, as text.
 *
 *     initProcfs(kernel);                                        // after initVfs and initAnonInodes
 *     mountAtBoot(cx, "proc", "/proc");
 *     registerSysctl(kernel, "kernel/panic", intSysctl([cell(0)]));   // sysctl.ts
 *
 * Files are made when they are read; nothing here holds a task, a file or memory between reads.
 */
import { EIO, ENOENT, FS_MAGIC } from "@alien-ts/abi";
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
import { CPU_NODES } from "./cpu-info.ts";
import { bytesText, right } from "./format.ts";
import { kallsyms_operations } from "./kallsyms.ts";
import { initSyslog, kmsg_operations } from "./kmsg.ts";
import { MEMORY_NODES } from "./memory-info.ts";
import { Namespaces } from "./namespaces.ts";
import { listPids, lookupPid } from "./pid.ts";
import { registerKernelSysctls } from "./sysctl-tables.ts";
import { Sysctls } from "./sysctl.ts";
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
  readonly namespaces: Namespaces;

  constructor(cx: Cx) {
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
    simpleFileSystem({
      name: "proc",
      magic: FS_MAGIC.PROC,
      root: kernel.procfs.root,
      writeError: EIO,
      // Linux: proc_lookup_de(), proc_pid_lookup(), proc_sys_lookup()
      lookupError: ENOENT,
    }),
  );
  const { task: bootTask } = kernel.bootCx;
  bootTask.loginUid = NO_LOGIN_UID;
  kernel.taskHooks.push({
    name: "procfs",
    fork(_cx, parent, child) {
      child.loginUid = parent?.loginUid ?? NO_LOGIN_UID;
      return 0;
    },
  });
}

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
