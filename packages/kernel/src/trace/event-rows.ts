/**
 * The kernel's trace events, as rows. Linux: include/trace/events/sched.h and syscalls.h.
 *
 * To add one: a row here, and in events.ts its registration and the `emit` where it happens.
 */
import { array, bool, chars, long, named, ptr, s32, u32, u64 } from "@alien-ts/abi";
import { dynamicString, type PrintArgument, type TraceFields, tracepoint } from "@alien-ts/tracepoint";
import { EXIT_DEAD, EXIT_ZOMBIE, TASK } from "../core/task.ts";

const pid_t = named("pid_t", s32);
const COMM = chars(16);

const WAKEUP_FIELDS = { comm: COMM, pid: pid_t, prio: s32, target_cpu: s32 } as const;
const WAKEUP_PRINT = "comm=%s pid=%d prio=%d target_cpu=%03d";

/** A task is about to be woken, seen from its waker. */
export const sched_waking = tracepoint("sched", "sched_waking", WAKEUP_FIELDS, WAKEUP_PRINT);
export const sched_wakeup = tracepoint("sched", "sched_wakeup", WAKEUP_FIELDS, WAKEUP_PRINT);
/** A task is woken for the first time. */
export const sched_wakeup_new = tracepoint("sched", "sched_wakeup_new", WAKEUP_FIELDS, WAKEUP_PRINT);

const TASK_PARKED = 0x40;
/** States that a tracer sees, by their bit: include/linux/sched.h, TASK_REPORT. */
const REPORTED_STATES: readonly (readonly [bit: number, letter: string])[] = [
  [TASK.INTERRUPTIBLE, "S"],
  [TASK.UNINTERRUPTIBLE, "D"],
  [TASK.STOPPED, "T"],
  [TASK.TRACED, "t"],
  [EXIT_DEAD, "X"],
  [EXIT_ZOMBIE, "Z"],
  [TASK_PARKED, "P"],
];
const TASK_REPORT = REPORTED_STATES.reduce((mask, [bit]) => mask | bit, 0);
const TASK_REPORT_IDLE = TASK_REPORT + 1;
/** prev_state of a task that was preempted. */
const TASK_REPORT_MAX = TASK_REPORT_IDLE << 1;

const hex = (bit: number): string => `0x${bit.toString(16).padStart(8, "0")}`;
const C_REPORT = `(${[0, ...REPORTED_STATES.map(([bit]) => bit)].map(hex).join(" | ")})`;
const C_REPORT_MAX = `((${C_REPORT} + 1) << 1)`;
const C_STATE = `REC->prev_state & (${C_REPORT_MAX} - 1)`;
const C_LETTERS = [...REPORTED_STATES, [TASK.DEAD, "I"] as const]
  .map(([bit, letter]) => `{ ${hex(bit)}, "${letter}" }`)
  .join(", ");

function stateLetters(state: number): string {
  const bits = state & (TASK_REPORT_MAX - 1);
  if (bits === 0) return "R";
  return [...REPORTED_STATES, [TASK.DEAD, "I"] as const]
    .filter(([bit]) => (bits & bit) !== 0)
    .map(([, letter]) => letter)
    .join("|");
}

/** What sched_switch says of the task that leaves the CPU. Linux: __trace_sched_switch_state(). */
export function reportedState(state: number, exitState: number, isPreempted: boolean): number {
  if (isPreempted) return TASK_REPORT_MAX;
  const reported = (state & TASK.IDLE) === TASK.IDLE ? TASK_REPORT_IDLE : (state | exitState) & TASK_REPORT;
  return reported === 0 ? 0 : 1 << (31 - Math.clz32(reported));
}

const SWITCH_FIELDS = {
  prev_comm: COMM,
  prev_pid: pid_t,
  prev_prio: s32,
  prev_state: long,
  next_comm: COMM,
  next_pid: pid_t,
  next_prio: s32,
} as const;

export const sched_switch = tracepoint(
  "sched",
  "sched_switch",
  SWITCH_FIELDS,
  "prev_comm=%s prev_pid=%d prev_prio=%d prev_state=%s%s ==> next_comm=%s next_pid=%d next_prio=%d",
  [
    { c: "REC->prev_comm", value: (r) => r.prev_comm },
    { c: "REC->prev_pid", value: (r) => r.prev_pid },
    { c: "REC->prev_prio", value: (r) => r.prev_prio },
    {
      c: `(${C_STATE}) ? __print_flags(${C_STATE}, "|", ${C_LETTERS}) : "R"`,
      value: (r) => stateLetters(r.prev_state),
    },
    {
      c: `REC->prev_state & ${C_REPORT_MAX} ? "+" : ""`,
      value: (r) => ((r.prev_state & TASK_REPORT_MAX) === 0 ? "" : "+"),
    },
    { c: "REC->next_comm", value: (r) => r.next_comm },
    { c: "REC->next_pid", value: (r) => r.next_pid },
    { c: "REC->next_prio", value: (r) => r.next_prio },
  ],
);

export const sched_process_fork = tracepoint(
  "sched",
  "sched_process_fork",
  { parent_comm: dynamicString, parent_pid: pid_t, child_comm: dynamicString, child_pid: pid_t },
  "comm=%s pid=%d child_comm=%s child_pid=%d",
);

export const sched_process_exec = tracepoint(
  "sched",
  "sched_process_exec",
  { filename: dynamicString, pid: pid_t, old_pid: pid_t },
  "filename=%s pid=%d old_pid=%d",
);

export const sched_process_exit = tracepoint(
  "sched",
  "sched_process_exit",
  { comm: COMM, pid: pid_t, prio: s32, group_dead: bool },
  "comm=%s pid=%d prio=%d group_dead=%s",
  [
    { c: "REC->comm", value: (r) => r.comm },
    { c: "REC->pid", value: (r) => r.pid },
    { c: "REC->prio", value: (r) => r.prio },
    { c: 'REC->group_dead ? "true" : "false"', value: (r) => (r.group_dead ? "true" : "false") },
  ],
);

const SYSCALL_ARGUMENTS = 6;
const ENTER_FIELDS = { id: long, args: array(named("unsigned long", u64), SYSCALL_ARGUMENTS) } as const;

const enterArgument = (i: number): PrintArgument<typeof ENTER_FIELDS & TraceFields> => ({
  c: `REC->args[${i}]`,
  value: (r) => r.args[i] ?? 0,
});

export const sys_enter = tracepoint(
  "raw_syscalls",
  "sys_enter",
  ENTER_FIELDS,
  "NR %ld (%lx, %lx, %lx, %lx, %lx, %lx)",
  [{ c: "REC->id", value: (r) => r.id }, ...[0, 1, 2, 3, 4, 5].map(enterArgument)],
);

export const sys_exit = tracepoint("raw_syscalls", "sys_exit", { id: long, ret: long }, "NR %ld = %ld");

const task = ptr("task_struct");
const regs = ptr("pt_regs");

/** What probes of a tracepoint are called with (TP_PROTO), by its name. */
export const TRACEPOINT_PARAMETERS = {
  sched_waking: [task],
  sched_wakeup: [task],
  sched_wakeup_new: [task],
  sched_switch: [bool, task, task, u32],
  sched_process_fork: [task, task],
  sched_process_exec: [task, pid_t, ptr("linux_binprm")],
  sched_process_exit: [task, bool],
  sys_enter: [regs, long],
  sys_exit: [regs, long],
} as const;
