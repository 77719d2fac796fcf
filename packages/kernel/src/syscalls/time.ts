/** Clocks and sleeping: clock_*, gettimeofday, nanosleep, times. Linux: kernel/time/{posix-timers,time,hrtimer}.c. */
import {
  CLOCK,
  EFAULT,
  EINVAL,
  EOPNOTSUPP,
  EPERM,
  CAP,
  ERESTART_RESTARTBLOCK,
  ERESTARTNOHAND,
  isErr,
  NR,
  NSEC_PER_SEC,
  NSEC_PER_USEC,
  type Result,
  timespec,
  TIMER_ABSTIME,
  timeval,
  tms,
  type UAddr,
} from "@alien-ts/abi";
import type { RealTime } from "../core/clock.ts";
import { capable } from "../core/cred.ts";
import type { Cx } from "../core/cx.ts";
import type { Blocking } from "../core/row.ts";
import { int, syscall, userPointer } from "../core/syscall.ts";
import { timerfd_clock_was_set } from "../ipc/timerfd.ts";
import { nsOf, readTimespec, writeTimespec } from "../ipc/user-time.ts";
import { get_user_s64, put_user_u64 } from "../mm/uaccess.ts";
import { processTimes } from "../task/exit.ts";
import { waitUntil } from "../task/sleep.ts";
import { putStruct, userMm } from "../vfs/user.ts";
import { cpuClockNs, isCpuClock } from "./cpu-clock.ts";

const CLOCK_ID = ["which_clock", int] as const;
const timespecp = userPointer("struct __kernel_timespec");

const WALL_CLOCKS: readonly number[] = [
  CLOCK.REALTIME,
  CLOCK.REALTIME_COARSE,
  CLOCK.REALTIME_ALARM,
  CLOCK.TAI,
];
const BOOT_CLOCKS: readonly number[] = [
  CLOCK.MONOTONIC,
  CLOCK.MONOTONIC_RAW,
  CLOCK.MONOTONIC_COARSE,
  CLOCK.BOOTTIME,
  CLOCK.BOOTTIME_ALARM,
];
const COARSE: readonly number[] = [CLOCK.REALTIME_COARSE, CLOCK.MONOTONIC_COARSE];
/** A tick at CONFIG_HZ=250. */
const TICK_NS = 4_000_000;
/** USER_HZ: 100 per second. */
const USER_TICK_NS = 10_000_000;

export const isWallClock = (clock: number): boolean => WALL_CLOCKS.includes(clock);
export const isBootClock = (clock: number): boolean => BOOT_CLOCKS.includes(clock);

function readClock(cx: Cx, clock: number): Result<RealTime> {
  if (isWallClock(clock)) return cx.kernel.clock.realTime();
  const ns = isBootClock(clock) ? cx.kernel.clock.nowNs() : cpuClockNs(cx, clock);
  return isErr(ns) ? ns : { sec: Math.floor(ns / NSEC_PER_SEC), nsec: ns % NSEC_PER_SEC };
}

function putTime(cx: Cx, addr: UAddr, time: RealTime): Result<0> {
  return putStruct(cx, timespec, addr, (view) => {
    view.tv_sec = time.sec;
    view.tv_nsec = time.nsec;
  });
}

export const sys_clock_gettime = syscall(
  NR.clock_gettime,
  "clock_gettime",
  [CLOCK_ID, ["tp", timespecp]],
  (cx, clock, tp) => {
    const time = readClock(cx, clock);
    return isErr(time) ? time : putTime(cx, tp, time);
  },
);

export const sys_clock_getres = syscall(
  NR.clock_getres,
  "clock_getres",
  [CLOCK_ID, ["tp", timespecp]],
  (cx, clock, tp) => {
    if (!isWallClock(clock) && !isBootClock(clock)) {
      const known = cpuClockNs(cx, clock);
      if (isErr(known)) return known;
    }
    return tp === 0 ? 0 : putTime(cx, tp, { sec: 0, nsec: COARSE.includes(clock) ? TICK_NS : 1 });
  },
);

/** The largest time that may be set: years beyond 2232 overflow ktime_t (TIME_SETTOD_SEC_MAX). */
const SETTIME_SEC_MAX = 8_277_292_036;

function setRealTime(cx: Cx, time: RealTime): Result<0> {
  if (time.sec > SETTIME_SEC_MAX) return EINVAL;
  if (!capable(cx, CAP.SYS_TIME)) return EPERM;
  const { clock } = cx.kernel;
  const before = clock.nowNs();
  const real = clock.realTime();
  // Real time may not be set before the machine's boot.
  if (time.sec * NSEC_PER_SEC + time.nsec < before) return EINVAL;
  if (real.sec !== time.sec || real.nsec !== time.nsec) clock.setRealTime(time);
  timerfd_clock_was_set(cx);
  return 0;
}

export const sys_clock_settime = syscall(
  NR.clock_settime,
  "clock_settime",
  [CLOCK_ID, ["tp", timespecp]],
  (cx, clock, tp) => {
    if (clock !== CLOCK.REALTIME && !isCpuClock(clock)) return EINVAL;
    const time = readTimespec(cx, tp);
    if (isErr(time)) return time;
    return clock === CLOCK.REALTIME ? setRealTime(cx, time) : EPERM;
  },
);

export const sys_gettimeofday = syscall(
  NR.gettimeofday,
  "gettimeofday",
  [
    ["tv", userPointer("struct __kernel_old_timeval")],
    ["tz", userPointer("struct timezone")],
  ],
  (cx, tv, tz) => {
    const now = cx.kernel.clock.realTime();
    if (tv !== 0) {
      const put = putStruct(cx, timeval, tv, (view) => {
        view.tv_sec = now.sec;
        view.tv_usec = Math.floor(now.nsec / NSEC_PER_USEC);
      });
      if (isErr(put)) return put;
    }
    return tz === 0 ? 0 : putZone(cx, tz);
  },
);

