/**
 * Making, removing and renaming names in directories that were found: the vfs_* functions, which check and call the file system
 * (Linux: fs/namei.c). The walk is done before, by namei-ops.ts and open.ts.
 */
import {
  CAP,
  EACCES,
  EBUSY,
  EMLINK,
  ENOENT,
  ENOMEM,
  EPERM,
  EXDEV,
  bool,
  isErr,
  type KAddr,
  ptr,
  RENAME_EXCHANGE,
  type Result,
  S,
  s32,
  u16,
  u32,
} from "@alien-ts/abi";
import { capable } from "../core/cred.ts";
import type { Cx } from "../core/cx.ts";
import { type Owned, ownerPtr } from "../core/owner.ts";
import { kernelFn } from "../core/row.ts";
import { allocName, d_delete, d_exchange, d_move, type Dentry, dentryp } from "./dentry.ts";
import { filenamep } from "./filename.ts";
import { type Inode, inodep, MAY, touchChanged } from "./inode.ts";
import { stackAlloc } from "./path.ts";
import { idmap, inode_permission, may_create, may_delete } from "./permission.ts";
import { renamedata } from "./structs.ts";

const MAX_LINKS = 0x7fff_ffff;

export const vfs_create = kernelFn(
  "vfs_create",
  [
    ["idmap", idmap],
    ["dir", inodep],
    ["dentry", dentryp],
    ["mode", u16],
    ["want_excl", bool],
  ],
  s32,
  (cx, _idmap, dir, dentry, mode, _wantExcl) => {
    const allowed = may_create(cx, dir, dentry);
    if (isErr(allowed)) return allowed;
    if (dir.i_op.create === undefined) return EACCES;
    return dir.i_op.create(cx, dir, dentry, (mode & 0o7777) | S.IFREG);
  },
);

export const vfs_mkdir = kernelFn(
  "vfs_mkdir",
  [
    ["idmap", idmap],
    ["dir", inodep],
    ["dentry", dentryp],
    ["mode", u16],
  ],
  dentryp,
  (cx, _idmap, dir, dentry, mode) => {
    const allowed = may_create(cx, dir, dentry);
    if (isErr(allowed)) return allowed;
    if (dir.i_op.mkdir === undefined) return EPERM;
    if (dir.nlink >= MAX_LINKS) return EMLINK;
    const made = dir.i_op.mkdir(cx, dir, dentry, (mode & (0o777 | S.ISVTX)) | S.IFDIR);
    return isErr(made) ? made : dentry;
  },
);

export const vfs_mknod = kernelFn(
  "vfs_mknod",
  [
    ["idmap", idmap],
    ["dir", inodep],
    ["dentry", dentryp],
    ["mode", u16],
    ["dev", u32],
  ],
  s32,
  (cx, _idmap, dir, dentry, mode, dev) => {
    const isDevice = (mode & S.IFMT) === S.IFCHR || (mode & S.IFMT) === S.IFBLK;
    const allowed = may_create(cx, dir, dentry);
    if (isErr(allowed)) return allowed;
    if (isDevice && !capable(cx, CAP.MKNOD)) return EPERM;
    if (dir.i_op.mknod === undefined) return EPERM;
    return dir.i_op.mknod(cx, dir, dentry, mode, dev);
  },
);

export const vfs_symlink = kernelFn(
  "vfs_symlink",
  [
    ["idmap", idmap],
    ["dir", inodep],
    ["dentry", dentryp],
    ["oldname", filenamep],
  ],
  s32,
  (cx, _idmap, dir, dentry, oldname) => {
    const allowed = may_create(cx, dir, dentry);
    if (isErr(allowed)) return allowed;
    if (dir.i_op.symlink === undefined) return EPERM;
    return dir.i_op.symlink(cx, dir, dentry, oldname.text);
  },
);

export const vfs_link = kernelFn(
  "vfs_link",
  [
    ["old_dentry", dentryp],
    ["idmap", idmap],
    ["dir", inodep],
    ["new_dentry", dentryp],
    ["delegated_inode", ptr("void")],
  ],
  s32,
  (cx, old, _idmap, dir, fresh, _delegated) => {
    const { inode } = old;
    if (inode === null) return ENOENT;
    const allowed = may_create(cx, dir, fresh);
    if (isErr(allowed)) return allowed;
    if (dir.sb !== inode.sb) return EXDEV;
    if (dir.i_op.link === undefined || inode.isDirectory) return EPERM;
    if (inode.nlink === 0 && !inode.canLink) return ENOENT;
    if (inode.nlink >= MAX_LINKS) return EMLINK;
    return dir.i_op.link(cx, old, dir, fresh);
  },
);

