/** Signals: kill and its like, actions, masks, waiting, alternate stacks, the return from handlers. Linux: kernel/signal.c. */
import {
  EAGAIN,
  EFAULT,
  EINTR,
  EINVAL,
  ENOMEM,
  EPERM,
  ERESTARTNOHAND,
  ESRCH,
  fromWords,
  isErr,
  MINSIGSTKSZ,
  NR,
  NSIG,
  type Result,
  SA,
  SI,
  sigaction,
  SIG,
  SIG_BLOCK,
  SIG_SETMASK,
  SIG_UNBLOCK,
  SS,
  stack_t,
  type UAddr,
} from "@alien-ts/abi";
import type { Cx } from "../core/cx.ts";
import { type Blocking, isBlocking } from "../core/row.ts";
import { int, sizeArg, syscall, userPointer } from "../core/syscall.ts";
import { nsOf, readSigset, readTimespec } from "../ipc/user-time.ts";
import { readUserBytes, writeUserBytes } from "../mm/uaccess.ts";
import { waitEvent, WaitQueue } from "../sched/wait.ts";
import { restoreFrame, writeSiginfo } from "../task/deliver.ts";
import type { SigInfo } from "../task/process.ts";
import { waitUntil } from "../task/sleep.ts";
import {
  deliverable,
  dequeueSignal,
  mayKill,
  recalcPending,
  sendToProcess,
  sendToTask,
  setAction,
  setBlocked,
  siginfo,
  siginfoFrom,
  UNBLOCKABLE,
} from "../task/signal.ts";
import { getStruct, putStruct, userMm } from "../vfs/user.ts";

const SIGSET_BYTES = 8;
const SIGINFO_BYTES = 128;

const isSignal = (signo: number): boolean => signo >= 1 && signo <= NSIG;
const pidArg = ["pid", int] as const;
const sigArg = ["sig", int] as const;

export const sys_kill = syscall(NR.kill, "kill", [pidArg, sigArg], (cx, pid, sig) => {
  const info = siginfoFrom(cx, sig, SI.USER);
  if (pid > 0) {
    const target = cx.kernel.pids.find(pid)?.process;
    return target === undefined ? ESRCH : signalProcess(cx, target, sig, info);
  }
  if (pid === -(2 ** 31)) return ESRCH;
  return pid === -1
    ? killAll(cx, sig, info)
    : killGroup(cx, pid === 0 ? cx.task.process.pgid : -pid, sig, info);
});

function signalProcess(cx: Cx, target: Cx["task"]["process"], sig: number, info: SigInfo): Result<0> {
  const allowed = mayKill(cx, target, sig);
  return isErr(allowed) || sig === 0 ? allowed : sendToProcess(cx, target, info);
}

/** Every process but init and the caller; ESRCH when there is none, EPERM when none may be signalled. */
function killAll(cx: Cx, sig: number, info: SigInfo): Result<0> {
  const targets = cx.kernel.pids.processes().filter((p) => p.pid > 1 && p !== cx.task.process);
  let result: Result<0> = targets.length === 0 ? ESRCH : 0;
  for (const target of targets) {
    const sent = signalProcess(cx, target, sig, info);
    if (sent !== EPERM) result = sent;
  }
  return result;
}

/** Linux: __kill_pgrp_info(): success when one was signalled. */
function killGroup(cx: Cx, pgid: number, sig: number, info: SigInfo): Result<0> {
  let result: Result<0> = ESRCH;
  for (const target of cx.kernel.pids.group(pgid)) {
    const sent = signalProcess(cx, target, sig, info);
    if (!isErr(sent)) result = sent;
    else if (isErr(result)) result = sent;
  }
  return result;
}

export const sys_tkill = syscall(NR.tkill, "tkill", [pidArg, sigArg], (cx, pid, sig) =>
  pid <= 0 ? EINVAL : signalThread(cx, 0, pid, sig, siginfoFrom(cx, sig, SI.TKILL)),
);

export const sys_tgkill = syscall(
  NR.tgkill,
  "tgkill",
  [["tgid", int], pidArg, sigArg],
  (cx, tgid, pid, sig) =>
    pid <= 0 || tgid <= 0 ? EINVAL : signalThread(cx, tgid, pid, sig, siginfoFrom(cx, sig, SI.TKILL)),
);

