/**
 * signalfd(2): pending signals as records of 128 bytes (Linux: fs/signalfd.c). A read takes signals of the *reading* task, as it
 * would by handling them; poll shows those of the polling task. `initSignalFds` lets sent signals wake readers.
 */
import {
  EAGAIN,
  EBADF,
  EFAULT,
  EINVAL,
  isErr,
  O,
  POLL,
  type Result,
  SFD,
  SIG,
  signalfd_siginfo,
  ssize_t,
} from "@alien-ts/abi";
import type { Cx } from "../core/cx.ts";
import type { Kernel } from "../core/kernel.ts";
import { sleepingFn } from "../core/row.ts";
import type { Task } from "../core/task.ts";
import { waitEvent, WaitQueue, wakeUpAll } from "../sched/wait.ts";
import type { Process, SigInfo } from "../task/process.ts";
import { dequeueSignal, UNBLOCKABLE } from "../task/signal.ts";
import { anon_inode_getfile } from "../vfs/anon-inodes.ts";
import { addFile } from "../vfs/fd-table.ts";
import { type FileOperations, iov_iterp } from "../vfs/file.ts";
import { kiocbp } from "../vfs/kiocb.ts";

declare module "../task/process.ts" {
  interface Process {
    /** Readers of signalfds in this process; made by the first (sighand_struct.signalfd_wqh). */
    signalfdWait?: WaitQueue;
  }
}

interface SignalFd {
  mask: bigint;
}

export function initSignalFds(kernel: Kernel): void {
  kernel.onSignalQueued = (cx, process) => {
    if (process.signalfdWait !== undefined) wakeUpAll(cx, process.signalfdWait, POLL.IN);
  };
}

function queueOf(process: Process): WaitQueue {
  process.signalfdWait ??= new WaitQueue();
  return process.signalfdWait;
}

const pendingOf = (task: Task): bigint => task.pending.mask | task.process.pending.mask;

export const signalfd_fops: FileOperations = {
  name: "signalfd_fops",
  read_iter: (cx, iocb, to) => signalfd_read_iter(cx, iocb, to),
  poll(cx, file, register) {
    register?.(queueOf(cx.task.process));
    return (pendingOf(cx.task) & (file.private_data as SignalFd).mask) !== 0n ? POLL.IN : 0;
  },
  show_fdinfo: (_cx, file) =>
    `sigmask:\t${(file.private_data as SignalFd).mask.toString(16).padStart(16, "0")}\n`,
};

export const signalfd_read_iter = sleepingFn(
  "signalfd_read_iter",
  [
    ["iocb", kiocbp],
    ["to", iov_iterp],
  ],
  ssize_t,
  function* (cx, iocb, to) {
    const signals = iocb.file.private_data as SignalFd;
    const size = cx.kernel.layout.size(signalfd_siginfo);
    const { task } = cx;
    let left = Math.floor(to.count / size);
    if (left === 0) return EINVAL;
    if ((pendingOf(task) & signals.mask) === 0n) {
      if (iocb.isNonBlocking) return EAGAIN;
      const woken = yield* waitEvent(
        cx,
        queueOf(task.process),
        () => (pendingOf(task) & signals.mask) !== 0n,
      );
      if (isErr(woken)) return woken;
    }
    let done = 0;
    for (; left > 0; left--) {
      const info = dequeueSignal(task, signals.mask);
      if (info === undefined) break;
      const copied = to.copyBytesTo(record(cx, info, size));
      if (copied < size) return done === 0 ? EFAULT : done;
      done += size;
    }
    return done;
  },
  { local: true, doc: "Takes pending signals; sleeps until there is one." },
);

/** Linux: signalfd_copyinfo(). */
function record(cx: Cx, info: SigInfo, size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  const view = new DataView(bytes.buffer);
  const at = (field: string): number => cx.kernel.layout.offset(signalfd_siginfo, field);
  view.setUint32(at("ssi_signo"), info.signo, true);
  view.setInt32(at("ssi_errno"), info.errno, true);
  view.setInt32(at("ssi_code"), info.code, true);
  if (info.addr !== 0) {
    view.setBigUint64(at("ssi_addr"), BigInt(info.addr), true);
    return bytes;
  }
  view.setUint32(at("ssi_pid"), info.pid, true);
  view.setUint32(at("ssi_uid"), info.uid, true);
  if (info.signo === SIG.CHLD) view.setInt32(at("ssi_status"), info.status, true);
  else {
    view.setBigUint64(at("ssi_ptr"), BigInt.asUintN(64, info.value), true);
    view.setInt32(at("ssi_int"), Number(BigInt.asIntN(32, info.value)), true);
  }
  return bytes;
}

/** signalfd4(2): `fd` −1 makes a file, another gets the new mask. SIGKILL and SIGSTOP are left out silently. */
export function do_signalfd4(cx: Cx, fd: number, wanted: bigint, flags: number): Result<number> {
  if ((flags & ~(SFD.CLOEXEC | SFD.NONBLOCK)) !== 0) return EINVAL;
  const mask = wanted & ~UNBLOCKABLE;
  if (fd === -1) {
    const signals: SignalFd = { mask };
    const file = anon_inode_getfile(
      cx,
      "[signalfd]",
      signalfd_fops,
      signals,
      O.RDWR | (flags & SFD.NONBLOCK),
    );
    return isErr(file) ? file : addFile(cx, file, (flags & SFD.CLOEXEC) !== 0);
  }
  const file = cx.task.files.get(fd);
  if (file === undefined) return EBADF;
  if (file.f_op !== signalfd_fops) return EINVAL;
  (file.private_data as SignalFd).mask = mask;
  wakeUpAll(cx, queueOf(cx.task.process));
  return fd;
}
