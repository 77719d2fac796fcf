/** test(1) and `[`: XCU, with the numbers of arguments deciding what the words mean. */
import { NR, S } from "@alien-ts/abi";
import { accessible, type FileStatus, tryLstat, tryStat } from "../libc/files.ts";
import { ToolError } from "../libc/errors.ts";
import type { Process } from "../libc/process.ts";
import { isTerminal } from "../libc/terminal.ts";
import { tool } from "../libc/tool.ts";

const USAGE_STATUS = 2;

export const test = tool({
  name: "test",
  usage: "test EXPRESSION",
  options: "",
  raw: true,
  main: async (process, { words }) => Number(!(await evaluate(process, words))),
});

export const bracket = tool({
  name: "[",
  usage: "[ EXPRESSION ]",
  options: "",
  raw: true,
  main: async (process, { words }) => {
    if (words.at(-1) !== "]") throw new ToolError("missing ]", USAGE_STATUS);
    return Number(!(await evaluate(process, words.slice(0, -1))));
  },
});

async function evaluate(process: Process, words: readonly string[]): Promise<boolean> {
  const byCount = await evaluateByCount(process, words);
  if (byCount !== undefined) return byCount;
  const parser = new Expression(process, words);
  const value = await parser.or();
  parser.expectEnd();
  return value;
}

/** POSIX's table for up to four arguments; undefined where the grammar has to decide. */
async function evaluateByCount(process: Process, words: readonly string[]): Promise<boolean | undefined> {
  const [a = "", b = "", c = ""] = words;
  switch (words.length) {
    case 0:
      return false;
    case 1:
      return a !== "";
    case 2:
      if (a === "!") return b === "";
      return isUnary(a) ? unary(process, a, b) : fail(`${a}: unary operator expected`);
    case 3:
      if (isBinary(b)) return binary(process, a, b, c);
      if (b === "-a" || b === "-o") return undefined;
      if (a === "!") return negate(await evaluateByCount(process, words.slice(1)));
      if (a === "(" && c === ")") return b !== "";
      return fail(`${b}: binary operator expected`);
    case 4:
      if (a === "!") return negate(await evaluateByCount(process, words.slice(1)));
      return undefined;
    default:
      return undefined;
  }
}

const negate = (value: boolean | undefined): boolean | undefined =>
  value === undefined ? undefined : !value;

function fail(message: string): never {
  throw new ToolError(message, USAGE_STATUS);
}

const UNARY = new Set("bcdefghkLnprSstuwxzOG");
const isUnary = (word: string): boolean => word.length === 2 && word.startsWith("-") && UNARY.has(word[1]!);
const BINARY = new Set([
  "=",
  "==",
  "!=",
  "<",
  ">",
  "-eq",
  "-ne",
  "-lt",
  "-le",
  "-gt",
  "-ge",
  "-nt",
  "-ot",
  "-ef",
]);
const isBinary = (word: string): boolean => BINARY.has(word);

const TYPES: Readonly<Record<string, number>> = {
  b: S.IFBLK,
  c: S.IFCHR,
  d: S.IFDIR,
  f: S.IFREG,
  p: S.IFIFO,
  S: S.IFSOCK,
};
const MODE_BITS: Readonly<Record<string, number>> = { g: S.ISGID, u: S.ISUID, k: S.ISVTX };
const ACCESS_MODES: Readonly<Record<string, number>> = { r: 4, w: 2, x: 1 };

async function unary(process: Process, operator: string, operand: string): Promise<boolean> {
  const letter = operator[1]!;
  if (letter === "n") return operand !== "";
  if (letter === "z") return operand === "";
  if (letter === "t") return isTerminal(process, integer(operand));
  const mode = ACCESS_MODES[letter];
  if (mode !== undefined) return accessible(process, operand, mode);
  if (letter === "h" || letter === "L") {
    const status = await tryLstat(process, operand);
    return typeof status !== "number" && (status.st_mode & S.IFMT) === S.IFLNK;
  }
  const status = await tryStat(process, operand);
  if (typeof status === "number") return false;
  if (letter === "O") return status.st_uid === (await process.trap(NR.geteuid));
  if (letter === "G") return status.st_gid === (await process.trap(NR.getegid));
  return fileTest(status, letter);
}

