/** Completion: commands in the place of a command, variables after `$`, paths elsewhere. */
import { SystemError } from "../libc/errors.ts";
import { isDirectory, tryStat } from "../libc/files.ts";
import { listNames } from "../libc/directories.ts";
import { joinPath } from "../libc/text.ts";
import type { Shell } from "./shell.ts";
import { DEFAULT_PATH } from "./simple.ts";

export interface Candidate {
  /** What replaces the word. */
  readonly text: string;
  /** What a list shows. */
  readonly label: string;
  /** Follows a candidate that is the only one: a space, or a slash after a directory. */
  readonly suffix: string;
}

export interface Completion {
  /** Where the word starts. */
  readonly start: number;
  readonly candidates: readonly Candidate[];
}

/** Candidates for the word at the end of `line`, sorted. */
export async function complete(shell: Shell, line: string): Promise<Completion> {
  const start = wordStart(line);
  const word = line.slice(start);
  const variable = /\$\{?([A-Za-z_]\w*)?$/.exec(word);
  if (variable !== null) return { start: start + variable.index, candidates: variables(shell, variable[0]) };
  const isCommand = /(^|[;&|(`]|\b(?:then|do|else|if|while|until))\s*$/.test(line.slice(0, start));
  const candidates =
    isCommand && !word.includes("/") ? await commands(shell, word) : await paths(shell, word);
  return { start, candidates: candidates.sort((a, b) => (a.text < b.text ? -1 : 1)) };
}

/** The word begins after the last blank or operator that no backslash quotes. */
function wordStart(line: string): number {
  for (let i = line.length; i > 0; i--) {
    if (/[\s;&|<>()`=:]/.test(line[i - 1]!) && line[i - 2] !== "\\") return i;
  }
  return 0;
}

function variables(shell: Shell, typed: string): Candidate[] {
  const isBraced = typed.startsWith("${");
  const prefix = typed.replace(/^\$\{?/, "");
  return [...shell.state.variables.keys()]
    .filter((name) => name.startsWith(prefix))
    .sort()
    .map((name) => ({ text: isBraced ? `\${${name}}` : `$${name}`, label: name, suffix: "" }));
}

async function commands(shell: Shell, prefix: string): Promise<Candidate[]> {
  const names = new Set([...shell.builtins.keys(), ...shell.state.functions.keys()]);
  for (const directory of (shell.state.get("PATH") ?? DEFAULT_PATH).split(":")) {
    for (const name of await namesIn(shell, directory || ".")) names.add(name);
  }
  return [...names]
    .filter((name) => name.startsWith(prefix))
    .map((name) => ({ text: name, label: name, suffix: " " }));
}

async function paths(shell: Shell, word: string): Promise<Candidate[]> {
  const typed = word.replace(/\\([^])/g, "$1");
  const slash = typed.lastIndexOf("/");
  const directory = typed.slice(0, slash + 1);
  const prefix = typed.slice(slash + 1);
  const home = shell.state.get("HOME") ?? "";
  const searched = directory.replace(/^~(?=\/)/, home) || ".";
  const candidates: Candidate[] = [];
  for (const name of await namesIn(shell, searched)) {
    if (!name.startsWith(prefix) || (name.startsWith(".") && !prefix.startsWith("."))) continue;
    const status = await tryStat(shell.process, joinPath(searched, name));
    const suffix = typeof status !== "number" && isDirectory(status) ? "/" : " ";
    candidates.push({ text: quotePath(directory + name), label: suffix === "/" ? `${name}/` : name, suffix });
  }
  return candidates;
}

const quotePath = (path: string): string => path.replace(/[\s"'\\$&;()<>|*?[\]#`]/g, "\\$&");

async function namesIn(shell: Shell, directory: string): Promise<string[]> {
  try {
    return await listNames(shell.process, directory);
  } catch (error) {
    if (error instanceof SystemError) return [];
    throw error;
  }
}
