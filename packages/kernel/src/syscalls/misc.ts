/** The machine: uname, names, sysinfo, getrandom, the log, reboot, getcpu, personality. Linux: kernel/sys.c, kernel/printk, kernel/reboot.c. */
import {
  CAP,
  EAGAIN,
  EFAULT,
  EINVAL,
  EPERM,
  isErr,
  NR,
  NSEC_PER_SEC,
  PAGE_SIZE,
  REBOOT,
  type Result,
  sysinfo,
  type UAddr,
} from "@alien-ts/abi";
import { capable } from "../core/cred.ts";
import type { Cx } from "../core/cx.ts";
import { assert } from "../core/kernel.ts";
import type { Blocking } from "../core/row.ts";
import { int, sizeArg, syscall, uint, ulongArg, userPointer } from "../core/syscall.ts";
import { TASK } from "../core/task.ts";
import { syslogLine } from "../fs/proc/kmsg.ts";
import { sysctlInt } from "../fs/proc/sysctl.ts";
import { UTS_NAME_MAX } from "../fs/proc/uts.ts";
import { access_ok, copyBytesToUser, put_user_u32, readUserBytes, writeUserBytes } from "../mm/uaccess.ts";
import { waitEvent } from "../sched/wait.ts";
import { byteString, bytesOf } from "../vfs/dentry.ts";
import { getString, putStruct, userMm } from "../vfs/user.ts";

/** Each of the six strings of struct new_utsname, with its NUL. */
const UTS_FIELD_BYTES = UTS_NAME_MAX + 1;

export const sys_newuname = syscall(
  NR.uname,
  "newuname",
  [["name", userPointer("struct new_utsname")]],
  (cx, name) => {
    const { uts } = cx.kernel;
    const texts = [uts.sysname, uts.nodename, uts.release, uts.version, uts.machine, uts.domainname];
    const bytes = new Uint8Array(texts.length * UTS_FIELD_BYTES);
    texts.forEach((text, i) => bytes.set(bytesOf(text.slice(0, UTS_NAME_MAX)), i * UTS_FIELD_BYTES));
    return writeUserBytes(userMm(cx), name, bytes);
  },
);

const NAME_PARAMS = [
  ["name", userPointer("char")],
  ["len", int],
] as const;

function readName(cx: Cx, name: UAddr, length: number): Result<string> {
  if (!capable(cx, CAP.SYS_ADMIN)) return EPERM;
  if (length < 0 || length > UTS_NAME_MAX) return EINVAL;
  const bytes = readUserBytes(userMm(cx), name, length);
  if (isErr(bytes)) return bytes;
  const end = bytes.indexOf(0);
  return byteString(end < 0 ? bytes : bytes.subarray(0, end));
}

export const sys_sethostname = syscall(NR.sethostname, "sethostname", NAME_PARAMS, (cx, name, length) => {
  const text = readName(cx, name, length);
  if (isErr(text)) return text;
  cx.kernel.uts.nodename = text;
  return 0;
});

export const sys_setdomainname = syscall(
  NR.setdomainname,
  "setdomainname",
  NAME_PARAMS,
  (cx, name, length) => {
    const text = readName(cx, name, length);
    if (isErr(text)) return text;
    cx.kernel.uts.domainname = text;
    return 0;
  },
);

export const sys_sysinfo = syscall(
  NR.sysinfo,
  "sysinfo",
  [["info", userPointer("struct sysinfo")]],
  (cx, info) => {
    const { pages, clock, pids } = cx.kernel;
    return putStruct(cx, sysinfo, info, (view) => {
      view.uptime = Math.ceil(clock.nowNs() / NSEC_PER_SEC);
      view.totalram = pages.totalPages * PAGE_SIZE;
      view.freeram = pages.freePages * PAGE_SIZE;
      view.procs = pids.count;
      view.mem_unit = 1;
    });
  },
  { fidelity: { simplified: "load averages, shared and buffer memory are 0" } },
);

const GRND = { NONBLOCK: 1, RANDOM: 2, INSECURE: 4 } as const;
const RANDOM_BYTES_MAX = 0x7fff_f000;
const RANDOM_CHUNK = 4096;

