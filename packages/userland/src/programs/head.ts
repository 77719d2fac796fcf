/** head(1), tail(1): the first or last lines or bytes; `tail -f` waits for more. */
import { ENOMEM } from "@alien-ts/abi";
import { SystemError, ToolError } from "../libc/errors.ts";
import { closeInput, openInput } from "../libc/files.ts";
import type { Process } from "../libc/process.ts";
import { MAX_TEXT_BYTES, type Stream } from "../libc/stdio.ts";
import { sleepFor } from "../libc/time.ts";
import { forEachOperand, tool } from "../libc/tool.ts";
import { parseSize } from "../libc/units.ts";

interface Count {
  readonly value: number;
  readonly unit: "lines" | "bytes";
  /** `+` or `-` as it was given. */
  readonly sign: string;
}

function parseCount(text: string, unit: Count["unit"]): Count {
  const sign = /^[-+]/.exec(text)?.[0] ?? "";
  const value = parseSize(text.slice(sign.length));
  if (value === undefined) throw new ToolError(`invalid number of ${unit}: '${text}'`);
  return { value, unit, sign };
}

function countFrom(options: {
  value(key: string): string | undefined;
  last(...keys: string[]): string | undefined;
}): Count {
  return options.last("c", "n") === "c"
    ? parseCount(options.value("c") ?? "", "bytes")
    : parseCount(options.value("n") ?? "10", "lines");
}

/** `-5` and `+5` mean `-n 5` and `-n +5`. */
const modern = (words: readonly string[]): string[] =>
  words.map((word, i) => (i === 0 && /^[-+]\d+$/.test(word) ? `-n${word.replace(/^-/, "")}` : word));

/** Runs `show` on every operand, with `==> name <==` between several. */
async function showFiles(
  process: Process,
  name: string,
  operands: readonly string[],
  {
    quiet,
    verbose,
    show,
  }: { readonly quiet: boolean; readonly verbose: boolean; readonly show: (input: Stream) => Promise<void> },
): Promise<number> {
  const files = operands.length > 0 ? operands : ["-"];
  const titled = (files.length > 1 || verbose) && !quiet;
  let first = true;
  return forEachOperand(
    process,
    name,
    files,
    async (path) => {
      const input = await openInput(process, path);
      try {
        const title = path === "-" ? "standard input" : path;
        if (titled) await process.stdout.write(`${first ? "" : "\n"}==> ${title} <==\n`);
        first = false;
        await show(input);
      } finally {
        await closeInput(process, input);
      }
    },
    ({ call, errno }, path) =>
      call === "open"
        ? `cannot open '${path}' for reading: ${errno.message}`
        : `error reading '${path === "-" ? "standard input" : path}': ${errno.message}`,
  );
}

export const head = tool({
  name: "head",
  usage: "head [-qv] [-c BYTES | -n LINES] [FILE]...",
  options: "c:n:qv",
  rewrite: modern,
  long: { bytes: "c", lines: "n", quiet: "q", silent: "q", verbose: "v" },
  main: async (process, { options, operands }) => {
    const count = countFrom(options);
    return showFiles(process, "head", operands, {
      quiet: options.has("q"),
      verbose: options.has("v"),
      show: (input) =>
        count.sign === "-" ? allButLast(process, input, count) : firstPart(process, input, count),
    });
  },
});

async function firstPart(process: Process, input: Stream, { value, unit }: Count): Promise<void> {
  if (unit === "bytes") {
    for (let left = value; left > 0;) {
      const bytes = await input.readBytes(left);
      if (bytes.length === 0) return;
      await process.stdout.writeBytes(bytes);
      left -= bytes.length;
    }
    return;
  }
  for (let i = 0; i < value; i++) {
    const line = await input.readLine();
    if (line === undefined) return;
    await process.stdout.write(line);
  }
}

async function allButLast(process: Process, input: Stream, { value, unit }: Count): Promise<void> {
  const text = await input.readAll();
  const parts = unit === "bytes" ? text : splitKeepingNewlines(text);
  const first = parts.slice(0, Math.max(parts.length - value, 0));
  await process.stdout.write(typeof first === "string" ? first : first.join(""));
}

