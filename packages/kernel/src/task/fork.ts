/**
 * clone and its like: kernel_clone, copy_process. Linux: kernel/fork.c.
 *
 * A TypeScript program cannot be copied in the middle of its run: without CLONE_VM its child would have no code to go on
 * with, so fork answers ENOSYS for it (see clone in syscalls). The child of a clone with CLONE_VM starts at the function
 * whose address lies at its stack pointer, as glibc's clone does it.
 */
import {
  CLONE,
  EAGAIN,
  EINVAL,
  ENOMEM,
  isErr,
  type Result,
  RLIMIT,
  s32,
  userPtr,
  ulong,
  CAP,
  SIG,
  SIG_DFL,
  SIG_IGN,
} from "@alien-ts/abi";
import type { Cx } from "../core/cx.ts";
import { type Blocking, kernelFn, sleepingFn } from "../core/row.ts";
import { PF, TASK, type Task } from "../core/task.ts";
import { AddressSpace } from "../mm/address-space.ts";
import { put_user_u32 } from "../mm/uaccess.ts";
import { waitEvent, WaitQueue, wakeUp } from "../sched/wait.ts";
import { taskp } from "../sched/wakeup.ts";
import { createTask, freeTask, parentOf, setMm, shareCred } from "./create.ts";
import { do_exit } from "./exit.ts";
import { Process } from "./process.ts";

export interface CloneRequest {
  /** CLONE.* without the exit signal. */
  readonly flags: number;
  readonly exitSignal: number;
  /** 0: the parent's. */
  readonly stack: number;
  readonly parentTid: number;
  readonly childTid: number;
  readonly tls: number;
  /** Where CLONE_PIDFD puts the descriptor. */
  readonly pidfd: number;
}

/** Wakes a task for the first time. Linux: wake_up_new_task(). */
export const wake_up_new_task = kernelFn("wake_up_new_task", [["p", taskp]], s32, (cx, p) => {
  p.t.__state = TASK.UNINTERRUPTIBLE;
  cx.kernel.sched.activate(cx, p);
  return 0;
});

/** Combinations that Linux refuses (copy_process). */
function checkFlags(flags: number): Result<0> {
  const needs = (flag: number, other: number): boolean => (flags & flag) !== 0 && (flags & other) === 0;
  if ((flags & (CLONE.NEWNS | CLONE.FS)) === (CLONE.NEWNS | CLONE.FS)) return EINVAL;
  if ((flags & (CLONE.NEWUSER | CLONE.FS)) === (CLONE.NEWUSER | CLONE.FS)) return EINVAL;
  if (needs(CLONE.THREAD, CLONE.SIGHAND) || needs(CLONE.SIGHAND, CLONE.VM)) return EINVAL;
  const namespaces =
    CLONE.NEWNS | CLONE.NEWUTS | CLONE.NEWIPC | CLONE.NEWUSER | CLONE.NEWPID | CLONE.NEWNET | CLONE.NEWCGROUP;
  return (flags & namespaces) === 0 ? 0 : EINVAL;
}

/** Makes a copy of the current task that is not running yet. Linux: copy_process(). */
export function copyProcess(cx: Cx, request: CloneRequest): Result<Task> {
  const { kernel, task: parent } = cx;
  const { flags } = request;
  const checked = checkFlags(flags);
  if (isErr(checked)) return checked;
  if (overProcessLimit(cx)) return EAGAIN;
  const child = createTask(kernel, cx.cpu, parent.t.comm);
  if (isErr(child)) return child;
  shareCred(child, parent.cred);
  const copied = copyState(cx, parent, child, request);
  if (isErr(copied)) {
    freeTask(child);
    return copied;
  }
  return child;
}

function overProcessLimit(cx: Cx): boolean {
  const { cred, process } = cx.task;
  if (cred.uid === 0 || cred.has(CAP.SYS_RESOURCE) || cred.has(CAP.SYS_ADMIN)) return false;
  const own = cx.kernel.pids.tasks().filter((task) => task.cred.uid === cred.uid).length;
  return own >= process.limit(RLIMIT.NPROC);
}

