/**
 * timerfd_create(2): a timer as a file whose reads give the number of expirations (Linux: fs/timerfd.c).
 *
 * As in Linux a periodic timer is not rearmed by its expiry but by the next look at it (read, gettime), which counts the
 * periods that passed. clock_settime(2) calls `timerfd_clock_was_set` afterwards: absolute timers on the real-time clock move,
 * and those with TFD_TIMER_CANCEL_ON_SET answer ECANCELED once.
 */
import {
  EAGAIN,
  ECANCELED,
  EFAULT,
  EINVAL,
  CLOCK,
  EPERM,
  isErr,
  NSEC_PER_SEC,
  O,
  POLL,
  type Result,
  ssize_t,
  TFD,
} from "@alien-ts/abi";
import type { RealTime } from "../core/clock.ts";
import { capable } from "../core/cred.ts";
import type { Cx } from "../core/cx.ts";
import type { Kernel } from "../core/kernel.ts";
import { voidType } from "../core/owner.ts";
import { kernelFn, sleepingFn } from "../core/row.ts";
import { HrTimer } from "../sched/timers.ts";
import { waitEvent, WaitQueue, wakeUp } from "../sched/wait.ts";
import { anon_inode_getfile } from "../vfs/anon-inodes.ts";
import { addFile } from "../vfs/fd-table.ts";
import { type File, type FileOperations, iov_iterp } from "../vfs/file.ts";
import { kiocbp } from "../vfs/kiocb.ts";

declare module "../core/kernel.ts" {
  interface Kernel {
    /** Timers on the real-time clock that are armed with an absolute time. */
    realTimers: Set<TimerFd>;
    /** CLOCK_REALTIME − CLOCK_MONOTONIC when it was last looked at. */
    realOffset: RealTime;
  }
}

const CAP_WAKE_ALARM = 35;
const WORD_BYTES = 8;

/** Time left (0: disarmed) and period (0: one shot), in nanoseconds. */
export interface TimerSetting {
  readonly valueNs: number;
  readonly intervalNs: number;
}

/** What a timer is set to: the first expiry in two parts, since a real time in nanoseconds is no exact number; 0 disarms. */
export interface TimerRequest {
  readonly value: RealTime;
  readonly intervalNs: number;
}

export class TimerFd {
  readonly kernel: Kernel;
  readonly clock: number;
  readonly wait = new WaitQueue();
  readonly timer: HrTimer;
  ticks = 0;
  intervalNs = 0;
  /** It expired and was not rearmed yet. */
  hasExpired = false;
  settimeFlags = 0;
  /** The real-time clock was set since the last look. */
  isCanceled = false;

  constructor(kernel: Kernel, clock: number) {
    this.kernel = kernel;
    this.clock = clock;
    this.timer = new HrTimer((cx) => this.#expire(cx));
  }

  get isRealTime(): boolean {
    return this.clock === CLOCK.REALTIME || this.clock === CLOCK.REALTIME_ALARM;
  }

  #expire(cx: Cx): void {
    this.hasExpired = true;
    this.ticks += 1;
    wakeUp(cx, this.wait, POLL.IN);
  }

  /** Counts the periods that passed since the expiry, and starts the next. */
  rearm(): void {
    if (!this.hasExpired || this.intervalNs === 0) return;
    const now = this.kernel.clock.nowNs();
    const behind = now - this.timer.expiresNs;
    const periods = Math.floor(behind / this.intervalNs) + 1;
    this.ticks += periods - 1;
    this.hasExpired = false;
    this.kernel.sched.timers.start(this.timer, this.timer.expiresNs + periods * this.intervalNs);
  }

  get setting(): TimerSetting {
    const left = this.timer.isActive ? Math.max(1, this.timer.expiresNs - this.kernel.clock.nowNs()) : 0;
    return { valueNs: left, intervalNs: this.intervalNs };
  }

  arm(flags: number, request: TimerRequest): void {
    this.disarm();
    this.settimeFlags = flags;
    this.hasExpired = false;
    this.isCanceled = false;
    this.ticks = 0;
    this.intervalNs = request.intervalNs;
    if (request.value.sec === 0 && request.value.nsec === 0) return;
    const isAbsolute = (flags & TFD.TIMER_ABSTIME) !== 0;
    this.kernel.sched.timers.start(this.timer, this.#monotonic(request.value, isAbsolute));
    if (isAbsolute && this.isRealTime) this.kernel.realTimers.add(this);
  }

  disarm(): void {
    this.kernel.sched.timers.cancel(this.timer);
    this.kernel.realTimers.delete(this);
  }

  #monotonic({ sec, nsec }: RealTime, isAbsolute: boolean): number {
    const now = this.kernel.clock.nowNs();
    if (!isAbsolute) return now + sec * NSEC_PER_SEC + nsec;
    if (!this.isRealTime) return sec * NSEC_PER_SEC + nsec;
    const real = this.kernel.clock.realTime();
    return now + (sec - real.sec) * NSEC_PER_SEC + (nsec - real.nsec);
  }

  /** The real-time clock jumped by `byNs`. */
  move(cx: Cx, byNs: number): void {
    if (this.timer.isActive) this.kernel.sched.timers.start(this.timer, this.timer.expiresNs - byNs);
    if ((this.settimeFlags & TFD.TIMER_CANCEL_ON_SET) === 0) return;
    this.isCanceled = true;
    this.ticks += 1;
    wakeUp(cx, this.wait, POLL.IN);
  }
}