const splitKeepingNewlines = (text: string): string[] => text.match(/[^\n]*\n|[^\n]+$/g) ?? [];

export const tail = tool({
  name: "tail",
  usage: "tail [-fqv] [-s SECONDS] [-c [+]BYTES | -n [+]LINES] [FILE]...",
  options: "c:fn:qs:v",
  rewrite: modern,
  long: { bytes: "c", follow: "f", lines: "n", quiet: "q", silent: "q", verbose: "v", "sleep-interval": "s" },
  main: async (process, { options, operands }) => {
    const count = countFrom(options);
    let followed: Stream | undefined;
    const status = await showFiles(process, "tail", operands, {
      quiet: options.has("q"),
      verbose: options.has("v"),
      show: async (input) => {
        await lastPart(process, input, count);
        if (options.has("f")) await followInput(process, input, Number(options.value("s") ?? "1"));
        followed = input;
      },
    });
    return followed === undefined && operands.length > 0 ? 1 : status;
  },
});

async function lastPart(process: Process, input: Stream, count: Count): Promise<void> {
  if (count.sign === "+") return fromPart(process, input, count);
  const kept: Block[] = [];
  let bytesKept = 0;
  let countKept = 0;
  for (let bytes = await input.readBytes(); bytes.length > 0; bytes = await input.readBytes()) {
    const block = { bytes, count: count.unit === "bytes" ? bytes.length : newlinesIn(bytes) };
    kept.push(block);
    bytesKept += bytes.length;
    countKept += block.count;
    // The newline before the first line that is shown is kept too: it says where that line begins.
    for (let first = kept[0]!; countKept - first.count > count.value; first = kept[0]!) {
      kept.shift();
      bytesKept -= first.bytes.length;
      countKept -= first.count;
    }
    if (bytesKept > MAX_TEXT_BYTES) throw new SystemError("read", ENOMEM, input.name);
  }
  const all = joinBlocks(kept, bytesKept);
  const start = count.unit === "bytes" ? all.length - count.value : startOfLines(all, count.value);
  await process.stdout.writeBytes(all.subarray(Math.max(start, 0)));
}

/** Bytes that were read at once, and how many of what is counted they hold. */
interface Block {
  readonly bytes: Uint8Array;
  readonly count: number;
}

const NEWLINE = 10;

function newlinesIn(bytes: Uint8Array): number {
  let count = 0;
  for (let at = bytes.indexOf(NEWLINE); at >= 0; at = bytes.indexOf(NEWLINE, at + 1)) count += 1;
  return count;
}

function joinBlocks(blocks: readonly Block[], length: number): Uint8Array {
  const all = new Uint8Array(length);
  let at = 0;
  for (const { bytes } of blocks) {
    all.set(bytes, at);
    at += bytes.length;
  }
  return all;
}

/** Where the last `value` lines begin; what follows the last newline is a line. */
function startOfLines(bytes: Uint8Array, value: number): number {
  if (value === 0) return bytes.length;
  let end = bytes.length - 1;
  for (let left = value; left > 0; left--) {
    if (end <= 0) return 0;
    end = bytes.lastIndexOf(NEWLINE, end - 1);
    if (end < 0) return 0;
  }
  return end + 1;
}

/** `+5`: everything from the fifth on, as it comes. */
async function fromPart(process: Process, input: Stream, { value, unit }: Count): Promise<void> {
  for (let left = value - 1; left > 0;) {
    const passed = unit === "bytes" ? (await input.readBytes(left)).length : await passLine(input);
    if (passed === 0) return;
    left -= passed;
  }
  for (let bytes = await input.readBytes(); bytes.length > 0; bytes = await input.readBytes()) {
    await process.stdout.writeBytes(bytes);
  }
}

const passLine = async (input: Stream): Promise<number> => ((await input.readLine()) === undefined ? 0 : 1);

/** Never returns: it ends by a signal, as the original. */
async function followInput(process: Process, input: Stream, seconds: number): Promise<void> {
  for (;;) {
    await process.stdout.flush();
    const bytes = await input.readBytes();
    if (bytes.length > 0) await process.stdout.writeBytes(bytes);
    else await sleepFor(process, seconds);
  }
}
