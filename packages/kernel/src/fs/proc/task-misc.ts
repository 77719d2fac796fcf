/**
 * The other entries of a task's directory: cmdline, comm, environ, links, limits, stacks, accounting (Linux: fs/proc/base.c;
 * proc(5)).
 */
import { CAP, EACCES, EINVAL, EPERM, type Result, RLIMIT, type UAddr } from "@alien-ts/abi";
import { capable } from "../../core/cred.ts";
import type { Cx } from "../../core/cx.ts";
import { TASK, type Task } from "../../core/task.ts";
import type { AddressSpace } from "../../mm/address-space.ts";
import { copyBytesFromUser } from "../../mm/uaccess.ts";
import { OOM_SCORE_ADJ, oomBadness, totalPages } from "../../task/oom.ts";
import { File } from "../../vfs/file.ts";
import type { PathRef } from "../../vfs/mount.ts";
import { showMountInfo, showMounts } from "../../vfs/namespace.ts";
import { dynamicDir, symlink } from "../simple.ts";
import { mayRead } from "./access.ts";
import { bytesText } from "./format.ts";
import { commOf } from "./task-stat.ts";
import { magicLink } from "./task-fd.ts";
import { pidFile, type PidEntry, type Target } from "./target.ts";

declare module "../../core/task.ts" {
  interface Task {
    /** The user that logged in (audit); 2^32 - 1 when nobody did. */
    loginUid: number;
  }
}

export const NO_LOGIN_UID = 0xffff_ffff;
/** include/uapi/linux/capability.h */
const CAP_AUDIT_CONTROL = 30;
const COMM_BYTES_MAX = 15;
const EMPTY = new Uint8Array(0);

/** Bytes of [start, end), as far as they are mapped. */
function memoryOf(mm: AddressSpace, start: UAddr, end: UAddr): Uint8Array {
  if (!(end > start)) return EMPTY;
  const bytes = new Uint8Array(end - start);
  return bytes.subarray(0, bytes.length - copyBytesFromUser(mm, bytes, start));
}

/** Linux: get_mm_cmdline(). A process that wrote over its last NUL has put one string there, into the environment. */
function showCmdline(mm: AddressSpace | null): Uint8Array {
  if (mm === null) return EMPTY;
  const { arg_start, arg_end, env_end } = mm.t;
  const bytes = memoryOf(mm, arg_start, arg_end);
  if (bytes.length === 0 || bytes.at(-1) === 0) return bytes;
  const all = memoryOf(mm, arg_start, Math.max(arg_end, env_end));
  const nul = all.indexOf(0);
  return nul < 0 ? all : all.subarray(0, nul);
}

/** Only threads of the process itself may rename it (comm_write). */
function writeComm(cx: Cx, target: Target, text: string): Result<0> {
  if (cx.task.tgid !== target.task.tgid) return EINVAL;
  target.task.t.comm = text.slice(0, COMM_BYTES_MAX);
  return 0;
}

/** Where the running program's file is. */
function exeOf(target: Target): PathRef | undefined {
  const { mm } = target;
  if (mm === null || mm.t.exe_file === 0) return undefined;
  const opened = target.kernel.ownerOf(mm.t.exe_file);
  return opened instanceof File ? opened.path : undefined;
}

const LIMIT_ROWS = [
  [RLIMIT.CPU, "Max cpu time", "seconds"],
  [RLIMIT.FSIZE, "Max file size", "bytes"],
  [RLIMIT.DATA, "Max data size", "bytes"],
  [RLIMIT.STACK, "Max stack size", "bytes"],
  [RLIMIT.CORE, "Max core file size", "bytes"],
  [RLIMIT.RSS, "Max resident set", "bytes"],
  [RLIMIT.NPROC, "Max processes", "processes"],
  [RLIMIT.NOFILE, "Max open files", "files"],
  [RLIMIT.MEMLOCK, "Max locked memory", "bytes"],
  [RLIMIT.AS, "Max address space", "bytes"],
  [RLIMIT.LOCKS, "Max file locks", "locks"],
  [RLIMIT.SIGPENDING, "Max pending signals", "signals"],
  [RLIMIT.MSGQUEUE, "Max msgqueue size", "bytes"],
  [RLIMIT.NICE, "Max nice priority", ""],
  [RLIMIT.RTPRIO, "Max realtime priority", ""],
  [RLIMIT.RTTIME, "Max realtime timeout", "us"],
] as const;

