/**
 * Timers that send signals: setitimer, getitimer, and POSIX timers (timer_create and its kin). Linux: kernel/time/{itimer,posix-timers}.c.
 *
 * A timer belongs to a process, and ends with it; POSIX timers end with exec too. ITIMER_VIRTUAL and ITIMER_PROF run on the time
 * that the process was charged: while one is armed, every trap looks at it (`onCpuTime`).
 */
import {
  CLOCK,
  EAGAIN,
  EFAULT,
  EINVAL,
  EOPNOTSUPP,
  isErr,
  ITIMER,
  itimerspec,
  NR,
  NSEC_PER_SEC,
  NSEC_PER_USEC,
  NSIG,
  type Result,
  RLIMIT,
  SI,
  SIG,
  TIMER_ABSTIME,
  type UAddr,
} from "@alien-ts/abi";
import type { RealTime } from "../core/clock.ts";
import type { Cx } from "../core/cx.ts";
import type { Kernel } from "../core/kernel.ts";
import { int, syscall, userPointer } from "../core/syscall.ts";
import type { Task } from "../core/task.ts";
import { get_user_s64, put_user_u32, put_user_u64, readUserBytes } from "../mm/uaccess.ts";
import { HrTimer } from "../sched/timers.ts";
import { processTimes } from "../task/exit.ts";
import type { Process, SigInfo } from "../task/process.ts";
import { sendToProcess, sendToTask, siginfo } from "../task/signal.ts";
import { getStruct, putStruct, userMm } from "../vfs/user.ts";
import { isCpuClock } from "./cpu-clock.ts";
import { isBootClock, isWallClock, monotonicDeadline } from "./time.ts";

declare module "../task/process.ts" {
  interface Process {
    timers: ProcessTimers | undefined;
  }
}

interface CpuTimer {
  /** CPU time of the process at which it expires; 0: disarmed. */
  expiresNs: number;
  intervalNs: number;
}

class ProcessTimers {
  readonly process: Process;
  readonly real: HrTimer;
  realIntervalNs = 0;
  readonly cpu: readonly [CpuTimer, CpuTimer] = [
    { expiresNs: 0, intervalNs: 0 },
    { expiresNs: 0, intervalNs: 0 },
  ];
  readonly posix = new Map<number, PosixTimer>();
  nextId = 0;

  constructor(process: Process) {
    this.process = process;
    this.real = new HrTimer((cx, timer) => {
      if (this.realIntervalNs > 0) {
        const late = Math.floor((cx.kernel.clock.nowNs() - timer.expiresNs) / this.realIntervalNs);
        cx.kernel.sched.timers.start(timer, timer.expiresNs + (late + 1) * this.realIntervalNs);
      }
      sendToProcess(cx, process, siginfo(SIG.ALRM, SI.KERNEL));
    });
  }
}

const timersOf = ({ process }: Task): ProcessTimers => (process.timers ??= new ProcessTimers(process));

/** Ends the timers of processes that end or exec. */
export function initTimers(kernel: Kernel): void {
  kernel.taskHooks.push({
    name: "timers",
    exec: (cx, task) => dropPosixTimers(cx, task.process),
    exit(cx, { process }) {
      const { timers } = process;
      if (timers === undefined || process.threads.size > 1) return;
      cx.kernel.sched.timers.cancel(timers.real);
      for (const timer of timers.cpu) timer.expiresNs = 0;
      dropPosixTimers(cx, process);
      process.timers = undefined;
      watchCpuTime(cx.kernel);
    },
  });
}

function dropPosixTimers(cx: Cx, { timers }: Process): void {
  for (const timer of timers?.posix.values() ?? []) cx.kernel.sched.timers.cancel(timer.timer);
  timers?.posix.clear();
}

/** What ITIMER_VIRTUAL (user) and ITIMER_PROF (user and kernel) count. */
function cpuTimeNs(process: Process, which: number): number {
  const { userNs, systemNs } = processTimes(process);
  return which === ITIMER.VIRTUAL ? userNs : userNs + systemNs;
}

/** Looks at CPU timers at every trap while some process has one armed. */
function watchCpuTime(kernel: Kernel): void {
  const isArmed = kernel.pids
    .processes()
    .some(({ timers }) => timers?.cpu.some((timer) => timer.expiresNs > 0) ?? false);
  kernel.onCpuTime = isArmed ? checkCpuTimers : undefined;
}

