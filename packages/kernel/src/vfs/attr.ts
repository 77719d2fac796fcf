/**
 * Changing attributes (Linux: fs/attr.c, fs/open.c, fs/utimes.c): `notify_change` checks who may and calls the file system; the
 * *_common functions are the bodies of chmod, chown, utimensat and truncate.
 */
import {
  CAP,
  EFBIG,
  EINVAL,
  EISDIR,
  ENOENT,
  EOPNOTSUPP,
  EPERM,
  EROFS,
  ETXTBSY,
  isErr,
  type KAddr,
  loff_t,
  ptr,
  type Result,
  RLIMIT,
  S,
  s32,
  SI,
  SIG,
  u16,
  u32,
} from "@alien-ts/abi";
import type { RealTime } from "../core/clock.ts";
import { capable } from "../core/cred.ts";
import type { Cx } from "../core/cx.ts";
import { type Owned, ownerPtr } from "../core/owner.ts";
import { kernelFn } from "../core/row.ts";
import { sendToTask, siginfo } from "../task/signal.ts";
import { type Dentry, dentryp } from "./dentry.ts";
import { type File, fileOrNull } from "./file.ts";
import { type Attributes, type Inode, MAY, setattr_copy } from "./inode.ts";
import type { PathRef } from "./mount.ts";
import { type Path, pathp, stackAlloc, stackPath } from "./path.ts";
import { idmap, inode_permission, isOwnerOrCapable, mnt_want_write } from "./permission.ts";
import { iattr } from "./structs.ts";

/** ia_valid (include/linux/fs.h). */
export const ATTR = {
  MODE: 1,
  UID: 2,
  GID: 4,
  SIZE: 8,
  ATIME: 0x10,
  MTIME: 0x20,
  CTIME: 0x40,
  ATIME_SET: 0x80,
  MTIME_SET: 0x100,
  FILE: 0x2000,
} as const;

/** Linux: struct iattr on the caller's stack. */
export class Iattr implements Owned {
  readonly addr: KAddr;
  readonly attributes: Attributes;

  constructor(cx: Cx, attributes: Attributes, file: File | null) {
    const { layout, mem } = cx.kernel;
    this.addr = stackAlloc(cx, layout.size(iattr));
    this.attributes = attributes;
    const view = new (layout.view(iattr))(mem, this.addr);
    view.ia_valid = validBits(attributes);
    view.ia_mode = attributes.mode ?? 0;
    view.ia_uid.val = attributes.uid ?? 0;
    view.ia_gid.val = attributes.gid ?? 0;
    view.ia_size = attributes.size ?? 0;
    view.ia_file = file?.addr ?? 0;
    for (const [field, time] of [
      [view.ia_atime, attributes.atime],
      [view.ia_mtime, attributes.mtime],
      [view.ia_ctime, attributes.ctime],
    ] as const) {
      field.tv_sec = time?.sec ?? 0;
      field.tv_nsec = time?.nsec ?? 0;
    }
  }
}

function validBits({ mode, uid, gid, size, atime, mtime, timesSet }: Attributes): number {
  let bits: number = ATTR.CTIME;
  if (mode !== undefined) bits |= ATTR.MODE;
  if (uid !== undefined) bits |= ATTR.UID;
  if (gid !== undefined) bits |= ATTR.GID;
  if (size !== undefined) bits |= ATTR.SIZE;
  if (atime !== undefined) bits |= ATTR.ATIME | (timesSet === true ? ATTR.ATIME_SET : 0);
  if (mtime !== undefined) bits |= ATTR.MTIME | (timesSet === true ? ATTR.MTIME_SET : 0);
  return bits;
}

/** Checks and makes a change of attributes. EPERM, EROFS, and what the file system answers. */
export const notify_change = kernelFn(
  "notify_change",
  [
    ["idmap", idmap],
    ["dentry", dentryp],
    ["attr", ownerPtr<Iattr>("iattr")],
    ["delegated_inode", ptr("void")],
  ],
  s32,
  (cx, _idmap, dentry, { attributes }, _delegated) => {
    const { inode } = dentry;
    if (inode === null) return ENOENT;
    const allowed = setattr_prepare(cx, inode, attributes);
    if (isErr(allowed)) return allowed;
    if (inode.i_op.setattr !== undefined) return inode.i_op.setattr(cx, dentry, attributes);
    if (attributes.size !== undefined) return EINVAL;
    setattr_copy(inode, attributes);
    return 0;
  },
);

