/** Directories and where a task stands: getdents64, getcwd, chdir, chroot, mkdirat, unlinkat, mknodat, umask. */
import {
  AT,
  CAP,
  DIRENT64_NAME_OFFSET,
  EBADF,
  EFAULT,
  EINVAL,
  ENOENT,
  ENOTDIR,
  EPERM,
  ERANGE,
  isErr,
  linux_dirent64,
  NR,
  PATH_MAX,
  type Result,
  ENAMETOOLONG,
  type UAddr,
} from "@alien-ts/abi";
import { capable } from "../core/cred.ts";
import type { Cx } from "../core/cx.ts";
import { int, syscall, uint, ulongArg, userPointer } from "../core/syscall.ts";
import { copyBytesToUser } from "../mm/uaccess.ts";
import { andThen } from "../vfs/blocking.ts";
import { isUnlinked, pathFrom } from "../vfs/d-path.ts";
import { bytesOf } from "../vfs/dentry.ts";
import type { DirContext } from "../vfs/file.ts";
import { getname_flags } from "../vfs/filename.ts";
import { MAY } from "../vfs/inode.ts";
import { path_put, type PathRef } from "../vfs/mount.ts";
import { LOOKUP, userPath } from "../vfs/namei.ts";
import { do_mkdirat, do_mknodat, do_rmdir, do_unlinkat } from "../vfs/namei-ops.ts";
import { inode_permission } from "../vfs/permission.ts";
import { iterateDir, withFile } from "../vfs/read-write.ts";
import { userMm } from "../vfs/user.ts";

const DFD = ["dfd", int] as const;
const PATHNAME = ["pathname", userPointer("const char")] as const;
const MODE = ["mode", uint] as const;
const DIRENT_ALIGN = 8;

/** Writes struct linux_dirent64 records to user memory until they no longer fit (filldir64). */
class Getdents implements DirContext {
  pos = 0;
  done = 0;
  error: Result<0> = 0;
  readonly #cx: Cx;
  readonly #to: UAddr;
  readonly #size: number;

  constructor(cx: Cx, to: UAddr, size: number) {
    this.#cx = cx;
    this.#to = to;
    this.#size = size;
  }

