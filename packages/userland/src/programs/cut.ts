/** cut(1), tr(1). */
import { ToolError, UsageError } from "../libc/errors.ts";
import { closeInput, openInput } from "../libc/files.ts";
import { classSet } from "../libc/regex.ts";
import { fromBytes } from "../libc/text.ts";
import { forEachOperand, tool } from "../libc/tool.ts";

type Range = readonly [number, number];

/** `1,3-5,7-`; positions count from 1. */
function parseList(text: string): Range[] {
  return text.split(/[, ]/).map((item) => {
    const match = /^(\d*)(-?)(\d*)$/.exec(item);
    if (match === null || item === "" || item === "-")
      throw new ToolError(`invalid byte, character or field list`);
    const from = match[1] === "" ? 1 : Number(match[1]);
    const to = match[2] === "" ? from : match[3] === "" ? Number.POSITIVE_INFINITY : Number(match[3]);
    if (from === 0) throw new ToolError("byte/character positions and fields are numbered from 1");
    if (to < from) throw new ToolError("invalid decreasing range");
    return [from, to];
  });
}

const isIn = (ranges: readonly Range[], position: number): boolean =>
  ranges.some(([from, to]) => position >= from && position <= to);

export const cut = tool({
  name: "cut",
  usage:
    "cut -b LIST | -c LIST | -f LIST [-d CHAR] [-s] [--complement] [--output-delimiter=STRING] [FILE]...",
  options: "b:c:d:f:nsz",
  long: {
    bytes: "b",
    characters: "c",
    delimiter: "d",
    fields: "f",
    "only-delimited": "s",
    complement: "complement",
    "output-delimiter": "output:",
  },
  main: async (process, { options, operands }) => {
    const kind = options.last("b", "c", "f");
    if (kind === undefined) throw new UsageError("you must specify a list of bytes, characters, or fields");
    const delimiter = options.value("d") ?? "\t";
    if (delimiter.length > 1) throw new UsageError("the delimiter must be a single character");
    if (kind !== "f" && options.has("d"))
      throw new UsageError("an input delimiter may be specified only when operating on fields");
    const ranges = parseList(options.value(kind) ?? "");
    const chosen = (position: number): boolean => isIn(ranges, position) !== options.has("complement");
    const joiner = options.value("output") ?? (kind === "f" ? delimiter : "");
    const cutLine = (line: string): string | undefined => {
      if (kind !== "f") return [...line].filter((_, i) => chosen(i + 1)).join(joiner === "" ? "" : joiner);
      if (!line.includes(delimiter)) return options.has("s") ? undefined : line;
      return line
        .split(delimiter)
        .filter((_, i) => chosen(i + 1))
        .join(joiner);
    };
    return forEachOperand(process, "cut", operands.length > 0 ? operands : ["-"], async (path) => {
      const input = await openInput(process, path);
      for (let line = await input.readLine(); line !== undefined; line = await input.readLine()) {
        const result = cutLine(line.replace(/\n$/, ""));
        if (result !== undefined) await process.stdout.writeLine(result);
      }
      await closeInput(process, input);
    });
  },
});

export const tr = tool({
  name: "tr",
  usage: "tr [-Ccdst] SET1 [SET2]",
  options: "Ccdst",
  long: { complement: "c", delete: "d", "squeeze-repeats": "s", "truncate-set1": "t" },
  stopAtOperand: true,
  main: async (process, { options, operands }) => {
    const [first, second] = operands;
    if (first === undefined) throw new UsageError("missing operand");
    if (operands.length > 2) throw new UsageError(`extra operand '${operands[2]!}'`);
    const isDelete = options.has("d");
    const isSqueeze = options.has("s");
    if (second === undefined && !isDelete && !isSqueeze)
      throw new UsageError(`missing operand after '${first}'`);
    const set1 = options.has("c") || options.has("C") ? complement(expandSet(first, 0)) : expandSet(first, 0);
    const set2 = second === undefined ? "" : expandSet(second, set1.length);
    if (second !== undefined && set2 === "" && !isDelete)
      throw new ToolError("when not truncating set1, string2 must be non-empty");
    const map =
      isDelete || second === undefined ? new Map<string, string>() : mapping(set1, set2, options.has("t"));
    const deleted = new Set(isDelete ? set1 : "");
    const squeezed = new Set(isSqueeze ? (second === undefined ? set1 : set2) : "");
    let last = "";
    for (
      let bytes = await process.stdin.readBytes();
      bytes.length > 0;
      bytes = await process.stdin.readBytes()
    ) {
      let out = "";
      for (const char of fromBytes(bytes)) {
        if (deleted.has(char)) continue;
        const mapped = map.get(char) ?? char;
        if (mapped === last && squeezed.has(mapped)) continue;
        out += mapped;
        last = mapped;
      }
      await process.stdout.write(out);
    }
    return 0;
  },
});

function mapping(set1: string, set2: string, truncates: boolean): Map<string, string> {
  const map = new Map<string, string>();
  for (let i = 0; i < set1.length; i++) {
    if (truncates && i >= set2.length) break;
    map.set(set1[i]!, set2[i] ?? set2.at(-1)!);
  }
  return map;
}

function complement(set: string): string {
  const known = new Set(set);
  return Array.from({ length: 256 }, (_, code) => String.fromCharCode(code))
    .filter((char) => !known.has(char))
    .join("");
}

const ESCAPES: Readonly<Record<string, string>> = {
  a: "\x07",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
  v: "\v",
  "\\": "\\",
};

/** Ranges, classes, escapes and `[c*n]`, which fills up to `length`. */
function expandSet(text: string, length: number): string {
  let out = "";
  for (let i = 0; i < text.length;) {
    const named = /^\[(:(\w+):|=([^])=|([^])\*(\d*))\]/.exec(text.slice(i));
    if (named !== null) {
      out += expandNamed(named, length - out.length);
      i += named[0].length;
      continue;
    }
    const from = readChar(text, i);
    i = from.next;
    if (text[i] !== "-" || i + 1 >= text.length) {
      out += from.char;
      continue;
    }
    const to = readChar(text, i + 1);
    if (to.char < from.char)
      throw new ToolError(
        `range-endpoints of '${from.char}-${to.char}' are in reverse collating sequence order`,
      );
    for (let code = from.char.charCodeAt(0); code <= to.char.charCodeAt(0); code++)
      out += String.fromCharCode(code);
    i = to.next;
  }
  return out;
}

function expandNamed(match: RegExpExecArray, room: number): string {
  const [, , name, equivalent, repeated, count = ""] = match;
  if (equivalent !== undefined) return equivalent;
  if (repeated !== undefined) {
    const times = count === "" ? Math.max(room, 0) : Number.parseInt(count, count.startsWith("0") ? 8 : 10);
    return repeated.repeat(times || Math.max(room, 0));
  }
  const set = classSet(name ?? "");
  if (set === undefined) throw new ToolError(`invalid character class '${name ?? ""}'`);
  return Array.from({ length: 256 }, (_, code) => (set[code] === 1 ? String.fromCharCode(code) : "")).join(
    "",
  );
}

function readChar(text: string, at: number): { readonly char: string; readonly next: number } {
  if (text[at] !== "\\") return { char: text[at]!, next: at + 1 };
  const octal = /^\\([0-7]{1,3})/.exec(text.slice(at));
  if (octal !== null)
    return { char: String.fromCharCode(Number.parseInt(octal[1]!, 8) & 0xff), next: at + octal[0].length };
  const next = text[at + 1];
  return next === undefined ? { char: "\\", next: at + 1 } : { char: ESCAPES[next] ?? next, next: at + 2 };
}
