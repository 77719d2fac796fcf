/** cp(1), mv(1), ln(1): one source to a name, or many into a directory. */
import { ENOENT, EXDEV } from "@alien-ts/abi";
import { copyPath } from "../libc/copy.ts";
import { SystemError, ToolError, UsageError, errnoOf } from "../libc/errors.ts";
import {
  accessible,
  isDirectory,
  link,
  lstat,
  rmdir,
  symlink,
  tryLstat,
  tryRename,
  tryStat,
  unlink,
} from "../libc/files.ts";
import { listNames } from "../libc/directories.ts";
import type { Options } from "../libc/getopt.ts";
import type { Process } from "../libc/process.ts";
import { isTerminal } from "../libc/terminal.ts";
import { basename, joinPath } from "../libc/text.ts";
import { complain, tool } from "../libc/tool.ts";

interface Pair {
  readonly from: string;
  readonly to: string;
}

/** The operands as pairs: `A B`, or `A… DIRECTORY`. */
async function pairsOf(process: Process, options: Options, operands: readonly string[]): Promise<Pair[]> {
  const directory = options.value("t");
  const sources = directory === undefined ? operands.slice(0, -1) : operands;
  const target = directory ?? operands.at(-1);
  if (target === undefined || operands.length === 0) throw new UsageError("missing file operand");
  if (sources.length === 0) throw new UsageError(`missing destination file operand after '${target}'`);
  const status = await tryStat(process, target);
  const isDir = typeof status !== "number" && isDirectory(status);
  if (!options.has("T") && isDir)
    return sources.map((from) => ({ from, to: joinPath(target, basename(from)) }));
  if (
    sources.length > 1 ||
    directory !== undefined ||
    (target.endsWith("/") && typeof status === "number" && !options.has("r"))
  ) {
    throw new ToolError(`target '${target}' is not a directory`);
  }
  return [{ from: sources[0]!, to: target }];
}

/** Runs `act` for every pair, telling of failures. */
async function forEachPair(
  process: Process,
  name: string,
  pairs: readonly Pair[],
  act: (pair: Pair) => Promise<void>,
  describe: (error: SystemError, pair: Pair) => string,
): Promise<number> {
  let status = 0;
  for (const pair of pairs) {
    try {
      await act(pair);
    } catch (error) {
      if (error instanceof ToolError) await complain(process, name, error.message);
      else if (error instanceof SystemError && error.call !== "write")
        await complain(process, name, describe(error, pair));
      else throw error;
      status = 1;
    }
  }
  return status;
}

/** `-i` and `-n`: whether an existing target may be replaced. */
async function mayReplace(process: Process, name: string, options: Options, { to }: Pair): Promise<boolean> {
  const choice = options.last("f", "i", "n");
  if (choice !== "i" && choice !== "n") return true;
  if (typeof (await tryLstat(process, to)) === "number") return true;
  if (choice === "n") return false;
  await process.stderr.write(`${name}: overwrite '${to}'? `);
  return /^[yY]/.test((await process.stdin.readLine()) ?? "");
}

export const cp = tool({
  name: "cp",
  usage: "cp [-adfHiLnPpRrTv] [-t DIRECTORY] SOURCE... DESTINATION",
  options: "adfHiLnPpRrTvt:",
  long: {
    archive: "a",
    force: "f",
    recursive: "R",
    verbose: "v",
    "no-clobber": "n",
    interactive: "i",
    "target-directory": "t",
    "no-target-directory": "T",
  },
  main: async (process, { options, operands }) => {
    const has = (...letters: readonly string[]): boolean => letters.some((letter) => options.has(letter));
    const tell = async (from: string, to: string): Promise<void> =>
      process.stdout.write(`'${from}' -> '${to}'\n`);
    const settings = {
      recursive: has("a", "r", "R"),
      preserve: has("a", "p"),
      keepLinks: options.last("L", "P", "H", "d", "a") !== "L" && has("P", "d", "a", "r", "R") && !has("H"),
      force: has("f"),
      ...(has("v") && { onCopy: tell }),
    };
    const act = async (pair: Pair): Promise<void> => {
      if (await mayReplace(process, "cp", options, pair))
        await copyPath(process, pair.from, pair.to, settings);
    };
    const describe = (error: SystemError, { from, to }: Pair): string =>
      error.path === from && error.call !== "open"
        ? `cannot stat '${from}': ${error.errno.message}`
        : error.path === to
          ? `cannot create regular file '${to}': ${error.errno.message}`
          : `cannot open '${error.path ?? from}' for reading: ${error.errno.message}`;
    return forEachPair(process, "cp", await pairsOf(process, options, operands), act, describe);
  },
});

