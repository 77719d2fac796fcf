/**
 * Simple commands, XCU 2.9.1: assignments, redirections, and what the name stands for: a special builtin, a function, a
 * builtin, a program.
 */
import { ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR, type Errno, NR } from "@alien-ts/abi";
import { execFromPath, startChild } from "../libc/children.ts";
import { SystemError, errnoOf } from "../libc/errors.ts";
import type { Process } from "../libc/process.ts";
import type { Assignment, CompoundNode, SimpleNode } from "./ast.ts";
import type { Builtin } from "./builtin.ts";
import { ExitControl, ReturnControl } from "./control.ts";
import { expandFields, expandText } from "./expand.ts";
import {
  type ResolvedRedirect,
  type SavedDescriptor,
  applyRedirects,
  resolveRedirects,
  restoreDescriptors,
} from "./redirect.ts";
import type { Shell } from "./shell.ts";
import { joinJob, newGroup } from "./subshell.ts";
import { ShellError, type Variable } from "./variables.ts";

export const DEFAULT_PATH = "/bin:/sbin:/usr/bin:/usr/sbin";

/** `$?`. With `isLast` a program replaces this process. */
export async function runSimple(shell: Shell, node: SimpleNode, isLast: boolean): Promise<number> {
  const { state } = shell;
  state.line = node.line;
  shell.substitutionStatus = undefined;
  const words = await expandFields(shell, node.words);
  const [name] = words;
  if (name === undefined) return runAssignments(shell, node);
  if (state.options.has("x")) await trace(shell, node, words);
  const builtin = shell.builtins.get(name);
  const body = state.functions.get(name);
  if (builtin?.special === true) return runSpecial(shell, builtin, node, words);
  if (body !== undefined || builtin !== undefined) {
    return withAssignments(shell, node.assignments, () =>
      shell.withRedirects(node.redirects, async () => {
        if (body !== undefined) return runFunction(shell, body, words);
        return builtin === undefined ? 127 : runBuiltin(shell, builtin, words);
      }),
    );
  }
  const env = state.environment();
  for (const { name: variable, value } of node.assignments) {
    env.set(variable, await expandText(shell, value, { assignment: true }));
  }
  return runProgram(shell, { words, env, redirects: await resolveRedirects(shell, node.redirects) }, isLast);
}

/** No command name: the assignments are the shell's own. */
async function runAssignments(shell: Shell, node: SimpleNode): Promise<number> {
  if (shell.state.options.has("x")) await trace(shell, node, []);
  const result = await shell.withRedirects(node.redirects, () => Promise.resolve(0));
  await assign(shell, node.assignments);
  return result === 0 ? (shell.substitutionStatus ?? 0) : result;
}

async function assign(shell: Shell, assignments: readonly Assignment[]): Promise<void> {
  for (const { name, value } of assignments) {
    shell.state.set(name, await expandText(shell, value, { assignment: true }));
  }
}

/** Runs `body` with assignments that are exported, and undone afterwards. */
async function withAssignments(
  shell: Shell,
  assignments: readonly Assignment[],
  body: () => Promise<number>,
): Promise<number> {
  const { state } = shell;
  const hidden: [string, Variable | undefined][] = [];
  try {
    for (const { name, value } of assignments) {
      const text = await expandText(shell, value, { assignment: true });
      hidden.push([name, state.variables.get(name)]);
      state.set(name, text);
      state.export(name);
    }
    return await body();
  } finally {
    for (const [name, old] of hidden.toReversed()) restoreVariable(shell, name, old);
  }
}

function restoreVariable(shell: Shell, name: string, old: Variable | undefined): void {
  if (old === undefined) shell.state.variables.delete(name);
  else shell.state.variables.set(name, old);
}

/** A special builtin's assignments stay, and its redirections too where it is `exec`. */
async function runSpecial(
  shell: Shell,
  builtin: Builtin,
  node: SimpleNode,
  words: readonly string[],
): Promise<number> {
  await assign(shell, node.assignments);
  if (words[0] !== "exec") {
    return shell.withRedirects(node.redirects, () => runBuiltin(shell, builtin, words));
  }
  const redirects = await resolveRedirects(shell, node.redirects);
  await shell.flush();
  const saved: SavedDescriptor[] = [];
  try {
    await applyRedirects(shell.process, redirects, { noclobber: shell.state.options.has("C"), saved });
  } catch (error) {
    await restoreDescriptors(shell.process, saved);
    const status = await shell.redirectFailed(error);
    if (!shell.interactive) throw new ExitControl(status);
    return status;
  }
  for (const { copy } of saved) if (copy >= 0) await shell.process.trap(NR.close, copy);
  return runBuiltin(shell, builtin, words);
}

