/** Prompts: PS1 with the escapes `\u \h \H \w \W \$ \n \t \! \s \e \[ \]`, then parameter expansion, XCU 2.5.3. */
import { NR, new_utsname } from "@alien-ts/abi";
import { readNames } from "../libc/accounts.ts";
import { fill } from "../libc/structs.ts";
import { basename } from "../libc/text.ts";
import { clockGetTime, formatTime } from "../libc/time.ts";
import { expandText } from "./expand.ts";
import { parseQuoted } from "./parser.ts";
import type { Shell } from "./shell.ts";

export async function expandPrompt(shell: Shell, prompt: string): Promise<string> {
  const parts = prompt.split(/(\\[^])/);
  const shown: string[] = [];
  for (const part of parts) shown.push(part.startsWith("\\") ? await escape(shell, part[1]!) : part);
  return expandText(shell, parseQuoted(shown.join("")));
}

async function escape(shell: Shell, letter: string): Promise<string> {
  const { process, state } = shell;
  switch (letter) {
    case "u":
      return (await readNames(process)).user(await process.trap(NR.geteuid));
    case "h":
      return (await hostName(shell)).split(".")[0]!;
    case "H":
      return hostName(shell);
    case "w":
      return shortDirectory(shell);
    case "W":
      return basename(await shortDirectory(shell));
    case "$":
      return (await process.trap(NR.geteuid)) === 0 ? "#" : "\\$";
    case "t":
      return formatTime("%H:%M:%S", await clockGetTime(process));
    case "!":
      return String(shell.history.length + 1);
    case "n":
      return "\n";
    case "s":
      return basename(state.name);
    case "e":
      return "\x1b";
    case "[":
    case "]":
      return "";
    default:
      return letter;
  }
}

async function hostName({ process }: Shell): Promise<string> {
  const name = await fill(process, new_utsname, (addr) => process.trap(NR.uname, addr));
  return typeof name === "number" ? "localhost" : name.nodename;
}

/** The directory with `~` for the home directory. */
function shortDirectory({ state }: Shell): Promise<string> {
  const directory = state.get("PWD") ?? "?";
  const home = state.get("HOME") ?? "";
  const isBelow = home.length > 1 && (directory === home || directory.startsWith(`${home}/`));
  return Promise.resolve(isBelow ? `~${directory.slice(home.length)}` : directory);
}
