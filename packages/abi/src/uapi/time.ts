/** Clocks and time structures (include/uapi/linux/time.h, time_types.h). */
import { long } from "../ctype.ts";
import { abiStruct, nested } from "../struct.ts";

export const CLOCK = {
  REALTIME: 0,
  MONOTONIC: 1,
  PROCESS_CPUTIME_ID: 2,
  THREAD_CPUTIME_ID: 3,
  MONOTONIC_RAW: 4,
  REALTIME_COARSE: 5,
  MONOTONIC_COARSE: 6,
  BOOTTIME: 7,
  REALTIME_ALARM: 8,
  BOOTTIME_ALARM: 9,
  TAI: 11,
} as const;
export const TIMER_ABSTIME = 1;
export const ITIMER = { REAL: 0, VIRTUAL: 1, PROF: 2 } as const;

export const timespec = abiStruct("timespec", { tv_sec: long, tv_nsec: long });
export const timeval = abiStruct("timeval", { tv_sec: long, tv_usec: long });
export const itimerspec = abiStruct("itimerspec", {
  it_interval: nested(timespec),
  it_value: nested(timespec),
});
export const itimerval = abiStruct("itimerval", { it_interval: nested(timeval), it_value: nested(timeval) });

export const NSEC_PER_SEC = 1_000_000_000;
export const NSEC_PER_MSEC = 1_000_000;
export const NSEC_PER_USEC = 1_000;
