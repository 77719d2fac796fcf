/** Tools of a few lines: true, false, yes, sleep, seq, basename, dirname, pwd, readlink, which, clear, sync, whoami. */
import { parseDuration, sleepFor } from "../libc/time.ts";
import { accessible, getcwd, isRegular, readlink as readLink, tryLstat, tryStat } from "../libc/files.ts";
import { SystemError, ToolError, UsageError } from "../libc/errors.ts";
import { NR } from "@alien-ts/abi";
import { readNames } from "../libc/accounts.ts";
import { formatNumber } from "../libc/printf.ts";
import type { Process } from "../libc/process.ts";
import { basename as baseName, dirname as dirName, joinPath } from "../libc/text.ts";
import { tool } from "../libc/tool.ts";

export const trueTool = tool({ name: "true", usage: "true", options: "", raw: true, main: () => 0 });
export const falseTool = tool({ name: "false", usage: "false", options: "", raw: true, main: () => 1 });

export const yes = tool({
  name: "yes",
  usage: "yes [STRING]...",
  options: "",
  stopAtOperand: true,
  main: async (process, { operands }) => {
    const line = `${operands.length > 0 ? operands.join(" ") : "y"}\n`;
    for (;;) await process.stdout.write(line);
  },
});

export const sleep = tool({
  name: "sleep",
  usage: "sleep NUMBER[SUFFIX]...",
  options: "",
  main: async (process, { operands }) => {
    if (operands.length === 0) throw new UsageError("missing operand");
    let total = 0;
    for (const text of operands) {
      const seconds = parseDuration(text);
      if (seconds === undefined) throw new UsageError(`invalid time interval '${text}'`);
      total += seconds;
    }
    await sleepFor(process, total);
    return 0;
  },
});

export const seq = tool({
  name: "seq",
  usage: "seq [-w] [-f FORMAT] [-s STRING] [FIRST [INCREMENT]] LAST",
  options: "f:s:w",
  long: { format: "f", separator: "s", "equal-width": "w" },
  stopAtOperand: true,
  rewrite: (words) => protectNegatives(words),
  main: async (process, { options, operands }) => {
    if (operands.length === 0) throw new UsageError("missing operand");
    if (operands.length > 3) throw new UsageError(`extra operand '${operands[3]!}'`);
    const numbers = operands.map((text) => {
      const value = Number(text);
      if (text.trim() === "" || Number.isNaN(value))
        throw new UsageError(`invalid floating point argument: '${text}'`);
      return value;
    });
    const first = numbers.length > 1 ? numbers[0]! : 1;
    const step = numbers.length > 2 ? numbers[1]! : 1;
    const last = numbers.at(-1)!;
    if (step === 0) throw new ToolError("invalid Zero increment value: '0'");
    const decimals = Math.max(...operands.slice(0, -1).map((text) => decimalsOf(text)), 0);
    const format = options.value("f");
    const count = Math.floor((last - first) / step + 1e-10);
    const textAt = (i: number): string => {
      const value = first + i * step;
      return format === undefined ? value.toFixed(decimals) : formatNumber(format, value);
    };
    const width = options.has("w") ? Math.max(textAt(0).length, textAt(count).length) : 0;
    const separator = (options.value("s") ?? "\n").replace(/\\n/g, "\n").replace(/\\t/g, "\t");
    for (let i = 0; i <= count; i++) {
      const text = textAt(i);
      const padded = text.startsWith("-")
        ? `-${text.slice(1).padStart(width - 1, "0")}`
        : text.padStart(width, "0");
      await process.stdout.write(padded + (i === count ? "\n" : separator));
    }
    return 0;
  },
});

/** A negative first operand is no option. */
function protectNegatives(words: readonly string[]): readonly string[] {
  let at = 0;
  while (/^-([fs]|[a-z-].*)$/.test(words[at] ?? "") && words[at] !== "--")
    at += /^-[fs]$/.test(words[at]!) ? 2 : 1;
  return /^-\.?\d/.test(words[at] ?? "") ? [...words.slice(0, at), "--", ...words.slice(at)] : words;
}

const decimalsOf = (text: string): number => /\.(\d+)/.exec(text)?.[1]?.length ?? 0;

