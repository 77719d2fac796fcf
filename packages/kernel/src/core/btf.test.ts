/** The kernel's own types: what Linux would say of them, and that a guest finds memory to be as they tell. */
import { Layout } from "@alien-ts/abi";
import { type Btf, checkBtf, parseBtf } from "@alien-ts/btf";
import { describe, expect, test } from "vitest";
import { kernelBtf } from "../system-map.ts";
import { testKernel } from "../testing.ts";
import { task_struct } from "./task.ts";

const LAYOUTS = [Layout.natural(), Layout.shuffled(3), Layout.shuffled(8)];

describe.each(LAYOUTS.map((layout) => [layout.name, layout] as const))("with %s", (_, layout) => {
  const kernel = testKernel({ layout });
  const { btf } = kernel;

  test("the image has the types where its symbols say", () => {
    const { symbols } = kernel.text;
    expect([btf.start, btf.start + btf.size]).toEqual(
      ["__start_BTF", "__stop_BTF"].flatMap((name) => symbols.lookupNames(name)),
    );
    expect(btf.start % 4096).toBe(0);
    expect(kernel.mem.bytes(btf.start, btf.size).every((byte) => byte === 0)).toBe(true);
    btf.touch(btf.start - 8, 8);
    expect(kernel.mem.u8[btf.start]).toBe(0);
    btf.touch(btf.start + btf.size - 1, 1);
    expect(kernel.mem.bytes(btf.start, btf.size)).toEqual(kernelBtf(undefined, undefined, layout));
  });

  test("Linux's checks find nothing wrong with them", () => {
    expect(checkBtf(btf.bytes(), true)).toMatchObject({ errno: undefined });
  });

  test("the members of a task are where the types tell", () => {
    const members = btf.btf.members(btf.btf.find("task_struct", "struct")!)!;
    const told = Object.fromEntries(members.map(({ name, bitOffset }) => [name, bitOffset / 8]));
    const placed = Object.keys(task_struct.fields).map((name) => [name, layout.offset(task_struct, name)]);
    expect(told).toEqual(Object.fromEntries(placed));
    expect(btf.btf.sizeOf(btf.btf.find("task_struct", "struct")!)).toBe(layout.size(task_struct));
  });

  test("every function of the text is told of by its symbol", () => {
    const missing = kernel.text.rows.filter(({ symbol }) => btf.btf.find(symbol, "func") === undefined);
    expect(missing).toEqual([]);
  });
});

test.each([
  ["task_struct", "struct"],
  ["pt_regs", "struct"],
  ["bpf_user_pt_regs_t", "typedef"],
  ["kuid_t", "typedef"],
  ["bpf_map", "struct"],
  ["__sk_buff", "struct"],
  ["xdp_md", "struct"],
  ["bpf_perf_event_data", "struct"],
  ["trace_event_raw_sched_switch", "struct"],
  ["btf_trace_sched_switch", "typedef"],
  ["bpf_func_id", "enum"],
  ["kprobe_ctlblk", "var"],
  ["vfs_read", "func"],
  ["__riscv_sys_read", "func"],
] as const)("%s is among the types, a %s", (name, kind) => {
  expect((parseBtf(kernelBtf()) as Btf).find(name, kind)).toBeDefined();
});

test("a map type and a helper that are missing are no enumerators", () => {
  const btf = parseBtf(kernelBtf()) as Btf;
  const names = (name: string): string[] => {
    const type = btf.type(btf.find(name, "enum")!);
    return type?.kind === "enum" ? type.values.map((value) => value.name) : [];
  };
  expect(names("bpf_map_type")).toContain("BPF_MAP_TYPE_HASH");
  expect(names("bpf_map_type")).not.toContain("BPF_MAP_TYPE_XSKMAP");
  expect(names("bpf_func_id")).toContain("BPF_FUNC_map_lookup_elem");
  expect(names("bpf_func_id")).not.toContain("BPF_FUNC_redirect");
});
