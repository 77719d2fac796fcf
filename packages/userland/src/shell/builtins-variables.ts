/** Builtins for variables, options and positional parameters. */
import { readOptions } from "./builtins-control.ts";
import { isName } from "./parser.ts";
import type { Shell } from "./shell.ts";
import { type OptionLetter, SHELL_OPTIONS, ShellError, type ShellState } from "./variables.ts";

/** `name` or `name=value`. */
function splitAssignment(word: string): { readonly name: string; readonly value: string | undefined } {
  const equals = word.indexOf("=");
  const name = equals < 0 ? word : word.slice(0, equals);
  if (!isName(name)) throw new ShellError(`${word}: bad variable name`);
  return { name, value: equals < 0 ? undefined : word.slice(equals + 1) };
}

const quoteValue = (value: string): string => `'${value.replace(/'/g, "'\\''")}'`;

async function listVariables(
  shell: Shell,
  prefix: string,
  kind: "exported" | "readonly" | undefined,
): Promise<number> {
  for (const [name, variable] of [...shell.state.variables].sort(([a], [b]) => (a < b ? -1 : 1))) {
    if (kind !== undefined && !variable[kind]) continue;
    if (variable.value === undefined && kind === undefined) continue;
    const value = variable.value === undefined ? "" : `=${quoteValue(variable.value)}`;
    await shell.process.stdout.writeLine(`${prefix}${name}${value}`);
  }
  return 0;
}

export async function exportVariables(shell: Shell, words: readonly string[]): Promise<number> {
  const { operands } = readOptions("p", words);
  if (operands.length === 0) return listVariables(shell, "export ", "exported");
  for (const word of operands) {
    const { name, value } = splitAssignment(word);
    if (value !== undefined) shell.state.set(name, value);
    shell.state.export(name);
  }
  return 0;
}

export async function readonlyVariables(shell: Shell, words: readonly string[]): Promise<number> {
  const { operands } = readOptions("p", words);
  if (operands.length === 0) return listVariables(shell, "readonly ", "readonly");
  for (const word of operands) {
    const { name, value } = splitAssignment(word);
    if (value !== undefined) shell.state.set(name, value);
    shell.state.makeReadonly(name);
  }
  return 0;
}

export function unset(shell: Shell, words: readonly string[]): number {
  const { options, operands } = readOptions("fv", words);
  for (const name of operands) {
    if (options.has("f")) shell.state.functions.delete(name);
    else if (isName(name)) shell.state.unset(name);
    else throw new ShellError(`${name}: bad variable name`);
  }
  return 0;
}

export function local(shell: Shell, words: readonly string[]): number {
  const scope = shell.locals.at(-1);
  if (scope === undefined) throw new ShellError("not in a function");
  for (const word of words.slice(1)) {
    const { name, value } = splitAssignment(word);
    if (!scope.has(name)) scope.set(name, shell.state.variables.get(name));
    if (value !== undefined) shell.state.set(name, value);
  }
  return 0;
}

export async function alias(shell: Shell, words: readonly string[]): Promise<number> {
  const { aliases } = shell.state;
  const show = (name: string): Promise<void> =>
    shell.process.stdout.writeLine(`${name}=${quoteValue(aliases.get(name) ?? "")}`);
  if (words.length === 1) for (const name of [...aliases.keys()].sort()) await show(name);
  let status = 0;
  for (const word of words.slice(1)) {
    const equals = word.indexOf("=", 1);
    if (equals > 0) aliases.set(word.slice(0, equals), word.slice(equals + 1));
    else if (aliases.has(word)) await show(word);
    else {
      await shell.complain(`alias: ${word}: not found`);
      status = 1;
    }
  }
  return status;
}

export async function unalias(shell: Shell, words: readonly string[]): Promise<number> {
  const { options, operands } = readOptions("a", words);
  if (options.has("a")) shell.state.aliases.clear();
  let status = 0;
  for (const name of operands) {
    if (shell.state.aliases.delete(name)) continue;
    await shell.complain(`unalias: ${name}: not found`);
    status = 1;
  }
  return status;
}

export function shift(shell: Shell, words: readonly string[]): number {
  const count = words[1] ?? "1";
  if (!/^\d+$/.test(count)) throw new ShellError(`Illegal number: ${count}`);
  if (Number(count) > shell.state.positional.length) throw new ShellError("can't shift that many");
  shell.state.positional = shell.state.positional.slice(Number(count));
  return 0;
}

const LONG_OPTIONS = new Map<string, OptionLetter>();
for (const [letter, name] of Object.entries(SHELL_OPTIONS))
  if (isOption(letter)) LONG_OPTIONS.set(name, letter);

