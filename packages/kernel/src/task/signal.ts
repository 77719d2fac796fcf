/**
 * Sending signals, and what a task's pending state is. Linux: kernel/signal.c.
 *
 * Sending never sleeps. A signal that is ignored is dropped, SIGCONT and the stop signals cancel each other when they are
 * sent, SIGKILL ends the whole group. `recalcPending` keeps the two flags that sleeping code and the trap exit read.
 */
import {
  bool,
  CAP,
  EAGAIN,
  EINVAL,
  EPERM,
  NSIG,
  type Result,
  RLIMIT,
  s32,
  SA,
  SI,
  SIG,
  SIG_DFL,
  SIG_IGN,
  CLD,
} from "@alien-ts/abi";
import type { Cx } from "../core/cx.ts";
import { kernelFn } from "../core/row.ts";
import { PF, TASK, type Task } from "../core/task.ts";
import { wakeUpAll } from "../sched/wait.ts";
import { taskp, try_to_wake_up } from "../sched/wakeup.ts";
import { parentOf } from "./create.ts";
import type { Process, SigInfo, SigPending } from "./process.ts";

export const sigmask = (signo: number): bigint => 1n << BigInt(signo - 1);

const STOP_SIGNALS = sigmask(SIG.STOP) | sigmask(SIG.TSTP) | sigmask(SIG.TTIN) | sigmask(SIG.TTOU);
/** Ignored by default. */
const IGNORED_BY_DEFAULT = sigmask(SIG.CONT) | sigmask(SIG.CHLD) | sigmask(SIG.WINCH) | sigmask(SIG.URG);
/** Dump core by default: bit 7 of the wait status is not set, since no core is written. */
export const UNBLOCKABLE = sigmask(SIG.KILL) | sigmask(SIG.STOP);
/** Delivered before others, in numeric order (SYNCHRONOUS_MASK). */
const SYNCHRONOUS =
  sigmask(SIG.SEGV) |
  sigmask(SIG.BUS) |
  sigmask(SIG.ILL) |
  sigmask(SIG.TRAP) |
  sigmask(SIG.FPE) |
  sigmask(SIG.SYS);

export const isStopSignal = (signo: number): boolean => (sigmask(signo) & STOP_SIGNALS) !== 0n;
export const isIgnoredByDefault = (signo: number): boolean => (sigmask(signo) & IGNORED_BY_DEFAULT) !== 0n;

/** A siginfo of the kernel's own. */
export const siginfo = (signo: number, code: number): SigInfo => ({
  signo,
  code,
  errno: 0,
  pid: 0,
  uid: 0,
  status: 0,
  addr: 0,
  value: 0n,
});

/** A siginfo that says who sent it. */
export const siginfoFrom = (cx: Cx, signo: number, code: number): SigInfo => ({
  ...siginfo(signo, code),
  pid: cx.task.tgid,
  uid: cx.task.cred.uid,
});

/** Whether `task` would drop the signal (sig_task_ignored). A blocked signal is kept: its action may change. */
function isIgnored(task: Task, signo: number): boolean {
  if ((task.blocked & sigmask(signo)) !== 0n) return false;
  const { handler } = task.sighand.actions[signo]!;
  if (task.tgid === 1 && handler === SIG_DFL) return true;
  return handler === SIG_IGN || (handler === SIG_DFL && isIgnoredByDefault(signo));
}

/** SIGKILL goes to all but kernel threads, which ignore it too. */
const isDropped = (task: Task, signo: number): boolean =>
  signo === SIG.KILL ? task.sighand.actions[signo]!.handler === SIG_IGN : isIgnored(task, signo);

/** Makes a kernel thread deaf, to SIGKILL too. Linux: ignore_signals(), which kthreadd calls and its children inherit. */
export function ignore_signals(task: Task): void {
  const { actions } = task.sighand;
  for (let signo = 1; signo <= NSIG; signo++) actions[signo] = { ...actions[signo]!, handler: SIG_IGN };
}

/** The signals of `task` that are pending and not blocked. */
export const deliverable = (task: Task): bigint =>
  (task.pending.mask | task.process.pending.mask) & ~task.blocked;

/** Linux: recalc_sigpending(). To be called whenever a mask or a pending set changes. */
export function recalcPending(task: Task): void {
  const fatal = ((task.pending.mask | task.process.pending.mask) & sigmask(SIG.KILL)) !== 0n;
  task.hasFatalSignal = fatal;
  const stops = task.process.stoppedBy !== 0 && task.t.__state !== TASK.STOPPED;
  task.hasPendingSignal = fatal || deliverable(task) !== 0n || stops;
}

