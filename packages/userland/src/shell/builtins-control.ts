/** Builtins that steer the shell: loops, functions, files of commands, traps, exit. */
import { EINVAL } from "@alien-ts/abi";
import { SystemError, UsageError } from "../libc/errors.ts";
import { accessible, isRegular, readFile, tryStat } from "../libc/files.ts";
import { parseOptions } from "../libc/getopt.ts";
import { LAST_NAMED_SIGNAL, signalName, signalNumber } from "../libc/signals.ts";
import { ExitControl, LoopControl, ReturnControl } from "./control.ts";
import { RESERVED } from "./parser.ts";
import type { Shell } from "./shell.ts";
import { DEFAULT_PATH, becomeProgram, quoteWord } from "./simple.ts";
import { ShellError } from "./variables.ts";

function countArgument(text: string | undefined, fallback: number): number {
  if (text === undefined) return fallback;
  if (!/^\d+$/.test(text)) throw new ShellError(`Illegal number: ${text}`);
  return Number(text);
}

function leaveLoop(shell: Shell, words: readonly string[], kind: "break" | "continue"): number {
  const levels = countArgument(words[1], 1);
  if (levels === 0) throw new ShellError("Illegal number: 0");
  if (shell.loopDepth === 0) return 0;
  throw new LoopControl(kind, levels);
}

export const breakLoop = (shell: Shell, words: readonly string[]): number => leaveLoop(shell, words, "break");
export const continueLoop = (shell: Shell, words: readonly string[]): number =>
  leaveLoop(shell, words, "continue");

export function exit(shell: Shell, words: readonly string[]): never {
  throw new ExitControl(countArgument(words[1], shell.state.status) & 0xff);
}

export function returnFrom(shell: Shell, words: readonly string[]): never {
  throw new ReturnControl(countArgument(words[1], shell.state.status) & 0xff);
}

export function evaluate(shell: Shell, words: readonly string[]): Promise<number> {
  return shell.runText(words.slice(1).join(" "));
}

/** `.`: a name without a slash is looked up in PATH, then in the directory. */
export async function dot(shell: Shell, words: readonly string[]): Promise<number> {
  const [, name, ...args] = words;
  if (name === undefined) throw new ShellError("filename argument required");
  const text = await readScript(shell, name);
  const saved = shell.state.positional;
  if (args.length > 0) shell.state.positional = args;
  try {
    return await shell.runText(text);
  } catch (error) {
    if (error instanceof ReturnControl) return error.status;
    throw error;
  } finally {
    if (args.length > 0) shell.state.positional = saved;
  }
}

/** XCU 2.15: a file that cannot be read ends a shell that is not interactive. */
async function readScript(shell: Shell, name: string): Promise<string> {
  try {
    return await readFile(shell.process, await findScript(shell, name));
  } catch (error) {
    if (error instanceof SystemError) throw new ShellError(error.message);
    throw error;
  }
}

async function findScript(shell: Shell, name: string): Promise<string> {
  if (name.includes("/")) return name;
  for (const directory of (shell.state.get("PATH") ?? DEFAULT_PATH).split(":")) {
    const path = `${directory || "."}/${name}`;
    const status = await tryStat(shell.process, path);
    if (typeof status !== "number" && isRegular(status)) return path;
  }
  return name;
}

export async function exec(shell: Shell, words: readonly string[]): Promise<number> {
  const args = words.slice(words[1] === "--" ? 2 : 1);
  if (args.length === 0) return 0;
  const call = { words: args, env: shell.state.environment(), redirects: [] };
  const status = await becomeProgram(shell, shell.process, call);
  if (!shell.interactive) throw new ExitControl(status);
  return status;
}

/** `trap`, `trap - INT`, `trap '' INT`, `trap 'action' INT EXIT`. */
export async function trap(shell: Shell, words: readonly string[]): Promise<number> {
  const args = words.slice(words[1] === "--" ? 2 : 1);
  const [first, ...rest] = args;
  if (first === undefined) return listTraps(shell);
  if (first === "-l") return listSignals(shell);
  const isReset = first === "-" || (rest.length === 0 && signalNumber(first) !== undefined);
  const conditions = isReset && first !== "-" ? args : rest;
  let status = 0;
  for (const condition of conditions) {
    const signal = signalNumber(condition);
    const action = isReset ? undefined : first;
    const result =
      signal === undefined
        ? -EINVAL.number
        : await shell.traps.set(shell.process, signal, action, { interactive: shell.interactive });
    if (result >= 0) continue;
    await shell.complain(`trap: ${condition}: bad trap`);
    status = 1;
  }
  return status;
}

