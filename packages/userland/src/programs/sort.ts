/** sort(1), uniq(1). */
import { O } from "@alien-ts/abi";
import { SystemError, ToolError, UsageError } from "../libc/errors.ts";
import { closeInput, openInput, openOutput } from "../libc/files.ts";
import type { Options } from "../libc/getopt.ts";
import type { Process } from "../libc/process.ts";
import { compareBytes } from "../libc/text.ts";
import { complain, tool } from "../libc/tool.ts";

/** `-k 2.3n,4r` */
interface Key {
  readonly startField: number;
  readonly startChar: number;
  /** 0: to the end of the line. */
  readonly endField: number;
  /** 0: to the end of the field. */
  readonly endChar: number;
  readonly flags: string;
}

interface Order {
  readonly keys: readonly Key[];
  readonly separator: string | undefined;
  readonly flags: string;
  readonly stable: boolean;
}

export const sort = tool({
  name: "sort",
  usage:
    "sort [-bcCdfghiMmnrsuVz] [-k FIELD[.CHAR][OPTIONS][,FIELD[.CHAR][OPTIONS]]]... [-o FILE] [-t CHAR] [FILE]...",
  usageStatus: 2,
  errorStatus: 2,
  options: "bcCdfghik:Mmno:rst:uVz",
  long: {
    key: "k",
    "numeric-sort": "n",
    reverse: "r",
    unique: "u",
    output: "o",
    "field-separator": "t",
    stable: "s",
    check: "c",
    "ignore-case": "f",
    "ignore-leading-blanks": "b",
    "human-numeric-sort": "h",
    "zero-terminated": "z",
    "general-numeric-sort": "g",
    "version-sort": "V",
    "month-sort": "M",
    "dictionary-order": "d",
    merge: "m",
  },
  main: async (process, { options, operands }) => {
    const order = orderOf(options);
    const terminator = options.has("z") ? "\0" : "\n";
    const files: string[][] = [];
    for (const path of operands.length > 0 ? operands : ["-"])
      files.push(await readInput(process, path, terminator));
    const lines = files.flat();
    const compare = comparator(order);
    if (options.has("c") || options.has("C"))
      return checkOrder(process, { lines, compare, options, operands });
    const sorted = options.has("m") ? merge(files, compare) : lines.toSorted(compare);
    const unique = options.has("u")
      ? sorted.filter((line, i) => i === 0 || compareKeys(order, sorted[i - 1]!, line) !== 0)
      : sorted;
    const path = options.value("o");
    const output = path === undefined ? process.stdout : await openOutput(process, path, O.TRUNC);
    for (const line of unique) await output.write(line + terminator);
    if (path !== undefined) await output.close();
    return 0;
  },
});

async function readLines(process: Process, path: string, terminator: string): Promise<string[]> {
  const input = await openInput(process, path);
  const text = await input.readAll();
  await closeInput(process, input);
  const lines = text.split(terminator);
  if (lines.at(-1) === "") lines.pop();
  return lines;
}

/** A file that cannot be opened is told of in sort's own words. */
async function readInput(process: Process, path: string, terminator: string): Promise<string[]> {
  try {
    return await readLines(process, path, terminator);
  } catch (error) {
    if (!(error instanceof SystemError) || error.call !== "open") throw error;
    throw new ToolError(`cannot read: ${error.message}`, 2);
  }
}

/** Files that are sorted already: the smallest of their first lines is next. */
function merge(files: readonly (readonly string[])[], compare: (a: string, b: string) => number): string[] {
  const rest = files.filter((lines) => lines.length > 0).map((lines) => ({ lines, at: 0 }));
  const merged: string[] = [];
  while (rest.length > 0) {
    let best = rest[0]!;
    for (const each of rest) if (compare(each.lines[each.at]!, best.lines[best.at]!) < 0) best = each;
    merged.push(best.lines[best.at]!);
    best.at += 1;
    if (best.at === best.lines.length) rest.splice(rest.indexOf(best), 1);
  }
  return merged;
}

