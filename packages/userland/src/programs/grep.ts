/** grep(1), egrep, fgrep: 0 where a line is selected, 1 where none is, 2 on an error. */
import { listNames } from "../libc/directories.ts";
import { SystemError, ToolError, UsageError } from "../libc/errors.ts";
import { closeInput, isDirectory, openInput, readFile, tryStat } from "../libc/files.ts";
import type { Options } from "../libc/getopt.ts";
import { matchesPattern } from "../libc/glob.ts";
import type { Process } from "../libc/process.ts";
import { type Regex, compileRegex, withRegex } from "../libc/regex.ts";
import type { Stream } from "../libc/stdio.ts";
import { isTerminal } from "../libc/terminal.ts";
import { basename, joinPath, linesOf } from "../libc/text.ts";
import { type ToolSpec, complain, tool } from "../libc/tool.ts";

const spec = (name: string, kind: "G" | "E" | "F"): ToolSpec => ({
  name,
  usage: `${name} [-abcEFGHhiLlnoqRrsvwxz] [-A NUM] [-B NUM] [-C NUM] [-m NUM] [-e PATTERN]... [-f FILE]... [PATTERN] [FILE]...`,
  usageStatus: 2,
  errorStatus: 2,
  options: "A:abB:C:cEe:Ff:GHhiILlm:noqRrsvwxyz",
  long: {
    "after-context": "A",
    "before-context": "B",
    color: "color?",
    colour: "color?",
    context: "C",
    count: "c",
    "extended-regexp": "E",
    regexp: "e",
    "fixed-strings": "F",
    file: "f",
    "basic-regexp": "G",
    "with-filename": "H",
    "no-filename": "h",
    "ignore-case": "i",
    "files-without-match": "L",
    "files-with-matches": "l",
    "max-count": "m",
    "line-number": "n",
    "only-matching": "o",
    quiet: "q",
    silent: "q",
    recursive: "r",
    "no-messages": "s",
    "invert-match": "v",
    "word-regexp": "w",
    "line-regexp": "x",
    include: "include:",
    exclude: "exclude:",
    text: "a",
  },
  rewrite: (words) => words.map((word) => (/^-\d+$/.test(word) ? `-C${word.slice(1)}` : word)),
  main: async (process, { options, operands }) => {
    const { patterns, files } = await patternsAndFiles(process, options, operands);
    const grep = new Grep(process, name, options, compile(patterns, options, kind));
    await grep.setUp(files);
    for (const file of files) await grep.searchOperand(file);
    return grep.status();
  },
});

export const grep = tool(spec("grep", "G"));
export const egrep = tool(spec("egrep", "E"));
export const fgrep = tool(spec("fgrep", "F"));

async function patternsAndFiles(
  process: Process,
  options: Options,
  operands: readonly string[],
): Promise<{ readonly patterns: readonly string[]; readonly files: readonly string[] }> {
  const lists: string[][] = [options.values("e")];
  for (const file of options.values("f")) lists.push(linesOf(await readFile(process, file)));
  let files = operands;
  if (!options.has("e") && !options.has("f")) {
    const [first, ...rest] = operands;
    if (first === undefined) throw new UsageError("no pattern");
    lists.push([first]);
    files = rest;
  }
  const isRecursive = options.has("r") || options.has("R");
  return {
    patterns: lists.flat().flatMap((text) => text.split("\n")),
    files: files.length > 0 ? files : [isRecursive ? "." : "-"],
  };
}

const SYNTAXES = { E: "extended", F: "fixed", G: "basic" } as const;

function compile(patterns: readonly string[], options: Options, kind: "G" | "E" | "F"): Regex {
  const isWord = options.has("w");
  return withRegex(2, () =>
    compileRegex(patterns, {
      syntax: SYNTAXES[(options.last("E", "F", "G") ?? kind) as "E" | "F" | "G"],
      isLenient: true,
      ignoreCase: options.has("i") || options.has("y"),
      ...(options.has("x") ? { bounds: "line" as const } : isWord && { bounds: "word" as const }),
    }),
  );
}

function numberOption(options: Options, key: string): number | undefined {
  const text = options.value(key);
  if (text === undefined) return undefined;
  if (!/^\d+$/.test(text)) throw new ToolError(`${text}: invalid context length argument`, 2);
  return Number(text);
}

class Grep {
  readonly #process: Process;
  readonly #name: string;
  readonly #options: Options;
  readonly #regex: Regex;
  readonly #before: number;
  readonly #after: number;
  readonly #limit: number;
  #withName = false;
  #colored = false;
  #found = false;
  #failed = false;

  constructor(process: Process, name: string, options: Options, regex: Regex) {
    this.#process = process;
    this.#name = name;
    this.#options = options;
    this.#regex = regex;
    const context = numberOption(options, "C") ?? 0;
    this.#before = numberOption(options, "B") ?? context;
    this.#after = numberOption(options, "A") ?? context;
    this.#limit = numberOption(options, "m") ?? Number.POSITIVE_INFINITY;
  }

