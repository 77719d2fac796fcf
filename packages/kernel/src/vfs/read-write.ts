/**
 * Reading and writing (Linux: fs/read_write.c): from a descriptor (`ksys_*`) over the checks (`vfs_*`) to the file's operation.
 *
 * A `kiocb` and the position that `vfs_read` is given lie on the task's kernel stack, as in Linux. Nothing here sleeps by itself;
 * where the operation does, so does the call.
 */
import {
  EBADF,
  EFAULT,
  EINVAL,
  EISDIR,
  ENOTDIR,
  ENOENT,
  EOPNOTSUPP,
  EOVERFLOW,
  EFBIG,
  ESPIPE,
  ENODEV,
  ENXIO,
  fromWords,
  hiWord,
  isErr,
  type KAddr,
  loff_t,
  O,
  ptr,
  type Result,
  S,
  SEEK,
  s32,
  size_t,
  ssize_t,
  u32,
  userPtr,
} from "@alien-ts/abi";
import type { Cx } from "../core/cx.ts";
import { type Owned, ownerPtr } from "../core/owner.ts";
import { blockingFn, kernelFn } from "../core/row.ts";
import { IovIter, MAX_RW_COUNT } from "../mm/iov-iter.ts";
import { access_ok } from "../mm/uaccess.ts";
import { andThen, type MaybeBlocking } from "./blocking.ts";
import { type DirContext, fget, type File, filep, FMODE, fput, iov_iterp } from "./file.ts";
import { isDead } from "./permission.ts";
import { IOCB, stackKiocb } from "./kiocb.ts";
import { stackAlloc } from "./path.ts";
import { touch_atime } from "./stat.ts";

/** rw_verify_area's first argument. */
const READ = 0;
const WRITE = 1;

type Bytes = MaybeBlocking<Result<number>>;

/** Runs `body` with the file of a descriptor, held for as long as it takes. EBADF. */
export function withFile<T>(
  cx: Cx,
  fd: number,
  body: (file: File) => MaybeBlocking<Result<T>>,
): MaybeBlocking<Result<T>> {
  const file = fget(cx, fd);
  if (file === null) return EBADF;
  return andThen(body(file), (result) => {
    fput(cx, file);
    return result;
  });
}

/** Reads at the file's own position. */
export const ksys_read = blockingFn(
  "ksys_read",
  [
    ["fd", u32],
    ["buf", userPtr("char")],
    ["count", size_t],
  ],
  ssize_t,
  (cx, fd, buf, count): Bytes =>
    withFile(cx, fd, (file) => atFilePosition(cx, file, (pos) => vfs_read(cx, file, buf, count, pos))),
);

export const ksys_write = blockingFn(
  "ksys_write",
  [
    ["fd", u32],
    ["buf", userPtr("char")],
    ["count", size_t],
  ],
  ssize_t,
  (cx, fd, buf, count): Bytes =>
    withFile(cx, fd, (file) => atFilePosition(cx, file, (pos) => vfs_write(cx, file, buf, count, pos))),
);

export const ksys_pread64 = blockingFn(
  "ksys_pread64",
  [
    ["fd", u32],
    ["buf", userPtr("char")],
    ["count", size_t],
    ["pos", loff_t],
  ],
  ssize_t,
  (cx, fd, buf, count, pos): Bytes =>
    pos < 0
      ? EINVAL
      : withFile(cx, fd, (file) =>
          (file.mode & FMODE.PREAD) === 0
            ? ESPIPE
            : atPosition(cx, pos, (at) => vfs_read(cx, file, buf, count, at)),
        ),
);

export const ksys_pwrite64 = blockingFn(
  "ksys_pwrite64",
  [
    ["fd", u32],
    ["buf", userPtr("char")],
    ["count", size_t],
    ["pos", loff_t],
  ],
  ssize_t,
  (cx, fd, buf, count, pos): Bytes =>
    pos < 0
      ? EINVAL
      : withFile(cx, fd, (file) =>
          (file.mode & FMODE.PWRITE) === 0
            ? ESPIPE
            : atPosition(cx, pos, (at) => vfs_write(cx, file, buf, count, at)),
        ),
);

