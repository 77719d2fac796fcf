/**
 * Files over pipes: the operations of both ends, pipe2(2), FIFOs, the sizes that fcntl(2) sets (Linux: fs/pipe.c).
 *
 * `initPipes` mounts pipefs and gives the VFS the operations of FIFOs. `do_pipe2` makes two descriptors; `pipe_fcntl` answers
 * F_GETPIPE_SZ and F_SETPIPE_SZ.
 */
import {
  CAP,
  EBADF,
  EBUSY,
  EFAULT,
  EINVAL,
  ENOIOCTLCMD,
  ENXIO,
  EPERM,
  ERESTARTSYS,
  F,
  IOCTL,
  isErr,
  O,
  PAGE_SIZE,
  POLL,
  type Result,
  S,
  s32,
  u32,
  ulong,
  userPtr,
} from "@alien-ts/abi";
import { capable } from "../core/cred.ts";
import type { Cx } from "../core/cx.ts";
import type { Kernel } from "../core/kernel.ts";
import { type Blocking, kernelFn, sleepingFn } from "../core/row.ts";
import { put_user_u32 } from "../mm/uaccess.ts";
import { waitEvent, type WaitQueue, wakeUpAll } from "../sched/wait.ts";
import { fd_install, getUnusedFd } from "../vfs/fd-table.ts";
import { type File, type FileOperations, filep, FMODE, fput, stream_open } from "../vfs/file.ts";
import { type Inode, inodep } from "../vfs/inode.ts";
import type { Mount } from "../vfs/mount.ts";
import { createPipe, Pipe, PIPE_MAX_SIZE, pipe_read, pipe_write, releaseEnd } from "./pipe.ts";
import { mountPseudoFs, numberedName, pseudoFiles, pseudoInode } from "./pseudo-fs.ts";

declare module "../core/kernel.ts" {
  interface Kernel {
    pipeMount: Mount;
  }
}

const PIPEFS_MAGIC = 0x5049_5045;
const READ_EVENTS = POLL.IN | POLL.RDNORM;
const WRITE_EVENTS = POLL.OUT | POLL.WRNORM;

export const pipefifo_fops: FileOperations = {
  name: "pipefifo_fops",
  open: (cx, inode, file) => fifo_open(cx, inode, file) as Blocking<Result<0>>,
  read_iter: (cx, iocb, to) => pipe_read(cx, iocb, to),
  write_iter: (cx, iocb, from) => pipe_write(cx, iocb, from),
  poll: pipePoll,
  unlocked_ioctl(cx, file, cmd, arg) {
    if (cmd !== IOCTL.FIONREAD) return ENOIOCTLCMD;
    const { mm } = cx.task;
    return mm === null ? EFAULT : put_user_u32(mm, arg, (file.private_data as Pipe).bytes);
  },
  release(cx, inode, file) {
    pipe_release(cx, inode, file);
  },
};

export function initPipes(cx: Cx): void {
  const { kernel } = cx;
  kernel.pipeMount = mountPseudoFs(cx, { name: "pipefs", magic: PIPEFS_MAGIC });
  kernel.vfs.fifoOperations = pipefifo_fops;
}

function pipePoll(_cx: Cx, file: File, register: ((queue: WaitQueue) => void) | undefined): number {
  const pipe = file.private_data as Pipe;
  pipe.t.poll_usage = true;
  let mask = 0;
  if (file.canRead) {
    register?.(pipe.readWait);
    if (!pipe.isEmpty) mask |= READ_EVENTS;
    if (pipe.t.writers === 0 && pipe.openedAt.get(file) !== pipe.t.w_counter) mask |= POLL.HUP;
  }
  if (file.canWrite) {
    register?.(pipe.writeWait);
    if (!pipe.isFull) mask |= WRITE_EVENTS;
    // Most Unices do not set ERR for FIFOs, but Linux does so as for pipes.
    if (pipe.t.readers === 0) mask |= POLL.ERR;
  }
  return mask;
}