function enqueue(pending: SigPending, info: SigInfo, limit: number): Result<0> {
  const isRealtime = info.signo >= SIG.RTMIN;
  if (!isRealtime && (pending.mask & sigmask(info.signo)) !== 0n) return 0;
  if (isRealtime && pending.queue.length >= limit && info.code !== SI.USER) return EAGAIN;
  pending.mask |= sigmask(info.signo);
  pending.queue.push(info);
  return 0;
}

function drop(pending: SigPending, signals: bigint): void {
  pending.mask &= ~signals;
  const kept = pending.queue.filter((info) => (sigmask(info.signo) & signals) === 0n);
  pending.queue.splice(0, pending.queue.length, ...kept);
}

/** What sending a signal does at once, whatever the target does with it (prepare_signal). */
function prepare(cx: Cx, process: Process, signo: number): void {
  const all = (signals: bigint): void => {
    drop(process.pending, signals);
    for (const thread of process.threads) drop(thread.pending, signals);
  };
  if (isStopSignal(signo)) all(sigmask(SIG.CONT));
  else if (signo === SIG.CONT) {
    all(STOP_SIGNALS);
    continueProcess(cx, process);
  }
}

/** SIGCONT, whether or not it is handled. */
function continueProcess(cx: Cx, process: Process): void {
  const wasStopped = process.stoppedBy !== 0;
  process.stoppedBy = 0;
  for (const thread of process.threads) {
    recalcPending(thread);
    if (thread.t.__state === TASK.STOPPED) try_to_wake_up(cx, thread, TASK.STOPPED);
  }
  if (!wasStopped) return;
  process.continuedReported = false;
  notifyParentOfChange(cx, process, CLD.CONTINUED, SIG.CONT);
}

/** SIGCHLD for a stop or continue, and a wake-up of waiters (do_notify_parent_cldstop). */
export function notifyParentOfChange(cx: Cx, process: Process, code: number, status: number): void {
  const parent = parentOf(process.leader);
  if (parent === undefined) return;
  const action = parent.sighand.actions[SIG.CHLD]!;
  if (action.handler !== SIG_IGN && (action.flags & SA.NOCLDSTOP) === 0)
    sendToProcess(cx, parent.process, {
      ...siginfo(SIG.CHLD, code),
      pid: process.pid,
      uid: process.leader.cred.uid,
      status,
    });
  wakeUpAll(cx, parent.process.waitChild);
}

/** Sends to one thread (tgkill, faults). */
export function sendToTask(cx: Cx, task: Task, info: SigInfo): Result<0> {
  if (task.t.exit_state !== 0) return 0;
  prepare(cx, task.process, info.signo);
  if (info.signo === SIG.KILL && task.tgid === 1 && info.code <= 0) return 0;
  if (isDropped(task, info.signo)) return 0;
  const queued = enqueue(task.pending, info, task.process.limit(RLIMIT.SIGPENDING));
  if (queued !== 0) return queued;
  signal_wake_up(cx, task, info.signo === SIG.KILL);
  notifyReaders(cx, task.process);
  return 0;
}

/** Sends to a process: any thread that does not block it takes it. Linux: send_signal_locked(…, PIDTYPE_TGID). */
export function sendToProcess(cx: Cx, process: Process, info: SigInfo): Result<0> {
  prepare(cx, process, info.signo);
  const target = chooseThread(process, info.signo);
  if (target === undefined) return 0;
  if (isDropped(target, info.signo)) return 0;
  if (info.signo === SIG.KILL && target.tgid === 1) return 0;
  const queued = enqueue(process.pending, info, process.limit(RLIMIT.SIGPENDING));
  if (queued !== 0) return queued;
  if (info.signo === SIG.KILL) {
    process.groupExit ??= SIG.KILL;
    for (const thread of process.threads) {
      enqueue(thread.pending, info, Number.POSITIVE_INFINITY);
      signal_wake_up(cx, thread, true);
    }
  } else if ((target.blocked & sigmask(info.signo)) === 0n) signal_wake_up(cx, target, false);
  notifyReaders(cx, process);
  return 0;
}

declare module "../core/kernel.ts" {
  interface Kernel {
    /** Wakes signalfds of a process; set by ipc. */
    onSignalQueued: ((cx: Cx, process: Process) => void) | undefined;
  }
}

