/**
 * Pidfds: files that stand for a process, or with PIDFD_THREAD for a thread (Linux: kernel/fork.c, fs/pidfs.c). Readable when
 * it has ended; also HUP when it has been waited for. A pidfd keeps nothing of the process alive but its own object.
 */
import {
  EBADF,
  EINVAL,
  ENOENT,
  EPERM,
  ESRCH,
  isErr,
  O,
  PIDFD_NONBLOCK,
  POLL,
  type Result,
  s32,
  SI,
  u32,
  CAP,
} from "@alien-ts/abi";
import { capable, sameOwner } from "../core/cred.ts";
import type { Cx } from "../core/cx.ts";
import { kernelFn } from "../core/row.ts";
import type { Task } from "../core/task.ts";
import { taskp } from "../sched/wakeup.ts";
import type { Process, SigInfo } from "../task/process.ts";
import { mayKill, sendToGroup, sendToProcess, sendToTask, siginfoFrom } from "../task/signal.ts";
import { anon_inode_getfile } from "../vfs/anon-inodes.ts";
import { addFile, fd_install, getUnusedFd } from "../vfs/fd-table.ts";
import { type File, type FileOperations, fput, get_file } from "../vfs/file.ts";

/** Flags of pidfd_open(2) and pidfd_send_signal(2) (include/uapi/linux/pidfd.h). */
const PIDFD_THREAD = O.EXCL;
const PIDFD_SIGNAL = { THREAD: 1, THREAD_GROUP: 2, PROCESS_GROUP: 4 } as const;

interface PidFd {
  readonly task: Task;
  readonly process: Process;
  readonly pid: number;
  readonly isThread: boolean;
}

/** The task was waited for: nothing of its struct may be read. */
const isReaped = ({ task, pid }: PidFd): boolean => task.kernel.pids.find(pid) !== task;

export const pidfs_file_operations: FileOperations = {
  name: "pidfs_file_operations",
  poll(_cx, file, register) {
    const pidfd = file.private_data as PidFd;
    register?.(pidfd.process.waitPidfd);
    if (isReaped(pidfd)) return POLL.IN | POLL.RDNORM | POLL.HUP;
    const hasEnded = pidfd.task.t.exit_state !== 0 && (pidfd.isThread || pidfd.process.threads.size === 0);
    return hasEnded ? POLL.IN | POLL.RDNORM : 0;
  },
  show_fdinfo(_cx, file) {
    const pidfd = file.private_data as PidFd;
    const pid = isReaped(pidfd) ? -1 : pidfd.pid;
    return `Pid:\t${pid}\nNSpid:\t${pid}\n`;
  },
};

/** A pidfd's file for `task` (clone with CLONE_PIDFD, pidfd_open). ENFILE, ENOMEM. */
export const pidfd_prepare = kernelFn(
  "pidfd_alloc_file",
  [
    ["pid", taskp],
    ["flags", u32],
  ],
  s32,
  (cx, task, flags) => {
    const file = pidfdFile(cx, task, flags);
    return isErr(file) ? file : addFile(cx, file, true);
  },
  { fidelity: { simplified: "answers a descriptor, and takes the task that the struct pid names" } },
);

/** A descriptor that is open only after `tell` has taken its number: an open one cannot be taken back. */
export function makePidfd(cx: Cx, task: Task, tell: (fd: number) => Result<0>): Result<number> {
  const fd = getUnusedFd(cx, true);
  if (isErr(fd)) return fd;
  const file = pidfdFile(cx, task, 0);
  const told = isErr(file) ? file : tell(fd);
  if (!isErr(file) && !isErr(told)) {
    fd_install(cx, fd, file);
    return fd;
  }
  cx.task.files.freeFd(fd);
  if (!isErr(file)) fput(cx, file);
  return told;
}

