/**
 * Jobs: the children of the shell, in groups, in the foreground or the background (XCU 2.11).
 *
 * With job control every job is a process group, and the one in the foreground owns the terminal. Without it jobs are only
 * remembered for `wait`. The table is brought up to date by `poll` (before a prompt, and by the builtins).
 */
import { NR, SIG, W } from "@alien-ts/abi";
import {
  type WaitResult,
  isContinued,
  isSignaled,
  isStopped,
  shellStatus,
  termSignal,
  tryWait,
} from "../libc/children.ts";
import type { Process } from "../libc/process.ts";
import { describeSignal } from "../libc/signals.ts";
import { type Termios, setForegroundGroup, setTermios } from "../libc/terminal.ts";

export interface JobProcess {
  readonly pid: number;
  /** The word of wait(2); undefined while it runs. */
  status: number | undefined;
}

export interface Job {
  /** `%n`; 0 for a foreground job that never stopped. */
  id: number;
  readonly group: number;
  readonly processes: readonly JobProcess[];
  readonly source: string;
  /** Whether its change of state is still to be told. */
  changed: boolean;
}

/** The terminal that the shell controls. */
export interface ControllingTerminal {
  readonly fd: number;
  readonly group: number;
  modes: Termios | undefined;
}

export class JobTable {
  readonly #process: Process;
  readonly #jobs: Job[] = [];
  /** Set in a shell with job control. */
  terminal: ControllingTerminal | undefined;

  /** The jobs of the shell that started this one, as they were then: what `$(jobs -p)` lists. */
  readonly inherited: readonly Job[];

  constructor(process: Process, inherited: readonly Job[] = []) {
    this.#process = process;
    this.inherited = inherited;
  }

  get jobs(): readonly Job[] {
    return this.#jobs;
  }

  addBackground(group: number, pids: readonly number[], source: string): Job {
    const job = this.#make(group, pids, source);
    this.#number(job);
    return job;
  }

