/** CPU-time clocks: CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID, and those of other tasks. Linux: kernel/time/posix-cpu-timers.c. */
import { CLOCK, EINVAL, type Result } from "@alien-ts/abi";
import type { Cx } from "../core/cx.ts";
import { timesOf } from "../task/exit.ts";
import type { Process } from "../task/process.ts";

const CPUCLOCK_PERTHREAD = 4;
/** CPUCLOCK_PROF, VIRT and SCHED; 3 is a clock behind a descriptor. */
const CLOCKFD = 3;

export function processRunNs(process: Process): number {
  let sum = process.deadThreads.runNs;
  for (const thread of process.threads) sum += thread.kernel.sched.runNs(thread);
  return sum;
}

export const isCpuClock = (clock: number): boolean =>
  clock === CLOCK.PROCESS_CPUTIME_ID || clock === CLOCK.THREAD_CPUTIME_ID || clock < 0;

/** The value of a CPU clock. EINVAL for a clock that is none, or whose task is gone. */
export function cpuClockNs(cx: Cx, clock: number): Result<number> {
  if (clock === CLOCK.PROCESS_CPUTIME_ID) return processRunNs(cx.task.process);
  if (clock === CLOCK.THREAD_CPUTIME_ID) return cx.kernel.sched.runNs(cx.task);
  if (clock >= 0 || (clock & 3) === CLOCKFD) return EINVAL;
  const pid = ~(clock >> 3);
  const isThread = (clock & CPUCLOCK_PERTHREAD) !== 0;
  const task = pid === 0 ? cx.task : cx.kernel.pids.find(pid);
  if (task === undefined) return EINVAL;
  if (isThread && task.process !== cx.task.process) return EINVAL;
  if ((clock & 3) === 2) return isThread ? cx.kernel.sched.runNs(task) : processRunNs(task.process);
  const times = timesOf(task);
  return (clock & 3) === 1 ? times.userNs : times.userNs + times.systemNs;
}