/** A loff_t on the stack for the time of `body`. */
export function atPosition(cx: Cx, pos: number, body: (pos: KAddr) => Bytes): Bytes {
  const { ksp } = cx;
  const at = stackAlloc(cx, 8);
  putPosition(cx, at, pos);
  return andThen(body(at), (result) => {
    cx.ksp = ksp;
    return result;
  });
}

/** As atPosition, from and to f_pos; NULL for a stream, which has no position. */
export function atFilePosition(cx: Cx, file: File, body: (pos: KAddr) => Bytes): Bytes {
  if ((file.mode & FMODE.STREAM) !== 0) return body(0);
  return atPosition(cx, file.pos, (at) =>
    andThen(body(at), (result) => {
      if (!isErr(result)) file.pos = getPosition(cx, at);
      return result;
    }),
  );
}

function getPosition(cx: Cx, at: KAddr): number {
  const { dv } = cx.kernel.mem;
  return fromWords(dv.getInt32(at, true), dv.getInt32(at + 4, true));
}

function putPosition(cx: Cx, at: KAddr, pos: number): void {
  const { dv } = cx.kernel.mem;
  dv.setInt32(at, pos | 0, true);
  dv.setInt32(at + 4, hiWord(pos), true);
}

/** Reads from a file into user memory. EBADF, EINVAL, EFAULT, and what the file answers. */
export const vfs_read = blockingFn(
  "vfs_read",
  [
    ["file", filep],
    ["buf", userPtr("char")],
    ["count", size_t],
    ["pos", ptr("loff_t")],
  ],
  ssize_t,
  (cx, file, buf, count, pos): Bytes => {
    if (!file.canRead) return EBADF;
    if ((file.mode & FMODE.CAN_READ) === 0) return EINVAL;
    const { mm } = cx.task;
    if (mm === null || !access_ok(buf, count)) return EFAULT;
    const checked = rw_verify_area(cx, READ, file, pos, count);
    if (isErr(checked)) return checked;
    return readThrough(cx, file, IovIter.user(mm, buf, count), pos, 0);
  },
);

/** Writes from user memory to a file. EBADF, EINVAL, EFAULT, and what the file answers. */
export const vfs_write = blockingFn(
  "vfs_write",
  [
    ["file", filep],
    ["buf", userPtr("char")],
    ["count", size_t],
    ["pos", ptr("loff_t")],
  ],
  ssize_t,
  (cx, file, buf, count, pos): Bytes => {
    if (!file.canWrite) return EBADF;
    if ((file.mode & FMODE.CAN_WRITE) === 0) return EINVAL;
    const { mm } = cx.task;
    if (mm === null || !access_ok(buf, count)) return EFAULT;
    const checked = rw_verify_area(cx, WRITE, file, pos, count);
    if (isErr(checked)) return checked;
    return writeThrough(cx, file, IovIter.user(mm, buf, count), pos, 0);
  },
);

/** Reads into an iterator: readv, preadv2, sendfile, the kernel itself. `flags` of IOCB. */
export const vfs_iter_read = blockingFn(
  "vfs_iter_read",
  [
    ["file", filep],
    ["iter", iov_iterp],
    ["ppos", ptr("loff_t")],
    ["flags", s32],
  ],
  ssize_t,
  (cx, file, iter, pos, flags): Bytes => {
    if (!file.canRead) return EBADF;
    if ((file.mode & FMODE.CAN_READ) === 0) return EINVAL;
    if (iter.count === 0) return 0;
    const checked = rw_verify_area(cx, READ, file, pos, iter.count);
    return isErr(checked) ? checked : readThrough(cx, file, iter, pos, flags);
  },
);

export const vfs_iter_write = blockingFn(
  "vfs_iter_write",
  [
    ["file", filep],
    ["iter", iov_iterp],
    ["ppos", ptr("loff_t")],
    ["flags", s32],
  ],
  ssize_t,
  (cx, file, iter, pos, flags): Bytes => {
    if (!file.canWrite) return EBADF;
    if ((file.mode & FMODE.CAN_WRITE) === 0) return EINVAL;
    if (iter.count === 0) return 0;
    const checked = rw_verify_area(cx, WRITE, file, pos, iter.count);
    return isErr(checked) ? checked : writeThrough(cx, file, iter, pos, flags);
  },
);