  #make(group: number, pids: readonly number[], source: string): Job {
    return {
      id: 0,
      group,
      processes: pids.map((pid) => ({ pid, status: undefined })),
      source,
      changed: false,
    };
  }

  #number(job: Job): void {
    if (job.id !== 0) return;
    job.id = Math.max(0, ...this.#jobs.map(({ id }) => id)) + 1;
    this.#jobs.push(job);
  }

  forget(job: Job): void {
    const at = this.#jobs.indexOf(job);
    if (at >= 0) this.#jobs.splice(at, 1);
  }

  /** Waits for new children in the foreground; `$?` of the last of them. */
  async runForeground(group: number, pids: readonly number[], source: string): Promise<number> {
    return this.waitForeground(this.#make(group, pids, source));
  }

  /** Waits until the job has ended or stopped, and takes the terminal back. */
  async waitForeground(job: Job): Promise<number> {
    for (const member of job.processes) {
      if (member.status !== undefined && !isStopped(member.status)) continue;
      const result = await tryWait(this.#process, member.pid, this.terminal === undefined ? 0 : W.UNTRACED);
      if (typeof result !== "number") member.status = result.status;
      else member.status ??= 127 << 8;
    }
    await this.#takeTerminal(job);
    const status = lastStatus(job);
    if (isStopped(status)) {
      this.#number(job);
      await this.#process.stderr.write(`\n${describeJob(job, this.marker(job))}\n`);
    } else {
      this.forget(job);
      await this.#tellSignal(status);
    }
    return shellStatus(status);
  }

  async #takeTerminal(job: Job): Promise<void> {
    const { terminal } = this;
    if (terminal === undefined) return;
    await setForegroundGroup(this.#process, terminal.fd, terminal.group);
    const isClean = job.processes.every(
      ({ status }) => status !== undefined && !isSignaled(status) && !isStopped(status),
    );
    if (!isClean && terminal.modes !== undefined)
      await setTermios(this.#process, terminal.fd, terminal.modes);
  }

  /** What killed a foreground job, where it is not plain from what the user did. */
  async #tellSignal(status: number): Promise<void> {
    if (!isSignaled(status)) return;
    const signal = termSignal(status);
    if (signal === SIG.INT && this.terminal !== undefined) return this.#process.stderr.write("\n");
    if (signal === SIG.PIPE || signal === SIG.INT) return;
    const core = (status & 0x80) === 0 ? "" : " (core dumped)";
    await this.#process.stderr.write(`${describeSignal(signal)}${core}\n`);
  }

  /** Gives the terminal to a job and continues it. */
  async foreground(job: Job): Promise<number> {
    if (this.terminal !== undefined) await setForegroundGroup(this.#process, this.terminal.fd, job.group);
    await this.resume(job);
    return this.waitForeground(job);
  }

  async resume(job: Job): Promise<void> {
    for (const member of job.processes) {
      if (member.status !== undefined && isStopped(member.status)) member.status = undefined;
    }
    await this.#process.trap(NR.kill, -job.group, SIG.CONT);
  }

  /** Notes every child that has changed its state. */
  async poll(): Promise<void> {
    for (;;) {
      const result = await tryWait(this.#process, -1, W.NOHANG | W.UNTRACED | W.CONTINUED);
      if (typeof result === "number") return;
      this.note(result);
    }
  }

  note({ pid, status }: WaitResult): void {
    for (const job of this.#jobs) {
      const member = job.processes.find((process) => process.pid === pid);
      if (member === undefined) continue;
      member.status = isContinued(status) ? undefined : status;
      job.changed = true;
    }
  }

  /** Tells of jobs that have ended or stopped since the last time; ended ones are forgotten. */
  async report(): Promise<void> {
    await this.poll();
    for (const job of this.#jobs.slice()) {
      if (!job.changed || stateOf(job) === "Running") continue;
      job.changed = false;
      await this.#process.stderr.write(`${describeJob(job, this.marker(job))}\n`);
      if (isOver(job)) this.forget(job);
    }
  }

  /** `%1`, `%%`, `%+`, `%-`, `%name`, `%?text`, or a pid. */
  find(spec: string): Job | undefined {
    if (/^\d+$/.test(spec))
      return this.#jobs.find(({ processes }) => processes.some(({ pid }) => pid === Number(spec)));
    const name = spec.replace(/^%/, "");
    if (name === "" || name === "%" || name === "+") return this.#current();
    if (name === "-") return this.#previous();
    if (/^\d+$/.test(name)) return this.#jobs.find(({ id }) => id === Number(name));
    if (name.startsWith("?")) return this.#jobs.find(({ source }) => source.includes(name.slice(1)));
    return this.#jobs.find(({ source }) => source.startsWith(name));
  }

  /** The last job that stopped, or else the last one started. */
  #current(): Job | undefined {
    return this.#jobs.findLast((job) => stateOf(job) === "Stopped") ?? this.#jobs.at(-1);
  }

  #previous(): Job | undefined {
    const current = this.#current();
    return this.#jobs.findLast((job) => job !== current) ?? current;
  }

  marker(job: Job): string {
    if (job === this.#current()) return "+";
    return job === this.#previous() ? "-" : " ";
  }
}

export const lastStatus = (job: Job): number => job.processes.at(-1)?.status ?? 0;

export const isOver = (job: Job): boolean =>
  job.processes.every(({ status }) => status !== undefined && !isStopped(status));

function stateOf(job: Job): string {
  if (job.processes.some(({ status }) => status !== undefined && isStopped(status))) return "Stopped";
  if (!isOver(job)) return "Running";
  const status = lastStatus(job);
  if (isSignaled(status)) return describeSignal(termSignal(status));
  const exit = shellStatus(status);
  return exit === 0 ? "Done" : `Done(${exit})`;
}

export const isRunning = (job: Job): boolean => stateOf(job) === "Running";

/** `[1]+  Running                 sleep 10 &`, as `jobs` prints it. */
export function describeJob(job: Job, marker: string, options: { readonly long?: boolean } = {}): string {
  const state = stateOf(job);
  const pid = options.long === true ? `${job.processes[0]?.pid ?? job.group} ` : "";
  const suffix = state === "Running" ? " &" : "";
  return `[${job.id}]${marker}  ${pid}${state.padEnd(24)}${job.source}${suffix}`;
}
