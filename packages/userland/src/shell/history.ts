/** The history file: `$HISTFILE`, or `~/.sh_history`; at most `$HISTSIZE` entries, one per line. */
import { O } from "@alien-ts/abi";
import { SystemError } from "../libc/errors.ts";
import { openOutput, readFile } from "../libc/files.ts";
import { linesOf } from "../libc/text.ts";
import type { Shell } from "./shell.ts";

const DEFAULT_SIZE = 500;

function historyFile({ state }: Shell): string | undefined {
  const home = state.get("HOME");
  return state.get("HISTFILE") ?? (home === undefined ? undefined : `${home}/.sh_history`);
}

/** The entries of earlier sessions; none where there is no file. */
export async function loadHistory(shell: Shell): Promise<string[]> {
  const path = historyFile(shell);
  if (path === undefined) return [];
  try {
    return linesOf(await readFile(shell.process, path));
  } catch (error) {
    if (error instanceof SystemError) return [];
    throw error;
  }
}

/** Writes the history; a home that cannot be written to has none. */
export async function saveHistory(shell: Shell): Promise<void> {
  const path = historyFile(shell);
  if (path === undefined || shell.history.length === 0) return;
  const size = Number(shell.state.get("HISTSIZE") ?? DEFAULT_SIZE) || DEFAULT_SIZE;
  const entries = shell.history.slice(-size).map((entry) => entry.replace(/\n/g, " "));
  try {
    const file = await openOutput(shell.process, path, O.TRUNC);
    await file.write(`${entries.join("\n")}\n`);
    await file.close();
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
  }
}