function fileTest(status: FileStatus, letter: string): boolean {
  if (letter === "e") return true;
  if (letter === "s") return status.st_size > 0;
  const type = TYPES[letter];
  if (type !== undefined) return (status.st_mode & S.IFMT) === type;
  return (status.st_mode & (MODE_BITS[letter] ?? 0)) !== 0;
}

function integer(text: string): number {
  if (!/^\s*[-+]?\d+\s*$/.test(text)) fail(`${text}: integer expression expected`);
  return Number(text);
}

const COMPARISONS: Readonly<Record<string, (a: number, b: number) => boolean>> = {
  "-eq": (a, b) => a === b,
  "-ne": (a, b) => a !== b,
  "-lt": (a, b) => a < b,
  "-le": (a, b) => a <= b,
  "-gt": (a, b) => a > b,
  "-ge": (a, b) => a >= b,
};

async function binary(process: Process, a: string, operator: string, b: string): Promise<boolean> {
  if (operator === "=" || operator === "==") return a === b;
  if (operator === "!=") return a !== b;
  if (operator === "<") return a < b;
  if (operator === ">") return a > b;
  const compare = COMPARISONS[operator];
  return compare === undefined ? compareFiles(process, a, operator, b) : compare(integer(a), integer(b));
}

async function compareFiles(process: Process, a: string, operator: string, b: string): Promise<boolean> {
  const left = await tryStat(process, a);
  const right = await tryStat(process, b);
  if (typeof left === "number") return operator === "-ot" && typeof right !== "number";
  if (typeof right === "number") return operator === "-nt";
  if (operator === "-ef") return left.st_ino === right.st_ino && left.st_dev === right.st_dev;
  const seconds = left.st_mtime - right.st_mtime;
  const difference = seconds === 0 ? left.st_mtime_nsec - right.st_mtime_nsec : seconds;
  return operator === "-nt" ? difference > 0 : difference < 0;
}

/** The XSI grammar with `-a`, `-o` and parentheses. */
class Expression {
  readonly #process: Process;
  readonly #words: readonly string[];
  #at = 0;

  constructor(process: Process, words: readonly string[]) {
    this.#process = process;
    this.#words = words;
  }

  async or(): Promise<boolean> {
    let value = await this.#and();
    while (this.#accept("-o")) value = (await this.#and()) || value;
    return value;
  }

  expectEnd(): void {
    const word = this.#words[this.#at];
    if (word !== undefined) fail(`${word}: unexpected operator`);
  }

  async #and(): Promise<boolean> {
    let value = await this.#not();
    while (this.#accept("-a")) value = (await this.#not()) && value;
    return value;
  }

  async #not(): Promise<boolean> {
    return this.#accept("!") ? !(await this.#not()) : this.#primary();
  }

  async #primary(): Promise<boolean> {
    const [word, next, third] = this.#words.slice(this.#at, this.#at + 3);
    if (word === undefined) return fail("argument expected");
    if (next !== undefined && third !== undefined && isBinary(next)) {
      this.#at += 3;
      return binary(this.#process, word, next, third);
    }
    if (word === "(") {
      this.#at += 1;
      const value = await this.or();
      if (!this.#accept(")")) fail("closing paren expected");
      return value;
    }
    if (isUnary(word) && next !== undefined) {
      this.#at += 2;
      return unary(this.#process, word, next);
    }
    this.#at += 1;
    return word !== "";
  }

  #accept(word: string): boolean {
    if (this.#words[this.#at] !== word) return false;
    this.#at += 1;
    return true;
  }
}
