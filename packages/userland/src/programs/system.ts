/** Tools about the system: uname, hostname, uptime, free, dmesg, mount, umount, poweroff, reboot, halt. */
import { CLOCK, MNT_DETACH, MNT_FORCE, MS } from "@alien-ts/abi";
import { type SystemError, ToolError, UsageError, errnoOf } from "../libc/errors.ts";
import { readFile } from "../libc/files.ts";
import type { Process } from "../libc/process.ts";
import {
  type PowerAction,
  SYSLOG,
  readKernelLog,
  setHostName,
  stopMachine,
  systemInformation,
  tryMount,
  uname as getNames,
  unmount,
} from "../libc/system.ts";
import { linesOf } from "../libc/text.ts";
import { clockGetTime, formatTime } from "../libc/time.ts";
import { type Tool, complain, forEachOperand, tool } from "../libc/tool.ts";
import { humanSize } from "../libc/units.ts";

export const uname = tool({
  name: "uname",
  usage: "uname [-amnoprsvi]",
  options: "aimnoprsv",
  long: {
    all: "a",
    "kernel-name": "s",
    nodename: "n",
    "kernel-release": "r",
    "kernel-version": "v",
    machine: "m",
    processor: "p",
    "hardware-platform": "i",
    "operating-system": "o",
  },
  main: async (process, { options, operands }) => {
    if (operands.length > 0) throw new UsageError(`extra operand '${operands[0]!}'`);
    const name = await getNames(process);
    const fields: readonly (readonly [string, string, boolean])[] = [
      ["s", name.sysname, true],
      ["n", name.nodename, true],
      ["r", name.release, true],
      ["v", name.version, true],
      ["m", name.machine, true],
      ["p", "unknown", false],
      ["i", "unknown", false],
      ["o", "GNU/Linux", true],
    ];
    const isDefault = options.all.length === 0;
    const shown = fields.filter(
      ([letter, , inAll]) =>
        options.has(letter) || (options.has("a") && inAll) || (isDefault && letter === "s"),
    );
    await process.stdout.writeLine(shown.map(([, text]) => text).join(" "));
    return 0;
  },
});

export const hostname = tool({
  name: "hostname",
  usage: "hostname [-fs] [NAME]",
  options: "fs",
  long: { short: "s", fqdn: "f", long: "f" },
  main: async (process, { options, operands }) => {
    const [name] = operands;
    if (name !== undefined) {
      await setHostName(process, name);
      return 0;
    }
    const { nodename } = await getNames(process);
    await process.stdout.writeLine(options.has("s") ? nodename.split(".")[0]! : nodename);
    return 0;
  },
});

export const uptime = tool({
  name: "uptime",
  usage: "uptime [-ps]",
  options: "ps",
  long: { pretty: "p", since: "s" },
  main: async (process, { options }) => {
    const now = await clockGetTime(process);
    const up = (await clockGetTime(process, CLOCK.BOOTTIME)).seconds;
    if (options.has("s")) {
      await process.stdout.writeLine(
        formatTime("%Y-%m-%d %H:%M:%S", { seconds: now.seconds - up, nanoseconds: 0 }),
      );
      return 0;
    }
    const [days, hours, minutes] = [
      Math.floor(up / 86_400),
      Math.floor(up / 3600) % 24,
      Math.floor(up / 60) % 60,
    ];
    if (options.has("p")) {
      const part = (value: number, unit: string): string[] =>
        value === 0 ? [] : [`${value} ${unit}${value === 1 ? "" : "s"}`];
      const parts = [...part(days, "day"), ...part(hours, "hour"), ...part(minutes, "minute")];
      await process.stdout.writeLine(`up ${parts.length > 0 ? parts.join(", ") : "0 minutes"}`);
      return 0;
    }
    const { loads } = await systemInformation(process);
    const averages = [0, 1, 2].map((i) => (loads.get(i) / 65_536).toFixed(2)).join(", ");
    const dayText = days > 0 ? `${days} day${days === 1 ? "" : "s"}, ` : "";
    const time =
      hours > 0 ? `${String(hours).padStart(2)}:${String(minutes).padStart(2, "0")}` : `${minutes} min`;
    await process.stdout.writeLine(
      ` ${formatTime("%H:%M:%S", now)} up ${dayText}${time},  1 user,  load average: ${averages}`,
    );
    return 0;
  },
});

