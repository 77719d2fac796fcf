import { expect, test } from "vitest";
import type { LinkOptions, SectionSpec, SymbolSpec } from "./index.ts";
import { LinkError, link } from "./index.ts";

const text = (symbols: SymbolSpec[]): SectionSpec => ({ name: ".text", align: 16, types: "Tt", symbols });
const image = (sections: SectionSpec[], base = 0x20_0000): LinkOptions => ({
  base,
  baseHi: 0xffff_ffd6,
  sections,
});
const word = (value: number): Uint8Array => new Uint8Array(Uint32Array.of(value).buffer);

const everySection = image([
  text([
    { name: "vfs_read", type: "T", align: 4, bytes: Uint8Array.of(1, 2, 3, 4, 5), aliases: ["ksys_read"] },
    { name: "helper", type: "t", align: 4, size: 4, emit: (_, resolve) => word(resolve("jiffies")) },
    { name: "helper", type: "t", align: 4, size: 4, emit: (address) => word(address) },
  ]),
  {
    name: ".rodata",
    align: 4096,
    types: "Rr",
    symbols: [{ name: "linux_banner", type: "R", bytes: word(7) }],
  },
  { name: ".data", align: 4096, types: "Dd", symbols: [{ name: "jiffies", type: "D", align: 8, size: 8 }] },
  {
    name: ".data..percpu",
    align: 64,
    types: "Dd",
    symbols: [{ name: "runqueues", type: "D", align: 64, size: 100 }],
  },
  {
    name: ".bss",
    align: 64,
    types: "Bb",
    isZeroed: true,
    symbols: [{ name: "log_buf", type: "b", size: 0x1000 }],
  },
]);

test("System.map of an image with symbols in every section is what nm -n prints", () => {
  expect(link(everySection).systemMap()).toBe(
    [
      "ffffffd600200000 T vfs_read",
      "ffffffd600200000 T ksys_read",
      "ffffffd600200000 T _text",
      "ffffffd600200000 T _stext",
      "ffffffd600200008 t helper",
      "ffffffd60020000c t helper",
      "ffffffd600200010 T _etext",
      "ffffffd600201000 R linux_banner",
      "ffffffd600201000 R __start_rodata",
      "ffffffd600201004 R __end_rodata",
      "ffffffd600202000 D jiffies",
      "ffffffd600202000 D _sdata",
      "ffffffd600202008 D _edata",
      "ffffffd600202040 D runqueues",
      "ffffffd600202040 D __per_cpu_start",
      "ffffffd6002020a4 D __per_cpu_end",
      "ffffffd6002020c0 b log_buf",
      "ffffffd6002020c0 B __bss_start",
      "ffffffd6002030c0 B _end",
      "ffffffd6002030c0 B __bss_stop",
      "",
    ].join("\n"),
  );
});

test("emitted contents know their own address and that of symbols further on", () => {
  const linked = link(everySection);
  const at = (address: number): number =>
    new DataView(linked.bytes.buffer).getUint32(address - linked.base, true);
  expect(at(0x20_0008)).toBe(linked.addressOf("jiffies"));
  expect(at(0x20_000c)).toBe(0x20_000c);
  expect([...linked.section(".text").bytes!.subarray(0, 8)]).toEqual([1, 2, 3, 4, 5, 0, 0, 0]);
});

test("a zeroed section has an address and a size, but no bytes in the image", () => {
  const linked = link(everySection);
  expect(linked.section(".bss")).toEqual({
    name: ".bss",
    address: 0x20_20c0,
    size: 0x1000,
    bytes: undefined,
  });
  expect([linked.size, linked.bytes.length]).toEqual([0x30c0, 0x20a4]);
});

test("a name means its global symbol before a local one, and a duplicate local one at the lowest address", () => {
  const linked = link(
    image([
      text([
        { name: "show", type: "t", size: 4 },
        { name: "show", type: "T", size: 4 },
        { name: "store", type: "t", size: 4 },
        { name: "store", type: "t", size: 4 },
      ]),
    ]),
  );
  expect([linked.addressOf("show"), linked.addressOf("store")]).toEqual([0x20_0004, 0x20_0008]);
  expect(linked.symbols.filter(({ name }) => name === "store").length).toBe(2);
  expect([linked.hasSymbol("show"), linked.hasSymbol("absent")]).toEqual([true, false]);
});

test("a weak definition gives way to a global one", () => {
  const symbols: SymbolSpec[] = [
    { name: "arch_init", type: "W", size: 4 },
    { name: "arch_init", type: "T", size: 4 },
  ];
  expect(link(image([text(symbols)])).addressOf("arch_init")).toBe(0x20_0004);
});

test("an image without sections is empty", () => {
  const linked = link(image([]));
  expect([linked.size, linked.bytes.length, linked.systemMap()]).toEqual([0, 0, ""]);
});

for (const [what, symbols, message, section] of [
  [
    "two global symbols of one name",
    [
      { name: "a", type: "T", size: 1 },
      { name: "a", type: "T", size: 1 },
    ],
    "multiple definition of a",
  ],
  [
    "a global alias that is defined elsewhere",
    [
      { name: "a", type: "T", size: 1 },
      { name: "b", type: "T", size: 1, aliases: ["a"] },
    ],
    "multiple definition of a",
  ],
  [
    "a reference to an undefined symbol",
    [{ name: "a", type: "T", size: 4, emit: (_: number, resolve) => word(resolve("nowhere")) }],
    "undefined symbol nowhere, referenced by a",
  ],
  [
    "contents of another size",
    [{ name: "a", type: "T", size: 5, emit: () => word(0) }],
    "a has 4 bytes of contents, expected 5",
  ],
  ["a symbol without a size", [{ name: "a", type: "T" }], "size undefined of a"],
  [
    "contents given twice",
    [{ name: "a", type: "T", bytes: word(0), emit: () => word(0) }],
    "both bytes and emit",
  ],
  [
    "an alignment that is no power of two",
    [{ name: "a", type: "T", size: 1, align: 3 }],
    "alignment 3 of a is not a power of two",
  ],
  [
    "an alignment above the section's",
    [{ name: "a", type: "T", size: 1, align: 32 }],
    "exceeds the 16 of section .text",
  ],
  ["a type of another section", [{ name: "a", type: "B", size: 1 }], "type B of a is none of section .text"],
  ["an empty name", [{ name: "", type: "T", size: 1 }], "symbol in section .text cannot be linked"],
  [
    "contents in a zeroed section",
    [{ name: "a", type: "T", bytes: word(0) }],
    "is zeroed",
    { isZeroed: true },
  ],
  ["a section without types", [], "no type letters", { types: "" }],
  [
    "an image beyond 32 bits",
    [{ name: "a", type: "T", size: 2 ** 32 }],
    "beyond the low word",
    { isZeroed: true },
  ],
] as [string, SymbolSpec[], string, Partial<SectionSpec>?][]) {
  test(`${what} cannot be linked`, () => {
    const linking = (): unknown => link(image([{ ...text(symbols), ...section }]));
    expect(linking).toThrow(LinkError);
    expect(linking).toThrow(message);
  });
}

test("a symbol or section that is not there is an error of the asker", () => {
  const linked = link(everySection);
  expect(() => linked.addressOf("nowhere")).toThrow("undefined symbol nowhere");
  expect(() => linked.section(".init")).toThrow("no section .init");
});