export const vfs_unlink = kernelFn(
  "vfs_unlink",
  [
    ["idmap", idmap],
    ["dir", inodep],
    ["dentry", dentryp],
    ["delegated_inode", ptr("void")],
  ],
  s32,
  (cx, _idmap, dir, dentry, _delegated) => {
    const allowed = may_delete(cx, dir, dentry, false);
    if (isErr(allowed)) return allowed;
    if (dir.i_op.unlink === undefined) return EPERM;
    if (dentry.mounts > 0) return EBUSY;
    const { inode } = dentry;
    const done = dir.i_op.unlink(cx, dir, dentry);
    if (isErr(done)) return done;
    if (inode !== null) touchChanged(inode);
    d_delete(cx, dentry);
    return 0;
  },
);

export const vfs_rmdir = kernelFn(
  "vfs_rmdir",
  [
    ["idmap", idmap],
    ["dir", inodep],
    ["dentry", dentryp],
  ],
  s32,
  (cx, _idmap, dir, dentry) => {
    const allowed = may_delete(cx, dir, dentry, true);
    if (isErr(allowed)) return allowed;
    if (dir.i_op.rmdir === undefined) return EPERM;
    if (dentry.mounts > 0) return EBUSY;
    const done = dir.i_op.rmdir(cx, dir, dentry);
    if (isErr(done)) return done;
    d_delete(cx, dentry);
    return 0;
  },
);

/** Linux: struct renamedata, on the stack of the one who renames. */
export class RenameData implements Owned {
  readonly addr: KAddr;
  readonly oldParent: Dentry;
  readonly old: Dentry;
  readonly newParent: Dentry;
  readonly target: Dentry;
  readonly flags: number;

  constructor(
    cx: Cx,
    fields: { oldParent: Dentry; old: Dentry; newParent: Dentry; target: Dentry; flags: number },
  ) {
    const { layout, mem } = cx.kernel;
    this.addr = stackAlloc(cx, layout.size(renamedata));
    this.oldParent = fields.oldParent;
    this.old = fields.old;
    this.newParent = fields.newParent;
    this.target = fields.target;
    this.flags = fields.flags;
    const view = new (layout.view(renamedata))(mem, this.addr);
    view.old_parent = this.oldParent.addr;
    view.old_dentry = this.old.addr;
    view.new_parent = this.newParent.addr;
    view.new_dentry = this.target.addr;
    view.flags = this.flags;
  }
}

export const vfs_rename = kernelFn(
  "vfs_rename",
  [["rd", ownerPtr<RenameData>("renamedata")]],
  s32,
  (cx, rd) => {
    const { old, target, flags } = rd;
    const source = old.inode;
    const oldDir = rd.oldParent.inode;
    const newDir = rd.newParent.inode;
    if (source === null || oldDir === null || newDir === null) return ENOENT;
    if (source === target.inode) return 0;
    const allowed = mayRename(cx, oldDir, newDir, old, target, flags);
    if (isErr(allowed)) return allowed;
    if (oldDir.i_op.rename === undefined) return EPERM;
    if (source.isDirectory && oldDir !== newDir) {
      const writable = inode_permission(cx, cx.kernel.vfs.nopIdmap, source, MAY.WRITE);
      if (isErr(writable)) return writable;
    }
    if (old.mounts > 0 || target.mounts > 0) return EBUSY;
    return moveName(cx, { oldDir, old, newDir, target, flags });
  },
);

/** The file system's rename, then the dentries'. What can fail comes first. */
function moveName(
  cx: Cx,
  {
    oldDir,
    old,
    newDir,
    target,
    flags,
  }: { oldDir: Inode; old: Dentry; newDir: Inode; target: Dentry; flags: number },
): Result<0> {
  const isExchange = (flags & RENAME_EXCHANGE) !== 0;
  const text = isExchange ? 0 : allocName(cx.kernel, target.name);
  if (text === 0 && !isExchange) return ENOMEM;
  const done = oldDir.i_op.rename?.(cx, oldDir, old, newDir, target, flags) ?? EPERM;
  if (isErr(done)) {
    cx.kernel.kmalloc.kfree(text);
    return done;
  }
  if (isExchange) d_exchange(old, target);
  else d_move(cx, old, target, text);
  return 0;
}

function mayRename(
  cx: Cx,
  oldDir: Inode,
  newDir: Inode,
  old: Dentry,
  target: Dentry,
  flags: number,
): Result<0> {
  const isDirectory = old.inode?.isDirectory === true;
  const removable = may_delete(cx, oldDir, old, isDirectory);
  if (isErr(removable)) return removable;
  if (target.inode === null) return may_create(cx, newDir, target);
  const targetIsDirectory = (flags & RENAME_EXCHANGE) !== 0 ? target.inode.isDirectory : isDirectory;
  return may_delete(cx, newDir, target, targetIsDirectory);
}