/** A negative position or one that overflows (fs/read_write.c). */
export const rw_verify_area = kernelFn(
  "rw_verify_area",
  [
    ["read_write", s32],
    ["file", filep],
    ["ppos", ptr("loff_t")],
    ["count", size_t],
  ],
  s32,
  (cx, _readWrite, _file, ppos, count) => {
    if (ppos === 0) return 0;
    const pos = getPosition(cx, ppos);
    if (pos < 0) return EINVAL;
    return pos + Math.min(count, MAX_RW_COUNT) > Number.MAX_SAFE_INTEGER ? EOVERFLOW : 0;
  },
);

function readThrough(cx: Cx, file: File, iter: IovIter, pos: KAddr, flags: number): Bytes {
  const { read_iter } = file.f_op;
  if (read_iter === undefined) return EINVAL;
  const { ksp } = cx;
  const iocb = stackKiocb(cx, file, pos === 0 ? 0 : getPosition(cx, pos), flags);
  return andThen(read_iter.call(file.f_op, cx, iocb, iter), (result) => {
    if (!isErr(result)) {
      if (pos !== 0) putPosition(cx, pos, iocb.pos);
      if ((file.flags & O.NOATIME) === 0) touch_atime(file.path);
    }
    cx.ksp = ksp;
    return result;
  });
}

function writeThrough(cx: Cx, file: File, iter: IovIter, pos: KAddr, flags: number): Bytes {
  const { write_iter } = file.f_op;
  if (write_iter === undefined) return EINVAL;
  const { ksp } = cx;
  const sync = (file.flags & O.DSYNC) !== 0 ? IOCB.DSYNC : 0;
  const iocb = stackKiocb(cx, file, pos === 0 ? 0 : getPosition(cx, pos), flags | sync);
  return andThen(write_iter.call(file.f_op, cx, iocb, iter), (result) => {
    if (!isErr(result) && pos !== 0) putPosition(cx, pos, iocb.pos);
    cx.ksp = ksp;
    return result;
  });
}

/** Reads into kernel memory or an array, at a position of the kernel's own (kernel_read). */
export function kernel_read(cx: Cx, file: File, into: Uint8Array, pos: number): Bytes {
  return atPosition(cx, pos, (at) => vfs_iter_read(cx, file, IovIter.bytes(cx.kernel.mem, into), at, 0));
}

export function kernel_write(cx: Cx, file: File, bytes: Uint8Array, pos: number): Bytes {
  return atPosition(cx, pos, (at) => vfs_iter_write(cx, file, IovIter.bytes(cx.kernel.mem, bytes), at, 0));
}

/** Moves a file's position. ESPIPE, EINVAL, ENXIO. */
export const vfs_llseek = kernelFn(
  "vfs_llseek",
  [
    ["file", filep],
    ["offset", loff_t],
    ["whence", s32],
  ],
  loff_t,
  (cx, file, offset, whence) => {
    const { llseek } = file.f_op;
    if ((file.mode & FMODE.LSEEK) === 0 || llseek === undefined) return ESPIPE;
    return llseek.call(file.f_op, cx, file, offset, whence);
  },
);

/**
 * llseek for a file of `size` bytes (generic_file_llseek_size). `holes` answers SEEK_DATA and SEEK_HOLE for offsets below the
 * size; without it the whole file is data.
 */
export function generic_file_llseek(
  file: File,
  offset: number,
  whence: number,
  size: number,
  holes?: (offset: number, whence: number) => number,
): Result<number> {
  let target: number;
  switch (whence) {
    case SEEK.SET:
      target = offset;
      break;
    case SEEK.CUR:
      target = file.pos + offset;
      break;
    case SEEK.END:
      target = size + offset;
      break;
    case SEEK.DATA:
    case SEEK.HOLE:
      if (offset < 0 || offset >= size) return ENXIO;
      target = holes?.(offset, whence) ?? (whence === SEEK.DATA ? offset : size);
      if (whence === SEEK.DATA && target >= size) return ENXIO;
      break;
    default:
      return EINVAL;
  }
  if (target < 0 || target > file.inode.sb.t.s_maxbytes) return EINVAL;
  file.pos = target;
  return target;
}

