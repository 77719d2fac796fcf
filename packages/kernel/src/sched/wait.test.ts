import { ERESTARTSYS, isErr, SI, SIG } from "@alien-ts/abi";
import { expect, test } from "vitest";
import { startKernelThread } from "../task/fork.ts";
import { forceSignal, siginfo } from "../task/signal.ts";
import { settle, startTask, testKernel } from "../testing.ts";
import { WaitQueue, waitEvent, wakeUp, wakeUpAll } from "./wait.ts";

test("a wait ends when its condition holds, and not by a wake-up alone", () => {
  const kernel = testKernel();
  const queue = new WaitQueue();
  let isReady = false;
  const log: unknown[] = [];
  startTask(kernel, "t", function* (cx) {
    log.push(yield* waitEvent(cx, queue, () => isReady));
  });
  settle(kernel);
  wakeUp(kernel.bootCx, queue);
  settle(kernel);
  expect(log).toEqual([]);
  isReady = true;
  wakeUp(kernel.bootCx, queue);
  settle(kernel);
  expect(log).toEqual([true]);
});

test("a wait with a deadline ends in virtual time, and its timer is gone", () => {
  const kernel = testKernel();
  const log: unknown[] = [];
  startTask(kernel, "t", function* (cx) {
    log.push(
      yield* waitEvent(cx, new WaitQueue(), () => false, { deadlineNs: 5_000_000_000 }),
      cx.kernel.clock.nowNs() >= 5e9,
    );
  });
  settle(kernel);
  expect([log, kernel.sched.timers.nextNs]).toEqual([[false, true], undefined]);
});

test("a signal ends an interruptible wait, and leaves no timer behind", () => {
  const kernel = testKernel();
  const log: unknown[] = [];
  const task = startKernelThread(kernel.bootCx, "t", function* (cx) {
    log.push(yield* waitEvent(cx, new WaitQueue(), () => false, { deadlineNs: Number.MAX_SAFE_INTEGER }));
  });
  if (isErr(task)) throw new Error(task.name);
  // oxlint-disable-next-line require-yield -- a task that never sleeps
  startTask(kernel, "killer", function* (cx) {
    forceSignal(cx, task, siginfo(SIG.TERM, SI.KERNEL));
  });
  settle(kernel);
  expect([log, kernel.sched.timers.nextNs]).toEqual([[ERESTARTSYS], undefined]);
});

test("exclusive waiters are woken one at a time, the others all at once", () => {
  const kernel = testKernel();
  const queue = new WaitQueue();
  let tokens = 0;
  const log: string[] = [];
  for (let i = 0; i < 3; i++)
    startTask(kernel, `e${i}`, function* (cx) {
      yield* waitEvent(cx, queue, () => tokens > 0, { exclusive: true });
      log.push(`e${i}`);
    });
  for (let i = 0; i < 2; i++)
    startTask(kernel, `s${i}`, function* (cx) {
      yield* waitEvent(cx, queue, () => tokens > 0);
      log.push(`s${i}`);
    });
  settle(kernel);
  tokens = 1;
  wakeUp(kernel.bootCx, queue);
  settle(kernel);
  expect(log.toSorted().map((name) => name[0])).toEqual(["e", "s", "s"]);
  wakeUpAll(kernel.bootCx, queue);
  settle(kernel);
  expect(log.length).toBe(5);
});