/** @param tgid 0: any. Linux: do_send_specific(). */
function signalThread(cx: Cx, tgid: number, pid: number, sig: number, info: SigInfo): Result<0> {
  const target = cx.kernel.pids.find(pid);
  if (target === undefined || (tgid !== 0 && target.tgid !== tgid)) return ESRCH;
  const allowed = mayKill(cx, target.process, sig);
  return isErr(allowed) || sig === 0 ? allowed : sendToTask(cx, target, info);
}

/** A siginfo_t of the caller's, for a signal that it queues. EFAULT. */
function readSiginfo(cx: Cx, addr: UAddr, signo: number): Result<SigInfo> {
  const bytes = readUserBytes(userMm(cx), addr, SIGINFO_BYTES);
  if (isErr(bytes)) return EFAULT;
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  return {
    ...siginfo(signo, view.getInt32(8, true)),
    errno: view.getInt32(4, true),
    pid: view.getInt32(16, true),
    uid: view.getUint32(20, true),
    value: view.getBigUint64(24, true),
  };
}

/** Only the kernel says that a signal comes from it, from kill or from tgkill. */
const isForged = (cx: Cx, pid: number, info: SigInfo): boolean =>
  (info.code >= 0 || info.code === SI.TKILL) && pid !== cx.task.pid;

export const sys_rt_sigqueueinfo = syscall(
  NR.rt_sigqueueinfo,
  "rt_sigqueueinfo",
  [pidArg, sigArg, ["uinfo", userPointer("siginfo_t")]],
  (cx, pid, sig, uinfo) => {
    const info = readSiginfo(cx, uinfo, sig);
    if (isErr(info)) return info;
    if (isForged(cx, pid, info)) return EPERM;
    const target = cx.kernel.pids.find(pid)?.process;
    return target === undefined ? ESRCH : signalProcess(cx, target, sig, info);
  },
);

export const sys_rt_tgsigqueueinfo = syscall(
  NR.rt_tgsigqueueinfo,
  "rt_tgsigqueueinfo",
  [["tgid", int], pidArg, sigArg, ["uinfo", userPointer("siginfo_t")]],
  (cx, tgid, pid, sig, uinfo) => {
    const info = readSiginfo(cx, uinfo, sig);
    if (isErr(info)) return info;
    if (pid <= 0 || tgid <= 0) return EINVAL;
    return isForged(cx, pid, info) ? EPERM : signalThread(cx, tgid, pid, sig, info);
  },
);

export const sys_rt_sigaction = syscall(
  NR.rt_sigaction,
  "rt_sigaction",
  [
    sigArg,
    ["act", userPointer("const struct sigaction")],
    ["oact", userPointer("struct sigaction")],
    ["sigsetsize", sizeArg],
  ],
  (cx, sig, act, oact, size) => {
    if (size !== SIGSET_BYTES) return EINVAL;
    const wanted =
      act === 0
        ? undefined
        : getStruct(cx, sigaction, act, (view) => ({
            handler: view.sa_handler,
            flags: (view.sa_flags % 2 ** 32) >>> 0,
            mask: view.sa_mask & ~UNBLOCKABLE,
          }));
    if (isErr(wanted)) return wanted;
    if (!isSignal(sig) || (wanted !== undefined && (sig === SIG.KILL || sig === SIG.STOP))) return EINVAL;
    const old = cx.task.sighand.actions[sig]!;
    if (wanted !== undefined) setAction(cx.task, sig, { ...wanted, flags: wanted.flags & ~SA_UNSUPPORTED });
    if (oact === 0) return 0;
    return putStruct(cx, sigaction, oact, (view) => {
      view.sa_handler = old.handler;
      view.sa_flags = old.flags;
      view.sa_mask = old.mask;
    });
  },
);

/** Flags that the kernel does not know are cleared, so that user space can tell (SA_UNSUPPORTED, UAPI_SA_FLAGS). */
const SA_UNSUPPORTED = ~(
  SA.NOCLDSTOP |
  SA.NOCLDWAIT |
  SA.SIGINFO |
  SA.ONSTACK |
  SA.RESTART |
  SA.NODEFER |
  SA.RESETHAND
);

