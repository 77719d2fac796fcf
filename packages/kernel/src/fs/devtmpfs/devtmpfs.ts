/**
 * devtmpfs: the nodes of all devices (Linux: drivers/base/devtmpfs.c). A tmpfs that the kernel fills: one instance for all mounts.
 *
 * `registerCharDevice` is what drivers and extension packages call: it connects a device number with its operations and makes
 * the node. `initDevtmpfs` registers the file system and the memory devices; other nodes of this file are those of `ipc`.
 */
import { isErr, type Result, S } from "@alien-ts/abi";
import type { Cx } from "../../core/cx.ts";
import { KernelBug } from "../../core/kernel.ts";
import { MKDEV, register_chrdev } from "../../vfs/char-dev.ts";
import { type Dentry, dget, dput } from "../../vfs/dentry.ts";
import type { FileOperations } from "../../vfs/file.ts";
import { lookupDentry } from "../../vfs/namei.ts";
import { type FileSystemType, type SuperBlock } from "../../vfs/super.ts";
import { register_filesystem } from "../../vfs/vfs.ts";
import { makeTmpfs } from "../tmpfs/tmpfs.ts";
import { initKmsg, kmsg_fops } from "./kmsg.ts";
import { full_fops, null_fops, random_fops, urandom_fops, zero_fops } from "./mem-devices.ts";

declare module "../../core/kernel.ts" {
  interface Kernel {
    devtmpfs: SuperBlock;
  }
}

export interface CharDevice {
  readonly major: number;
  readonly minor: number;
  /** Path below /dev: "null", "input/event0". */
  readonly name: string;
  readonly operations: FileOperations;
  /** Permission bits; 0600 by default. */
  readonly mode?: number;
}

const MEM_MAJOR = 1;
const DEFAULT_MODE = 0o600;

const MEMORY_DEVICES: readonly CharDevice[] = [
  { major: MEM_MAJOR, minor: 3, name: "null", operations: null_fops, mode: 0o666 },
  { major: MEM_MAJOR, minor: 5, name: "zero", operations: zero_fops, mode: 0o666 },
  { major: MEM_MAJOR, minor: 7, name: "full", operations: full_fops, mode: 0o666 },
  { major: MEM_MAJOR, minor: 8, name: "random", operations: random_fops, mode: 0o666 },
  { major: MEM_MAJOR, minor: 9, name: "urandom", operations: urandom_fops, mode: 0o666 },
  { major: MEM_MAJOR, minor: 11, name: "kmsg", operations: kmsg_fops, mode: 0o644 },
];

/** Nodes of devices that `ipc` registered. */
const TERMINAL_NODES = [
  { name: "tty", dev: MKDEV(5, 0), mode: 0o666 },
  { name: "console", dev: MKDEV(5, 1), mode: 0o600 },
  { name: "ptmx", dev: MKDEV(5, 2), mode: 0o666 },
  { name: "ttyS0", dev: MKDEV(4, 64), mode: 0o600 },
  { name: "hvc1", dev: MKDEV(229, 1), mode: 0o600 },
] as const;

const LINKS = [
  ["fd", "/proc/self/fd"],
  ["stdin", "/proc/self/fd/0"],
  ["stdout", "/proc/self/fd/1"],
  ["stderr", "/proc/self/fd/2"],
] as const;

/** At boot, behind initTmpfs and initIpc. Mount type "devtmpfs" at /dev afterwards. */
export function initDevtmpfs(cx: Cx): void {
  const { kernel } = cx;
  const type: FileSystemType = {
    name: "devtmpfs",
    nodev: true,
    mount() {
      kernel.devtmpfs.active += 1;
      return kernel.devtmpfs;
    },
  };
  register_filesystem(kernel, type);
  const sb = makeTmpfs(cx, { type, flags: 0, source: "devtmpfs", options: "mode=0755" });
  if (isErr(sb)) throw new KernelBug("no memory for devtmpfs");
  kernel.devtmpfs = sb;
  initKmsg(kernel);
  for (const device of MEMORY_DEVICES)
    if (isErr(registerCharDevice(cx, device))) throw new KernelBug(`cannot register /dev/${device.name}`);
  for (const { name, dev, mode } of TERMINAL_NODES) must(makeNode(cx, name, S.IFCHR | mode, dev));
  for (const [name, target] of LINKS) must(makeLink(cx, name, target));
  must(makeDirectory(cx, "shm", 0o1777));
  must(makeDirectory(cx, "pts", 0o755));
}

function must(result: Result<0>): void {
  if (isErr(result)) throw new KernelBug(`devtmpfs: ${result.message}`);
}

/** Connects a device number with operations, and makes its node in /dev. EBUSY, EEXIST, ENOMEM. */
export function registerCharDevice(cx: Cx, device: CharDevice): Result<0> {
  const dev = MKDEV(device.major, device.minor);
  const registered = register_chrdev(cx.kernel, device.name, dev, 1, device.operations);
  if (isErr(registered)) return registered;
  const made = makeNode(cx, device.name, S.IFCHR | (device.mode ?? DEFAULT_MODE), dev);
  if (isErr(made)) cx.kernel.vfs.charDevices.unregister(dev);
  return made;
}

/** Undoes `registerCharDevice`; open files keep their operations. */
export function unregisterCharDevice(cx: Cx, { major, minor, name }: CharDevice): void {
  cx.kernel.vfs.charDevices.unregister(MKDEV(major, minor));
  withEntry(cx, name, (parent, entry) => {
    const dir = parent.inode;
    return dir === null || entry.inode === null ? 0 : (dir.i_op.unlink?.(cx, dir, entry) ?? 0);
  });
}

const makeNode = (cx: Cx, name: string, mode: number, dev: number): Result<0> =>
  withEntry(cx, name, (parent, entry) => {
    const dir = parent.inode!;
    return dir.i_op.mknod?.(cx, dir, entry, mode, dev) ?? 0;
  });

const makeLink = (cx: Cx, name: string, target: string): Result<0> =>
  withEntry(cx, name, (parent, entry) => {
    const dir = parent.inode!;
    return dir.i_op.symlink?.(cx, dir, entry, target) ?? 0;
  });

const makeDirectory = (cx: Cx, name: string, mode: number): Result<0> =>
  withEntry(cx, name, (parent, entry) => {
    const dir = parent.inode!;
    return entry.inode === null ? (dir.i_op.mkdir?.(cx, dir, entry, S.IFDIR | mode) ?? 0) : 0;
  });

/** Finds the entry of a path below the root, making its directories. */
function withEntry(cx: Cx, path: string, use: (parent: Dentry, entry: Dentry) => Result<0>): Result<0> {
  const names = path.split("/");
  const last = names.pop() ?? "";
  let parent = dget(cx.kernel.devtmpfs.root);
  for (const name of names) {
    const next = lookupDentry(cx, parent, name);
    const made = isErr(next) || next.inode !== null ? 0 : makeDirectoryAt(cx, parent, next);
    dput(cx, parent);
    if (isErr(next)) return next;
    if (isErr(made)) {
      dput(cx, next);
      return made;
    }
    parent = next;
  }
  const entry = lookupDentry(cx, parent, last);
  const result = isErr(entry) ? entry : use(parent, entry);
  if (!isErr(entry)) dput(cx, entry);
  dput(cx, parent);
  return result;
}

function makeDirectoryAt(cx: Cx, parent: Dentry, entry: Dentry): Result<0> {
  const dir = parent.inode!;
  return dir.i_op.mkdir?.(cx, dir, entry, S.IFDIR | 0o755) ?? 0;
}