  emit(name: string, ino: number, type: number, nextPos: number): boolean {
    const length = Math.ceil((DIRENT64_NAME_OFFSET + name.length + 1) / DIRENT_ALIGN) * DIRENT_ALIGN;
    if (this.done + length > this.#size) {
      if (this.done === 0) this.error = EINVAL;
      return false;
    }
    const record = new Uint8Array(length);
    const view = new DataView(record.buffer);
    const { layout } = this.#cx.kernel;
    const at = (field: string): number => layout.offset(linux_dirent64, field);
    view.setUint32(at("d_ino"), ino, true);
    view.setUint32(at("d_ino") + 4, Math.floor(ino / 2 ** 32), true);
    view.setUint32(at("d_off"), nextPos, true);
    view.setInt32(at("d_off") + 4, Math.floor(nextPos / 2 ** 32), true);
    view.setUint16(at("d_reclen"), length, true);
    view.setUint8(at("d_type"), type);
    record.set(bytesOf(name), DIRENT64_NAME_OFFSET);
    if (copyBytesToUser(userMm(this.#cx), this.#to + this.done, record) !== 0) {
      this.error = EFAULT;
      return false;
    }
    this.done += length;
    return true;
  }
}

export const sys_getdents64 = syscall(
  NR.getdents64,
  "getdents64",
  [
    ["fd", uint],
    ["dirent", userPointer("struct linux_dirent64")],
    ["count", uint],
  ],
  (cx, fd, dirent, count) =>
    withFile(cx, fd, (file) => {
      const out = new Getdents(cx, dirent, count);
      return andThen<Result<number>, Result<number>>(iterateDir(cx, file, out), (result) => {
        if (isErr(result)) return result;
        return out.done > 0 ? out.done : out.error;
      });
    }),
);

export const sys_getcwd = syscall(
  NR.getcwd,
  "getcwd",
  [
    ["buf", userPointer("char")],
    ["size", ulongArg],
  ],
  (cx, buf, size) => {
    const { pwd, root } = cx.task.fs;
    if (isUnlinked(pwd.dentry)) return ENOENT;
    const { text, isReachable } = pathFrom(pwd, root);
    const path = isReachable ? text : `(unreachable)${text}`;
    const bytes = bytesOf(`${path}\0`);
    if (bytes.length > PATH_MAX) return ENAMETOOLONG;
    if (bytes.length > size) return ERANGE;
    return copyBytesToUser(userMm(cx), buf, bytes) === 0 ? bytes.length : EFAULT;
  },
);

/** A directory that the task may enter. */
function mayEnter(cx: Cx, place: PathRef): Result<number> {
  const { inode } = place.dentry;
  if (inode === null) return ENOENT;
  if (!inode.isDirectory) return ENOTDIR;
  return inode_permission(cx, place.mnt.idmap, inode, MAY.EXEC | MAY.CHDIR);
}

function entering(cx: Cx, filename: UAddr, enter: (place: PathRef) => Result<number>): Result<number> {
  const place = userPath(cx, AT.FDCWD, filename, LOOKUP.FOLLOW | LOOKUP.DIRECTORY);
  if (isErr(place)) return place;
  const allowed = mayEnter(cx, place);
  const result = isErr(allowed) ? allowed : enter(place);
  path_put(cx, place);
  return result;
}

export const sys_chdir = syscall(
  NR.chdir,
  "chdir",
  [["filename", userPointer("const char")]],
  (cx, filename) =>
    entering(cx, filename, (place) => {
      cx.task.fs.setPwd(cx, place);
      return 0;
    }),
);

export const sys_fchdir = syscall(NR.fchdir, "fchdir", [["fd", uint]], (cx, fd) => {
  const file = cx.task.files.get(fd);
  if (file === undefined) return EBADF;
  const allowed = mayEnter(cx, file.path);
  if (isErr(allowed)) return allowed;
  cx.task.fs.setPwd(cx, file.path);
  return 0;
});

export const sys_chroot = syscall(
  NR.chroot,
  "chroot",
  [["filename", userPointer("const char")]],
  (cx, filename) =>
    entering(cx, filename, (place) => {
      if (!capable(cx, CAP.SYS_CHROOT)) return EPERM;
      cx.task.fs.setRoot(cx, place);
      return 0;
    }),
);

export const sys_umask = syscall(NR.umask, "umask", [["mask", int]], (cx, mask) => {
  const { fs } = cx.task;
  const old = fs.umask;
  fs.umask = mask;
  return old;
});

export const sys_mkdirat = syscall(
  NR.mkdirat,
  "mkdirat",
  [DFD, PATHNAME, MODE],
  (cx, dfd, pathname, mode) => {
    const name = getname_flags(cx, pathname, 0);
    return isErr(name) ? name : do_mkdirat(cx, dfd, name, mode & 0xffff);
  },
);

export const sys_mknodat = syscall(
  NR.mknodat,
  "mknodat",
  [DFD, ["filename", userPointer("const char")], MODE, ["dev", uint]],
  (cx, dfd, filename, mode, dev) => {
    const name = getname_flags(cx, filename, 0);
    return isErr(name) ? name : do_mknodat(cx, dfd, name, mode & 0xffff, dev);
  },
);

export const sys_unlinkat = syscall(
  NR.unlinkat,
  "unlinkat",
  [DFD, PATHNAME, ["flag", int]],
  (cx, dfd, pathname, flag) => {
    if ((flag & ~AT.REMOVEDIR) !== 0) return EINVAL;
    const name = getname_flags(cx, pathname, 0);
    if (isErr(name)) return name;
    return (flag & AT.REMOVEDIR) !== 0 ? do_rmdir(cx, dfd, name) : do_unlinkat(cx, dfd, name);
  },
);

export const DIRECTORY_SYSCALLS = [
  sys_getdents64,
  sys_getcwd,
  sys_chdir,
  sys_fchdir,
  sys_chroot,
  sys_umask,
  sys_mkdirat,
  sys_mknodat,
  sys_unlinkat,
] as const;
