/** Times and signal masks that waiting system calls take from user memory (Linux: fs/select.c, kernel/signal.c, kernel/time). */
import {
  EFAULT,
  EINVAL,
  fromWords,
  hiWord,
  isErr,
  type KAddr,
  NSEC_PER_SEC,
  type Result,
  type UAddr,
} from "@alien-ts/abi";
import type { RealTime } from "../core/clock.ts";
import type { Cx } from "../core/cx.ts";
import { get_user_s64, put_user_u64, readUserBytes } from "../mm/uaccess.ts";
import { setBlocked } from "../task/signal.ts";
import { stackAlloc } from "../vfs/path.ts";
import { timespec64 } from "../vfs/structs.ts";
import { userMm } from "../vfs/user.ts";

const SIGSET_BYTES = 8;
const KTIME_BYTES = 8;

/** A struct timespec. EFAULT; EINVAL unless it is a normalised time that is not negative. */
export function readTimespec(cx: Cx, addr: UAddr): Result<RealTime> {
  const mm = userMm(cx);
  const sec = get_user_s64(mm, addr);
  const nsec = get_user_s64(mm, addr + 8);
  if (isErr(sec) || isErr(nsec)) return EFAULT;
  return sec < 0 || nsec < 0 || nsec >= NSEC_PER_SEC ? EINVAL : { sec, nsec };
}

export function writeTimespec(cx: Cx, addr: UAddr, ns: number): Result<0> {
  const mm = userMm(cx);
  const sec = put_user_u64(mm, addr, Math.floor(ns / NSEC_PER_SEC));
  return isErr(sec) ? sec : put_user_u64(mm, addr + 8, ns % NSEC_PER_SEC);
}

/** Nanoseconds of a time, at most 2^53 − 1: for ever, in practice. */
export const nsOf = ({ sec, nsec }: RealTime): number =>
  Math.min(sec * NSEC_PER_SEC + nsec, Number.MAX_SAFE_INTEGER);

/** A struct timespec64 with the CLOCK_MONOTONIC time `ns` on the kernel stack; 0 (NULL) for no limit. */
export function stackDeadline(cx: Cx, ns: number | undefined): KAddr {
  if (ns === undefined) return 0;
  const { layout, mem } = cx.kernel;
  const addr = stackAlloc(cx, layout.size(timespec64));
  const view = new (layout.view(timespec64))(mem, addr);
  view.tv_sec = Math.floor(ns / NSEC_PER_SEC);
  view.tv_nsec = ns % NSEC_PER_SEC;
  return addr;
}

/** What `stackDeadline` wrote. */
export function deadlineAt(cx: Cx, addr: KAddr): number | undefined {
  if (addr === 0) return undefined;
  const { layout, mem } = cx.kernel;
  const view = new (layout.view(timespec64))(mem, addr);
  return view.tv_sec * NSEC_PER_SEC + view.tv_nsec;
}

/** A ktime_t with the CLOCK_MONOTONIC time `ns` on the kernel stack; 0 (NULL) for no limit. */
export function stackKtime(cx: Cx, ns: number | undefined): KAddr {
  if (ns === undefined) return 0;
  const addr = stackAlloc(cx, KTIME_BYTES);
  cx.kernel.mem.dv.setInt32(addr, ns | 0, true);
  cx.kernel.mem.dv.setInt32(addr + 4, hiWord(ns), true);
  return addr;
}

/** What `stackKtime` wrote. */
export function ktimeAt(cx: Cx, addr: KAddr): number | undefined {
  if (addr === 0) return undefined;
  const { dv } = cx.kernel.mem;
  return fromWords(dv.getInt32(addr, true), dv.getInt32(addr + 4, true));
}

/** A sigset_t. EINVAL for another size than 8, EFAULT. */
export function readSigset(cx: Cx, addr: UAddr, size: number): Result<bigint> {
  if (size !== SIGSET_BYTES) return EINVAL;
  const bytes = readUserBytes(userMm(cx), addr, SIGSET_BYTES);
  return isErr(bytes) ? bytes : new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true);
}

/** Blocks the user's mask for the time of one call; nothing for NULL. EINVAL, EFAULT. Linux: set_user_sigmask(). */
export function setUserSigmask(cx: Cx, addr: UAddr, size: number): Result<0> {
  if (addr === 0) return 0;
  const mask = readSigset(cx, addr, size);
  if (isErr(mask)) return mask;
  const { task } = cx;
  task.savedBlocked = task.blocked;
  setBlocked(task, mask);
  return 0;
}

/** The call is over: the old mask is back, but when a signal interrupted it: then after that signal's handler. */
export function restoreSigmaskUnless(cx: Cx, isInterrupted: boolean): void {
  const { task } = cx;
  if (isInterrupted || task.savedBlocked === undefined) return;
  setBlocked(task, task.savedBlocked);
  task.savedBlocked = undefined;
}