export const mv = tool({
  name: "mv",
  usage: "mv [-finTv] [-t DIRECTORY] SOURCE... DESTINATION",
  options: "finTvt:",
  long: {
    force: "f",
    interactive: "i",
    "no-clobber": "n",
    verbose: "v",
    "target-directory": "t",
    "no-target-directory": "T",
  },
  main: async (process, { options, operands }) => {
    const act = async (pair: Pair): Promise<void> => {
      await lstat(process, pair.from);
      if (
        !(await mayReplace(process, "mv", options, pair)) ||
        !(await confirmProtected(process, options, pair))
      )
        return;
      await move(process, pair);
      if (options.has("v")) await process.stdout.write(`renamed '${pair.from}' -> '${pair.to}'\n`);
    };
    const describe = (error: SystemError, { from, to }: Pair): string =>
      error.call === "rename"
        ? `cannot move '${from}' to '${to}': ${error.errno.message}`
        : `cannot stat '${from}': ${error.errno.message}`;
    return forEachPair(process, "mv", await pairsOf(process, options, operands), act, describe);
  },
});

async function confirmProtected(process: Process, options: Options, { to }: Pair): Promise<boolean> {
  if (options.has("f") || typeof (await tryStat(process, to)) === "number") return true;
  if ((await accessible(process, to, 2)) || !(await isTerminal(process, 0))) return true;
  await process.stderr.write(`mv: replace '${to}', overriding mode? `);
  return /^[yY]/.test((await process.stdin.readLine()) ?? "");
}

/** rename(2), or a copy where the target is on another file system. */
async function move(process: Process, { from, to }: Pair): Promise<void> {
  const result = await tryRename(process, from, to);
  if (result >= 0) return;
  if (result !== -EXDEV.number) throw new SystemError("rename", errnoOf(result), to);
  await copyPath(process, from, to, { recursive: true, preserve: true, keepLinks: true, force: true });
  await removeTree(process, from);
}

async function removeTree(process: Process, path: string): Promise<void> {
  if (!isDirectory(await lstat(process, path))) return unlink(process, path);
  for (const name of await listNames(process, path)) await removeTree(process, joinPath(path, name));
  await rmdir(process, path);
}

export const ln = tool({
  name: "ln",
  usage: "ln [-fiLnPsTv] [-t DIRECTORY] TARGET... LINK_NAME",
  options: "fiLnPsTvt:",
  long: { force: "f", symbolic: "s", verbose: "v", "no-dereference": "n", "target-directory": "t" },
  main: async (process, { options, operands }) => {
    const act = async ({ from, to }: Pair): Promise<void> => {
      if (options.has("f")) await removeOld(process, to);
      if (options.has("s")) await symlink(process, from, to);
      else await link(process, from, to, options.has("L"));
      if (options.has("v"))
        await process.stdout.write(`'${to}' ${options.has("s") ? "->" : "=>"} '${from}'\n`);
    };
    const describe = (error: SystemError, { from, to }: Pair): string =>
      options.has("s") || error.errno !== ENOENT
        ? `failed to create ${options.has("s") ? "symbolic" : "hard"} link '${to}': ${error.errno.message}`
        : `failed to access '${from}': ${error.errno.message}`;
    return forEachPair(process, "ln", await linkPairs(process, options, operands), act, describe);
  },
});

async function removeOld(process: Process, path: string): Promise<void> {
  const status = await tryLstat(process, path);
  if (typeof status !== "number" && !isDirectory(status)) await unlink(process, path);
}

async function linkPairs(process: Process, options: Options, operands: readonly string[]): Promise<Pair[]> {
  const [only] = operands;
  if (operands.length === 1 && only !== undefined && !options.has("t"))
    return [{ from: only, to: basename(only) }];
  const target = operands.at(-1);
  if (options.has("n") && operands.length === 2 && target !== undefined) {
    const status = await tryLstat(process, target);
    if (typeof status !== "number" && !isDirectory(status)) return [{ from: operands[0]!, to: target }];
  }
  return pairsOf(process, options, operands);
}