export const pipe_release = kernelFn(
  "pipe_release",
  [
    ["inode", inodep],
    ["file", filep],
  ],
  s32,
  (cx, inode, file) => {
    const pipe = file.private_data as Pipe;
    releaseEnd(cx, pipe, file.canRead, file.canWrite);
    putPipe(inode, pipe);
    return 0;
  },
  { local: true },
);

/** A file lets go of the pipe; the last one frees it (put_pipe_info). */
function putPipe(inode: Inode, pipe: Pipe): void {
  pipe.t.files -= 1;
  if (pipe.t.files > 0) return;
  inode.pipe = undefined;
  pipe.free();
}

const O_PIPE = O.CLOEXEC | O.NONBLOCK | O.DIRECT;
const pipeName = numberedName("pipe");

/** A pipe's two files: read end, write end. ENFILE, ENOMEM. Linux: create_pipe_files(). */
export function createPipeFiles(cx: Cx, flags: number): Result<readonly [File, File]> {
  const { kernel } = cx;
  const pipe = createPipe(kernel);
  if (isErr(pipe)) return pipe;
  const mnt = kernel.pipeMount;
  const inode = pseudoInode(cx, mnt, { mode: S.IFIFO | 0o600, i_fop: pipefifo_fops, data: undefined });
  if (isErr(inode)) {
    pipe.free();
    return inode;
  }
  inode.pipe = pipe;
  pipe.t.files = 1;
  const kept = flags & (O.NONBLOCK | O.DIRECT);
  const files = pseudoFiles(cx, mnt, inode, {
    d_op: pipeName,
    flags: [O.RDONLY | (kept & O.NONBLOCK), O.WRONLY | kept],
    opened: (file) => {
      file.private_data = pipe;
      pipe.t.files += 1;
      if (file.canRead) pipe.t.readers += 1;
      else pipe.t.writers += 1;
      stream_open(file);
    },
  });
  putPipe(inode, pipe);
  return isErr(files) ? files : [files[0]!, files[1]!];
}

/** pipe2(2). EINVAL for unknown flags, EMFILE, ENFILE, EFAULT. */
export const do_pipe2 = kernelFn(
  "do_pipe2",
  [
    ["fildes", userPtr("int")],
    ["flags", s32],
  ],
  s32,
  (cx, fildes, flags) => {
    if ((flags & ~O_PIPE) !== 0) return EINVAL;
    const files = createPipeFiles(cx, flags);
    if (isErr(files)) return files;
    const fds = reserveTwo(cx, (flags & O.CLOEXEC) !== 0);
    if (isErr(fds)) {
      for (const file of files) fput(cx, file);
      return fds;
    }
    const { mm } = cx.task;
    const isWritten =
      mm !== null && !isErr(put_user_u32(mm, fildes, fds[0])) && !isErr(put_user_u32(mm, fildes + 4, fds[1]));
    for (const [i, file] of files.entries()) {
      if (isWritten) fd_install(cx, fds[i]!, file);
      else {
        cx.task.files.freeFd(fds[i]!);
        fput(cx, file);
      }
    }
    return isWritten ? 0 : EFAULT;
  },
  { local: true },
);

/** Two reserved descriptors. EMFILE with none reserved. */
export function reserveTwo(cx: Cx, isCloexec: boolean): Result<readonly [number, number]> {
  const first = getUnusedFd(cx, isCloexec);
  if (isErr(first)) return first;
  const second = getUnusedFd(cx, isCloexec);
  if (!isErr(second)) return [first, second];
  cx.task.files.freeFd(first);
  return second;
}

/** Opening a FIFO waits for the other end (fifo(7)); O_NONBLOCK does not, and fails with ENXIO for a lonely writer. */
export const fifo_open = sleepingFn(
  "fifo_open",
  [
    ["inode", inodep],
    ["filp", filep],
  ],
  s32,
  function* (cx, inode, filp) {
    const pipe = pipeOf(cx.kernel, inode);
    if (isErr(pipe)) return pipe;
    pipe.t.files += 1;
    filp.private_data = pipe;
    stream_open(filp);
    const opened = yield* joinFifo(cx, pipe, filp);
    if (isErr(opened)) putPipe(inode, pipe);
    return opened;
  },
  { local: true },
);

