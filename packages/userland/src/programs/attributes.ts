/** touch(1), chmod(1), chown(1). */
import { ENOENT, NR, O } from "@alien-ts/abi";
import { readGroups, readUsers } from "../libc/accounts.ts";
import { parseDate } from "../libc/dates.ts";
import { listNames } from "../libc/directories.ts";
import { type SystemError, ToolError, UsageError, isErrno } from "../libc/errors.ts";
import {
  type FileTime,
  chmod as setMode,
  chown as setOwner,
  close,
  isDirectory,
  isSymlink,
  lstat,
  open,
  setTimes,
  stat,
} from "../libc/files.ts";
import type { Options } from "../libc/getopt.ts";
import { applyModeChange, formatMode } from "../libc/modes.ts";
import type { Process } from "../libc/process.ts";
import { joinPath } from "../libc/text.ts";
import { clockGetTime } from "../libc/time.ts";
import { forEachOperand, tool } from "../libc/tool.ts";

export const touch = tool({
  name: "touch",
  usage: "touch [-achm] [-d DATE] [-r FILE] [-t [[CC]YY]MMDDhhmm[.ss]] FILE...",
  options: "achmd:r:t:",
  long: { date: "d", "no-create": "c", reference: "r", "no-dereference": "h" },
  main: async (process, { options, operands }) => {
    if (operands.length === 0) throw new UsageError("missing file operand");
    const { access, modification } = await timesFor(process, options);
    const wanted = {
      access: options.has("m") && !options.has("a") ? ("omit" as const) : access,
      modification: options.has("a") && !options.has("m") ? ("omit" as const) : modification,
      follow: !options.has("h"),
    };
    const change = async (path: string): Promise<void> => {
      try {
        await setTimes(process, path, wanted);
      } catch (error) {
        if (!isErrno(error, ENOENT)) throw error;
        if (options.has("c") || options.has("h")) return;
        await close(process, await open(process, path, O.WRONLY | O.CREAT | O.CLOEXEC));
        if (typeof wanted.modification !== "string" || typeof wanted.access !== "string")
          await setTimes(process, path, wanted);
      }
    };
    return forEachOperand(
      process,
      "touch",
      operands,
      change,
      (error) => `cannot touch '${error.path ?? ""}': ${error.errno.message}`,
    );
  },
});

async function timesFor(
  process: Process,
  options: Options,
): Promise<{ access: FileTime; modification: FileTime }> {
  const reference = options.value("r");
  if (reference !== undefined) {
    const status = await stat(process, reference);
    return {
      access: { seconds: status.st_atime, nanoseconds: status.st_atime_nsec },
      modification: { seconds: status.st_mtime, nanoseconds: status.st_mtime_nsec },
    };
  }
  const text = options.value("d") ?? options.value("t");
  if (text === undefined) return { access: "now", modification: "now" };
  const time = parseDate(text, await clockGetTime(process));
  if (time === undefined) throw new ToolError(`invalid date format '${text}'`);
  return { access: time, modification: time };
}

/** Visits a path, and with `-R` what is below it. */
async function visit(
  process: Process,
  path: string,
  isRecursive: boolean,
  act: (path: string) => Promise<void>,
): Promise<void> {
  await act(path);
  if (!isRecursive) return;
  const status = await lstat(process, path);
  if (!isDirectory(status)) return;
  for (const name of await listNames(process, path)) {
    const inner = joinPath(path, name);
    if (!isSymlink(await lstat(process, inner))) await visit(process, inner, true, act);
  }
}

export const chmod = tool({
  name: "chmod",
  usage: "chmod [-cfRv] MODE[,MODE]... FILE...",
  options: "cfRvrwxXst",
  long: { changes: "c", quiet: "f", recursive: "R", silent: "f", verbose: "v", reference: "reference:" },
  raw: true,
  main: async (process, { words }) => {
    const { flags, change, files } = splitModeArguments(words);
    const umask = await process.trap(NR.umask, 0);
    await process.trap(NR.umask, umask);
    const act = async (path: string): Promise<void> => {
      const status = await stat(process, path);
      const mode = applyModeChange(change, { mode: status.st_mode, isDirectory: isDirectory(status), umask });
      if (mode === undefined) throw new ToolError(`invalid mode: '${change}'`);
      await setMode(process, path, mode);
      const isChanged = mode !== (status.st_mode & 0o7777);
      if (flags.has("v") || (flags.has("c") && isChanged)) {
        const octal = (bits: number): string =>
          `${(bits & 0o7777).toString(8).padStart(4, "0")} (${formatMode(bits).slice(1)})`;
        const text = isChanged
          ? `changed from ${octal(status.st_mode)} to ${octal(mode)}`
          : `retained as ${octal(mode)}`;
        await process.stdout.write(`mode of '${path}' ${text}\n`);
      }
    };
    return forEachOperand(
      process,
      "chmod",
      files,
      (path) => visit(process, path, flags.has("R"), act),
      (error) => `cannot access '${error.path ?? ""}': ${error.errno.message}`,
    );
  },
});

/** A mode such as `-x` looks like an option: options end at the first word that is none of chmod's own. */
function splitModeArguments(words: readonly string[]): {
  readonly flags: ReadonlySet<string>;
  readonly change: string;
  readonly files: readonly string[];
} {
  const flags = new Set<string>();
  let i = 0;
  for (; /^-[cfRv]+$/.test(words[i] ?? "") || words[i] === "--"; i++) {
    if (words[i] === "--") {
      i += 1;
      break;
    }
    for (const letter of words[i]!.slice(1)) flags.add(letter);
  }
  const change = words[i];
  const files = words.slice(i + 1);
  if (change === undefined) throw new UsageError("missing operand");
  if (/^-[^rwxXst]/.test(change)) throw new UsageError(`invalid option -- '${change[1]!}'`);
  if (applyModeChange(change, { mode: 0, isDirectory: false, umask: 0 }) === undefined) {
    throw new UsageError(`invalid mode: '${change}'`);
  }
  if (files.length === 0) throw new UsageError(`missing operand after '${change}'`);
  return { flags, change, files };
}

export const chown = tool({
  name: "chown",
  usage: "chown [-hR] OWNER[:GROUP] FILE...",
  options: "hR",
  long: { recursive: "R", "no-dereference": "h" },
  main: async (process, { options, operands }) => {
    const [owner, ...files] = operands;
    if (owner === undefined || files.length === 0) throw new UsageError("missing operand");
    const [user = "", group] = owner.split(/[:.]/);
    const uid =
      user === ""
        ? -1
        : await idOf(
            user,
            "user",
            await readUsers(process).then((all) => all.map(({ name, uid: id }) => ({ name, id }))),
          );
    const gid =
      group === undefined || group === ""
        ? -1
        : await idOf(
            group,
            "group",
            await readGroups(process).then((all) => all.map(({ name, gid: id }) => ({ name, id }))),
          );
    return forEachOperand(
      process,
      "chown",
      files,
      (path) => visit(process, path, options.has("R"), (each) => setOwner(process, each, uid, gid)),
      (error: SystemError) => `changing ownership of '${error.path ?? ""}': ${error.errno.message}`,
    );
  },
});

async function idOf(
  text: string,
  what: string,
  known: readonly { readonly name: string; readonly id: number }[],
): Promise<number> {
  const found = known.find(({ name }) => name === text);
  if (found !== undefined) return found.id;
  if (/^\d+$/.test(text)) return Promise.resolve(Number(text));
  throw new ToolError(`invalid ${what}: '${text}'`);
}