export const sys_getrandom = syscall(
  NR.getrandom,
  "getrandom",
  [
    ["ubuf", userPointer("char")],
    ["len", sizeArg],
    ["flags", uint],
  ],
  (cx, ubuf, length, flags) => {
    if ((flags & ~(GRND.NONBLOCK | GRND.RANDOM | GRND.INSECURE)) !== 0) return EINVAL;
    const both = GRND.RANDOM | GRND.INSECURE;
    if ((flags & both) === both) return EINVAL;
    const mm = userMm(cx);
    const wanted = Math.min(length, RANDOM_BYTES_MAX);
    const chunk = new Uint8Array(Math.min(wanted, RANDOM_CHUNK));
    for (let done = 0; done < wanted; done += chunk.length) {
      const part = chunk.subarray(0, Math.min(chunk.length, wanted - done));
      cx.kernel.prng.fill(part);
      const left = copyBytesToUser(mm, ubuf + done, part);
      if (left > 0) return done + part.length - left || EFAULT;
    }
    return wanted;
  },
);

/** syslog(2): commands. */
const LOG = {
  CLOSE: 0,
  OPEN: 1,
  READ: 2,
  READ_ALL: 3,
  READ_CLEAR: 4,
  CLEAR: 5,
  CONSOLE_OFF: 6,
  CONSOLE_ON: 7,
  CONSOLE_LEVEL: 8,
  SIZE_UNREAD: 9,
  SIZE_BUFFER: 10,
} as const;
/** Bytes that syslog says the log holds (CONFIG_LOG_BUF_SHIFT 18). */
const LOG_BUFFER_BYTES = 1 << 18;
const MINIMUM_CONSOLE_LEVEL = 1;

export const sys_syslog = syscall(
  NR.syslog,
  "syslog",
  [
    ["type", int],
    ["buf", userPointer("char")],
    ["len", int],
  ],
  (cx, type, buf, length) => {
    const { log, syslog } = cx.kernel;
    const isOpen = type === LOG.READ_ALL || type === LOG.SIZE_BUFFER;
    const mayRead = isOpen && sysctlInt(cx.kernel, "kernel/dmesg_restrict") === 0;
    if (!mayRead && !capable(cx, CAP.SYSLOG) && !capable(cx, CAP.SYS_ADMIN)) return EPERM;
    switch (type) {
      case LOG.CLOSE:
      case LOG.OPEN:
        return 0;
      case LOG.READ:
        return buf === 0 || length < 0 ? EINVAL : length === 0 ? 0 : readLog(cx, buf, length);
      case LOG.READ_ALL:
      case LOG.READ_CLEAR: {
        if (buf === 0 || length < 0) return EINVAL;
        if (length > 0 && !access_ok(buf, length)) return EFAULT;
        const read = lastLines(cx, buf, length);
        if (type === LOG.READ_CLEAR && !isErr(read)) log.clear();
        return read;
      }
      case LOG.CLEAR:
        log.clear();
        return 0;
      case LOG.CONSOLE_OFF:
        return setConsole(cx, MINIMUM_CONSOLE_LEVEL, true);
      case LOG.CONSOLE_ON:
        return setConsole(cx, cx.kernel.savedConsoleLevel ?? log.consoleLevel, false);
      case LOG.CONSOLE_LEVEL:
        return length < 1 || length > 8
          ? EINVAL
          : setConsole(cx, Math.max(length, MINIMUM_CONSOLE_LEVEL), false);
      case LOG.SIZE_UNREAD:
        return syslog.unreadBytes;
      case LOG.SIZE_BUFFER:
        return LOG_BUFFER_BYTES;
      default:
        return EINVAL;
    }
  },
);

declare module "../core/kernel.ts" {
  interface Kernel {
    /** The console level before SYSLOG_ACTION_CONSOLE_OFF. */
    savedConsoleLevel: number | undefined;
  }
}

function setConsole({ kernel }: Cx, level: number, saves: boolean): number {
  if (saves) kernel.savedConsoleLevel ??= kernel.log.consoleLevel;
  else kernel.savedConsoleLevel = undefined;
  kernel.log.consoleLevel = level;
  return 0;
}

function* readLog(cx: Cx, buf: UAddr, length: number): Blocking<Result<number>> {
  const { syslog } = cx.kernel;
  const woken = yield* waitEvent(cx, syslog.queue, () => syslog.hasText);
  if (isErr(woken)) return woken;
  const text = bytesOf(syslog.take(length));
  return isErr(writeUserBytes(userMm(cx), buf, text)) ? EFAULT : text.length;
}

