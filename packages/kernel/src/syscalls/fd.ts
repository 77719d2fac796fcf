/** Descriptors: dup, dup3, fcntl, flock, ioctl. Linux: fs/file.c, fs/fcntl.c, fs/locks.c, fs/ioctl.c. */
import {
  EAGAIN,
  EBADF,
  EFAULT,
  EINVAL,
  ENOIOCTLCMD,
  ENOTTY,
  EOVERFLOW,
  EPERM,
  ESRCH,
  F,
  F_RDLCK,
  F_UNLCK,
  F_WRLCK,
  FD_CLOEXEC,
  flock,
  isErr,
  NR,
  O,
  type Result,
  SEEK,
  IOCTL,
  type UAddr,
  type View,
} from "@alien-ts/abi";
import type { Cx } from "../core/cx.ts";
import { int, syscall, uint, ulongArg } from "../core/syscall.ts";
import { memfd_add_seals, memfd_get_seals } from "../fs/tmpfs/memfd.ts";
import { pipe_fcntl } from "../ipc/pipe-files.ts";
import { get_user_s32, put_user_u32, put_user_u64 } from "../mm/uaccess.ts";
import { andThen, type MaybeBlocking } from "../vfs/blocking.ts";
import { addFile, openFilesLimit, replaceFd } from "../vfs/fd-table.ts";
import { fget_raw, type File, FMODE, fput, get_file } from "../vfs/file.ts";
import { FileLocks, isLockType, type RecordLock } from "../vfs/locks.ts";
import { isOwnerOrCapable } from "../vfs/permission.ts";
import { withFile } from "../vfs/read-write.ts";
import { getStruct, putStruct, userMm } from "../vfs/user.ts";

const FD = ["fd", uint] as const;

/** Runs `body` with the file of a descriptor, O_PATH ones too. EBADF. */
function withRawFile(
  cx: Cx,
  fd: number,
  body: (file: File) => MaybeBlocking<Result<number>>,
): MaybeBlocking<Result<number>> {
  const file = fget_raw(cx, fd);
  if (isErr(file)) return file;
  return andThen(body(file), (result) => {
    fput(cx, file);
    return result;
  });
}

export const sys_dup = syscall(NR.dup, "dup", [["fildes", uint]], (cx, fildes) => {
  const file = fget_raw(cx, fildes);
  return isErr(file) ? file : addFile(cx, file, false);
});

export const sys_dup3 = syscall(
  NR.dup3,
  "dup3",
  [
    ["oldfd", uint],
    ["newfd", uint],
    ["flags", int],
  ],
  (cx, oldfd, newfd, flags) => {
    if ((flags & ~O.CLOEXEC) !== 0 || oldfd === newfd) return EINVAL;
    if (newfd >= openFilesLimit(cx)) return EBADF;
    return withRawFile(cx, oldfd, (file) => replaceFd(cx, newfd, file, (flags & O.CLOEXEC) !== 0));
  },
);

/** Commands of fcntl that are not in the UAPI's generic list of this package. */
const F_SETSIG = 10;
const F_GETSIG = 11;
const F_GETLEASE = 1025;
const PATH_COMMANDS: readonly number[] = [F.DUPFD, F.DUPFD_CLOEXEC, F.GETFD, F.SETFD, F.GETFL];

export const sys_fcntl = syscall(
  NR.fcntl,
  "fcntl",
  [FD, ["cmd", uint], ["arg", ulongArg]],
  (cx, fd, cmd, arg) =>
    withRawFile(cx, fd, (file) => {
      if ((file.mode & FMODE.PATH) !== 0 && !PATH_COMMANDS.includes(cmd)) return EBADF;
      return do_fcntl(cx, fd, file, cmd, arg);
    }),
);

