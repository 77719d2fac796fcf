/**
 * The end of tasks: do_exit, do_group_exit, release_task. Linux: kernel/exit.c.
 *
 * A task that exits gives everything back but its struct, becomes a zombie, and is released when its parent waits for it,
 * or at once when nobody will. It never runs again: its generator stays where it is.
 */
import { CLD, EAGAIN, isErr, type Result, s32, SA, SI, SIG, SIG_IGN, ulong } from "@alien-ts/abi";
import type { Cx } from "../core/cx.ts";
import { KernelBug } from "../core/kernel.ts";
import { voidType } from "../core/owner.ts";
import { type Blocking, kernelFn, sleepingFn } from "../core/row.ts";
import { EXIT_DEAD, EXIT_ZOMBIE, PF, TASK, type Task } from "../core/task.ts";
import { put_user_u32 } from "../mm/uaccess.ts";
import { waitEvent, wakeUpAll } from "../sched/wait.ts";
import { taskp } from "../sched/wakeup.ts";
import { parentOf, putTask, setMm } from "./create.ts";
import type { CpuTimes, Process } from "./process.ts";
import { sendToProcess, sendToTask, siginfo } from "./signal.ts";

declare module "../core/kernel.ts" {
  interface Kernel {
    onExit: ((cx: Cx, task: Task) => void) | undefined;
    /** FUTEX_WAKE of a thread's tid word; set by ipc. */
    futexWakeAddress: ((cx: Cx, task: Task, addr: number, count: number) => void) | undefined;
  }
}

/** The exit status of wait(2) for exit(code). */
export const exitStatus = (code: number): number => (code & 0xff) << 8;

/** Ends the current task with a wait status. Never returns. */
export const do_exit = sleepingFn("do_exit", [["code", ulong]], voidType, function* (cx, code) {
  const { task, kernel } = cx;
  if (task.tgid === 1 && task.process.threads.size === 1) initEnds(cx, code);
  task.t.flags |= PF.EXITING;
  task.t.exit_code = code;
  kernel.onExit?.(cx, task);
  for (const hook of kernel.taskHooks.toReversed()) hook.exit?.(cx, task);
  releaseMm(cx, task);
  leaveFamily(cx, task);
  task.t.__state = TASK.DEAD;
  yield;
  throw new KernelBug(`dead task ${task.pid} was scheduled`);
});

/**
 * Pid 1 is ending. A machine that was booted to run init with a command (`-c` among init's arguments) halts with its exit
 * status; any other end of init is a panic, as on Linux.
 */
function initEnds(cx: Cx, code: number): void {
  const { sched, isInitCommand } = cx.kernel;
  if (sched.halted !== undefined) return;
  if (isInitCommand === true && (code & 0x7f) === 0) sched.halted = (code >> 8) & 0xff;
  else panic(cx, `Attempted to kill init! exitcode=0x${code.toString(16).padStart(8, "0")}`);
}

declare module "../core/kernel.ts" {
  interface Kernel {
    /** Init was started to run one command: its exit status is the machine's. */
    isInitCommand: boolean | undefined;
  }
}

/** Stops the machine. Linux: panic(). */
export function panic(cx: Cx, text: string): never {
  cx.kernel.log.emerg(`Kernel panic - not syncing: ${text}`);
  throw new KernelBug(`Kernel panic - not syncing: ${text}`);
}

/** Drops the user memory; a vfork parent goes on. Linux: mm_release(). */
export function releaseMm(cx: Cx, task: Task): void {
  const { mm } = task;
  if (mm !== null) task.process.maxRssPages = Math.max(task.process.maxRssPages, mm.hiwaterRssPages);
  if (task.clearChildTid !== 0 && mm !== null && mm.t.mm_users > 1) {
    put_user_u32(mm, task.clearChildTid, 0);
    cx.kernel.futexWakeAddress?.(cx, task, task.clearChildTid, 1);
  }
  task.clearChildTid = 0;
  task.vforkDone?.(cx);
  task.vforkDone = undefined;
  setMm(task, null);
  mm?.put();
}

/** Ends the whole thread group. Linux: do_group_exit(). */
export const do_group_exit = sleepingFn(
  "do_group_exit",
  [["exit_code", s32]],
  voidType,
  function* (cx, exit_code) {
    const { process } = cx.task;
    process.groupExit ??= exit_code;
    killOtherThreads(cx, process);
    yield* do_exit(cx, process.groupExit);
    return undefined;
  },
);

