/** Headers as bpftool writes them. */
import {
  anonymousStruct,
  anonymousUnion,
  bits,
  chars,
  Layout,
  nested,
  ptr,
  s32,
  struct,
  typedefStruct,
  u16,
} from "@alien-ts/abi";
import { expect, test } from "vitest";
import { type Btf, parseBtf } from "./btf.ts";
import { DeclaredTypes } from "./declared/types.ts";
import { formatHeader } from "./header-file.ts";
import { formatRaw } from "./raw-file.ts";
import type { BtfType } from "./types.ts";
import { writeBtf } from "./write.ts";

const pair_t = typedefStruct("pair_t", { first: u16, second: u16 });
const leaf = struct("leaf", { up: ptr("tree"), pair: nested(pair_t), tag: ptr("const struct leaf", "rcu") });
const tree = struct("tree", {
  leaf: nested(leaf),
  unknown: ptr("stranger"),
  text: chars(3),
  flags: bits(3),
  more: bits(6),
  either: anonymousUnion({ whole: s32, parts: anonymousStruct({ low: u16, high: u16 }) }),
});

function typesOf(layout: Layout): Btf {
  const made = new DeclaredTypes(layout);
  made.declare([tree, leaf]);
  made.addEnum({
    name: "color",
    values: [
      { name: "RED", value: 0n },
      { name: "BLUE", value: 7n },
    ],
  });
  made.addFunction({ name: "grow", params: [["tree", { c: "struct tree *" }]], ret: { c: "int" } });
  made.addTracepoint("grown", [{ c: "struct tree *" }]);
  return parseBtf(made.build()) as Btf;
}

const inside = (btf: Btf): string => formatHeader(btf).split("#endif\n\n")[1]!.split("#ifndef")[0]!;

test("definitions come before their use, declarations before pointers", () => {
  return expect(inside(typesOf(Layout.natural()))).toMatchFileSnapshot("./fixtures/header-natural.h");
});

test("what a compiler would not leave free is said", () => {
  return expect(inside(typesOf(Layout.shuffled(4)))).toMatchFileSnapshot("./fixtures/header-shuffled.h");
});

test("types in lines", () => {
  return expect(formatRaw(typesOf(Layout.natural()))).toMatchFileSnapshot("./fixtures/types.txt");
});

const INT: BtfType = {
  kind: "int",
  name: "int",
  size: 4,
  bits: 32,
  offset: 0,
  isSigned: true,
  isChar: false,
  isBool: false,
};
const member = (name: string, type: number, bitOffset: number) => ({ name, type, bitOffset, bitSize: 0 });

test.each<[string, readonly BtfType[], string]>([
  [
    "the second of a name has a number",
    [
      INT,
      { kind: "struct", name: "s", size: 4, members: [member("a", 1, 0)] },
      { kind: "struct", name: "s", size: 8, members: [member("a", 1, 0), member("b", 1, 32)] },
      { kind: "typedef", name: "s", type: 3 },
    ],
    "struct s {\n\tint a;\n};\n\nstruct s___2 {\n\tint a;\n\tint b;\n};\n\ntypedef struct s___2 s;\n\n",
  ],
  [
    "members closer than a compiler puts them make a structure packed",
    [INT, { kind: "struct", name: "s", size: 5, members: [member("a", 1, 8)] }],
    "struct s {\n\tchar: 8;\n\tint a;\n} __attribute__((packed));\n\n",
  ],
  [
    "a constant pointer to a function that gives a pointer",
    [
      INT,
      { kind: "ptr", name: "", type: 1 },
      { kind: "func_proto", name: "", type: 2, params: [{ name: "", type: 1 }] },
      { kind: "ptr", name: "", type: 3 },
      { kind: "const", name: "", type: 4 },
      { kind: "struct", name: "s", size: 8, members: [member("f", 5, 0)] },
    ],
    "struct s {\n\tint * (* const f)(int);\n};\n\n",
  ],
  [
    "wide and narrow enumerations",
    [
      { kind: "enum64", name: "w", size: 8, isSigned: false, values: [{ name: "A", value: 1n << 40n }] },
      { kind: "enum", name: "n", size: 1, isSigned: true, values: [{ name: "B", value: -1n }] },
    ],
    "enum w {\n\tA = 1099511627776ULL,\n} __attribute__((mode(word)));\n\nenum n {\n\tB = -1,\n} __attribute__((mode(byte)));\n\n",
  ],
])("%s", (_, types, expected) => {
  expect(inside(parseBtf(writeBtf(types)) as Btf)).toBe(expected);
});

test.each([
  ["by name", "a"],
  ["without names", ""],
])("structures that hold each other %s end", (_, name) => {
  const both = (type: number) => [member("b", type, 0), member("c", type, 64)];
  const types: BtfType[] = [
    { kind: "struct", name, size: 8, members: both(2) },
    { kind: "struct", name: name === "" ? "" : "b", size: 8, members: both(1) },
    { kind: "struct", name: "c", size: 8, members: both(1) },
  ];
  expect(inside(parseBtf(writeBtf(types)) as Btf)).toContain("struct c {");
});

test("a pointer to a pointer, and so on, ends", () => {
  const chain = Array.from({ length: 50_000 }, (_, i): BtfType => ({ kind: "ptr", name: "", type: i }));
  const types: BtfType[] = [...chain, { kind: "typedef", name: "far", type: chain.length }];
  expect(inside(parseBtf(writeBtf(types)) as Btf)).toContain("far;");
});

test("a gap of gigabytes is not written out", () => {
  const types: BtfType[] = [
    INT,
    { kind: "struct", name: "s", size: 0xffff_fff8, members: [member("a", 1, 0)] },
  ];
  expect(inside(parseBtf(writeBtf(types)) as Btf)).toBe("struct s {\n\tint a;\n};\n\n");
});
