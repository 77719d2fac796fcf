/** mkdir(1), rmdir(1). */
import { EEXIST, NR } from "@alien-ts/abi";
import { SystemError, ToolError, UsageError, isErrno } from "../libc/errors.ts";
import { chmod, isDirectory, mkdir as makeDirectory, rmdir as removeDirectory, stat } from "../libc/files.ts";
import { applyModeChange } from "../libc/modes.ts";
import type { Process } from "../libc/process.ts";
import { dirname } from "../libc/text.ts";
import { forEachOperand, tool } from "../libc/tool.ts";

export const mkdir = tool({
  name: "mkdir",
  usage: "mkdir [-pv] [-m MODE] DIRECTORY...",
  options: "pvm:",
  long: { mode: "m", parents: "p", verbose: "v" },
  main: async (process, { options, operands }) => {
    if (operands.length === 0) throw new UsageError("missing operand");
    const umask = await process.trap(NR.umask, 0);
    await process.trap(NR.umask, umask);
    const modeText = options.value("m");
    const mode =
      modeText === undefined
        ? undefined
        : applyModeChange(modeText, { mode: 0o777, isDirectory: true, umask });
    if (modeText !== undefined && mode === undefined) throw new ToolError(`invalid mode '${modeText}'`);
    const make = async (path: string): Promise<void> => {
      const made = options.has("p") ? await makeParents(process, path) : await makeOne(process, path);
      for (const each of made)
        if (options.has("v")) await process.stdout.write(`mkdir: created directory '${each}'\n`);
      if (mode !== undefined && made.includes(path)) await chmod(process, path, mode);
    };
    return forEachOperand(
      process,
      "mkdir",
      operands,
      make,
      (error) => `cannot create directory '${error.path ?? ""}': ${error.errno.message}`,
    );
  },
});

async function makeOne(process: Process, path: string): Promise<string[]> {
  await makeDirectory(process, path);
  return [path];
}

/** Makes what is missing of `path`; the directories made. */
async function makeParents(process: Process, path: string): Promise<string[]> {
  try {
    return await makeOne(process, path);
  } catch (error) {
    if (isErrno(error, EEXIST) && isDirectory(await stat(process, path))) return [];
    const parent = dirname(path);
    if (!(error instanceof SystemError) || error.errno.name !== "ENOENT" || parent === path) throw error;
    return [...(await makeParents(process, parent)), ...(await makeOne(process, path))];
  }
}

export const rmdir = tool({
  name: "rmdir",
  usage: "rmdir [-pv] DIRECTORY...",
  options: "pv",
  long: { parents: "p", verbose: "v", "ignore-fail-on-non-empty": "ignore" },
  main: async (process, { options, operands }) => {
    if (operands.length === 0) throw new UsageError("missing operand");
    const remove = async (path: string): Promise<void> => {
      if (options.has("v")) await process.stdout.write(`rmdir: removing directory, '${path}'\n`);
      await removeDirectory(process, path);
      const parent = dirname(path);
      if (options.has("p") && parent !== "." && parent !== "/") await remove(parent);
    };
    return forEachOperand(
      process,
      "rmdir",
      operands,
      remove,
      (error) => `failed to remove '${error.path ?? ""}': ${error.errno.message}`,
    );
  },
});