/** Linux: zap_other_threads(). */
export function killOtherThreads(cx: Cx, process: Process): number {
  let count = 0;
  for (const thread of process.threads) {
    if (thread === cx.task || thread.t.exit_state !== 0) continue;
    sendToTask(cx, thread, siginfo(SIG.KILL, SI.KERNEL));
    count += 1;
  }
  return count;
}

function leaveFamily(cx: Cx, task: Task): void {
  const { process } = task;
  addTimes(process.deadThreads, timesOf(task));
  task.t.exit_state = EXIT_ZOMBIE;
  process.threads.delete(task);
  task.cx.kernel.onTaskGone?.(task);
  if (process.execThread !== undefined) wakeUpAll(cx, process.waitChild);
  if (process.threads.size === 0) reparentChildren(cx, process);
  if (task !== process.leader) {
    cx.kernel.pids.remove(task);
    task.t.exit_state = EXIT_DEAD;
    deferFree(task);
  }
  if (process.threads.size === 0 && process.leader.t.exit_state === EXIT_ZOMBIE) notifyParent(cx, process);
}

declare module "../core/kernel.ts" {
  interface Kernel {
    /** The program host forgets the task. */
    onTaskGone: ((task: Task) => void) | undefined;
  }
}

/** A dead task's stack and struct are freed when it has left its CPU. */
function deferFree(task: Task): void {
  task.kernel.deadTasks.push(task);
}

declare module "../core/kernel.ts" {
  interface Kernel {
    deadTasks: Task[];
  }
}

/** Frees the tasks that left their CPU for good. Called between steps. */
export function reapDeadTasks(cx: Cx): void {
  const { kernel } = cx;
  if (kernel.deadTasks.length === 0) return;
  const stay: Task[] = [];
  for (const task of kernel.deadTasks) {
    if (task.cx.cpu.current === task || task.t.__state !== TASK.DEAD) stay.push(task);
    else putTask(task);
  }
  kernel.deadTasks = stay;
}

/** The children of a dead group go to the nearest subreaper, or to init. A group's children are its leader's. */
function reparentChildren(cx: Cx, process: Process): void {
  const { leader } = process;
  if (leader.childTasks.size === 0) return;
  const heir = findReaper(cx, leader);
  if (heir === leader) return;
  for (const child of leader.childTasks) {
    leader.childTasks.delete(child);
    child.t.real_parent = heir.addr;
    child.t.parent = heir.addr;
    child.t.exit_signal = SIG.CHLD;
    heir.childTasks.add(child);
    if (child.parentDeathSignal !== 0)
      sendToProcess(cx, child.process, siginfo(child.parentDeathSignal, SI.USER));
    if (child.t.exit_state === EXIT_ZOMBIE && child.process.threads.size === 0)
      notifyParent(cx, child.process);
    endOrphanedGroup(cx, child.process, process);
  }
}

function findReaper(cx: Cx, task: Task): Task {
  let at = parentOf(task);
  while (at !== undefined && at.pid > 1) {
    if (at.process.isSubreaper && at.process.threads.size > 0) return at.process.leader;
    const next: Task | undefined = parentOf(at);
    at = next === at ? undefined : next;
  }
  return cx.kernel.pids.find(1) ?? task;
}

/** The group is dead: SIGCHLD to the parent, or release at once where it does not care. Linux: exit_notify(). */
function notifyParent(cx: Cx, process: Process): void {
  const { leader } = process;
  const parent = parentOf(leader);
  wakeUpAll(cx, process.waitPidfd);
  if (parent !== undefined) endOrphanedGroup(cx, process, parent.process);
  if (parent === undefined || parent === leader) {
    release(leader);
    return;
  }
  const status = leader.t.exit_code;
  const signal = leader.t.exit_signal;
  const action = parent.sighand.actions[SIG.CHLD]!;
  const ignores = signal === SIG.CHLD && (action.handler === SIG_IGN || (action.flags & SA.NOCLDWAIT) !== 0);
  if (signal > 0 && !(ignores && action.handler === SIG_IGN))
    sendToProcess(cx, parent.process, {
      ...siginfo(
        signal,
        (status & 0x7f) !== 0 ? ((status & 0x80) !== 0 ? CLD.DUMPED : CLD.KILLED) : CLD.EXITED,
      ),
      pid: leader.pid,
      uid: leader.cred.uid,
      status: (status & 0x7f) !== 0 ? status & 0x7f : (status >> 8) & 0xff,
    });
  if (signal < 0 || ignores) release(leader);
  wakeUpAll(cx, parent.process.waitChild);
}

