/** Every kind goes through write and parse unchanged; damage gives the kernel's messages or a BtfError, never a throw. */
import { describe, expect, it } from "vitest";
import { BtfBuilder, formatDefinition, formatType, isBtfError, parseBtf, writeBtf } from "./index.ts";
import type { Btf, BtfType } from "./index.ts";

const int: BtfType = {
  kind: "int",
  name: "int",
  size: 4,
  bits: 32,
  offset: 0,
  isSigned: true,
  isChar: false,
  isBool: false,
};

/** One type of each kind; ids are positions + 1. */
const ALL_KINDS: readonly BtfType[] = [
  int,
  { kind: "ptr", name: "", type: 3 },
  {
    kind: "struct",
    name: "node",
    size: 24,
    members: [
      { name: "next", type: 2, bitOffset: 0, bitSize: 0 },
      { name: "low", type: 1, bitOffset: 64, bitSize: 3 },
      { name: "", type: 4, bitOffset: 96, bitSize: 0 },
    ],
  },
  { kind: "union", name: "", size: 4, members: [{ name: "word", type: 1, bitOffset: 0, bitSize: 0 }] },
  { kind: "array", name: "", element: 2, index: 1, count: 5 },
  {
    kind: "enum",
    name: "sign",
    size: 4,
    isSigned: true,
    values: [
      { name: "MINUS", value: -1n },
      { name: "PLUS", value: 1n },
    ],
  },
  {
    kind: "enum64",
    name: "wide",
    size: 8,
    isSigned: false,
    values: [{ name: "TOP", value: 0xffff_ffff_ffff_fffen }],
  },
  { kind: "fwd", name: "later", isUnion: true },
  { kind: "typedef", name: "node_t", type: 3 },
  { kind: "volatile", name: "", type: 10 + 1 },
  { kind: "const", name: "", type: 9 },
  { kind: "restrict", name: "", type: 2 },
  {
    kind: "func_proto",
    name: "",
    type: 1,
    params: [
      { name: "a", type: 2 },
      { name: "", type: 0 },
    ],
  },
  { kind: "func", name: "run", type: 13, linkage: "global" },
  { kind: "var", name: "counter", type: 1, linkage: "static" },
  { kind: "datasec", name: ".data", size: 4, vars: [{ type: 15, offset: 0, size: 4 }] },
  { kind: "float", name: "double", size: 8 },
  { kind: "decl_tag", name: "tagged", type: 3, component: -1 },
  { kind: "type_tag", name: "user", type: 1 },
];

function parsed(types: readonly BtfType[], littleEndian = true): Btf {
  const btf = parseBtf(writeBtf(types, littleEndian));
  if (isBtfError(btf)) throw btf;
  return btf;
}

describe("a blob with every kind", () => {
  it.each([true, false])("parses to what was written (little endian: %s)", (littleEndian) => {
    const btf = parsed(ALL_KINDS, littleEndian);
    expect(Array.from(btf.types()).slice(1)).toEqual(ALL_KINDS.map((type, index) => [index + 1, type]));
    expect(writeBtf(Array.from(btf.types(), ([, type]) => type).slice(1), littleEndian)).toEqual(btf.bytes);
  });

  const btf = parsed(ALL_KINDS);

  it("finds types by name and kind", () => {
    expect(btf.find("node", "struct")).toBe(3);
    expect(btf.find("node", "union")).toBeUndefined();
    expect(btf.findAll("node_t")).toEqual([9]);
  });

  it.each([
    ["int", 1, 4],
    ["a pointer", 2, 8],
    ["a volatile const typedef of a struct", 10, 24],
    ["an array of pointers", 5, 40],
    ["a variable", 15, 4],
    ["void", 0, undefined],
    ["a forward declaration", 8, undefined],
  ])("knows the size of %s", (_, id, size) => {
    expect(btf.sizeOf(id)).toBe(size);
  });

  it("resolves modifiers to the type below, and lists its members", () => {
    expect(btf.resolve(10)).toBe(3);
    expect(btf.members(10)?.map((member) => member.name)).toEqual(["next", "low", ""]);
  });

  it.each([
    [2, "p", "struct node *p"],
    [5, "table", "struct node *table[5]"],
    [10, "v", "volatile const node_t v"],
    [12, "r", "struct node *restrict r"],
    [14, "", "int run(struct node *a, ...)"],
    [6, "s", "enum sign s"],
  ])("prints type %d as C", (id, name, expected) => {
    expect(formatType(btf, id, name)).toBe(expected);
  });

  it("prints a definition with bitfields and anonymous members", () => {
    expect(formatDefinition(btf, 3)).toBe(
      "struct node {\n\tstruct node *next;\n\tint low: 3;\n\tunion {\n\t\tint word;\n\t};\n};",
    );
  });
});

