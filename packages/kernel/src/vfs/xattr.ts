/**
 * Extended attributes (Linux: fs/xattr.c): who may read and write which name space, and the calls into the file system.
 * Names are byte strings with their prefix ("user.mime_type").
 */
import {
  CAP,
  E2BIG,
  EACCES,
  ENODATA,
  ENOENT,
  EOPNOTSUPP,
  EPERM,
  EROFS,
  isErr,
  type Result,
  S,
} from "@alien-ts/abi";
import { capable } from "../core/cred.ts";
import type { Cx } from "../core/cx.ts";
import type { Dentry } from "./dentry.ts";
import { type Inode, MAY } from "./inode.ts";
import type { PathRef } from "./mount.ts";
import { inode_permission, isOwnerOrCapable } from "./permission.ts";

export const XATTR = { CREATE: 1, REPLACE: 2 } as const;
export const XATTR_NAME_MAX = 255;
export const XATTR_SIZE_MAX = 65_536;
export const XATTR_LIST_MAX = 65_536;

/** Linux: xattr_permission(). */
function xattrPermission(cx: Cx, inode: Inode, name: string, mask: number): Result<0> {
  const writes = (mask & MAY.WRITE) !== 0;
  if (writes && inode.sb.isReadOnly) return EROFS;
  if (name.startsWith("security.") || name.startsWith("system.")) return 0;
  if (name.startsWith("trusted.")) {
    if (capable(cx, CAP.SYS_ADMIN)) return 0;
    return writes ? EPERM : ENODATA;
  }
  if (name.startsWith("user.")) {
    if (!inode.isRegular && !inode.isDirectory) return writes ? EPERM : ENODATA;
    const isSticky = inode.isDirectory && (inode.mode & S.ISVTX) !== 0;
    if (isSticky && writes && !isOwnerOrCapable(cx, inode)) return EPERM;
  }
  const allowed = inode_permission(cx, cx.kernel.vfs.nopIdmap, inode, mask);
  return isErr(allowed) ? allowed : 0;
}

const HAS_HANDLER = /^(user|trusted|security)\../s;

export function vfs_getxattr(cx: Cx, dentry: Dentry, name: string): Result<Uint8Array> {
  const { inode } = dentry;
  if (inode === null) return ENOENT;
  const allowed = xattrPermission(cx, inode, name, MAY.READ);
  if (isErr(allowed)) return allowed;
  if (inode.i_op.getxattr === undefined || !HAS_HANDLER.test(name)) return EOPNOTSUPP;
  return inode.i_op.getxattr(cx, dentry, name);
}

/** `value` null removes. */
export function vfs_setxattr(
  cx: Cx,
  place: PathRef,
  name: string,
  value: Uint8Array | null,
  flags: number,
): Result<0> {
  const { inode } = place.dentry;
  if (inode === null) return ENOENT;
  if (place.mnt.isReadOnly) return EROFS;
  const allowed = xattrPermission(cx, inode, name, MAY.WRITE);
  if (isErr(allowed)) return allowed;
  if (name.startsWith("security.") && !capable(cx, CAP.SYS_ADMIN)) return EPERM;
  if (value !== null && value.length > XATTR_SIZE_MAX) return E2BIG;
  if (inode.i_op.setxattr === undefined || !HAS_HANDLER.test(name)) return EOPNOTSUPP;
  return inode.i_op.setxattr(cx, place.dentry, name, value, flags);
}

/** Names that the task may see. */
export function vfs_listxattr(cx: Cx, dentry: Dentry): Result<readonly string[]> {
  const { inode } = dentry;
  if (inode === null) return EACCES;
  const names = inode.i_op.listxattr?.(cx, dentry) ?? [];
  if (isErr(names)) return names;
  return capable(cx, CAP.SYS_ADMIN) ? names : names.filter((name) => !name.startsWith("trusted."));
}