/** A signal set of the caller's, or undefined for NULL. */
function putSigset(cx: Cx, addr: UAddr, mask: bigint): Result<0> {
  const bytes = new Uint8Array(SIGSET_BYTES);
  new DataView(bytes.buffer).setBigUint64(0, BigInt.asUintN(64, mask), true);
  return writeUserBytes(userMm(cx), addr, bytes);
}

export const sys_rt_sigprocmask = syscall(
  NR.rt_sigprocmask,
  "rt_sigprocmask",
  [
    ["how", int],
    ["nset", userPointer("sigset_t")],
    ["oset", userPointer("sigset_t")],
    ["sigsetsize", sizeArg],
  ],
  (cx, how, nset, oset, size) => {
    if (size !== SIGSET_BYTES) return EINVAL;
    const { task } = cx;
    const old = task.blocked;
    if (nset !== 0) {
      const set = readSigset(cx, nset, size);
      if (isErr(set)) return set;
      if (how === SIG_BLOCK) setBlocked(task, old | set);
      else if (how === SIG_UNBLOCK) setBlocked(task, old & ~set);
      else if (how === SIG_SETMASK) setBlocked(task, set);
      else return EINVAL;
    }
    return oset === 0 ? 0 : putSigset(cx, oset, old);
  },
);

export const sys_rt_sigpending = syscall(
  NR.rt_sigpending,
  "rt_sigpending",
  [
    ["uset", userPointer("sigset_t")],
    ["sigsetsize", sizeArg],
  ],
  (cx, uset, size) => {
    if (size > SIGSET_BYTES) return EINVAL;
    const { task } = cx;
    const bytes = new Uint8Array(SIGSET_BYTES);
    const pending = (task.pending.mask | task.process.pending.mask) & task.blocked;
    new DataView(bytes.buffer).setBigUint64(0, pending, true);
    return writeUserBytes(userMm(cx), uset, bytes.subarray(0, size));
  },
);

export const sys_rt_sigsuspend = syscall(
  NR.rt_sigsuspend,
  "rt_sigsuspend",
  [
    ["unewset", userPointer("sigset_t")],
    ["sigsetsize", sizeArg],
  ],
  (cx, unewset, size) => {
    const mask = readSigset(cx, unewset, size);
    return isErr(mask) ? mask : suspend(cx, mask);
  },
);

/** The old mask comes back when a handler returns, or where the task goes on without one. */
function* suspend(cx: Cx, mask: bigint): Blocking<Result<number>> {
  cx.task.savedBlocked = cx.task.blocked;
  setBlocked(cx.task, mask);
  yield* waitEvent(cx, new WaitQueue(), () => false);
  return ERESTARTNOHAND;
}

export const sys_rt_sigtimedwait = syscall(
  NR.rt_sigtimedwait,
  "rt_sigtimedwait",
  [
    ["uthese", userPointer("const sigset_t")],
    ["uinfo", userPointer("siginfo_t")],
    ["uts", userPointer("const struct timespec")],
    ["sigsetsize", sizeArg],
  ],
  (cx, uthese, uinfo, uts, size) => {
    const these = readSigset(cx, uthese, size);
    if (isErr(these)) return these;
    const limit = uts === 0 ? undefined : readTimespec(cx, uts);
    if (isErr(limit)) return limit;
    return timedWait(cx, these & ~UNBLOCKABLE, limit === undefined ? undefined : nsOf(limit), uinfo);
  },
);

/** Linux: do_sigtimedwait(): the awaited signals are unblocked while it sleeps, so that they wake it. */
function* timedWait(
  cx: Cx,
  these: bigint,
  limitNs: number | undefined,
  uinfo: UAddr,
): Blocking<Result<number>> {
  const { task } = cx;
  let info = dequeueSignal(task, these);
  if (info === undefined && limitNs !== 0) {
    const real = task.blocked;
    setBlocked(task, real & ~these);
    const deadlineNs = limitNs === undefined ? undefined : cx.kernel.clock.nowNs() + limitNs;
    const woken = yield* waitUntil(cx, deadlineNs, () => (deliverable(task) & these) !== 0n);
    setBlocked(task, real);
    info = dequeueSignal(task, these);
    if (info === undefined) return isErr(woken) ? EINTR : EAGAIN;
  }
  if (info === undefined) return EAGAIN;
  if (uinfo === 0) return info.signo;
  const bytes = new Uint8Array(SIGINFO_BYTES);
  writeSiginfo(cx, new DataView(bytes.buffer), info);
  return isErr(writeUserBytes(userMm(cx), uinfo, bytes)) ? EFAULT : info.signo;
}

