import { EACCES, EINVAL, isErr } from "@alien-ts/abi";
import { KprobeBuilder } from "@alien-ts/kprobe";
import { describe, expect, test } from "vitest";
import type { ProcKernel } from "../fs/proc/testing.ts";
import { procKernel, readNode, writeNode } from "../fs/proc/testing.ts";
import { plantKprobe } from "./kprobes.ts";

const LIST = "/sys/kernel/debug/kprobes/list";
const ENABLED = "/sys/kernel/debug/kprobes/enabled";
const BLACKLIST = "/sys/kernel/debug/kprobes/blacklist";

function withProbe(): ProcKernel {
  const world = procKernel();
  const probe = plantKprobe(world.kernel.bootCx, new KprobeBuilder().with_symbol("vfs_read"));
  if (isErr(probe)) throw new Error(probe.name);
  return world;
}

describe("kprobes in debugfs", () => {
  test("list shows a planted probe with its address", () => {
    const { kernel, root } = withProbe();
    const addr = kernel.mem.format(kernel.text.symbols.lookupName("vfs_read")!);
    expect(readNode(root, LIST)).toBe(`${addr}  k  vfs_read+0x0    \n`);
  });

  test("list hides addresses from everybody when kptr_restrict is 2", () => {
    const { root } = withProbe();
    writeNode(root, "/proc/sys/kernel/kptr_restrict", "2");
    expect(readNode(root, LIST)).toMatch(/^0{16} {2}k {2}vfs_read\+0x0/);
  });

  test("enabled takes the breakpoints out and puts them back", () => {
    const { kernel, root } = withProbe();
    const addr = kernel.text.symbols.lookupName("vfs_read")!;
    const row = kernel.text.rowAt(addr)!;
    expect(readNode(root, ENABLED)).toBe("1\n");
    expect(writeNode(root, ENABLED, "0")).toBe(0);
    expect(readNode(root, ENABLED)).toBe("0\n");
    expect(kernel.text.armed[row.slot]).toBe(0);
    expect(writeNode(root, ENABLED, "on")).toBe(0);
    expect(kernel.text.armed[row.slot]).toBe(1);
    expect(writeNode(root, ENABLED, "maybe")).toBe(-EINVAL.number);
  });

  test("blacklist names the entry points with their ranges", () => {
    const { kernel, root } = procKernel();
    const start = kernel.mem.format(kernel.text.image.addressOf("handle_exception"));
    expect(readNode(root, BLACKLIST)).toMatch(
      new RegExp(`^0x${start}-0x[0-9a-f]{16}\\thandle_exception$`, "m"),
    );
  });

  test("only root may look", () => {
    const { user } = procKernel();
    expect(readNode(user, LIST)).toBe(-EACCES.number);
  });
});
