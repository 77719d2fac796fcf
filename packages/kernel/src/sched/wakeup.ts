/** try_to_wake_up: makes a sleeping task runnable. Linux: kernel/sched/core.c. */
import { bool, u32 } from "@alien-ts/abi";
import { ownerPtr } from "../core/owner.ts";
import { kernelFn } from "../core/row.ts";
import type { Task } from "../core/task.ts";

export const taskp = ownerPtr<Task>("task_struct");

/** Wakes `p` when its state is one of `state`. True when it was woken. */
export const try_to_wake_up = kernelFn(
  "try_to_wake_up",
  [
    ["p", taskp],
    ["state", u32],
  ],
  bool,
  (cx, p, state) => {
    if ((p.t.__state & state) === 0) return false;
    cx.kernel.sched.activate(cx, p);
    return true;
  },
  { doc: "Makes a task that sleeps in one of the given states runnable." },
);