function checkCpuTimers(cx: Cx): void {
  const { process } = cx.task;
  const { timers } = process;
  if (timers === undefined) return;
  for (const which of [ITIMER.VIRTUAL, ITIMER.PROF]) {
    const timer = timers.cpu[which - 1]!;
    const now = cpuTimeNs(process, which);
    if (timer.expiresNs === 0 || now < timer.expiresNs) continue;
    timer.expiresNs = timer.intervalNs === 0 ? 0 : now + timer.intervalNs;
    const signo = which === ITIMER.VIRTUAL ? SIG.VTALRM : SIG.PROF;
    sendToProcess(cx, process, siginfo(signo, SI.KERNEL));
  }
}

interface Setting {
  readonly valueNs: number;
  readonly intervalNs: number;
}

function interval(cx: Cx, which: number): Setting {
  const timers = timersOf(cx.task);
  if (which === ITIMER.REAL) {
    const { real } = timers;
    const left = real.isActive ? Math.max(1, real.expiresNs - cx.kernel.clock.nowNs()) : 0;
    return { valueNs: left, intervalNs: timers.realIntervalNs };
  }
  const timer = timers.cpu[which - 1]!;
  const now = cpuTimeNs(cx.task.process, which);
  const left = timer.expiresNs === 0 ? 0 : Math.max(NSEC_PER_USEC, timer.expiresNs - now);
  return { valueNs: left, intervalNs: timer.intervalNs };
}

function setInterval(cx: Cx, which: number, { valueNs, intervalNs }: Setting): void {
  const timers = timersOf(cx.task);
  if (which === ITIMER.REAL) {
    cx.kernel.sched.timers.cancel(timers.real);
    timers.realIntervalNs = valueNs === 0 ? 0 : intervalNs;
    if (valueNs > 0) cx.kernel.sched.timers.start(timers.real, cx.kernel.clock.nowNs() + valueNs);
    return;
  }
  const timer = timers.cpu[which - 1]!;
  timer.intervalNs = intervalNs;
  timer.expiresNs = valueNs === 0 ? 0 : cpuTimeNs(cx.task.process, which) + valueNs;
  watchCpuTime(cx.kernel);
}

const isTimer = (which: number): boolean => which >= ITIMER.REAL && which <= ITIMER.PROF;

function putSetting(cx: Cx, addr: UAddr, { valueNs, intervalNs }: Setting): Result<0> {
  const mm = userMm(cx);
  const words = [intervalNs, valueNs].flatMap((ns) => [
    Math.floor(ns / NSEC_PER_SEC),
    Math.floor((ns % NSEC_PER_SEC) / NSEC_PER_USEC),
  ]);
  for (const [i, word] of words.entries()) if (isErr(put_user_u64(mm, addr + i * 8, word))) return EFAULT;
  return 0;
}

/** EFAULT; EINVAL unless both times are normalised and not negative. */
function readSetting(cx: Cx, addr: UAddr): Result<Setting> {
  const mm = userMm(cx);
  const times: number[] = [];
  for (const at of [0, 16]) {
    const sec = get_user_s64(mm, addr + at);
    const usec = get_user_s64(mm, addr + at + 8);
    if (isErr(sec) || isErr(usec)) return EFAULT;
    if (sec < 0 || usec < 0 || usec >= 1_000_000) return EINVAL;
    times.push(Math.min(sec * NSEC_PER_SEC + usec * NSEC_PER_USEC, Number.MAX_SAFE_INTEGER));
  }
  return { intervalNs: times[0]!, valueNs: times[1]! };
}

const itimervalp = userPointer("struct __kernel_old_itimerval");
const WHICH = ["which", int] as const;

export const sys_getitimer = syscall(
  NR.getitimer,
  "getitimer",
  [WHICH, ["value", itimervalp]],
  (cx, which, value) => (isTimer(which) ? putSetting(cx, value, interval(cx, which)) : EINVAL),
);

