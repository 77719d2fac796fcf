/** An extension package in small: a subsystem that the kernel does not know, made of what `index.ts` exports and nothing else. */
import { AT, EFAULT, NR, s32, u32 } from "@alien-ts/abi";
import { type RegisteredEvent, tracepoint } from "@alien-ts/tracepoint";
import { expect, test } from "vitest";
import {
  addSyscall,
  debugfsFile,
  file,
  int,
  isBlocking,
  kernelFn,
  originOf,
  sleepingFn,
  type Subsystem,
  syscall,
  type TraceOrigin,
  userPointer,
  waitEvent,
  WaitQueue,
  wakeUpAll,
  watchFunction,
  writeUserBytes,
} from "./index.ts";
import { fileTask } from "./file-testing.ts";
import { sys_mkdirat } from "./syscalls/directories.ts";
import { sys_mount } from "./syscalls/mount.ts";
import { ipcKernel, runProgram, startProgram } from "./testing-program.ts";

const RING = 600;

const bell_rung = tracepoint("bell", "bell_rung", { count: s32 }, "count=%d");

interface Bell {
  count: number;
  readonly rung: WaitQueue;
  readonly event: RegisteredEvent<TraceOrigin, typeof bell_rung.fields>;
}

declare module "./core/kernel.ts" {
  interface Kernel {
    bell: Bell;
  }
}

const bell_ring = kernelFn("bell_ring", [["times", u32]], s32, (cx, times) => {
  const { bell } = cx.kernel;
  bell.count += times;
  bell.event.emit(originOf(cx), { count: bell.count });
  wakeUpAll(cx, bell.rung);
  return bell.count;
});

const bell_wait = sleepingFn("bell_wait", [["count", u32]], s32, function* (cx, count) {
  const { bell } = cx.kernel;
  const woken = yield* waitEvent(cx, bell.rung, () => bell.count >= count);
  return typeof woken === "boolean" ? bell.count : woken;
});

const sys_bell = syscall(
  RING,
  "bell",
  [
    ["op", int],
    ["count", int],
    ["out", userPointer("char")],
  ],
  (cx, op, count, out) => {
    if (op === 0) return bell_ring(cx, count);
    return op === 1 ? bell_wait(cx, count) : writeUserBytes(cx.task.mm!, out, Uint8Array.of(7));
  },
);

const bellSubsystem: Subsystem = {
  name: "bell",
  init(kernel) {
    kernel.bell = { count: 0, rung: new WaitQueue(), event: kernel.traceEvents.register(bell_rung) };
    addSyscall(kernel, sys_bell);
    debugfsFile(
      kernel,
      "bell",
      file((cx) => `${cx.kernel.bell.count}\n`),
    );
  },
};

const bellKernel = () =>
  ipcKernel({ subsystems: [bellSubsystem], text: [{ bell_ring, bell_wait, sys_bell }] });

test("a subsystem from outside has system calls that sleep, functions that can be probed, and files", () => {
  const kernel = bellKernel();
  const seen: number[] = [];
  let hits = 0;
  const watch = watchFunction(kernel, "bell_ring", () => (hits += 1));
  startProgram(kernel, "waiter", function* (program) {
    seen.push(yield* program.call(RING, 1, 3));
  });
  runProgram(kernel, function* (program) {
    expect(yield* program.call(RING, 0, 2)).toBe(2);
    expect(yield* program.call(RING, 0, 1)).toBe(3);
    expect(yield* program.call(RING, 2, 0, 8)).toBe(-EFAULT.number);
    expect(yield* program.call(NR.getpid)).toBeGreaterThan(0);
  });
  watch.stop();
  expect([seen, hits]).toEqual([[3], 2]);
  expect(kernel.text.symbols.lookupName("__riscv_sys_bell")).toBeDefined();
});

test("its events are in tracefs, and their records in the trace buffer", () => {
  const kernel = bellKernel();
  const task = fileTask(kernel);
  expect(task.call(sys_mkdirat, AT.FDCWD, task.str("/t"), 0o755)).toBe(0);
  expect(task.call(sys_mount, task.str("none"), task.str("/t"), task.str("tracefs"), 0, 0)).toBe(0);
  const at = "/t/events/bell";
  expect(task.readFile(`${at}/bell_rung/format`)).toContain("field:int count;");
  task.writeFile(`${at}/enable`, "1");
  expect(isBlocking(bell_ring(task.cx, 4))).toBe(false);
  expect(kernel.traceBuffer.lines().join("")).toContain("bell_rung: count=4");
});
