import { describe, expect, test } from "vitest";
import type { Cx } from "../core/cx.ts";
import type { Kernel } from "../core/kernel.ts";
import type { Blocking } from "../core/row.ts";
import { TASK, type Task } from "../core/task.ts";
import { settle, startTask, testKernel } from "../testing.ts";
import { HrTimer } from "./timers.ts";
import { waitEvent, WaitQueue } from "./wait.ts";

interface Switch {
  readonly cpu: number;
  readonly from: string;
  readonly state: number;
  readonly to: string;
}

/** Every switch of `kernel` from now on. */
function watchSwitches(kernel: Kernel): Switch[] {
  const seen: Switch[] = [];
  kernel.sched.onSwitch = (cpu, previous, next) =>
    void seen.push({ cpu: cpu.id, from: previous.t.comm, state: previous.t.__state, to: next.t.comm });
  return seen;
}

/** Goes through `steps` preemption points. */
const busy = (steps: number, log: string[] = []) =>
  function* (cx: Cx): Blocking<void> {
    for (let i = 0; i < steps; i++) {
      log.push(cx.task.t.comm);
      yield;
    }
  };

describe("a context switch", () => {
  test("is told while the task that leaves still exists, dead as it is", () => {
    const kernel = testKernel({ cpus: 2 });
    const switches = watchSwitches(kernel);
    for (let i = 0; i < 20; i++) startTask(kernel, `t${i}`, busy(3));
    settle(kernel);
    const deaths = switches.filter(({ state }) => state === TASK.DEAD).map(({ from }) => from);
    expect(deaths.toSorted()).toEqual(Array.from({ length: 20 }, (_, i) => `t${i}`).toSorted());
  });

  test("goes from each task to the next one of its CPU, with nothing between", () => {
    const kernel = testKernel({ cpus: 4 });
    const switches = watchSwitches(kernel);
    for (let i = 0; i < 12; i++) startTask(kernel, `t${i}`, busy(10));
    settle(kernel);
    for (const cpu of kernel.cpus) {
      const own = switches.filter((entry) => entry.cpu === cpu.id);
      expect(own.slice(1).map(({ from }) => from)).toEqual(own.slice(0, -1).map(({ to }) => to));
      expect(own.every(({ from, to }) => from !== to)).toBe(true);
    }
  });

  test("is none for a task that only makes way for another CPU's", () => {
    const kernel = testKernel({ cpus: 2 });
    const log: string[] = [];
    const switches = watchSwitches(kernel);
    const tasks = ["a", "b"].map((name) => startTask(kernel, name, busy(50, log)));
    settle(kernel);
    expect(log.join("")).toMatch(/aba|bab/);
    expect(tasks.map(({ t }) => t.nivcsw)).toEqual([0, 0]);
    expect(switches.map(({ from, to }) => `${from}>${to}`).toSorted()).toEqual([
      "a>swapper/0",
      "b>swapper/1",
      "swapper/0>a",
      "swapper/1>b",
    ]);
  });
});

test.each([1, 2, 4])("on %i CPUs no runnable task starves", (cpus) => {
  const kernel = testKernel({ cpus });
  const log: string[] = [];
  for (let i = 0; i < 9; i++) startTask(kernel, `t${i}`, busy(100, log));
  settle(kernel);
  const lastStart = Math.max(...Array.from({ length: 9 }, (_, i) => log.indexOf(`t${i}`)));
  expect(log.length).toBe(900);
  expect(lastStart).toBeLessThan(200);
});

describe("affinity", () => {
  const cpusOf = (log: readonly number[]): number[] => [...new Set(log)];

  function* noteCpus(cx: Cx, log: number[], steps: number): Blocking<void> {
    for (let i = 0; i < steps; i++) {
      log.push(cx.cpu.id);
      yield;
    }
  }

  test("a task that runs or waits in a queue leaves a CPU that it may no longer use", () => {
    const kernel = testKernel({ cpus: 2 });
    const logs: number[][] = [[], [], [], []];
    const tasks: Task[] = logs.map((log, i) =>
      startTask(kernel, `t${i}`, function* (cx) {
        yield* noteCpus(cx, log, 10);
        if (i === 0) {
          for (const task of tasks) kernel.sched.setAffinity(task, 0b10n);
          for (const other of logs) other.length = 0;
          yield;
        }
        yield* noteCpus(cx, log, 10);
      }),
    );
    settle(kernel);
    // The one that was in the middle of a step on CPU 0 has noted it once.
    expect(logs.map((log) => cpusOf(log.slice(1)))).toEqual([[1], [1], [1], [1]]);
  });
});

test("the time that a task runs is counted once, whoever has the host meanwhile", () => {
  const kernel = testKernel({ cpus: 2 });
  const work = function* (cx: Cx): Blocking<void> {
    for (let i = 0; i < 10; i++) {
      cx.kernel.clock.charge(1000);
      yield;
    }
    yield* waitEvent(cx, new WaitQueue(), () => false);
  };
  const tasks = ["a", "b"].map((name) => startTask(kernel, name, work));
  settle(kernel);
  for (const task of tasks) {
    expect(kernel.sched.runNs(task)).toBeGreaterThanOrEqual(10_000);
    expect(kernel.sched.runNs(task)).toBeLessThan(10_000 + 4000);
  }
});

/** A timer that is due again a nanosecond after each expiry. */
function startPeriodic(kernel: Kernel, onExpiry: () => void = () => {}): void {
  const { clock, sched } = kernel;
  const timer = new HrTimer(() => {
    onExpiry();
    sched.timers.start(timer, clock.nowNs() + 1);
  });
  sched.timers.start(timer, 1);
}

test("a periodic timer that wakes nobody does not keep the machine from its host", () => {
  const kernel = testKernel();
  let count = 0;
  startPeriodic(kernel, () => (count += 1));
  expect(kernel.sched.turn()).toEqual({ state: "running" });
  const first = count;
  expect(kernel.sched.turn()).toEqual({ state: "running" });
  expect(count).toBeGreaterThan(first);
});

test("a timer with the shortest period lets tasks run", () => {
  const kernel = testKernel();
  startPeriodic(kernel);
  const log: string[] = [];
  startTask(kernel, "t", busy(5, log));
  settle(kernel);
  expect(log.length).toBe(5);
});