/**
 * The group of `child` has lost the link that `parent` was between it and its session: when it was the last one and a member
 * is stopped, the group gets SIGHUP and SIGCONT. Linux: kill_orphaned_pgrp().
 */
function endOrphanedGroup(cx: Cx, child: Process, parent: Process): void {
  const { pgid, sid } = child;
  if (parent.pgid === pgid || parent.sid !== sid) return;
  const members = cx.kernel.pids.group(pgid).filter((p) => p.threads.size > 0);
  if (!members.some((p) => p.stoppedBy !== 0) || members.some((p) => linksToSession(p, pgid))) return;
  for (const member of members) {
    sendToProcess(cx, member, siginfo(SIG.HUP, SI.KERNEL));
    sendToProcess(cx, member, siginfo(SIG.CONT, SI.KERNEL));
  }
}

/** Whether a process has a parent in another group of its session, which could continue it. */
export function linksToSession(process: Process, pgid: number): boolean {
  const parent = parentOf(process.leader)?.process;
  return (
    parent !== undefined && parent.pgid !== pgid && parent.sid === process.sid && parent.leader.pid !== 1
  );
}

/** The last trace of a process. Linux: release_task(). */
function release(leader: Task): void {
  const parent = parentOf(leader);
  parent?.childTasks.delete(leader);
  leader.t.exit_state = EXIT_DEAD;
  leader.kernel.pids.remove(leader);
  deferFree(leader);
}

export const release_task = kernelFn("release_task", [["p", taskp]], voidType, (_, p) => {
  release(p);
  return undefined;
});

export function timesOf(task: Task): CpuTimes {
  return {
    runNs: task.kernel.sched.runNs(task),
    userNs: task.t.utime,
    systemNs: task.t.stime,
    minorFaults: task.t.min_flt,
    majorFaults: task.t.maj_flt,
    voluntarySwitches: task.t.nvcsw,
    involuntarySwitches: task.t.nivcsw,
  };
}

export function addTimes(into: CpuTimes, more: CpuTimes): void {
  into.runNs += more.runNs;
  into.userNs += more.userNs;
  into.systemNs += more.systemNs;
  into.minorFaults += more.minorFaults;
  into.majorFaults += more.majorFaults;
  into.voluntarySwitches += more.voluntarySwitches;
  into.involuntarySwitches += more.involuntarySwitches;
}

/** Times of a whole thread group, dead threads included. */
export function processTimes(process: Process): CpuTimes {
  const sum = { ...process.deadThreads };
  for (const thread of process.threads) addTimes(sum, timesOf(thread));
  return sum;
}

/**
 * exec by a thread of a group: the others die and it becomes the leader, with the leader's pid. EAGAIN when the group is
 * ending already. Linux: de_thread().
 */
export function* becomeOnlyThread(cx: Cx): Blocking<Result<0>> {
  const { task } = cx;
  const { process } = task;
  if (process.groupExit !== undefined || process.execThread !== undefined) return EAGAIN;
  if (process.threads.size > 1) {
    process.execThread = task;
    killOtherThreads(cx, process);
    const woken = yield* waitEvent(cx, process.waitChild, () => process.threads.size === 1, {
      state: TASK.KILLABLE,
    });
    process.execThread = undefined;
    if (isErr(woken)) return woken;
  }
  if (process.leader !== task) takeOverLeader(cx, process.leader);
  task.t.exit_signal = SIG.CHLD;
  return 0;
}

/** The dead leader's identity and family pass to the current task, and the leader is released. */
function takeOverLeader(cx: Cx, old: Task): void {
  const { task, kernel } = cx;
  const { process } = task;
  kernel.pids.remove(task);
  kernel.pids.remove(old);
  const parent = parentOf(old);
  parent?.childTasks.delete(old);
  parent?.childTasks.add(task);
  old.t.pid = task.t.pid;
  task.t.pid = task.t.tgid;
  task.t.group_leader = task.addr;
  task.t.real_parent = old.t.real_parent;
  task.t.parent = old.t.parent;
  for (const child of old.childTasks) {
    child.t.real_parent = task.addr;
    child.t.parent = task.addr;
    task.childTasks.add(child);
  }
  old.childTasks.clear();
  process.leader = task;
  kernel.pids.add(task);
  old.t.exit_state = EXIT_DEAD;
  deferFree(old);
}
