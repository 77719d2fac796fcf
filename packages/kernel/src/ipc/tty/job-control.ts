/**
 * Job control: which process group may use a terminal, and how a session gets and loses one (Linux: drivers/tty/tty_jobctrl.c;
 * POSIX.1 §11.1). `initJobControl` lets an ending session leader give its terminal up.
 */
import {
  CAP,
  EINVAL,
  EIO,
  ENOTTY,
  EPERM,
  ERESTARTSYS,
  ESRCH,
  type Result,
  s32,
  SI,
  SIG,
  SIG_IGN,
} from "@alien-ts/abi";
import { capable } from "../../core/cred.ts";
import type { Cx } from "../../core/cx.ts";
import type { Kernel } from "../../core/kernel.ts";
import { kernelFn } from "../../core/row.ts";
import { parentOf } from "../../task/create.ts";
import { recalcPending, sendToGroup, siginfo, sigmask } from "../../task/signal.ts";
import { controllingTty, type Tty, ttyp } from "./tty.ts";

export function initJobControl(kernel: Kernel): void {
  kernel.taskHooks.push({
    name: "tty",
    exit(cx, task) {
      const { process } = task;
      if (process.threads.size === 1 && process.sid === process.pid) disassociate(cx, true);
    },
  });
}

/**
 * May the current process read from (SIGTTIN), write to or change (SIGTTOU) this terminal? A background group is signalled
 * (ERESTARTSYS); where that would be in vain EIO, or permission for SIGTTOU.
 */
export const __tty_check_change = kernelFn(
  "__tty_check_change",
  [
    ["tty", ttyp],
    ["sig", s32],
  ],
  s32,
  (cx, tty, sig) => {
    const { process } = cx.task;
    if (controllingTty(process) !== tty) return 0;
    if (tty.pgrp === 0 || tty.pgrp === process.pgid) return 0;
    if (isIgnored(cx, sig)) return sig === SIG.TTIN ? EIO : 0;
    if (isOrphaned(cx, process.pgid)) return EIO;
    sendToGroup(cx, process.pgid, siginfo(sig, SI.KERNEL));
    recalcPending(cx.task);
    return ERESTARTSYS;
  },
);

const isIgnored = ({ task }: Cx, sig: number): boolean =>
  (task.blocked & sigmask(sig)) !== 0n || task.sighand.actions[sig]!.handler === SIG_IGN;

/** No member has a parent in the same session but another group: nobody would continue it. */
function isOrphaned(cx: Cx, pgid: number): boolean {
  return !cx.kernel.pids.group(pgid).some(({ leader, sid }) => {
    const parent = parentOf(leader)?.process;
    return parent !== undefined && leader.t.exit_state === 0 && parent.sid === sid && parent.pgid !== pgid;
  });
}

/** Makes the terminal that of the current session (proc_set_tty). */
export function acquire(cx: Cx, tty: Tty): void {
  const { process } = cx.task;
  tty.release();
  tty.session = process.sid;
  tty.pgrp = process.pgid;
}

/** TIOCSCTTY. EPERM unless the caller leads a session without a terminal, and the terminal is free. Linux: tiocsctty(). */
export function setControlling(cx: Cx, tty: Tty, mayRead: boolean, force: boolean): Result<0> {
  const { process } = cx.task;
  const isLeader = process.sid === process.pid;
  if (isLeader && tty.session === process.sid) return 0;
  if (!isLeader || controllingTty(process) !== undefined) return EPERM;
  const isAdmin = capable(cx, CAP.SYS_ADMIN);
  if (tty.session !== 0 && !(force && isAdmin)) return EPERM;
  if (!mayRead && !isAdmin) return EPERM;
  acquire(cx, tty);
  return 0;
}

/** TIOCNOTTY. ENOTTY unless it is the caller's controlling terminal. */
export function renounce(cx: Cx, tty: Tty): Result<0> {
  const { process } = cx.task;
  if (controllingTty(process) !== tty) return ENOTTY;
  if (process.sid === process.pid) disassociate(cx, false);
  else tty.renounced.add(process);
  return 0;
}

/**
 * The session leader gives the terminal up: its foreground group gets SIGHUP, and SIGCONT when the leader lives on. One that
 * ends hangs up the whole terminal, unless that is a pty. Linux: disassociate_ctty().
 */
export function disassociate(cx: Cx, onExit: boolean): void {
  const tty = controllingTty(cx.task.process);
  if (tty === undefined) return;
  const { pgrp } = tty;
  tty.release();
  if (pgrp > 0) {
    sendToGroup(cx, pgrp, siginfo(SIG.HUP, SI.KERNEL));
    if (!onExit) sendToGroup(cx, pgrp, siginfo(SIG.CONT, SI.KERNEL));
  }
  if (onExit && tty.link === undefined) tty.hangUp(cx);
}

/** TIOCGPGRP. */
export function foregroundGroup(cx: Cx, tty: Tty, isOwnEnd: boolean): Result<number> {
  if (isOwnEnd && controllingTty(cx.task.process) !== tty) return ENOTTY;
  return tty.pgrp;
}

/** TIOCSPGRP. ENOTTY, EINVAL, ESRCH, EPERM for a group of another session. */
export function setForegroundGroup(cx: Cx, tty: Tty, pgid: number): Result<0> {
  const allowed = __tty_check_change(cx, tty, SIG.TTOU);
  if (allowed === EIO) return ENOTTY;
  if (allowed !== 0) return ERESTARTSYS;
  const { process } = cx.task;
  if (controllingTty(process) !== tty) return ENOTTY;
  if (pgid < 0) return EINVAL;
  const members = cx.kernel.pids.group(pgid);
  if (members.length === 0) return ESRCH;
  if (!members.some((member) => member.sid === process.sid)) return EPERM;
  tty.pgrp = pgid;
  return 0;
}

/** TIOCGSID. */
export function sessionOf(cx: Cx, tty: Tty, isOwnEnd: boolean): Result<number> {
  if (isOwnEnd && controllingTty(cx.task.process) !== tty) return ENOTTY;
  return tty.session === 0 ? ENOTTY : tty.session;
}
