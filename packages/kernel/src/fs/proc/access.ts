/**
 * Who may look into another process (Linux: kernel/ptrace.c, fs/proc/base.c): `ptrace_may_access` guards memory, links and
 * stacks; mode bits guard the rest.
 */
import { bool, CAP, u32 } from "@alien-ts/abi";
import type { Cx } from "../../core/cx.ts";
import { kernelFn } from "../../core/row.ts";
import type { Task } from "../../core/task.ts";
import { taskp } from "../../sched/wakeup.ts";

/** Modes of ptrace_may_access (include/linux/ptrace.h). */
export const PTRACE_MODE = { READ: 0x01, ATTACH: 0x02, FSCREDS: 0x08, REALCREDS: 0x10 } as const;
export const PTRACE_MODE_READ_FSCREDS = PTRACE_MODE.READ | PTRACE_MODE.FSCREDS;
export const PTRACE_MODE_ATTACH_FSCREDS = PTRACE_MODE.ATTACH | PTRACE_MODE.FSCREDS;

export const ptrace_may_access = kernelFn(
  "ptrace_may_access",
  [
    ["task", taskp],
    ["mode", u32],
  ],
  bool,
  (cx, task, mode) => {
    if (cx.task.tgid === task.tgid || cx.task.cred.has(CAP.SYS_PTRACE)) return true;
    return (
      hasSameIds(cx.task, task, (mode & PTRACE_MODE.FSCREDS) !== 0) && coversCapabilities(cx.task, task, mode)
    );
  },
  {
    doc: "Whether the current task may inspect another: the same user with no fewer capabilities, or CAP_SYS_PTRACE.",
  },
);

function hasSameIds(caller: Task, target: Task, usesFsIds: boolean): boolean {
  const mine = caller.cred;
  const { t } = target.cred;
  const uid = usesFsIds ? mine.fsuid : mine.uid;
  const gid = usesFsIds ? mine.fsgid : mine.gid;
  return (
    [t.euid.val, t.suid.val, t.uid.val].every((theirs) => theirs === uid) &&
    [t.egid.val, t.sgid.val, t.gid.val].every((theirs) => theirs === gid)
  );
}

/** Linux: cap_ptrace_access_check(). */
function coversCapabilities(caller: Task, target: Task, mode: number): boolean {
  const { t } = caller.cred;
  const held = (mode & PTRACE_MODE.FSCREDS) !== 0 ? t.cap_effective.val : t.cap_permitted.val;
  return (target.cred.t.cap_permitted.val & ~held) === 0n;
}

export const mayRead = (cx: Cx, task: Task): boolean => ptrace_may_access(cx, task, PTRACE_MODE_READ_FSCREDS);
