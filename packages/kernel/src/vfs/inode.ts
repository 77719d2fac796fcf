/**
 * Inodes: `struct inode`, its owner, and the operations table that a file system fills (Linux: fs/inode.c).
 *
 * `new_inode` makes one with one reference; `ihold`/`iput` count; the last `iput` lets the file system drop what it holds
 * (`evict`) and frees the struct. Whoever puts an inode into a dentry hands its reference over.
 *
 * File names and symlink targets are *byte strings* everywhere in the VFS: one character per byte (0–255), so that any name
 * round-trips. ASCII names are what they look like.
 */
import { type KAddr, ENOMEM, type Result, S, type ViewOf } from "@alien-ts/abi";
import type { Cx } from "../core/cx.ts";
import type { Kernel } from "../core/kernel.ts";
import { type Owned, ownerPtr, voidType } from "../core/owner.ts";
import { kernelFn } from "../core/row.ts";
import type { RealTime } from "../core/clock.ts";
import type { Dentry } from "./dentry.ts";
import type { PageCache } from "./file-mapping.ts";
import type { FileOperations } from "./file.ts";
import type { FileLocks } from "./locks.ts";
import type { PathRef } from "./mount.ts";
import { inode } from "./structs.ts";
import type { SuperBlock } from "./super.ts";

export const inodep = ownerPtr<Inode>("inode");

/** What a change of attributes sets; absent fields stay (struct iattr; `ia_valid` is which fields are present). */
export interface Attributes {
  mode?: number;
  uid?: number;
  gid?: number;
  size?: number;
  atime?: RealTime;
  mtime?: RealTime;
  ctime?: RealTime;
  /** Times given by the caller (utimensat with values), not "now": only the owner may set those. */
  timesSet?: boolean;
}

/** Filled by getattr beyond what the inode says. */
export interface StatOverrides {
  size?: number;
  nlink?: number;
  blocks?: number;
  blksize?: number;
  /** STATX_ATTR_* */
  attributes?: number;
}

/**
 * What a file system does with its inodes (include/linux/fs.h, struct inode_operations). Absent operations answer as Linux
 * does without them: EPERM for create, mkdir, mknod, link, symlink, unlink, rmdir and rename; ENOTDIR for lookup; EOPNOTSUPP
 * for xattrs and tmpfile. The VFS has checked permissions, types and names before.
 */
export interface InodeOperations {
  /** The inode that `dentry.name` names in `dir`, with one reference for the dentry; null when there is none. */
  lookup?(cx: Cx, dir: Inode, dentry: Dentry): Result<Inode | null>;
  /** Makes a regular file and enters it under the dentry (d_add), as all that make a name do. `mode` has its type bits. */
  create?(cx: Cx, dir: Inode, dentry: Dentry, mode: number): Result<0>;
  mkdir?(cx: Cx, dir: Inode, dentry: Dentry, mode: number): Result<0>;
  mknod?(cx: Cx, dir: Inode, dentry: Dentry, mode: number, rdev: number): Result<0>;
  symlink?(cx: Cx, dir: Inode, dentry: Dentry, target: string): Result<0>;
  link?(cx: Cx, old: Dentry, dir: Inode, dentry: Dentry): Result<0>;
  unlink?(cx: Cx, dir: Inode, dentry: Dentry): Result<0>;
  rmdir?(cx: Cx, dir: Inode, dentry: Dentry): Result<0>;
  /** `flags` has RENAME_NOREPLACE or RENAME_EXCHANGE; EINVAL for others. The VFS moves the dentries afterwards. */
  rename?(cx: Cx, oldDir: Inode, old: Dentry, newDir: Inode, target: Dentry, flags: number): Result<0>;
  /** An unnamed regular file (O_TMPFILE), with one reference and nlink 0. */
  tmpfile?(cx: Cx, dir: Inode, mode: number): Result<Inode>;
  /** Where a symlink leads: a path, or an object itself (magic links), with references handed over. */
  get_link?(cx: Cx, dentry: Dentry, inode: Inode): Result<string | PathRef>;
  /** The text of a magic link; by default that of get_link. */
  readlink?(cx: Cx, dentry: Dentry): Result<string>;
  setattr?(cx: Cx, dentry: Dentry, attributes: Attributes): Result<0>;
  getattr?(cx: Cx, inode: Inode): StatOverrides;
  /** Replaces generic_permission. `mask` of MAY. */
  permission?(cx: Cx, inode: Inode, mask: number): Result<0>;
  listxattr?(cx: Cx, dentry: Dentry): Result<readonly string[]>;
  getxattr?(cx: Cx, dentry: Dentry, name: string): Result<Uint8Array>;
  /** `value` null removes (ENODATA when there is none); `flags` of XATTR. */
  setxattr?(cx: Cx, dentry: Dentry, name: string, value: Uint8Array | null, flags: number): Result<0>;
}

