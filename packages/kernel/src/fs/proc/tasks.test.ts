import { EAGAIN, EIO, Layout, s32, utf8Encode } from "@alien-ts/abi";
import { describe, expect, test } from "vitest";
import type { FileTask } from "../../file-testing.ts";
import * as wait from "../../sched/wait.ts";
import { type Blocking, isBlocking, sleepingFn } from "../../core/row.ts";

import * as readWrite from "../../syscalls/read-write.ts";
import { startTask } from "../../testing.ts";
import { drain, procKernel, readNode, writeNode } from "./testing.ts";

const demo_wait = sleepingFn("demo_wait", [["n", s32]], s32, function* (cx, n) {
  yield* wait.waitEvent(cx, new wait.WaitQueue(), () => false);
  return n;
});
const DEMO = { demo_wait };

describe("a task that sleeps in the kernel", () => {
  test.each([0, 3])("shows its frames in stack and the innermost in wchan, seed %i", (seed) => {
    const layout = seed === 0 ? Layout.natural() : Layout.shuffled(seed);
    const { kernel, root } = procKernel({ layout, text: [DEMO] });
    const task = startTask(kernel, "demo", function* (cx) {
      yield* demo_wait(cx, 1);
    });
    kernel.sched.run();
    expect(readNode(root, `/proc/${task.pid}/stack`)).toMatch(
      /^\[<0>\] demo_wait\+0x[0-9a-f]+\/0x[0-9a-f]+\n/,
    );
    expect(readNode(root, `/proc/${task.pid}/wchan`)).toBe("demo_wait");
  });
});

describe("the memory of a process", () => {
  const at = (by: FileTask): number => by.put(Uint8Array.of(1, 2, 3, 4));

  test("is read and written through mem at its address", () => {
    const { root, user } = procKernel();
    const address = at(user);
    const fd = root.open(`/proc/${user.task.pid}/mem`, 2);
    const buffer = root.buffer(4);
    expect(root.call(readWrite.sys_pread64, fd, buffer, 4, address)).toBe(4);
    expect([...root.read(buffer, 4)]).toEqual([1, 2, 3, 4]);
    expect(root.call(readWrite.sys_pwrite64, fd, root.put(Uint8Array.of(9)), 1, address + 1)).toBe(1);
    expect([...user.read(address, 4)]).toEqual([1, 9, 3, 4]);
    expect(root.call(readWrite.sys_pread64, fd, buffer, 4, 4096)).toBe(-EIO.number);
    root.close(fd);
  });

  test("holds cmdline and environ where exec put them", () => {
    const { user } = procKernel();
    const strings = utf8Encode("ls\0-l\0A=1\0");
    const start = user.put(strings);
    const { t } = user.mm;
    t.arg_start = start;
    t.arg_end = start + 6;
    t.env_start = start + 6;
    t.env_end = start + 10;
    expect(readNode(user, "/proc/self/cmdline")).toBe("ls\0-l\0");
    expect(readNode(user, "/proc/self/environ")).toBe("A=1\0");
  });

  test("whose last argument lost its NUL is one title", () => {
    const { user } = procKernel();
    const start = user.put(utf8Encode("title: long one\0rest\0"));
    user.mm.t.arg_start = start;
    user.mm.t.arg_end = start + 6;
    user.mm.t.env_end = start + 21;
    expect(readNode(user, "/proc/self/cmdline")).toBe("title: long one");
  });
});

describe("/proc/kmsg", () => {
  test("hands over each line once, then has none", () => {
    const { kernel, root } = procKernel();
    kernel.log.info("one");
    kernel.log.warn("two");
    const fd = root.open("/proc/kmsg", 0o4000);
    const buffer = root.buffer(4096);
    let text = "";
    let got = root.call(readWrite.sys_read, fd, buffer, 20);
    for (; got > 0; got = root.call(readWrite.sys_read, fd, buffer, 20)) text += root.text(buffer, got);
    expect(got).toBe(-EAGAIN.number);
    expect(text).toMatch(/<6>\[ +0\.\d{6}\] one\n<4>\[ +0\.\d{6}\] two\n$/);
    root.close(fd);
  });

  test("sleeps until the kernel logs", () => {
    const { kernel, root } = procKernel();
    kernel.syslog.take(1e6);
    const fd = root.open("/proc/kmsg", 0);
    const buffer = root.buffer(4096);
    const call = root.start(readWrite.sys_read, fd, buffer, 4096) as Blocking<unknown>;
    expect(isBlocking(call)).toBe(true);
    expect(call.next().done).not.toBe(true);
    kernel.log.info("late");
    const step = call.next();
    expect(step.done).toBe(true);
    expect(root.text(buffer, step.value as number)).toMatch(/^<6>.*late\n$/);
  });
});

test("limits reads the same in parts, and cannot be written", () => {
  const { root } = procKernel();
  const fd = root.open("/proc/self/limits", 0);
  expect(drain(root, fd, 10)).toBe(readNode(root, "/proc/self/limits"));
  expect(writeNode(root, "/proc/self/limits", "x")).toBeLessThan(0);
});
