/** Builtins for jobs and processes. */
import { ECHILD, EINTR, NR, RLIMIT, rlimit64, tms } from "@alien-ts/abi";
import { shellStatus, tryWait } from "../libc/children.ts";
import { errnoOf, failed } from "../libc/errors.ts";
import { signalName, signalNumber } from "../libc/signals.ts";
import { fill, withBlock } from "../libc/structs.ts";
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
  const all = [...shell.jobs.inherited, ...shell.jobs.jobs];
  const chosen = operands.length > 0 ? operands.map((spec) => findJob(shell, spec)) : all;
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
  let status = 0;
  for (const text of numbers) {
    const line = listedSignal(text);
    if (line === undefined) {
      await shell.complain(`kill: ${text}: invalid signal specification`);
      status = 1;
    } else await shell.process.stdout.writeLine(line);
  }
  return status;
}

/** The name of a number or of an exit status, the number of a name; undefined for what is no signal. */
function listedSignal(text: string): string | undefined {
  if (!/^\d+$/.test(text)) return signalNumber(text)?.toString();
  const number = signalNumber(String(Number(text) > 128 ? Number(text) - 128 : Number(text)));
  return number === undefined ? undefined : signalName(number);
}

interface Limit {
  readonly resource: number;
  readonly text: string;
  /** What one unit of the number stands for. */
  readonly unit: number;
}

const LIMITS: Readonly<Record<string, Limit>> = {
  c: { resource: RLIMIT.CORE, text: "core file size (blocks)", unit: 512 },
  d: { resource: RLIMIT.DATA, text: "data seg size (kbytes)", unit: 1024 },
  f: { resource: RLIMIT.FSIZE, text: "file size (blocks)", unit: 512 },
  l: { resource: RLIMIT.MEMLOCK, text: "max locked memory (kbytes)", unit: 1024 },
  n: { resource: RLIMIT.NOFILE, text: "open files", unit: 1 },
  p: { resource: RLIMIT.NPROC, text: "max user processes", unit: 1 },
  s: { resource: RLIMIT.STACK, text: "stack size (kbytes)", unit: 1024 },
  t: { resource: RLIMIT.CPU, text: "cpu time (seconds)", unit: 1 },
  v: { resource: RLIMIT.AS, text: "virtual memory (kbytes)", unit: 1024 },
};

/** From here on a 64-bit limit is RLIM_INFINITY. */
const UNLIMITED = 2 ** 63;

export async function ulimit(shell: Shell, words: readonly string[]): Promise<number> {
  const { options, operands } = readOptions("HSacdflnpstv", words);
  const { stdout } = shell.process;
  const isHard = options.last("H", "S") === "H";
  if (options.has("a")) {
    for (const [letter, limit] of Object.entries(LIMITS)) {
      await stdout.writeLine(`-${letter}: ${limit.text.padEnd(28)} ${await showLimit(shell, limit, isHard)}`);
    }
    return 0;
  }
  const limit = LIMITS[options.last(...Object.keys(LIMITS)) ?? "f"]!;
  const [value] = operands;
  if (value === undefined) {
    await stdout.writeLine(await showLimit(shell, limit, isHard));
    return 0;
  }
  if (!/^(\d+|unlimited)$/.test(value)) throw new ShellError(`${value}: bad number`);
  await setLimit(shell, limit, {
    value: value === "unlimited" ? 2 ** 64 : Number(value) * limit.unit,
    hard: !options.has("S"),
    soft: !options.has("H") || options.has("S"),
  });
  return 0;
}

async function readLimit(shell: Shell, { resource }: Limit): Promise<{ rlim_cur: number; rlim_max: number }> {
  const { process } = shell;
  const got = await fill(process, rlimit64, (addr) => process.trap(NR.prlimit64, 0, resource, 0, addr));
  if (typeof got === "number") throw new ShellError(errnoOf(got).message, 1);
  return got;
}

async function showLimit(shell: Shell, limit: Limit, isHard: boolean): Promise<string> {
  const { rlim_cur, rlim_max } = await readLimit(shell, limit);
  const value = isHard ? rlim_max : rlim_cur;
  return value >= UNLIMITED ? "unlimited" : String(Math.floor(value / limit.unit));
}

async function setLimit(
  shell: Shell,
  limit: Limit,
  change: { readonly value: number; readonly hard: boolean; readonly soft: boolean },
): Promise<void> {
  const { process } = shell;
  const { rlim_cur, rlim_max } = await readLimit(shell, limit);
  const words = [change.soft ? change.value : rlim_cur, change.hard ? change.value : rlim_max];
  const result = await withBlock(process, 16, async (addr) => {
    // A value that no number holds is RLIM_INFINITY, all ones.
    words.forEach((word, i) => process.memory.writeU64(addr + 8 * i, word >= UNLIMITED ? -1 : word));
    return process.trap(NR.prlimit64, 0, limit.resource, addr, 0);
  });
  if (failed(result)) throw new ShellError(`error setting limit: ${errnoOf(result).message}`, 1);
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
