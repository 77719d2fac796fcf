/** An object compiled against one kernel's types, on a kernel that has others (fixtures/core.bpf.c, core_kernel.c). */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { disassembleProgram } from "@alien-ts/bpf-isa";
import type { Btf } from "@alien-ts/btf";
import { BtfBuilder, parseBtf } from "@alien-ts/btf";
import { RelocationError } from "../errors.ts";
import { applyCore, needsCore } from "./core.ts";
import { needsAddresses, resolveExterns } from "./externs.ts";
import { linkProgram } from "./link.ts";
import { parseObject } from "./object.ts";

const read = (name: string): Uint8Array =>
  Uint8Array.from(readFileSync(new URL(`../../fixtures/${name}`, import.meta.url)));
const types = parseObject(read("core_kernel.o")).btf!;
const original = parseObject(read("core.bpf.o"));
const kernel = {
  types,
  version: 0x06_12_03,
  address: (name: string) => (name === "address" ? 0xffff_ffff_8123_4567n : undefined),
};
const spec = resolveExterns(applyCore(original, types), kernel);

const code = (name: string, of = spec): string[] =>
  disassembleProgram(linkProgram(of, of.programs.get(name)!.function, () => 9).insns).map((line) =>
    line.replace(/^.*?\) /, ""),
  );

const POISON = "call unknown#195896080";

describe("fields", () => {
  it.each([
    ["load_word", "r0 = *(u64 *)(r1 +16)", "a wider integer, inside an anonymous struct"],
    ["load_narrow", "r0 = *(u32 *)(r1 +24)", "a wider integer"],
    ["load_nested", "r0 = *(u32 *)(r1 +80)", "two structs moved"],
    ["load_element", "r0 = *(u8 *)(r1 +31)", "an element of a longer array"],
    ["load_pointer", "r0 = *(u64 *)(r1 +64)", "a pointer"],
    ["load_gone", POISON, "a field that the kernel lacks"],
    ["load_signed", POISON, "a signed integer of another width"],
    ["load_flavour", "r0 = *(u32 *)(r1 +8)", "a flavour of the type"],
    ["store_word", "*(u32 *)(r1 +84) = r2", "a store"],
  ])("%s is %s: %s", (program, expected) => {
    expect(code(program).slice(0, 2)).toContain(expected);
  });

  it.each([
    ["offset", 80],
    ["size", 32],
    ["exists", 1],
    ["exists_not", 0],
    ["is_signed", 1],
    ["bits_offset", 92],
    ["bits_size", 4],
    ["bits_left", 64 - 9],
    ["bits_right", 64 - 9],
  ])("%s is %i", (program, expected) => {
    expect(code(program)[0]).toBe(`r0 = ${expected}`);
  });
});

describe("types and enumerators", () => {
  const wide = (program: string): number =>
    linkProgram(spec, spec.programs.get(program)!.function, () => 9).insns[0]!.imm;

  it.each([
    ["type_exists", 1],
    ["type_exists_not", 0],
    ["type_size", 104],
    ["type_matches", 1],
    ["type_matches_not", 0],
  ])("%s is %i", (program, expected) => {
    expect(code(program)[0]).toBe(`r0 = ${expected}`);
  });

  it("ids are those of the object's types and of the kernel's", () => {
    expect(original.btf!.type(wide("local_id"))).toMatchObject({ kind: "struct", name: "task" });
    expect(wide("target_id")).toBe(types.find("task", "struct"));
  });

  it("values of enumerators are the kernel's, by name and flavour", () => {
    expect([wide("value_exists"), wide("value_exists_not")]).toEqual([1, 0]);
    expect(wide("value")).toBe(70_000);
    expect(wide("value_flavour")).toBe(11);
    expect(code("value_gone")[0]).toBe(POISON);
  });
});

describe("externs", () => {
  const insns = (program: string): ReturnType<typeof linkProgram>["insns"] =>
    linkProgram(spec, spec.programs.get(program)!.function, (map) => (map === ".kconfig" ? 33 : -1)).insns;

  it("facts about the kernel are read from a frozen map", () => {
    const map = spec.maps.get(".kconfig")!;
    const at = map.data!.symbols.find(({ name }) => name === "LINUX_KERNEL_VERSION")!.address;
    expect(map).toMatchObject({ maxEntries: 1, flags: 0x80, data: { kind: "rodata" } });
    expect(new DataView(map.data!.bytes.buffer).getUint32(at, true)).toBe(0x06_12_03);
    expect(insns("kernel_version")[0]).toMatchObject({ opcode: 0x18, src: 2, imm: 33 });
    expect(insns("kernel_version")[1]!.imm).toBe(at);
  });

  it("variables and functions with types are BTF ids, symbols without types are addresses", () => {
    expect(insns("variable")[0]).toMatchObject({ src: 3, imm: types.find("counter", "var") });
    expect(insns("call").find(({ opcode }) => opcode === 0x85)).toMatchObject({
      src: 2,
      imm: types.find("function", "func"),
    });
    expect(insns("symbol").slice(0, 2)).toMatchObject([{ src: 0, imm: 0x8123_4567 | 0 }, { imm: -1 }]);
  });

  it("what the kernel lacks, or has with another type, is 0 or a call that the verifier refuses", () => {
    for (const name of ["variable_gone", "symbol_gone"])
      expect(insns(name)[0]).toMatchObject({ src: 0, imm: 0 });
    for (const name of ["call_gone", "call_changed"])
      expect(insns(name).find(({ opcode }) => opcode === 0x85)).toMatchObject({ src: 0, imm: 2_002_000_000 });
  });

  it("one that is not weak must be there", () => {
    const empty = parseBtf(new BtfBuilder().build()) as Btf;
    expect(() => resolveExterns(original, { ...kernel, types: empty })).toThrow(
      new RelocationError("variable+0", "the kernel has no variable with a type counter"),
    );
    expect(() => resolveExterns(original, { ...kernel, address: () => undefined })).toThrow(
      "the kernel has no symbol address",
    );
  });
});

describe("an object's needs", () => {
  it("are known before the kernel is asked", () => {
    expect([needsCore(original), needsAddresses(original)]).toEqual([true, true]);
    expect(needsCore(spec)).toBe(false);
    const plain = parseObject(read("kitchen_sink.bpf.o"));
    expect([needsCore(plain), needsAddresses(plain)]).toEqual([false, false]);
  });

  it("change nothing where the kernel's types are its own", () => {
    const same = applyCore(original, original.btf!);
    for (const name of ["load_word", "load_nested", "offset", "bits_left", "value", "type_size"])
      expect(code(name, same)).toEqual(code(name, original));
  });

  it("that cannot be met name the function and the instruction", () => {
    const [key, fn] = Array.from(original.functions).find(([, { name }]) => name === "offset")!;
    const wrong = { ...fn, insns: fn.insns.map((insn) => ({ ...insn, imm: 5 })) };
    const broken = { ...original, functions: new Map(original.functions).set(key, wrong) };
    expect(() => applyCore(broken, types)).toThrow(
      /^offset\+0: CO-RE: relocation expected immediate 12, found /,
    );
  });
});
