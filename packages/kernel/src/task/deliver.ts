/**
 * The way back to user mode: stops, fatal signals, handlers, restarts. Linux: get_signal(), arch/riscv/kernel/signal.c.
 *
 * A handler's frame lies on the user stack in Linux's layout (struct rt_sigframe), with the interrupted registers in it;
 * rt_sigreturn restores them from there. A system call that was interrupted is made again by setting the pc back to the
 * ecall, whoever runs the user code: port.ts looks at the pc.
 */
import {
  abiStruct,
  bytes,
  CLD,
  EFAULT,
  EINTR,
  ERESTART_RESTARTBLOCK,
  ERESTARTNOHAND,
  ERESTARTNOINTR,
  ERESTARTSYS,
  type KAddr,
  NR,
  type Result,
  SA,
  SI,
  SIG,
  SIG_DFL,
  SIG_IGN,
  siginfo as siginfoStruct,
  SS,
  type UAddr,
  u64,
  ulong,
} from "@alien-ts/abi";
import type { Cx } from "../core/cx.ts";
import type { Blocking } from "../core/row.ts";
import { TASK, type Task } from "../core/task.ts";
import { readUserBytes, writeUserBytes } from "../mm/uaccess.ts";
import { do_exit, do_group_exit, linksToSession } from "./exit.ts";
import type { SigAction, SigInfo } from "./process.ts";
import {
  dequeueSignal,
  forceSignal,
  isIgnoredByDefault,
  isStopSignal,
  notifyParentOfChange,
  recalcPending,
  setBlocked,
  siginfo,
  sigmask,
  signal_wake_up,
} from "./signal.ts";

export const ucontext = abiStruct("ucontext", {
  uc_flags: ulong,
  uc_link: ulong,
  ss_sp: ulong,
  ss_flags: ulong,
  ss_size: ulong,
  uc_sigmask: u64,
  __unused: bytes(120),
  __align: bytes(8),
  /** user_regs_struct: pc, ra, sp … t6. */
  sc_regs: bytes(256),
  sc_fpregs: bytes(528),
});

const SIGINFO_BYTES = 128;
const USER_REGS_BYTES = 256;

/** What the task does next in user mode. */
export interface SignalEntry {
  readonly signo: number;
  readonly handler: UAddr;
  readonly info: UAddr;
  readonly context: UAddr;
}

const RESTARTS = [ERESTARTSYS, ERESTARTNOINTR, ERESTARTNOHAND, ERESTART_RESTARTBLOCK].map((e) => -e.number);

/**
 * Handles everything pending before the task goes back to user mode. Undefined: it goes on where the registers say. A fatal
 * signal ends the task here.
 *
 * @param isSyscall whether the registers are those of a system call that may have to be restarted.
 */
export function* exitToUser(cx: Cx, isSyscall: boolean): Blocking<SignalEntry | undefined> {
  const { task } = cx;
  let mayRestart = isSyscall;
  for (;;) {
    if (cx.kernel.sched.needsResched(task)) yield;
    if (!task.hasPendingSignal) break;
    const got = yield* nextSignal(cx);
    if (got === undefined) continue;
    if (mayRestart) restartForHandler(cx, got.action);
    mayRestart = false;
    const entry = setUpFrame(cx, got.info, got.action);
    if (entry !== undefined) return entry;
  }
  if (mayRestart) restartWithoutHandler(cx);
  if (task.savedBlocked !== undefined) {
    setBlocked(task, task.savedBlocked);
    task.savedBlocked = undefined;
    if (task.hasPendingSignal) return yield* exitToUser(cx, false);
  }
  return undefined;
}

/** The next signal with a handler; default actions happen on the way. */
function* nextSignal(cx: Cx): Blocking<{ readonly info: SigInfo; readonly action: SigAction } | undefined> {
  const { task } = cx;
  const { process } = task;
  if (process.execThread !== undefined && process.execThread !== task) yield* do_exit(cx, SIG.KILL);
  if (process.groupExit !== undefined && task.hasFatalSignal) yield* do_group_exit(cx, process.groupExit);
  if (process.stoppedBy !== 0) yield* stopHere(cx);
  const info = dequeueSignal(task, ~task.blocked);
  if (info === undefined) {
    recalcPending(task);
    return undefined;
  }
  const action = task.sighand.actions[info.signo]!;
  if (action.handler === SIG_IGN) return undefined;
  if (action.handler !== SIG_DFL) {
    if ((action.flags & SA.RESETHAND) !== 0)
      task.sighand.actions[info.signo] = { handler: SIG_DFL, flags: 0, mask: 0n };
    return { info, action };
  }
  if (isIgnoredByDefault(info.signo) || (task.tgid === 1 && info.signo !== SIG.KILL && info.code <= 0))
    return undefined;
  if (isStopSignal(info.signo)) {
    if (info.signo === SIG.STOP || !isOrphanedGroup(cx)) yield* beginStop(cx, info.signo);
    return undefined;
  }
  yield* do_group_exit(cx, info.signo);
  return undefined;
}

