/** sync and advice: everything is in memory, so what remains are the checks. Linux: fs/sync.c, mm/fadvise.c, mm/readahead.c. */
import { EBADF, EINVAL, ESPIPE, NR, type Result, S } from "@alien-ts/abi";
import { int, offsetArg, sizeArg, syscall, uint } from "../core/syscall.ts";
import type { File } from "../vfs/file.ts";
import { vfs_fsync, withFile } from "../vfs/read-write.ts";

const FD = ["fd", int] as const;

export const sys_sync = syscall(NR.sync, "sync", [], () => 0);

export const sys_syncfs = syscall(NR.syncfs, "syncfs", [FD], (cx, fd) => withFile(cx, fd, () => 0));

export const sys_fsync = syscall(NR.fsync, "fsync", [["fd", uint]], (cx, fd) =>
  withFile(cx, fd, (file) => vfs_fsync(cx, file, 0)),
);

export const sys_fdatasync = syscall(NR.fdatasync, "fdatasync", [["fd", uint]], (cx, fd) =>
  withFile(cx, fd, (file) => vfs_fsync(cx, file, 1)),
);

const SYNC_FILE_RANGE_FLAGS = 7;
const SYNC_TYPES: readonly number[] = [S.IFREG, S.IFBLK, S.IFDIR, S.IFLNK];

export const sys_sync_file_range = syscall(
  NR.sync_file_range,
  "sync_file_range",
  [FD, ["offset", offsetArg], ["nbytes", offsetArg], ["flags", uint]],
  (cx, fd, offset, nbytes, flags) =>
    withFile(cx, fd, (file: File): Result<number> => {
      if ((flags & ~SYNC_FILE_RANGE_FLAGS) !== 0 || offset < 0 || offset + nbytes < offset) return EINVAL;
      return SYNC_TYPES.includes(file.inode.type) ? 0 : ESPIPE;
    }),
);

const POSIX_FADV_NOREUSE = 5;

export const sys_fadvise64_64 = syscall(
  NR.fadvise64,
  "fadvise64_64",
  [FD, ["offset", offsetArg], ["len", offsetArg], ["advice", int]],
  (cx, fd, _offset, len, advice) =>
    withFile(cx, fd, (file): Result<number> => {
      if (file.inode.type === S.IFIFO) return ESPIPE;
      return len < 0 || advice < 0 || advice > POSIX_FADV_NOREUSE ? EINVAL : 0;
    }),
);

export const sys_readahead = syscall(
  NR.readahead,
  "readahead",
  [FD, ["offset", offsetArg], ["count", sizeArg]],
  (cx, fd) =>
    withFile(cx, fd, (file): Result<number> => {
      if (!file.canRead) return EBADF;
      return file.inode.isRegular ? 0 : EINVAL;
    }),
);

export const SYNC_SYSCALLS = [
  sys_sync,
  sys_syncfs,
  sys_fsync,
  sys_fdatasync,
  sys_sync_file_range,
  sys_fadvise64_64,
  sys_readahead,
] as const;