function notifyReaders(cx: Cx, process: Process): void {
  cx.kernel.onSignalQueued?.(cx, process);
}

function chooseThread(process: Process, signo: number): Task | undefined {
  const alive = [...process.threads].filter((thread) => (thread.t.flags & PF.EXITING) === 0);
  const wants = (thread: Task): boolean => (thread.blocked & sigmask(signo)) === 0n;
  const leader = alive.find((thread) => thread === process.leader);
  if (leader !== undefined && wants(leader)) return leader;
  return alive.find(wants) ?? leader ?? alive[0];
}

/** Makes a task look at its signals: wakes it from an interruptible sleep, or from any killable one. */
export const signal_wake_up = kernelFn(
  "signal_wake_up_state",
  [
    ["t", taskp],
    ["resume", bool],
  ],
  s32,
  (cx, task, isFatal) => {
    recalcPending(task);
    if (!task.hasPendingSignal) return 0;
    task.port?.signalForeign();
    const state = isFatal ? TASK.INTERRUPTIBLE | TASK.WAKEKILL | TASK.STOPPED : TASK.INTERRUPTIBLE;
    try_to_wake_up(cx, task, state);
    return 0;
  },
);

/** Takes the next deliverable signal out of `task`'s queues; `mask` limits which. Linux: dequeue_signal(). */
export function dequeueSignal(task: Task, mask: bigint): SigInfo | undefined {
  const own = takeFrom(task.pending, mask);
  const info = own ?? takeFrom(task.process.pending, mask);
  recalcPending(task);
  return info;
}

function takeFrom(pending: SigPending, mask: bigint): SigInfo | undefined {
  const wanted = pending.mask & mask;
  if (wanted === 0n) return undefined;
  const first = (wanted & SYNCHRONOUS) !== 0n ? wanted & SYNCHRONOUS : wanted;
  let signo = 1;
  while ((first & sigmask(signo)) === 0n) signo += 1;
  const at = pending.queue.findIndex((info) => info.signo === signo);
  const [info] = pending.queue.splice(at, 1);
  if (!pending.queue.some((other) => other.signo === signo)) pending.mask &= ~sigmask(signo);
  return info;
}

/** Whether the current task may signal `target` (kill(2): check_kill_permission). */
export function mayKill(cx: Cx, target: Process, signo: number): Result<0> {
  if (signo < 0 || signo > NSIG) return EINVAL;
  const mine = cx.task.cred;
  const theirs = target.leader.cred;
  const isOwner = [mine.euid, mine.uid].some((uid) => uid === theirs.uid || uid === theirs.t.suid.val);
  if (isOwner || mine.has(CAP.KILL)) return 0;
  return signo === SIG.CONT && cx.task.process.sid === target.sid ? 0 : EPERM;
}

/** Sends to every process of a group (the terminal's signals). */
export function sendToGroup(cx: Cx, pgid: number, info: SigInfo): void {
  for (const process of cx.kernel.pids.group(pgid)) sendToProcess(cx, process, info);
}

/** Changes the blocked set of the current task. SIGKILL and SIGSTOP cannot be blocked. */
export function setBlocked(task: Task, mask: bigint): void {
  task.blocked = mask & ~UNBLOCKABLE;
  recalcPending(task);
}

/** sigaction(2)'s effect: a signal that becomes ignored is dropped from the queues. */
export function setAction(task: Task, signo: number, action: Task["sighand"]["actions"][number]): void {
  task.sighand.actions[signo] = action;
  const ignores = action.handler === SIG_IGN || (action.handler === SIG_DFL && isIgnoredByDefault(signo));
  if (!ignores) return;
  drop(task.process.pending, sigmask(signo));
  for (const thread of task.process.threads) {
    drop(thread.pending, sigmask(signo));
    recalcPending(thread);
  }
}

/** Linux: force_sig_fault(): a blocked or ignored synchronous signal becomes the default action. */
export function forceSignal(cx: Cx, task: Task, info: SigInfo): void {
  const action = task.sighand.actions[info.signo]!;
  const isBlocked = (task.blocked & sigmask(info.signo)) !== 0n;
  if (isBlocked || action.handler === SIG_IGN) {
    task.sighand.actions[info.signo] = { ...action, handler: SIG_DFL };
    task.blocked &= ~sigmask(info.signo);
  }
  enqueue(task.pending, info, Number.POSITIVE_INFINITY);
  signal_wake_up(cx, task, false);
}