async function checkOrder(
  process: Process,
  check: {
    readonly lines: readonly string[];
    readonly compare: (a: string, b: string) => number;
    readonly options: Options;
    readonly operands: readonly string[];
  },
): Promise<number> {
  const { lines, compare, options, operands } = check;
  const worst = options.has("u") ? -1 : 0;
  const at = lines.findIndex((line, i) => i > 0 && compare(lines[i - 1]!, line) > worst);
  if (at < 0) return 0;
  if (!options.has("C"))
    await complain(process, "sort", `${operands[0] ?? "-"}:${at + 1}: disorder: ${lines[at]!}`);
  return 1;
}

const FLAG_LETTERS = "bdfghiMnrV";

function orderOf(options: Options): Order {
  const separator = options.value("t");
  if (separator !== undefined && separator.length !== 1 && separator !== "\\0")
    throw new ToolError(`multi-character tab '${separator}'`, 2);
  return {
    keys: options.values("k").map((text) => parseKey(text)),
    separator: separator === "\\0" ? "\0" : separator,
    flags: [...FLAG_LETTERS].filter((letter) => options.has(letter)).join(""),
    stable: options.has("s") || options.has("u"),
  };
}

function parseKey(text: string): Key {
  const match = /^(\d+)(?:\.(\d+))?([bdfghiMnrV]*)(?:,(\d+)(?:\.(\d+))?([bdfghiMnrV]*))?$/.exec(text);
  if (match === null || match[1] === "0")
    throw new UsageError(`invalid number at field start: invalid count at start of '${text}'`);
  return {
    startField: Number(match[1]),
    startChar: Number(match[2] ?? 1),
    endField: Number(match[4] ?? 0),
    endChar: Number(match[5] ?? 0),
    flags: (match[3] ?? "") + (match[6] ?? ""),
  };
}

function comparator(order: Order): (a: string, b: string) => number {
  const isReversed = order.flags.includes("r");
  return (a, b) => {
    const byKey = compareKeys(order, a, b);
    if (byKey !== 0 || order.stable) return byKey;
    // Last resort: the whole lines as bytes.
    return isReversed ? compareBytes(b, a) : compareBytes(a, b);
  };
}

function compareKeys(order: Order, a: string, b: string): number {
  if (order.keys.length === 0) return compareBy(order.flags, a, b);
  for (const key of order.keys) {
    const flags = key.flags === "" ? order.flags : key.flags;
    const result = compareBy(flags, extract(order, key, a, flags), extract(order, key, b, flags));
    if (result !== 0) return result;
  }
  return 0;
}

/** The offsets of fields: without a separator the blanks before a field belong to it. */
function fieldOffsets(line: string, separator: string | undefined): [number, number][] {
  const offsets: [number, number][] = [];
  if (separator !== undefined) {
    let start = 0;
    for (const part of line.split(separator)) {
      offsets.push([start, start + part.length]);
      start += part.length + 1;
    }
    return offsets;
  }
  for (const match of line.matchAll(/[ \t]*[^ \t]*/g)) {
    if (match[0] !== "") offsets.push([match.index, match.index + match[0].length]);
  }
  return offsets;
}

function extract(order: Order, key: Key, line: string, flags: string): string {
  const offsets = fieldOffsets(line, order.separator);
  const first = offsets[key.startField - 1];
  if (first === undefined) return "";
  let start = first[0];
  if (flags.includes("b")) while (start < first[1] && /[ \t]/.test(line[start]!)) start += 1;
  start = Math.min(start + key.startChar - 1, line.length);
  if (key.endField === 0) return line.slice(start);
  const last = offsets[key.endField - 1];
  if (last === undefined) return line.slice(start);
  return line.slice(start, key.endChar === 0 ? last[1] : Math.min(last[0] + key.endChar, line.length));
}

const MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];

function compareBy(flags: string, a: string, b: string): number {
  const result = compareAscending(flags, a, b);
  return flags.includes("r") ? -result : result;
}

function compareAscending(flags: string, a: string, b: string): number {
  if (flags.includes("n")) return numeric(a) - numeric(b);
  if (flags.includes("g")) return general(a) - general(b);
  if (flags.includes("h")) return human(a) - human(b);
  if (flags.includes("M")) return month(a) - month(b);
  if (flags.includes("V")) return compareVersions(a, b);
  return compareBytes(fold(flags, a), fold(flags, b));
}

