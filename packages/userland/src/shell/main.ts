/**
 * sh(1): options, start-up files, and the loops that read commands from a string, a file, a pipe or a terminal.
 */
import { F, NR, SIG } from "@alien-ts/abi";
import { check, SystemError } from "../libc/errors.ts";
import { fstat, getcwd, isRegular, readFile } from "../libc/files.ts";
import type { Process } from "../libc/process.ts";
import { isIgnored, setSignal } from "../libc/signals.ts";
import { foregroundGroup, getTermios, isTerminal, setForegroundGroup } from "../libc/terminal.ts";
import { withBlock } from "../libc/structs.ts";
import { setOption } from "./builtins-variables.ts";
import { BUILTINS } from "./builtins.ts";
import { ExitControl } from "./control.ts";
import { LineEditor } from "./editor.ts";
import { loadHistory, saveHistory } from "./history.ts";
import { IncompleteError } from "./lexer.ts";
import { Parser, isName } from "./parser.ts";
import { expandPrompt } from "./prompt.ts";
import { FIRST_PRIVATE_FD } from "./redirect.ts";
import { Shell } from "./shell.ts";
import { DEFAULT_PATH } from "./simple.ts";
import { Traps } from "./traps.ts";
import { ShellError, ShellState } from "./variables.ts";

const USAGE =
  "sh [-abCefhimnuvxl] [-o option] [-c command [name [argument ...]] | -s [argument ...] | file [argument ...]]";

interface Invocation {
  readonly options: readonly (readonly [string, boolean])[];
  readonly command: string | undefined;
  readonly file: string | undefined;
  readonly name: string | undefined;
  readonly args: readonly string[];
  readonly isInteractive: boolean;
  readonly isLogin: boolean;
}

export async function shellMain(process: Process): Promise<number> {
  let invocation: Invocation;
  try {
    invocation = parseInvocation(process.argv);
  } catch (error) {
    if (!(error instanceof ShellError)) throw error;
    await process.stderr.write(`sh: ${error.message}\nUsage: ${USAGE}\n`);
    return 2;
  }
  const readsInput = invocation.command === undefined && invocation.file === undefined;
  const onTerminal = (await isTerminal(process, 0)) && (await isTerminal(process, 2));
  const interactive = invocation.isInteractive || (readsInput && onTerminal);
  const shell = await makeShell(process, invocation, interactive);
  return shell.runToExit(() => run(shell, invocation));
}

function parseInvocation(argv: readonly string[]): Invocation {
  const options: (readonly [string, boolean])[] = [];
  const flags = new Set<string>();
  let i = 1;
  for (; /^[-+]./.test(argv[i] ?? ""); i++) {
    const word = argv[i]!;
    if (word === "--") {
      i += 1;
      break;
    }
    for (const letter of word.slice(1)) {
      if ("csli".includes(letter)) flags.add(letter);
      else if (letter !== "h") options.push([letter, word.startsWith("-")]);
    }
  }
  const scratch = new ShellState();
  for (const [letter, on] of options) setOption(scratch, letter, on);
  const rest = argv.slice(argv[i] === "-" ? i + 1 : i);
  if (flags.has("c") && rest.length === 0) throw new ShellError("-c requires an argument");
  const command = flags.has("c") ? rest[0] : undefined;
  const file = flags.has("c") || flags.has("s") ? undefined : rest[0];
  const used = flags.has("s") ? 0 : 1;
  const name = flags.has("c") ? rest[1] : file;
  return {
    options,
    command,
    file,
    name,
    args: rest.slice(flags.has("c") ? used + 1 : used),
    isInteractive: flags.has("i"),
    isLogin: flags.has("l") || (argv[0] ?? "").startsWith("-"),
  };
}

async function makeShell(process: Process, invocation: Invocation, interactive: boolean): Promise<Shell> {
  const state = new ShellState();
  for (const [name, value] of process.env) {
    if (isName(name)) state.variables.set(name, { value, exported: true, readonly: false });
  }
  state.name = invocation.name ?? (process.argv[0] ?? "sh").replace(/^-/, "");
  state.positional = invocation.args;
  state.shellPid = await process.trap(NR.getpid);
  state.set("PPID", String(await process.trap(NR.getppid)));
  state.set("IFS", " \t\n");
  state.set("OPTIND", "1");
  if (state.get("PATH") === undefined) state.set("PATH", DEFAULT_PATH);
  state.set("PWD", await currentDirectory(process));
  state.export("PWD");
  const shell = new Shell({ process, state, traps: new Traps(), interactive, builtins: BUILTINS });
  for (const [letter, on] of invocation.options) setOption(shell.state, letter, on);
  await noteIgnoredSignals(shell);
  return shell;
}

/** Signals that are ignored now stay ignored in what the shell starts (XCU 2.11). */
async function noteIgnoredSignals(shell: Shell): Promise<void> {
  for (const signal of [SIG.INT, SIG.QUIT]) {
    if (await isIgnored(shell.process, signal)) shell.traps.actions.set(signal, "");
  }
}

async function currentDirectory(process: Process): Promise<string> {
  try {
    return await getcwd(process);
  } catch (error) {
    if (error instanceof SystemError) return "/";
    throw error;
  }
}

async function run(shell: Shell, invocation: Invocation): Promise<number> {
  if (shell.interactive) await beInteractive(shell);
  if (invocation.isLogin)
    await runStartupFiles(shell, ["/etc/profile", `${shell.state.get("HOME") ?? ""}/.profile`]);
  if (shell.interactive) await runStartupFiles(shell, [shell.state.get("ENV") ?? ""]);
  if (invocation.command !== undefined) return runScript(shell, invocation.command);
  if (invocation.file !== undefined) return runScript(shell, await readScript(shell, invocation.file));
  if (shell.interactive) return runInteractive(shell);
  return runInput(shell);
}