function limitRow(name: string, soft: string, hard: string, unit: string): string {
  const columns = `${name.padEnd(25)} ${soft.padEnd(20)} ${hard.padEnd(20)} `;
  return unit === "" ? `${columns}\n` : `${columns}${unit.padEnd(10)}\n`;
}

const limitText = (value: number): string => (Number.isFinite(value) ? String(value) : "unlimited");

/** Linux: proc_pid_limits(). */
const showLimits = ({ task }: Target): string =>
  limitRow("Limit", "Soft Limit", "Hard Limit", "Units") +
  LIMIT_ROWS.map(([resource, name, unit]) => {
    const { soft, hard } = task.process.limits[resource]!;
    return limitRow(name, limitText(soft), limitText(hard), unit);
  }).join("");

/** Frames of a task's kernel stack, innermost first (proc_pid_stack). Empty for a task in user mode. */
export function kernelStack(task: Task): string[] {
  const { cx, kernel } = task;
  const frames: string[] = [];
  for (let at = cx.depth - 1; at >= 0; at--)
    frames.push(kernel.text.describe(kernel.text.returnAddress(cx.stack[at])));
  return frames;
}

function showStack(cx: Cx, { task }: Target): Result<string> {
  if (!capable(cx, CAP.SYS_ADMIN)) return EACCES;
  return kernelStack(task)
    .map((frame) => `[<0>] ${frame}\n`)
    .join("");
}

/** The function that a task sleeps in; "0" where it runs or may not be looked at. No newline (proc_pid_wchan). */
function showWchan(cx: Cx, { task }: Target): string {
  const isSleeping = task.t.__state !== TASK.RUNNING && task.t.exit_state === 0 && task.cx.depth > 0;
  if (!isSleeping || !mayRead(cx, task)) return "0";
  return task.kernel.text.symbolOf(task.cx.stack[task.cx.depth - 1]!);
}

const IO_TEXT =
  ["rchar", "wchar", "syscr", "syscw", "read_bytes", "write_bytes", "cancelled_write_bytes"]
    .map((name) => `${name}: 0`)
    .join("\n") + "\n";

/** A decimal number and nothing else but white space; undefined otherwise (kstrtoint of the stripped text). */
export function parseNumber(text: string): number | undefined {
  const trimmed = text.replace(/\0.*$/s, "").trim();
  if (!/^[+-]?(0[xX][0-9a-fA-F]+|[0-9]+)$/.test(trimmed)) return undefined;
  const magnitude = trimmed.replace(/^[+-]/, "");
  const isOctal = /^0[0-7]+$/.test(magnitude);
  const value = isOctal ? Number.parseInt(magnitude, 8) : Number(magnitude);
  if (!Number.isFinite(value) || (/^0[0-9]/.test(magnitude) && !isOctal)) return undefined;
  return trimmed.startsWith("-") ? -value : value;
}

/** Linux: __set_oom_adj(). Lowering it needs CAP_SYS_RESOURCE. */
function writeOomScoreAdj(cx: Cx, { task }: Target, text: string): Result<0> {
  const value = parseNumber(text);
  if (value === undefined || value < OOM_SCORE_ADJ.MIN || value > OOM_SCORE_ADJ.MAX) return EINVAL;
  if (value < task.process.oomScoreAdj && !capable(cx, CAP.SYS_RESOURCE)) return EACCES;
  task.process.oomScoreAdj = value;
  return 0;
}

/** Linux: proc_loginuid_write(): once set it stays, but for CAP_AUDIT_CONTROL. */
function writeLoginUid(cx: Cx, { task }: Target, text: string): Result<0> {
  if (cx.task !== task) return EPERM;
  const value = parseNumber(text);
  if (value === undefined || value < 0 || value > NO_LOGIN_UID) return EINVAL;
  if (task.loginUid !== NO_LOGIN_UID && !capable(cx, CAP_AUDIT_CONTROL)) return EPERM;
  task.loginUid = value;
  return 0;
}

function writeTimerSlack(cx: Cx, { task }: Target, text: string): Result<0> {
  if (cx.task !== task && !capable(cx, CAP.SYS_NICE)) return EPERM;
  const value = parseNumber(text);
  if (value === undefined || value < 0) return EINVAL;
  task.timerSlackNs = value === 0 ? 50_000 : value;
  return 0;
}

