/** ps(1): processes from /proc, with POSIX's `-A -e -f -l -o -p -u` and BSD's `aux`. */
import { NR } from "@alien-ts/abi";
import { readNames } from "../libc/accounts.ts";
import { listNames } from "../libc/directories.ts";
import { SystemError, ToolError } from "../libc/errors.ts";
import { readFile, stat } from "../libc/files.ts";
import type { Options } from "../libc/getopt.ts";
import type { Process } from "../libc/process.ts";
import { clockGetTime, formatTime } from "../libc/time.ts";
import { tool } from "../libc/tool.ts";

interface ProcessRow {
  readonly pid: number;
  readonly ppid: number;
  readonly pgid: number;
  readonly sid: number;
  readonly tty: number;
  readonly state: string;
  readonly comm: string;
  readonly args: string;
  readonly user: string;
  readonly cpuSeconds: number;
  readonly startSeconds: number;
  readonly nice: number;
  readonly vsz: number;
  readonly rss: number;
  readonly threads: number;
}

interface Column {
  readonly title: string;
  readonly right?: boolean;
  readonly value: (row: ProcessRow, now: number) => string;
}

const TICKS_PER_SECOND = 100;

const COLUMNS: Readonly<Record<string, Column>> = {
  pid: { title: "PID", right: true, value: ({ pid }) => String(pid).padStart(7) },
  ppid: { title: "PPID", right: true, value: ({ ppid }) => String(ppid).padStart(7) },
  pgid: { title: "PGID", right: true, value: ({ pgid }) => String(pgid).padStart(7) },
  sid: { title: "SID", right: true, value: ({ sid }) => String(sid).padStart(7) },
  user: { title: "USER", value: ({ user }) => user.padEnd(8) },
  tty: { title: "TTY", value: ({ tty }) => ttyName(tty).padEnd(8) },
  stat: { title: "STAT", value: ({ state }) => state.padEnd(4) },
  s: { title: "S", value: ({ state }) => state[0] ?? "?" },
  time: { title: "TIME", right: true, value: ({ cpuSeconds }) => clock(cpuSeconds) },
  etime: {
    title: "ELAPSED",
    right: true,
    value: ({ startSeconds }, now) => elapsed(now - startSeconds).padStart(11),
  },
  stime: {
    title: "STIME",
    value: ({ startSeconds }) => formatTime("%H:%M", { seconds: startSeconds, nanoseconds: 0 }),
  },
  c: { title: "C", right: true, value: () => " 0" },
  ni: { title: "NI", right: true, value: ({ nice }) => String(nice).padStart(3) },
  vsz: { title: "VSZ", right: true, value: ({ vsz }) => String(Math.floor(vsz / 1024)).padStart(6) },
  rss: { title: "RSS", right: true, value: ({ rss }) => String(rss * 4).padStart(5) },
  pcpu: {
    title: "%CPU",
    right: true,
    value: ({ cpuSeconds, startSeconds }, now) => percent(cpuSeconds, now - startSeconds),
  },
  pmem: { title: "%MEM", right: true, value: () => " 0.0" },
  nlwp: { title: "NLWP", right: true, value: ({ threads }) => String(threads).padStart(4) },
  comm: { title: "COMMAND", value: ({ comm }) => comm },
  cmd: { title: "CMD", value: ({ args }) => args },
  args: { title: "COMMAND", value: ({ args }) => args },
};

const ALIASES: Readonly<Record<string, string>> = {
  tname: "tty",
  tt: "tty",
  command: "args",
  ucmd: "comm",
  fname: "comm",
  uid: "user",
  euser: "user",
  state: "s",
  nice: "ni",
  "%cpu": "pcpu",
  "%mem": "pmem",
  start: "stime",
  pgrp: "pgid",
  sess: "sid",
  session: "sid",
  vsize: "vsz",
  thcount: "nlwp",
};

const DEFAULT = ["pid", "tty", "time", "comm=CMD"];
const FULL = ["user=UID", "pid", "ppid", "c", "stime", "tty", "time", "cmd"];
const BSD = ["user", "pid", "pcpu", "pmem", "vsz", "rss", "tty", "stat", "stime=START", "time", "args"];

export const ps = tool({
  name: "ps",
  usage: "ps [-Aadefl] [-g SESSIONS] [-o FORMAT] [-p PIDS] [-t TERMINALS] [-U USERS] [-u USERS] | ps aux",
  options: "Aadefg:ho:p:t:U:u:lwx",
  long: { "no-headers": "h", format: "o", pid: "p", user: "u" },
  rewrite: (words) => words.map((word, i) => (i === 0 && /^[auxfew]+$/.test(word) ? "-x" : word)),
  main: async (process, { options, operands }) => {
    if (operands.length > 0) throw new ToolError(`error: unsupported argument '${operands[0]!}'`);
    const rows = await readProcesses(process);
    const pids = listOption(options, "p")?.map(Number);
    const isBsd = options.has("x");
    const pid = await process.trap(NR.getpid);
    const own = rows.find((row) => row.pid === pid);
    const chosen = rows.filter((row) => isChosen(row, { options, pids, own }));
    const given = options.values("o").flatMap((text) => text.split(/[ ,]+/));
    const format =
      given.length > 0 ? given : isBsd ? BSD : options.has("f") || options.has("l") ? FULL : DEFAULT;
    await printTable(process, { rows: chosen, format, withTitles: !options.has("h") });
    return pids !== undefined && chosen.length === 0 ? 1 : 0;
  },
});

/** The values of an option that takes a list. */
const listOption = (options: Options, key: string): string[] | undefined =>
  options.has(key) ? options.values(key).flatMap((text) => text.split(/[ ,]+/)) : undefined;

