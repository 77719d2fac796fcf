/**
 * The VFS at boot: `initVfs(kernel)` before anything that registers file systems or devices, `initAnonInodes` (anon-inodes.ts) and
 * `mountRoot` (namespace.ts) when a boot context exists. Descriptors, root and working directory follow tasks by a task hook.
 */
import { CLONE, isErr, type Result } from "@alien-ts/abi";
import type { Cx } from "../core/cx.ts";
import { type Kernel, KernelBug } from "../core/kernel.ts";
import type { Task } from "../core/task.ts";
import type { TaskHooks } from "../task/hooks.ts";
import { CharDevices } from "./char-dev.ts";
import { FilesStruct } from "./fd-table.ts";
import { Vfs } from "./vfs.ts";

/** Makes `kernel.vfs`, and hooks it into the life of tasks. */
export function initVfs(kernel: Kernel): void {
  kernel.vfs = new Vfs(kernel);
  kernel.vfs.charDevices = new CharDevices();
  kernel.taskHooks.push(vfsTaskHooks);
}

/** Gives the boot task an empty descriptor table. */
export function initBootFiles(cx: Cx): void {
  const files = FilesStruct.create(cx.kernel);
  if (isErr(files)) throw new KernelBug("no memory for the boot task's descriptors");
  setFiles(cx.task, files);
}

function setFiles(task: Task, files: FilesStruct): void {
  task.files = files;
  task.t.files = files.addr;
}

const vfsTaskHooks: TaskHooks = {
  name: "vfs",
  fork(cx, parent, child, flags): Result<0> {
    const from = parent ?? cx.kernel.bootCx.task;
    const files = (flags & CLONE.FILES) !== 0 ? from.files.share() : from.files.dup();
    if (isErr(files)) return files;
    const fs = (flags & CLONE.FS) !== 0 ? from.fs.share() : from.fs.copy();
    if (isErr(fs)) {
      files.put(cx);
      return fs;
    }
    setFiles(child, files);
    child.fs = fs;
    child.t.fs = fs.addr;
    return 0;
  },
  /** A shared table becomes the task's own, and close-on-exec takes effect. */
  exec(cx, task) {
    if (task.files.isShared) {
      const own = task.files.dup();
      if (!isErr(own)) {
        task.files.put(cx);
        setFiles(task, own);
      }
    }
    task.files.closeOnExec(cx);
  },
  exit(cx, task) {
    task.files.put(cx);
    task.t.files = 0;
    task.fs.put(cx);
    task.t.fs = 0;
  },
};
