/**
 * Signals: names, dispositions, masks, sending.
 *
 * A handler is an async function; the kernel runs it when a trap ends (the interrupted call answers EINTR, or is
 * restarted with `restart`). It has an address like every function that the kernel may call.
 */
import { NR, SA, SIG, SIG_DFL, SIG_IGN, SIG_SETMASK, sigaction } from "@alien-ts/abi";
import type { UserFunction } from "../host/program.ts";
import { check } from "./errors.ts";
import type { Process } from "./process.ts";
import { pass, withBlock } from "./structs.ts";

/** Bytes of the kernel's signal set. */
const SIGSET_BYTES = 8;

export type SignalAction = "default" | "ignore" | ((signal: number) => void | Promise<void>);

/** Name without SIG, by number: `HUP`, `INT`, … */
const NAMES: readonly (string | undefined)[] = (() => {
  const names: (string | undefined)[] = [];
  for (const [name, number] of Object.entries(SIG)) names[number] = name;
  return names;
})();

/** `INT` for 2; a real-time signal is `RTMIN+n`. */
export function signalName(number: number): string {
  const name = NAMES[number];
  if (name !== undefined) return name;
  return number > SIG.RTMIN && number < SIG.RTMAX ? `RTMIN+${number - SIG.RTMIN}` : String(number);
}

/** The number of `INT`, `SIGINT`, `int` or `2`; 0 is the null signal. Undefined where there is none. */
export function signalNumber(text: string): number | undefined {
  if (/^\d+$/.test(text)) return Number(text) <= SIG.RTMAX ? Number(text) : undefined;
  const name = text.toUpperCase().replace(/^SIG/, "");
  if (name === "EXIT") return 0;
  const number = NAMES.indexOf(name);
  return number > 0 ? number : undefined;
}

/** The words of strsignal(3) that a shell prints for a job that a signal ended. */
const DESCRIPTIONS: Readonly<Record<number, string>> = {
  [SIG.HUP]: "Hangup",
  [SIG.INT]: "Interrupt",
  [SIG.QUIT]: "Quit",
  [SIG.ILL]: "Illegal instruction",
  [SIG.TRAP]: "Trace/breakpoint trap",
  [SIG.ABRT]: "Aborted",
  [SIG.BUS]: "Bus error",
  [SIG.FPE]: "Floating point exception",
  [SIG.KILL]: "Killed",
  [SIG.USR1]: "User defined signal 1",
  [SIG.SEGV]: "Segmentation fault",
  [SIG.USR2]: "User defined signal 2",
  [SIG.PIPE]: "Broken pipe",
  [SIG.ALRM]: "Alarm clock",
  [SIG.TERM]: "Terminated",
  [SIG.STOP]: "Stopped (signal)",
  [SIG.TSTP]: "Stopped",
  [SIG.TTIN]: "Stopped (tty input)",
  [SIG.TTOU]: "Stopped (tty output)",
};

export const describeSignal = (number: number): string => DESCRIPTIONS[number] ?? `Signal ${number}`;

/** Last signal number that has a name of its own. */
export const LAST_NAMED_SIGNAL = SIG.SYS;

/** signal(2) by rt_sigaction; the handler that it replaces keeps its address until the process ends. */
export async function setSignal(
  process: Process,
  signal: number,
  action: SignalAction,
  options: { readonly restart?: boolean } = {},
): Promise<void> {
  check(await trySetSignal(process, signal, action, options), "rt_sigaction");
}

/** As `setSignal`, with a raw result: SIGKILL and SIGSTOP answer EINVAL. */
export function trySetSignal(
  process: Process,
  signal: number,
  action: SignalAction,
  options: { readonly restart?: boolean } = {},
): Promise<number> {
  if (typeof action === "function") process.caughtSignals.add(signal);
  else process.caughtSignals.delete(signal);
  const set = (view: { sa_handler: number; sa_flags: number }): void => {
    view.sa_handler = handlerAddress(process, action);
    view.sa_flags = options.restart === true ? SA.RESTART : 0;
  };
  return pass(process, sigaction, set, (addr) =>
    process.trap(NR.rt_sigaction, signal, addr, 0, SIGSET_BYTES),
  );
}

/** One UserFunction per handler, so that a handler set again keeps its address. */
const trampolines = new WeakMap<object, UserFunction>();

function handlerAddress(process: Process, action: SignalAction): number {
  if (action === "default") return SIG_DFL;
  if (action === "ignore") return SIG_IGN;
  const known = trampolines.get(action);
  const trampoline: UserFunction = known ?? ((_task, signal) => action(signal));
  trampolines.set(action, trampoline);
  return process.task.space.addressOf(trampoline);
}

/** Whether the process ignores `signal` now. */
export async function isIgnored(process: Process, signal: number): Promise<boolean> {
  return withBlock(process, 32, async (addr) => {
    check(await process.trap(NR.rt_sigaction, signal, 0, addr, SIGSET_BYTES), "rt_sigaction");
    return process.memory.readU64(addr) === SIG_IGN;
  });
}

/** A set of signals as two 32-bit words: signal n is bit n - 1. */
export interface SignalSet {
  readonly low: number;
  readonly high: number;
}

export const ALL_SIGNALS: SignalSet = { low: 0xffff_ffff, high: 0xffff_ffff };
export const NO_SIGNALS: SignalSet = { low: 0, high: 0 };

export function signalSet(...signals: readonly number[]): SignalSet {
  let low = 0;
  let high = 0;
  for (const signal of signals) {
    if (signal <= 32) low |= 1 << (signal - 1);
    else high |= 1 << (signal - 33);
  }
  return { low: low >>> 0, high: high >>> 0 };
}

/** sigprocmask(2) with SIG_SETMASK: the mask that was in force. */
export async function setSignalMask(process: Process, mask: SignalSet): Promise<SignalSet> {
  return withBlock(process, 2 * SIGSET_BYTES, async (addr) => {
    const { memory } = process;
    memory.writeU32(addr, mask.low);
    memory.writeU32(addr + 4, mask.high);
    const old = addr + SIGSET_BYTES;
    check(await process.trap(NR.rt_sigprocmask, SIG_SETMASK, addr, old, SIGSET_BYTES), "rt_sigprocmask");
    return { low: memory.readU32(old), high: memory.readU32(old + 4) };
  });
}

/** sigsuspend(2): waits with `mask` in force until a handler has run. */
export async function suspendFor(process: Process, mask: SignalSet): Promise<void> {
  await withBlock(process, SIGSET_BYTES, async (addr) => {
    process.memory.writeU32(addr, mask.low);
    process.memory.writeU32(addr + 4, mask.high);
    await process.trap(NR.rt_sigsuspend, addr, SIGSET_BYTES);
  });
}

/** kill(2): a raw result. */
export const kill = (process: Process, pid: number, signal: number): number | Promise<number> =>
  process.trap(NR.kill, pid, signal);
