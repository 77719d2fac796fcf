/** Names and attributes of tmpfs: create, link, rename and so on, and extended attributes. Linux: mm/shmem.c. */
import {
  EEXIST,
  EINVAL,
  ENODATA,
  ENOENT,
  ENOSPC,
  ENOTEMPTY,
  EPERM,
  F_SEAL,
  isErr,
  RENAME_EXCHANGE,
  RENAME_NOREPLACE,
  type Result,
  S,
} from "@alien-ts/abi";
import type { Cx } from "../../core/cx.ts";
import { def_blk_fops, def_chr_fops, no_open_fops } from "../../vfs/char-dev.ts";
import { d_add, type Dentry, dget, dput } from "../../vfs/dentry.ts";
import type { FileOperations } from "../../vfs/file.ts";
import {
  type Attributes,
  ihold,
  type Inode,
  inode_init_owner,
  type InodeOperations,
  new_inode,
  setattr_copy,
  touchChanged,
  touchModified,
} from "../../vfs/inode.ts";
import type { SuperBlock } from "../../vfs/super.ts";
import { XATTR } from "../../vfs/xattr.ts";
import { shmem_dir_operations, shmem_file_operations } from "./file-operations.ts";
import { nodeOf, TmpDir, TmpNode } from "./node.ts";
import { TmpfsInfo } from "./options.ts";
import { ShmemPages } from "./shmem.ts";

/** Bytes that an entry adds to its directory's size (BOGO_DIRENT_SIZE). */
const BOGO_DIRENT_SIZE = 20;

export function infoOf(sb: SuperBlock): TmpfsInfo {
  if (!(sb.info instanceof TmpfsInfo)) throw new Error("super block is not of tmpfs");
  return sb.info;
}

/** An inode of any type, owned by the current task. ENOSPC, ENOMEM. Linux: shmem_get_inode(). */
export function shmem_get_inode(
  cx: Cx,
  sb: SuperBlock,
  dir: Inode | null,
  mode: number,
  rdev = 0,
): Result<Inode> {
  const info = infoOf(sb);
  if (info.usedInodes >= info.maxInodes) return ENOSPC;
  const node = new TmpNode();
  const type = mode & S.IFMT;
  const made = new_inode(sb, { mode, rdev, i_op: operationsFor(type), i_fop: filesFor(type), data: node });
  if (isErr(made)) return made;
  info.usedInodes += 1;
  inode_init_owner(cx, made, dir, mode);
  if (type === S.IFDIR) {
    node.dir = new TmpDir();
    made.nlink = 2;
    made.size = 2 * BOGO_DIRENT_SIZE;
  } else if (type === S.IFREG) made.pages = new ShmemPages(made, info);
  return made;
}

function operationsFor(type: number): InodeOperations {
  if (type === S.IFDIR) return shmem_dir_inode_operations;
  return type === S.IFLNK ? shmem_symlink_inode_operations : shmem_inode_operations;
}

function filesFor(type: number): FileOperations {
  switch (type) {
    case S.IFREG:
      return shmem_file_operations;
    case S.IFDIR:
      return shmem_dir_operations;
    case S.IFCHR:
      return def_chr_fops;
    case S.IFBLK:
      return def_blk_fops;
    default:
      return no_open_fops;
  }
}

/** Puts a new inode into a directory. The tree pins it: one reference to the dentry until it is removed. */
function enter(dir: Inode, dentry: Dentry, inode: Inode): 0 {
  d_add(dentry, inode);
  dget(dentry);
  nodeOf(dir).dir?.add(dentry);
  dir.size += BOGO_DIRENT_SIZE;
  touchModified(dir);
  return 0;
}

/** Takes a name out of a directory; the link count is the caller's business. */
function leave(cx: Cx, dir: Inode, dentry: Dentry): void {
  nodeOf(dir).dir?.remove(dentry);
  dir.size -= BOGO_DIRENT_SIZE;
  touchModified(dir);
  dput(cx, dentry);
}

function mknod(cx: Cx, dir: Inode, dentry: Dentry, mode: number, rdev: number): Result<0> {
  const made = shmem_get_inode(cx, dir.sb, dir, mode, rdev);
  return isErr(made) ? made : enter(dir, dentry, made);
}

function mkdir(cx: Cx, dir: Inode, dentry: Dentry, mode: number): Result<0> {
  const made = mknod(cx, dir, dentry, mode | S.IFDIR, 0);
  if (!isErr(made)) dir.nlink += 1;
  return made;
}

function symlink(cx: Cx, dir: Inode, dentry: Dentry, target: string): Result<0> {
  const made = shmem_get_inode(cx, dir.sb, dir, S.IFLNK | 0o777);
  if (isErr(made)) return made;
  nodeOf(made).target = target;
  made.size = target.length;
  return enter(dir, dentry, made);
}

function link(_cx: Cx, old: Dentry, dir: Inode, dentry: Dentry): Result<0> {
  const { inode } = old;
  if (inode === null) return ENOENT;
  inode.nlink += 1;
  touchChanged(inode);
  ihold(inode);
  return enter(dir, dentry, inode);
}

function unlink(cx: Cx, dir: Inode, dentry: Dentry): Result<0> {
  const { inode } = dentry;
  if (inode === null) return ENOENT;
  inode.nlink -= 1;
  touchChanged(inode);
  leave(cx, dir, dentry);
  return 0;
}

