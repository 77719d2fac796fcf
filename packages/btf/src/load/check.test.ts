/** What BTF_LOAD says of blobs: one line per rule, in Linux's words. Logs were compared with those of a Linux 6.18. */
import { expect, test } from "vitest";
import { parseBtf } from "../btf.ts";
import { BtfError } from "../error.ts";
import { BTF_KIND } from "../types.ts";
import { checkBtf } from "./check.ts";

const STRINGS = "\0int\0a\0s\0f\0.data\x001x\0";
const NAME = { int: 1, a: 5, s: 7, f: 9, data: 11, bad: 17 } as const;

/** The words of a type: name, kind, `vlen` and flag, size or type, and what follows. */
const type = (
  name: number,
  kind: keyof typeof BTF_KIND,
  vlen: number,
  word: number,
  ...rest: number[]
): number[] => [
  name,
  ((vlen >= 0x8000_0000 ? 0x8000_0000 : 0) | (BTF_KIND[kind] << 24) | (vlen & 0xffff)) >>> 0,
  word,
  ...rest,
];
const FLAG = 0x8000_0000;
const INT = type(NAME.int, "int", 0, 4, (1 << 24) | 32);

function blob(...types: readonly number[][]): Uint8Array {
  const words = types.flat();
  const strings = new TextEncoder().encode(STRINGS);
  const bytes = new Uint8Array(24 + 4 * words.length + strings.length);
  const view = new DataView(bytes.buffer);
  [0x1_eb9f, 24, 0, 4 * words.length, 4 * words.length, strings.length].forEach((word, i) =>
    view.setUint32(4 * i, word, true),
  );
  words.forEach((word, i) => view.setUint32(24 + 4 * i, word, true));
  bytes.set(strings, 24 + 4 * words.length);
  return bytes;
}

const lastLine = (log: string): string => log.trimEnd().split("\n").at(-1)!;

const RULES: readonly (readonly [string, readonly number[][], string])[] = [
  [
    "an int has no elements",
    [type(NAME.int, "int", 1, 4, 32)],
    "[1] INT int size=4 bits_offset=0 nr_bits=32 encoding=(none) vlen != 0",
  ],
  [
    "an int's bits fit its bytes",
    [type(NAME.int, "int", 0, 1, 32)],
    "[1] INT int size=1 bits_offset=0 nr_bits=32 encoding=(none) nr_bits exceeds type_size",
  ],
  [
    "an int's data has known bits",
    [type(NAME.int, "int", 0, 4, 0x1000_0020)],
    "[1] INT int Invalid int_data:10000020",
  ],
  ["kinds are known", [[0, 25 << 24, 0]], "[1] Invalid kind:25"],
  ["names are in the strings", [type(99, "int", 0, 4, 32)], "[1] Invalid name_offset:99"],
  ["names are identifiers", [INT, type(NAME.bad, "typedef", 0, 1)], "[2] TYPEDEF 1x type_id=1 Invalid name"],
  ["pointers have no name", [INT, type(NAME.a, "ptr", 0, 1)], "[2] PTR a type_id=1 Invalid name"],
  ["pointers lead somewhere", [type(0, "ptr", 0, 9)], "[1] PTR (anon) type_id=9 Invalid type_id"],
  [
    "modifiers end",
    [type(0, "const", 0, 2), type(0, "volatile", 0, 1)],
    "[1] CONST (anon) type_id=2 Loop detected",
  ],
  [
    "indices are ints",
    [INT, type(0, "ptr", 0, 1), type(0, "array", 0, 0, 1, 2, 3)],
    "[3] ARRAY (anon) type_id=1 index_type_id=2 nr_elems=3 Invalid index",
  ],
  [
    "members have sizes",
    [INT, type(NAME.f, "fwd", 0, 0), type(NAME.s, "struct", 1, 4, NAME.a, 2, 0)],
    "\ta type_id=2 bits_offset=0 Invalid member",
  ],
  [
    "members fit",
    [INT, type(NAME.s, "struct", 1, 4, NAME.a, 1, 8)],
    "\ta type_id=1 bits_offset=8 Member exceeds struct_size",
  ],
  [
    "members are in order",
    [INT, type(NAME.s, "struct", 2, 8, NAME.a, 1, 32, NAME.f, 1, 0)],
    "\tf type_id=1 bits_offset=0 Invalid member bits_offset",
  ],
  [
    "bitfields fit their type",
    [INT, type(NAME.s, "struct", FLAG + 1, 8, NAME.a, 1, (40 << 24) | 0)],
    "\ta type_id=1 bitfield_size=40 bits_offset=0 Invalid member bitfield_size",
  ],
  ["enums have a size", [type(0, "enum", 0, 3)], "[1] ENUM (anon) size=3 vlen=0 Unexpected size"],
  ["functions have prototypes", [INT, type(NAME.f, "func", 0, 1)], "[2] FUNC f type_id=1 Invalid type_id"],
  [
    "arguments of functions have names",
    [INT, type(0, "func_proto", 1, 0, 0, 1), type(NAME.f, "func", 0, 2)],
    "[3] FUNC f type_id=2 Invalid arg#1",
  ],
  [
    "results have sizes",
    [type(NAME.f, "fwd", 0, 0), type(0, "func_proto", 0, 1)],
    "[2] FUNC_PROTO (anon) return=1 args=(void) Invalid return type",
  ],
  [
    "variables have a linkage",
    [INT, type(NAME.a, "var", 0, 1, 7)],
    "[2] VAR a type_id=1 linkage=7 Linkage not supported",
  ],
  [
    "sections have variables",
    [INT, type(NAME.data, "datasec", 1, 4, 1, 0, 4)],
    "\t type_id=1 offset=0 size=4 Not a VAR kind member",
  ],
  [
    "tags name a part that there is",
    [INT, type(NAME.s, "struct", 1, 4, NAME.a, 1, 0), type(NAME.a, "decl_tag", 0, 2, 3)],
    "[3] DECL_TAG a type=2 component_idx=3 Invalid component_idx",
  ],
  [
    "type tags stand before modifiers",
    [INT, type(NAME.a, "type_tag", 0, 1), type(0, "const", 0, 2)],
    "Type tags don't precede modifiers",
  ],
];

