/**
 * Waiting until a time: an hrtimer that wakes the waiter (Linux: kernel/time/hrtimer.c, do_nanosleep). The timer ends with the
 * wait, however that ends: a task that was killed while it slept leaves nothing behind in the timer queue.
 */
import type { Result } from "@alien-ts/abi";
import type { Cx } from "../core/cx.ts";
import type { Blocking } from "../core/row.ts";
import { HrTimer } from "../sched/timers.ts";
import { waitEvent, WaitQueue, wakeUp } from "../sched/wait.ts";

/** Times beyond this are never reached: about 104 days. */
const NEVER_NS = Number.MAX_SAFE_INTEGER;

/**
 * Waits for `condition` until the CLOCK_MONOTONIC time `deadlineNs` (undefined: for ever): true when it holds, false when the time
 * has come, ERESTARTSYS on a signal.
 */
export function* waitUntil(
  cx: Cx,
  deadlineNs: number | undefined,
  condition: () => boolean,
): Blocking<Result<boolean>> {
  const queue = new WaitQueue();
  let isOver = false;
  if (deadlineNs === undefined || deadlineNs >= NEVER_NS) return yield* waitEvent(cx, queue, condition);
  const timer = new HrTimer((timerCx) => {
    isOver = true;
    wakeUp(timerCx, queue);
  });
  const { timers } = cx.kernel.sched;
  timers.start(timer, deadlineNs);
  const woken = yield* waitEvent(cx, queue, () => isOver || condition());
  timers.cancel(timer);
  return woken === true ? condition() : woken;
}
