/**
 * Where the kernel's trace events happen: each armed event is joined to the hook that the kernel has at that place, and to
 * nothing while nobody consumes it, so an event that is off costs what an undefined hook costs.
 *
 * `kernel.traceEvents` is the registry: tracefs, perf and BPF attach their consumers there. The hooks (`sched.onSwitch`,
 * `sched.onWakeup`, `onFork`, `onExec`, `onExit`, `onSyscallEnter`, `onSyscallExit`) belong to this file.
 */
import type { KAddr } from "@alien-ts/abi";
import {
  type RegisteredEvent,
  SCRATCH_BYTES,
  type TraceFields,
  TracepointRegistry,
} from "@alien-ts/tracepoint";
import type { Cpu } from "../core/cpu.ts";
import type { Cx } from "../core/cx.ts";
import { type Kernel, KernelBug } from "../core/kernel.ts";
import { PF, TASK, type Task } from "../core/task.ts";
import type { Bprm } from "../fs/binfmt/binprm.ts";
import * as rows from "./event-rows.ts";
import { originOf, TRACE_FLAG, type TraceOrigin } from "./trace-buffer.ts";

declare module "../core/kernel.ts" {
  interface Kernel {
    traceEvents: TracepointRegistry<TraceOrigin>;
  }
}

type Event<F extends TraceFields> = RegisteredEvent<TraceOrigin, F>;

/** Smaller ids are those of ftrace's own record types (kernel/trace/trace.h, __TRACE_LAST_TYPE). */
const FIRST_EVENT_ID = 20;

/** Preemption counts of the places, as a preemptible Linux prints them. */
const SWITCH_PREEMPT_COUNT = 2;
const WAKEUP_PREEMPT_COUNT = 4;

export function initTraceEvents(kernel: Kernel): void {
  const scratch = kernel.kmalloc.kmalloc(SCRATCH_BYTES, "trace records");
  if (scratch === 0) throw new KernelBug("no memory for trace records");
  kernel.traceEvents = new TracepointRegistry<TraceOrigin>(
    {
      mem: kernel.mem,
      scratch,
      common: ({ task, flags, preemptCount }) => ({ flags, preemptCount, pid: task.pid }),
    },
    FIRST_EVENT_ID,
  );
  joinWakeups(kernel);
  joinSwitch(kernel);
  joinProcesses(kernel);
  joinSyscalls(kernel);
}

function joinWakeups(kernel: Kernel): void {
  const { sched, traceEvents } = kernel;
  const waking = traceEvents.register(rows.sched_waking);
  const wakeup = traceEvents.register(rows.sched_wakeup);
  const wakeupNew = traceEvents.register(rows.sched_wakeup_new);
  const emit = (cx: Cx, task: Task, cpu: Cpu): void => {
    const origin = schedOrigin(cx, cx.task, cx.cpu, WAKEUP_PREEMPT_COUNT);
    const { comm, pid, prio } = task.t;
    const values = { comm, pid, prio, target_cpu: cpu.id };
    if (hasRun(task)) {
      waking.emit(origin, values);
      wakeup.emit(origin, values);
    } else wakeupNew.emit(origin, values);
  };
  for (const event of [waking, wakeup, wakeupNew])
    event.onArmed = () => {
      sched.onWakeup = waking.isArmed || wakeup.isArmed || wakeupNew.isArmed ? emit : undefined;
    };
}

/** A task that sleeps has left a CPU before. */
const hasRun = ({ t }: Task): boolean => t.nvcsw + t.nivcsw > 0;

/** The scheduler works with interrupts off. */
const schedOrigin = (cx: Cx, task: Task, cpu: Cpu, preemptCount: number): TraceOrigin => ({
  cx,
  task,
  cpu,
  flags: TRACE_FLAG.IRQS_OFF | (cpu.irqDepth === 0 ? 0 : TRACE_FLAG.HARDIRQ),
  preemptCount,
});

function joinSwitch({ sched, traceEvents }: Kernel): void {
  const event = traceEvents.register(rows.sched_switch);
  const emit = (cpu: Cpu, previous: Task, next: Task): void => {
    const { t } = previous;
    const isPreempted = t.__state === TASK.RUNNING && (t.flags & PF.IDLE) === 0;
    event.emit(schedOrigin(previous.cx, previous, cpu, SWITCH_PREEMPT_COUNT), {
      prev_comm: t.comm,
      prev_pid: t.pid,
      prev_prio: t.prio,
      prev_state: rows.reportedState(t.__state, t.exit_state, isPreempted),
      next_comm: next.t.comm,
      next_pid: next.t.pid,
      next_prio: next.t.prio,
    });
  };
  event.onArmed = (isArmed) => {
    sched.onSwitch = isArmed ? emit : undefined;
  };
}

function joinProcesses(kernel: Kernel): void {
  const fork = kernel.traceEvents.register(rows.sched_process_fork);
  const exec = kernel.traceEvents.register(rows.sched_process_exec);
  const exit = kernel.traceEvents.register(rows.sched_process_exit);
  fork.onArmed = (isArmed) => {
    kernel.onFork = isArmed ? (cx, parent, child) => emitFork(fork, cx, parent, child) : undefined;
  };
  exec.onArmed = (isArmed) => {
    kernel.onExec = isArmed ? (cx, oldPid, bprm) => emitExec(exec, cx, oldPid, bprm) : undefined;
  };
  exit.onArmed = (isArmed) => {
    kernel.onExit = isArmed ? (cx, task) => emitExit(exit, cx, task) : undefined;
  };
}

function emitFork(
  event: Event<typeof rows.sched_process_fork.fields>,
  cx: Cx,
  parent: Task,
  child: Task,
): void {
  event.emit(originOf(cx), {
    parent_comm: parent.t.comm,
    parent_pid: parent.pid,
    child_comm: child.t.comm,
    child_pid: child.pid,
  });
}

function emitExec(
  event: Event<typeof rows.sched_process_exec.fields>,
  cx: Cx,
  oldPid: number,
  bprm: Bprm,
): void {
  event.emit(originOf(cx), { filename: bprm.filename.text, pid: cx.task.pid, old_pid: oldPid });
}

function emitExit(event: Event<typeof rows.sched_process_exit.fields>, cx: Cx, task: Task): void {
  const isLast = [...task.process.threads].every((thread) => (thread.t.flags & PF.EXITING) !== 0);
  const { comm, pid, prio } = task.t;
  event.emit(originOf(cx), { comm, pid, prio, group_dead: isLast });
}

function joinSyscalls(kernel: Kernel): void {
  const enter = kernel.traceEvents.register(rows.sys_enter);
  const exit = kernel.traceEvents.register(rows.sys_exit);
  const emitEnter = (cx: Cx, regs: KAddr, nr: number): void =>
    enter.emit(originOf(cx), { id: nr, args: syscallArguments(kernel, regs) });
  const emitLeave = (cx: Cx, _regs: KAddr, nr: number, result: number): void =>
    exit.emit(originOf(cx), { id: nr, ret: result });
  enter.onArmed = (isArmed) => {
    kernel.onSyscallEnter = isArmed ? emitEnter : undefined;
  };
  exit.onArmed = (isArmed) => {
    kernel.onSyscallExit = isArmed ? emitLeave : undefined;
  };
}

/** The first argument's register holds the result already: its original is kept beside it. */
function syscallArguments({ mem, text }: Kernel, regs: KAddr): bigint[] {
  const { roles } = text.arch;
  return roles.syscallArguments.map((offset, i) =>
    mem.dv.getBigUint64(regs + (i === 0 ? roles.originalArgument : offset), true),
  );
}