/** Mounts as the task itself sees them; EINVAL once it has no root any more (mounts_open_common). */
const mountsOf =
  (show: (cx: Cx) => string) =>
  (_cx: Cx, target: Target): Result<string> =>
    target.fs === undefined ? EINVAL : show(target.task.cx);

/** Pids of the children, each with a blank behind it (children_seq_show). */
const childrenOf = ({ childTasks }: Task): string => [...childTasks].map(({ pid }) => `${pid} `).join("");

const IDENTITY_MAP = `${"0".padStart(10)} ${"0".padStart(10)} ${"4294967295".padStart(10)}\n`;

export const MISC_ENTRIES: readonly PidEntry[] = [
  pidFile("environ", (_cx, { mm }) => (mm === null ? EMPTY : memoryOf(mm, mm.t.env_start, mm.t.env_end)), {
    mode: 0o400,
    needsPtrace: true,
  }),
  pidFile("personality", (_cx, { task }) => `${task.t.personality.toString(16).padStart(8, "0")}\n`, {
    mode: 0o400,
  }),
  pidFile("limits", (_cx, target) => showLimits(target)),
  pidFile("comm", (_cx, { task }) => `${commOf(task)}\n`, { write: writeComm }),
  pidFile("cmdline", (_cx, { mm }) => showCmdline(mm)),
  { name: "cwd", make: (target) => magicLink(target, () => target.fs?.pwd) },
  { name: "root", make: (target) => magicLink(target, () => target.fs?.root) },
  { name: "exe", make: exeLink },
  pidFile("mounts", mountsOf(showMounts)),
  pidFile("mountinfo", mountsOf(showMountInfo)),
  pidFile("wchan", showWchan),
  pidFile("stack", showStack, { mode: 0o400 }),
  pidFile("cpuset", () => "/\n"),
  pidFile("cgroup", () => "0::/\n"),
  pidFile("children", (_cx, { task }) => childrenOf(task), { only: "thread" }),
  pidFile("oom_score", (_cx, { task }) => `${oomScore(task)}\n`),
  pidFile("oom_score_adj", (_cx, { task }) => `${task.process.oomScoreAdj}\n`, { write: writeOomScoreAdj }),
  pidFile("loginuid", (_cx, { task }) => String(task.loginUid), { write: writeLoginUid }),
  pidFile("sessionid", () => String(NO_LOGIN_UID)),
  pidFile("coredump_filter", () => "00000033\n", { only: "process" }),
  pidFile("io", () => IO_TEXT, { mode: 0o400, needsPtrace: true }),
  pidFile("uid_map", () => IDENTITY_MAP),
  pidFile("gid_map", () => IDENTITY_MAP),
  pidFile("setgroups", () => "allow\n", { only: "process" }),
  pidFile("timerslack_ns", (_cx, { task }) => `${task.timerSlackNs}\n`, {
    mode: 0o666,
    only: "process",
    write: writeTimerSlack,
  }),
  {
    name: "net",
    make: () => dynamicDir({ lookup: (cx, name) => cx.kernel.procfs.net.get(name) ?? null, list: listNet }),
  },
];

const listNet = ({ kernel }: Cx): { readonly name: string; readonly type: number }[] =>
  [...kernel.procfs.net.children].map(([name, node]) => ({ name, type: node.mode >> 12 }));

/**
 * The program's file. A program that the host runs without a file of its own is named by its path (`task.executable`).
 */
function exeLink(target: Target): ReturnType<typeof magicLink> {
  if (exeOf(target) !== undefined || target.mm === null || target.task.executable === "")
    return magicLink(target, () => exeOf(target));
  const path = (cx: Cx): Result<string> =>
    mayRead(cx, target.task) ? bytesText(target.task.executable) : EACCES;
  return symlink(path, path, target.nodeOptions);
}

/** The badness scaled to 0 … 2000 (proc_oom_score). */
function oomScore({ process, kernel }: Task): number {
  const badness = oomBadness(process);
  if (badness === -Infinity) return 0;
  return Math.max(0, Math.trunc(((1000 + Math.trunc((badness * 1000) / totalPages(kernel))) * 2) / 3));
}