function rmdir(cx: Cx, dir: Inode, dentry: Dentry): Result<0> {
  const { inode } = dentry;
  if (inode === null) return ENOENT;
  if (nodeOf(inode).dir?.isEmpty !== true) return ENOTEMPTY;
  inode.nlink = 0;
  dir.nlink -= 1;
  touchChanged(inode);
  leave(cx, dir, dentry);
  return 0;
}

/** Differs from Linux: RENAME_WHITEOUT is refused, since no overlayfs needs it. */
function rename(cx: Cx, oldDir: Inode, old: Dentry, newDir: Inode, target: Dentry, flags: number): Result<0> {
  const source = old.inode;
  if (source === null) return ENOENT;
  if ((flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE)) !== 0) return EINVAL;
  const displaced = target.inode;
  if ((flags & RENAME_EXCHANGE) !== 0) return exchange(oldDir, old, newDir, target);
  if (displaced?.isDirectory === true && nodeOf(displaced).dir?.isEmpty !== true) return ENOTEMPTY;
  nodeOf(oldDir).dir?.remove(old);
  oldDir.size -= BOGO_DIRENT_SIZE;
  if (displaced === null) {
    nodeOf(newDir).dir?.add(old);
    newDir.size += BOGO_DIRENT_SIZE;
  } else {
    nodeOf(newDir).dir?.replace(target, old);
    displaced.nlink -= displaced.isDirectory ? displaced.nlink : 1;
    if (displaced.isDirectory) newDir.nlink -= 1;
    touchChanged(displaced);
    dput(cx, target);
  }
  if (source.isDirectory) {
    oldDir.nlink -= 1;
    newDir.nlink += 1;
  }
  touchModified(oldDir);
  touchModified(newDir);
  touchChanged(source);
  return 0;
}

function exchange(oldDir: Inode, old: Dentry, newDir: Inode, target: Dentry): Result<0> {
  const [a, b] = [old.inode, target.inode];
  if (a === null || b === null) return ENOENT;
  const [from, to] = [nodeOf(oldDir).dir, nodeOf(newDir).dir];
  if (from === to) from?.swap(old, target);
  else {
    from?.replace(old, target);
    to?.replace(target, old);
  }
  if (oldDir !== newDir && a.isDirectory !== b.isDirectory) {
    const by = a.isDirectory ? 1 : -1;
    oldDir.nlink -= by;
    newDir.nlink += by;
  }
  for (const dir of [oldDir, newDir]) touchModified(dir);
  for (const inode of [a, b]) touchChanged(inode);
  return 0;
}

function tmpfile(cx: Cx, dir: Inode, mode: number): Result<Inode> {
  const made = shmem_get_inode(cx, dir.sb, dir, mode | S.IFREG);
  if (!isErr(made)) made.nlink = 0;
  return made;
}

function setattr(_cx: Cx, dentry: Dentry, attributes: Attributes): Result<0> {
  const { inode } = dentry;
  if (inode === null) return ENOENT;
  const { size } = attributes;
  if (size !== undefined && inode.isRegular) {
    const { seals } = nodeOf(inode);
    if (size < inode.size && (seals & F_SEAL.SHRINK) !== 0) return EPERM;
    if (size > inode.size && (seals & F_SEAL.GROW) !== 0) return EPERM;
    const old = inode.size;
    inode.size = size;
    if (size < old && inode.pages instanceof ShmemPages) inode.pages.truncate(size);
  }
  setattr_copy(inode, attributes);
  return 0;
}

function setxattr(_cx: Cx, dentry: Dentry, name: string, value: Uint8Array | null, flags: number): Result<0> {
  const { inode } = dentry;
  if (inode === null) return ENOENT;
  const node = nodeOf(inode);
  const has = node.xattrs?.has(name) === true;
  if (has && (flags & XATTR.CREATE) !== 0) return EEXIST;
  if (!has && ((flags & XATTR.REPLACE) !== 0 || value === null)) return ENODATA;
  if (value === null) node.xattrs?.delete(name);
  else {
    node.xattrs ??= new Map();
    node.xattrs.set(name, value.slice());
  }
  touchChanged(inode);
  return 0;
}

const COMMON: InodeOperations = {
  setattr,
  setxattr,
  listxattr: (_cx, dentry) =>
    dentry.inode === null ? ENOENT : [...(nodeOf(dentry.inode).xattrs?.keys() ?? [])],
  getxattr: (_cx, dentry, name) =>
    dentry.inode === null ? ENOENT : (nodeOf(dentry.inode).xattrs?.get(name) ?? ENODATA),
};

export const shmem_inode_operations: InodeOperations = COMMON;

export const shmem_symlink_inode_operations: InodeOperations = {
  ...COMMON,
  get_link: (_cx, _dentry, inode) => nodeOf(inode).target ?? EINVAL,
};

export const shmem_dir_inode_operations: InodeOperations = {
  ...COMMON,
  // Every name of tmpfs is in the cache, pinned: what is not there does not exist.
  lookup: () => null,
  create: (cx, dir, dentry, mode) => mknod(cx, dir, dentry, mode | S.IFREG, 0),
  mknod,
  mkdir,
  symlink,
  link,
  unlink,
  rmdir,
  rename,
  tmpfile,
};

/** The last reference to an inode is gone. */
export function evictTmpInode(sb: SuperBlock, inode: Inode): void {
  if (inode.pages instanceof ShmemPages) inode.pages.free();
  infoOf(sb).usedInodes -= 1;
}