export const sys_setitimer = syscall(
  NR.setitimer,
  "setitimer",
  [WHICH, ["value", itimervalp], ["ovalue", itimervalp]],
  (cx, which, value, ovalue) => {
    const wanted = value === 0 ? { valueNs: 0, intervalNs: 0 } : readSetting(cx, value);
    if (isErr(wanted)) return wanted;
    if (!isTimer(which)) return EINVAL;
    const old = interval(cx, which);
    setInterval(cx, which, wanted);
    return ovalue === 0 ? 0 : putSetting(cx, ovalue, old);
  },
);

// POSIX timers.

const SIGEV = { SIGNAL: 0, NONE: 1, THREAD: 2, THREAD_ID: 4 } as const;
const SIGEVENT_BYTES = 64;
const OVERRUN_MAX = 0x7fff_ffff;

interface Notification {
  readonly kind: number;
  readonly signo: number;
  readonly value: bigint;
  /** SIGEV_THREAD_ID. */
  readonly tid: number;
}

class PosixTimer {
  readonly id: number;
  readonly clock: number;
  readonly notification: Notification;
  readonly timer: HrTimer;
  intervalNs = 0;
  /** Expirations that the last signal stands for, beyond itself. */
  overrun = 0;

  constructor(id: number, clock: number, notification: Notification, process: Process) {
    this.id = id;
    this.clock = clock;
    this.notification = notification;
    this.timer = new HrTimer((cx) => this.#expire(cx, process));
  }

  #expire(cx: Cx, process: Process): void {
    this.overrun = 0;
    if (this.intervalNs > 0) {
      const late = Math.floor((cx.kernel.clock.nowNs() - this.timer.expiresNs) / this.intervalNs);
      this.overrun = Math.min(late, OVERRUN_MAX);
      cx.kernel.sched.timers.start(this.timer, this.timer.expiresNs + (late + 1) * this.intervalNs);
    }
    const { kind, signo, value, tid } = this.notification;
    if (kind === SIGEV.NONE) return;
    // si_tid and si_overrun lie where a sender's pid and uid do.
    const info: SigInfo = { ...siginfo(signo, SI.TIMER), pid: this.id, uid: this.overrun, value };
    const thread = kind === SIGEV.THREAD_ID ? cx.kernel.pids.find(tid) : undefined;
    if (thread !== undefined && thread.process === process) sendToTask(cx, thread, info);
    else if (kind !== SIGEV.THREAD_ID) sendToProcess(cx, process, info);
  }
}

/** NULL means SIGALRM with the timer's id. EFAULT, EINVAL. Linux: good_sigevent(). */
function readSigevent(cx: Cx, addr: UAddr, id: number): Result<Notification> {
  if (addr === 0) return { kind: SIGEV.SIGNAL, signo: SIG.ALRM, value: BigInt(id), tid: 0 };
  const bytes = readUserBytes(userMm(cx), addr, SIGEVENT_BYTES);
  if (isErr(bytes)) return EFAULT;
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const notification = {
    value: view.getBigUint64(0, true),
    signo: view.getInt32(8, true),
    kind: view.getInt32(12, true),
    tid: view.getInt32(16, true),
  };
  const { kind, signo, tid } = notification;
  if (kind === SIGEV.NONE) return notification;
  if (kind === SIGEV.THREAD_ID || kind === (SIGEV.THREAD_ID | SIGEV.SIGNAL)) {
    const thread = cx.kernel.pids.find(tid);
    if (thread === undefined || thread.process !== cx.task.process) return EINVAL;
  } else if (kind !== SIGEV.SIGNAL && kind !== SIGEV.THREAD) return EINVAL;
  return signo < 1 || signo > NSIG ? EINVAL : notification;
}

export const sys_timer_create = syscall(
  NR.timer_create,
  "timer_create",
  [
    ["which_clock", int],
    ["timer_event_spec", userPointer("struct sigevent")],
    ["created_timer_id", userPointer("timer_t")],
  ],
  (cx, clock, event, created) => {
    if (isCpuClock(clock) || clock === CLOCK.MONOTONIC_RAW) return EOPNOTSUPP;
    if (clock === CLOCK.REALTIME_COARSE || clock === CLOCK.MONOTONIC_COARSE) return EOPNOTSUPP;
    if (!isWallClock(clock) && !isBootClock(clock)) return EINVAL;
    const timers = timersOf(cx.task);
    if (timers.posix.size >= cx.task.process.limit(RLIMIT.SIGPENDING)) return EAGAIN;
    const id = timers.nextId;
    const notification = readSigevent(cx, event, id);
    if (isErr(notification)) return notification;
    if (isErr(put_user_u32(userMm(cx), created, id))) return EFAULT;
    timers.nextId += 1;
    timers.posix.set(id, new PosixTimer(id, clock, notification, cx.task.process));
    return 0;
  },
  { fidelity: { simplified: "no timers on CPU-time clocks" } },
);