test.each(RULES)("%s", (_, types, message) => {
  const { errno, log } = checkBtf(blob(...types), true);
  expect(errno?.name).toMatch(/^E/);
  expect(lastLine(log)).toBe(message);
});

test("an accepted blob is printed type by type, and can be read", () => {
  const bytes = blob(
    INT,
    type(NAME.s, "struct", 1, 4, NAME.a, 1, 0),
    type(0, "func_proto", 2, 0, NAME.a, 1, 0, 0),
    type(NAME.f, "func", 1, 3),
  );
  const { errno, log } = checkBtf(bytes, true);
  expect(errno).toBeUndefined();
  expect(log.slice(log.indexOf("[1]"))).toBe(
    "[1] INT int size=4 bits_offset=0 nr_bits=32 encoding=SIGNED\n[2] STRUCT s size=4 vlen=1\n\ta type_id=1 bits_offset=0\n" +
      "[3] FUNC_PROTO (anon) return=0 args=(1 a, vararg)\n[4] FUNC f type_id=3\n",
  );
  expect(parseBtf(bytes)).not.toBeInstanceOf(BtfError);
});

test("nothing is printed where nobody wants it", () => {
  expect(checkBtf(blob([0, 25 << 24, 0]), false)).toMatchObject({ errno: { name: "EINVAL" }, log: "" });
});

test.each([
  ["a header that is cut", (b: Uint8Array) => b.subarray(0, 6), "EINVAL", "hdr_len not found"],
  ["another version", (b: Uint8Array) => b.fill(9, 2, 3), "ENOTSUPP", "Unsupported version"],
  [
    "bytes behind the strings",
    (b: Uint8Array) => Uint8Array.of(...b, 0),
    "EINVAL",
    "Unsupported section found",
  ],
  ["strings without an end", (b: Uint8Array) => b.fill(65, b.length - 1), "EINVAL", "Invalid string section"],
])("%s", (_, damage, errno, message) => {
  const verdict = checkBtf(damage(blob(INT)), true);
  expect([verdict.errno?.name, lastLine(verdict.log)]).toEqual([errno, message]);
});
