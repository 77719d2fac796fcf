/** Objects compiled by clang (fixtures/, sources beside them) as specs, linked programs. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { isBtfError, parseBtf } from "@alien-ts/btf";
import { buildElf, EM_BPF, ET_REL, SHF_ALLOC, SHF_EXECINSTR, STT_FUNC } from "@alien-ts/elf";
import { ParseError } from "../errors.ts";
import { fixupBtf, neededFeatures } from "./btf-fixup.ts";
import { linkProgram } from "./link.ts";
import { parseObject } from "./object.ts";

const fixture = (name: string): Uint8Array =>
  Uint8Array.from(readFileSync(new URL(`../../fixtures/${name}.bpf.o`, import.meta.url)));
const kitchenSink = parseObject(fixture("kitchen_sink"));
const legacy = parseObject(fixture("legacy_maps"));

describe("an object with BTF", () => {
  it("has its programs by name, with section kind and attach target", () => {
    expect(
      Array.from(kitchenSink.programs.values(), ({ name, section }) => [name, section.kind, section.target]),
    ).toEqual([
      ["on_read", "kprobe", "vfs_read"],
      ["on_return", "kretprobe", ""],
    ]);
    expect(kitchenSink.license).toBe("Dual MIT/GPL");
    expect(kitchenSink.kernelVersion).toBeUndefined();
  });

  it.each([
    ["COUNTS", { type: 1, keySize: 8, valueSize: 8, maxEntries: 64, flags: 0 }],
    ["SLOTS", { type: 2, keySize: 4, valueSize: 8, maxEntries: 4, keyTypeId: 0 }],
    ["PER_CPU", { type: 6, keySize: 4, valueSize: 8, maxEntries: 1 }],
    ["RECENT", { type: 9, flags: 2, maxEntries: 8 }],
    ["LINE", { type: 22, keySize: 0, valueSize: 4, maxEntries: 16 }],
    ["EVENTS", { type: 4, keySize: 4, valueSize: 4, maxEntries: 0 }],
    ["RING", { type: 27, maxEntries: 1000 }],
    [".rodata", { type: 2, valueSize: 12, flags: 0x80, origin: "data" }],
    [".bss", { valueSize: 12, flags: 0 }],
  ])("defines map %s", (name, expected) => {
    expect(kitchenSink.maps.get(name)).toMatchObject(expected);
  });

  it("keeps the initial bytes of data sections and where their symbols lie", () => {
    const data = kitchenSink.maps.get(".data")?.data;
    expect(Array.from(data?.bytes ?? [])).toEqual([7, 0, 0, 0, 0, 0, 0, 0]);
    expect(kitchenSink.maps.get(".rodata")?.data?.symbols).toContainEqual({
      name: "greeting",
      address: 4,
      size: 8,
    });
  });
});

describe("a legacy object", () => {
  it("has maps of every `maps` section, with pinning", () => {
    expect(legacy.maps.get("counters")).toMatchObject({
      origin: "legacy",
      type: 2,
      maxEntries: 16,
      pinning: "none",
    });
    expect(legacy.maps.get("pids")).toMatchObject({ type: 1, keySize: 4, flags: 1, pinning: "byName" });
  });

  it("says which kernel version it wants", () => {
    expect(legacy.kernelVersion).toBe(0x05_12_00);
    expect(legacy.btf).toBeUndefined();
  });
});

describe("linking", () => {
  const fds: Record<string, number> = { COUNTS: 10, EVENTS: 11, ".rodata": 12, ".data": 13, ".bss": 14 };
  const link = (name: string): ReturnType<typeof linkProgram> =>
    linkProgram(kitchenSink, kitchenSink.programs.get(name)!.function, (map) => fds[map] ?? -1);
  /** Instructions as [opcode, src, imm], which is all that linking changes. */
  const shape = (name: string, index: number): number[] => {
    const { opcode, src, imm } = link(name).insns[index]!;
    return [opcode, src, imm];
  };

  it("appends every function that is reached, once", () => {
    // on_read 25, record 26, bump 5
    expect(link("on_read").insns.length).toBe(56);
    // on_return 21, visit 12, record 26, bump 5
    expect(link("on_return").insns.length).toBe(64);
  });

  it("gives map references descriptors, and data references descriptors and offsets", () => {
    expect(shape("on_read", 1)).toEqual([0x18, 2, 12]);
    expect(shape("on_read", 2)).toEqual([0, 0, 0]);
    expect(shape("on_read", 17)).toEqual([0x18, 1, 11]);
    expect(shape("on_return", 0)).toEqual([0x18, 2, 12]);
    expect(shape("on_return", 1)).toEqual([0, 0, 4]);
  });

  it("rebases calls, from other sections and inside .text", () => {
    // on_read calls record, which starts at 25, from 10.
    expect(shape("on_read", 10)).toEqual([0x85, 1, 14]);
    // record's call of bump (24 of record): bump starts at 51.
    expect(shape("on_read", 25 + 24)).toEqual([0x85, 1, 51 - 49 - 1]);
  });

  it("marks the address of a callback as a function", () => {
    const { insns } = link("on_return");
    const load = insns.findIndex(({ opcode, src }) => opcode === 0x18 && src === 4);
    expect(load + 1 + insns[load]!.imm).toBe(21);
    expect(insns[load + 1]!.imm).toBe(0);
  });

  it("moves function and line records along", () => {
    const { funcInfo, lineInfo, insns } = link("on_read");
    expect(funcInfo.map(({ offset }) => offset)).toEqual([0, 25, 51]);
    expect(Math.max(...lineInfo.map(({ offset }) => offset))).toBeLessThan(insns.length);
  });

  it("leaves the spec as it is", () => {
    const before = JSON.stringify(Array.from(kitchenSink.functions.values(), ({ insns }) => insns));
    link("on_return");
    expect(JSON.stringify(Array.from(kitchenSink.functions.values(), ({ insns }) => insns))).toBe(before);
  });
});