/** Permission masks (include/linux/fs.h). */
export const MAY = {
  EXEC: 1,
  WRITE: 2,
  READ: 4,
  APPEND: 8,
  ACCESS: 0x10,
  OPEN: 0x20,
  CHDIR: 0x40,
} as const;

export class Inode implements Owned {
  readonly kernel: Kernel;
  readonly sb: SuperBlock;
  readonly addr: KAddr;
  readonly t: ViewOf<typeof inode>;
  i_op: InodeOperations;
  i_fop: FileOperations;
  /** Linux: i_count. */
  refs = 1;
  /** What the file system keeps with it (i_private, the containing fs inode). */
  data: unknown = undefined;
  /** The pages of a regular file; undefined where the file system has none. */
  pages: PageCache | undefined = undefined;
  /** POSIX, OFD and flock locks; made at the first one. */
  locks: FileLocks | undefined = undefined;
  /** Linux: i_writecount. Positive: open for writing; negative: being executed. */
  writers = 0;
  /** A FIFO's pipe, owned by ipc (i_pipe). */
  pipe: object | undefined = undefined;
  /** An unlinked file that linkat may name (O_TMPFILE without O_EXCL). */
  canLink = false;
  /** Type of the file, a value of S.IFMT: never changes. */
  readonly type: number;
  /** When it was made (statx's btime). */
  readonly birth: RealTime;

  constructor(sb: SuperBlock, addr: KAddr, mode: number, operations: InodeOperations, files: FileOperations) {
    const { kernel } = sb;
    this.kernel = kernel;
    this.sb = sb;
    this.addr = addr;
    this.t = new (kernel.layout.view(inode))(kernel.mem, addr);
    this.i_op = operations;
    this.i_fop = files;
    this.type = mode & S.IFMT;
    this.birth = kernel.clock.realTime();
    this.t.i_mode = mode;
    this.t.i_sb = sb.addr;
    this.t.i_blkbits = 12;
    this.t.i_nlink = 1;
    this.t.i_fop = kernel.vfs.tableAddress(files.name);
    touch(this, this.birth, true, true, true);
  }

  get mode(): number {
    return this.t.i_mode;
  }
  get ino(): number {
    return this.t.i_ino;
  }
  get uid(): number {
    return this.kernel.mem.dv.getUint32(this.addr + this.kernel.vfs.offsets.inodeUid, true);
  }
  get gid(): number {
    return this.kernel.mem.dv.getUint32(this.addr + this.kernel.vfs.offsets.inodeGid, true);
  }
  get size(): number {
    return this.t.i_size;
  }
  set size(bytes: number) {
    this.t.i_size = bytes;
  }
  get nlink(): number {
    return this.t.i_nlink;
  }
  set nlink(count: number) {
    this.t.i_nlink = count;
  }
  get rdev(): number {
    return this.t.i_rdev;
  }
  get isDirectory(): boolean {
    return this.type === S.IFDIR;
  }
  get isSymlink(): boolean {
    return this.type === S.IFLNK;
  }
  get isRegular(): boolean {
    return this.type === S.IFREG;
  }
}