/** Terminal stops do not stop an orphaned process group (POSIX). */
function isOrphanedGroup(cx: Cx): boolean {
  const { process } = cx.task;
  return !cx.kernel.pids.group(process.pgid).some((member) => {
    return member.threads.size > 0 && linksToSession(member, process.pgid);
  });
}

function* beginStop(cx: Cx, signo: number): Blocking<void> {
  const { process } = cx.task;
  process.stoppedBy = signo;
  process.stopReported = false;
  for (const thread of process.threads) if (thread !== cx.task) signal_wake_up(cx, thread, false);
  notifyParentOfChange(cx, process, CLD.STOPPED, signo);
  yield* stopHere(cx);
}

function* stopHere(cx: Cx): Blocking<void> {
  const { task } = cx;
  while (task.process.stoppedBy !== 0 && !task.hasFatalSignal) {
    task.t.__state = TASK.STOPPED;
    yield;
    task.t.__state = TASK.RUNNING;
  }
  recalcPending(task);
}

// Registers of the interrupted user code.

function readResult(cx: Cx): number {
  const at = cx.task.userRegs + cx.kernel.text.arch.roles.returnValue;
  const { dv } = cx.kernel.mem;
  return dv.getInt32(at + 4, true) === -1 ? dv.getInt32(at, true) : 0;
}

function writeRegister(cx: Cx, offset: number, value: number): void {
  const at = cx.task.userRegs + offset;
  cx.kernel.mem.dv.setInt32(at, value | 0, true);
  cx.kernel.mem.dv.setInt32(at + 4, Math.floor(value / 2 ** 32) | 0, true);
}

/** The pc back to the ecall, the first argument back to its register. */
function makeAgain(cx: Cx): void {
  const { mem, text } = cx.kernel;
  const { roles } = text.arch;
  const base = cx.task.userRegs;
  mem.u8.copyWithin(
    base + roles.returnValue,
    base + roles.originalArgument,
    base + roles.originalArgument + 8,
  );
  const pc = mem.dv.getUint32(base + roles.pc, true) + mem.dv.getInt32(base + roles.pc + 4, true) * 2 ** 32;
  writeRegister(cx, roles.pc, pc - ECALL_BYTES);
}

export const ECALL_BYTES = 4;

function restartForHandler(cx: Cx, action: SigAction): void {
  const result = readResult(cx);
  if (!RESTARTS.includes(result)) return;
  const isRestarted =
    result === -ERESTARTNOINTR.number ||
    (result === -ERESTARTSYS.number && (action.flags & SA.RESTART) !== 0);
  if (isRestarted) makeAgain(cx);
  else writeRegister(cx, cx.kernel.text.arch.roles.returnValue, -EINTR.number);
}

function restartWithoutHandler(cx: Cx): void {
  const result = readResult(cx);
  if (!RESTARTS.includes(result)) return;
  makeAgain(cx);
  if (result === -ERESTART_RESTARTBLOCK.number)
    writeRegister(cx, cx.kernel.text.arch.roles.syscallNumber, NR.restart_syscall);
}