async function listTraps(shell: Shell): Promise<number> {
  for (const [signal, action] of [...shell.traps.actions].sort(([a], [b]) => a - b)) {
    const name = signal === 0 ? "EXIT" : signalName(signal);
    await shell.process.stdout.writeLine(`trap -- '${action.replace(/'/g, "'\\''")}' ${name}`);
  }
  return 0;
}

async function listSignals(shell: Shell): Promise<number> {
  for (let signal = 1; signal <= LAST_NAMED_SIGNAL; signal++) {
    await shell.process.stdout.writeLine(`${String(signal).padStart(2)}) SIG${signalName(signal)}`);
  }
  return 0;
}

/** The path that a program's name stands for; undefined where there is none. */
export async function findProgram(shell: Shell, name: string): Promise<string | undefined> {
  const directories = (shell.state.get("PATH") ?? DEFAULT_PATH).split(":");
  const candidates = name.includes("/")
    ? [name]
    : directories.map((directory) => `${directory || "."}/${name}`);
  for (const path of candidates) {
    const status = await tryStat(shell.process, path);
    if (typeof status !== "number" && isRegular(status) && (await accessible(shell.process, path, 1)))
      return path;
  }
  return undefined;
}

/** What `type` and `command -V` print; undefined where the name means nothing. */
async function describe(shell: Shell, name: string): Promise<string | undefined> {
  if (RESERVED.has(name)) return `${name} is a shell keyword`;
  if (shell.state.functions.has(name)) return `${name} is a function`;
  const builtin = shell.builtins.get(name);
  if (builtin !== undefined) return `${name} is a ${builtin.special === true ? "special " : ""}shell builtin`;
  const path = await findProgram(shell, name);
  return path === undefined ? undefined : `${name} is ${path}`;
}

export async function type(shell: Shell, words: readonly string[]): Promise<number> {
  let status = 0;
  for (const name of words.slice(1)) {
    const text = await describe(shell, name);
    await shell.process.stdout.writeLine(text ?? `${name}: not found`);
    if (text === undefined) status = 127;
  }
  return status;
}

export async function command(shell: Shell, words: readonly string[]): Promise<number> {
  const { options, operands } = readOptions("pvV", words);
  const [name] = operands;
  if (name === undefined) return 0;
  if (options.has("V")) return type(shell, ["type", name]);
  if (options.has("v")) return showCommand(shell, name);
  const builtin = shell.builtins.get(name);
  if (builtin !== undefined) return builtin.run(shell, operands);
  const path = options.has("p") ? DEFAULT_PATH : undefined;
  return runWithoutFunctions(shell, operands, path);
}

async function showCommand(shell: Shell, name: string): Promise<number> {
  const isOwn = RESERVED.has(name) || shell.state.functions.has(name) || shell.builtins.has(name);
  const text = isOwn ? name : await findProgram(shell, name);
  if (text === undefined) return 127;
  await shell.process.stdout.writeLine(text);
  return 0;
}

async function runWithoutFunctions(
  shell: Shell,
  words: readonly string[],
  path: string | undefined,
): Promise<number> {
  const line = words.map((word) => quoteWord(word)).join(" ");
  const [name = ""] = words;
  const hidden = shell.state.functions.get(name);
  shell.state.functions.delete(name);
  try {
    return await shell.runText(path === undefined ? line : `PATH=${path} ${line}`);
  } finally {
    if (hidden !== undefined) shell.state.functions.set(name, hidden);
  }
}

export async function history(shell: Shell, words: readonly string[]): Promise<number> {
  if (words[1] === "-c") {
    shell.history = [];
    return 0;
  }
  const count = countArgument(words[1], shell.history.length);
  const first = Math.max(shell.history.length - count, 0);
  for (let i = first; i < shell.history.length; i++) {
    await shell.process.stdout.writeLine(`${String(i + 1).padStart(5)}  ${shell.history[i]}`);
  }
  return 0;
}

/** Options of a builtin; wrong use is a `ShellError`. */
export function readOptions(spec: string, words: readonly string[]): ReturnType<typeof parseOptions> {
  try {
    return parseOptions({ options: spec, stopAtOperand: true }, words.slice(1));
  } catch (error) {
    if (error instanceof UsageError) throw new ShellError(error.message);
    throw error;
  }
}
