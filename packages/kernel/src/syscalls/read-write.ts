/** read, write and their kin; lseek, sendfile, splice, copy_file_range. Linux: fs/read_write.c, fs/splice.c. */
import {
  EAGAIN,
  EBADF,
  EFAULT,
  EINVAL,
  EISDIR,
  EPIPE,
  ESPIPE,
  isErr,
  NR,
  O,
  POLL,
  type Result,
  SI,
  SIG,
  type UAddr,
} from "@alien-ts/abi";
import type { Cx } from "../core/cx.ts";
import type { Blocking } from "../core/row.ts";
import { int, offsetArg, sizeArg, slong, syscall, uint, ulongArg, userPointer } from "../core/syscall.ts";
import { import_iovec, IovIter, MAX_RW_COUNT } from "../mm/iov-iter.ts";
import { get_user_s64, put_user_u64 } from "../mm/uaccess.ts";
import { sendToTask, siginfo } from "../task/signal.ts";
import { type MaybeBlocking, settle } from "../vfs/blocking.ts";
import { type File, FMODE, vfs_poll } from "../vfs/file.ts";
import {
  atFilePosition,
  kernel_read,
  kernel_write,
  ksys_pread64,
  ksys_pwrite64,
  ksys_read,
  ksys_write,
  vfs_iter_read,
  vfs_iter_write,
  vfs_llseek,
  withFile,
} from "../vfs/read-write.ts";
import { do_preadv, do_pwritev, do_readv, do_writev } from "../vfs/readv.ts";
import { userMm } from "../vfs/user.ts";

type Bytes = MaybeBlocking<Result<number>>;

const FD = ["fd", uint] as const;
const COUNT = ["count", sizeArg] as const;
const VECTOR = [
  ["vec", userPointer("const struct iovec")],
  ["vlen", ulongArg],
] as const;

export const sys_read = syscall(
  NR.read,
  "read",
  [FD, ["buf", userPointer("char")], COUNT],
  (cx, fd, buf, count) => ksys_read(cx, fd, buf, count),
);

export const sys_write = syscall(
  NR.write,
  "write",
  [FD, ["buf", userPointer("const char")], COUNT],
  (cx, fd, buf, count) => ksys_write(cx, fd, buf, count),
);

export const sys_pread64 = syscall(
  NR.pread64,
  "pread64",
  [FD, ["buf", userPointer("char")], COUNT, ["pos", offsetArg]],
  (cx, fd, buf, count, pos) => ksys_pread64(cx, fd, buf, count, pos),
);

export const sys_pwrite64 = syscall(
  NR.pwrite64,
  "pwrite64",
  [FD, ["buf", userPointer("const char")], COUNT, ["pos", offsetArg]],
  (cx, fd, buf, count, pos) => ksys_pwrite64(cx, fd, buf, count, pos),
);

export const sys_readv = syscall(NR.readv, "readv", [FD, ...VECTOR], (cx, fd, vec, vlen) =>
  do_readv(cx, fd, vec, vlen, 0),
);

export const sys_writev = syscall(NR.writev, "writev", [FD, ...VECTOR], (cx, fd, vec, vlen) =>
  do_writev(cx, fd, vec, vlen, 0),
);

const POSITION = [
  ["pos_l", slong],
  ["pos_h", slong],
] as const;

export const sys_preadv = syscall(
  NR.preadv,
  "preadv",
  [FD, ...VECTOR, ...POSITION],
  (cx, fd, vec, vlen, pos) => do_preadv(cx, fd, vec, vlen, pos, 0),
);

export const sys_pwritev = syscall(
  NR.pwritev,
  "pwritev",
  [FD, ...VECTOR, ...POSITION],
  (cx, fd, vec, vlen, pos) => do_pwritev(cx, fd, vec, vlen, pos, 0),
);

