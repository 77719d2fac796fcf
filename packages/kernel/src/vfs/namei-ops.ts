/**
 * Making, removing and renaming names (Linux: fs/namei.c): the do_*at functions behind the system calls, which walk and then call
 * the vfs_* functions of vfs-names.ts. All take names that were copied from user memory.
 */
import {
  AT,
  CAP,
  EBUSY,
  EEXIST,
  EINVAL,
  EISDIR,
  ENOENT,
  ENOTDIR,
  ENOTEMPTY,
  EPERM,
  EXDEV,
  isErr,
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
import { kernelFn } from "../core/row.ts";
import { new_decode_dev } from "./char-dev.ts";
import { type Dentry, dput, is_subdir } from "./dentry.ts";
import { type Filename, filenamep, putname } from "./filename.ts";
import { type Inode } from "./inode.ts";
import { path_put, type PathRef } from "./mount.ts";
import { LOOKUP, lookupDentry, lookupParent, lookupPath, type ParentRef } from "./namei.ts";
import {
  RenameData,
  vfs_create,
  vfs_link,
  vfs_mkdir,
  vfs_mknod,
  vfs_rename,
  vfs_rmdir,
  vfs_symlink,
  vfs_unlink,
} from "./vfs-names.ts";
import { mnt_want_write } from "./permission.ts";

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