/** Who may change what; drops the setgid bit where the caller may not keep it. Linux: setattr_prepare(). */
function setattr_prepare(cx: Cx, inode: Inode, attributes: Attributes): Result<0> {
  const { cred } = cx.task;
  const { uid, gid } = attributes;
  if (uid !== undefined && (cred.fsuid !== inode.uid || uid !== inode.uid) && !capable(cx, CAP.CHOWN))
    return EPERM;
  if (gid !== undefined) {
    const mayOwn = cred.fsuid === inode.uid && (cred.inGroup(gid) || gid === inode.gid);
    if (!mayOwn && !capable(cx, CAP.CHOWN)) return EPERM;
  }
  if (attributes.mode !== undefined) {
    if (!isOwnerOrCapable(cx, inode)) return EPERM;
    const group = gid ?? inode.gid;
    if (!cred.inGroup(group) && !capable(cx, CAP.FSETID)) attributes.mode &= ~S.ISGID;
  }
  if (attributes.timesSet === true && !isOwnerOrCapable(cx, inode)) return EPERM;
  return 0;
}

/** Runs notify_change with the struct on the stack. */
export function change(cx: Cx, dentry: Dentry, attributes: Attributes, file: File | null = null): Result<0> {
  const { ksp } = cx;
  const result = notify_change(cx, cx.kernel.vfs.nopIdmap, dentry, new Iattr(cx, attributes, file), 0);
  cx.ksp = ksp;
  return isErr(result) ? result : 0;
}

/** The mode bits that a write or truncation takes away from a file of somebody else (should_remove_suid). */
export function modeWithoutPrivileges(cx: Cx, inode: Inode): number | undefined {
  const { mode } = inode;
  const isSgid = (mode & (S.ISGID | S.IXGRP)) === (S.ISGID | S.IXGRP);
  const lost = (mode & S.ISUID) | (isSgid ? S.ISGID : 0);
  if (lost === 0 || !inode.isRegular || capable(cx, CAP.FSETID)) return undefined;
  return mode & ~lost;
}

/** Sets a file's size. EINVAL, EFBIG with SIGXFSZ. Linux: fs/open.c. */
export const do_truncate = kernelFn(
  "do_truncate",
  [
    ["idmap", idmap],
    ["dentry", dentryp],
    ["length", loff_t],
    ["time_attrs", u32],
    ["filp", fileOrNull],
  ],
  s32,
  (cx, _idmap, dentry, length, _timeAttrs, filp) => {
    const { inode } = dentry;
    if (inode === null) return ENOENT;
    if (length < 0) return EINVAL;
    if (length > inode.size) {
      const fits = checkFileSize(cx, inode, length);
      if (isErr(fits)) return fits;
    }
    const now = cx.kernel.clock.realTime();
    const attributes: Attributes = { size: length, mtime: now, ctime: now };
    const mode = modeWithoutPrivileges(cx, inode);
    if (mode === undefined) return change(cx, dentry, attributes, filp);
    const stripped = change(cx, dentry, attributes, filp);
    if (!isErr(stripped)) inode.t.i_mode = mode;
    return stripped;
  },
);

/** RLIMIT_FSIZE and the file system's limit, for a file that grows to `size`. EFBIG, with SIGXFSZ for the limit. */
export function checkFileSize(cx: Cx, inode: Inode, size: number): Result<0> {
  if (size > cx.task.process.limit(RLIMIT.FSIZE)) {
    sendToTask(cx, cx.task, siginfo(SIG.XFSZ, SI.KERNEL));
    return EFBIG;
  }
  return size > inode.sb.t.s_maxbytes ? EFBIG : 0;
}

