/** xargs(1). */
import { spawn, waitFor } from "../libc/children.ts";
import { SystemError, ToolError } from "../libc/errors.ts";
import { readFile } from "../libc/files.ts";
import type { Options } from "../libc/getopt.ts";
import type { Process } from "../libc/process.ts";
import { parseCount, tool } from "../libc/tool.ts";

/** Bytes of arguments that one command gets unless `-s` says less. */
const DEFAULT_LIMIT = 131_072;

export const xargs = tool({
  name: "xargs",
  usage:
    "xargs [-0prtx] [-a FILE] [-d CHAR] [-E STRING] [-I STRING] [-L LINES] [-n ARGS] [-P PROCS] [-s BYTES] [COMMAND [ARGUMENT]...]",
  options: "0a:d:E:I:i:L:n:P:prs:tx",
  long: {
    null: "0",
    "arg-file": "a",
    delimiter: "d",
    "max-args": "n",
    "max-lines": "L",
    "no-run-if-empty": "r",
    "max-procs": "P",
    replace: "I",
    verbose: "t",
  },
  stopAtOperand: true,
  main: async (process, { options, operands }) => {
    const command = operands.length > 0 ? operands : ["echo"];
    const file = options.value("a");
    const text = file === undefined ? await process.stdin.readAll() : await readFile(process, file);
    const replacement = options.value("I");
    const items = splitInput(text, options);
    const runner = new Runner(process, options);
    if (replacement !== undefined) {
      for (const line of items.flat())
        await runner.run(command.map((word) => word.replaceAll(replacement, line)));
      return runner.status;
    }
    const batches = makeBatches(items, options, command);
    if (batches.length === 0 && !options.has("r")) batches.push([]);
    for (const batch of batches) await runner.run([...command, ...batch]);
    return runner.status;
  },
});

/** The arguments, by line. */
function splitInput(text: string, options: Options): string[][] {
  const delimiter = options.has("0") ? "\0" : unescape(options.value("d"));
  if (delimiter !== undefined) {
    const parts = text.split(delimiter);
    if (parts.at(-1) === "") parts.pop();
    return parts.map((part) => [part]);
  }
  const end = options.value("E");
  const lines: string[][] = [];
  for (const line of logicalLines(text)) {
    if (options.has("I")) {
      const trimmed = line.replace(/^\s+/, "");
      if (trimmed !== "") lines.push([trimmed]);
      continue;
    }
    const words = splitWords(line);
    const stop = end === undefined ? -1 : words.indexOf(end);
    lines.push(stop < 0 ? words : words.slice(0, stop));
    if (stop >= 0) break;
  }
  return lines.filter((words) => words.length > 0);
}

const unescape = (text: string | undefined): string | undefined =>
  text?.replace(/\\([nt0\\])/g, (_, letter: string) => ({ n: "\n", t: "\t", "0": "\0" })[letter] ?? letter);

const logicalLines = (text: string): string[] => text.split("\n");

/** Blanks separate; quotes and backslashes protect. */
function splitWords(line: string): string[] {
  const words: string[] = [];
  let word: string | undefined;
  for (let i = 0; i < line.length; i++) {
    const char = line[i]!;
    if (char === " " || char === "\t") {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else if (char === "'" || char === '"') {
      const end = line.indexOf(char, i + 1);
      if (end < 0)
        throw new ToolError(
          `unmatched ${char === "'" ? "single" : "double"} quote; by default quotes are special to xargs unless you use the -0 option`,
        );
      word = (word ?? "") + line.slice(i + 1, end);
      i = end;
    } else if (char === "\\" && i + 1 < line.length) {
      i += 1;
      word = (word ?? "") + line[i]!;
    } else word = (word ?? "") + char;
  }
  if (word !== undefined) words.push(word);
  return words;
}

function makeBatches(
  lines: readonly (readonly string[])[],
  options: Options,
  command: readonly string[],
): string[][] {
  const maxArgs = options.has("n")
    ? parseCount(options.value("n") ?? "", "invalid number for -n option")
    : Number.POSITIVE_INFINITY;
  const maxLines = options.has("L")
    ? parseCount(options.value("L") ?? "", "invalid number for -L option")
    : Number.POSITIVE_INFINITY;
  const limit = options.has("s")
    ? parseCount(options.value("s") ?? "", "invalid number for -s option")
    : DEFAULT_LIMIT;
  const base = command.reduce((sum, word) => sum + word.length + 1, 0);
  const batches: string[][] = [];
  let batch: string[] = [];
  let size = base;
  let lineCount = 0;
  const close = (): void => {
    if (batch.length > 0) batches.push(batch);
    batch = [];
    size = base;
    lineCount = 0;
  };
  for (const line of lines) {
    for (const word of line) {
      if (batch.length >= maxArgs || size + word.length + 1 > limit) close();
      if (base + word.length + 1 > limit) throw new ToolError("argument line too long");
      batch.push(word);
      size += word.length + 1;
    }
    lineCount += 1;
    if (lineCount >= maxLines) close();
  }
  close();
  return batches;
}

class Runner {
  readonly #process: Process;
  readonly #options: Options;
  status = 0;

  constructor(process: Process, options: Options) {
    this.#process = process;
    this.#options = options;
  }

  /** 123 where a command failed; 124 … 127 end the run, as the original. */
  async run(argv: readonly string[]): Promise<void> {
    const process = this.#process;
    if (this.#options.has("t") || this.#options.has("p"))
      await process.stderr.write(`${argv.join(" ")}${this.#options.has("p") ? " ?..." : "\n"}`);
    if (this.#options.has("p") && !/^[yY]/.test((await process.stdin.readLine()) ?? "")) return;
    let result: number;
    try {
      result = await waitFor(process, await spawn(process, argv));
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      throw new ToolError(error.message, error.errno.name === "ENOENT" ? 127 : 126);
    }
    if (result === 255) throw new ToolError(`${argv[0] ?? ""}: exited with status 255; aborting`, 124);
    if (result > 128) throw new ToolError(`${argv[0] ?? ""}: terminated by signal ${result - 128}`, 125);
    if (result !== 0) this.status = 123;
  }
}