function isOption(letter: string): letter is OptionLetter {
  return Object.hasOwn(SHELL_OPTIONS, letter);
}

export function setOption(state: ShellState, letter: string, on: boolean): void {
  if (!isOption(letter)) throw new ShellError(`Illegal option ${on ? "-" : "+"}${letter}`);
  if (on) state.options.add(letter);
  else state.options.delete(letter);
}

function setLongOption(shell: Shell, name: string, on: boolean): void {
  const letter = LONG_OPTIONS.get(name);
  if (letter === undefined) throw new ShellError(`Illegal option ${on ? "-" : "+"}o ${name}`);
  setOption(shell.state, letter, on);
}

/** Applies `-eu`, `+x`, `-o name` … from `words`; the operands that follow, undefined where there are none. */
export function applyOptions(shell: Shell, words: readonly string[]): readonly string[] | undefined {
  for (let i = 0; i < words.length; i++) {
    const word = words[i]!;
    if (word === "--") return words.slice(i + 1);
    if (!/^[-+]./.test(word)) return words.slice(i);
    const on = word.startsWith("-");
    for (const letter of word.slice(1)) {
      if (letter !== "o") {
        setOption(shell.state, letter, on);
        continue;
      }
      i += 1;
      const name = words[i];
      if (name === undefined) throw new ShellError("-o requires an argument");
      setLongOption(shell, name, on);
    }
  }
  return undefined;
}

export async function set(shell: Shell, words: readonly string[]): Promise<number> {
  if (words.length === 1) return listVariables(shell, "", undefined);
  if (words.length === 2 && (words[1] === "-o" || words[1] === "+o")) return listOptions(shell, words[1]);
  const operands = applyOptions(shell, words.slice(1));
  if (operands !== undefined) shell.state.positional = operands;
  return 0;
}

async function listOptions(shell: Shell, form: string): Promise<number> {
  for (const [name, letter] of [...LONG_OPTIONS].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const on = shell.state.options.has(letter);
    const line = form === "-o" ? `${name.padEnd(15)} ${on ? "on" : "off"}` : `set ${on ? "-" : "+"}o ${name}`;
    await shell.process.stdout.writeLine(line);
  }
  return 0;
}

/** getopts: OPTIND is the next word, and `state.getoptsOffset` the place in a word of clustered options. */
export async function getopts(shell: Shell, words: readonly string[]): Promise<number> {
  const [, spec, name, ...given] = words;
  if (spec === undefined || name === undefined)
    throw new ShellError("Usage: getopts optstring name [argument ...]");
  const { state } = shell;
  const args = given.length > 0 ? given : state.positional;
  const index = Number(state.get("OPTIND") ?? "1");
  const word = args[index - 1];
  const offset = state.getoptsOffset === 0 ? 1 : state.getoptsOffset;
  const isOptionWord = word !== undefined && word.length > 1 && word.startsWith("-");
  if (!isOptionWord || word === "--") {
    state.set(name, "?");
    state.set("OPTIND", String(word === "--" ? index + 1 : index));
    return 1;
  }
  const letter = word[offset]!;
  const rest = word.slice(offset + 1);
  const advance = (by: number, next: number): void => {
    state.set("OPTIND", String(index + by));
    state.getoptsOffset = next;
  };
  const isKnown = letter !== ":" && spec.includes(letter);
  if (isKnown && spec[spec.indexOf(letter, spec.startsWith(":") ? 1 : 0) + 1] === ":") {
    const value = rest === "" ? args[index] : rest;
    advance(rest === "" ? 2 : 1, 0);
    if (value === undefined) return getoptsError(shell, { spec, name, letter, missing: true });
    state.set("OPTARG", value);
    state.set(name, letter);
    return 0;
  }
  advance(rest === "" ? 1 : 0, rest === "" ? 0 : offset + 1);
  if (!isKnown) return getoptsError(shell, { spec, name, letter, missing: false });
  state.unset("OPTARG");
  state.set(name, letter);
  return 0;
}

async function getoptsError(
  shell: Shell,
  problem: {
    readonly spec: string;
    readonly name: string;
    readonly letter: string;
    readonly missing: boolean;
  },
): Promise<number> {
  const { spec, name, letter, missing } = problem;
  const isSilent = spec.startsWith(":");
  shell.state.set(name, isSilent && missing ? ":" : "?");
  if (isSilent) shell.state.set("OPTARG", letter);
  else {
    shell.state.unset("OPTARG");
    const text = missing ? "option requires an argument" : "illegal option";
    await shell.process.stderr.write(`${shell.state.name}: ${text} -- ${letter}\n`);
  }
  return 0;
}