  async setUp(files: readonly string[]): Promise<void> {
    const when = this.#options.value("color");
    this.#colored =
      when !== undefined && when !== "never" && (when === "always" || (await isTerminal(this.#process, 1)));
    const choice = this.#options.last("H", "h");
    const isRecursive = this.#options.has("r") || this.#options.has("R");
    this.#withName = choice === undefined ? files.length > 1 || isRecursive : choice === "H";
  }

  status(): number {
    if (this.#found && (this.#options.has("q") || !this.#failed)) return 0;
    return this.#failed ? 2 : 1;
  }

  async searchOperand(path: string): Promise<void> {
    if (this.#found && this.#options.has("q")) return;
    await this.#reporting(() => (path === "-" ? this.#search(path) : this.#searchPath(path, true)));
  }

  async #reporting(search: () => Promise<void>): Promise<void> {
    try {
      await search();
    } catch (error) {
      if (!(error instanceof SystemError) || error.call === "write") throw error;
      await this.#fail(error.message);
    }
  }

  async #fail(message: string): Promise<void> {
    this.#failed = true;
    if (!this.#options.has("s")) await complain(this.#process, this.#name, message);
  }

  async #searchPath(path: string, isOperand: boolean): Promise<void> {
    const status = await tryStat(this.#process, path);
    if (typeof status !== "number" && isDirectory(status)) {
      if (!this.#options.has("r") && !this.#options.has("R")) return this.#fail(`${path}: Is a directory`);
      for (const name of await listNames(this.#process, path)) {
        const inner = joinPath(path, name);
        await this.#reporting(() => this.#searchPath(inner, false));
      }
      return;
    }
    if (!isOperand && !this.#isIncluded(basename(path))) return;
    await this.#search(path);
  }

  #isIncluded(name: string): boolean {
    const includes = this.#options.values("include");
    const excludes = this.#options.values("exclude");
    if (excludes.some((pattern) => matchesPattern(pattern, name))) return false;
    return includes.length === 0 || includes.some((pattern) => matchesPattern(pattern, name));
  }

  async #search(path: string): Promise<void> {
    const input = await openInput(this.#process, path);
    try {
      const title = path === "-" ? "(standard input)" : path;
      const count = await this.#searchLines(input, title);
      await this.#printSummary(title, count);
      if (count > 0) this.#found = true;
    } finally {
      await closeInput(this.#process, input);
    }
  }

  async #printSummary(title: string, count: number): Promise<void> {
    const options = this.#options;
    const { stdout } = this.#process;
    if (options.has("q")) return;
    if (options.has("c")) await stdout.write(`${this.#withName ? `${title}:` : ""}${count}\n`);
    if (options.has("l") && count > 0) await stdout.write(`${title}\n`);
    if (options.has("L") && count === 0) await stdout.write(`${title}\n`);
  }

  async #searchLines(input: Stream, title: string): Promise<number> {
    const options = this.#options;
    const isSilent = ["q", "c", "l", "L"].some((letter) => options.has(letter));
    const stopsAtFirst = ["q", "l", "L"].some((letter) => options.has(letter));
    const terminator = options.has("z") ? 0 : 10;
    const context: { text: string; number: number; offset: number }[] = [];
    let count = 0;
    let offset = 0;
    let printedTo = 0;
    let afterLeft = 0;
    let number = 0;
    for (
      let line = await input.readLine(terminator);
      line !== undefined;
      line = await input.readLine(terminator)
    ) {
      number += 1;
      const text = line.charCodeAt(line.length - 1) === terminator ? line.slice(0, -1) : line;
      const current = { text, number, offset };
      offset += line.length;
      const isSelected = withRegex(2, () => this.#regex.test(text)) !== options.has("v");
      if (isSelected) {
        count += 1;
        if (stopsAtFirst) return count;
        if (!isSilent) {
          const isGap = printedTo > 0 && (context[0]?.number ?? number) > printedTo + 1;
          if (isGap && this.#before + this.#after > 0) await this.#process.stdout.write("--\n");
          for (const earlier of context.splice(0)) await this.#print(title, earlier, "-");
          await this.#print(title, current, ":");
          printedTo = number;
          afterLeft = this.#after;
        }
        if (count >= this.#limit && this.#after === 0) return count;
      } else if (afterLeft > 0) {
        afterLeft -= 1;
        await this.#print(title, current, "-");
        printedTo = number;
      } else if (this.#before > 0) {
        context.push(current);
        if (context.length > this.#before) context.shift();
      }
      if (count >= this.#limit && afterLeft === 0) return count;
    }
    return count;
  }

  async #print(
    title: string,
    line: { readonly text: string; readonly number: number; readonly offset: number },
    separator: string,
  ): Promise<void> {
    const options = this.#options;
    const name = this.#withName ? `${title}${separator}` : "";
    const number = options.has("n") ? `${line.number}${separator}` : "";
    const end = options.has("z") ? "\0" : "\n";
    if (!options.has("o")) {
      const offset = options.has("b") ? `${line.offset}${separator}` : "";
      return this.#process.stdout.write(name + number + offset + this.#highlight(line.text) + end);
    }
    if (separator === "-" || options.has("v")) return;
    for (const match of withRegex(2, () => [...this.#regex.matches(line.text)])) {
      const found = line.text.slice(match.index, match.end);
      if (found === "") continue;
      const offset = options.has("b") ? `${line.offset + match.index}:` : "";
      await this.#process.stdout.write(name + number + offset + this.#paint(found) + end);
    }
  }

  #paint(text: string): string {
    return this.#colored && text !== "" ? `\x1b[01;31m\x1b[K${text}\x1b[m\x1b[K` : text;
  }

  #highlight(text: string): string {
    if (!this.#colored || this.#options.has("v")) return text;
    let out = "";
    let copied = 0;
    for (const { index, end } of withRegex(2, () => [...this.#regex.matches(text)])) {
      out += text.slice(copied, index) + this.#paint(text.slice(index, end));
      copied = end;
    }
    return out + text.slice(copied);
  }
}
