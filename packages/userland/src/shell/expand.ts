/**
 * Word expansion, XCU 2.6: tilde, parameters, command substitution, arithmetic, field splitting, pathnames, quote removal.
 *
 * A word becomes *pieces*: text that knows whether it was quoted (then it is neither split nor a pattern) and whether it
 * came from an expansion (only then is it split). Fields are made of pieces at the end. Commands are run by the
 * `ExpansionHost`, which is the shell.
 */
import { escapePattern, glob, hasWildcard, patternRegex, unescapePattern } from "../libc/glob.ts";
import { readUsers } from "../libc/accounts.ts";
import type { Process } from "../libc/process.ts";
import { ArithmeticError, evaluateArithmetic } from "./arithmetic.ts";
import type { ListNode, Word, WordPart } from "./ast.ts";
import { ShellError, type ShellState } from "./variables.ts";

export interface ExpansionHost {
  readonly state: ShellState;
  readonly process: Process;
  /** Output of a command substitution, without trailing newlines. */
  substitute(body: ListNode): Promise<string>;
}

interface Piece {
  readonly text: string;
  readonly quoted: boolean;
  readonly splits: boolean;
}

/** Between two fields of `"$@"`. */
const BREAK = Symbol("field break");
/** `"$@"` without parameters: no field, where quotes alone would make an empty one. */
const NOTHING = Symbol("no field");
type Item = Piece | typeof BREAK | typeof NOTHING;

const DEFAULT_IFS = " \t\n";

/** A word as the fields of a command. */
export async function expandFields(host: ExpansionHost, words: readonly Word[]): Promise<string[]> {
  const fields: string[] = [];
  for (const word of words) {
    for (const field of splitFields(await expandWord(host, word), host.state.get("IFS") ?? DEFAULT_IFS)) {
      for (const path of await expandPaths(host, field)) fields.push(path);
    }
  }
  return fields;
}

async function expandPaths(host: ExpansionHost, pattern: string): Promise<string[]> {
  const literal = unescapePattern(pattern);
  if (host.state.options.has("f") || !hasWildcard(pattern)) return [literal];
  const paths = await glob(host.process, pattern);
  return paths.length > 0 ? paths : [literal];
}

/** A word as one text: assignments, redirections, here-documents, the subject of `case`. */
export async function expandText(
  host: ExpansionHost,
  word: Word,
  options: { readonly assignment?: boolean } = {},
): Promise<string> {
  const items = await expandWord(host, word, options.assignment === true);
  return items.map((item) => (item === BREAK ? " " : item === NOTHING ? "" : item.text)).join("");
}

/** A word as a pattern, with a backslash before what was quoted. */
export async function expandPattern(host: ExpansionHost, word: Word): Promise<string> {
  const items = await expandWord(host, word);
  return items
    .map((item) => (typeof item === "symbol" ? (item === BREAK ? " " : "") : patternOf(item)))
    .join("");
}

const patternOf = (piece: Piece): string => (piece.quoted ? escapePattern(piece.text) : piece.text);

async function expandWord(host: ExpansionHost, word: Word, isAssignment = false): Promise<Item[]> {
  const items: Item[][] = [];
  for (const [index, part] of word.entries())
    items.push(await expandPart(host, part, index === 0, isAssignment));
  return items.flat();
}

async function expandPart(
  host: ExpansionHost,
  part: WordPart,
  isFirst: boolean,
  isAssignment: boolean,
): Promise<Item[]> {
  switch (part.kind) {
    case "literal":
      return part.quoted ? [fixed(part.text)] : expandTilde(host, part.text, isFirst, isAssignment);
    case "parameter":
      return expandParameter(host, part);
    case "command":
      return [expanded(await host.substitute(part.body), part.quoted)];
    case "arithmetic":
      return [expanded(await arithmetic(host, part.expression), part.quoted)];
  }
}

const fixed = (text: string): Piece => ({ text, quoted: true, splits: false });
const expanded = (text: string, quoted: boolean): Piece => ({ text, quoted, splits: !quoted });
const literal = (text: string): Piece => ({ text, quoted: false, splits: false });

async function arithmetic(host: ExpansionHost, expression: Word): Promise<string> {
  const text = await expandText(host, expression);
  const { state } = host;
  try {
    return String(
      evaluateArithmetic(text, {
        get: (name) => state.get(name),
        set: (name, value) => state.set(name, value),
      }),
    );
  } catch (error) {
    if (error instanceof ArithmeticError) throw new ShellError(error.message);
    throw error;
  }
}