/** Pushes the frame and sets the registers for the handler. Undefined: the stack is bad, and SIGSEGV is forced. */
function setUpFrame(cx: Cx, info: SigInfo, action: SigAction): SignalEntry | undefined {
  const { task } = cx;
  const { mem, text, layout } = cx.kernel;
  const { roles } = text.arch;
  const sp =
    mem.dv.getUint32(task.userRegs + roles.sp, true) +
    mem.dv.getInt32(task.userRegs + roles.sp + 4, true) * 2 ** 32;
  const size = SIGINFO_BYTES + layout.size(ucontext);
  const onAlt =
    (action.flags & SA.ONSTACK) !== 0 && task.altStack.size !== 0 && !isOnAltStack(task, sp)
      ? task.altStack.sp + task.altStack.size
      : sp;
  const frame = Math.floor((onAlt - size) / 16) * 16;
  const image = buildFrame(cx, info, size);
  const written = task.mm === null ? EFAULT : writeUserBytes(task.mm, frame, image);
  if (written !== 0) {
    forceSignal(cx, task, { ...siginfo(SIG.SEGV, SI.KERNEL), addr: frame });
    return undefined;
  }
  const restored = task.savedBlocked ?? task.blocked;
  task.savedBlocked = undefined;
  const blockedNow =
    task.blocked | action.mask | ((action.flags & SA.NODEFER) === 0 ? sigmask(info.signo) : 0n);
  writeUserBytes(
    task.mm!,
    frame + SIGINFO_BYTES + layout.offset(ucontext, "uc_sigmask"),
    bigintBytes(restored),
  );
  setBlocked(task, blockedNow);
  const entry = {
    signo: info.signo,
    handler: action.handler,
    info: frame,
    context: frame + SIGINFO_BYTES,
  };
  writeRegister(cx, roles.pc, entry.handler);
  writeRegister(cx, roles.sp, frame);
  writeRegister(cx, roles.arguments[0]!, entry.signo);
  writeRegister(cx, roles.arguments[1]!, entry.info);
  writeRegister(cx, roles.arguments[2]!, entry.context);
  return entry;
}

const bigintBytes = (value: bigint): Uint8Array =>
  new Uint8Array(BigUint64Array.of(BigInt.asUintN(64, value)).buffer);

function isOnAltStack(task: Task, sp: number): boolean {
  return sp > task.altStack.sp && sp <= task.altStack.sp + task.altStack.size;
}

function buildFrame(cx: Cx, info: SigInfo, size: number): Uint8Array {
  const { kernel, task } = cx;
  const { layout, mem } = kernel;
  const image = new Uint8Array(size);
  const view = new DataView(image.buffer);
  writeSiginfo(cx, view, info);
  const context = (field: string): number => SIGINFO_BYTES + layout.offset(ucontext, field);
  view.setBigUint64(context("ss_sp"), BigInt(task.altStack.sp), true);
  view.setUint32(context("ss_flags"), task.altStack.size === 0 ? SS.DISABLE : task.altStack.flags, true);
  view.setBigUint64(context("ss_size"), BigInt(task.altStack.size), true);
  image.set(mem.bytes(task.userRegs, USER_REGS_BYTES), context("sc_regs"));
  return image;
}

/** siginfo_t as user space sees it, at the start of `view`. */
export function writeSiginfo(cx: Cx, view: DataView, info: SigInfo): void {
  const { layout } = cx.kernel;
  const at = (field: string): number => layout.offset(siginfoStruct, field);
  view.setInt32(at("si_signo"), info.signo, true);
  view.setInt32(at("si_errno"), info.errno, true);
  view.setInt32(at("si_code"), info.code, true);
  if (info.addr !== 0) view.setBigUint64(at("si_addr"), BigInt(info.addr), true);
  else {
    view.setInt32(at("si_pid"), info.pid, true);
    view.setUint32(at("si_uid"), info.uid, true);
    if (info.signo === SIG.CHLD) view.setInt32(at("si_status"), info.status, true);
    else view.setBigUint64(at("si_value"), BigInt.asUintN(64, info.value), true);
  }
}

/** rt_sigreturn(2): the registers and the mask from the frame at sp. The result is what a0 then holds. */
export function restoreFrame(cx: Cx): Result<KAddr> {
  const { task, kernel } = cx;
  const { mem, text, layout } = kernel;
  const { roles } = text.arch;
  const sp =
    mem.dv.getUint32(task.userRegs + roles.sp, true) +
    mem.dv.getInt32(task.userRegs + roles.sp + 4, true) * 2 ** 32;
  const size = SIGINFO_BYTES + layout.size(ucontext);
  const frame = task.mm === null ? EFAULT : readUserBytes(task.mm, sp, size);
  if (!(frame instanceof Uint8Array)) {
    forceSignal(cx, task, { ...siginfo(SIG.SEGV, SI.KERNEL), addr: sp });
    return EFAULT;
  }
  const regs = SIGINFO_BYTES + layout.offset(ucontext, "sc_regs");
  mem.u8.set(frame.subarray(regs, regs + USER_REGS_BYTES), task.userRegs);
  const view = new DataView(frame.buffer, frame.byteOffset);
  setBlocked(task, view.getBigUint64(SIGINFO_BYTES + layout.offset(ucontext, "uc_sigmask"), true));
  return 0;
}