/** CLOCK_REALTIME − CLOCK_MONOTONIC, in two parts. */
function realOffset(kernel: Kernel): RealTime {
  const { sec, nsec } = kernel.clock.realTime();
  const now = kernel.clock.nowNs();
  return { sec: sec - Math.floor(now / NSEC_PER_SEC), nsec: nsec - (now % NSEC_PER_SEC) };
}

export function initTimerFds(kernel: Kernel): void {
  kernel.realTimers = new Set();
  kernel.realOffset = realOffset(kernel);
}

export const timerfd_fops: FileOperations = {
  name: "timerfd_fops",
  read_iter: (cx, iocb, to) => timerfd_read_iter(cx, iocb, to),
  poll(_cx, file, register) {
    const timer = file.private_data as TimerFd;
    register?.(timer.wait);
    return timer.ticks > 0 ? POLL.IN : 0;
  },
  release(_cx, _inode, file) {
    (file.private_data as TimerFd).disarm();
  },
  show_fdinfo(_cx, file) {
    const timer = file.private_data as TimerFd;
    const { valueNs, intervalNs } = timer.setting;
    const pair = (ns: number): string => `(${Math.floor(ns / NSEC_PER_SEC)}, ${ns % NSEC_PER_SEC})`;
    return (
      `clockid: ${timer.clock}\nticks: ${timer.ticks}\nsettime flags: 0${timer.settimeFlags.toString(8)}\n` +
      `it_value: ${pair(valueNs)}\nit_interval: ${pair(intervalNs)}\n`
    );
  },
};

export const timerfd_read_iter = sleepingFn(
  "timerfd_read_iter",
  [
    ["iocb", kiocbp],
    ["to", iov_iterp],
  ],
  ssize_t,
  function* (cx, iocb, to) {
    const timer = iocb.file.private_data as TimerFd;
    if (to.count < WORD_BYTES) return EINVAL;
    if (timer.ticks === 0) {
      if (iocb.isNonBlocking) return EAGAIN;
      const woken = yield* waitEvent(cx, timer.wait, () => timer.ticks > 0);
      if (isErr(woken)) return woken;
    }
    if (timer.isCanceled) {
      timer.isCanceled = false;
      timer.ticks = 0;
      return ECANCELED;
    }
    timer.rearm();
    const { ticks } = timer;
    timer.ticks = 0;
    timer.hasExpired = false;
    return to.copyBytesTo(new Uint8Array(BigUint64Array.of(BigInt(ticks)).buffer)) === WORD_BYTES
      ? WORD_BYTES
      : EFAULT;
  },
  { local: true, doc: "Gives the expirations since the last read; sleeps until there is one." },
);

const CLOCKS: readonly number[] = [
  CLOCK.MONOTONIC,
  CLOCK.REALTIME,
  CLOCK.REALTIME_ALARM,
  CLOCK.BOOTTIME,
  CLOCK.BOOTTIME_ALARM,
];

/** timerfd_create(2). EINVAL, EPERM for alarm clocks, EMFILE, ENOMEM. */
export function timerfd_create(cx: Cx, clock: number, flags: number): Result<number> {
  if ((flags & ~(TFD.CLOEXEC | TFD.NONBLOCK)) !== 0 || !CLOCKS.includes(clock)) return EINVAL;
  const isAlarm = clock === CLOCK.REALTIME_ALARM || clock === CLOCK.BOOTTIME_ALARM;
  if (isAlarm && !capable(cx, CAP_WAKE_ALARM)) return EPERM;
  const timer = new TimerFd(cx.kernel, clock);
  const file = anon_inode_getfile(cx, "[timerfd]", timerfd_fops, timer, O.RDWR | (flags & TFD.NONBLOCK));
  return isErr(file) ? file : addFile(cx, file, (flags & TFD.CLOEXEC) !== 0);
}

/** timerfd_settime(2) on the file; answers the old setting. EINVAL for unknown flags. */
export function timerfdSet(file: File, flags: number, request: TimerRequest): Result<TimerSetting> {
  if ((flags & ~(TFD.TIMER_ABSTIME | TFD.TIMER_CANCEL_ON_SET)) !== 0) return EINVAL;
  const timer = file.private_data as TimerFd;
  timer.rearm();
  const old = timer.setting;
  timer.arm(flags, request);
  return old;
}

/** timerfd_gettime(2): time left and period. */
export function timerfdGet(file: File): TimerSetting {
  const timer = file.private_data as TimerFd;
  timer.rearm();
  return timer.setting;
}

/** The real-time clock was set: cancels and moves timers. Linux: timerfd_clock_was_set(). */
export const timerfd_clock_was_set = kernelFn("timerfd_clock_was_set", [], voidType, (cx) => {
  const { kernel } = cx;
  const offset = realOffset(kernel);
  const old = kernel.realOffset;
  const by = (offset.sec - old.sec) * NSEC_PER_SEC + offset.nsec - old.nsec;
  kernel.realOffset = offset;
  for (const timer of kernel.realTimers) timer.move(cx, by);
  return undefined;
});
