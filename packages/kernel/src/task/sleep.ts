/** Waiting until a time, for system calls whose time comes from the user (Linux: kernel/time/hrtimer.c, do_nanosleep). */
import type { Result } from "@alien-ts/abi";
import type { Cx } from "../core/cx.ts";
import type { Blocking } from "../core/row.ts";
import { waitEvent, WaitQueue } from "../sched/wait.ts";

/** Times from here on are never reached (KTIME_MAX): no timer is started, so that a virtual clock does not jump there. */
const NEVER_NS = Number.MAX_SAFE_INTEGER;

/**
 * Waits for `condition` until the CLOCK_MONOTONIC time `deadlineNs` (undefined: for ever): true when it holds, false when the time
 * has come, ERESTARTSYS on a signal. Only a signal wakes it before.
 */
export function waitUntil(
  cx: Cx,
  deadlineNs: number | undefined,
  condition: () => boolean,
): Blocking<Result<boolean>> {
  const isEndless = deadlineNs === undefined || deadlineNs >= NEVER_NS;
  return waitEvent(cx, new WaitQueue(), condition, isEndless ? {} : { deadlineNs });
}