function copyState(cx: Cx, parent: Task, child: Task, request: CloneRequest): Result<0> {
  const { kernel } = cx;
  const { flags } = request;
  const mm = copyMm(parent, flags);
  if (isErr(mm)) return mm;
  setMm(child, mm);
  child.executable = parent.executable;
  child.sighand = (flags & CLONE.SIGHAND) === 0 ? parent.sighand.copy() : parent.sighand;
  child.blocked = parent.blocked;
  child.cpusMask = parent.cpusMask;
  child.t.nr_cpus_allowed = parent.t.nr_cpus_allowed;
  child.t.policy = parent.t.policy;
  child.t.static_prio = parent.t.static_prio;
  child.t.prio = parent.t.prio;
  child.t.normal_prio = parent.t.normal_prio;
  child.t.personality = parent.t.personality;
  child.noNewPrivs = parent.noNewPrivs;
  child.timerSlackNs = parent.timerSlackNs;
  child.t.flags = (parent.t.flags & ~PF.KTHREAD) | PF.FORKNOEXEC;
  if ((flags & CLONE.VM) === 0 || (flags & CLONE.VFORK) !== 0) child.altStack = { ...parent.altStack };
  const { mem, text } = kernel;
  mem.u8.copyWithin(child.userRegs, parent.userRegs, parent.userRegs + text.arch.ptRegsBytes);
  for (const [at, value] of [
    [text.arch.roles.returnValue, 0],
    ...(request.stack === 0 ? [] : [[text.arch.roles.sp, request.stack] as const]),
    ...((flags & CLONE.SETTLS) === 0 ? [] : [[text.arch.roles.task, request.tls] as const]),
  ] as const) {
    mem.dv.setInt32(child.userRegs + at, value | 0, true);
    mem.dv.setInt32(child.userRegs + at + 4, Math.floor(value / 2 ** 32) | 0, true);
  }
  // Hooks that are undone see a process without threads, never the parent's own.
  child.process = new Process(child, parent.process.pgid, parent.process.sid, parent.process.limits);
  child.process.oomScoreAdj = parent.process.oomScoreAdj;
  const hooked = runForkHooks(cx, parent, child, flags);
  if (isErr(hooked)) {
    mm?.put();
    return hooked;
  }
  const joined = joinFamily(cx, parent, child, request);
  if (isErr(joined)) {
    undoHooks(cx, child, [...kernel.taskHooks.keys()]);
    mm?.put();
  }
  return joined;
}

function undoHooks(cx: Cx, child: Task, done: readonly number[]): void {
  for (const i of done.toReversed()) cx.kernel.taskHooks[i]!.exit?.(cx, child);
}

function copyMm(parent: Task, flags: number): Result<AddressSpace | null> {
  const { mm } = parent;
  if (mm === null) return null;
  if ((flags & CLONE.VM) !== 0) {
    mm.get();
    return mm;
  }
  const copy = mm.fork();
  return copy instanceof AddressSpace ? copy : ENOMEM;
}

/** Gives the child its number, group and parent. */
function joinFamily(cx: Cx, parent: Task, child: Task, request: CloneRequest): Result<0> {
  const { kernel } = cx;
  const pid = kernel.pids.allocate();
  if (pid === undefined) return EAGAIN;
  child.t.pid = pid;
  const isThread = (request.flags & CLONE.THREAD) !== 0;
  child.t.tgid = isThread ? parent.tgid : pid;
  const family =
    isThread || (request.flags & CLONE.PARENT) !== 0 ? parent.t.real_parent : parent.process.leader.addr;
  child.t.real_parent = family;
  child.t.parent = family;
  child.t.exit_signal = isThread
    ? -1
    : (request.flags & CLONE.PARENT) !== 0
      ? parent.process.leader.t.exit_signal
      : request.exitSignal;
  if (isThread) {
    child.process = parent.process;
    child.t.group_leader = parent.process.leader.addr;
  } else {
    child.t.group_leader = child.addr;
    (kernel.ownerOf(family) as Task).childTasks.add(child);
  }
  child.process.threads.add(child);
  if ((request.flags & CLONE.CHILD_CLEARTID) !== 0) child.clearChildTid = request.childTid;
  kernel.pids.add(child);
  return 0;
}

/**
 * Clones the current task and starts the child; with CLONE_VFORK waits until it has exec'd or ended. The child enters user
 * code through `start`. Linux: kernel_clone().
 */
export function* cloneTask(
  cx: Cx,
  request: CloneRequest,
  start: (child: Task) => void,
): Blocking<Result<number>> {
  const child = copyProcess(cx, request);
  if (isErr(child)) return child;
  const { pid } = child;
  if ((request.flags & CLONE.PIDFD) !== 0) {
    const given = givePidfd(cx, child, request.pidfd);
    if (isErr(given)) {
      abandonChild(cx, child);
      return given;
    }
  }
  if ((request.flags & CLONE.PARENT_SETTID) !== 0) put_user_u32(cx.task.mm!, request.parentTid, pid);
  if ((request.flags & CLONE.CHILD_SETTID) !== 0) put_user_u32(child.mm!, request.childTid, pid);
  start(child);
  cx.kernel.onFork?.(cx, cx.task, child);
  const isVfork = (request.flags & CLONE.VFORK) !== 0;
  let isDone = !isVfork;
  const done = new WaitQueue();
  if (isVfork)
    child.vforkDone = (childCx) => {
      isDone = true;
      wakeUp(childCx, done);
    };
  wake_up_new_task(cx, child);
  if (isVfork) yield* waitEvent(cx, done, () => isDone, { state: TASK.KILLABLE });
  return pid;
}

/** CLONE_PIDFD: the descriptor is written to the parent's memory before the child runs. */
const givePidfd = (cx: Cx, child: Task, addr: number): Result<number> =>
  cx.kernel.makePidfd?.(cx, child, (fd) => put_user_u32(cx.task.mm!, addr, fd)) ?? EINVAL;