function pidfdFile(cx: Cx, task: Task, flags: number): Result<File> {
  const isThread = (flags & PIDFD_THREAD) !== 0;
  const pidfd: PidFd = { task, process: task.process, pid: task.pid, isThread };
  return anon_inode_getfile(cx, "[pidfd]", pidfs_file_operations, pidfd, O.RDWR | (flags & PIDFD_NONBLOCK));
}

/** pidfd_open(2). EINVAL, ESRCH, ENOENT for a thread without PIDFD_THREAD. */
export function pidfd_open(cx: Cx, pid: number, flags: number): Result<number> {
  if ((flags & ~(PIDFD_NONBLOCK | PIDFD_THREAD)) !== 0 || pid <= 0) return EINVAL;
  const task = cx.kernel.pids.find(pid);
  if (task === undefined) return ESRCH;
  if ((flags & PIDFD_THREAD) === 0 && task.process.leader !== task) return ENOENT;
  return pidfd_prepare(cx, task, flags);
}

function pidfdOf(cx: Cx, fd: number): Result<PidFd> {
  const file = cx.task.files.get(fd);
  return file !== undefined && file.f_op === pidfs_file_operations ? (file.private_data as PidFd) : EBADF;
}

/** What waitid(P_PIDFD) waits for: the pid, and whether the descriptor is non-blocking. EBADF. */
export function pidfd_get_pid(
  cx: Cx,
  fd: number,
): Result<{ readonly pid: number; readonly isNonBlocking: boolean }> {
  const pidfd = pidfdOf(cx, fd);
  if (isErr(pidfd)) return pidfd;
  return { pid: pidfd.pid, isNonBlocking: cx.task.files.get(fd)?.isNonBlocking ?? false };
}

/** pidfd_send_signal(2). `info` is the caller's siginfo, or undefined. EINVAL, EBADF, EPERM, ESRCH. */
export function pidfd_send_signal(
  cx: Cx,
  fd: number,
  signo: number,
  info: SigInfo | undefined,
  flags: number,
): Result<0> {
  const known: readonly number[] = [
    0,
    PIDFD_SIGNAL.THREAD,
    PIDFD_SIGNAL.THREAD_GROUP,
    PIDFD_SIGNAL.PROCESS_GROUP,
  ];
  if (!known.includes(flags)) return EINVAL;
  const pidfd = pidfdOf(cx, fd);
  if (isErr(pidfd)) return pidfd;
  if (info !== undefined && info.signo !== signo) return EINVAL;
  const isOther = pidfd.process !== cx.task.process;
  if (info !== undefined && isOther && (info.code >= 0 || info.code === SI.TKILL)) return EPERM;
  if (isReaped(pidfd)) return ESRCH;
  const allowed = mayKill(cx, pidfd.process, signo);
  if (isErr(allowed) || signo === 0) return allowed;
  const toThread = flags === PIDFD_SIGNAL.THREAD || (flags === 0 && pidfd.isThread);
  const sent = info ?? siginfoFrom(cx, signo, toThread ? SI.TKILL : SI.USER);
  if (flags === PIDFD_SIGNAL.PROCESS_GROUP) {
    sendToGroup(cx, pidfd.process.pgid, sent);
    return 0;
  }
  return toThread ? sendToTask(cx, pidfd.task, sent) : sendToProcess(cx, pidfd.process, sent);
}

/** pidfd_getfd(2): a copy of another process's descriptor. EINVAL, EBADF, ESRCH, EPERM. */
export function pidfd_getfd(cx: Cx, fd: number, target: number, flags: number): Result<number> {
  if (flags !== 0) return EINVAL;
  const pidfd = pidfdOf(cx, fd);
  if (isErr(pidfd)) return pidfd;
  if (isReaped(pidfd) || pidfd.task.t.exit_state !== 0) return ESRCH;
  if (!sameOwner(cx.task, pidfd.task) && !capable(cx, CAP.SYS_PTRACE)) return EPERM;
  const file = pidfd.task.files.get(target);
  return file === undefined ? EBADF : addFile(cx, get_file(file), true);
}
