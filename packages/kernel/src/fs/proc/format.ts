/**
 * Text as /proc prints it: clock ticks, masks, lists of CPUs, columns. Results are byte strings, as all names and contents of
 * the VFS are: one character per byte.
 */
import { utf8Encode } from "@alien-ts/abi";
import { byteString } from "../../vfs/dentry.ts";

/** Clock ticks per second in what user space sees (USER_HZ). */
export const USER_HZ = 100;
const TICK_NS = 1_000_000_000 / USER_HZ;

/** ~0UL in decimal: RLIM_INFINITY, and limits that a number does not hold. */
export const ULONG_MAX = "18446744073709551615";

/** Linux: nsec_to_clock_t(). */
export const clockTicks = (ns: number): number => Math.floor(ns / TICK_NS);

/** A size or limit as `%lu`. */
export const unsigned = (value: number): string => (Number.isFinite(value) ? String(value) : ULONG_MAX);

/** 16 hexadecimal digits: signal sets and capabilities (render_sigset_t, render_cap_t). */
export const mask64 = (mask: bigint): string => mask.toString(16).padStart(16, "0");

/** "0-2,5": numbers, ascending, as `%*pbl` prints them. */
export function rangeList(numbers: readonly number[]): string {
  const parts: string[] = [];
  for (let i = 0; i < numbers.length;) {
    let end = i;
    while (numbers[end + 1] === numbers[end]! + 1) end += 1;
    parts.push(end === i ? `${numbers[i]}` : `${numbers[i]}-${numbers[end]}`);
    i = end + 1;
  }
  return parts.join(",");
}

/** The numbers of the bits that are set in `mask`, below `count`. */
export function bitsOf(mask: bigint, count: number): number[] {
  const bits: number[] = [];
  for (let bit = 0; bit < count; bit++) if (((mask >> BigInt(bit)) & 1n) === 1n) bits.push(bit);
  return bits;
}

/** "00000001,ffffffff": a bitmap of `bits` bits as `%*pb` prints it. */
export function bitmap(mask: bigint, bits: number): string {
  const words: string[] = [];
  for (let low = 0; low < bits; low += 32) {
    const width = Math.ceil(Math.min(bits - low, 32) / 4);
    words.unshift(((mask >> BigInt(low)) & 0xffff_ffffn).toString(16).padStart(width, "0"));
  }
  return words.join(",");
}

/** "1.50": nanoseconds in seconds and hundredths, cut off. */
export const hundredths = (ns: number): string =>
  `${Math.floor(ns / 1e9)}.${String(Math.floor((ns % 1e9) / 1e7)).padStart(2, "0")}`;

/** A value right-aligned in `width` columns. */
export const right = (value: number | string, width: number): string => String(value).padStart(width);

/** Newlines and backslashes as octal escapes (seq_path with "\n\\", string_escape_str). */
export const escapeBytes = (text: string, escaped: string): string =>
  [...text]
    .map((c) => (escaped.includes(c) ? `\\${c.charCodeAt(0).toString(8).padStart(3, "0")}` : c))
    .join("");

/** The byte string of any text: what a `chars` field or a host string becomes in a file. */
export const bytesText = (text: string): string =>
  // oxlint-disable-next-line no-control-regex
  /^[\x00-\x7f]*$/.test(text) ? text : byteString(utf8Encode(text));
