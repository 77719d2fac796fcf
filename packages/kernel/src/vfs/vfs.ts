/**
 * The VFS's state in one kernel (`kernel.vfs`): file system types, the root mount, device numbers, counters, and the few
 * offsets that hot paths need. `initVfs` comes first of everything in this folder.
 */
import { type KAddr, type Layout } from "@alien-ts/abi";
import { kgid_t, kuid_t } from "../core/cred.ts";
import type { Cx } from "../core/cx.ts";
import type { Kernel } from "../core/kernel.ts";
import type { CharDevices } from "./char-dev.ts";
import type { File, FileOperations } from "./file.ts";
import type { LockWaits } from "./locks.ts";
import type { Mount } from "./mount.ts";
import { file, filename, inode, kiocb, mount, path } from "./structs.ts";
import type { FileSystemType } from "./super.ts";

declare module "../core/kernel.ts" {
  interface Kernel {
    vfs: Vfs;
  }
}

/** Offsets that are read once per kernel. */
export interface VfsOffsets {
  readonly filePath: number;
  readonly mountMnt: number;
  readonly kiocbPos: number;
  readonly kiocbSize: number;
  readonly kiocbFile: number;
  readonly kiocbFlags: number;
  readonly filenameSize: number;
  readonly filenameName: number;
  readonly filenameUptr: number;
  readonly filenameRefcnt: number;
  readonly pathMnt: number;
  readonly pathDentry: number;
  readonly pathSize: number;
  readonly inodeUid: number;
  readonly inodeGid: number;
}

const offsetsOf = (layout: Layout): VfsOffsets => ({
  filePath: layout.offset(file, "f_path"),
  mountMnt: layout.offset(mount, "mnt"),
  kiocbPos: layout.offset(kiocb, "ki_pos"),
  kiocbSize: layout.size(kiocb),
  kiocbFile: layout.offset(kiocb, "ki_filp"),
  kiocbFlags: layout.offset(kiocb, "ki_flags"),
  filenameSize: layout.size(filename),
  filenameName: layout.offset(filename, "name"),
  filenameUptr: layout.offset(filename, "uptr"),
  filenameRefcnt: layout.offset(filename, "refcnt"),
  pathMnt: layout.offset(path, "mnt"),
  pathDentry: layout.offset(path, "dentry"),
  pathSize: layout.size(path),
  inodeUid: layout.offset(inode, "i_uid") + layout.offset(kuid_t, "val"),
  inodeGid: layout.offset(inode, "i_gid") + layout.offset(kgid_t, "val"),
});

/** Room that an inode number or mount id set draws from: the lowest free one first. */
class Ids {
  #next: number;
  readonly #free: number[] = [];
  constructor(first: number) {
    this.#next = first;
  }
  take(): number {
    return this.#free.shift() ?? this.#next++;
  }
  give(id: number): void {
    this.#free.push(id);
    this.#free.sort((a, b) => a - b);
  }
}

export class Vfs {
  readonly kernel: Kernel;
  readonly offsets: VfsOffsets;
  /** In order of registration (/proc/filesystems). */
  readonly types = new Map<string, FileSystemType>();
  /** The root of the mount tree; set by the first mount at boot. */
  root!: Mount;
  charDevices!: CharDevices;
  /** Opens FIFOs; set by ipc. Without it they answer ENXIO. */
  fifoOperations: FileOperations | undefined = undefined;
  /** Where anonymous inodes live; set by initAnonInodes. */
  anonMount!: Mount;
  /** Addresses of operation tables by symbol ("bpf_map_fops"): guests compare f_op with them. 0 where unknown. */
  tableAddress: (symbol: string) => KAddr = () => 0;
  /** Address of nop_mnt_idmap. */
  nopIdmap: KAddr = 0;
  /** Open files (files_stat.nr_files) and their limit. */
  openFiles = 0;
  maxFiles = 65_536;
  /** Grows with every change of the mount tree: what polls /proc/mounts sees. */
  mountEvents = 0;
  /** Run when an open file is closed for good: epoll forgets it (eventpoll_release). */
  readonly releaseHooks: ((cx: Cx, file: File) => void)[] = [];
  /** POSIX lock owners that sleep, and what they wait for. */
  readonly lockWaits: LockWaits = new Map();
  readonly #mountIds = new Ids(20);
  readonly #anonDevices = new Ids(1);

  constructor(kernel: Kernel) {
    this.kernel = kernel;
    this.offsets = offsetsOf(kernel.layout);
  }

  takeMountId(): number {
    return this.#mountIds.take();
  }
  giveMountId(id: number): void {
    this.#mountIds.give(id);
  }
  /** A device number with major 0, for a file system without a device. */
  takeAnonDevice(): number {
    return this.#anonDevices.take();
  }
  giveAnonDevice(dev: number): void {
    this.#anonDevices.give(dev);
  }
}

/** Adds a file system type; `mount -t` finds it from now on. */
export function register_filesystem(kernel: Kernel, type: FileSystemType): void {
  if (kernel.vfs.types.has(type.name)) throw new Error(`file system ${type.name} registered twice`);
  kernel.vfs.types.set(type.name, type);
}
