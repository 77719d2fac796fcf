/** Sizes as people read and write them. */

const UNITS = "KMGTPE";

/** `1.5K`, as `ls -h` rounds: up, with one decimal below ten. */
export function humanSize(bytes: number): string {
  if (bytes < 1024) return String(bytes);
  let value = bytes;
  let unit = -1;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  const tenths = Math.ceil(value * 10) / 10;
  return (tenths < 10 ? tenths.toFixed(1) : String(Math.ceil(value))) + UNITS[unit]!;
}

const MULTIPLIERS: Readonly<Record<string, number>> = {
  "": 1,
  b: 512,
  c: 1,
  w: 2,
  k: 1024,
  K: 1024,
  kB: 1000,
  KB: 1000,
  M: 1024 ** 2,
  MB: 1e6,
  G: 1024 ** 3,
  GB: 1e9,
};

/** `10`, `4k`, `1M`; undefined where it is no size. */
export function parseSize(text: string): number | undefined {
  const match = /^(\d+)([a-zA-Z]*)$/.exec(text);
  const multiplier = match === null ? undefined : MULTIPLIERS[match[2]!];
  return match === null || multiplier === undefined ? undefined : Number(match[1]) * multiplier;
}