function fold(flags: string, text: string): string {
  let folded = flags.includes("b") ? text.replace(/^[ \t]+/, "") : text;
  if (flags.includes("d")) folded = folded.replace(/[^A-Za-z0-9 \t]/g, "");
  if (flags.includes("i")) folded = folded.replace(/[^ -~]/g, "");
  return flags.includes("f") ? folded.toUpperCase() : folded;
}

const numeric = (text: string): number =>
  Number(/^\s*(-?\d*\.?\d*)/.exec(text)?.[1]?.replace(/^(-?)$/, "0") ?? 0) || 0;
const general = (text: string): number => {
  const value = Number.parseFloat(text);
  return Number.isNaN(value) ? Number.NEGATIVE_INFINITY : value;
};

function human(text: string): number {
  const match = /^\s*(-?\d*\.?\d+)\s*([KMGTPE]?)/.exec(text);
  return match === null ? 0 : Number(match[1]) * 1024 ** ("KMGTPE".indexOf(match[2] || "?") + 1);
}

const month = (text: string): number => MONTHS.indexOf(text.trimStart().slice(0, 3).toUpperCase());

function compareVersions(a: string, b: string): number {
  const split = (text: string): string[] => text.match(/\d+|\D+/g) ?? [];
  const [left, right] = [split(a), split(b)];
  for (let i = 0; i < Math.max(left.length, right.length); i++) {
    const [x = "", y = ""] = [left[i], right[i]];
    const result = /^\d/.test(x) && /^\d/.test(y) ? Number(x) - Number(y) : compareBytes(x, y);
    if (result !== 0) return result;
  }
  return 0;
}

export const uniq = tool({
  name: "uniq",
  usage: "uniq [-cdiuz] [-f FIELDS] [-s CHARS] [-w CHARS] [INPUT [OUTPUT]]",
  options: "cdf:is:uw:z",
  long: {
    count: "c",
    repeated: "d",
    unique: "u",
    "ignore-case": "i",
    "skip-fields": "f",
    "skip-chars": "s",
    "check-chars": "w",
    "zero-terminated": "z",
  },
  main: async (process, { options, operands }) => {
    if (operands.length > 2) throw new UsageError(`extra operand '${operands[2]!}'`);
    const number = (key: string): number | undefined => {
      const text = options.value(key);
      if (text !== undefined && !/^\d+$/.test(text))
        throw new ToolError(`${text}: invalid number of ${key === "f" ? "fields" : "bytes"} to skip`);
      return text === undefined ? undefined : Number(text);
    };
    const [fields = 0, chars = 0, width] = [number("f"), number("s"), number("w")];
    const keyOf = (line: string): string => {
      const skipped = line.replace(new RegExp(`^(?:[ \\t]*[^ \\t]+){0,${fields}}`), "").slice(chars);
      const key = skipped.slice(0, width);
      return options.has("i") ? key.toLowerCase() : key;
    };
    const terminator = options.has("z") ? "\0" : "\n";
    const input = await openInput(process, operands[0] ?? "-");
    const output =
      operands[1] === undefined ? process.stdout : await openOutput(process, operands[1], O.TRUNC);
    const next = async (): Promise<string | undefined> => {
      const line = await input.readLine(terminator.charCodeAt(0));
      return line?.endsWith(terminator) === true ? line.slice(0, -1) : line;
    };
    let line = await next();
    while (line !== undefined) {
      const first = line;
      const key = keyOf(first);
      let count = 0;
      for (; line !== undefined && keyOf(line) === key; line = await next()) count += 1;
      const isShown = options.has("d") ? count > 1 && !options.has("u") : !options.has("u") || count === 1;
      const prefix = options.has("c") ? `${String(count).padStart(7)} ` : "";
      if (isShown) await output.write(`${prefix}${first}${terminator}`);
    }
    await closeInput(process, input);
    if (operands[1] !== undefined) await output.close();
    return 0;
  },
});