function do_fcntl(cx: Cx, fd: number, file: File, cmd: number, arg: number): MaybeBlocking<Result<number>> {
  const { files } = cx.task;
  switch (cmd) {
    case F.DUPFD:
    case F.DUPFD_CLOEXEC:
      if (arg >= openFilesLimit(cx)) return EINVAL;
      return addFile(cx, get_file(file), cmd === F.DUPFD_CLOEXEC, arg);
    case F.GETFD:
      return files.isCloexec(fd) ? FD_CLOEXEC : 0;
    case F.SETFD:
      files.setCloexec(fd, (lowWord(arg) & FD_CLOEXEC) !== 0);
      return 0;
    case F.GETFL:
      return file.flags;
    case F.SETFL:
      return setFlags(cx, file, lowWord(arg));
    case F.GETLK:
    case F.OFD_GETLK:
      return getLock(cx, file, arg, cmd === F.OFD_GETLK);
    case F.SETLK:
    case F.SETLKW:
    case F.OFD_SETLK:
    case F.OFD_SETLKW:
      return setLock(cx, file, arg, {
        isOfd: cmd >= F.OFD_GETLK,
        waits: cmd === F.SETLKW || cmd === F.OFD_SETLKW,
      });
    case F.GETOWN:
      return file.ownerPid;
    case F.SETOWN:
      return setOwner(cx, file, lowWord(arg));
    case F_GETSIG:
      return file.ownerSignal;
    case F_SETSIG:
      if (arg > 64) return EINVAL;
      file.ownerSignal = arg;
      return 0;
    case F_GETLEASE:
      return F_UNLCK;
    case F.SETPIPE_SZ:
    case F.GETPIPE_SZ:
      return pipe_fcntl(cx, file, cmd, arg);
    case F.ADD_SEALS:
      return arg > 0xffff_ffff ? EINVAL : memfd_add_seals(cx, file, arg);
    case F.GET_SEALS:
      return memfd_get_seals(file);
    default:
      return EINVAL;
  }
}

/** The low 32 bits of an argument, signed. */
const lowWord = (arg: number): number => (arg % 0x1_0000_0000) | 0;

const SETFL_MASK = O.APPEND | O.NONBLOCK | O.DIRECT | O.NOATIME;

function setFlags(cx: Cx, file: File, flags: number): Result<number> {
  const { inode } = file;
  if ((flags & O.NOATIME) !== 0 && (file.flags & O.NOATIME) === 0 && !isOwnerOrCapable(cx, inode))
    return EPERM;
  if ((flags & O.DIRECT) !== 0 && !inode.isRegular && inode.pipe === undefined) return EINVAL;
  file.flags = (file.flags & ~SETFL_MASK) | (flags & SETFL_MASK);
  return 0;
}

/** F_SETOWN: a process, or minus a process group. ESRCH. */
function setOwner(cx: Cx, file: File, who: number): Result<number> {
  if (who === -0x8000_0000) return EINVAL;
  const { pids } = cx.kernel;
  const isThere = who === 0 || (who > 0 ? pids.find(who) !== undefined : pids.group(-who).length > 0);
  if (!isThere) return ESRCH;
  file.ownerPid = who;
  return 0;
}

/** A struct flock of user memory as a lock. EFAULT, EINVAL, EOVERFLOW. Linux: flock64_to_posix_lock(). */
function readLock(cx: Cx, file: File, from: UAddr, isOfd: boolean): Result<RecordLock> {
  const fields = getStruct(cx, flock, from, (view: View<typeof flock.fields>) => ({
    type: view.l_type,
    whence: view.l_whence,
    start: view.l_start,
    length: view.l_len,
    pid: view.l_pid,
  }));
  if (isErr(fields)) return fields;
  if (isOfd && fields.pid !== 0) return EINVAL;
  const base =
    fields.whence === SEEK.SET
      ? 0
      : fields.whence === SEEK.CUR
        ? file.pos
        : fields.whence === SEEK.END
          ? file.inode.size
          : undefined;
  if (base === undefined || !isLockType(fields.type)) return EINVAL;
  let start = base + fields.start;
  let end = Number.POSITIVE_INFINITY;
  if (start > Number.MAX_SAFE_INTEGER) return EOVERFLOW;
  if (fields.length > 0) end = start + fields.length - 1;
  else if (fields.length < 0) {
    end = start - 1;
    start += fields.length;
  }
  if (start < 0) return EINVAL;
  const owner = isOfd ? file : cx.task.files;
  return { owner, type: fields.type, start, end, pid: isOfd ? -1 : cx.task.tgid };
}

function getLock(cx: Cx, file: File, arg: UAddr, isOfd: boolean): Result<number> {
  const wanted = readLock(cx, file, arg, isOfd);
  if (isErr(wanted)) return wanted;
  if (wanted.type === F_UNLCK) return EINVAL;
  const held = file.inode.locks?.conflictOf(wanted);
  if (held === undefined) {
    // Only the type changes when nothing conflicts.
    const same = getStruct(cx, flock, arg, (view: View<typeof flock.fields>) => ({
      whence: view.l_whence,
      start: view.l_start,
      length: view.l_len,
      pid: view.l_pid,
    }));
    return isErr(same) ? same : putLock(cx, arg, { type: F_UNLCK, ...same });
  }
  const length = held.end === Number.POSITIVE_INFINITY ? 0 : held.end - held.start + 1;
  return putLock(cx, arg, { type: held.type, whence: SEEK.SET, start: held.start, length, pid: held.pid });
}

interface LockFields {
  readonly type: number;
  readonly whence: number;
  readonly start: number;
  readonly length: number;
  readonly pid: number;
}

