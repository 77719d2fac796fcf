/**
 * sysfs (Linux: fs/sysfs, Documentation/filesystems/sysfs.rst): the tree of kernel objects, one value per file.
 *
 *     initSysfs(kernel);                                            // after initVfs
 *     mountAtBoot(cx, "sysfs", "/sys");
 *     registerSysfs(kernel, "kernel/fscaps", attribute(() => "1\n"));
 *     unregisterSysfs(kernel, "module/demo");
 *
 * Attributes are files of a page (st_size 4096), as user space expects. Directories of a path are made when they are missing.
 */
import { FS_MAGIC, PAGE_SIZE, type Result } from "@alien-ts/abi";
import type { Cx } from "../../core/cx.ts";
import type { Kernel } from "../../core/kernel.ts";
import { register_filesystem } from "../../vfs/vfs.ts";
import { dir, file, type SimpleDir, simpleFileSystem, type SimpleFile, type SimpleNode } from "../simple.ts";
import { btfNode } from "./btf.ts";
import { cpuDirectory } from "./cpu.ts";
import { FOLDER_MODE, folder } from "./folder.ts";
import { eventSourceBus, eventSourceDevices } from "./event-source.ts";
import { addAt, removeAt } from "./tree.ts";

declare module "../../core/kernel.ts" {
  interface Kernel {
    sysfs: Sysfs;
  }
}

export class Sysfs {
  readonly root: SimpleDir;

  constructor(kernel: Kernel) {
    this.root = dir({
      block: folder({}),
      bus: folder({ event_source: eventSourceBus() }),
      class: folder({}),
      dev: folder({ block: folder({}), char: folder({}) }),
      devices: folder({ ...eventSourceDevices(), system: folder({ cpu: cpuDirectory(kernel) }) }),
      firmware: folder({}),
      fs: folder({ bpf: mountPoint(), cgroup: mountPoint() }),
      kernel: kernelDirectory(kernel),
      module: folder({}),
    });
  }
}

/** An empty directory for another file system (sysfs_create_mount_point). */
const mountPoint = (): SimpleDir => dir({}, { mode: 0o555 });

/** Mount points, and facts about the kernel. */
const kernelDirectory = (kernel: Kernel): SimpleDir =>
  folder({
    address_bits: attribute(() => "64\n"),
    btf: folder({ vmlinux: btfNode(kernel) }),
    config: mountPoint(),
    cpu_byteorder: attribute(() => "little\n"),
    debug: mountPoint(),
    fscaps: attribute(() => "1\n"),
    mm: folder({}),
    security: mountPoint(),
    tracing: mountPoint(),
    uevent_seqnum: attribute(() => "0\n"),
  });

export interface AttributeOptions {
  /** By default 0444, or 0644 with `store`. */
  readonly mode?: number;
  /** One write(2): takes all of it or answers an error. */
  readonly store?: (cx: Cx, text: string) => Result<0>;
}

/** A file of one value (DEVICE_ATTR). */
export function attribute(show: (cx: Cx) => Result<string>, options: AttributeOptions = {}): SimpleFile {
  const { mode, store } = options;
  return file(show, {
    size: PAGE_SIZE,
    ...(mode === undefined ? {} : { mode }),
    ...(store === undefined ? {} : { write: store }),
  });
}

/** Makes `kernel.sysfs` and registers the file system type. */
export function initSysfs(kernel: Kernel): void {
  kernel.sysfs = new Sysfs(kernel);
  register_filesystem(
    kernel,
    simpleFileSystem({ name: "sysfs", magic: FS_MAGIC.SYSFS, root: kernel.sysfs.root }),
  );
}

/** Adds a node under /sys. Throws when the name is taken. */
export const registerSysfs = (kernel: Kernel, path: string, node: SimpleNode): void =>
  addAt(kernel.sysfs.root, path, node, FOLDER_MODE);

/** Takes a node away, with what is below it. */
export const unregisterSysfs = (kernel: Kernel, path: string): void => removeAt(kernel.sysfs.root, path);