export const sys_rt_sigreturn = syscall(NR.rt_sigreturn, "rt_sigreturn", [], (cx) => {
  const restored = restoreFrame(cx);
  if (isErr(restored)) return 0;
  const { mem, text } = cx.kernel;
  const at = cx.task.userRegs + text.arch.roles.returnValue;
  recalcPending(cx.task);
  return fromWords(mem.dv.getInt32(at, true), mem.dv.getInt32(at + 4, true));
});

const SS_FLAGS = SS.ONSTACK | SS.DISABLE | SS.AUTODISARM;

export const sys_sigaltstack = syscall(
  NR.sigaltstack,
  "sigaltstack",
  [
    ["uss", userPointer("const stack_t")],
    ["uoss", userPointer("stack_t")],
  ],
  (cx, uss, uoss) => {
    const { task } = cx;
    const old = task.altStack;
    const isOn = isOnAltStack(cx);
    if (uss !== 0) {
      const wanted = getStruct(cx, stack_t, uss, (view) => ({
        sp: view.ss_sp,
        flags: view.ss_flags,
        size: view.ss_size,
      }));
      if (isErr(wanted)) return EFAULT;
      if (isOn) return EPERM;
      const isSame = wanted.sp === old.sp && wanted.size === old.size && wanted.flags === old.flags;
      if (isSame) return uoss === 0 ? 0 : putAltStack(cx, uoss, old, isOn);
      const mode = wanted.flags & ~SS.AUTODISARM;
      if (mode !== SS.DISABLE && mode !== SS.ONSTACK && mode !== 0) return EINVAL;
      if (mode === SS.DISABLE) task.altStack = { sp: 0, flags: SS.DISABLE, size: 0 };
      else if (wanted.size < MINSIGSTKSZ) return ENOMEM;
      else task.altStack = { ...wanted, flags: wanted.flags & SS_FLAGS };
    }
    return uoss === 0 ? 0 : putAltStack(cx, uoss, old, isOn);
  },
);

const putAltStack = (cx: Cx, uoss: UAddr, stack: Cx["task"]["altStack"], isOn: boolean): Result<0> =>
  putStruct(cx, stack_t, uoss, (view) => {
    view.ss_sp = stack.sp;
    view.ss_size = stack.size;
    const mode = stack.size === 0 ? SS.DISABLE : isOn ? SS.ONSTACK : 0;
    view.ss_flags = mode | (stack.flags & SS.AUTODISARM);
  });

function isOnAltStack({ task, kernel }: Cx): boolean {
  const { mem, text } = kernel;
  const at = task.userRegs + text.arch.roles.sp;
  const sp = fromWords(mem.dv.getInt32(at, true), mem.dv.getInt32(at + 4, true));
  return sp > task.altStack.sp && sp <= task.altStack.sp + task.altStack.size;
}

/** Goes on with a sleep that a stop interrupted (nanosleep, poll, futex). */
export const sys_restart_syscall = syscall(NR.restart_syscall, "restart_syscall", [], (cx) => {
  const { restartBlock } = cx.task;
  cx.task.restartBlock = undefined;
  const made = restartBlock?.();
  if (isBlocking(made)) return made as Blocking<number>;
  return isErr(made) ? made : EINTR;
});

export const SIGNAL_SYSCALLS = [
  sys_kill,
  sys_tkill,
  sys_tgkill,
  sys_rt_sigqueueinfo,
  sys_rt_tgsigqueueinfo,
  sys_rt_sigaction,
  sys_rt_sigprocmask,
  sys_rt_sigpending,
  sys_rt_sigsuspend,
  sys_rt_sigtimedwait,
  sys_rt_sigreturn,
  sys_sigaltstack,
  sys_restart_syscall,
] as const;