interface Selection {
  readonly options: Options;
  readonly pids: readonly number[] | undefined;
  /** The process of ps itself. */
  readonly own: ProcessRow | undefined;
}

/** POSIX: options that select add up; without any, what runs on the terminal of ps. */
function isChosen(row: ProcessRow, { options, pids, own }: Selection): boolean {
  if (["A", "e", "x"].some((letter) => options.has(letter))) return true;
  const lists = [
    pids?.includes(row.pid),
    (listOption(options, "u") ?? listOption(options, "U"))?.includes(row.user),
    listOption(options, "g")?.includes(String(row.sid)),
    listOption(options, "t")?.some((name) => name.replace(/^\/dev\//, "") === ttyName(row.tty)),
    options.has("d") ? row.sid !== row.pid : undefined,
    options.has("a") ? row.sid !== row.pid && row.tty !== 0 : undefined,
  ].filter((chosen) => chosen !== undefined);
  return lists.length > 0 ? lists.includes(true) : own === undefined || row.tty === own.tty;
}

async function readProcesses(process: Process): Promise<ProcessRow[]> {
  const names = await readNames(process);
  const boot = await bootSeconds(process);
  const rows: ProcessRow[] = [];
  for (const entry of await listNames(process, "/proc")) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      const text = await readFile(process, `/proc/${entry}/stat`);
      const args = (await readFile(process, `/proc/${entry}/cmdline`))
        .replace(/\0+$/, "")
        .replace(/\0/g, " ");
      const { st_uid } = await stat(process, `/proc/${entry}`);
      rows.push(parseStat(text, { args, user: names.user(st_uid), boot }));
    } catch (error) {
      // It has ended since the directory was read.
      if (!(error instanceof SystemError)) throw error;
    }
  }
  return rows.sort((a, b) => a.pid - b.pid);
}

async function bootSeconds(process: Process): Promise<number> {
  const uptime = Number((await readFile(process, "/proc/uptime")).split(" ")[0]);
  return (await clockGetTime(process)).seconds - uptime;
}

/** proc_pid_stat(5): the name is in parentheses and may have spaces. */
function parseStat(
  text: string,
  extra: { readonly args: string; readonly user: string; readonly boot: number },
): ProcessRow {
  const open = text.indexOf("(");
  const close = text.lastIndexOf(")");
  const comm = text.slice(open + 1, close);
  const fields = text
    .slice(close + 2)
    .trim()
    .split(" ");
  const field = (number: number): number => Number(fields[number - 3] ?? 0);
  const state = fields[0] ?? "?";
  const isForeground = field(8) === field(5) && field(7) > 0;
  const pid = Number(text.slice(0, open));
  return {
    pid,
    ppid: field(4),
    pgid: field(5),
    sid: field(6),
    tty: field(7),
    state: `${state}${field(6) === pid ? "s" : ""}${isForeground ? "+" : ""}`,
    comm,
    args: extra.args === "" ? `[${comm}]` : extra.args,
    user: extra.user,
    cpuSeconds: (field(14) + field(15)) / TICKS_PER_SECOND,
    startSeconds: extra.boot + field(22) / TICKS_PER_SECOND,
    nice: field(19),
    threads: field(20),
    vsz: field(23),
    rss: field(24),
  };
}

async function printTable(
  process: Process,
  table: {
    readonly rows: readonly ProcessRow[];
    readonly format: readonly string[];
    readonly withTitles: boolean;
  },
): Promise<void> {
  const now = (await clockGetTime(process)).seconds;
  const columns = table.format.map((text) => {
    const [name = "", title] = text.split("=");
    const column = COLUMNS[ALIASES[name] ?? name];
    if (column === undefined) throw new ToolError(`error: unknown user-defined format specifier "${name}"`);
    return title === undefined ? column : { ...column, title };
  });
  const cells = table.rows.map((row) => columns.map(({ value }) => value(row, now)));
  const lines =
    table.withTitles && columns.some(({ title }) => title !== "")
      ? [columns.map(({ title }) => title), ...cells]
      : cells;
  const widths = columns.map((_, i) => Math.max(...lines.map((line) => line[i]!.length)));
  for (const line of lines) {
    const padded = line.map((cell, i) =>
      columns[i]!.right === true ? cell.padStart(widths[i]!) : cell.padEnd(widths[i]!),
    );
    await process.stdout.writeLine(padded.join(" ").trimEnd());
  }
}

/** tty_nr's device as a name: 5:1 is the console, 136:N is pts/N. */
function ttyName(device: number): string {
  if (device === 0) return "?";
  const [major, minor] = [(device >> 8) & 0xfff, (device & 0xff) | ((device >> 12) & 0xfff00)];
  if (major === 136) return `pts/${minor}`;
  if (major === 5) return minor === 1 ? "console" : "tty";
  return major === 4 ? (minor < 64 ? `tty${minor}` : `ttyS${minor - 64}`) : "?";
}

const two = (value: number): string => String(Math.floor(value)).padStart(2, "0");
const clock = (seconds: number): string =>
  `${two(seconds / 3600)}:${two((seconds / 60) % 60)}:${two(seconds % 60)}`;

function elapsed(seconds: number): string {
  const whole = Math.max(Math.floor(seconds), 0);
  const days = Math.floor(whole / 86_400);
  const hours = Math.floor(whole / 3600) % 24;
  const rest = `${two((whole / 60) % 60)}:${two(whole % 60)}`;
  if (days > 0) return `${days}-${two(hours)}:${rest}`;
  return hours > 0 ? `${two(hours)}:${rest}` : rest;
}

const percent = (cpu: number, life: number): string =>
  (life <= 0 ? 0 : Math.min((cpu / life) * 100, 99.9)).toFixed(1).padStart(4);