/** Undoes `copyProcess` for a child that never ran. */
function abandonChild(cx: Cx, child: Task): void {
  const { kernel } = cx;
  const hooks = kernel.taskHooks.map((_, i) => i);
  undoHooks(cx, child, hooks);
  child.process.threads.delete(child);
  parentOf(child)?.childTasks.delete(child);
  kernel.pids.remove(child);
  child.mm?.put();
  setMm(child, null);
  freeTask(child);
}

declare module "../core/kernel.ts" {
  interface Kernel {
    /** A descriptor for a new child (CLONE_PIDFD), unless `tell` refuses its number; set by the layer that has pidfds. */
    makePidfd: ((cx: Cx, child: Task, tell: (fd: number) => Result<0>) => Result<number>) | undefined;
    /** Where sched_process_fork hooks in. */
    onFork: ((cx: Cx, parent: Task, child: Task) => void) | undefined;
  }
}

/** kernel_clone(struct kernel_clone_args *args): the traceable face of `cloneTask`. */
export const kernel_clone = sleepingFn(
  "kernel_clone",
  [
    ["clone_flags", ulong],
    ["stack", ulong],
    ["parent_tid", userPtr("int")],
    ["child_tid", userPtr("int")],
    ["tls", ulong],
    ["exit_signal", s32],
    ["pidfd", userPtr("int")],
  ],
  s32,
  function* (cx, flags, stack, parentTid, childTid, tls, exitSignal, pidfd) {
    const { startThread } = cx.kernel;
    const request = { flags, stack, parentTid, childTid, tls, exitSignal, pidfd };
    return yield* cloneTask(cx, request, (child) => startThread(cx, child));
  },
  { fidelity: { simplified: "takes its arguments in registers, not in a struct kernel_clone_args" } },
);

declare module "../core/kernel.ts" {
  interface Kernel {
    /** Makes a clone's child enter user code (port.ts). */
    startThread: (cx: Cx, child: Task) => void;
  }
}

/** A new image starts with the default actions; what is ignored stays ignored. Linux: flush_signal_handlers(). */
export function resetSignalActions(task: Task): void {
  task.sighand = task.sighand.copy();
  task.sighand.actions = task.sighand.actions.map((action) => ({
    handler: action.handler === SIG_IGN ? SIG_IGN : SIG_DFL,
    flags: 0,
    mask: 0n,
  }));
}

/**
 * A kernel thread: a task without user memory whose work is `body`, with kthreadd's answers to signals. It ends when the body
 * returns. Linux: kthread_run().
 */
export function startKernelThread(cx: Cx, name: string, body: (cx: Cx) => Blocking<void>): Result<Task> {
  const kthreadd = cx.kernel.pids.find(2);
  const made = makeThread(cx, name, CLONE.FS | CLONE.FILES, (own) => threadWork(own, body));
  if (kthreadd !== undefined && !isErr(made))
    made.sighand.actions.splice(0, Infinity, ...kthreadd.sighand.actions);
  return made;
}

/**
 * A task that starts in the kernel with descriptors and directories of its own, and goes to user mode when `body` is over: it
 * must have executed a program by then. Linux: user_mode_thread(), for init.
 */
export function startUserThread(cx: Cx, name: string, body: (cx: Cx) => Blocking<void>): Result<Task> {
  const made = makeThread(cx, name, 0, body);
  if (!isErr(made)) made.t.exit_signal = SIG.CHLD;
  return made;
}

/** Runs the hooks of a new task; when one refuses, those before it are undone. */
function runForkHooks(cx: Cx, parent: Task | undefined, child: Task, flags: number): Result<0> {
  const done: number[] = [];
  for (const [i, hook] of cx.kernel.taskHooks.entries()) {
    const result = hook.fork?.(cx, parent, child, flags) ?? 0;
    if (isErr(result)) {
      undoHooks(cx, child, done);
      return result;
    }
    done.push(i);
  }
  return 0;
}

function makeThread(cx: Cx, name: string, flags: number, work: (cx: Cx) => Blocking<void>): Result<Task> {
  const { kernel } = cx;
  const pid = kernel.pids.allocate();
  if (pid === undefined) return EAGAIN;
  const made = createTask(kernel, cx.cpu, name);
  if (isErr(made)) return made;
  shareCred(made, cx.task.cred);
  made.t.pid = pid;
  made.t.tgid = pid;
  made.t.flags = PF.KTHREAD;
  made.t.group_leader = made.addr;
  const kthreadd = kernel.pids.find(2);
  made.t.real_parent = kthreadd?.addr ?? kernel.bootCx.task.addr;
  made.t.parent = made.t.real_parent;
  made.t.exit_signal = -1;
  made.process = new Process(made, 0, 0, cx.task.process.limits);
  const hooked = runForkHooks(cx, undefined, made, flags);
  if (isErr(hooked)) {
    freeTask(made);
    return hooked;
  }
  made.process.threads.add(made);
  kernel.pids.add(made);
  made.work = work(made.cx);
  wake_up_new_task(cx, made);
  return made;
}

function* threadWork(cx: Cx, body: (cx: Cx) => Blocking<void>): Blocking<void> {
  yield* body(cx);
  yield* do_exit(cx, 0);
}
