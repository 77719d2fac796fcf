/** Who a task is: pids, process groups, sessions. Linux: kernel/sys.c. */
import { EACCES, EINVAL, EPERM, ESRCH, NR, type Result } from "@alien-ts/abi";
import type { Cx } from "../core/cx.ts";
import { int, syscall } from "../core/syscall.ts";
import { parentOf } from "../task/create.ts";
import type { Process } from "../task/process.ts";

export const sys_getpid = syscall(NR.getpid, "getpid", [], (cx) => cx.task.tgid);
export const sys_gettid = syscall(NR.gettid, "gettid", [], (cx) => cx.task.pid);
export const sys_getppid = syscall(
  NR.getppid,
  "getppid",
  [],
  (cx) => parentOf(cx.task.process.leader)?.tgid ?? 0,
);

const PID = ["pid", int] as const;

/** A process by pid, any thread's too; the caller's own for 0. */
function processOf(cx: Cx, pid: number): Process | undefined {
  return pid === 0 ? cx.task.process : cx.kernel.pids.find(pid)?.process;
}

export const sys_setpgid = syscall(NR.setpgid, "setpgid", [PID, ["pgid", int]], (cx, pid, pgid) => {
  const mine = cx.task.process;
  const target = pid === 0 || pid === mine.pid ? mine : cx.kernel.pids.process(pid);
  const group = pgid === 0 ? (target?.pid ?? pid) : pgid;
  if (group < 0) return EINVAL;
  if (target === undefined) return cx.kernel.pids.find(pid) === undefined ? ESRCH : EINVAL;
  const refused = pgidRefusal(mine, target);
  if (refused !== undefined) return refused;
  if (group !== target.pid && !cx.kernel.pids.group(group).some((p) => p.sid === mine.sid)) return EPERM;
  target.pgid = group;
  return 0;
});

/** Only oneself, or a child of the same session that has not exec'd; never a session leader. */
function pgidRefusal(mine: Process, target: Process): Result<never> | undefined {
  if (target !== mine) {
    if (parentOf(target.leader)?.process !== mine) return ESRCH;
    if (target.sid !== mine.sid) return EPERM;
    if (target.hasExeced) return EACCES;
  }
  return target.sid === target.pid ? EPERM : undefined;
}

export const sys_getpgid = syscall(
  NR.getpgid,
  "getpgid",
  [PID],
  (cx, pid) => processOf(cx, pid)?.pgid ?? ESRCH,
);
export const sys_getsid = syscall(NR.getsid, "getsid", [PID], (cx, pid) => processOf(cx, pid)?.sid ?? ESRCH);

export const sys_setsid = syscall(NR.setsid, "setsid", [], (cx) => {
  const { process } = cx.task;
  const { pid } = process;
  if (process.sid === pid || cx.kernel.pids.group(pid).length > 0) return EPERM;
  process.sid = pid;
  process.pgid = pid;
  return pid;
});

export const ID_SYSCALLS = [
  sys_getpid,
  sys_gettid,
  sys_getppid,
  sys_setpgid,
  sys_getpgid,
  sys_getsid,
  sys_setsid,
] as const;