/** A position of −1 stands for the file's own. */
export const sys_preadv2 = syscall(
  NR.preadv2,
  "preadv2",
  [FD, ...VECTOR, ...POSITION, ["flags", int]],
  (cx, fd, vec, vlen, pos, _high, flags) =>
    pos === -1 ? do_readv(cx, fd, vec, vlen, flags) : do_preadv(cx, fd, vec, vlen, pos, flags),
);

export const sys_pwritev2 = syscall(
  NR.pwritev2,
  "pwritev2",
  [FD, ...VECTOR, ...POSITION, ["flags", int]],
  (cx, fd, vec, vlen, pos, _high, flags) =>
    pos === -1 ? do_writev(cx, fd, vec, vlen, flags) : do_pwritev(cx, fd, vec, vlen, pos, flags),
);

export const sys_lseek = syscall(
  NR.lseek,
  "lseek",
  [FD, ["offset", offsetArg], ["whence", uint]],
  (cx, fd, offset, whence) =>
    withFile(cx, fd, (file) => (whence > 4 ? EINVAL : vfs_llseek(cx, file, offset, whence))),
);

/** Bytes that go through the kernel at once. */
const COPY_CHUNK = 65_536;

/** Where a transfer between two files takes and puts its bytes. Undefined: the file's own position. */
interface Side {
  readonly file: File;
  pos: number | undefined;
}

const readSide = (cx: Cx, { file, pos }: Side, into: Uint8Array): Bytes =>
  pos === undefined
    ? atFilePosition(cx, file, (at) => vfs_iter_read(cx, file, IovIter.bytes(cx.kernel.mem, into), at, 0))
    : kernel_read(cx, file, into, pos);

const writeSide = (cx: Cx, { file, pos }: Side, bytes: Uint8Array): Bytes =>
  pos === undefined
    ? atFilePosition(cx, file, (at) => vfs_iter_write(cx, file, IovIter.bytes(cx.kernel.mem, bytes), at, 0))
    : kernel_write(cx, file, bytes, pos);

/**
 * Moves up to `count` bytes from one file to another through a buffer. What was read but could not be written is given back to
 * a source that has positions. `isOnce` stops after the first read that gave something (splice from a pipe).
 */
function* transfer(cx: Cx, from: Side, to: Side, count: number, isOnce: boolean): Blocking<Result<number>> {
  let done = 0;
  const buffer = new Uint8Array(Math.min(count, COPY_CHUNK));
  while (done < count) {
    const got = yield* settle(readSide(cx, from, buffer.subarray(0, Math.min(buffer.length, count - done))));
    if (isErr(got)) return done > 0 ? done : got;
    if (got === 0) break;
    if (from.pos !== undefined) from.pos += got;
    let written = 0;
    while (written < got) {
      const put = yield* settle(writeSide(cx, to, buffer.subarray(written, got)));
      if (isErr(put) || put === 0) {
        giveBack(from, got - written);
        const total = done + written;
        return total > 0 ? total : put;
      }
      written += put;
      if (to.pos !== undefined) to.pos += put;
    }
    done += got;
    if (isOnce) break;
  }
  return done;
}

function giveBack(side: Side, bytes: number): void {
  if (side.pos !== undefined) side.pos -= bytes;
  else if ((side.file.mode & FMODE.STREAM) === 0) side.file.pos -= bytes;
}

/** An offset argument: NULL, or a loff_t to read before and write after. */
function* withOffset(
  cx: Cx,
  pointer: UAddr,
  body: (pos: number | undefined, side: (file: File) => Side) => Blocking<Result<number>>,
): Blocking<Result<number>> {
  const pos = pointer === 0 ? undefined : get_user_s64(userMm(cx), pointer);
  if (isErr(pos)) return pos;
  if (pos !== undefined && pos < 0) return EINVAL;
  let used: Side | undefined;
  const result = yield* body(pos, (file) => (used = { file, pos }));
  if (isErr(result) || used?.pos === undefined) return result;
  return isErr(put_user_u64(userMm(cx), pointer, used.pos)) ? EFAULT : result;
}