/** Emits the entries of a directory. ENOTDIR, ENOENT for a removed one. */
export const iterate_dir = blockingFn(
  "iterate_dir",
  [
    ["file", filep],
    ["ctx", ownerPtr<DirContextHandle>("dir_context")],
  ],
  s32,
  (cx, file, { ctx }): MaybeBlocking<Result<number>> => {
    const { iterate_shared } = file.f_op;
    if (iterate_shared === undefined) return ENOTDIR;
    if (isDead(file.inode)) return ENOENT;
    ctx.pos = file.pos;
    return andThen<Result<number>, Result<number>>(
      iterate_shared.call(file.f_op, cx, file, ctx),
      (result) => {
        file.pos = ctx.pos;
        touch_atime(file.path);
        return result;
      },
    );
  },
);

/** struct dir_context on the stack, around a DirContext. */
export class DirContextHandle implements Owned {
  readonly addr: KAddr;
  readonly ctx: DirContext;
  constructor(cx: Cx, ctx: DirContext) {
    this.addr = stackAlloc(cx, 16);
    this.ctx = ctx;
  }
}

/** Runs iterate_dir with the context on the stack. */
export function iterateDir(cx: Cx, file: File, ctx: DirContext): MaybeBlocking<Result<number>> {
  const { ksp } = cx;
  return andThen(iterate_dir(cx, file, new DirContextHandle(cx, ctx)), (result) => {
    cx.ksp = ksp;
    return result;
  });
}

/** EINVAL for a file that cannot be synchronised. */
export const vfs_fsync_range = blockingFn(
  "vfs_fsync_range",
  [
    ["file", filep],
    ["start", loff_t],
    ["end", loff_t],
    ["datasync", s32],
  ],
  s32,
  (cx, file, start, end, datasync): MaybeBlocking<Result<number>> => {
    const { fsync } = file.f_op;
    return fsync === undefined ? EINVAL : fsync.call(file.f_op, cx, file, start, end, datasync !== 0);
  },
);

export const vfs_fsync = blockingFn(
  "vfs_fsync",
  [
    ["file", filep],
    ["datasync", s32],
  ],
  s32,
  (cx, file, datasync): MaybeBlocking<Result<number>> =>
    vfs_fsync_range(cx, file, 0, Number.MAX_SAFE_INTEGER, datasync),
);

const FALLOC_SUPPORTED = 0x7b;
const FALLOC_FL_KEEP_SIZE = 1;
const FALLOC_FL_PUNCH_HOLE = 2;

/** fallocate(2)'s checks. EBADF, EINVAL, EOPNOTSUPP, ENODEV, EFBIG. */
export const vfs_fallocate = kernelFn(
  "vfs_fallocate",
  [
    ["file", filep],
    ["mode", s32],
    ["offset", loff_t],
    ["len", loff_t],
  ],
  s32,
  (cx, file, mode, offset, len) => {
    if (offset < 0 || len <= 0) return EINVAL;
    if ((mode & ~FALLOC_SUPPORTED) !== 0) return EOPNOTSUPP;
    const punches = (mode & FALLOC_FL_PUNCH_HOLE) !== 0;
    if (punches && (mode & FALLOC_FL_KEEP_SIZE) === 0) return EOPNOTSUPP;
    if (!file.canWrite) return EBADF;
    const { inode } = file;
    if (inode.isDirectory) return EISDIR;
    if (!inode.isRegular) return inode.type === S.IFIFO ? ESPIPE : ENODEV;
    if (offset + len > inode.sb.t.s_maxbytes) return EFBIG;
    return file.f_op.fallocate?.(cx, file, mode, offset, len) ?? EOPNOTSUPP;
  },
);
