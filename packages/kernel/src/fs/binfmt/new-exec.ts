/**
 * The point of no return of execve: new credentials, memory, descriptors and signal state (Linux: fs/exec.c, begin_new_exec;
 * security/commoncap.c). `computeCreds` says with which rights the program will run; `begin_new_exec` makes the task the
 * new program's.
 */
import { isErr, type Result, S, s32 } from "@alien-ts/abi";
import { CAP } from "@alien-ts/abi";
import type { Cred } from "../../core/cred.ts";
import type { Cx } from "../../core/cx.ts";
import { type Blocking, sleepingFn } from "../../core/row.ts";
import { PF, type Task } from "../../core/task.ts";
import { commitCreds, setMm } from "../../task/create.ts";
import { becomeOnlyThread, releaseMm } from "../../task/exit.ts";
import { resetSignalActions } from "../../task/fork.ts";
import type { SigPending } from "../../task/process.ts";
import { allow_write_access } from "../../vfs/open.ts";
import { type File, fput, get_file } from "../../vfs/file.ts";
import { MNT } from "../../vfs/mount.ts";
import { type Bprm, bprmp } from "./binprm.ts";

declare module "../../core/task.ts" {
  interface Task {
    /** The program's file (/proc/<pid>/exe), with a reference; writers are kept away. Undefined for kernel threads. */
    exeFile: File | undefined;
  }
}

declare module "../../core/kernel.ts" {
  interface Kernel {
    /** Where sched_process_exec hooks in: a new image has begun. */
    onExec: ((cx: Cx, oldPid: number, bprm: Bprm) => void) | undefined;
  }
}

/** Bits of securebits (include/uapi/linux/securebits.h). */
const SECURE_NOROOT = 1;
const SECURE_KEEP_CAPS = 1 << 4;

/** Puts into `bprm.cred` what the program may do, and `bprm.isSecure`. Linux: bprm_creds_from_file(). */
export function computeCreds(cx: Cx, bprm: Bprm): void {
  const { cred } = bprm;
  if (cred === undefined) return;
  const old = cx.task.cred;
  const { t } = cred;
  t.euid.val = old.euid;
  t.egid.val = old.egid;
  fillIds(cx, bprm.file, cred);
  const isSetId = cred.euid !== old.uid || cred.egid !== old.gid;
  const isRoot = (t.securebits & SECURE_NOROOT) === 0;
  t.cap_ambient.val = isSetId ? 0n : old.t.cap_ambient.val;
  t.cap_permitted.val = t.cap_ambient.val;
  let isEffective = false;
  if (isRoot && (cred.euid === 0 || cred.uid === 0)) {
    t.cap_permitted.val = old.t.cap_bset.val | old.t.cap_inheritable.val;
    isEffective = cred.euid === 0;
  }
  const gained = t.cap_permitted.val & ~old.t.cap_permitted.val;
  // A shared fs_struct could be changed from outside under a privileged program (LSM_UNSAFE_SHARE).
  const isUnsafe = cx.task.fs.t.users > cx.task.process.threads.size;
  if ((isSetId || gained !== 0n) && isUnsafe) {
    if (!old.has(CAP.SETUID)) {
      t.euid.val = old.uid;
      t.egid.val = old.gid;
    }
    t.cap_permitted.val &= old.t.cap_permitted.val;
  }
  t.suid.val = t.euid.val;
  t.fsuid.val = t.euid.val;
  t.sgid.val = t.egid.val;
  t.fsgid.val = t.egid.val;
  t.cap_effective.val = isEffective ? t.cap_permitted.val : t.cap_ambient.val;
  t.securebits &= ~SECURE_KEEP_CAPS;
  bprm.isSecure = isSetId || (cred.uid !== 0 && isEffective);
}

/** The set-user-id and set-group-id bits. Linux: bprm_fill_uid(). */
function fillIds(cx: Cx, file: File, cred: Cred): void {
  const { inode, path } = file;
  if ((path.mnt.flags & MNT.NOSUID) !== 0 || cx.task.noNewPrivs) return;
  if ((inode.mode & S.ISUID) !== 0) cred.t.euid.val = inode.uid;
  const setsGroup = S.ISGID | S.IXGRP;
  if ((inode.mode & setsGroup) === setsGroup) cred.t.egid.val = inode.gid;
}

export const begin_new_exec = sleepingFn("begin_new_exec", [["bprm", bprmp]], s32, beginNewExec, {
  doc: "Gives the task up to a new program: the old memory, signal handlers and close-on-exec descriptors go.",
});

function* beginNewExec(cx: Cx, bprm: Bprm): Blocking<Result<number>> {
  const { task, kernel } = cx;
  const oldPid = task.pid;
  const alone = yield* becomeOnlyThread(cx);
  if (isErr(alone)) return alone;
  const { mm, cred } = bprm;
  if (mm === undefined || cred === undefined) return 0;
  const { process } = task;
  releaseMm(cx, task);
  process.maxRssPages = 0;
  setMm(task, mm);
  bprm.mm = undefined;
  mm.t.owner = task.addr;
  setExeFile(cx, task, bprm.file);
  for (const hook of kernel.taskHooks) hook.exec?.(cx, task);
  resetSignalActions(task);
  task.altStack = { sp: 0, flags: 0, size: 0 };
  task.robustList = { head: 0, length: 0 };
  task.restartBlock = undefined;
  task.savedBlocked = undefined;
  const lost = cred.euid !== cred.uid || cred.egid !== cred.gid;
  mm.t.flags = lost || bprm.isSecure ? 0 : 1;
  if (bprm.isSecure) task.parentDeathSignal = 0;
  commitCreds(task, cred);
  bprm.cred = undefined;
  task.t.comm = bprm.filename.text.slice(bprm.filename.text.lastIndexOf("/") + 1);
  task.t.flags &= ~(PF.FORKNOEXEC | PF.KTHREAD);
  task.executable = bprm.filename.text;
  process.hasExeced = true;
  dropTimerSignals(process.pending);
  kernel.onExec?.(cx, oldPid, bprm);
  return 0;
}

/** Signals of POSIX timers, which end with the image, are forgotten (exit_itimers, flush_itimer_signals). */
function dropTimerSignals(pending: SigPending): void {
  const SI_TIMER = -2;
  const kept = pending.queue.filter((info) => info.code !== SI_TIMER);
  if (kept.length === pending.queue.length) return;
  pending.queue.splice(0, pending.queue.length, ...kept);
  pending.mask = kept.reduce((mask, info) => mask | (1n << BigInt(info.signo - 1)), 0n);
}

/** Makes `file` the task's program. It may not be written while anybody runs it. */
export function setExeFile(cx: Cx, task: Task, file: File | undefined): void {
  const old = task.exeFile;
  task.exeFile = file;
  if (file !== undefined) {
    get_file(file);
    file.inode.writers -= 1;
    if (task.mm !== null) task.mm.t.exe_file = file.addr;
  }
  if (old === undefined) return;
  allow_write_access(old.inode);
  fput(cx, old);
}