async function readScript(shell: Shell, path: string): Promise<string> {
  try {
    return await readFile(shell.process, path);
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    await shell.process.stderr.write(`sh: cannot open ${path}: ${error.errno.message}\n`);
    throw new ExitControl(127);
  }
}

async function runStartupFiles(shell: Shell, paths: readonly string[]): Promise<void> {
  for (const path of paths) {
    if (path === "") continue;
    try {
      await shell.runText(await readFile(shell.process, path));
    } catch (error) {
      if (error instanceof ExitControl) throw error;
      if (!(error instanceof SystemError)) await shell.reportError(error);
    }
  }
}

/** A script, line by line: what is wrong in a later line does not stop the lines before. */
async function runScript(shell: Shell, text: string): Promise<number> {
  const parser = new Parser(text, 0, shell.state.aliases);
  for (let list = parser.parseNext(); list !== undefined; list = parser.parseNext()) {
    if (shell.state.options.has("n")) continue;
    await shell.runList(list);
  }
  return shell.state.status;
}

/** Job control: the shell leads its own group, in the foreground of its terminal. */
async function beInteractive(shell: Shell): Promise<void> {
  const { process } = shell;
  await shell.traps.beInteractive(process);
  const copy = await process.trap(NR.fcntl, 0, F.DUPFD_CLOEXEC, FIRST_PRIVATE_FD);
  let foreground = await foregroundGroup(process, copy);
  if (foreground < 0) return;
  for (let group = await process.trap(NR.getpgid, 0); foreground !== group;) {
    check(await process.trap(NR.kill, -group, SIG.TTIN), "kill");
    group = await process.trap(NR.getpgid, 0);
    foreground = await foregroundGroup(process, copy);
  }
  for (const signal of [SIG.TSTP, SIG.TTIN, SIG.TTOU]) await setSignal(process, signal, "ignore");
  const pid = await process.trap(NR.getpid);
  await process.trap(NR.setpgid, 0, pid);
  await setForegroundGroup(process, copy, pid);
  shell.jobs.terminal = { fd: copy, group: pid, modes: await getTermios(process, copy) };
  shell.state.options.add("m");
}

const DEFAULT_PS1 = "\\u@\\h:\\w\\$ ";

async function runInteractive(shell: Shell): Promise<number> {
  const editor = new LineEditor(shell);
  shell.history = await loadHistory(shell);
  try {
    for (;;) {
      await shell.jobs.report();
      if (!(await runOneEntry(shell, editor))) break;
    }
    await shell.process.stderr.write("exit\n");
    return shell.state.status;
  } finally {
    await saveHistory(shell);
  }
}

/** Reads and runs one entry; false at the end of the input. */
async function runOneEntry(shell: Shell, editor: LineEditor): Promise<boolean> {
  try {
    const text = await readEntry(shell, editor);
    if (text === undefined) return false;
    if (text.trim() !== "") await shell.runText(text);
    await shell.flush();
  } catch (error) {
    if (error instanceof ExitControl) throw error;
    shell.state.status = await shell.reportError(error);
    shell.loopDepth = 0;
  }
  return true;
}

/** Lines until they make complete commands. */
async function readEntry(shell: Shell, editor: LineEditor): Promise<string | undefined> {
  let text = "";
  for (;;) {
    const prompt = text === "" ? (shell.state.get("PS1") ?? DEFAULT_PS1) : (shell.state.get("PS2") ?? "> ");
    const line = await editor.readLine(await expandPrompt(shell, prompt));
    if (line === undefined) {
      if (text === "") return undefined;
      throw new ShellError("syntax error: unexpected end of file");
    }
    text += `${line}\n`;
    if (isComplete(shell, text)) {
      editor.remember(text.trim());
      return text;
    }
  }
}

function isComplete(shell: Shell, text: string): boolean {
  try {
    new Parser(text, 0, shell.state.aliases).script();
    return true;
  } catch (error) {
    return !(error instanceof IncompleteError);
  }
}

/** Commands from a pipe or a redirected file, read line by line so that commands may read the rest. */
async function runInput(shell: Shell): Promise<number> {
  const { process } = shell;
  const isFile = isRegular(await fstat(process, 0));
  let text = "";
  for (;;) {
    const line = await readInputLine(process, isFile);
    if (line === undefined) break;
    text += line;
    if (!line.endsWith("\n") || isComplete(shell, text)) {
      const chunk = text;
      text = "";
      await runScript(shell, chunk);
    }
  }
  if (text !== "") await runScript(shell, text);
  return shell.state.status;
}

/** A line that leaves the offset after it: a file is sought back, from a pipe bytes are read one by one. */
async function readInputLine(process: Process, isFile: boolean): Promise<string | undefined> {
  const size = isFile ? 512 : 1;
  return withBlock(process, size, async (buffer) => {
    let line = "";
    for (;;) {
      const got = await process.trap(NR.read, 0, buffer, size);
      if (got === -4) continue;
      if (check(got, "read") === 0) return line === "" ? undefined : line;
      const bytes = process.memory.read(buffer, got);
      const newline = bytes.indexOf(10);
      line += String.fromCharCode(...(newline < 0 ? bytes : bytes.subarray(0, newline + 1)));
      if (newline < 0) continue;
      if (newline + 1 < got) await process.trap(NR.lseek, 0, newline + 1 - got, 1);
      return line;
    }
  });
}
