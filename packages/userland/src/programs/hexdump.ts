/** hexdump(1): the default words, `-C`, and `-b -c -d -o -x`; repeated rows are shown as `*` unless `-v`. */
import { ToolError } from "../libc/errors.ts";
import { closeInput, openInput } from "../libc/files.ts";
import type { Process } from "../libc/process.ts";
import { fromBytes, toBytes } from "../libc/text.ts";
import { tool } from "../libc/tool.ts";
import { parseSize } from "../libc/units.ts";

const ROW = 16;

type Format = (row: Uint8Array) => string;

const word = (row: Uint8Array, at: number): number => row[at]! | ((row[at + 1] ?? 0) << 8);

/** Rows of 16-bit words, each in its own column. */
const words =
  (width: number, show: (value: number) => string): Format =>
  (row) => {
    let text = "";
    for (let at = 0; at < ROW; at += 2) {
      const value = at < row.length ? show(word(row, at)) : "";
      text += ` ${value.padStart(width)}`;
    }
    return text;
  };

const bytes =
  (show: (value: number) => string): Format =>
  (row) =>
    [...row]
      .map((value) => ` ${show(value)}`)
      .join("")
      .padEnd(ROW * 4);

const hex = (value: number, width: number): string => value.toString(16).padStart(width, "0");
const NAMED: Readonly<Record<number, string>> = {
  0: "\\0",
  7: "\\a",
  8: "\\b",
  9: "\\t",
  10: "\\n",
  11: "\\v",
  12: "\\f",
  13: "\\r",
};

function character(value: number): string {
  const name =
    NAMED[value] ??
    (value >= 32 && value < 127 ? String.fromCharCode(value) : value.toString(8).padStart(3, "0"));
  return name.padStart(3);
}

function canonical(row: Uint8Array): string {
  const cell = (at: number): string => (at < row.length ? hex(row[at]!, 2) : "  ");
  const half = (from: number): string => Array.from({ length: 8 }, (_, i) => cell(from + i)).join(" ");
  const text = [...row]
    .map((value) => (value >= 32 && value < 127 ? String.fromCharCode(value) : "."))
    .join("");
  return `  ${half(0)}  ${half(8)}  |${text}|`;
}

const FORMATS: Readonly<Record<string, Format>> = {
  b: bytes((value) => value.toString(8).padStart(3, "0")),
  c: bytes((value) => character(value)),
  C: canonical,
  d: words(7, (value) => `  ${String(value).padStart(5, "0")}`),
  o: words(7, (value) => ` ${value.toString(8).padStart(6, "0")}`),
  x: words(7, (value) => `   ${hex(value, 4)}`),
  default: (row) => {
    let text = "";
    for (let at = 0; at < ROW; at += 2) text += at < row.length ? ` ${hex(word(row, at), 4)}` : "     ";
    return text;
  },
};

export const hexdump = tool({
  name: "hexdump",
  usage: "hexdump [-bcCdovx] [-n LENGTH] [-s OFFSET] [FILE]...",
  options: "bcCdon:s:vx",
  long: { canonical: "C", length: "n", skip: "s", "no-squeezing": "v" },
  main: async (process, { options, operands }) => {
    const size = (key: string): number | undefined => {
      const text = options.value(key);
      const value = text === undefined ? undefined : /^0x/i.test(text) ? Number(text) : parseSize(text);
      if (text !== undefined && (value === undefined || Number.isNaN(value)))
        throw new ToolError(`${text}: bad ${key === "n" ? "length" : "skip"} value`);
      return value;
    };
    const [skip = 0, length] = [size("s"), size("n")];
    const kind = options.last("b", "c", "C", "d", "o", "x") ?? "default";
    const limit = length === undefined ? Number.POSITIVE_INFINITY : skip + length;
    const data = (await readFiles(process, operands, limit)).subarray(
      skip,
      length === undefined ? undefined : skip + length,
    );
    const offset = (at: number): string => hex(at, kind === "C" ? 8 : 7);
    let previous = "";
    let isSqueezed = false;
    for (let at = 0; at < data.length; at += ROW) {
      const row = data.subarray(at, at + ROW);
      const line = FORMATS[kind]!(row);
      const repeats = line === previous && row.length === ROW && !options.has("v");
      if (repeats && !isSqueezed) await process.stdout.write("*\n");
      if (!repeats) await process.stdout.write(`${offset(skip + at)}${line}\n`);
      isSqueezed = repeats;
      previous = line;
    }
    if (data.length > 0) await process.stdout.write(`${offset(skip + data.length)}\n`);
    return 0;
  },
});

/** The files as one, no further than `limit` bytes: a device may have no end. */
async function readFiles(process: Process, operands: readonly string[], limit: number): Promise<Uint8Array> {
  let text = "";
  for (const path of operands.length > 0 ? operands : ["-"]) {
    const input = await openInput(process, path);
    while (text.length < limit) {
      const bytes = await input.readBytes();
      if (bytes.length === 0) break;
      text += fromBytes(bytes);
    }
    await closeInput(process, input);
  }
  return toBytes(text);
}
