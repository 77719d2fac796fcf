/**
 * stat, statm and status of a task (Linux: fs/proc/array.c; proc(5)). Times are in clock ticks of 1/100 s, sizes of stat in
 * bytes, of statm in pages, of status in kB.
 */
import { PAGE_SIZE, type Result, RLIMIT, SIG_DFL, SIG_IGN } from "@alien-ts/abi";
import type { Cx } from "../../core/cx.ts";
import { EXIT_DEAD, EXIT_ZOMBIE, TASK, type Task } from "../../core/task.ts";
import { controllingTty } from "../../ipc/tty/tty.ts";
import type { AddressSpace } from "../../mm/address-space.ts";
import { isKernelThread, parentOf } from "../../task/create.ts";
import { processTimes, timesOf } from "../../task/exit.ts";
import type { Process } from "../../task/process.ts";
import { sigmask } from "../../task/signal.ts";
import { new_encode_dev } from "../../vfs/char-dev.ts";
import { mayRead } from "./access.ts";
import { bitmap, bitsOf, clockTicks, escapeBytes, mask64, rangeList, unsigned } from "./format.ts";
import { pidFile, type PidEntry, type Target } from "./target.ts";

const MAX_RT_PRIO = 100;
const DEFAULT_STATIC_PRIO = 120;

/** Letter and words of a task's state (task_state_array). */
export function stateOf(task: Task): string {
  const { exit_state, __state } = task.t;
  if ((exit_state & EXIT_ZOMBIE) !== 0) return "Z (zombie)";
  if ((exit_state & EXIT_DEAD) !== 0) return "X (dead)";
  if (__state === TASK.IDLE) return "I (idle)";
  switch (__state) {
    case TASK.RUNNING:
      return "R (running)";
    case TASK.INTERRUPTIBLE:
      return "S (sleeping)";
    case TASK.STOPPED:
      return "T (stopped)";
    case TASK.TRACED:
      return "t (tracing stop)";
    case TASK.DEAD:
      return "X (dead)";
    default:
      return "D (disk sleep)";
  }
}

export const commOf = (task: Task): string => task.t.comm;

/** Signals whose action is SIG_IGN, and those with a handler (collect_sigign_sigcatch). */
export function actionMasks(task: Task): { readonly ignored: bigint; readonly caught: bigint } {
  let ignored = 0n;
  let caught = 0n;
  for (const [signo, { handler }] of task.sighand.actions.entries()) {
    if (signo === 0 || handler === SIG_DFL) continue;
    if (handler === SIG_IGN) ignored |= sigmask(signo);
    else caught |= sigmask(signo);
  }
  return { ignored, caught };
}

/** Signals that fit the old fields of stat, in decimal. */
const oldMask = (mask: bigint): string => String(mask & 0x7fff_ffffn);

const threadCount = (process: Process): number => Math.max(1, process.threads.size);

const parentPid = (task: Task): number => parentOf(task)?.tgid ?? 0;

/** Linux: do_task_stat(). */
function showStat(cx: Cx, { task, isGroup }: Target): string {
  const { process, t } = task;
  const { mm } = task;
  const tty = controllingTty(process);
  const times = isGroup ? processTimes(process) : timesOf(task);
  const waited = process.waitedChildren;
  const { ignored, caught } = actionMasks(task);
  const isPermitted = mayRead(cx, task);
  const shown = mm !== null && isPermitted ? mm.t : undefined;
  const code = (addr: number): number => (mm === null ? 0 : isPermitted ? addr : 1);
  const isSleeping = isPermitted && t.__state !== TASK.RUNNING && t.exit_state === 0;
  return `${[
    task.pid,
    `(${commOf(task)})`,
    stateOf(task)[0],
    parentPid(task),
    process.pgid,
    process.sid,
    tty === undefined ? 0 : new_encode_dev(tty.device),
    tty === undefined || tty.pgrp === 0 ? -1 : tty.pgrp,
    t.flags,
    times.minorFaults,
    waited.minorFaults,
    times.majorFaults,
    waited.majorFaults,
    clockTicks(times.userNs),
    clockTicks(times.systemNs),
    clockTicks(waited.userNs),
    clockTicks(waited.systemNs),
    t.prio - MAX_RT_PRIO,
    t.static_prio - DEFAULT_STATIC_PRIO,
    threadCount(process),
    0,
    clockTicks(t.start_boottime),
    mm === null ? 0 : mm.t.total_vm * PAGE_SIZE,
    mm === null ? 0 : mm.rssPages,
    unsigned(process.limit(RLIMIT.RSS)),
    code(mm?.t.start_code ?? 0),
    code(mm?.t.end_code ?? 0),
    shown?.start_stack ?? 0,
    0,
    0,
    oldMask(task.pending.mask),
    oldMask(task.blocked),
    oldMask(ignored),
    oldMask(caught),
    isSleeping ? 1 : 0,
    0,
    0,
    t.exit_signal,
    task.lastCpu.id,
    t.rt_priority,
    t.policy,
    0,
    0,
    0,
    shown?.start_data ?? 0,
    shown?.end_data ?? 0,
    shown?.start_brk ?? 0,
    shown?.arg_start ?? 0,
    shown?.arg_end ?? 0,
    shown?.env_start ?? 0,
    shown?.env_end ?? 0,
    isPermitted ? t.exit_code : 0,
  ].join(" ")}\n`;
}

