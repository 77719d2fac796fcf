/** ppoll(2), pselect6(2), epoll_create1(2) and its kin (Linux: fs/select.c, fs/eventpoll.c). */
import {
  EFAULT,
  EINTR,
  EPOLL,
  epoll_event,
  ERESTARTNOHAND,
  isErr,
  NR,
  NSEC_PER_MSEC,
  type Result,
  type UAddr,
} from "@alien-ts/abi";
import type { Cx } from "../core/cx.ts";
import type { Blocking } from "../core/row.ts";
import { int, sizeArg, syscall, type SyscallRow, uint, userPointer } from "../core/syscall.ts";
import { do_epoll_create, do_epoll_ctl, do_epoll_wait, stackEvent } from "../ipc/epoll.ts";
import { core_sys_select, do_sys_poll } from "../ipc/poll.ts";
import {
  nsOf,
  readTimespec,
  restoreSigmaskUnless,
  setUserSigmask,
  stackDeadline,
  writeTimespec,
} from "../ipc/user-time.ts";
import { copy_from_user, get_user_u64 } from "../mm/uaccess.ts";
import { userMm } from "../vfs/user.ts";

const SIGSET = userPointer("const sigset_t");
const TIMESPEC = "struct __kernel_timespec";

/** The end of a wait whose length lies in user memory; undefined for NULL. EFAULT, EINVAL. */
function deadlineOf(cx: Cx, timeout: UAddr): Result<number | undefined> {
  if (timeout === 0) return undefined;
  const length = readTimespec(cx, timeout);
  if (isErr(length)) return length;
  return Math.min(cx.kernel.clock.nowNs() + nsOf(length), Number.MAX_SAFE_INTEGER);
}

/** What is left of the time goes back to the caller, so that a restarted call waits the rest. Linux: poll_select_finish(). */
function finish(
  cx: Cx,
  timeout: UAddr,
  deadlineNs: number | undefined,
  result: Result<number>,
): Result<number> {
  restoreSigmaskUnless(cx, result === ERESTARTNOHAND);
  if (timeout === 0 || deadlineNs === undefined) return result;
  const left = Math.max(0, deadlineNs - cx.kernel.clock.nowNs());
  const written = writeTimespec(cx, timeout, left);
  // Read-only memory cannot hold the rest: the call is not restarted then.
  return isErr(written) && result === ERESTARTNOHAND ? EINTR : result;
}

export const sys_ppoll = syscall(
  NR.ppoll,
  "ppoll",
  [
    ["ufds", userPointer("struct pollfd")],
    ["nfds", uint],
    ["tsp", userPointer(TIMESPEC)],
    ["sigmask", SIGSET],
    ["sigsetsize", sizeArg],
  ],
  function* (cx, fds, count, timeout, mask, size): Blocking<Result<number>> {
    const deadlineNs = deadlineOf(cx, timeout);
    if (isErr(deadlineNs)) return deadlineNs;
    const masked = setUserSigmask(cx, mask, size);
    if (isErr(masked)) return masked;
    const { ksp } = cx;
    const result: Result<number> = yield* do_sys_poll(cx, fds, count, stackDeadline(cx, deadlineNs));
    cx.ksp = ksp;
    return finish(cx, timeout, deadlineNs, result);
  },
);

export const sys_pselect6 = syscall(
  NR.pselect6,
  "pselect6",
  [
    ["n", int],
    ["inp", userPointer("fd_set")],
    ["outp", userPointer("fd_set")],
    ["exp", userPointer("fd_set")],
    ["tsp", userPointer(TIMESPEC)],
    ["sig", userPointer("void")],
  ],
  function* (cx, n, inp, outp, exp, timeout, sig): Blocking<Result<number>> {
    const deadlineNs = deadlineOf(cx, timeout);
    if (isErr(deadlineNs)) return deadlineNs;
    const masked = setPackedSigmask(cx, sig);
    if (isErr(masked)) return masked;
    const { ksp } = cx;
    const result: Result<number> = yield* core_sys_select(
      cx,
      n,
      inp,
      outp,
      exp,
      stackDeadline(cx, deadlineNs),
    );
    cx.ksp = ksp;
    return finish(cx, timeout, deadlineNs, result);
  },
);