async function runBuiltin(shell: Shell, builtin: Builtin, words: readonly string[]): Promise<number> {
  try {
    const status = await builtin.run(shell, words);
    return (await shell.flush()) || status !== 0 ? status : 1;
  } catch (error) {
    if (error instanceof SystemError) {
      await shell.complain(`${words[0]}: ${error.message}`);
      return 1;
    }
    if (error instanceof ShellError && (shell.interactive || builtin.special !== true)) {
      await shell.complain(`${words[0]}: ${error.message}`);
      return error.status;
    }
    if (error instanceof ShellError) throw new ShellError(`${words[0]}: ${error.message}`, error.status);
    throw error;
  }
}

async function runFunction(shell: Shell, body: CompoundNode, words: readonly string[]): Promise<number> {
  const { state } = shell;
  const saved = state.positional;
  const { loopDepth } = shell;
  state.positional = words.slice(1);
  shell.loopDepth = 0;
  shell.locals.push(new Map());
  if (shell.locals.length > 500) throw new ShellError(`${words[0]}: maximum function nesting level exceeded`);
  try {
    return await shell.runCommand(body);
  } catch (error) {
    if (error instanceof ReturnControl) return error.status;
    throw error;
  } finally {
    for (const [name, old] of shell.locals.pop() ?? []) restoreVariable(shell, name, old);
    state.positional = saved;
    shell.loopDepth = loopDepth;
  }
}

export interface ProgramCall {
  readonly words: readonly string[];
  readonly env: ReadonlyMap<string, string>;
  readonly redirects: readonly ResolvedRedirect[];
}

async function runProgram(shell: Shell, call: ProgramCall, isLast: boolean): Promise<number> {
  await shell.flush();
  if (isLast && shell.traps.actions.size === 0) return becomeProgram(shell, shell.process, call);
  const group = newGroup(shell);
  const pid = await startChild(
    shell.process,
    async (child) => {
      await joinJob(shell, child, { group, foreground: true });
      return becomeProgram(shell, child, call);
    },
    { vfork: true },
  );
  if (group !== undefined) await shell.process.trap(NR.setpgid, pid, pid);
  return shell.runForeground(pid, [pid], call.words.join(" "));
}

/** XCU 2.8.2: 127 where there is no such program, 126 where there is one that cannot be executed. */
const NOT_FOUND: ReadonlySet<Errno> = new Set([ENOENT, ENOTDIR, ELOOP, ENAMETOOLONG]);

/** Executes the program in `process`; returns only where it cannot, after saying why: 126 or 127. */
export async function becomeProgram(shell: Shell, process: Process, call: ProgramCall): Promise<number> {
  const { words, env, redirects } = call;
  const say = (message: string): Promise<void> => process.stderr.write(`${shell.state.name}: ${message}\n`);
  try {
    await applyRedirects(process, redirects, { noclobber: shell.state.options.has("C") });
  } catch (error) {
    if (!(error instanceof SystemError || error instanceof ShellError)) throw error;
    await say(error.message);
    return 1;
  }
  const path = env.get("PATH") ?? shell.state.get("PATH") ?? DEFAULT_PATH;
  const failure = errnoOf(await execFromPath(process, words, env, path));
  const name = words[0] ?? "";
  const reason = failure === ENOENT && !name.includes("/") ? "not found" : failure.message;
  await say(`${name}: ${reason}`);
  return NOT_FOUND.has(failure) ? 127 : 126;
}

/** `set -x`: `+ name word …` on standard error. */
async function trace(shell: Shell, node: SimpleNode, words: readonly string[]): Promise<void> {
  const prefix = shell.state.get("PS4") ?? "+ ";
  const assignments: string[] = [];
  for (const { name, value } of node.assignments) {
    assignments.push(`${name}=${quoteWord(await expandText(shell, value, { assignment: true }))}`);
  }
  const line = [...assignments, ...words.map((word) => quoteWord(word))].join(" ");
  await shell.process.stderr.write(`${prefix}${line}\n`);
}

/** A word as the shell reads it back. */
export const quoteWord = (word: string): string =>
  /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replace(/'/g, "'\\''")}'`;