/** Linux: proc_pid_statm(): size, resident, shared, text, lib (0), data and stack, dirty (0), in pages. */
function showStatm({ mm }: Target): string {
  if (mm === null) return "0 0 0 0 0 0 0\n";
  const { t, rss } = mm;
  const text = Math.ceil((t.end_code - t.start_code) / PAGE_SIZE);
  return `${t.total_vm} ${mm.rssPages} ${rss.file + rss.shmem} ${text} 0 ${t.data_vm + t.stack_vm} 0\n`;
}

const kB = (pages: number): number => (pages * PAGE_SIZE) / 1024;

/** Linux: task_mem(), and the lines about memory behind it. */
function memoryLines(mm: AddressSpace): string {
  const { t, rss } = mm;
  const text = Math.ceil((t.end_code - t.start_code) / PAGE_SIZE);
  const rows: readonly (readonly [string, number])[] = [
    ["VmPeak", Math.max(t.hiwater_vm, t.total_vm)],
    ["VmSize", t.total_vm],
    ["VmLck", t.locked_vm],
    ["VmPin", 0],
    ["VmHWM", mm.hiwaterRssPages],
    ["VmRSS", mm.rssPages],
    ["RssAnon", rss.anon],
    ["RssFile", rss.file],
    ["RssShmem", rss.shmem],
    ["VmData", t.data_vm],
    ["VmStk", t.stack_vm],
    ["VmExe", text],
    ["VmLib", Math.max(0, t.exec_vm - text)],
    ["VmPTE", mm.table.tablePages],
    ["VmSwap", 0],
    ["HugetlbPages", 0],
  ];
  const sizes = rows.map(([name, pages]) => `${name}:\t${String(kB(pages)).padStart(8)} kB\n`).join("");
  return `${sizes}CoreDumping:\t0\nTHP_enabled:\t0\nuntag_mask:\t0xffffffffffffffff\n`;
}

function idLines(target: Target): string {
  const { task } = target;
  const { t, groups } = task.cred;
  const umask = target.fs === undefined ? "" : `Umask:\t${target.fs.umask.toString(8).padStart(4, "0")}\n`;
  const { process } = task;
  return [
    `Name:\t${escapeBytes(commOf(task), "\n\\")}\n${umask}State:\t${stateOf(task)}`,
    `Tgid:\t${task.tgid}`,
    "Ngid:\t0",
    `Pid:\t${task.pid}`,
    `PPid:\t${parentPid(task)}`,
    "TracerPid:\t0",
    `Uid:\t${t.uid.val}\t${t.euid.val}\t${t.suid.val}\t${t.fsuid.val}`,
    `Gid:\t${t.gid.val}\t${t.egid.val}\t${t.sgid.val}\t${t.fsgid.val}`,
    `FDSize:\t${target.files?.max ?? 0}`,
    `Groups:\t${groups.join(" ")} `,
    `NStgid:\t${task.tgid}`,
    `NSpid:\t${task.pid}`,
    `NSpgid:\t${process.pgid}`,
    `NSsid:\t${process.sid}`,
    `Kthread:\t${isKernelThread(task) ? 1 : 0}\n`,
  ].join("\n");
}