async function expandTilde(
  host: ExpansionHost,
  text: string,
  isFirst: boolean,
  isAssignment: boolean,
): Promise<Item[]> {
  const pattern = isAssignment ? /(^|:)~([\w.-]*)(?=[/:]|$)/g : /(^)~([\w.-]*)(?=\/|$)/g;
  if (!text.includes("~")) return [literal(text)];
  const items: Item[] = [];
  let last = 0;
  for (const match of text.matchAll(pattern)) {
    if (match[1] === "" && !isFirst) continue;
    const home = await homeOf(host, match[2]!);
    if (home === undefined) continue;
    const start = match.index + match[1]!.length;
    items.push(literal(text.slice(last, start)), fixed(home));
    last = match.index + match[0].length;
  }
  items.push(literal(text.slice(last)));
  return items;
}

async function homeOf(host: ExpansionHost, user: string): Promise<string | undefined> {
  if (user === "") return host.state.get("HOME");
  return (await readUsers(host.process)).find(({ name }) => name === user)?.home;
}

type ParameterPart = Extract<WordPart, { kind: "parameter" }>;

async function expandParameter(host: ExpansionHost, part: ParameterPart): Promise<Item[]> {
  const { state } = host;
  const isList = part.name === "@" || part.name === "*";
  const value = isList ? state.positional.join(" ") : parameterValue(state, part.name);
  if (part.length)
    return [expanded(String(isList ? state.positional.length : lengthOf(state, part, value)), part.quoted)];
  const { operator, word = [] } = part;
  const isSet = isList ? state.positional.length > 0 : value !== undefined;
  if (operator === undefined) return listOrValue(host, part, checked(state, part.name, value, isSet));
  if (/[%#]/.test(operator)) {
    const pattern = await expandPattern(host, word);
    if (isList)
      return listItems(
        host,
        part,
        state.positional.map((text) => strip(text, operator, pattern)),
      );
    return [expanded(strip(checked(state, part.name, value, isSet), operator, pattern), part.quoted)];
  }
  const usesValue = operator.startsWith(":") ? isSet && value !== "" : isSet;
  return useOrReplace(host, part, { usesValue, value: value ?? "" });
}

function lengthOf(state: ShellState, part: ParameterPart, value: string | undefined): number {
  return checked(state, part.name, value, value !== undefined).length;
}

/** The operators `- = ? +`. */
async function useOrReplace(
  host: ExpansionHost,
  part: ParameterPart,
  { usesValue, value }: { readonly usesValue: boolean; readonly value: string },
): Promise<Item[]> {
  const { word = [], name } = part;
  const kind = part.operator?.at(-1);
  if (kind === "+") return usesValue ? expandInner(host, part, word) : [expanded("", part.quoted)];
  if (usesValue) return listOrValue(host, part, value);
  if (kind === "-") return expandInner(host, part, word);
  const text = await expandText(host, word);
  if (kind === "?") throw new ShellError(`${name}: ${text || "parameter not set"}`);
  if (!/^[A-Za-z_]/.test(name)) throw new ShellError(`${name}: bad variable name`);
  host.state.set(name, text);
  return [expanded(text, part.quoted)];
}

/** The word of an operator: quoted as a whole where the expansion is; its literals are split where it is not. */
async function expandInner(host: ExpansionHost, part: ParameterPart, word: Word): Promise<Item[]> {
  const items = await expandWord(host, word);
  if (part.quoted) return items.map((item) => (typeof item === "symbol" ? item : fixed(item.text)));
  return items.map((item) => (typeof item === "symbol" || item.quoted ? item : { ...item, splits: true }));
}

function checked(state: ShellState, name: string, value: string | undefined, isSet: boolean): string {
  if (!isSet && state.options.has("u") && name !== "@" && name !== "*") {
    throw new ShellError(`${name}: parameter not set`);
  }
  return value ?? "";
}

function listOrValue(host: ExpansionHost, part: ParameterPart, value: string): Item[] {
  if (part.name !== "@" && part.name !== "*") return [expanded(value, part.quoted)];
  return listItems(host, part, host.state.positional);
}

/** `$@` and `$*`: a field per parameter, except that `"$*"` is one, joined by the first character of IFS. */
function listItems(host: ExpansionHost, part: ParameterPart, values: readonly string[]): Item[] {
  if (part.quoted && part.name === "*")
    return [fixed(values.join((host.state.get("IFS") ?? " ").slice(0, 1)))];
  if (values.length === 0) return part.quoted ? [NOTHING] : [];
  return values.flatMap((value, i): Item[] =>
    i === 0 ? [expanded(value, part.quoted)] : [BREAK, expanded(value, part.quoted)],
  );
}

function parameterValue(state: ShellState, name: string): string | undefined {
  switch (name) {
    case "?":
      return String(state.status);
    case "$":
      return String(state.shellPid);
    case "!":
      return state.lastBackground === 0 ? undefined : String(state.lastBackground);
    case "#":
      return String(state.positional.length);
    case "-":
      return [...state.options].join("");
    case "0":
      return state.name;
    case "LINENO":
      return state.get(name) ?? String(state.line);
    default:
      return /^\d+$/.test(name) ? state.positional[Number(name) - 1] : state.get(name);
  }
}

function strip(text: string, operator: string, pattern: string): string {
  const isLong = operator.length === 2;
  if (operator.startsWith("#")) {
    const regex = patternRegex(pattern, { part: "start" });
    return text.slice((isLong ? regex.exec(text)?.end : regex.shortestEnd(text)) ?? 0);
  }
  const regex = patternRegex(pattern, { part: "end" });
  return text.slice(0, isLong ? regex.exec(text)?.index : regex.lastStart(text));
}

/** Fields as patterns (with quoted characters escaped). */
function splitFields(items: readonly Item[], ifs: string): string[] {
  const splitter = new Splitter(ifs);
  for (const item of items) {
    if (item === BREAK) splitter.endField(true);
    else if (item === NOTHING) splitter.suppress();
    else splitter.add(item);
  }
  splitter.endField(false);
  return splitter.fields;
}

class Splitter {
  readonly fields: string[] = [];
  readonly #whitespace: string;
  readonly #others: string;
  #field = "";
  #hasField = false;
  /** Only `""` so far, beside a `"$@"` that gave nothing. */
  #isSuppressed = false;

  constructor(ifs: string) {
    this.#whitespace = [...ifs].filter((char) => DEFAULT_IFS.includes(char)).join("");
    this.#others = [...ifs].filter((char) => !DEFAULT_IFS.includes(char)).join("");
  }

  suppress(): void {
    this.#isSuppressed = true;
  }

  add(piece: Piece): void {
    if (piece.splits) {
      this.#split(piece.text);
      return;
    }
    this.#field += patternOf(piece);
    if (piece.quoted || piece.text !== "") this.#hasField = true;
  }

  endField(isBreak: boolean): void {
    const isEmptyBySuppression = this.#isSuppressed && this.#field === "";
    if ((this.#hasField && !isEmptyBySuppression) || (isBreak && this.#field !== ""))
      this.fields.push(this.#field);
    this.#field = "";
    this.#hasField = false;
  }

  /** XCU 2.6.5: IFS white space separates and is trimmed; any other IFS character ends a field, also an empty one. */
  #split(text: string): void {
    let sawSpace = false;
    for (const char of text) {
      if (this.#whitespace.includes(char)) {
        this.#endBySpace();
        sawSpace = true;
        continue;
      }
      if (this.#others.includes(char)) {
        const endsAfterSpace = sawSpace && !this.#hasField && this.#field === "";
        if (!endsAfterSpace || this.fields.length === 0) {
          this.fields.push(this.#field);
          this.#field = "";
          this.#hasField = false;
        }
      } else {
        this.#field += char === "\\" ? "\\\\" : char;
        this.#hasField = true;
      }
      sawSpace = false;
    }
  }

  #endBySpace(): void {
    if (this.#hasField) this.fields.push(this.#field);
    this.#field = "";
    this.#hasField = false;
  }
}

/** `read`'s splitting: the last field takes the rest of the line. */
export function splitForRead(line: string, ifs: string, count: number): string[] {
  const spaces = [...ifs].filter((char) => DEFAULT_IFS.includes(char)).join("");
  const isSpace = (char: string | undefined): boolean => char !== undefined && spaces.includes(char);
  const fields: string[] = [];
  let i = 0;
  const skipSpaces = (): void => {
    while (isSpace(line[i])) i += 1;
  };
  skipSpaces();
  while (fields.length < count - 1 && i < line.length) {
    const start = i;
    while (i < line.length && !ifs.includes(line[i]!)) i += 1;
    fields.push(line.slice(start, i));
    skipSpaces();
    if (i < line.length && ifs.includes(line[i]!) && !isSpace(line[i])) {
      i += 1;
      skipSpaces();
    }
  }
  let rest = line.slice(i);
  while (isSpace(rest.at(-1))) rest = rest.slice(0, -1);
  // A single separator after the only remaining field ends it and is no part of it.
  const last = rest.at(-1);
  if (
    last !== undefined &&
    ifs.includes(last) &&
    !Array.from(rest.slice(0, -1)).some((char) => ifs.includes(char))
  ) {
    rest = rest.slice(0, -1);
  }
  fields.push(rest);
  while (fields.length < count) fields.push("");
  return fields;
}
