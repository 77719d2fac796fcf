/** Dates as `date -d` and `touch -d`, `-t` take them, in UTC. */
import { type Instant, secondsFromUtc, utcFromSeconds } from "./time.ts";

const UNITS: Readonly<Record<string, number>> = {
  second: 1,
  sec: 1,
  minute: 60,
  min: 60,
  hour: 3600,
  day: 86_400,
  week: 604_800,
};

/** `@SECONDS`, `now`, `today`, `yesterday`, `tomorrow`, ISO dates, `2 days ago`, `[[CC]YY]MMDDhhmm[.ss]`. */
export function parseDate(text: string, now: Instant): Instant | undefined {
  const seconds = absolute(text, now) ?? relative(text, now);
  return seconds === undefined
    ? undefined
    : { seconds: Math.floor(seconds), nanoseconds: Math.round((seconds - Math.floor(seconds)) * 1e9) };
}

function absolute(text: string, now: Instant): number | undefined {
  const at = /^@(-?\d+(?:\.\d+)?)$/.exec(text);
  if (at !== null) return Number(at[1]);
  const iso =
    /^(\d{4})-(\d{1,2})-(\d{1,2})(?:[T ](\d{1,2}):(\d{2})(?::(\d{2}))?)?(?: ?(?:Z|UTC|\+00:?00))?$/.exec(
      text,
    );
  if (iso !== null) {
    const [, year, month, day, hour = "0", minute = "0", second = "0"] = iso;
    return secondsFromUtc({
      year: Number(year),
      month: Number(month) - 1,
      day: Number(day),
      hour: Number(hour),
      minute: Number(minute),
      second: Number(second),
    });
  }
  return stamp(text, now);
}

/** `[[CC]YY]MMDDhhmm[.ss]` */
function stamp(text: string, now: Instant): number | undefined {
  const match = /^(\d\d)?(\d\d)?(\d\d)(\d\d)(\d\d)(\d\d)(?:\.(\d\d))?$/.exec(text);
  if (match === null) return undefined;
  const [, a, b, month, day, hour, minute, second = "0"] = match;
  const short = b ?? a;
  const thisYear = utcFromSeconds(now.seconds).year;
  const century = b !== undefined && a !== undefined ? Number(a) * 100 : Number(short) < 69 ? 2000 : 1900;
  return secondsFromUtc({
    year: short === undefined ? thisYear : century + Number(short),
    month: Number(month) - 1,
    day: Number(day),
    hour: Number(hour),
    minute: Number(minute),
    second: Number(second),
  });
}

function relative(text: string, now: Instant): number | undefined {
  const base = now.seconds + now.nanoseconds / 1e9;
  if (text === "now" || text === "today") return base;
  if (text === "yesterday") return base - 86_400;
  if (text === "tomorrow") return base + 86_400;
  const match = /^([-+]?\d+) *([a-z]+?)s?( ago)?$/.exec(text);
  const unit = match === null ? undefined : UNITS[match[2]!];
  if (match === null || unit === undefined) return undefined;
  return base + Number(match[1]) * unit * (match[3] === undefined ? 1 : -1);
}
