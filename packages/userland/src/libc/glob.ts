/**
 * Shell patterns: fnmatch(3) and glob(3).
 *
 * A backslash quotes the next character. `patternRegex` is the regular expression of a pattern; `glob` walks the file system, with names in byte order, and never matches a leading period with a wildcard.
 */
import { DT } from "@alien-ts/abi";
import { readDirectory } from "./directories.ts";
import { SystemError } from "./errors.ts";
import { isDirectory, tryLstat, tryStat } from "./files.ts";
import type { Process } from "./process.ts";
import { ANY, RegexError, charSet, parseBracket } from "./regex-sets.ts";
import type { RegexNode } from "./regex-syntax.ts";
import { Regex } from "./regex.ts";
import { joinPath } from "./text.ts";

/** Whether a wildcard is in the pattern that no backslash quotes. A bracket that nothing closes is none. */
export const hasWildcard = (pattern: string): boolean => /[*?]|\[[^]+\]/.test(pattern.replace(/\\[^]/g, ""));

export const unescapePattern = (pattern: string): string => pattern.replace(/\\([^])/g, "$1");

/** Quotes what a pattern would treat specially. */
export const escapePattern = (text: string): string => text.replace(/[*?[\]\\]/g, "\\$&");

export interface PatternOptions {
  readonly ignoreCase?: boolean;
  /** The part of a text that is to match: all of it (the default), its start, or its end. */
  readonly part?: "all" | "start" | "end";
}

/** The regular expression that matches what the pattern does. */
export function patternRegex(
  pattern: string,
  { ignoreCase = false, part = "all" }: PatternOptions = {},
): Regex {
  const parts: RegexNode[] = part === "end" ? [] : [{ kind: "assert", what: "lineStart" }];
  for (let i = 0; i < pattern.length;) {
    const char = pattern[i]!;
    i += 1;
    const bracket = char === "[" ? tryBracket(pattern, i, ignoreCase) : undefined;
    if (char === "*") parts.push(ANY_NUMBER);
    else if (char === "?") parts.push({ kind: "set", set: ANY });
    else if (bracket !== undefined) {
      parts.push({ kind: "set", set: bracket.set });
      i = bracket.next;
    } else {
      const isQuote = char === "\\" && i < pattern.length;
      parts.push({ kind: "set", set: charSet(isQuote ? pattern[i]! : char, ignoreCase) });
      if (isQuote) i += 1;
    }
  }
  if (part !== "start") parts.push({ kind: "assert", what: "lineEnd" });
  return new Regex({ kind: "cat", parts });
}

const ANY_NUMBER: RegexNode = {
  kind: "repeat",
  body: { kind: "set", set: ANY },
  min: 0,
  max: Number.POSITIVE_INFINITY,
};

function tryBracket(
  pattern: string,
  at: number,
  ignoreCase: boolean,
): ReturnType<typeof parseBracket> | undefined {
  try {
    return parseBracket(pattern, at, { negation: "!^", ignoreCase });
  } catch (error) {
    if (error instanceof RegexError) return undefined;
    throw error;
  }
}

/** fnmatch(3) without flags. */
export const matchesPattern = (pattern: string, text: string): boolean => patternRegex(pattern).test(text);

/** The paths that match, sorted; none where nothing does. */
export async function glob(process: Process, pattern: string): Promise<string[]> {
  const parts = pattern.split("/");
  let found = [pattern.startsWith("/") ? "/" : ""];
  const start = pattern.startsWith("/") ? 1 : 0;
  for (let i = start; i < parts.length; i++) {
    const part = parts[i]!;
    if (part === "" && i < parts.length - 1) continue;
    const isLast = i === parts.length - 1;
    const next: string[] = [];
    for (const base of found)
      for (const path of await expandPart(process, base, part, isLast)) next.push(path);
    found = next;
  }
  return found.sort();
}

async function expandPart(process: Process, base: string, part: string, isLast: boolean): Promise<string[]> {
  if (part === "") return (await isDirectoryPath(process, base)) ? [`${base}/`] : [];
  if (!hasWildcard(part)) {
    const path = joinPath(base, unescapePattern(part));
    const status = isLast ? await tryLstat(process, path) : await tryStat(process, path);
    return typeof status === "number" ? [] : [path];
  }
  const matcher = patternRegex(part);
  const showsHidden = part.startsWith(".") || part.startsWith("\\.");
  const names: string[] = [];
  for (const { name, type } of await entriesOf(process, base === "" ? "." : base)) {
    if ((name.startsWith(".") && !showsHidden) || !matcher.test(name)) continue;
    const path = joinPath(base, name);
    if (isLast || type === DT.DIR || (await isDirectoryPath(process, path))) names.push(path);
  }
  return names;
}

async function isDirectoryPath(process: Process, path: string): Promise<boolean> {
  const status = await tryStat(process, path);
  return typeof status !== "number" && isDirectory(status);
}

async function entriesOf(process: Process, path: string): ReturnType<typeof readDirectory> {
  try {
    return await readDirectory(process, path);
  } catch (error) {
    if (error instanceof SystemError) return [];
    throw error;
  }
}