/** truncate(2) on a place. EISDIR, EINVAL, EROFS, EACCES, ETXTBSY. */
export const vfs_truncate = kernelFn(
  "vfs_truncate",
  [
    ["path", pathp],
    ["length", loff_t],
  ],
  s32,
  (cx, path: Path, length) => {
    const { inode } = path.dentry;
    if (inode === null) return ENOENT;
    if (inode.isDirectory) return EISDIR;
    if (!inode.isRegular) return EINVAL;
    const writable = mnt_want_write(path.mnt);
    if (isErr(writable)) return writable;
    const allowed = inode_permission(cx, path.mnt.idmap, inode, MAY.WRITE);
    if (isErr(allowed)) return allowed;
    if (inode.writers < 0) return ETXTBSY;
    return do_truncate(cx, path.mnt.idmap, path.dentry, length, 0, null);
  },
);

/** Runs vfs_truncate with the path on the stack. */
export function truncatePath(cx: Cx, place: PathRef, length: number): Result<number> {
  const { ksp } = cx;
  const result = vfs_truncate(cx, stackPath(cx, place), length);
  cx.ksp = ksp;
  return result;
}

export const chmod_common = kernelFn(
  "chmod_common",
  [
    ["path", pathp],
    ["mode", u16],
  ],
  s32,
  (cx, path: Path, mode) => {
    if (path.mnt.isReadOnly) return EROFS;
    if (path.dentry.inode?.isSymlink === true) return EOPNOTSUPP;
    return change(cx, path.dentry, { mode: mode & 0o7777, ctime: cx.kernel.clock.realTime() });
  },
  { local: true },
);

const KEEP = 0xffff_ffff;

/** `user` and `group` of −1 (as u32) stay. */
export const chown_common = kernelFn(
  "chown_common",
  [
    ["path", pathp],
    ["user", u32],
    ["group", u32],
  ],
  s32,
  (cx, path: Path, user, group) => {
    const { inode } = path.dentry;
    if (inode === null) return ENOENT;
    if (path.mnt.isReadOnly) return EROFS;
    const attributes: Attributes = { ctime: cx.kernel.clock.realTime() };
    if (user !== KEEP) attributes.uid = user;
    if (group !== KEEP) attributes.gid = group;
    const mode = inode.isDirectory ? undefined : modeAfterChown(cx, inode);
    const result = change(cx, path.dentry, attributes);
    if (!isErr(result) && mode !== undefined) inode.t.i_mode = mode;
    return result;
  },
);

/** chown takes setuid and setgid away (ATTR_KILL_SUID, ATTR_KILL_SGID). */
function modeAfterChown(cx: Cx, inode: Inode): number | undefined {
  const { mode } = inode;
  const keepsSgid = (mode & S.IXGRP) === 0 && (cx.task.cred.inGroup(inode.gid) || capable(cx, CAP.FSETID));
  const lost = (mode & S.ISUID) | (keepsSgid ? 0 : mode & S.ISGID);
  return lost === 0 ? undefined : mode & ~lost;
}

/** A time of utimensat: a value, now, or as it is. */
export type TimeChange = RealTime | "now" | "omit";

/** Sets access and modification times. EACCES or EPERM as utimensat(2) says. Linux: fs/utimes.c. */
export function vfs_utimes(cx: Cx, place: PathRef, atime: TimeChange, mtime: TimeChange): Result<0> {
  const { inode } = place.dentry;
  if (inode === null) return ENOENT;
  if (place.mnt.isReadOnly) return EROFS;
  const now = cx.kernel.clock.realTime();
  const attributes: Attributes = { ctime: now };
  const isNow = atime === "now" && mtime === "now";
  if (atime !== "omit") attributes.atime = atime === "now" ? now : atime;
  if (mtime !== "omit") attributes.mtime = mtime === "now" ? now : mtime;
  if (!isNow) attributes.timesSet = true;
  else if (!isOwnerOrCapable(cx, inode)) {
    const allowed = inode_permission(cx, place.mnt.idmap, inode, MAY.WRITE);
    if (isErr(allowed)) return allowed;
  }
  return change(cx, place.dentry, attributes);
}