export const basename = tool({
  name: "basename",
  usage: "basename NAME [SUFFIX] | basename [-a] [-s SUFFIX] NAME...",
  options: "as:z",
  long: { multiple: "a", suffix: "s", zero: "z" },
  main: async (process, { options, operands }) => {
    if (operands.length === 0) throw new UsageError("missing operand");
    const isMany = options.has("a") || options.has("s");
    if (!isMany && operands.length > 2) throw new UsageError(`extra operand '${operands[2]!}'`);
    const suffix = options.value("s") ?? (isMany ? "" : (operands[1] ?? ""));
    for (const path of isMany ? operands : operands.slice(0, 1)) {
      const name = baseName(path);
      const isCut = suffix !== "" && name !== suffix && name.endsWith(suffix);
      await process.stdout.write(
        (isCut ? name.slice(0, -suffix.length) : name) + (options.has("z") ? "\0" : "\n"),
      );
    }
    return 0;
  },
});

export const dirname = tool({
  name: "dirname",
  usage: "dirname [-z] NAME...",
  options: "z",
  long: { zero: "z" },
  main: async (process, { options, operands }) => {
    if (operands.length === 0) throw new UsageError("missing operand");
    for (const path of operands) await process.stdout.write(dirName(path) + (options.has("z") ? "\0" : "\n"));
    return 0;
  },
});

export const pwd = tool({
  name: "pwd",
  usage: "pwd [-LP]",
  options: "LP",
  main: async (process) => {
    await process.stdout.writeLine(await getcwd(process));
    return 0;
  },
});

export const readlink = tool({
  name: "readlink",
  usage: "readlink [-fn] FILE...",
  options: "efmn",
  long: { canonicalize: "f", "no-newline": "n" },
  main: async (process, { options, operands }) => {
    if (operands.length === 0) throw new UsageError("missing operand");
    let status = 0;
    for (const path of operands) {
      const target = await resolve(
        process,
        path,
        ["e", "f", "m"].some((letter) => options.has(letter)),
      );
      if (target === undefined) status = 1;
      else await process.stdout.write(target + (options.has("n") ? "" : "\n"));
    }
    return status;
  },
});

async function resolve(process: Process, path: string, canonical: boolean): Promise<string | undefined> {
  try {
    return canonical ? await canonicalPath(process, path) : await readLink(process, path);
  } catch (error) {
    if (error instanceof SystemError) return undefined;
    throw error;
  }
}

/** realpath(3); the last component may be missing. */
async function canonicalPath(process: Process, path: string, depth = 0): Promise<string> {
  if (depth > 40) throw new ToolError(`${path}: Too many levels of symbolic links`);
  const absolute = path.startsWith("/") ? path : joinPath(await getcwd(process), path);
  let done = "";
  const parts = absolute.split("/").filter((part) => part !== "" && part !== ".");
  for (const [i, part] of parts.entries()) {
    if (part === "..") {
      done = done.slice(0, Math.max(done.lastIndexOf("/"), 0));
      continue;
    }
    const next = `${done}/${part}`;
    const status = await tryLstat(process, next);
    if (typeof status !== "number" && (status.st_mode & 0xf000) === 0xa000) {
      const target = await readLink(process, next);
      const base = target.startsWith("/") ? target : joinPath(done || "/", target);
      return canonicalPath(process, [base, ...parts.slice(i + 1)].join("/"), depth + 1);
    }
    done = next;
  }
  return done || "/";
}

export const which = tool({
  name: "which",
  usage: "which [-a] NAME...",
  options: "a",
  main: async (process, { options, operands }) => {
    let status = operands.length === 0 ? 1 : 0;
    for (const name of operands) {
      const found: string[] = [];
      const directories = name.includes("/") ? [""] : (process.env.get("PATH") ?? "/bin:/usr/bin").split(":");
      for (const directory of directories) {
        const path = directory === "" ? name : joinPath(directory, name);
        const file = await tryStat(process, path);
        if (typeof file !== "number" && isRegular(file) && (await accessible(process, path, 1)))
          found.push(path);
      }
      if (found.length === 0) status = 1;
      for (const path of options.has("a") ? found : found.slice(0, 1)) await process.stdout.writeLine(path);
    }
    return status;
  },
});

export const clear = tool({
  name: "clear",
  usage: "clear [-x]",
  options: "xT:V",
  main: async (process, { options }) => {
    await process.stdout.write(`\x1b[H\x1b[2J${options.has("x") ? "" : "\x1b[3J"}`);
    return 0;
  },
});

export const sync = tool({
  name: "sync",
  usage: "sync",
  options: "df",
  main: async (process) => {
    await process.call("sync");
    return 0;
  },
});

export const whoami = tool({
  name: "whoami",
  usage: "whoami",
  options: "",
  main: async (process) => {
    await process.stdout.writeLine((await readNames(process)).user(await process.trap(NR.geteuid)));
    return 0;
  },
});
