/** Builtins for jobs and processes. */
import { ECHILD, EINTR, NR, tms } from "@alien-ts/abi";
import { shellStatus, tryWait } from "../libc/children.ts";
import { errnoOf, failed } from "../libc/errors.ts";
import { signalName, signalNumber } from "../libc/signals.ts";
import { fill } from "../libc/structs.ts";
import { readOptions } from "./builtins-control.ts";
import { type Job, describeJob, isOver, isRunning, lastStatus } from "./jobs.ts";
import type { Shell } from "./shell.ts";
import { ShellError } from "./variables.ts";

function findJob(shell: Shell, spec: string | undefined): Job {
  const job = shell.jobs.find(spec ?? "%%");
  if (job === undefined) throw new ShellError(`${spec ?? "current"}: no such job`, 1);
  return job;
}

export async function jobs(shell: Shell, words: readonly string[]): Promise<number> {
  const { options, operands } = readOptions("lp", words);
  await shell.jobs.poll();
  const chosen = operands.length > 0 ? operands.map((spec) => findJob(shell, spec)) : [...shell.jobs.jobs];
  for (const job of chosen) {
    const line = options.has("p")
      ? String(job.group)
      : describeJob(job, shell.jobs.marker(job), { long: options.has("l") });
    await shell.process.stdout.writeLine(line);
    job.changed = false;
    if (isOver(job)) shell.jobs.forget(job);
  }
  return 0;
}

export async function fg(shell: Shell, words: readonly string[]): Promise<number> {
  if (shell.jobs.terminal === undefined) throw new ShellError("no job control", 1);
  const job = findJob(shell, words[1]);
  await shell.process.stdout.writeLine(job.source);
  await shell.flush();
  return shell.jobs.foreground(job);
}

export async function bg(shell: Shell, words: readonly string[]): Promise<number> {
  if (!shell.state.options.has("m")) throw new ShellError("no job control", 1);
  for (const spec of words.length > 1 ? words.slice(1) : [undefined]) {
    const job = findJob(shell, spec);
    await shell.process.stdout.writeLine(`[${job.id}]${shell.jobs.marker(job)} ${job.source} &`);
    await shell.jobs.resume(job);
  }
  return 0;
}

/** Without operands: all children. A trapped signal ends the wait with 128 + its number. */
export async function wait(shell: Shell, words: readonly string[]): Promise<number> {
  const specs = words.slice(1);
  if (specs.length === 0) {
    for (const job of shell.jobs.jobs.slice()) {
      const status = await waitForJob(shell, job);
      if (status === undefined) return interruptedStatus(shell);
    }
    return 0;
  }
  let status = 0;
  for (const spec of specs) {
    const job = shell.jobs.find(spec);
    if (job === undefined && spec.startsWith("%")) throw new ShellError(`${spec}: no such job`, 127);
    const result = job === undefined ? 127 : await waitForJob(shell, job, spec);
    if (result === undefined) return interruptedStatus(shell);
    status = result;
  }
  return status;
}

function interruptedStatus(shell: Shell): number {
  return 128 + (shell.traps.nextPending ?? 2);
}

/** The status of a job that has ended, or of one process of it; undefined where a signal came first. */
async function waitForJob(shell: Shell, job: Job, spec = "%"): Promise<number | undefined> {
  while (!isOver(job)) {
    const pending = job.processes.find(({ status }) => status === undefined);
    if (pending === undefined) break;
    const result = await tryWait(shell.process, pending.pid, 0, { interruptible: true });
    if (result === -EINTR.number) {
      if (shell.traps.hasPending || shell.traps.interrupted) return undefined;
      continue;
    }
    if (typeof result === "number") {
      if (result !== -ECHILD.number) throw new ShellError(errnoOf(result).message, 1);
      pending.status = 127 << 8;
    } else shell.jobs.note(result);
  }
  const member = job.processes.find(({ pid }) => String(pid) === spec);
  shell.jobs.forget(job);
  return shellStatus(member?.status ?? lastStatus(job));
}

export async function kill(shell: Shell, words: readonly string[]): Promise<number> {
  let args = words.slice(1);
  if (args[0] === "-l" || args[0] === "-L") return listSignals(shell, args.slice(1));
  let signal = 15;
  const named = /^-(?:s|n)$/.test(args[0] ?? "")
    ? args[1]
    : /^-[A-Za-z0-9]/.test(args[0] ?? "")
      ? args[0]!.slice(1)
      : undefined;
  if (named !== undefined) {
    const number = signalNumber(named);
    if (number === undefined) throw new ShellError(`${named}: invalid signal specification`, 1);
    signal = number;
    args = args.slice(/^-[sn]$/.test(args[0]!) ? 2 : 1);
  }
  if (args[0] === "--") args = args.slice(1);
  if (args.length === 0)
    throw new ShellError("Usage: kill [-s signal | -signal] pid|job ... | kill -l [status]");
  let status = 0;
  for (const target of args) if (!(await killOne(shell, target, signal))) status = 1;
  return status;
}

async function killOne(shell: Shell, target: string, signal: number): Promise<boolean> {
  const job = target.startsWith("%") ? findJob(shell, target) : undefined;
  if (job === undefined && !/^-?\d+$/.test(target)) {
    await shell.complain(`kill: ${target}: arguments must be process or job IDs`);
    return false;
  }
  const isStopped = job !== undefined && !isRunning(job);
  for (const pid of job === undefined ? [Number(target)] : targetsOf(shell, job)) {
    const result = await shell.process.trap(NR.kill, pid, signal);
    if (!failed(result)) continue;
    await shell.complain(`kill: (${pid}) - ${errnoOf(result).message}`);
    return false;
  }
  // A stopped job would never see the signal that is to end it.
  if (isStopped && signal !== 18) await shell.process.trap(NR.kill, -job.group, 18);
  return true;
}

const targetsOf = (shell: Shell, job: Job): readonly number[] =>
  shell.state.options.has("m") ? [-job.group] : job.processes.map(({ pid }) => pid);

async function listSignals(shell: Shell, operands: readonly string[]): Promise<number> {
  const numbers = operands.length > 0 ? operands : Array.from({ length: 31 }, (_, i) => String(i + 1));
  for (const text of numbers) {
    const number = signalNumber(text) ?? Number(text);
    const line = /^\d+$/.test(text)
      ? signalName(Number(text) > 128 ? Number(text) - 128 : number)
      : String(number);
    await shell.process.stdout.writeLine(line);
  }
  return 0;
}

/** Clock ticks per second, as AT_CLKTCK says. */
const TICKS = 100;

export async function times(shell: Shell): Promise<number> {
  const { process } = shell;
  const got = await fill(process, tms, (addr) => process.trap(NR.times, addr));
  if (typeof got === "number") throw new ShellError(errnoOf(got).message, 1);
  const show = (ticks: number): string =>
    `${Math.floor(ticks / TICKS / 60)}m${((ticks / TICKS) % 60).toFixed(6)}s`;
  await process.stdout.write(
    `${show(got.tms_utime)} ${show(got.tms_stime)}\n${show(got.tms_cutime)} ${show(got.tms_cstime)}\n`,
  );
  return 0;
}