function pipeOf(kernel: Kernel, inode: Inode): Result<Pipe> {
  if (inode.pipe instanceof Pipe) return inode.pipe;
  const pipe = createPipe(kernel);
  if (!isErr(pipe)) inode.pipe = pipe;
  return pipe;
}

function* joinFifo(cx: Cx, pipe: Pipe, filp: File): Blocking<Result<0>> {
  const isPipe = filp.inode.sb === cx.kernel.pipeMount.sb;
  const { t } = pipe;
  switch (filp.mode & (FMODE.READ | FMODE.WRITE)) {
    case FMODE.READ: {
      t.r_counter += 1;
      t.readers += 1;
      if (t.readers === 1) wakePartner(cx, pipe);
      if (isPipe || t.writers > 0) return 0;
      if (filp.isNonBlocking) {
        pipe.openedAt.set(filp, t.w_counter);
        return 0;
      }
      const seen = t.w_counter;
      const met = yield* waitEvent(cx, pipe.readWait, () => t.w_counter !== seen);
      if (!isErr(met)) return 0;
      t.readers -= 1;
      if (t.readers === 0) wakeUpAll(cx, pipe.writeWait);
      return ERESTARTSYS;
    }
    case FMODE.WRITE: {
      if (!isPipe && filp.isNonBlocking && t.readers === 0) return ENXIO;
      t.w_counter += 1;
      t.writers += 1;
      if (t.writers === 1) wakePartner(cx, pipe);
      if (isPipe || t.readers > 0) return 0;
      const seen = t.r_counter;
      const met = yield* waitEvent(cx, pipe.readWait, () => t.r_counter !== seen);
      if (!isErr(met)) return 0;
      t.writers -= 1;
      if (t.writers === 0) wakeUpAll(cx, pipe.readWait);
      return ERESTARTSYS;
    }
    case FMODE.READ | FMODE.WRITE:
      t.readers += 1;
      t.writers += 1;
      t.r_counter += 1;
      t.w_counter += 1;
      if (t.readers === 1 || t.writers === 1) wakePartner(cx, pipe);
      return 0;
    default:
      return EINVAL;
  }
}

const wakePartner = (cx: Cx, pipe: Pipe): void => wakeUpAll(cx, pipe.readWait);

/** F_GETPIPE_SZ and F_SETPIPE_SZ. EBADF for what is no pipe, EINVAL, EPERM, EBUSY, ENOMEM. */
export const pipe_fcntl = kernelFn(
  "pipe_fcntl",
  [
    ["file", filep],
    ["cmd", u32],
    ["arg", ulong],
  ],
  s32,
  (cx, file, cmd, arg) => {
    const pipe = file.private_data;
    if (!(pipe instanceof Pipe)) return EBADF;
    if (cmd === F.GETPIPE_SZ) return pipe.t.max_usage * PAGE_SIZE;
    return cmd === F.SETPIPE_SZ ? setSize(cx, pipe, arg) : EINVAL;
  },
);

const LARGEST_SIZE = 2 ** 31;

/** Linux: pipe_set_size(). */
function setSize(cx: Cx, pipe: Pipe, bytes: number): Result<number> {
  if (bytes > LARGEST_SIZE) return EINVAL;
  let slots = 1;
  while (slots * PAGE_SIZE < bytes) slots *= 2;
  if (slots > pipe.t.max_usage && slots * PAGE_SIZE > PIPE_MAX_SIZE && !capable(cx, CAP.SYS_RESOURCE))
    return EPERM;
  if (pipe.used > slots) return EBUSY;
  const wasFull = pipe.isFull;
  const resized = pipe.resize(slots);
  if (isErr(resized)) return resized;
  if (wasFull) wakeUpAll(cx, pipe.writeWait, WRITE_EVENTS);
  return slots * PAGE_SIZE;
}