const putLock = (cx: Cx, to: UAddr, { type, whence, start, length, pid }: LockFields): Result<0> =>
  putStruct(cx, flock, to, (view: View<typeof flock.fields>) => {
    view.l_type = type;
    view.l_whence = whence;
    view.l_start = start;
    view.l_len = length;
    view.l_pid = pid;
  });

function setLock(
  cx: Cx,
  file: File,
  arg: UAddr,
  { isOfd, waits }: { readonly isOfd: boolean; readonly waits: boolean },
): MaybeBlocking<Result<number>> {
  const wanted = readLock(cx, file, arg, isOfd);
  if (isErr(wanted)) return wanted;
  if (wanted.type === F_RDLCK && !file.canRead) return EBADF;
  if (wanted.type === F_WRLCK && !file.canWrite) return EBADF;
  const { inode } = file;
  inode.locks ??= new FileLocks();
  const result = inode.locks.set(cx, wanted);
  return result === EAGAIN && waits ? inode.locks.setWait(cx, wanted) : result;
}

const LOCK = { SH: 1, EX: 2, NB: 4, UN: 8, MAND: 32 } as const;

export const sys_flock = syscall(NR.flock, "flock", [FD, ["cmd", uint]], (cx, fd, cmd) => {
  // LOCK_MAND was taken out in 5.15: it does nothing.
  if ((cmd & LOCK.MAND) !== 0) return 0;
  const kind = cmd & ~LOCK.NB;
  if (kind !== LOCK.SH && kind !== LOCK.EX && kind !== LOCK.UN) return EINVAL;
  return withFile<number>(cx, fd, (file) => {
    const { inode } = file;
    if (kind === LOCK.UN) {
      inode.locks?.funlock(cx, file);
      return 0;
    }
    if (!file.canRead && !file.canWrite) return EBADF;
    inode.locks ??= new FileLocks();
    const result = inode.locks.flock(cx, file, kind === LOCK.EX);
    return result === EAGAIN && (cmd & LOCK.NB) === 0
      ? inode.locks.flockWait(cx, file, kind === LOCK.EX)
      : result;
  });
});

const FIOQSIZE = 0x5460;
const FIGETBSZ = 2;

export const sys_ioctl = syscall(
  NR.ioctl,
  "ioctl",
  [FD, ["cmd", uint], ["arg", ulongArg]],
  (cx, fd, cmd, arg) => withFile(cx, fd, (file) => do_vfs_ioctl(cx, fd, file, cmd, arg)),
);

/** What every file answers, then the file's own. Linux: do_vfs_ioctl(), vfs_ioctl(). */
function do_vfs_ioctl(
  cx: Cx,
  fd: number,
  file: File,
  cmd: number,
  arg: UAddr,
): MaybeBlocking<Result<number>> {
  const mm = userMm(cx);
  const { inode } = file;
  switch (cmd) {
    case IOCTL.FIOCLEX:
    case IOCTL.FIONCLEX:
      cx.task.files.setCloexec(fd, cmd === IOCTL.FIOCLEX);
      return 0;
    case IOCTL.FIONBIO: {
      const isOn = get_user_s32(mm, arg);
      if (isErr(isOn)) return EFAULT;
      file.flags = isOn === 0 ? file.flags & ~O.NONBLOCK : file.flags | O.NONBLOCK;
      return 0;
    }
    case IOCTL.FIOASYNC: {
      const isOn = get_user_s32(mm, arg);
      if (isErr(isOn)) return EFAULT;
      return (isOn !== 0) === ((file.flags & O.ASYNC) !== 0) ? 0 : ENOTTY;
    }
    case FIOQSIZE:
      if (!inode.isDirectory && !inode.isRegular && !inode.isSymlink) return ENOTTY;
      return put_user_u64(mm, arg, inode.t.i_blocks * 512);
    case FIGETBSZ:
      return put_user_u32(mm, arg, inode.sb.t.s_blocksize);
    case IOCTL.FIONREAD:
      if (inode.isRegular)
        return put_user_u32(mm, arg, Math.min(Math.max(inode.size - file.pos, 0), 0x7fff_ffff));
      return fileIoctl(cx, file, cmd, arg);
    default:
      return fileIoctl(cx, file, cmd, arg);
  }
}

function fileIoctl(cx: Cx, file: File, cmd: number, arg: UAddr): MaybeBlocking<Result<number>> {
  const own = file.f_op.unlocked_ioctl;
  if (own === undefined) return ENOTTY;
  return andThen(own.call(file.f_op, cx, file, cmd, arg), (result) =>
    result === ENOIOCTLCMD ? ENOTTY : result,
  );
}

export const FD_SYSCALLS = [sys_dup, sys_dup3, sys_fcntl, sys_flock, sys_ioctl] as const;