export interface InodeFields {
  /** Type and permission bits. */
  readonly mode: number;
  readonly i_op: InodeOperations;
  readonly i_fop: FileOperations;
  readonly uid?: number;
  readonly gid?: number;
  readonly rdev?: number;
  /** By default the next number of the super block. */
  readonly ino?: number;
  readonly data?: unknown;
}

/** An inode with one reference and one link. ENOMEM. */
export function new_inode(sb: SuperBlock, fields: InodeFields): Result<Inode> {
  const { kernel } = sb;
  const addr = kernel.kmalloc.kzalloc(kernel.layout.size(inode), "inode");
  if (addr === 0) return ENOMEM;
  const made = new Inode(sb, addr, fields.mode, fields.i_op, fields.i_fop);
  kernel.kmalloc.setOwner(addr, made);
  made.t.i_ino = fields.ino ?? sb.nextIno++;
  made.t.i_uid.val = fields.uid ?? 0;
  made.t.i_gid.val = fields.gid ?? 0;
  made.t.i_rdev = fields.rdev ?? 0;
  made.data = fields.data;
  sb.inodes += 1;
  return made;
}

/** Linux: inode_init_owner(). Owner and group of a new file: those of the task, the group of a setgid directory. */
export function inode_init_owner(cx: Cx, made: Inode, dir: Inode | null, mode: number): void {
  const { cred } = cx.task;
  made.t.i_uid.val = cred.fsuid;
  if (dir !== null && (dir.mode & S.ISGID) !== 0) {
    made.t.i_gid.val = dir.gid;
    if ((mode & S.IFMT) === S.IFDIR) made.t.i_mode = mode | S.ISGID;
  } else made.t.i_gid.val = cred.fsgid;
}

export function ihold(held: Inode): void {
  held.refs += 1;
}

/** Gives a reference back; the last one evicts the inode. */
export const iput = kernelFn("iput", [["inode", inodep]], voidType, (cx, put) => {
  put.refs -= 1;
  if (put.refs === 0) evict(cx, put);
  return undefined;
});

export const evict = kernelFn(
  "evict",
  [["inode", inodep]],
  voidType,
  (cx, gone) => {
    gone.sb.ops.evict_inode?.(cx, gone);
    gone.sb.inodes -= 1;
    gone.kernel.kmalloc.kfree(gone.addr);
    return undefined;
  },
  { local: true, doc: "Frees an inode that nobody refers to, and what its file system holds for it." },
);

/** Sets the chosen times (Linux: inode_set_ctime_current and its kin). */
export function touch(on: Inode, now: RealTime, atime: boolean, mtime: boolean, ctime: boolean): void {
  const { t } = on;
  if (atime) {
    t.i_atime_sec = now.sec;
    t.i_atime_nsec = now.nsec;
  }
  if (mtime) {
    t.i_mtime_sec = now.sec;
    t.i_mtime_nsec = now.nsec;
  }
  if (ctime) {
    t.i_ctime_sec = now.sec;
    t.i_ctime_nsec = now.nsec;
  }
}

/** Contents changed: mtime and ctime are now. */
export const touchModified = (on: Inode): void => touch(on, on.kernel.clock.realTime(), false, true, true);
/** Metadata changed: ctime is now. */
export const touchChanged = (on: Inode): void => touch(on, on.kernel.clock.realTime(), false, false, true);

/** Takes over what is checked already: everything but the size, which is the file system's business (setattr_copy). */
export function setattr_copy(target: Inode, attributes: Attributes): void {
  const { t } = target;
  if (attributes.uid !== undefined) t.i_uid.val = attributes.uid;
  if (attributes.gid !== undefined) t.i_gid.val = attributes.gid;
  if (attributes.mode !== undefined) t.i_mode = target.type | (attributes.mode & 0o7777);
  if (attributes.atime !== undefined) touch(target, attributes.atime, true, false, false);
  if (attributes.mtime !== undefined) touch(target, attributes.mtime, false, true, false);
  touch(target, attributes.ctime ?? target.kernel.clock.realTime(), false, false, true);
}