/** struct timezone: minutes west of Greenwich and a kind of daylight saving, both zero. */
const putZone = (cx: Cx, tz: UAddr): Result<0> => put_user_u64(userMm(cx), tz, 0);

export const sys_settimeofday = syscall(
  NR.settimeofday,
  "settimeofday",
  [
    ["tv", userPointer("struct __kernel_old_timeval")],
    ["tz", userPointer("struct timezone")],
  ],
  (cx, tv, tz) => {
    const mm = userMm(cx);
    if (tz !== 0 && isErr(get_user_s64(mm, tz))) return EFAULT;
    if (tv === 0) return capable(cx, CAP.SYS_TIME) ? 0 : EPERM;
    const sec = get_user_s64(mm, tv);
    const usec = get_user_s64(mm, tv + 8);
    if (isErr(sec) || isErr(usec)) return EFAULT;
    if (sec < 0 || usec < 0 || usec >= 1_000_000) return EINVAL;
    return setRealTime(cx, { sec, nsec: usec * NSEC_PER_USEC });
  },
);

interface Sleep {
  /** CLOCK_MONOTONIC. */
  readonly deadlineNs: number;
  readonly isAbsolute: boolean;
  /** Where the time left goes; 0: nowhere. */
  readonly rmtp: UAddr;
}

/** Linux: hrtimer_nanosleep(). A relative sleep that a stop interrupted goes on to its old deadline. */
function* sleep(cx: Cx, request: Sleep): Blocking<Result<number>> {
  const { deadlineNs, isAbsolute, rmtp } = request;
  const woken = yield* waitUntil(cx, deadlineNs, () => false);
  if (!isErr(woken)) return 0;
  if (isAbsolute) return ERESTARTNOHAND;
  const left = Math.max(0, deadlineNs - cx.kernel.clock.nowNs());
  if (left === 0) return 0;
  if (rmtp !== 0 && isErr(writeTimespec(cx, rmtp, left))) return EFAULT;
  cx.task.restartBlock = () => sleep(cx, request);
  return ERESTART_RESTARTBLOCK;
}

const later = (now: number, ns: number): number => Math.min(now + ns, Number.MAX_SAFE_INTEGER);

export const sys_nanosleep = syscall(
  NR.nanosleep,
  "nanosleep",
  [
    ["rqtp", timespecp],
    ["rmtp", timespecp],
  ],
  (cx, rqtp, rmtp) => {
    const time = readTimespec(cx, rqtp);
    if (isErr(time)) return time;
    const deadlineNs = later(cx.kernel.clock.nowNs(), nsOf(time));
    return sleep(cx, { deadlineNs, isAbsolute: false, rmtp });
  },
);

export const sys_clock_nanosleep = syscall(
  NR.clock_nanosleep,
  "clock_nanosleep",
  [CLOCK_ID, ["flags", int], ["rqtp", timespecp], ["rmtp", timespecp]],
  (cx, clock, flags, rqtp, rmtp) => {
    const isWall = isWallClock(clock);
    if (!isWall && !isBootClock(clock)) return clock === CLOCK.PROCESS_CPUTIME_ID ? EOPNOTSUPP : EINVAL;
    if (COARSE.includes(clock) || clock === CLOCK.MONOTONIC_RAW) return EOPNOTSUPP;
    const time = readTimespec(cx, rqtp);
    if (isErr(time)) return time;
    const isAbsolute = (flags & TIMER_ABSTIME) !== 0;
    const deadlineNs = monotonicDeadline(cx, time, isAbsolute, isWall);
    return sleep(cx, { deadlineNs, isAbsolute, rmtp });
  },
  { fidelity: { simplified: "an absolute sleep does not notice that the real-time clock is set meanwhile" } },
);

/** The CLOCK_MONOTONIC time that a time of a clock means. */
export function monotonicDeadline(cx: Cx, time: RealTime, isAbsolute: boolean, isWall: boolean): number {
  const { clock } = cx.kernel;
  const now = clock.nowNs();
  if (!isAbsolute) return later(now, nsOf(time));
  if (!isWall) return nsOf(time);
  const real = clock.realTime();
  return Math.min(
    now + (time.sec - real.sec) * NSEC_PER_SEC + (time.nsec - real.nsec),
    Number.MAX_SAFE_INTEGER,
  );
}

export const sys_times = syscall(NR.times, "times", [["tbuf", userPointer("struct tms")]], (cx, tbuf) => {
  const { process } = cx.task;
  if (tbuf !== 0) {
    const own = processTimes(process);
    const children = process.waitedChildren;
    const put = putStruct(cx, tms, tbuf, (view) => {
      view.tms_utime = Math.floor(own.userNs / USER_TICK_NS);
      view.tms_stime = Math.floor(own.systemNs / USER_TICK_NS);
      view.tms_cutime = Math.floor(children.userNs / USER_TICK_NS);
      view.tms_cstime = Math.floor(children.systemNs / USER_TICK_NS);
    });
    if (isErr(put)) return put;
  }
  return Math.floor(cx.kernel.clock.nowNs() / USER_TICK_NS);
});

export const TIME_SYSCALLS = [
  sys_clock_gettime,
  sys_clock_settime,
  sys_clock_getres,
  sys_clock_nanosleep,
  sys_nanosleep,
  sys_gettimeofday,
  sys_settimeofday,
  sys_times,
] as const;
