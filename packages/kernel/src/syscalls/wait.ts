/** wait4, waitid. Linux: kernel/exit.c. */
import {
  EAGAIN,
  EFAULT,
  EINVAL,
  isErr,
  NR,
  P_ALL,
  P_PGID,
  P_PID,
  P_PIDFD,
  type Result,
  rusage as rusageStruct,
  SIG,
  type UAddr,
  W,
} from "@alien-ts/abi";
import type { Cx } from "../core/cx.ts";
import type { Blocking } from "../core/row.ts";
import { int, syscall, userPointer } from "../core/syscall.ts";
import { pidfd_get_pid } from "../ipc/pidfd.ts";
import { put_user_u32 } from "../mm/uaccess.ts";
import { do_wait, wait4Request, type WaitRequest, type WaitResult } from "../task/wait.ts";
import { putStruct, userMm } from "../vfs/user.ts";
import { fillRusage } from "./rusage.ts";

export const sys_wait4 = syscall(
  NR.wait4,
  "wait4",
  [
    ["upid", int],
    ["stat_addr", userPointer("int")],
    ["options", int],
    ["ru", userPointer("struct rusage")],
  ],
  wait4,
);

function* wait4(cx: Cx, pid: number, statAddr: UAddr, options: number, ru: UAddr): Blocking<Result<number>> {
  const request = wait4Request(cx, pid, options);
  if (isErr(request)) return request;
  const result = yield* do_wait(cx, request);
  if (isErr(result)) return result;
  if (result.pid === 0) return 0;
  if (statAddr !== 0 && isErr(put_user_u32(userMm(cx), statAddr, result.status))) return EFAULT;
  return isErr(putUsage(cx, ru, result)) ? EFAULT : result.pid;
}

const putUsage = (cx: Cx, ru: UAddr, { times, maxRssPages }: WaitResult): Result<0> =>
  ru === 0 ? 0 : putStruct(cx, rusageStruct, ru, (view) => fillRusage(view, times, maxRssPages));

export const sys_waitid = syscall(
  NR.waitid,
  "waitid",
  [
    ["which", int],
    ["upid", int],
    ["infop", userPointer("struct siginfo")],
    ["options", int],
    ["ru", userPointer("struct rusage")],
  ],
  waitid,
);

function* waitid(
  cx: Cx,
  which: number,
  upid: number,
  infop: UAddr,
  options: number,
  ru: UAddr,
): Blocking<Result<number>> {
  const request = waitidRequest(cx, which, upid, options);
  if (isErr(request)) return request;
  const result = yield* do_wait(cx, request);
  // The siginfo is written whatever came of it, as Linux does.
  if (isErr(result)) return infop !== 0 && isErr(putInfo(cx, infop, undefined)) ? EFAULT : result;
  if (result.pid !== 0 && isErr(putUsage(cx, ru, result))) return EFAULT;
  if (infop !== 0 && isErr(putInfo(cx, infop, result))) return EFAULT;
  return result.pid === 0 && request.isNonBlocking ? EAGAIN : 0;
}

function waitidRequest(
  cx: Cx,
  which: number,
  upid: number,
  options: number,
): Result<WaitRequest & { readonly isNonBlocking: boolean }> {
  const events = W.EXITED | W.STOPPED | W.CONTINUED;
  const known = W.NOHANG | W.NOWAIT | W.NOTHREAD | W.ALL | W.CLONE | events;
  if ((options & ~known) !== 0 || (options & events) === 0) return EINVAL;
  switch (which) {
    case P_ALL:
      return { which, id: 0, options, isNonBlocking: false };
    case P_PID:
      return upid <= 0 ? EINVAL : { which, id: upid, options, isNonBlocking: false };
    case P_PGID: {
      if (upid < 0) return EINVAL;
      const id = upid === 0 ? cx.task.process.pgid : upid;
      return { which, id, options, isNonBlocking: false };
    }
    case P_PIDFD: {
      if (upid < 0) return EINVAL;
      const found = pidfd_get_pid(cx, upid);
      if (isErr(found)) return found;
      const isNonBlocking = found.isNonBlocking && (options & W.NOHANG) === 0;
      const all = isNonBlocking ? options | W.NOHANG : options;
      return { which: P_PID, id: found.pid, options: all, isNonBlocking };
    }
    default:
      return EINVAL;
  }
}

/** The fields of siginfo that waitid fills, in Linux's order; nothing to report is all zero. */
function putInfo(cx: Cx, infop: UAddr, result: WaitResult | undefined): Result<0> {
  const mm = userMm(cx);
  const child = result === undefined || result.pid === 0 ? undefined : result;
  const words: readonly (readonly [number, number])[] = [
    [0, child === undefined ? 0 : SIG.CHLD],
    [4, 0],
    [8, child?.code ?? 0],
    [16, child?.pid ?? 0],
    [20, child?.uid ?? 0],
    [24, child === undefined ? 0 : waitidStatus(child)],
  ];
  for (const [at, word] of words) if (isErr(put_user_u32(mm, infop + at, word))) return EFAULT;
  return 0;
}

/** The exit status or the signal, as si_status has it. */
function waitidStatus({ status }: WaitResult): number {
  if (status === 0xffff) return SIG.CONT;
  if ((status & 0xff) === 0x7f) return (status >> 8) & 0xff;
  return (status & 0x7f) === 0 ? (status >> 8) & 0xff : status & 0x7f;
}

export const WAIT_SYSCALLS = [sys_wait4, sys_waitid] as const;