const TIMER_ID = ["timer_id", int] as const;
const itimerspecp = userPointer("struct __kernel_itimerspec");
const find = (cx: Cx, id: number): PosixTimer | undefined => cx.task.process.timers?.posix.get(id);

const timeOf = (ns: number): RealTime => ({ sec: Math.floor(ns / NSEC_PER_SEC), nsec: ns % NSEC_PER_SEC });

function putTimer(cx: Cx, addr: UAddr, timer: PosixTimer): Result<0> {
  const left = timer.timer.isActive ? Math.max(1, timer.timer.expiresNs - cx.kernel.clock.nowNs()) : 0;
  return putStruct(cx, itimerspec, addr, (view) => {
    const value = timeOf(left);
    const period = timeOf(timer.intervalNs);
    view.it_value.tv_sec = value.sec;
    view.it_value.tv_nsec = value.nsec;
    view.it_interval.tv_sec = period.sec;
    view.it_interval.tv_nsec = period.nsec;
  });
}

export const sys_timer_gettime = syscall(
  NR.timer_gettime,
  "timer_gettime",
  [TIMER_ID, ["setting", itimerspecp]],
  (cx, id, setting) => {
    const timer = find(cx, id);
    return timer === undefined ? EINVAL : putTimer(cx, setting, timer);
  },
);

export const sys_timer_getoverrun = syscall(
  NR.timer_getoverrun,
  "timer_getoverrun",
  [TIMER_ID],
  (cx, id) => find(cx, id)?.overrun ?? EINVAL,
);

export const sys_timer_settime = syscall(
  NR.timer_settime,
  "timer_settime",
  [TIMER_ID, ["flags", int], ["new_setting", itimerspecp], ["old_setting", itimerspecp]],
  (cx, id, flags, fresh, old) => {
    if (fresh === 0) return EINVAL;
    const wanted = getStruct(cx, itimerspec, fresh, (view) => ({
      value: { sec: view.it_value.tv_sec, nsec: view.it_value.tv_nsec },
      period: { sec: view.it_interval.tv_sec, nsec: view.it_interval.tv_nsec },
    }));
    if (isErr(wanted)) return wanted;
    const isValid = ({ sec, nsec }: RealTime): boolean => sec >= 0 && nsec >= 0 && nsec < NSEC_PER_SEC;
    if (!isValid(wanted.value) || !isValid(wanted.period)) return EINVAL;
    const timer = find(cx, id);
    if (timer === undefined) return EINVAL;
    if (old !== 0) {
      const put = putTimer(cx, old, timer);
      if (isErr(put)) return put;
    }
    arm(cx, timer, wanted, (flags & TIMER_ABSTIME) !== 0);
    return 0;
  },
);

function arm(
  cx: Cx,
  timer: PosixTimer,
  { value, period }: { readonly value: RealTime; readonly period: RealTime },
  isAbsolute: boolean,
): void {
  const { timers } = cx.kernel.sched;
  timers.cancel(timer.timer);
  timer.overrun = 0;
  timer.intervalNs = period.sec * NSEC_PER_SEC + period.nsec;
  if (value.sec === 0 && value.nsec === 0) return;
  timers.start(timer.timer, monotonicDeadline(cx, value, isAbsolute, isWallClock(timer.clock)));
}

export const sys_timer_delete = syscall(NR.timer_delete, "timer_delete", [TIMER_ID], (cx, id) => {
  const timer = find(cx, id);
  if (timer === undefined) return EINVAL;
  cx.kernel.sched.timers.cancel(timer.timer);
  cx.task.process.timers?.posix.delete(id);
  return 0;
});

export const TIMER_SYSCALLS = [
  sys_getitimer,
  sys_setitimer,
  sys_timer_create,
  sys_timer_gettime,
  sys_timer_getoverrun,
  sys_timer_settime,
  sys_timer_delete,
] as const;