/** pselect6's sixth argument: { mask, size } in memory, since a call has six registers. */
function setPackedSigmask(cx: Cx, sig: UAddr): Result<0> {
  if (sig === 0) return 0;
  const mm = userMm(cx);
  const mask = get_user_u64(mm, sig);
  const size = get_user_u64(mm, sig + 8);
  return isErr(mask) || isErr(size) ? EFAULT : setUserSigmask(cx, mask, size);
}

export const sys_epoll_create1 = syscall(NR.epoll_create1, "epoll_create1", [["flags", int]], (cx, flags) =>
  do_epoll_create(cx, flags),
);

export const sys_epoll_ctl = syscall(
  NR.epoll_ctl,
  "epoll_ctl",
  [
    ["epfd", int],
    ["op", int],
    ["fd", int],
    ["event", userPointer("struct epoll_event")],
  ],
  (cx, epfd, op, fd, event) => {
    if (op === EPOLL.CTL_DEL) return do_epoll_ctl(cx, epfd, op, fd, 0, false);
    const { ksp } = cx;
    const copy = stackEvent(cx);
    const left = copy_from_user(userMm(cx), copy, event, cx.kernel.layout.size(epoll_event));
    const result = left === 0 ? do_epoll_ctl(cx, epfd, op, fd, copy, false) : EFAULT;
    cx.ksp = ksp;
    return result;
  },
);

const EPOLL_WAIT_ARGS = [
  ["epfd", int],
  ["events", userPointer("struct epoll_event")],
  ["maxevents", int],
] as const;

export const sys_epoll_pwait = syscall(
  NR.epoll_pwait,
  "epoll_pwait",
  [...EPOLL_WAIT_ARGS, ["timeout", int], ["sigmask", SIGSET], ["sigsetsize", sizeArg]],
  (cx, epfd, events, maxevents, timeout, mask, size) => {
    const deadlineNs = timeout < 0 ? undefined : cx.kernel.clock.nowNs() + timeout * NSEC_PER_MSEC;
    return epollWait(cx, { epfd, events, maxevents, deadlineNs, mask, size });
  },
);

export const sys_epoll_pwait2 = syscall(
  NR.epoll_pwait2,
  "epoll_pwait2",
  [
    ...EPOLL_WAIT_ARGS,
    ["timeout", userPointer(`const ${TIMESPEC}`)],
    ["sigmask", SIGSET],
    ["sigsetsize", sizeArg],
  ],
  (cx, epfd, events, maxevents, timeout, mask, size) => {
    const deadlineNs = deadlineOf(cx, timeout);
    return isErr(deadlineNs)
      ? deadlineNs
      : epollWait(cx, { epfd, events, maxevents, deadlineNs, mask, size });
  },
);

interface EpollWait {
  readonly epfd: number;
  readonly events: UAddr;
  readonly maxevents: number;
  readonly deadlineNs: number | undefined;
  readonly mask: UAddr;
  readonly size: number;
}

function* epollWait(cx: Cx, wait: EpollWait): Blocking<Result<number>> {
  const masked = setUserSigmask(cx, wait.mask, wait.size);
  if (isErr(masked)) return masked;
  const { ksp } = cx;
  const deadline = stackDeadline(cx, wait.deadlineNs);
  const result: Result<number> = yield* do_epoll_wait(cx, wait.epfd, wait.events, wait.maxevents, deadline);
  cx.ksp = ksp;
  restoreSigmaskUnless(cx, result === EINTR);
  return result;
}

export const POLL_SYSCALLS: readonly SyscallRow[] = [
  sys_ppoll,
  sys_pselect6,
  sys_epoll_create1,
  sys_epoll_ctl,
  sys_epoll_pwait,
  sys_epoll_pwait2,
];