describe("the object's BTF", () => {
  const btf = kitchenSink.btf!;

  it("needs the features of the kinds that occur", () => {
    expect(neededFeatures(btf)).toEqual(["datasec", "func", "func_global"]);
  });

  it("gets sizes and offsets that the compiler left out, and keeps its strings", () => {
    const fixed = parseBtf(fixupBtf(btf, kitchenSink.dataLayout, new Map()));
    if (isBtfError(fixed)) throw fixed;
    const maps = fixed.type(fixed.find(".maps", "datasec")!);
    expect(maps).toMatchObject({ size: 0xc8 });
    expect(maps?.kind === "datasec" && maps.vars.map(({ offset }) => offset)).toEqual([
      0, 0x20, 0x38, 0x58, 0x78, 0xa0, 0xb8,
    ]);
    expect(fixed.strings.subarray(0, btf.strings.length)).toEqual(btf.strings);
  });

  it("is lowered for a kernel that knows no functions and no data sections", () => {
    const none = new Map([
      ["datasec", false],
      ["func", false],
    ] as const);
    const fixed = parseBtf(fixupBtf(btf, kitchenSink.dataLayout, none));
    if (isBtfError(fixed)) throw fixed;
    const kinds = new Set(Array.from(fixed.types(), ([, type]) => type.kind));
    expect(["var", "datasec", "func", "func_proto"].filter((kind) => kinds.has(kind as "var"))).toEqual([]);
    expect(fixed.typeCount).toBe(btf.typeCount);
  });
});

describe("objects that are refused", () => {
  const object = (section: string, extra = {}): Uint8Array =>
    buildElf({
      machine: EM_BPF,
      type: ET_REL,
      sections: [
        { name: section, data: Uint8Array.of(0x95, 0, 0, 0, 0, 0, 0, 0), flags: SHF_ALLOC | SHF_EXECINSTR },
      ],
      symbols: [{ name: "prog", value: 0, size: 8, type: STT_FUNC, section }],
      ...extra,
    });

  it.each([
    [
      "an unknown section",
      object("tcy/ingress"),
      /^tcy\/ingress: unknown program section; known are kprobe, /,
    ],
    ["another machine", object("kprobe", { machine: 62 }), /expected machine 247/],
    ["big endian", object("kprobe", { littleEndian: false }), /little-endian/],
    ["no ELF at all", new Uint8Array(100), /expected the magic number/],
    [
      "code outside its section",
      object("kprobe", {
        symbols: [{ name: "prog", value: 0, size: 16, type: STT_FUNC, section: "kprobe" }],
      }),
      /code of \[0, 16\) is not inside section kprobe/,
    ],
  ])("%s", (_, bytes, message) => {
    expect(() => parseObject(bytes)).toThrow(message);
    expect(() => parseObject(bytes)).toThrow(ParseError);
  });

  it("an object with a function only is a program of that section", () => {
    expect(parseObject(object("uprobe.s/x:y")).programs.get("prog")?.section).toEqual({
      kind: "uprobe.s",
      type: 2,
      expectedAttachType: 0,
      flags: 0x10,
      target: "x:y",
    });
  });
});
