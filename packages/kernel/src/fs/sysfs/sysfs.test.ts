import { DT, ENOENT, Layout } from "@alien-ts/abi";
import { describe, expect, test } from "vitest";
import { listNode, procKernel, type ProcKernel, readLink, readNode, writeNode } from "../proc/testing.ts";
import { attribute, registerSysfs, unregisterSysfs } from "./sysfs.ts";

const NODES = [
  ["/sys/bus/event_source/devices/kprobe/type", "6\n"],
  ["/sys/bus/event_source/devices/uprobe/type", "7\n"],
  ["/sys/bus/event_source/devices/tracepoint/type", "2\n"],
  ["/sys/bus/event_source/devices/software/type", "1\n"],
  ["/sys/bus/event_source/devices/kprobe/format/retprobe", "config:0\n"],
  ["/sys/bus/event_source/devices/uprobe/format/retprobe", "config:0\n"],
  ["/sys/bus/event_source/devices/uprobe/format/ref_ctr_offset", "config:32-63\n"],
  ["/sys/devices/system/cpu/offline", "\n"],
  ["/sys/devices/system/cpu/kernel_max", "63\n"],
  ["/sys/kernel/fscaps", "1\n"],
] as const;

describe.each([
  ["the natural layout", (): Layout => Layout.natural()],
  ["layout 5", (): Layout => Layout.shuffled(5)],
] as const)("with %s", (_name, layout) => {
  let made: ProcKernel | undefined;
  const world = (): ProcKernel => (made ??= procKernel({ layout: layout() }));

  test.each(NODES)("%s reads %j", (path, expected) => {
    const { user } = world();
    expect(readNode(user, path)).toBe(expected);
  });
});

test.each([
  [1, "0\n"],
  [2, "0-1\n"],
  [4, "0-3\n"],
])("with %i CPUs, possible, online and present are %j", (cpus, expected) => {
  const { user } = procKernel({ cpus });
  for (const name of ["possible", "online", "present"])
    expect(readNode(user, `/sys/devices/system/cpu/${name}`)).toBe(expected);
  const names = listNode(user, "/sys/devices/system/cpu");
  expect(names).toContainEqual({ name: `cpu${cpus - 1}`, type: DT.DIR });
  expect(names).not.toContainEqual({ name: `cpu${cpus}`, type: DT.DIR });
  expect(readNode(user, `/sys/devices/system/cpu/cpu${cpus - 1}/topology/core_id`)).toBe(`${cpus - 1}\n`);
});

test("a source of events is a link on the bus to its device", () => {
  const { user } = procKernel();
  expect(readLink(user, "/sys/bus/event_source/devices/kprobe")).toBe("../../../devices/kprobe");
});

test("a subsystem adds, stores to and removes its attributes", () => {
  const { kernel, root } = procKernel();
  let stored = "";
  registerSysfs(
    kernel,
    "module/demo/parameters/level",
    attribute(() => `${stored}\n`, {
      store: (_cx, text) => {
        stored = text;
        return 0;
      },
    }),
  );
  expect(writeNode(root, "/sys/module/demo/parameters/level", "5")).toBe(0);
  expect(readNode(root, "/sys/module/demo/parameters/level")).toBe("5\n");
  unregisterSysfs(kernel, "module/demo");
  expect(readNode(root, "/sys/module/demo/parameters/level")).toBe(-ENOENT.number);
});

test("two attributes of one name are a mistake", () => {
  const { kernel } = procKernel();
  expect(() =>
    registerSysfs(
      kernel,
      "kernel/fscaps",
      attribute(() => ""),
    ),
  ).toThrow("registered twice");
});
