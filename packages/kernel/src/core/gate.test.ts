import { EINTR, ENOENT, Layout, ptr, s32, size_t, u32, userPtr, isErr } from "@alien-ts/abi";
import { KprobeBuilder, type ProbeArgs } from "@alien-ts/kprobe";
import { describe, expect, test } from "vitest";
import { WaitQueue, waitEvent, wakeUpAll } from "../sched/wait.ts";
import { taskp } from "../sched/wakeup.ts";
import { settle, startTask, testKernel } from "../testing.ts";
import { plantKprobe, removeKprobe } from "../trace/kprobes.ts";
import type { Kernel } from "./kernel.ts";
import { kernelFn, sleepingFn } from "./row.ts";
import type { Task } from "./task.ts";

let inner = 0;
const leaf = kernelFn(
  "test_leaf",
  [
    ["a", u32],
    ["b", s32],
  ],
  s32,
  (_, a, b) => a + b,
);
const caller = kernelFn("test_caller_", [["a", u32]], s32, (cx, a) => {
  inner += 1;
  return leaf(cx, a, -1);
});
const failing = kernelFn(
  "test_failing",
  [
    ["path", userPtr("char")],
    ["count", size_t],
  ],
  s32,
  (_, path) => (path === 0 ? ENOENT : 7),
);
const owner = kernelFn(
  "test_owner",
  [
    ["p", taskp],
    ["raw", ptr("void")],
  ],
  taskp,
  (_, p) => p,
);
const queue = new WaitQueue();
let isReady = false;
const sleeper = sleepingFn("test_sleeper", [["value", s32]], s32, function* (cx, value) {
  const woken = yield* waitEvent(cx, queue, () => isReady);
  return isErr(woken) ? woken : value * 2;
});
const rows = { leaf, caller, failing, owner, sleeper };

const kernels = (): Kernel[] =>
  [1, 2].map((seed) => testKernel({ text: [rows], seed, layout: Layout.natural() }));

function probe(kernel: Kernel, symbol: string, handler: (args: ProbeArgs) => number | void, offset = 0) {
  const made = plantKprobe(
    kernel.bootCx,
    new KprobeBuilder()
      .with_symbol(symbol)
      .with_offset(offset)
      .with_pre_handler((_, args) => handler(args) ?? 0),
  );
  if (isErr(made)) throw new Error(made.name);
  return made;
}

describe("an armed call", () => {
  test("gives what the plain call gives, on this kernel only", () => {
    const [a, b] = kernels() as [Kernel, Kernel];
    const hits: number[] = [];
    const planted = probe(a, "test_leaf", (args) => void hits.push(args.argumentLow(0), args.argumentLow(1)));
    expect([leaf(a.bootCx, 40, 2), leaf(b.bootCx, 40, 2), caller(a.bootCx, 5)]).toEqual([42, 42, 4]);
    expect(hits).toEqual([40, 2, 5, -1]);
    removeKprobe(a.bootCx, planted);
    expect(leaf(a.bootCx, 1, 1)).toBe(2);
    expect(hits.length).toBe(4);
    expect(a.text.armed[leaf.row.slot]).toBe(0);
  });

  test("the breakpoint is in the text, and the return address is the caller's", () => {
    const [kernel] = kernels() as [Kernel];
    const addr = kernel.text.addressOf(leaf.row.slot);
    const before = kernel.mem.bytes(addr, 4).slice();
    let returnTo = "";
    const planted = probe(kernel, "test_leaf", (args) => {
      returnTo = kernel.text.describe(args.returnAddress());
    });
    expect([...kernel.mem.bytes(addr, 2)]).not.toEqual([...before.subarray(0, 2)]);
    caller(kernel.bootCx, 1);
    expect(returnTo).toMatch(/^test_caller_\+0x/);
    removeKprobe(kernel.bootCx, planted);
    expect([...kernel.mem.bytes(addr, 4)]).toEqual([...before]);
  });

  test("errors, owners and pointers pass through registers", () => {
    const [kernel] = kernels() as [Kernel];
    const { bootCx } = kernel;
    for (const name of ["test_failing", "test_owner"]) probe(kernel, name, () => {});
    expect(failing(bootCx, 0, 2 ** 40)).toBe(ENOENT);
    expect(failing(bootCx, 0x3f_ffff_f000, 1)).toBe(7);
    expect(owner(bootCx, bootCx.task, 0)).toBe(bootCx.task);
  });

  test("a handler changes arguments, results and skips the body", () => {
    const [kernel] = kernels() as [Kernel];
    inner = 0;
    probe(kernel, "test_leaf", (args) => args.setArgument(0, 100, 0));
    probe(kernel, "test_caller_", (args) => {
      args.setReturnValue(-EINTR.number, -1);
      args.update_pc(args.returnAddress());
      return 1;
    });
    expect(leaf(kernel.bootCx, 1, 1)).toBe(101);
    expect(caller(kernel.bootCx, 1)).toBe(EINTR);
    expect(inner).toBe(0);
  });

  test("every instruction of a row can be probed, the host call too", () => {
    const [kernel] = kernels() as [Kernel];
    const size = kernel.text.lookup(kernel.text.addressOf(leaf.row.slot))!.size;
    const seen: number[] = [];
    const start = kernel.text.addressOf(leaf.row.slot);
    for (let offset = 0; offset < size; offset += 2) {
      const made = plantKprobe(
        kernel.bootCx,
        new KprobeBuilder()
          .with_symbol("test_leaf")
          .with_offset(offset)
          .with_pre_handler((_, args) => {
            seen.push(args.break_address() - start);
            return 0;
          }),
      );
      if (isErr(made)) expect(made.name).toBe("EILSEQ");
    }
    expect(leaf(kernel.bootCx, 20, 22)).toBe(42);
    expect(seen.length).toBeGreaterThanOrEqual(6);
    expect(seen).toEqual(seen.toSorted((x, y) => x - y));
  });
});

