/**
 * Access checks (Linux: fs/namei.c, fs/attr.c): mode bits, capabilities, read-only file systems, sticky directories.
 */
import {
  CAP,
  EACCES,
  EEXIST,
  EISDIR,
  ENOENT,
  ENOTDIR,
  EPERM,
  EROFS,
  EBUSY,
  isErr,
  ptr,
  type Result,
  S,
  s32,
} from "@alien-ts/abi";
import { capable } from "../core/cred.ts";
import type { Cx } from "../core/cx.ts";
import { kernelFn } from "../core/row.ts";
import type { Dentry } from "./dentry.ts";
import { type Inode, inodep, MAY } from "./inode.ts";
import type { Mount } from "./mount.ts";

export const idmap = ptr("mnt_idmap");

const MAY_MASK = MAY.READ | MAY.WRITE | MAY.EXEC;

/** Whether the current task may access the inode as `mask` (of MAY) says. EACCES, EROFS. */
export const inode_permission = kernelFn(
  "inode_permission",
  [
    ["idmap", idmap],
    ["inode", inodep],
    ["mask", s32],
  ],
  s32,
  (cx, _idmap, inode, mask) => {
    const hasContents = inode.isRegular || inode.isDirectory || inode.isSymlink;
    if ((mask & MAY.WRITE) !== 0 && hasContents && inode.sb.isReadOnly) return EROFS;
    const { permission } = inode.i_op;
    return permission === undefined ? generic_permission(cx, 0, inode, mask) : permission(cx, inode, mask);
  },
);

/** Mode bits, then CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH. */
export const generic_permission = kernelFn(
  "generic_permission",
  [
    ["idmap", idmap],
    ["inode", inodep],
    ["mask", s32],
  ],
  s32,
  (cx, _idmap, inode, mask) => {
    const wanted = mask & MAY_MASK;
    if ((wanted & ~modeFor(cx, inode)) === 0) return 0;
    if (inode.isDirectory) {
      if ((wanted & MAY.WRITE) === 0 && capable(cx, CAP.DAC_READ_SEARCH)) return 0;
      return capable(cx, CAP.DAC_OVERRIDE) ? 0 : EACCES;
    }
    if (wanted === MAY.READ && capable(cx, CAP.DAC_READ_SEARCH)) return 0;
    const isExecutable = (inode.mode & 0o111) !== 0;
    if (((wanted & MAY.EXEC) === 0 || isExecutable) && capable(cx, CAP.DAC_OVERRIDE)) return 0;
    return EACCES;
  },
);

/** The rwx bits that apply to the current task: owner's, group's or others'. */
function modeFor(cx: Cx, inode: Inode): number {
  const { cred } = cx.task;
  const { mode } = inode;
  if (cred.fsuid === inode.uid) return (mode >> 6) & 7;
  return cred.inGroup(inode.gid) ? (mode >> 3) & 7 : mode & 7;
}

/** The owner, or CAP_FOWNER (inode_owner_or_capable). */
export const isOwnerOrCapable = (cx: Cx, inode: Inode): boolean =>
  cx.task.cred.fsuid === inode.uid || capable(cx, CAP.FOWNER);

/** EROFS where nothing may be written (mnt_want_write). */
export const mnt_want_write = (mnt: Mount): Result<0> => (mnt.isReadOnly ? EROFS : 0);

/** Only owners of file or directory may remove from a sticky directory. */
function check_sticky(cx: Cx, dir: Inode, inode: Inode): boolean {
  if ((dir.mode & S.ISVTX) === 0) return false;
  const { fsuid } = cx.task.cred;
  return inode.uid !== fsuid && dir.uid !== fsuid && !capable(cx, CAP.FOWNER);
}

/** Whether a name may be made in `dir`. EEXIST, ENOENT for a removed directory, EACCES. */
export function may_create(cx: Cx, dir: Inode, child: Dentry): Result<0> {
  if (child.inode !== null) return EEXIST;
  if (isDead(dir)) return ENOENT;
  const allowed = inode_permission(cx, cx.kernel.vfs.nopIdmap, dir, MAY.WRITE | MAY.EXEC);
  return isErr(allowed) ? allowed : 0;
}

/** Whether a name may be removed from `dir`. ENOENT, EACCES, EPERM, ENOTDIR, EISDIR, EBUSY. */
export function may_delete(cx: Cx, dir: Inode, victim: Dentry, isDirectory: boolean): Result<0> {
  const { inode } = victim;
  if (inode === null) return ENOENT;
  const allowed = inode_permission(cx, cx.kernel.vfs.nopIdmap, dir, MAY.WRITE | MAY.EXEC);
  if (isErr(allowed)) return allowed;
  if (check_sticky(cx, dir, inode)) return EPERM;
  if (isDirectory) {
    if (!inode.isDirectory) return ENOTDIR;
    if (victim.isRoot) return EBUSY;
  } else if (inode.isDirectory) return EISDIR;
  return isDead(dir) ? ENOENT : 0;
}

/** IS_DEADDIR: a directory that was removed while someone holds it. */
export const isDead = (dir: Inode): boolean => dir.isDirectory && dir.nlink === 0;