export const free = tool({
  name: "free",
  usage: "free [-bkmgh]",
  options: "bkmghtw",
  long: { bytes: "b", kibi: "k", mebi: "m", gibi: "g", human: "h", total: "t" },
  main: async (process, { options }) => {
    const meminfo = new Map(
      linesOf(await readFile(process, "/proc/meminfo")).map((line) => {
        const match = /^(\w+(?:\(\w+\))?):\s+(\d+)/.exec(line);
        return [match?.[1] ?? "", Number(match?.[2] ?? 0)] as const;
      }),
    );
    const kib = (name: string): number => meminfo.get(name) ?? 0;
    const divisor =
      { b: 1 / 1024, k: 1, m: 1024, g: 1024 ** 2 }[options.last("b", "k", "m", "g") ?? "k"] ?? 1;
    const show = (value: number): string =>
      (options.has("h")
        ? humanSize(value * 1024).replace(/([KMGTPE])$/, "$1i")
        : String(Math.floor(value / divisor))
      ).padStart(11);
    const cache = kib("Buffers") + kib("Cached") + kib("SReclaimable");
    const available = meminfo.has("MemAvailable") ? kib("MemAvailable") : kib("MemFree") + cache;
    const used = Math.max(kib("MemTotal") - kib("MemFree") - cache, 0);
    const titles = ["total", "used", "free", "shared", "buff/cache", "available"].map((title) =>
      title.padStart(11),
    );
    const memory = [kib("MemTotal"), used, kib("MemFree"), kib("Shmem"), cache, available].map((value) =>
      show(value),
    );
    const swapUsed = kib("SwapTotal") - kib("SwapFree");
    const swap = [kib("SwapTotal"), swapUsed, kib("SwapFree")].map((value) => show(value));
    await process.stdout.write(
      `       ${titles.join(" ")}\nMem:   ${memory.join(" ")}\nSwap:  ${swap.join(" ")}\n`,
    );
    if (options.has("t")) {
      const total = [kib("MemTotal") + kib("SwapTotal"), used + swapUsed, kib("MemFree") + kib("SwapFree")];
      await process.stdout.write(`Total: ${total.map((value) => show(value)).join(" ")}\n`);
    }
    return 0;
  },
});

export const dmesg = tool({
  name: "dmesg",
  usage: "dmesg [-Ccrt] [-l LEVELS] [-n LEVEL]",
  options: "Ccl:n:rtx",
  long: { clear: "C", "read-clear": "c", raw: "r", notime: "t", level: "l", "console-level": "n" },
  main: async (process, { options }) => {
    if (options.has("C")) {
      await process.call("syslog", SYSLOG.CLEAR);
      return 0;
    }
    if (options.has("n")) {
      await process.call("syslog", SYSLOG.CONSOLE_LEVEL, 0, levelNumber(options.value("n") ?? ""));
      return 0;
    }
    const levels = options
      .value("l")
      ?.split(",")
      .map((text) => levelNumber(text));
    const log = await readKernelLog(process, options.has("c") ? SYSLOG.READ_CLEAR : SYSLOG.READ_ALL);
    for (const line of linesOf(log)) {
      const match = /^<(\d+)>([^]*)$/.exec(line);
      const level = Number(match?.[1] ?? 6) & 7;
      if (levels !== undefined && !levels.includes(level)) continue;
      const text = options.has("r") ? line : (match?.[2] ?? line);
      await process.stdout.writeLine(options.has("t") ? text.replace(/^\[ *[\d.]+\] /, "") : text);
    }
    return 0;
  },
});

const LEVELS = ["emerg", "alert", "crit", "err", "warn", "notice", "info", "debug"];

