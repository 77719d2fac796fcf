/**
 * Commands that run in child processes of the shell: stages of pipelines, subshells, background commands, substitutions.
 *
 * Every child gets `shell.inChild(process)`, which is made *before* the child starts, so that what the parent does next is
 * not seen. With job control the children of a job form a process group, which parent and child both set: whichever comes
 * first wins.
 */
import { NR, O, SIG } from "@alien-ts/abi";
import { startChild, waitFor } from "../libc/children.ts";
import { close, open, pipe } from "../libc/files.ts";
import type { Process } from "../libc/process.ts";
import { setSignal } from "../libc/signals.ts";
import { Stream } from "../libc/stdio.ts";
import { setForegroundGroup } from "../libc/terminal.ts";
import type { AndOrNode, CommandNode, CompoundNode, ListNode, PipelineNode } from "./ast.ts";
import type { Shell } from "./shell.ts";

/** Signals that an interactive shell ignores, and its jobs do not. */
const JOB_SIGNALS = [SIG.QUIT, SIG.TERM, SIG.TSTP, SIG.TTIN, SIG.TTOU];

export interface JobPlace {
  /** Group to join; 0 makes a new one. Undefined without job control. */
  readonly group: number | undefined;
  readonly foreground: boolean;
  /** Without job control: ignores the keyboard's signals and reads nothing. */
  readonly detached?: boolean;
}

/** What a child does first to become part of a job. */
export async function joinJob(shell: Shell, child: Process, place: JobPlace): Promise<void> {
  const { terminal } = shell.jobs;
  if (place.group !== undefined) {
    await child.trap(NR.setpgid, 0, place.group);
    const group = place.group === 0 ? await child.trap(NR.getpid) : place.group;
    if (place.foreground && terminal !== undefined) await setForegroundGroup(child, terminal.fd, group);
  }
  if (shell.interactive) {
    for (const signal of JOB_SIGNALS) {
      if (shell.traps.actions.get(signal) !== "") await setSignal(child, signal, "default");
    }
  }
}

/** The group in which a new job of this shell starts. */
export const newGroup = (shell: Shell): number | undefined => (shell.state.options.has("m") ? 0 : undefined);

/** Starts a child that runs `body` with a shell of its own. */
async function startShell(
  shell: Shell,
  place: JobPlace,
  body: (child: Shell) => Promise<number>,
): Promise<number> {
  const snapshot = shell.inChild(shell.process);
  const pid = await startChild(shell.process, async (process) => {
    await joinJob(shell, process, place);
    const child = snapshot.inChild(process);
    return child.runToExit(() => body(child));
  });
  if (place.group !== undefined)
    await shell.process.trap(NR.setpgid, pid, place.group === 0 ? pid : place.group);
  return pid;
}

/** A pipeline in the foreground. One command alone runs in the shell itself. */
export async function runPipeline(shell: Shell, node: PipelineNode): Promise<number> {
  const [first] = node.commands;
  if (node.commands.length === 1 && first !== undefined) return shell.runCommand(first);
  const group = newGroup(shell);
  const pids = await startStages(shell, node.commands, { group, foreground: true });
  return shell.runForeground(pids[0] ?? 0, pids, node.source);
}

async function startStages(
  shell: Shell,
  commands: readonly CommandNode[],
  place: JobPlace,
): Promise<number[]> {
  const pids: number[] = [];
  let input = -1;
  let { group } = place;
  for (const [index, command] of commands.entries()) {
    const [read, write] = index < commands.length - 1 ? await pipe(shell.process) : [-1, -1];
    const source = input;
    const pid = await startShell(shell, { ...place, group }, async (child) => {
      if (place.detached === true) await detachFromTerminal(child.process, index === 0);
      await moveDescriptor(child.process, source, 0);
      await moveDescriptor(child.process, write, 1);
      if (read >= 0) await close(child.process, read);
      return child.runCommand(command, { isLast: true });
    });
    pids.push(pid);
    if (group === 0) group = pid;
    for (const fd of [source, write]) if (fd >= 0) await close(shell.process, fd);
    input = read;
  }
  return pids;
}

async function moveDescriptor(process: Process, from: number, to: number): Promise<void> {
  if (from < 0 || from === to) return;
  await process.trap(NR.dup3, from, to, 0);
  await close(process, from);
}

/** `( … )` */
export async function runSubshell(
  shell: Shell,
  node: Extract<CompoundNode, { kind: "subshell" }>,
  isLast: boolean,
): Promise<number> {
  const run = (child: Shell): Promise<number> =>
    child.withRedirects(node.redirects, () => child.runList(node.body));
  if (isLast) return run(shell);
  const pid = await startShell(shell, { group: newGroup(shell), foreground: true }, run);
  return shell.runForeground(pid, [pid], "( … )");
}

/** `… &`: 0; `$!` is the pid of its last process. */
export async function startBackground(shell: Shell, node: AndOrNode): Promise<number> {
  await shell.flush();
  const group = newGroup(shell);
  const place: JobPlace = { group, foreground: false, detached: group === undefined };
  const isPipeline = node.rest.length === 0 && !node.first.negated;
  let pids: number[];
  if (isPipeline && node.first.commands.length > 1) {
    pids = await startStages(shell, node.first.commands, place);
  } else {
    const [single] = node.first.commands;
    const pid = await startShell(shell, place, async (child) => {
      if (place.detached === true) await detachFromTerminal(child.process, true);
      if (isPipeline && single !== undefined) return child.runCommand(single, { isLast: true });
      return child.runList({ kind: "list", items: [{ command: node, background: false }] });
    });
    pids = [pid];
  }
  const job = shell.jobs.addBackground(pids[0] ?? 0, pids, node.source);
  shell.state.lastBackground = pids.at(-1) ?? 0;
  if (shell.interactive) await shell.process.stderr.write(`[${job.id}] ${shell.state.lastBackground}\n`);
  return 0;
}

/** XCU 2.11: without job control a background command ignores the keyboard's signals and reads nothing. */
async function detachFromTerminal(process: Process, isFirst: boolean): Promise<void> {
  await setSignal(process, SIG.INT, "ignore");
  await setSignal(process, SIG.QUIT, "ignore");
  if (!isFirst) return;
  const fd = await open(process, "/dev/null", O.RDONLY | O.CLOEXEC);
  await moveDescriptor(process, fd, 0);
}

/** `$( … )` */
export async function substituteCommand(shell: Shell, body: ListNode): Promise<string> {
  const [read, write] = await pipe(shell.process);
  const pid = await startShell(shell, { group: undefined, foreground: false }, async (child) => {
    await close(child.process, read);
    await moveDescriptor(child.process, write, 1);
    const [only] = body.items;
    const isSingle = body.items.length === 1 && only !== undefined && !only.background;
    const [command] = isSingle && only.command.rest.length === 0 ? only.command.first.commands : [];
    const isPlain = command !== undefined && only?.command.first.commands.length === 1;
    if (isPlain && !only?.command.first.negated) return child.runCommand(command, { isLast: true });
    return child.runList(body);
  });
  await close(shell.process, write);
  const stream = new Stream(shell.process, read);
  const text = await stream.readAll();
  await stream.close();
  const status = await waitFor(shell.process, pid);
  shell.substitutionStatus = status;
  return text.replace(/\0/g, "").replace(/\n+$/, "");
}
