/** Vectored reads and writes: readv, preadv2 and their kin behind the system calls. Linux: fs/read_write.c. */
import {
  EBADF,
  EINVAL,
  EOPNOTSUPP,
  ESPIPE,
  isErr,
  type KAddr,
  loff_t,
  ptr,
  type Result,
  s32,
  ssize_t,
  ulong,
  userPtr,
} from "@alien-ts/abi";
import type { Cx } from "../core/cx.ts";
import { blockingFn } from "../core/row.ts";
import { import_iovec } from "../mm/iov-iter.ts";
import type { MaybeBlocking } from "./blocking.ts";
import { type File, filep, FMODE } from "./file.ts";
import { IOCB } from "./kiocb.ts";
import { atFilePosition, atPosition, vfs_iter_read, vfs_iter_write, withFile } from "./read-write.ts";
import { userMm } from "./user.ts";

type Bytes = MaybeBlocking<Result<number>>;

/** RWF_* of preadv2 (include/uapi/linux/fs.h). RWF_ATOMIC and RWF_DONTCACHE need what no file here has. */
const RWF_SUPPORTED = IOCB.HIPRI | IOCB.DSYNC | IOCB.SYNC | IOCB.NOWAIT | IOCB.APPEND | IOCB.NOAPPEND;

/** kiocb_set_rw_flags(): EOPNOTSUPP, EINVAL. */
function checkFlags(flags: number): Result<0> {
  if ((flags & ~RWF_SUPPORTED) !== 0) return EOPNOTSUPP;
  return (flags & (IOCB.NOAPPEND | IOCB.APPEND)) === (IOCB.NOAPPEND | IOCB.APPEND) ? EINVAL : 0;
}

const UIO_LIMIT = 0x7fff_ffff;

const VECTOR = [
  ["vec", userPtr("struct iovec")],
  ["vlen", ulong],
] as const;

export const vfs_readv = blockingFn(
  "vfs_readv",
  [["file", filep], ...VECTOR, ["pos", ptr("loff_t")], ["flags", s32]],
  ssize_t,
  (cx, file, vec, vlen, pos, flags): Bytes => {
    if (!file.canRead) return EBADF;
    if ((file.mode & FMODE.CAN_READ) === 0) return EINVAL;
    const iter = import_iovec(userMm(cx), vec, vlen > UIO_LIMIT ? -1 : vlen);
    if (isErr(iter)) return iter;
    const checked = checkFlags(flags);
    return isErr(checked) ? checked : vfs_iter_read(cx, file, iter, pos, flags);
  },
  { local: true },
);

export const vfs_writev = blockingFn(
  "vfs_writev",
  [["file", filep], ...VECTOR, ["pos", ptr("loff_t")], ["flags", s32]],
  ssize_t,
  (cx, file, vec, vlen, pos, flags): Bytes => {
    if (!file.canWrite) return EBADF;
    if ((file.mode & FMODE.CAN_WRITE) === 0) return EINVAL;
    const iter = import_iovec(userMm(cx), vec, vlen > UIO_LIMIT ? -1 : vlen);
    if (isErr(iter)) return iter;
    const checked = checkFlags(flags);
    return isErr(checked) ? checked : vfs_iter_write(cx, file, iter, pos, flags);
  },
  { local: true },
);

/** At the file's own position. */
export const do_readv = blockingFn(
  "do_readv",
  [["fd", ulong], ...VECTOR, ["flags", s32]],
  ssize_t,
  (cx, fd, vec, vlen, flags): Bytes =>
    withFile(cx, fd, (file) => atFilePosition(cx, file, (pos) => vfs_readv(cx, file, vec, vlen, pos, flags))),
  { local: true },
);

export const do_writev = blockingFn(
  "do_writev",
  [["fd", ulong], ...VECTOR, ["flags", s32]],
  ssize_t,
  (cx, fd, vec, vlen, flags): Bytes =>
    withFile(cx, fd, (file) =>
      atFilePosition(cx, file, (pos) => vfs_writev(cx, file, vec, vlen, pos, flags)),
    ),
  { local: true },
);

/** At a position of the caller's. EINVAL for a negative one, ESPIPE where the file has none. */
export const do_preadv = blockingFn(
  "do_preadv",
  [["fd", ulong], ...VECTOR, ["pos", loff_t], ["flags", s32]],
  ssize_t,
  (cx, fd, vec, vlen, pos, flags): Bytes =>
    positioned(cx, fd, pos, FMODE.PREAD, (file, at) => vfs_readv(cx, file, vec, vlen, at, flags)),
  { local: true },
);

export const do_pwritev = blockingFn(
  "do_pwritev",
  [["fd", ulong], ...VECTOR, ["pos", loff_t], ["flags", s32]],
  ssize_t,
  (cx, fd, vec, vlen, pos, flags): Bytes =>
    positioned(cx, fd, pos, FMODE.PWRITE, (file, at) => vfs_writev(cx, file, vec, vlen, at, flags)),
  { local: true },
);

function positioned(
  cx: Cx,
  fd: number,
  pos: number,
  needs: number,
  go: (file: File, at: KAddr) => Bytes,
): Bytes {
  if (pos < 0) return EINVAL;
  return withFile(cx, fd, (file) =>
    (file.mode & needs) === 0 ? ESPIPE : atPosition(cx, pos, (at) => go(file, at)),
  );
}