function levelNumber(text: string): number {
  const index = LEVELS.indexOf(text);
  if (index >= 0) return index;
  if (/^[1-8]$/.test(text)) return Number(text);
  throw new ToolError(`unknown level '${text}'`);
}

const FLAGS: Readonly<Record<string, number>> = {
  ro: MS.RDONLY,
  nosuid: MS.NOSUID,
  nodev: MS.NODEV,
  noexec: MS.NOEXEC,
  sync: MS.SYNCHRONOUS,
  remount: MS.REMOUNT,
  noatime: MS.NOATIME,
  nodiratime: MS.NODIRATIME,
  bind: MS.BIND,
  rbind: MS.BIND | MS.REC,
  relatime: MS.RELATIME,
  strictatime: MS.STRICTATIME,
  rw: 0,
  defaults: 0,
};

export const mount = tool({
  name: "mount",
  usage: "mount [-rwt TYPE] [-o OPTION[,OPTION]...] [SOURCE] DIRECTORY",
  errorStatus: 32,
  options: "no:rt:vw",
  long: { bind: "bind", types: "t", options: "o", "read-only": "r", move: "move" },
  main: async (process, { options, operands }) => {
    if (operands.length === 0) return listMounts(process, options.value("t"));
    const [source, target = source] = operands;
    if (source === undefined || target === undefined || operands.length > 2)
      throw new UsageError("bad usage");
    const words = options.values("o").flatMap((text) => text.split(","));
    if (options.has("r")) words.push("ro");
    if (options.has("bind")) words.push("bind");
    const flags = words.reduce((bits, word) => bits | (FLAGS[word] ?? 0), options.has("move") ? MS.MOVE : 0);
    const data = words.filter((word) => !Object.hasOwn(FLAGS, word)).join(",");
    const type = options.value("t") ?? ((flags & (MS.BIND | MS.MOVE | MS.REMOUNT)) === 0 ? "auto" : "none");
    const result = await tryMount(process, {
      source: operands.length > 1 ? source : "none",
      target,
      type,
      flags,
      data,
    });
    if (result < 0) throw new ToolError(`${target}: ${mountProblem(result, type)}`, 32);
    return 0;
  },
});

const mountProblem = (result: number, type: string): string =>
  errnoOf(result).name === "ENODEV" ? `unknown filesystem type '${type}'.` : `${errnoOf(result).message}.`;

async function listMounts(process: Process, type: string | undefined): Promise<number> {
  for (const line of linesOf(await readFile(process, "/proc/mounts"))) {
    const [source, target, kind, flags] = line
      .split(" ")
      .map((text) =>
        text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8))),
      );
    if (type !== undefined && !type.split(",").includes(kind ?? "")) continue;
    await process.stdout.writeLine(`${source} on ${target} type ${kind} (${flags})`);
  }
  return 0;
}

export const umount = tool({
  name: "umount",
  usage: "umount [-fl] DIRECTORY...",
  errorStatus: 32,
  options: "flnrv",
  long: { force: "f", lazy: "l" },
  main: async (process, { options, operands }) => {
    if (operands.length === 0) throw new UsageError("bad usage");
    const flags = (options.has("f") ? MNT_FORCE : 0) | (options.has("l") ? MNT_DETACH : 0);
    const describe = (error: SystemError): string =>
      error.errno.name === "EINVAL"
        ? `${error.path ?? ""}: not mounted.`
        : `${error.path ?? ""}: ${error.errno.message}.`;
    const status = await forEachOperand(
      process,
      "umount",
      operands,
      (path) => unmount(process, path, flags),
      describe,
    );
    return status === 0 ? 0 : 32;
  },
});

const powerTool = (name: string, action: PowerAction): Tool =>
  tool({
    name,
    path: `/sbin/${name}`,
    usage: `${name} [-fn]`,
    options: "dfnpw",
    main: async (process) => {
      const result = await stopMachine(process, action);
      await complain(process, name, errnoOf(result).message);
      return 1;
    },
  });

export const poweroff = powerTool("poweroff", "poweroff");
export const halt = powerTool("halt", "halt");
export const reboot = powerTool("reboot", "restart");
