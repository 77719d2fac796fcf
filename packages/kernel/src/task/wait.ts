/**
 * Waiting for children: what wait4 and waitid find, and the release of what they report. Linux: kernel/exit.c, do_wait().
 */
import { CLD, ECHILD, EINVAL, isErr, P_ALL, P_PGID, P_PID, type Result, SIG, W, ESRCH } from "@alien-ts/abi";
import type { Cx } from "../core/cx.ts";
import { type Blocking } from "../core/row.ts";
import { EXIT_ZOMBIE, type Task } from "../core/task.ts";
import { waitEvent } from "../sched/wait.ts";
import type { CpuTimes } from "./process.ts";

import { addTimes, processTimes, release_task, timesOf } from "./exit.ts";

export interface WaitRequest {
  /** P_ALL, P_PID, P_PGID. */
  readonly which: number;
  readonly id: number;
  /** W.* */
  readonly options: number;
}

export interface WaitResult {
  /** 0: WNOHANG, and nothing to report. */
  readonly pid: number;
  readonly uid: number;
  /** As wait(2) encodes it. */
  readonly status: number;
  /** CLD_*. */
  readonly code: number;
  readonly times: CpuTimes;
  readonly maxRssPages: number;
}

/** wait4 and waitid. Linux: do_wait(). */
export function* do_wait(cx: Cx, request: WaitRequest): Blocking<Result<WaitResult>> {
  const { process } = cx.task;
  let found: Result<WaitResult | undefined> = undefined;
  const look = (): boolean => {
    found = findChild(cx, request, false);
    return found !== undefined;
  };
  if (!look() && (request.options & W.NOHANG) !== 0)
    return { pid: 0, uid: 0, status: 0, code: 0, times: timesOf(cx.task), maxRssPages: 0 };
  const woken = yield* waitEvent(cx, process.waitChild, look);
  if (isErr(woken)) return woken;
  const result = findChild(cx, request, true);
  return result ?? ESRCH;
}

function findChild(cx: Cx, request: WaitRequest, take: boolean): Result<WaitResult | undefined> {
  let hasChild = false;
  for (const child of cx.task.process.leader.childTasks) {
    if (!isWanted(child, request)) continue;
    hasChild = true;
    const report = reportOf(child, request.options);
    if (report === undefined) continue;
    if (take && (request.options & W.NOWAIT) === 0) consume(cx, child, report);
    return report;
  }
  return hasChild ? undefined : ECHILD;
}

function isWanted(child: Task, { which, id, options }: WaitRequest): boolean {
  const isClone = child.t.exit_signal !== SIG.CHLD;
  if ((options & W.ALL) === 0 && isClone !== ((options & W.CLONE) !== 0)) return false;
  if (which === P_ALL) return true;
  return which === P_PID ? child.pid === id : which === P_PGID && child.process.pgid === id;
}

function reportOf(child: Task, options: number): WaitResult | undefined {
  const { process } = child;
  const base = {
    pid: child.pid,
    uid: child.cred.uid,
    times: processTimes(process),
    maxRssPages: process.maxRssPages,
  };
  if (child.t.exit_state === EXIT_ZOMBIE) {
    if (process.threads.size > 0 || (options & W.EXITED) === 0) return undefined;
    // A leader that ended before its group has an exit code of its own; the group's counts (wait_task_zombie).
    const status = process.groupExit ?? child.t.exit_code;
    const code = (status & 0x7f) === 0 ? CLD.EXITED : (status & 0x80) === 0 ? CLD.KILLED : CLD.DUMPED;
    return { ...base, status, code };
  }
  if ((options & W.STOPPED) !== 0 && process.stoppedBy !== 0 && !process.stopReported)
    return { ...base, status: (process.stoppedBy << 8) | 0x7f, code: CLD.STOPPED };
  if ((options & W.CONTINUED) !== 0 && !process.continuedReported)
    return { ...base, status: 0xffff, code: CLD.CONTINUED };
  return undefined;
}

function consume(cx: Cx, child: Task, report: WaitResult): void {
  const { process } = child;
  if (report.code === CLD.STOPPED) process.stopReported = true;
  else if (report.code === CLD.CONTINUED) process.continuedReported = true;
  else {
    const mine = cx.task.process;
    addTimes(mine.waitedChildren, report.times);
    addTimes(mine.waitedChildren, process.waitedChildren);
    mine.childrenMaxRssPages = Math.max(
      mine.childrenMaxRssPages,
      report.maxRssPages,
      process.childrenMaxRssPages,
    );
    release_task(cx, child);
  }
}

/** The (which, id) of wait4's pid argument; EINVAL for unknown options. */
export function wait4Request(cx: Cx, pid: number, options: number): Result<WaitRequest> {
  const known = W.NOHANG | W.UNTRACED | W.CONTINUED | W.NOTHREAD | W.ALL | W.CLONE;
  if ((options & ~known) !== 0) return EINVAL;
  if (pid === -(2 ** 31)) return ESRCH;
  const flags = options | W.EXITED;
  if (pid === -1) return { which: P_ALL, id: 0, options: flags };
  if (pid > 0) return { which: P_PID, id: pid, options: flags };
  return { which: P_PGID, id: pid === 0 ? cx.task.process.pgid : -pid, options: flags };
}