/** The newest whole lines since the last clear that fit. */
function lastLines(cx: Cx, buf: UAddr, length: number): Result<number> {
  const lines = cx.kernel.log.sinceClear().map(syslogLine);
  let first = lines.length;
  let size = 0;
  while (first > 0 && size + lines[first - 1]!.length <= length) size += lines[--first]!.length;
  const text = bytesOf(lines.slice(first).join(""));
  return isErr(writeUserBytes(userMm(cx), buf, text)) ? EFAULT : text.length;
}

const REBOOT_MAGICS: readonly number[] = [REBOOT.MAGIC2, 0x0512_1996, 0x1604_1998, 0x2011_2000];
const CMD_RESTART2 = 0xa1b2_c3d4;
const RESTART_TEXT_MAX = 256;

export const sys_reboot = syscall(
  NR.reboot,
  "reboot",
  [
    ["magic1", int],
    ["magic2", int],
    ["cmd", uint],
    ["arg", userPointer("void")],
  ],
  (cx, magic1, magic2, cmd, arg) => {
    if (!capable(cx, CAP.SYS_BOOT)) return EPERM;
    if (magic1 >>> 0 !== REBOOT.MAGIC1 || !REBOOT_MAGICS.includes(magic2 >>> 0)) return EINVAL;
    switch (cmd) {
      case REBOOT.CMD_CAD_ON:
      case REBOOT.CMD_CAD_OFF:
        return 0;
      case REBOOT.CMD_RESTART:
        return stopMachine(cx, "Restarting system", arg);
      case REBOOT.CMD_HALT:
        return stopMachine(cx, "System halted", arg);
      case REBOOT.CMD_POWER_OFF:
        return stopMachine(cx, "Power down", arg);
      case CMD_RESTART2: {
        const text = getString(cx, arg, RESTART_TEXT_MAX, EINVAL);
        return isErr(text) ? text : stopMachine(cx, `Restarting system with command '${text}'`, 0);
      }
      default:
        return EINVAL;
    }
  },
  {
    doc: "Stops the machine. The low 8 bits of arg, which Linux ignores, are the exit status that the host gets.",
  },
);

/** Never returns: nothing runs any more. */
function* stopMachine(cx: Cx, text: string, status: number): Blocking<Result<number>> {
  cx.kernel.log.emerg(`reboot: ${text}`);
  cx.kernel.sched.halted = status % 256;
  cx.task.t.__state = TASK.UNINTERRUPTIBLE;
  yield;
  assert(false, "a task ran on a machine that is off");
  return EAGAIN;
}

export const sys_getcpu = syscall(
  NR.getcpu,
  "getcpu",
  [
    ["cpup", userPointer("unsigned")],
    ["nodep", userPointer("unsigned")],
    ["unused", userPointer("struct getcpu_cache")],
  ],
  (cx, cpup, nodep) => {
    const mm = userMm(cx);
    if (cpup !== 0 && isErr(put_user_u32(mm, cpup, cx.cpu.id))) return EFAULT;
    return nodep !== 0 && isErr(put_user_u32(mm, nodep, 0)) ? EFAULT : 0;
  },
);

const PERSONALITY_QUERY = 0xffff_ffff;

export const sys_personality = syscall(
  NR.personality,
  "personality",
  [["personality", uint]],
  (cx, wanted) => {
    const old = cx.task.t.personality;
    if (wanted !== PERSONALITY_QUERY) cx.task.t.personality = wanted;
    return old;
  },
);

/** Instruction caches follow stores here, so that there is nothing to flush. */
export const sys_riscv_flush_icache = syscall(
  NR.riscv_flush_icache,
  "riscv_flush_icache",
  [
    ["start", ulongArg],
    ["end", ulongArg],
    ["flags", ulongArg],
  ],
  (_cx, _start, _end, flags) => ((flags & ~1) !== 0 ? EINVAL : 0),
);

export const MISC_SYSCALLS = [
  sys_newuname,
  sys_sethostname,
  sys_setdomainname,
  sys_sysinfo,
  sys_getrandom,
  sys_syslog,
  sys_reboot,
  sys_getcpu,
  sys_personality,
  sys_riscv_flush_icache,
] as const;
