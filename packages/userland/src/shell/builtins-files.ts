/** Builtins for the directory, the file mode mask, and reading lines. */
import { EINTR, NR } from "@alien-ts/abi";
import { SystemError, check, errnoOf, failed } from "../libc/errors.ts";
import { chdir, getcwd, isDirectory, tryStat } from "../libc/files.ts";
import { applyModeChange, formatSymbolicMask } from "../libc/modes.ts";
import { withBlock } from "../libc/structs.ts";
import { joinPath } from "../libc/text.ts";
import { readOptions } from "./builtins-control.ts";
import { splitForRead } from "./expand.ts";
import type { Shell } from "./shell.ts";
import { ShellError } from "./variables.ts";

/** A path with `.` and `..` resolved by name, as `cd -L` does. */
function normalize(path: string): string {
  const parts: string[] = [];
  for (const part of path.split("/")) {
    if (part === "" || part === ".") continue;
    if (part === "..") parts.pop();
    else parts.push(part);
  }
  return `/${parts.join("/")}`;
}

export async function cd(shell: Shell, words: readonly string[]): Promise<number> {
  const { state, process } = shell;
  const { options, operands } = readOptions("LP", words);
  if (operands.length > 1) throw new ShellError("too many arguments", 1);
  const target = operands[0] ?? state.get("HOME");
  if (target === undefined) throw new ShellError("HOME not set", 1);
  const isBack = target === "-";
  const wanted = isBack ? state.get("OLDPWD") : target;
  if (wanted === undefined) throw new ShellError("OLDPWD not set", 1);
  const found = await searchCdPath(shell, wanted);
  const old = state.get("PWD") ?? (await getcwd(process));
  const isPhysical = options.last("L", "P") === "P";
  const logical = normalize(joinPath(found.startsWith("/") ? "" : `${old}/`, found));
  await changeTo(shell, isPhysical ? found : logical, wanted);
  state.set("OLDPWD", old);
  state.set("PWD", isPhysical ? await getcwd(process) : logical);
  state.export("PWD");
  state.export("OLDPWD");
  if (isBack || found !== wanted) await process.stdout.writeLine(state.get("PWD") ?? "");
  return 0;
}

async function changeTo(shell: Shell, path: string, wanted: string): Promise<void> {
  try {
    await chdir(shell.process, path);
  } catch (error) {
    if (error instanceof SystemError) throw new ShellError(`${wanted}: ${error.errno.message}`, 1);
    throw error;
  }
}

async function searchCdPath(shell: Shell, target: string): Promise<string> {
  const path = shell.state.get("CDPATH");
  if (path === undefined || /^(\/|\.\.?(\/|$))/.test(target)) return target;
  for (const directory of path.split(":")) {
    if (directory === "") continue;
    const candidate = joinPath(directory, target);
    const status = await tryStat(shell.process, candidate);
    if (typeof status !== "number" && isDirectory(status)) return candidate;
  }
  return target;
}

export async function pwd(shell: Shell, words: readonly string[]): Promise<number> {
  const { options } = readOptions("LP", words);
  const logical = options.last("L", "P") === "P" ? undefined : shell.state.get("PWD");
  await shell.process.stdout.writeLine(logical ?? (await getcwd(shell.process)));
  return 0;
}

export async function umask(shell: Shell, words: readonly string[]): Promise<number> {
  const { process } = shell;
  const { options, operands } = readOptions("S", words);
  const current = check(await process.trap(NR.umask, 0), "umask");
  let mask = current;
  const [text] = operands;
  if (text !== undefined) {
    const mode = applyModeChange(text, { mode: ~current & 0o777, isDirectory: false, umask: 0 });
    mask = /^\d+$/.test(text) ? (mode ?? -1) : mode === undefined ? -1 : ~mode & 0o777;
  }
  await process.trap(NR.umask, mask < 0 ? current : mask);
  if (mask < 0) throw new ShellError(`Illegal mode: ${text ?? ""}`);
  if (text === undefined) {
    const shown = options.has("S") ? formatSymbolicMask(current) : current.toString(8).padStart(4, "0");
    await process.stdout.writeLine(shown);
  }
  return 0;
}

/** Reads a line byte by byte, so that what follows it stays for others; a backslash joins lines unless `-r`. */
export async function read(shell: Shell, words: readonly string[]): Promise<number> {
  const { options, operands } = readOptions("rp:", words);
  if (options.has("p")) await shell.process.stderr.write(options.value("p") ?? "");
  const { line, ended } = await readInputLine(shell, options.has("r"));
  const names = operands.length > 0 ? operands : ["REPLY"];
  const ifs = shell.state.get("IFS") ?? " \t\n";
  const fields = operands.length > 0 ? splitForRead(line, ifs, names.length) : [line];
  names.forEach((name, i) => shell.state.set(name, fields[i] ?? ""));
  return ended ? 1 : 0;
}

async function readInputLine(shell: Shell, isRaw: boolean): Promise<{ line: string; ended: boolean }> {
  return withBlock(shell.process, 16, async (buffer) => {
    let line = "";
    for (;;) {
      const char = await readByte(shell, buffer);
      if (char === undefined) return { line, ended: true };
      if (char === "\n") return { line, ended: false };
      if (char !== "\\" || isRaw) {
        line += char;
        continue;
      }
      const next = await readByte(shell, buffer);
      if (next === undefined) return { line, ended: true };
      if (next !== "\n") line += next;
    }
  });
}

async function readByte(shell: Shell, buffer: number): Promise<string | undefined> {
  for (;;) {
    const got = await shell.process.trap(NR.read, 0, buffer, 1);
    if (got === -EINTR.number) {
      await shell.runPendingTraps();
      continue;
    }
    if (failed(got)) throw new SystemError("read", errnoOf(got), "read error");
    return got === 0 ? undefined : String.fromCharCode(shell.process.memory.readU8(buffer));
  }
}
