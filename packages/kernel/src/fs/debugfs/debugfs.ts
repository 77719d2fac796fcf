/**
 * debugfs (Linux: fs/debugfs): files that subsystems show to developers, for root only.
 *
 *     initDebugfs(kernel);                                          // after initVfs
 *     mountAtBoot(cx, "debugfs", "/sys/kernel/debug");
 *     debugfsFile(kernel, "kprobes/list", file(showList, { mode: 0o400 }));
 *
 * Directories of a path are made when they are missing.
 */
import { FS_MAGIC } from "@alien-ts/abi";
import type { Kernel } from "../../core/kernel.ts";
import { register_filesystem } from "../../vfs/vfs.ts";
import { dir, type SimpleDir, simpleFileSystem, type SimpleNode } from "../simple.ts";
import { FOLDER_MODE } from "../sysfs/folder.ts";
import { addAt } from "../sysfs/tree.ts";

declare module "../../core/kernel.ts" {
  interface Kernel {
    debugfs: SimpleDir;
  }
}

/** Makes `kernel.debugfs`, the root, and registers the file system type. */
export function initDebugfs(kernel: Kernel): void {
  kernel.debugfs = dir({}, { mode: 0o700 });
  register_filesystem(
    kernel,
    simpleFileSystem({ name: "debugfs", magic: FS_MAGIC.DEBUGFS, root: kernel.debugfs }),
  );
}

/** Adds a node (debugfs_create_file). Throws when the name is taken. */
export const debugfsFile = (kernel: Kernel, path: string, node: SimpleNode): void =>
  addAt(kernel.debugfs, path, node, FOLDER_MODE);