describe("the builder", () => {
  it("keeps a given string section at the start", () => {
    const base = parsed(ALL_KINDS).strings;
    const btf = parseBtf(writeBtf([...ALL_KINDS, { kind: "fwd", name: "new", isUnion: false }], true, base));
    expect(!isBtfError(btf) && btf.strings.subarray(0, base.length)).toEqual(base);
    expect(!isBtfError(btf) && btf.strings.length).toBe(base.length + 4);
  });

  it("lets types refer to each other", () => {
    const builder = new BtfBuilder();
    const struct = builder.add({ kind: "struct", name: "s", size: 8, members: [] });
    const ptr = builder.add({ kind: "ptr", name: "", type: struct });
    builder.set(struct, {
      kind: "struct",
      name: "s",
      size: 8,
      members: [{ name: "self", type: ptr, bitOffset: 0, bitSize: 0 }],
    });
    const btf = parseBtf(builder.build());
    expect(!isBtfError(btf) && btf.members(struct)?.[0]?.type).toBe(ptr);
  });
});

describe("malformed input is refused in the kernel's words", () => {
  const blob = writeBtf(ALL_KINDS);
  const broken = (at: number, ...values: number[]): Uint8Array => {
    const copy = blob.slice();
    copy.set(values, at);
    return copy;
  };
  it.each([
    ["nothing", new Uint8Array(0), "hdr_len not found"],
    ["a wrong magic", broken(0, 1, 2), "Invalid magic"],
    ["version 2", broken(2, 2), "Unsupported version"],
    ["flags", broken(3, 1), "Unsupported flags"],
    ["a header longer than the blob", broken(4, 0xff, 0xff), "btf_header not found"],
    ["unaligned types", broken(8, 1), "Unaligned type_off"],
    ["a truncated blob", blob.subarray(0, blob.length - 1), "Total section length too long"],
    ["bytes after the strings", Uint8Array.of(...blob, 0), "String section is not at the end"],
    ["an unknown kind", broken(24 + 7, 31), "Invalid kind:31"],
    ["a name outside the strings", broken(24, 0xff, 0xff, 0xff), "Invalid name_offset:16777215"],
    ["an int wider than its size", broken(24 + 12, 64), "nr_bits exceeds type_size"],
    ["a reference to a missing type", broken(24 + 16 + 8, 99), "type_id=99 Invalid type_id"],
  ])("%s", (_, input, reason) => {
    const result = parseBtf(input);
    expect(isBtfError(result) && result.reason).toBe(reason);
  });

  it("anonymous structs that hold each other are printed in bounded time", () => {
    const member = { name: "", type: 2, bitOffset: 0, bitSize: 0 };
    const btf = parsed([int, { kind: "struct", name: "", size: 8, members: [member, member, member] }]);
    expect(formatType(btf, 2, "x")).toContain("/* invalid type */");
  });

  it("an array of an array of itself has no size", () => {
    const btf = parsed([int, { kind: "array", name: "", element: 2, index: 1, count: 2 }]);
    expect(btf.sizeOf(2)).toBeUndefined();
  });
});