export const sys_sendfile = syscall(
  NR.sendfile,
  "sendfile",
  [["out_fd", int], ["in_fd", int], ["offset", userPointer("loff_t")], COUNT],
  (cx, outFd, inFd, offset, count) =>
    withFile(cx, inFd, (input) =>
      withFile(cx, outFd, (output) => sendFile(cx, input, output, offset, count)),
    ),
);

function* sendFile(
  cx: Cx,
  input: File,
  output: File,
  offset: UAddr,
  count: number,
): Blocking<Result<number>> {
  return yield* withOffset(cx, offset, function* (pos, side) {
    if (!input.canRead) return EBADF;
    if (pos !== undefined && (input.mode & FMODE.PREAD) === 0) return ESPIPE;
    if (!output.canWrite) return EBADF;
    if ((input.mode & FMODE.LSEEK) === 0 || (input.mode & FMODE.CAN_READ) === 0) return EINVAL;
    if ((output.flags & O.APPEND) !== 0 || (output.mode & FMODE.CAN_WRITE) === 0) return EINVAL;
    return yield* transfer(
      cx,
      side(input),
      { file: output, pos: undefined },
      Math.min(count, MAX_RW_COUNT),
      false,
    );
  });
}

export const sys_copy_file_range = syscall(
  NR.copy_file_range,
  "copy_file_range",
  [
    ["fd_in", int],
    ["off_in", userPointer("loff_t")],
    ["fd_out", int],
    ["off_out", userPointer("loff_t")],
    ["len", sizeArg],
    ["flags", uint],
  ],
  (cx, fdIn, offIn, fdOut, offOut, len, flags) =>
    withFile(cx, fdIn, (input) =>
      withFile(cx, fdOut, (output) => copyFileRange(cx, { input, offIn, output, offOut, len, flags })),
    ),
);

interface CopyRequest {
  readonly input: File;
  readonly offIn: UAddr;
  readonly output: File;
  readonly offOut: UAddr;
  readonly len: number;
  readonly flags: number;
}

function* copyFileRange(cx: Cx, request: CopyRequest): Blocking<Result<number>> {
  const { input, offIn, output, offOut, len, flags } = request;
  return yield* withOffset(cx, offIn, (posIn, from) =>
    withOffset(cx, offOut, function* (posOut, to) {
      if (flags !== 0) return EINVAL;
      if (input.inode.isDirectory || output.inode.isDirectory) return EISDIR;
      if (!input.inode.isRegular || !output.inode.isRegular) return EINVAL;
      if (!input.canRead || !output.canWrite || (output.flags & O.APPEND) !== 0) return EBADF;
      const start = posIn ?? input.pos;
      const target = posOut ?? output.pos;
      const count = Math.min(len, Math.max(input.inode.size - start, 0));
      if (input.inode === output.inode && target < start + count && start < target + count) return EINVAL;
      if (count === 0) return 0;
      return yield* transfer(cx, from(input), to(output), Math.min(count, MAX_RW_COUNT), false);
    }),
  );
}

const SPLICE_FLAGS = 0xf;
const SPLICE_F_NONBLOCK = 2;

const isPipe = (file: File): boolean => file.inode.pipe !== undefined;

export const sys_splice = syscall(
  NR.splice,
  "splice",
  [
    ["fd_in", int],
    ["off_in", userPointer("loff_t")],
    ["fd_out", int],
    ["off_out", userPointer("loff_t")],
    ["len", sizeArg],
    ["flags", uint],
  ],
  (cx, fdIn, offIn, fdOut, offOut, len, flags) => {
    if (len === 0) return 0;
    if ((flags & ~SPLICE_FLAGS) !== 0) return EINVAL;
    return withFile(cx, fdIn, (input) =>
      withFile(cx, fdOut, (output) => splice(cx, { input, offIn, output, offOut, len, flags })),
    );
  },
  { fidelity: { simplified: "bytes are copied, and pages never moved" } },
);

