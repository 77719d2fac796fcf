/** timerfd_create(2) and its kin, signalfd4(2), pidfd_open(2) and its kin. */
import {
  EBADF,
  EFAULT,
  EINVAL,
  isErr,
  NR,
  type Result,
  siginfo as siginfoStruct,
  type UAddr,
} from "@alien-ts/abi";
import type { RealTime } from "../core/clock.ts";
import type { Cx } from "../core/cx.ts";
import { int, sizeArg, syscall, type SyscallRow, uint, userPointer } from "../core/syscall.ts";
import { pidfd_getfd, pidfd_open, pidfd_send_signal } from "../ipc/pidfd.ts";
import { do_signalfd4 } from "../ipc/signalfd.ts";
import { timerfd_create, timerfd_fops, timerfdGet, timerfdSet, type TimerSetting } from "../ipc/timerfd.ts";
import { nsOf, readSigset, readTimespec, writeTimespec } from "../ipc/user-time.ts";
import { readUserBytes } from "../mm/uaccess.ts";
import type { SigInfo } from "../task/process.ts";
import { siginfo } from "../task/signal.ts";
import type { File } from "../vfs/file.ts";
import { userMm } from "../vfs/user.ts";

const ITIMERSPEC = "struct __kernel_itimerspec";
const VALUE_OFFSET = 16;

export const sys_timerfd_create = syscall(
  NR.timerfd_create,
  "timerfd_create",
  [
    ["clockid", int],
    ["flags", int],
  ],
  (cx, clock, flags) => timerfd_create(cx, clock, flags),
);

export const sys_timerfd_settime = syscall(
  NR.timerfd_settime,
  "timerfd_settime",
  [
    ["ufd", int],
    ["flags", int],
    ["utmr", userPointer(`const ${ITIMERSPEC}`)],
    ["otmr", userPointer(ITIMERSPEC)],
  ],
  (cx, fd, flags, from, to) => {
    const interval = readTimespec(cx, from);
    const value: Result<RealTime> = isErr(interval) ? interval : readTimespec(cx, from + VALUE_OFFSET);
    if (isErr(interval)) return interval;
    if (isErr(value)) return value;
    const file = timerFile(cx, fd);
    if (isErr(file)) return file;
    const old = timerfdSet(file, flags, { value, intervalNs: nsOf(interval) });
    if (isErr(old)) return old;
    return to === 0 ? 0 : writeSetting(cx, to, old);
  },
);

export const sys_timerfd_gettime = syscall(
  NR.timerfd_gettime,
  "timerfd_gettime",
  [
    ["ufd", int],
    ["otmr", userPointer(ITIMERSPEC)],
  ],
  (cx, fd, to) => {
    const file = timerFile(cx, fd);
    return isErr(file) ? file : writeSetting(cx, to, timerfdGet(file));
  },
);

function timerFile(cx: Cx, fd: number): Result<File> {
  const file = cx.task.files.get(fd);
  if (file === undefined) return EBADF;
  return file.f_op === timerfd_fops ? file : EINVAL;
}

function writeSetting(cx: Cx, to: UAddr, { valueNs, intervalNs }: TimerSetting): Result<0> {
  const written = writeTimespec(cx, to, intervalNs);
  return isErr(written) ? written : writeTimespec(cx, to + VALUE_OFFSET, valueNs);
}

export const sys_signalfd4 = syscall(
  NR.signalfd4,
  "signalfd4",
  [
    ["ufd", int],
    ["user_mask", userPointer("sigset_t")],
    ["sizemask", sizeArg],
    ["flags", int],
  ],
  (cx, fd, mask, size, flags) => {
    const wanted = readSigset(cx, mask, size);
    return isErr(wanted) ? wanted : do_signalfd4(cx, fd, wanted, flags);
  },
);

export const sys_pidfd_open = syscall(
  NR.pidfd_open,
  "pidfd_open",
  [
    ["pid", int],
    ["flags", uint],
  ],
  (cx, pid, flags) => pidfd_open(cx, pid, flags),
);

export const sys_pidfd_send_signal = syscall(
  NR.pidfd_send_signal,
  "pidfd_send_signal",
  [
    ["pidfd", int],
    ["sig", int],
    ["info", userPointer("siginfo_t")],
    ["flags", uint],
  ],
  (cx, fd, signo, from, flags) => {
    const info = from === 0 ? undefined : readSiginfo(cx, from);
    return isErr(info) ? info : pidfd_send_signal(cx, fd, signo, info, flags);
  },
);

/** What a sender may say in a siginfo of its own. EFAULT. */
function readSiginfo(cx: Cx, from: UAddr): Result<SigInfo> {
  const { layout } = cx.kernel;
  const bytes = readUserBytes(userMm(cx), from, layout.size(siginfoStruct));
  if (isErr(bytes)) return EFAULT;
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const at = (field: string): number => layout.offset(siginfoStruct, field);
  return {
    ...siginfo(view.getInt32(at("si_signo"), true), view.getInt32(at("si_code"), true)),
    errno: view.getInt32(at("si_errno"), true),
    pid: view.getInt32(at("si_pid"), true),
    uid: view.getUint32(at("si_uid"), true),
    value: view.getBigUint64(at("si_value"), true),
  };
}

export const sys_pidfd_getfd = syscall(
  NR.pidfd_getfd,
  "pidfd_getfd",
  [
    ["pidfd", int],
    ["fd", int],
    ["flags", uint],
  ],
  (cx, pidfd, fd, flags) => pidfd_getfd(cx, pidfd, fd, flags),
);

export const TIMERFD_SYSCALLS: readonly SyscallRow[] = [
  sys_timerfd_create,
  sys_timerfd_settime,
  sys_timerfd_gettime,
  sys_signalfd4,
  sys_pidfd_open,
  sys_pidfd_send_signal,
  sys_pidfd_getfd,
];