function signalLines(task: Task): string {
  const { process } = task;
  const { ignored, caught } = actionMasks(task);
  const queued =
    process.pending.queue.length + [...process.threads].reduce((n, one) => n + one.pending.queue.length, 0);
  return [
    `Threads:\t${threadCount(process)}`,
    `SigQ:\t${queued}/${unsigned(process.limit(RLIMIT.SIGPENDING))}`,
    `SigPnd:\t${mask64(task.pending.mask)}`,
    `ShdPnd:\t${mask64(process.pending.mask)}`,
    `SigBlk:\t${mask64(task.blocked)}`,
    `SigIgn:\t${mask64(ignored)}`,
    `SigCgt:\t${mask64(caught)}\n`,
  ].join("\n");
}

function capabilityLines({ cred, noNewPrivs }: Task): string {
  const { t } = cred;
  return [
    `CapInh:\t${mask64(t.cap_inheritable.val)}`,
    `CapPrm:\t${mask64(t.cap_permitted.val)}`,
    `CapEff:\t${mask64(t.cap_effective.val)}`,
    `CapBnd:\t${mask64(t.cap_bset.val)}`,
    `CapAmb:\t${mask64(t.cap_ambient.val)}`,
    `NoNewPrivs:\t${noNewPrivs ? 1 : 0}`,
    "Seccomp:\t0",
    "Seccomp_filters:\t0",
    "Speculation_Store_Bypass:\tunknown",
    "SpeculationIndirectBranch:\tunsupported\n",
  ].join("\n");
}

/** Linux: proc_pid_status(). */
function showStatus({ kernel }: Cx, target: Target): Result<string> {
  const { task } = target;
  const cpus = kernel.cpus.length;
  return [
    idLines(target),
    target.mm === null ? "" : memoryLines(target.mm),
    signalLines(task),
    capabilityLines(task),
    `Cpus_allowed:\t${bitmap(task.cpusMask, cpus)}\n`,
    `Cpus_allowed_list:\t${rangeList(bitsOf(task.cpusMask, cpus))}\n`,
    "Mems_allowed:\t1\nMems_allowed_list:\t0\n",
    `voluntary_ctxt_switches:\t${task.t.nvcsw}\nnonvoluntary_ctxt_switches:\t${task.t.nivcsw}\n`,
  ].join("");
}

/** Linux: proc_sched_show_task(), the lines that this scheduler has values for. */
function showSched({ task }: Target): string {
  const { t } = task;
  const title = `${commOf(task)} (${task.pid}, #threads: ${threadCount(task.process)})\n`;
  const ms = (name: string, ns: number): string =>
    `${name.padEnd(45)}:${String(Math.floor(ns / 1e6)).padStart(14)}.${String(Math.floor(ns % 1e6)).padStart(6, "0")}\n`;
  const count = (name: string, value: number): string => `${name.padEnd(45)}:${String(value).padStart(21)}\n`;
  return [
    title,
    `${"-".repeat(67)}\n`,
    ms("se.exec_start", t.se.exec_start),
    ms("se.vruntime", t.se.vruntime),
    ms("se.sum_exec_runtime", t.se.sum_exec_runtime),
    count("se.nr_migrations", t.se.nr_migrations),
    count("nr_switches", t.nvcsw + t.nivcsw),
    count("nr_voluntary_switches", t.nvcsw),
    count("nr_involuntary_switches", t.nivcsw),
    count("policy", t.policy),
    count("prio", t.prio),
  ].join("");
}

export const STAT_ENTRIES: readonly PidEntry[] = [
  pidFile("status", showStatus),
  pidFile("sched", (_cx, target) => showSched(target)),
  pidFile("stat", showStat),
  pidFile("statm", (_cx, target) => showStatm(target)),
  pidFile(
    "schedstat",
    (_cx, { task }) => `${task.t.se.sum_exec_runtime} 0 ${task.t.nvcsw + task.t.nivcsw}\n`,
  ),
];
