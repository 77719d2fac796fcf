/** Open files of tmpfs: regular files and directories. Linux: mm/shmem.c, fs/libfs.c. */
import {
  EFAULT,
  EFBIG,
  EINVAL,
  EISDIR,
  EOPNOTSUPP,
  EPERM,
  F_SEAL,
  isErr,
  type Result,
  RLIMIT,
  SEEK,
  SI,
  SIG,
  ssize_t,
} from "@alien-ts/abi";
import type { Cx } from "../../core/cx.ts";
import { kernelFn } from "../../core/row.ts";
import { VM } from "../../mm/vma.ts";
import { sendToTask, siginfo } from "../../task/signal.ts";
import { modeWithoutPrivileges } from "../../vfs/attr.ts";
import { mapFile } from "../../vfs/file-mapping.ts";
import { type File, type FileOperations, iov_iterp } from "../../vfs/file.ts";
import { type Inode, touchModified } from "../../vfs/inode.ts";
import { IOCB, kiocbp } from "../../vfs/kiocb.ts";
import { generic_file_llseek } from "../../vfs/read-write.ts";
import { emitDots } from "../simple.ts";
import { nodeOf } from "./node.ts";
import { ShmemPages } from "./shmem.ts";

const pagesOf = (inode: Inode): ShmemPages | undefined =>
  inode.pages instanceof ShmemPages ? inode.pages : undefined;

export const shmem_file_read_iter = kernelFn(
  "shmem_file_read_iter",
  [
    ["iocb", kiocbp],
    ["to", iov_iterp],
  ],
  ssize_t,
  (_cx, iocb, to) => {
    const { inode } = iocb.file;
    const pages = pagesOf(inode);
    const { pos } = iocb;
    const length = Math.min(to.count, inode.size - pos);
    if (pages === undefined || length <= 0) return 0;
    const copied = pages.read(pos, length, to);
    iocb.pos = pos + copied;
    return copied === 0 ? EFAULT : copied;
  },
);

export const shmem_file_write_iter = kernelFn(
  "shmem_file_write_iter",
  [
    ["iocb", kiocbp],
    ["from", iov_iterp],
  ],
  ssize_t,
  (cx, iocb, from) => {
    const { inode } = iocb.file;
    const pages = pagesOf(inode);
    if (pages === undefined) return EINVAL;
    if ((iocb.flags & IOCB.APPEND) !== 0) iocb.pos = inode.size;
    const { pos } = iocb;
    const length = generic_write_checks(cx, inode, pos, from.count);
    if (isErr(length) || length === 0) return length;
    const sealed = checkSeals(inode, pos + length);
    if (isErr(sealed)) return sealed;
    const mode = modeWithoutPrivileges(cx, inode);
    if (mode !== undefined) inode.t.i_mode = mode;
    const written = pages.write(pos, length, from);
    if (isErr(written)) return written;
    if (written === 0) return EFAULT;
    if (pos + written > inode.size) inode.size = pos + written;
    touchModified(inode);
    iocb.pos = pos + written;
    return written;
  },
);

/** How much may be written at `pos`: RLIMIT_FSIZE and the largest size cut it. EFBIG, with SIGXFSZ for the limit. */
function generic_write_checks(cx: Cx, inode: Inode, pos: number, count: number): Result<number> {
  const limit = cx.task.process.limit(RLIMIT.FSIZE);
  if (count > 0 && pos >= limit) {
    sendToTask(cx, cx.task, siginfo(SIG.XFSZ, SI.KERNEL));
    return EFBIG;
  }
  const maxBytes = inode.sb.t.s_maxbytes;
  if (count > 0 && pos >= maxBytes) return EFBIG;
  return Math.min(count, limit - pos, maxBytes - pos);
}

