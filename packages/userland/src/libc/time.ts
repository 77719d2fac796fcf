/** Clocks, sleeping, and calendar time in UTC (there is no time zone data). */
import { CLOCK, EINTR, NR, NSEC_PER_SEC, TIMER_ABSTIME, timespec } from "@alien-ts/abi";
import { check } from "./errors.ts";
import type { Process } from "./process.ts";
import { fill, pass } from "./structs.ts";

export interface Instant {
  readonly seconds: number;
  readonly nanoseconds: number;
}

export async function clockGetTime(process: Process, clock: number = CLOCK.REALTIME): Promise<Instant> {
  const got = await fill(process, timespec, (addr) => process.trap(NR.clock_gettime, clock, addr));
  if (typeof got === "number") {
    check(got, "clock_gettime");
    throw new Error("clock_gettime returned no time");
  }
  return { seconds: got.tv_sec, nanoseconds: got.tv_nsec };
}

/** Sleeps until `seconds` from now have passed, also across signals that are handled. */
export async function sleepFor(process: Process, seconds: number): Promise<void> {
  const now = await clockGetTime(process, CLOCK.MONOTONIC);
  const wake = now.nanoseconds + Math.round((seconds % 1) * NSEC_PER_SEC);
  const set = (view: { tv_sec: number; tv_nsec: number }): void => {
    view.tv_sec = now.seconds + Math.floor(seconds) + Math.floor(wake / NSEC_PER_SEC);
    view.tv_nsec = wake % NSEC_PER_SEC;
  };
  const result = await pass(process, timespec, set, async (addr) => {
    let slept: number;
    do slept = await process.trap(NR.clock_nanosleep, CLOCK.MONOTONIC, TIMER_ABSTIME, addr, 0);
    while (slept === -EINTR.number);
    return slept;
  });
  check(result, "clock_nanosleep");
}

export interface CalendarTime {
  readonly year: number;
  /** 0 … 11 */
  readonly month: number;
  readonly day: number;
  readonly hour: number;
  readonly minute: number;
  readonly second: number;
  /** 0 is Sunday. */
  readonly weekday: number;
  /** 0 … 365 */
  readonly yearday: number;
}

/** gmtime(3). The calendar is computed with Howard Hinnant's civil-from-days arithmetic on a year that starts in March. */
export function utcFromSeconds(seconds: number): CalendarTime {
  const days = Math.floor(seconds / 86_400);
  const rest = seconds - days * 86_400;
  const shifted = days + 719_468;
  const era = Math.floor(shifted / 146_097);
  const dayOfEra = shifted - era * 146_097;
  const yearOfEra = Math.floor(
    (dayOfEra -
      Math.floor(dayOfEra / 1460) +
      Math.floor(dayOfEra / 36_524) -
      Math.floor(dayOfEra / 146_096)) /
      365,
  );
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const marchMonth = Math.floor((5 * dayOfYear + 2) / 153);
  const month = (marchMonth + 2) % 12;
  const year = yearOfEra + era * 400 + (month < 2 ? 1 : 0);
  return {
    year,
    month,
    day: dayOfYear - Math.floor((153 * marchMonth + 2) / 5) + 1,
    hour: Math.floor(rest / 3600),
    minute: Math.floor(rest / 60) % 60,
    second: Math.floor(rest) % 60,
    weekday: (((days + 4) % 7) + 7) % 7,
    yearday: days - daysFromCivil(year, 0, 1),
  };
}

function daysFromCivil(year: number, month: number, day: number): number {
  const y = month < 2 ? year - 1 : year;
  const era = Math.floor(y / 400);
  const yearOfEra = y - era * 400;
  const dayOfYear = Math.floor((153 * ((month + 10) % 12) + 2) / 5) + day - 1;
  const dayOfEra = yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear;
  return era * 146_097 + dayOfEra - 719_468;
}

/** timegm(3). Months are 0 … 11. */
export const secondsFromUtc = (time: Omit<CalendarTime, "weekday" | "yearday">): number =>
  daysFromCivil(time.year, time.month, time.day) * 86_400 + time.hour * 3600 + time.minute * 60 + time.second;

const WEEKDAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"] as const;
const MONTHS = [
  "January",
  "February",
  "March",
  "April",
  "May",
  "June",
  "July",
  "August",
  "September",
  "October",
  "November",
  "December",
] as const;

const two = (value: number): string => String(value).padStart(2, "0");
const space2 = (value: number): string => String(value).padStart(2, " ");

/** One conversion of strftime(3) in the C locale, UTC; `N` is GNU date's nanoseconds. */
type Conversion = (time: CalendarTime, instant: Instant) => string;

const CONVERSIONS: Readonly<Record<string, Conversion>> = {
  a: (t) => WEEKDAYS[t.weekday]!.slice(0, 3),
  A: (t) => WEEKDAYS[t.weekday]!,
  b: (t) => MONTHS[t.month]!.slice(0, 3),
  B: (t) => MONTHS[t.month]!,
  h: (t) => MONTHS[t.month]!.slice(0, 3),
  c: (_, i) => formatTime("%a %b %e %H:%M:%S %Y", i),
  C: (t) => two(Math.floor(t.year / 100)),
  d: (t) => two(t.day),
  D: (_, i) => formatTime("%m/%d/%y", i),
  e: (t) => space2(t.day),
  F: (_, i) => formatTime("%Y-%m-%d", i),
  H: (t) => two(t.hour),
  I: (t) => two(t.hour % 12 || 12),
  j: (t) => String(t.yearday + 1).padStart(3, "0"),
  k: (t) => space2(t.hour),
  m: (t) => two(t.month + 1),
  M: (t) => two(t.minute),
  n: () => "\n",
  N: (_, i) => String(i.nanoseconds).padStart(9, "0"),
  p: (t) => (t.hour < 12 ? "AM" : "PM"),
  r: (_, i) => formatTime("%I:%M:%S %p", i),
  R: (_, i) => formatTime("%H:%M", i),
  s: (_, i) => String(i.seconds),
  S: (t) => two(t.second),
  t: () => "\t",
  T: (_, i) => formatTime("%H:%M:%S", i),
  u: (t) => String(t.weekday || 7),
  U: (t) => two(Math.floor((t.yearday + 7 - t.weekday) / 7)),
  w: (t) => String(t.weekday),
  W: (t) => two(Math.floor((t.yearday + 7 - ((t.weekday + 6) % 7)) / 7)),
  x: (_, i) => formatTime("%m/%d/%y", i),
  X: (_, i) => formatTime("%H:%M:%S", i),
  y: (t) => two(((t.year % 100) + 100) % 100),
  Y: (t) => String(t.year),
  z: () => "+0000",
  Z: () => "UTC",
  "%": () => "%",
};

/** strftime(3); an unknown conversion stays as it is. */
export function formatTime(format: string, instant: Instant): string {
  const time = utcFromSeconds(instant.seconds);
  return format.replace(
    /%([A-Za-z%])/g,
    (text, letter: string) => CONVERSIONS[letter]?.(time, instant) ?? text,
  );
}

/** Seconds with a unit: `1`, `0.5`, `2m`, `1h`, `1d`. Undefined where it is none. */
export function parseDuration(text: string): number | undefined {
  const match = /^(\d+(?:\.\d*)?|\.\d+)([smhd]?)$/.exec(text);
  if (match === null) return text === "infinity" || text === "inf" ? 2 ** 31 : undefined;
  const unit = { "": 1, s: 1, m: 60, h: 3600, d: 86_400 }[match[2] ?? ""] ?? 1;
  return Number(match[1]) * unit;
}
