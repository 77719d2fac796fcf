/** The twelve extended attribute calls. Linux: fs/xattr.c. */
import { AT, E2BIG, EFAULT, EINVAL, ERANGE, isErr, NR, type Result, type UAddr } from "@alien-ts/abi";
import type { Cx } from "../core/cx.ts";
import { int, sizeArg, syscall, userPointer } from "../core/syscall.ts";
import { copyBytesToUser, readUserBytes } from "../mm/uaccess.ts";
import type { MaybeBlocking } from "../vfs/blocking.ts";
import { bytesOf } from "../vfs/dentry.ts";
import { path_put, type PathRef } from "../vfs/mount.ts";
import { LOOKUP, userPath } from "../vfs/namei.ts";
import { withFile } from "../vfs/read-write.ts";
import { getString, userMm } from "../vfs/user.ts";
import {
  vfs_getxattr,
  vfs_listxattr,
  vfs_setxattr,
  XATTR,
  XATTR_LIST_MAX,
  XATTR_NAME_MAX,
  XATTR_SIZE_MAX,
} from "../vfs/xattr.ts";

const PATH = ["path", userPointer("const char")] as const;
const NAME = ["name", userPointer("const char")] as const;
const FD = ["fd", int] as const;
const SIZE = ["size", sizeArg] as const;
const SET = [NAME, ["value", userPointer("const void")], SIZE, ["flags", int]] as const;
const GET = [NAME, ["value", userPointer("void")], SIZE] as const;
const LIST = [["list", userPointer("char")], SIZE] as const;

/** How a call names its file: by path, followed or not, or by descriptor. */
type Target = { readonly path: UAddr; readonly follow: boolean } | { readonly fd: number };

function onTarget(
  cx: Cx,
  target: Target,
  body: (place: PathRef) => Result<number>,
): MaybeBlocking<Result<number>> {
  if ("fd" in target) return withFile(cx, target.fd, (file) => body(file.path));
  const place = userPath(cx, AT.FDCWD, target.path, target.follow ? LOOKUP.FOLLOW : 0);
  if (isErr(place)) return place;
  const result = body(place);
  path_put(cx, place);
  return result;
}

/** ERANGE for an empty name and one of more than 255 bytes. */
function readName(cx: Cx, from: UAddr): Result<string> {
  const name = getString(cx, from, XATTR_NAME_MAX + 1, ERANGE);
  return name === "" ? ERANGE : name;
}

interface Value {
  readonly name: UAddr;
  readonly value: UAddr;
  readonly size: number;
}

function set(
  cx: Cx,
  target: Target,
  { name, value, size }: Value,
  flags: number,
): MaybeBlocking<Result<number>> {
  if ((flags & ~(XATTR.CREATE | XATTR.REPLACE)) !== 0) return EINVAL;
  const key = readName(cx, name);
  if (isErr(key)) return key;
  if (size > XATTR_SIZE_MAX) return E2BIG;
  const bytes = size === 0 ? new Uint8Array(0) : readUserBytes(userMm(cx), value, size);
  if (isErr(bytes)) return bytes;
  return onTarget(cx, target, (place) => vfs_setxattr(cx, place, key, bytes, flags));
}

/** Copies out, or answers the length when `size` is 0. ERANGE, E2BIG. */
function answer(cx: Cx, bytes: Uint8Array, to: UAddr, size: number, most: number): Result<number> {
  if (size === 0) return bytes.length;
  if (bytes.length > size) return size >= most ? E2BIG : ERANGE;
  return copyBytesToUser(userMm(cx), to, bytes) === 0 ? bytes.length : EFAULT;
}

function get(cx: Cx, target: Target, { name, value, size }: Value): MaybeBlocking<Result<number>> {
  const key = readName(cx, name);
  if (isErr(key)) return key;
  return onTarget(cx, target, (place) => {
    const bytes = vfs_getxattr(cx, place.dentry, key);
    return isErr(bytes) ? bytes : answer(cx, bytes, value, size, XATTR_SIZE_MAX);
  });
}

const list = (cx: Cx, target: Target, to: UAddr, size: number): MaybeBlocking<Result<number>> =>
  onTarget(cx, target, (place) => {
    const names = vfs_listxattr(cx, place.dentry);
    if (isErr(names)) return names;
    return answer(cx, bytesOf(names.map((name) => `${name}\0`).join("")), to, size, XATTR_LIST_MAX);
  });

function remove(cx: Cx, target: Target, name: UAddr): MaybeBlocking<Result<number>> {
  const key = readName(cx, name);
  return isErr(key) ? key : onTarget(cx, target, (place) => vfs_setxattr(cx, place, key, null, 0));
}

export const sys_setxattr = syscall(
  NR.setxattr,
  "setxattr",
  [PATH, ...SET],
  (cx, path, name, value, size, flags) => set(cx, { path, follow: true }, { name, value, size }, flags),
);
export const sys_lsetxattr = syscall(
  NR.lsetxattr,
  "lsetxattr",
  [PATH, ...SET],
  (cx, path, name, value, size, flags) => set(cx, { path, follow: false }, { name, value, size }, flags),
);
export const sys_fsetxattr = syscall(
  NR.fsetxattr,
  "fsetxattr",
  [FD, ...SET],
  (cx, fd, name, value, size, flags) => set(cx, { fd }, { name, value, size }, flags),
);
export const sys_getxattr = syscall(NR.getxattr, "getxattr", [PATH, ...GET], (cx, path, name, value, size) =>
  get(cx, { path, follow: true }, { name, value, size }),
);
export const sys_lgetxattr = syscall(
  NR.lgetxattr,
  "lgetxattr",
  [PATH, ...GET],
  (cx, path, name, value, size) => get(cx, { path, follow: false }, { name, value, size }),
);
export const sys_fgetxattr = syscall(NR.fgetxattr, "fgetxattr", [FD, ...GET], (cx, fd, name, value, size) =>
  get(cx, { fd }, { name, value, size }),
);
export const sys_listxattr = syscall(NR.listxattr, "listxattr", [PATH, ...LIST], (cx, path, to, size) =>
  list(cx, { path, follow: true }, to, size),
);
export const sys_llistxattr = syscall(NR.llistxattr, "llistxattr", [PATH, ...LIST], (cx, path, to, size) =>
  list(cx, { path, follow: false }, to, size),
);
export const sys_flistxattr = syscall(NR.flistxattr, "flistxattr", [FD, ...LIST], (cx, fd, to, size) =>
  list(cx, { fd }, to, size),
);
export const sys_removexattr = syscall(NR.removexattr, "removexattr", [PATH, NAME], (cx, path, name) =>
  remove(cx, { path, follow: true }, name),
);
export const sys_lremovexattr = syscall(NR.lremovexattr, "lremovexattr", [PATH, NAME], (cx, path, name) =>
  remove(cx, { path, follow: false }, name),
);
export const sys_fremovexattr = syscall(NR.fremovexattr, "fremovexattr", [FD, NAME], (cx, fd, name) =>
  remove(cx, { fd }, name),
);

export const XATTR_SYSCALLS = [
  sys_setxattr,
  sys_lsetxattr,
  sys_fsetxattr,
  sys_getxattr,
  sys_lgetxattr,
  sys_fgetxattr,
  sys_listxattr,
  sys_llistxattr,
  sys_flistxattr,
  sys_removexattr,
  sys_lremovexattr,
  sys_fremovexattr,
] as const;
