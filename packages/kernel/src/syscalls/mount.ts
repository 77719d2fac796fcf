/** mount, umount2, pivot_root. Linux: fs/namespace.c. */
import {
  AT,
  CAP,
  EFAULT,
  EINVAL,
  EPERM,
  isErr,
  MNT_DETACH,
  MNT_EXPIRE,
  MNT_FORCE,
  NR,
  PAGE_SIZE,
  type Result,
  UMOUNT_NOFOLLOW,
  type UAddr,
} from "@alien-ts/abi";
import { capable } from "../core/cred.ts";
import type { Cx } from "../core/cx.ts";
import { int, syscall, ulongArg, userPointer } from "../core/syscall.ts";
import { copyBytesFromUser } from "../mm/uaccess.ts";
import { byteString, dput } from "../vfs/dentry.ts";
import { mntput_no_expire, path_put } from "../vfs/mount.ts";
import { LOOKUP, userPath } from "../vfs/namei.ts";
import { mountAt, pivotRoot, umountAt } from "../vfs/namespace.ts";
import { getString, userMm } from "../vfs/user.ts";

const NAME = userPointer("char");

/** A string argument that may be NULL (copy_mount_string). EFAULT, EINVAL from a page on. */
const mountString = (cx: Cx, from: UAddr): Result<string> =>
  from === 0 ? "" : getString(cx, from, PAGE_SIZE, EINVAL);

/** The options: up to a page, as far as it is mapped (copy_mount_options). EFAULT when nothing is. */
function mountOptions(cx: Cx, from: UAddr): Result<string> {
  if (from === 0) return "";
  const page = new Uint8Array(PAGE_SIZE);
  const copied = PAGE_SIZE - copyBytesFromUser(userMm(cx), page, from);
  if (copied === 0) return EFAULT;
  const end = page.indexOf(0);
  return byteString(page.subarray(0, Math.min(end < 0 ? copied : end, copied, PAGE_SIZE - 1)));
}

export const sys_mount = syscall(
  NR.mount,
  "mount",
  [
    ["dev_name", NAME],
    ["dir_name", NAME],
    ["type", NAME],
    ["flags", ulongArg],
    ["data", userPointer("void")],
  ],
  (cx, devName, dirName, typeName, flags, data) => {
    const type = mountString(cx, typeName);
    if (isErr(type)) return type;
    const source = mountString(cx, devName);
    if (isErr(source)) return source;
    const options = mountOptions(cx, data);
    if (isErr(options)) return options;
    const place = userPath(cx, AT.FDCWD, dirName, LOOKUP.FOLLOW);
    if (isErr(place)) return place;
    const request = { type, source: devName === 0 ? "none" : source, flags: flags % 0x1_0000_0000, options };
    const result = mountAt(cx, place, request);
    path_put(cx, place);
    return result;
  },
);

export const sys_umount = syscall(
  NR.umount2,
  "umount",
  [
    ["name", NAME],
    ["flags", int],
  ],
  (cx, name, flags) => {
    if ((flags & ~(MNT_FORCE | MNT_DETACH | MNT_EXPIRE | UMOUNT_NOFOLLOW)) !== 0) return EINVAL;
    const place = userPath(cx, AT.FDCWD, name, (flags & UMOUNT_NOFOLLOW) === 0 ? LOOKUP.FOLLOW : 0);
    if (isErr(place)) return place;
    const result = umountAt(cx, place, flags);
    dput(cx, place.dentry);
    mntput_no_expire(cx, place.mnt);
    return result;
  },
);

export const sys_pivot_root = syscall(
  NR.pivot_root,
  "pivot_root",
  [
    ["new_root", NAME],
    ["put_old", NAME],
  ],
  (cx, newRoot, putOld) => {
    if (!capable(cx, CAP.SYS_ADMIN)) return EPERM;
    const fresh = userPath(cx, AT.FDCWD, newRoot, LOOKUP.FOLLOW | LOOKUP.DIRECTORY);
    if (isErr(fresh)) return fresh;
    const old = userPath(cx, AT.FDCWD, putOld, LOOKUP.FOLLOW | LOOKUP.DIRECTORY);
    const result = isErr(old) ? old : pivotRoot(cx, fresh, old);
    if (!isErr(old)) path_put(cx, old);
    path_put(cx, fresh);
    return result;
  },
);

export const MOUNT_SYSCALLS = [sys_mount, sys_umount, sys_pivot_root] as const;