describe.each([1, 2, 3, 4, 5])("a sleeping row, seed %i", (seed) => {
  test("sleeps inside, is entered and left once, and may resume on another CPU", () => {
    const kernel = testKernel({ text: [rows], seed, cpus: 4 });
    isReady = false;
    const log: string[] = [];
    const size = kernel.text.lookup(kernel.text.addressOf(sleeper.row.slot))!.size;
    probe(kernel, "test_sleeper", () => void log.push(`enter ${kernel.current.task.t.comm}`));
    const last = size === 18 ? 16 : 20;
    probe(kernel, "test_sleeper", () => void log.push(`exit ${kernel.current.task.t.comm}`), last);
    const results: unknown[] = [];
    const cpus = new Set<number>();
    const tasks: Task[] = [];
    for (let i = 0; i < 6; i++)
      tasks.push(
        startTask(kernel, `t${i}`, function* (cx) {
          const before = cx.cpu.id;
          results.push(yield* sleeper(cx, i));
          if (cx.cpu.id !== before) cpus.add(i);
        }),
      );
    settle(kernel);
    expect([log.length, results.length]).toEqual([6, 0]);
    expect(tasks[0]!.cx.depth).toBe(1);
    isReady = true;
    for (const cpu of kernel.cpus)
      for (let i = 0; i < cpu.id; i++) startTask(kernel, "busy", function* () {});
    wakeUpAll(kernel.bootCx, queue);
    settle(kernel);
    expect(results.map(Number).toSorted((a, b) => a - b)).toEqual([0, 2, 4, 6, 8, 10]);
    expect(log.filter((line) => line.startsWith("exit")).length).toBe(6);
  });
});

describe("a probe goes", () => {
  test("while the probed function sleeps: the call ends as it would have, and the text is what was linked", () => {
    const kernel = testKernel({ text: [rows] });
    isReady = false;
    const start = kernel.text.addressOf(sleeper.row.slot);
    const { size } = kernel.text.lookup(start)!;
    const before = kernel.mem.bytes(start, size).slice();
    const log: string[] = [];
    const entry = probe(kernel, "test_sleeper", () => void log.push("enter"));
    const exit = probe(kernel, "test_sleeper", () => void log.push("exit"), size === 18 ? 16 : 20);
    const results: unknown[] = [];
    startTask(kernel, "t", function* (cx) {
      results.push(yield* sleeper(cx, 21));
    });
    settle(kernel);
    removeKprobe(kernel.bootCx, entry);
    removeKprobe(kernel.bootCx, exit);
    expect([...kernel.mem.bytes(start, size)]).toEqual([...before]);
    isReady = true;
    wakeUpAll(kernel.bootCx, queue);
    settle(kernel);
    expect([log, results, kernel.text.armed[sleeper.row.slot]]).toEqual([["enter"], [42], 0]);
  });

  test("in its own handler: it is not hit again, and the call goes on", () => {
    const kernel = testKernel({ text: [rows] });
    let hits = 0;
    const own = probe(kernel, "test_leaf", () => {
      hits += 1;
      removeKprobe(kernel.bootCx, own);
    });
    expect([leaf(kernel.bootCx, 1, 2), leaf(kernel.bootCx, 3, 4), hits]).toEqual([3, 7, 1]);
  });

  test("planted while the function sleeps, it sees the next call", () => {
    const kernel = testKernel({ text: [rows] });
    isReady = false;
    const results: unknown[] = [];
    // Without a probe the call is not executed from text, so a probe planted later sees the next call.
    startTask(kernel, "t", function* (cx) {
      results.push(yield* sleeper(cx, 1), yield* sleeper(cx, 2));
    });
    settle(kernel);
    let hits = 0;
    probe(kernel, "test_sleeper", () => void (hits += 1));
    isReady = true;
    wakeUpAll(kernel.bootCx, queue);
    settle(kernel);
    expect([results, hits]).toEqual([[2, 4], 1]);
  });
});

test("calls of an armed row nest: a handler's own call of it is counted as missed, and works", () => {
  const kernel = testKernel({ text: [rows] });
  const inside: unknown[] = [];
  const planted = probe(kernel, "test_leaf", () => {
    if (inside.length < 2) inside.push(leaf(kernel.bootCx, 5, 5));
  });
  expect(leaf(kernel.bootCx, 1, 1)).toBe(2);
  expect([inside, planted.nmissed]).toEqual([[10], 1]);
});
