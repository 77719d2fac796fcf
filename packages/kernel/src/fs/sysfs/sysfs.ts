/**
 * sysfs (Linux: fs/sysfs, Documentation/filesystems/sysfs.rst): the tree of kernel objects, one value per file.
 *
 *     initSysfs(kernel);                                            // after initVfs
 *     mountAtBoot(cx, "sysfs", "/sys");
 *     registerSysfs(kernel, "kernel/btf/vmlinux", special(btf_operations));
 *     registerSysfs(kernel, "kernel/fscaps", attribute(() => "1\n"));
 *     unregisterSysfs(kernel, "module/demo");
 *
 * Attributes are files of a page (st_size 4096), as user space expects. Directories of a path are made when they are missing.
 */
import { FS_MAGIC, PAGE_SIZE, type Result } from "@alien-ts/abi";
import type { Cx } from "../../core/cx.ts";
import type { Kernel } from "../../core/kernel.ts";
import { register_filesystem } from "../../vfs/vfs.ts";
import {
  dir,
  file,
  SimpleDir,
  simpleFileSystem,
  type SimpleFile,
  type SimpleNode,
  symlink,
} from "../simple.ts";
import { cpuDirectory } from "./cpu.ts";
import { eventSourceBus, eventSourceDevices } from "./event-source.ts";

declare module "../../core/kernel.ts" {
  interface Kernel {
    sysfs: Sysfs;
  }
}

export class Sysfs {
  readonly root: SimpleDir;

  constructor(kernel: Kernel) {
    this.root = dir({
      block: dir({}),
      bus: dir({ event_source: eventSourceBus() }),
      class: dir({}),
      dev: dir({ block: dir({}), char: dir({}) }),
      devices: dir({ ...eventSourceDevices(), system: dir({ cpu: cpuDirectory(kernel) }) }),
      firmware: dir({}),
      fs: dir({ bpf: dir({}, { mode: 0o700 }), cgroup: dir({}) }),
      kernel: kernelDirectory(),
      module: dir({}),
    });
  }
}

/** Mount points, and facts about the kernel. */
const kernelDirectory = (): SimpleDir =>
  dir({
    address_bits: attribute(() => "64\n"),
    btf: dir({}),
    config: dir({}),
    cpu_byteorder: attribute(() => "little\n"),
    debug: dir({}, { mode: 0o700 }),
    fscaps: attribute(() => "1\n"),
    mm: dir({}),
    security: dir({}),
    tracing: dir({}, { mode: 0o700 }),
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

const split = (path: string): readonly [folder: string, name: string] => {
  const slash = path.lastIndexOf("/");
  return [slash < 0 ? "" : path.slice(0, slash), path.slice(slash + 1)];
};

/** Adds a node under /sys. Throws when the name is taken. */
export function registerSysfs(kernel: Kernel, path: string, node: SimpleNode): void {
  const [folder, name] = split(path);
  const parent = kernel.sysfs.root.at(folder);
  if (parent.get(name) !== undefined) throw new Error(`/sys/${path} registered twice`);
  parent.add(name, node);
}

/** Takes a node away, with what is below it. */
export function unregisterSysfs(kernel: Kernel, path: string): void {
  const [folder, name] = split(path);
  kernel.sysfs.root.at(folder).remove(name);
}

/** Adds a source of perf events: its device, and its link on the bus (perf_pmu_register). */
export function registerEventSource(kernel: Kernel, name: string, device: SimpleDir): void {
  registerSysfs(kernel, `devices/${name}`, device);
  registerSysfs(kernel, `bus/event_source/devices/${name}`, symlink(`../../../devices/${name}`));
}