/** Seals of a memfd (F_ADD_SEALS) against a write that ends at `end`. */
function checkSeals(inode: Inode, end: number): Result<0> {
  const { seals } = nodeOf(inode);
  if ((seals & (F_SEAL.WRITE | F_SEAL.FUTURE_WRITE)) !== 0) return EPERM;
  return (seals & F_SEAL.GROW) !== 0 && end > inode.size ? EPERM : 0;
}

const FALLOC = { KEEP_SIZE: 1, PUNCH_HOLE: 2 } as const;

export const shmem_file_operations: FileOperations = {
  name: "shmem_file_operations",
  read_iter: shmem_file_read_iter,
  write_iter: shmem_file_write_iter,
  fsync: () => 0,
  llseek(_cx, file, offset, whence) {
    const pages = pagesOf(file.inode);
    const { size } = file.inode;
    return generic_file_llseek(file, offset, whence, size, (from, kind) =>
      pages === undefined ? size : pages.next(from, kind === SEEK.DATA, size),
    );
  },
  mmap(_cx, file, request) {
    const pages = pagesOf(file.inode);
    if (pages === undefined) return EINVAL;
    const { seals } = nodeOf(file.inode);
    if ((seals & (F_SEAL.WRITE | F_SEAL.FUTURE_WRITE)) !== 0 && (request.flags & VM.SHARED) !== 0) {
      if ((request.flags & VM.WRITE) !== 0) return EPERM;
      request.flags &= ~VM.MAYWRITE;
    }
    return mapFile(file, pages);
  },
  fallocate(_cx, file, mode, offset, length) {
    const { inode } = file;
    const pages = pagesOf(inode);
    if (pages === undefined || (mode & ~(FALLOC.KEEP_SIZE | FALLOC.PUNCH_HOLE)) !== 0) return EOPNOTSUPP;
    const { seals } = nodeOf(inode);
    if ((mode & FALLOC.PUNCH_HOLE) !== 0) {
      if ((seals & (F_SEAL.WRITE | F_SEAL.FUTURE_WRITE)) !== 0) return EPERM;
      pages.punch(offset, length);
      touchModified(inode);
      return 0;
    }
    const end = offset + length;
    if ((seals & F_SEAL.GROW) !== 0 && end > inode.size) return EPERM;
    const reserved = pages.reserve(offset, length);
    if (isErr(reserved)) return reserved;
    if ((mode & FALLOC.KEEP_SIZE) === 0 && end > inode.size) inode.size = end;
    touchModified(inode);
    return 0;
  },
};

/** Directories: positions are the entries' stable offsets. */
export const shmem_dir_operations: FileOperations = {
  name: "simple_offset_dir_operations",
  read_iter: () => EISDIR,
  fsync: () => 0,
  open(_cx, inode, file) {
    file.private_data = nodeOf(inode).dir?.next;
    return 0;
  },
  llseek(_cx, file: File, offset, whence) {
    if (whence !== SEEK.SET && whence !== SEEK.CUR) return EINVAL;
    const target = whence === SEEK.SET ? offset : file.pos + offset;
    if (target < 0) return EINVAL;
    if (target === 0) file.private_data = nodeOf(file.inode).dir?.next;
    file.pos = target;
    return target;
  },
  iterate_shared(_cx, file, ctx) {
    const { dir } = nodeOf(file.inode);
    if (dir === undefined || !emitDots(file, ctx)) return 0;
    // Entries made behind the open or the last rewind are not shown: a loop that makes some ends (offset_dir_open).
    const limit = typeof file.private_data === "number" ? file.private_data : dir.next;
    for (const [offset, dentry] of dir.entries) {
      if (offset >= limit) break;
      if (offset < ctx.pos || dentry.inode === null) continue;
      if (!ctx.emit(dentry.name, dentry.inode.ino, dentry.inode.type >> 12, offset + 1)) return 0;
      ctx.pos = offset + 1;
    }
    ctx.pos = Math.max(ctx.pos, limit);
    return 0;
  },
};
