/** openat, openat2, close, close_range, memfd_create. Linux: fs/open.c, fs/file.c, mm/memfd.c. */
import {
  E2BIG,
  EFAULT,
  EINVAL,
  ENOSYS,
  isErr,
  MFD,
  NR,
  O,
  EINTR,
  ERESTARTSYS,
  type Result,
} from "@alien-ts/abi";
import { int, sizeArg, syscall, uint, userPointer } from "../core/syscall.ts";
import type { Cx } from "../core/cx.ts";
import { memfdFile } from "../fs/tmpfs/memfd.ts";
import { get_user_u8, get_user_u64 } from "../mm/uaccess.ts";
import { addFile, close_fd } from "../vfs/fd-table.ts";
import { build_open_how, openUserPath, type OpenRequest } from "../vfs/open.ts";
import { getString, userMm } from "../vfs/user.ts";

export const sys_openat = syscall(
  NR.openat,
  "openat",
  [
    ["dfd", int],
    ["filename", userPointer("const char")],
    ["flags", int],
    ["mode", uint],
  ],
  (cx, dfd, filename, flags, mode) =>
    openUserPath(cx, dfd, filename, build_open_how(flags | O.LARGEFILE, mode)),
);

const OPEN_HOW_BYTES = 24;
const PAGE_BYTES = 4096;

/** A struct open_how of any size: what this kernel does not know must be zero (copy_struct_from_user). EINVAL, E2BIG, EFAULT. */
function readOpenHow(cx: Cx, how: number, size: number): Result<OpenRequest> {
  if (size < OPEN_HOW_BYTES) return EINVAL;
  if (size > PAGE_BYTES) return E2BIG;
  const mm = userMm(cx);
  for (let at = OPEN_HOW_BYTES; at < size; at++) {
    const byte = get_user_u8(mm, how + at);
    if (isErr(byte)) return EFAULT;
    if (byte !== 0) return E2BIG;
  }
  const flags = get_user_u64(mm, how);
  const mode = get_user_u64(mm, how + 8);
  const resolve = get_user_u64(mm, how + 16);
  if (isErr(flags) || isErr(mode) || isErr(resolve)) return EFAULT;
  if (flags > 0x7fff_ffff || mode > 0o7777 || resolve > 0xff) return EINVAL;
  return { flags: (flags & O.PATH) === 0 ? flags | O.LARGEFILE : flags, mode, resolve };
}

export const sys_openat2 = syscall(
  NR.openat2,
  "openat2",
  [
    ["dfd", int],
    ["filename", userPointer("const char")],
    ["how", userPointer("struct open_how")],
    ["usize", sizeArg],
  ],
  (cx, dfd, filename, how, usize) => {
    const request = readOpenHow(cx, how, usize);
    return isErr(request) ? request : openUserPath(cx, dfd, filename, request);
  },
);

export const sys_close = syscall(NR.close, "close", [["fd", uint]], (cx, fd) => {
  const result = close_fd(cx, fd);
  // The descriptor is closed whatever flush says: a restart would close another's.
  return result === ERESTARTSYS ? EINTR : result;
});

const CLOSE_RANGE_UNSHARE = 2;
const CLOSE_RANGE_CLOEXEC = 4;

export const sys_close_range = syscall(
  NR.close_range,
  "close_range",
  [
    ["fd", uint],
    ["max_fd", uint],
    ["flags", uint],
  ],
  (cx, first, last, flags) => {
    if ((flags & ~(CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC)) !== 0 || first > last) return EINVAL;
    const { task } = cx;
    if ((flags & CLOSE_RANGE_UNSHARE) !== 0 && task.files.isShared) {
      const own = task.files.dup();
      if (isErr(own)) return own;
      task.files.put(cx);
      task.files = own;
      task.t.files = own.addr;
    }
    const { files } = task;
    for (let fd = first; fd <= Math.min(last, files.max - 1); fd++) {
      if (files.get(fd) === undefined) continue;
      if ((flags & CLOSE_RANGE_CLOEXEC) === 0) close_fd(cx, fd);
      else files.setCloexec(fd, true);
    }
    return 0;
  },
);

const MFD_ALL = MFD.CLOEXEC | MFD.ALLOW_SEALING | MFD.HUGETLB | MFD.NOEXEC_SEAL | MFD.EXEC;
/** NAME_MAX less "memfd:", and the NUL. */
const MFD_NAME_BYTES = 250;

export const sys_memfd_create = syscall(
  NR.memfd_create,
  "memfd_create",
  [
    ["uname", userPointer("const char")],
    ["flags", uint],
  ],
  (cx, uname, flags) => {
    if ((flags & MFD.HUGETLB) !== 0) return ENOSYS;
    if ((flags & ~MFD_ALL) !== 0) return EINVAL;
    if ((flags & (MFD.EXEC | MFD.NOEXEC_SEAL)) === (MFD.EXEC | MFD.NOEXEC_SEAL)) return EINVAL;
    const name = getString(cx, uname, MFD_NAME_BYTES, EINVAL);
    if (isErr(name)) return name;
    const file = memfdFile(cx, name, flags);
    return isErr(file) ? file : addFile(cx, file, (flags & MFD.CLOEXEC) !== 0);
  },
);

export const OPEN_SYSCALLS = [sys_openat, sys_openat2, sys_close, sys_close_range, sys_memfd_create] as const;
