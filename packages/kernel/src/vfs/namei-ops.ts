/**
 * Making, removing and renaming names (Linux: fs/namei.c): the vfs_* functions, which check and call the file system, and the
 * do_*at functions behind the system calls, which walk first. All take names that were copied from user memory.
 */
import {
  AT,
  CAP,
  EACCES,
  EBUSY,
  EEXIST,
  EINVAL,
  EISDIR,
  EMLINK,
  ENOENT,
  ENOMEM,
  ENOTDIR,
  ENOTEMPTY,
  EPERM,
  EXDEV,
  bool,
  isErr,
  type KAddr,
  ptr,
  RENAME_EXCHANGE,
  RENAME_NOREPLACE,
  RENAME_WHITEOUT,
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
import { new_decode_dev } from "./char-dev.ts";
import { allocName, d_delete, d_exchange, d_move, type Dentry, dentryp, dput, is_subdir } from "./dentry.ts";
import { type Filename, filenamep, putname } from "./filename.ts";
import { type Inode, inodep, MAY, touchChanged } from "./inode.ts";
import { path_put, type PathRef } from "./mount.ts";
import { LOOKUP, lookupDentry, lookupParent, lookupPath, type ParentRef } from "./namei.ts";
import { stackAlloc } from "./path.ts";
import { idmap, inode_permission, may_create, may_delete, mnt_want_write } from "./permission.ts";
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

/** A name that is about to be made: the parent's place and the negative child, with references. */
interface NewName extends PathRef {
  readonly parent: ParentRef;
}

/** EEXIST when the name is there, also for `.`, `..` and `/` (filename_create). */
function beginCreate(cx: Cx, dfd: number, name: Filename, isDirectory: boolean): Result<NewName> {
  const parent = lookupParent(cx, dfd, name.text);
  if (isErr(parent)) return parent;
  const child = parent.lastType === "norm" ? lookupDentry(cx, parent.dentry, parent.last) : EEXIST;
  if (isErr(child)) {
    path_put(cx, parent);
    return child;
  }
  const writable = mnt_want_write(parent.mnt);
  const refusal =
    child.inode !== null
      ? EEXIST
      : parent.hasTrailingSlash && !isDirectory
        ? ENOENT
        : isErr(writable)
          ? writable
          : undefined;
  if (refusal === undefined) return { mnt: parent.mnt, dentry: child, parent };
  dput(cx, child);
  path_put(cx, parent);
  return refusal;
}

/** Linux: done_path_create(). */
function endCreate(cx: Cx, made: NewName): void {
  dput(cx, made.dentry);
  path_put(cx, made.parent);
}

/** Makes a name by `make`, between beginCreate and endCreate; `name` is given back. */
function creating(
  cx: Cx,
  dfd: number,
  name: Filename,
  isDirectory: boolean,
  make: (dir: Inode, child: Dentry, made: NewName) => Result<unknown>,
): Result<number> {
  const begun = beginCreate(cx, dfd, name, isDirectory);
  if (isErr(begun)) {
    putname(cx, name);
    return begun;
  }
  const dir = begun.parent.dentry.inode;
  const result = dir === null ? ENOENT : make(dir, begun.dentry, begun);
  endCreate(cx, begun);
  putname(cx, name);
  return isErr(result) ? result : 0;
}

export const do_mkdirat = kernelFn(
  "do_mkdirat",
  [
    ["dfd", s32],
    ["name", filenamep],
    ["mode", u16],
  ],
  s32,
  (cx, dfd, name, mode) =>
    creating(cx, dfd, name, true, (dir, child, { mnt }) =>
      vfs_mkdir(cx, mnt.idmap, dir, child, mode & ~cx.task.fs.umask),
    ),
);

export const do_mknodat = kernelFn(
  "do_mknodat",
  [
    ["dfd", s32],
    ["name", filenamep],
    ["mode", u16],
    ["dev", u32],
  ],
  s32,
  (cx, dfd, name, mode, dev) => {
    const type = (mode & S.IFMT) === 0 ? S.IFREG : mode & S.IFMT;
    const refusal = type === S.IFDIR ? EPERM : mknodTypes.includes(type) ? undefined : EINVAL;
    if (refusal !== undefined) {
      putname(cx, name);
      return refusal;
    }
    const bits = mode & ~cx.task.fs.umask & 0o7777;
    return creating(cx, dfd, name, false, (dir, child, { mnt }) => {
      const map = mnt.idmap;
      if (type === S.IFREG) return vfs_create(cx, map, dir, child, bits | type, true);
      const isDevice = type === S.IFCHR || type === S.IFBLK;
      return vfs_mknod(cx, map, dir, child, bits | type, isDevice ? new_decode_dev(dev) : 0);
    });
  },
);

const mknodTypes: readonly number[] = [S.IFREG, S.IFCHR, S.IFBLK, S.IFIFO, S.IFSOCK];

export const do_symlinkat = kernelFn(
  "do_symlinkat",
  [
    ["from", filenamep],
    ["newdfd", s32],
    ["to", filenamep],
  ],
  s32,
  (cx, from, newdfd, to) => {
    const result = creating(cx, newdfd, to, false, (dir, child, { mnt }) =>
      vfs_symlink(cx, mnt.idmap, dir, child, from),
    );
    putname(cx, from);
    return result;
  },
);

export const do_linkat = kernelFn(
  "do_linkat",
  [
    ["olddfd", s32],
    ["old", filenamep],
    ["newdfd", s32],
    ["new", filenamep],
    ["flags", s32],
  ],
  s32,
  (cx, olddfd, old, newdfd, fresh, flags) => {
    const result = linkBetween(cx, olddfd, old, newdfd, fresh, flags);
    putname(cx, old);
    return result;
  },
);

function linkBetween(
  cx: Cx,
  olddfd: number,
  old: Filename,
  newdfd: number,
  fresh: Filename,
  flags: number,
): Result<number> {
  if ((flags & ~(AT.SYMLINK_FOLLOW | AT.EMPTY_PATH)) !== 0) {
    putname(cx, fresh);
    return EINVAL;
  }
  const isByFd = (flags & AT.EMPTY_PATH) !== 0 && old.text === "";
  const source =
    isByFd && !mayLinkFd(cx, olddfd)
      ? ENOENT
      : lookupPath(cx, olddfd, old, (flags & AT.SYMLINK_FOLLOW) !== 0 ? LOOKUP.FOLLOW : 0);
  if (isErr(source)) {
    putname(cx, fresh);
    return source;
  }
  const result = creating(cx, newdfd, fresh, false, (dir, child, { mnt }) =>
    mnt !== source.mnt ? EXDEV : vfs_link(cx, source.dentry, mnt.idmap, dir, child, 0),
  );
  path_put(cx, source);
  return result;
}

/** AT_EMPTY_PATH: CAP_DAC_READ_SEARCH, or whoever opened the descriptor with the same credentials. */
function mayLinkFd(cx: Cx, fd: number): boolean {
  const file = cx.task.files.get(fd);
  return capable(cx, CAP.DAC_READ_SEARCH) || file?.cred === cx.task.cred;
}

export const do_unlinkat = kernelFn(
  "do_unlinkat",
  [
    ["dfd", s32],
    ["name", filenamep],
  ],
  s32,
  (cx, dfd, name) => removing(cx, dfd, name, { dot: EISDIR, dotdot: EISDIR, root: EISDIR }, unlinkChild),
);

export const do_rmdir = kernelFn(
  "do_rmdir",
  [
    ["dfd", s32],
    ["name", filenamep],
  ],
  s32,
  (cx, dfd, name) =>
    removing(cx, dfd, name, { dot: EINVAL, dotdot: ENOTEMPTY, root: EBUSY }, (cxNow, parent, dir, child) =>
      vfs_rmdir(cxNow, parent.mnt.idmap, dir, child),
    ),
);

function unlinkChild(cx: Cx, parent: ParentRef, dir: Inode, child: Dentry): Result<number> {
  if (parent.hasTrailingSlash) return child.inode?.isDirectory === true ? EISDIR : ENOTDIR;
  return vfs_unlink(cx, parent.mnt.idmap, dir, child, 0);
}

function removing(
  cx: Cx,
  dfd: number,
  name: Filename,
  special: Readonly<Record<"dot" | "dotdot" | "root", Result<never>>>,
  remove: (cx: Cx, parent: ParentRef, dir: Inode, child: Dentry) => Result<number>,
): Result<number> {
  const parent = lookupParent(cx, dfd, name.text);
  if (isErr(parent)) {
    putname(cx, name);
    return parent;
  }
  let result: Result<number>;
  if (parent.lastType !== "norm") result = special[parent.lastType];
  else {
    const writable = mnt_want_write(parent.mnt);
    const child = lookupDentry(cx, parent.dentry, parent.last);
    const dir = parent.dentry.inode;
    if (isErr(child)) result = child;
    else {
      if (child.inode === null || dir === null) result = ENOENT;
      else result = isErr(writable) ? writable : remove(cx, parent, dir, child);
      dput(cx, child);
    }
  }
  path_put(cx, parent);
  putname(cx, name);
  return result;
}

export const do_renameat2 = kernelFn(
  "do_renameat2",
  [
    ["olddfd", s32],
    ["from", filenamep],
    ["newdfd", s32],
    ["to", filenamep],
    ["flags", u32],
  ],
  s32,
  (cx, olddfd, from, newdfd, to, flags) => {
    const result = renameNames(cx, olddfd, from, newdfd, to, flags);
    putname(cx, from);
    putname(cx, to);
    return result;
  },
);

const RENAME_FLAGS = RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT;

function renameNames(
  cx: Cx,
  olddfd: number,
  from: Filename,
  newdfd: number,
  to: Filename,
  flags: number,
): Result<number> {
  if ((flags & ~RENAME_FLAGS) !== 0) return EINVAL;
  if ((flags & RENAME_EXCHANGE) !== 0 && (flags & (RENAME_NOREPLACE | RENAME_WHITEOUT)) !== 0) return EINVAL;
  const oldParent = lookupParent(cx, olddfd, from.text);
  if (isErr(oldParent)) return oldParent;
  const newParent = lookupParent(cx, newdfd, to.text);
  if (isErr(newParent)) {
    path_put(cx, oldParent);
    return newParent;
  }
  const result = renameBetween(cx, oldParent, newParent, flags);
  path_put(cx, newParent);
  path_put(cx, oldParent);
  return result;
}

function renameBetween(cx: Cx, oldParent: ParentRef, newParent: ParentRef, flags: number): Result<number> {
  if (oldParent.mnt !== newParent.mnt) return EXDEV;
  if (oldParent.lastType !== "norm") return EBUSY;
  if (newParent.lastType !== "norm") return (flags & RENAME_NOREPLACE) !== 0 ? EEXIST : EBUSY;
  const writable = mnt_want_write(oldParent.mnt);
  if (isErr(writable)) return writable;
  const old = lookupDentry(cx, oldParent.dentry, oldParent.last);
  if (isErr(old)) return old;
  const target = lookupDentry(cx, newParent.dentry, newParent.last);
  if (isErr(target)) {
    dput(cx, old);
    return target;
  }
  const refusal = checkRename(oldParent, old, newParent, target, flags);
  let result: Result<number>;
  if (isErr(refusal)) result = refusal;
  else {
    const { ksp } = cx;
    const fields = { oldParent: oldParent.dentry, old, newParent: newParent.dentry, target, flags };
    result = vfs_rename(cx, new RenameData(cx, fields));
    cx.ksp = ksp;
  }
  dput(cx, target);
  dput(cx, old);
  return result;
}

/** What do_renameat2 checks between the look-ups and vfs_rename. */
function checkRename(
  oldParent: ParentRef,
  old: Dentry,
  newParent: ParentRef,
  target: Dentry,
  flags: number,
): Result<0> {
  if (old.inode === null) return ENOENT;
  if ((flags & RENAME_NOREPLACE) !== 0 && target.inode !== null) return EEXIST;
  if ((flags & RENAME_EXCHANGE) !== 0) {
    if (target.inode === null) return ENOENT;
    if (!target.inode.isDirectory && newParent.hasTrailingSlash) return ENOTDIR;
  }
  if (!old.inode.isDirectory) {
    if (oldParent.hasTrailingSlash) return ENOTDIR;
    if ((flags & RENAME_EXCHANGE) === 0 && newParent.hasTrailingSlash) return ENOTDIR;
  }
  // A directory must not become its own descendant.
  if (is_subdir(newParent.dentry, old)) return EINVAL;
  if (target.inode !== null && is_subdir(oldParent.dentry, target))
    return (flags & RENAME_EXCHANGE) !== 0 ? EINVAL : ENOTEMPTY;
  return 0;
}
