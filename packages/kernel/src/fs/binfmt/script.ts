/** `#!` scripts (Linux: fs/binfmt_script.c): the interpreter of the first line is run with the script's path as an argument. */
import { AT, ENOENT, ENOEXEC, isErr, type Result, s32 } from "@alien-ts/abi";
import type { Cx } from "../../core/cx.ts";
import { sleepingFn } from "../../core/row.ts";
import { settle } from "../../vfs/blocking.ts";
import { bytesOf, byteString } from "../../vfs/dentry.ts";
import { do_open_execat } from "../../vfs/open.ts";
import { type Bprm, bprmp } from "./binprm.ts";

/** What a first line asks for. */
export interface ScriptLine {
  readonly interpreter: string;
  /** All that follows the interpreter, as one argument. */
  readonly argument: string | undefined;
}

/**
 * The first line in the first 256 bytes of a file. Undefined (ENOEXEC): no `#!`, no interpreter, or its path may be cut off by the
 * end of the buffer.
 */
export function parseScriptLine(buf: Uint8Array): ScriptLine | undefined {
  const text = byteString(buf);
  if (!text.startsWith("#!")) return undefined;
  const nul = text.indexOf("\0");
  const visible = nul < 0 ? text : text.slice(0, nul);
  const newline = visible.indexOf("\n");
  const isCut = newline < 0 && nul < 0;
  const line = (newline < 0 ? visible : visible.slice(0, newline)).slice(2).replace(/^[ \t]+/, "");
  const end = line.search(/[ \t]/);
  if (isCut && end < 0) return undefined;
  const trimmed = line.replace(/[ \t]+$/, "");
  if (trimmed === "") return undefined;
  const match = /^([^ \t]+)[ \t]*(.*)$/s.exec(trimmed);
  const rest = match?.[2] ?? "";
  return { interpreter: match?.[1] ?? "", argument: rest === "" ? undefined : rest };
}

export const load_script = sleepingFn("load_script", [["bprm", bprmp]], s32, loadScript, {
  local: true,
  doc: "Replaces a script by its interpreter.",
});

function* loadScript(cx: Cx, bprm: Bprm): Generator<undefined, Result<number>, undefined> {
  const line = parseScriptLine(bprm.buf);
  if (line === undefined) return ENOEXEC;
  if (bprm.isPathInaccessible) return ENOENT;
  const file = yield* settle(do_open_execat(cx, AT.FDCWD, line.interpreter, 0));
  if (isErr(file)) return file;
  const given = [line.interpreter, ...(line.argument === undefined ? [] : [line.argument]), bprm.interp];
  bprm.setStrings([...given.map(bytesOf), ...bprm.args.slice(1)], bprm.environment);
  bprm.interp = line.interpreter;
  bprm.interpreter = file;
  return 0;
}
