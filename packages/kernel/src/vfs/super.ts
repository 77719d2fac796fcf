/**
 * Super blocks and file system types (Linux: fs/super.c). A `SuperBlock` is one mounted instance of a file system: its device
 * number, root dentry and operations. `deactivate_super` drops it with its last mount.
 */
import { ENOMEM, type KAddr, type Result, type ViewOf } from "@alien-ts/abi";
import type { Cx } from "../core/cx.ts";
import type { Kernel } from "../core/kernel.ts";
import type { Owned } from "../core/owner.ts";
import { type Dentry, dput } from "./dentry.ts";
import type { Inode } from "./inode.ts";
import { super_block } from "./structs.ts";

/** What statfs(2) reports of a file system. */
export interface StatFs {
  readonly bsize: number;
  readonly blocks: number;
  readonly bfree: number;
  readonly bavail: number;
  readonly files: number;
  readonly ffree: number;
}

export interface SuperOperations {
  /** An inode is freed: its pages, its targets. */
  evict_inode?(cx: Cx, inode: Inode): void;
  /** The file system is gone: frees what the super block held. All dentries are dropped already but the root. */
  put_super?(cx: Cx, sb: SuperBlock): void;
  /** Drops the references that pin the tree in memory (kill_litter_super), before put_super. */
  kill_litter?(cx: Cx, sb: SuperBlock): void;
  statfs?(cx: Cx, sb: SuperBlock): StatFs;
  /** Options for /proc/mounts, each with its comma: ",size=1024k". */
  show_options?(cx: Cx, sb: SuperBlock): string;
  /** mount -o remount with new options. */
  reconfigure?(cx: Cx, sb: SuperBlock, options: string): Result<0>;
}

/** One row of /proc/filesystems. */
export interface FileSystemType {
  readonly name: string;
  /** Needs no device (FS_REQUIRES_DEV unset): "nodev" in /proc/filesystems. */
  readonly nodev: boolean;
  /** Cannot be mounted by a user (pipefs, anon_inodefs). */
  readonly internal?: boolean;
  /** Makes an instance with a root dentry. A type with one instance for all mounts (procfs) answers the same one again. */
  mount(cx: Cx, request: MountRequest): Result<SuperBlock>;
}

export interface MountRequest {
  readonly type: FileSystemType;
  /** MS_RDONLY and the like. */
  readonly flags: number;
  /** The source as given: "none", "/dev/sda1". */
  readonly source: string;
  /** The options as given, comma-separated. */
  readonly options: string;
}

/** Super block flags: those of MS that belong to a super block. */
export const SB_RDONLY = 1;

export class SuperBlock implements Owned {
  readonly kernel: Kernel;
  readonly addr: KAddr;
  readonly t: ViewOf<typeof super_block>;
  readonly type: FileSystemType;
  readonly ops: SuperOperations;
  /** Set once, by the file system's mount; the super block holds its reference. */
  root!: Dentry;
  /** Mounts and other holders (s_active). */
  active = 1;
  nextIno = 1;
  /** Live inodes. */
  inodes = 0;
  /** What the file system keeps (s_fs_info). */
  info: unknown = undefined;

  constructor(kernel: Kernel, addr: KAddr, type: FileSystemType, ops: SuperOperations) {
    this.kernel = kernel;
    this.addr = addr;
    this.type = type;
    this.ops = ops;
    this.t = new (kernel.layout.view(super_block))(kernel.mem, addr);
  }

  get dev(): number {
    return this.t.s_dev;
  }
  get isReadOnly(): boolean {
    return (this.t.s_flags & SB_RDONLY) !== 0;
  }
}

export interface SuperFields {
  readonly type: FileSystemType;
  readonly magic: number;
  readonly ops: SuperOperations;
  readonly flags?: number;
  /** By default 2^63 − 1, as far as a number holds it. */
  readonly maxBytes?: number;
  readonly info?: unknown;
}

/** Largest file offset: MAX_LFS_FILESIZE is 2^63 − 1; kept exact at 2^53 − 1. */
export const MAX_LFS_FILESIZE = Number.MAX_SAFE_INTEGER;

/** A super block without a root, on a device number of its own (sget_fc with set_anon_super). ENOMEM. */
export function alloc_super(kernel: Kernel, fields: SuperFields): Result<SuperBlock> {
  const addr = kernel.kmalloc.kzalloc(kernel.layout.size(super_block), "super_block");
  if (addr === 0) return ENOMEM;
  const sb = new SuperBlock(kernel, addr, fields.type, fields.ops);
  kernel.kmalloc.setOwner(addr, sb);
  sb.t.s_dev = kernel.vfs.takeAnonDevice();
  sb.t.s_blocksize = 4096;
  sb.t.s_blocksize_bits = 12;
  sb.t.s_maxbytes = fields.maxBytes ?? MAX_LFS_FILESIZE;
  sb.t.s_magic = fields.magic;
  sb.t.s_flags = fields.flags ?? 0;
  sb.t.s_time_gran = 1;
  sb.info = fields.info;
  return sb;
}

/** Gives `root` (its reference handed over) to the super block. */
export function setRoot(sb: SuperBlock, root: Dentry): void {
  sb.root = root;
  sb.t.s_root = root.addr;
}

/** The last holder is gone: the tree, the root and the struct are freed. */
export function deactivate_super(cx: Cx, sb: SuperBlock): void {
  sb.active -= 1;
  if (sb.active > 0) return;
  sb.ops.kill_litter?.(cx, sb);
  if (sb.t.s_root !== 0) dput(cx, sb.root);
  sb.ops.put_super?.(cx, sb);
  sb.kernel.vfs.giveAnonDevice(sb.dev);
  sb.kernel.kmalloc.kfree(sb.addr);
}