function* splice(cx: Cx, request: CopyRequest): Blocking<Result<number>> {
  const { input, offIn, output, offOut, len, flags } = request;
  if (!input.canRead || !output.canWrite) return EBADF;
  if (!isPipe(input) && !isPipe(output)) return EINVAL;
  if ((isPipe(input) && offIn !== 0) || (isPipe(output) && offOut !== 0)) return ESPIPE;
  if (isPipe(input) && isPipe(output) && input.inode === output.inode) return EINVAL;
  if ((output.flags & O.APPEND) !== 0 && !isPipe(output)) return EINVAL;
  if ((input.mode & FMODE.CAN_READ) === 0 || (output.mode & FMODE.CAN_WRITE) === 0) return EINVAL;
  if (offIn !== 0 && (input.mode & FMODE.PREAD) === 0) return EINVAL;
  if (offOut !== 0 && (output.mode & FMODE.PWRITE) === 0) return EINVAL;
  if ((flags & SPLICE_F_NONBLOCK) !== 0) {
    const isReady =
      (vfs_poll(cx, input) & (POLL.IN | POLL.HUP)) !== 0 &&
      (vfs_poll(cx, output) & (POLL.OUT | POLL.ERR)) !== 0;
    if (!isReady) return EAGAIN;
  }
  if ((vfs_poll(cx, output) & POLL.ERR) !== 0 && isPipe(output)) {
    sendToTask(cx, cx.task, siginfo(SIG.PIPE, SI.KERNEL));
    return EPIPE;
  }
  return yield* withOffset(cx, offIn, (_in, from) =>
    withOffset(cx, offOut, (_out, to) =>
      transfer(cx, from(input), to(output), Math.min(len, COPY_CHUNK), true),
    ),
  );
}

export const sys_vmsplice = syscall(
  NR.vmsplice,
  "vmsplice",
  [
    ["fd", int],
    ["uiov", userPointer("const struct iovec")],
    ["nr_segs", ulongArg],
    ["flags", uint],
  ],
  (cx, fd, vec, vlen, flags) => {
    if ((flags & ~SPLICE_FLAGS) !== 0) return EINVAL;
    return withFile(cx, fd, (file): Bytes => {
      if (!isPipe(file)) return EBADF;
      const iter = import_iovec(userMm(cx), vec, vlen > 0x7fff_ffff ? -1 : vlen);
      if (isErr(iter)) return iter;
      return file.canWrite ? vfs_iter_write(cx, file, iter, 0, 0) : vfs_iter_read(cx, file, iter, 0, 0);
    });
  },
  { fidelity: { simplified: "bytes are copied, and pages never given away" } },
);

export const sys_tee = syscall(
  NR.tee,
  "tee",
  [
    ["fdin", int],
    ["fdout", int],
    ["len", sizeArg],
    ["flags", uint],
  ],
  (cx, fdIn, fdOut, len, flags) => {
    if ((flags & ~SPLICE_FLAGS) !== 0) return EINVAL;
    if (len === 0) return 0;
    return withFile(cx, fdIn, (input) =>
      withFile(cx, fdOut, (output): Result<number> => (input.canRead && output.canWrite ? EINVAL : EBADF)),
    );
  },
  { fidelity: { simplified: "answers EINVAL for pipes too" } },
);

export const READ_WRITE_SYSCALLS = [
  sys_read,
  sys_write,
  sys_pread64,
  sys_pwrite64,
  sys_readv,
  sys_writev,
  sys_preadv,
  sys_pwritev,
  sys_preadv2,
  sys_pwritev2,
  sys_lseek,
  sys_sendfile,
  sys_copy_file_range,
  sys_splice,
  sys_vmsplice,
  sys_tee,
] as const;
