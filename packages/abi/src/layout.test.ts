import { expect, test } from "vitest";
import {
  abiStruct,
  anonymousStruct,
  anonymousUnion,
  array,
  bits,
  chars,
  Layout,
  LinearMemory,
  loff_t,
  nested,
  ptr,
  s32,
  struct,
  u16,
  u32,
  u64,
  u8,
} from "./index.ts";

const list_head = struct("list_head", { next: ptr("list_head"), prev: ptr("list_head") });
const thing = struct("thing", {
  a: u8,
  b: u32,
  link: nested(list_head),
  u: anonymousUnion({ word: u64, halves: anonymousStruct({ lo: u32, hi: u32 }) }),
  x: bits(3),
  y: bits(5),
  z: bits(30),
  pos: loff_t,
  comm: chars(16),
  small: array(u16, 3),
});

test("the natural layout is the C compiler's", () => {
  const layout = Layout.natural();
  const offsets = ["a", "b", "link", "word", "lo", "hi", "x", "z", "pos", "comm", "small"].map((f) =>
    layout.offset(thing, f),
  );
  expect(offsets).toEqual([0, 4, 8, 24, 24, 28, 32, 36, 40, 48, 64]);
  expect(layout.size(thing)).toBe(72);
});

test.each([1, 2, 3])("seed %i moves fields, keeps them apart, and views read what they wrote", (seed) => {
  const layout = Layout.shuffled(seed);
  const natural = Layout.natural();
  const moved = [...natural.of(thing).fields].filter(([name, p]) => layout.offset(thing, name) !== p.offset);
  expect(moved.length).toBeGreaterThan(3);
  const m = new LinearMemory(new ArrayBuffer(0x2_0000));
  const t = new (layout.view(thing))(m, 0x1_0000);
  t.a = 0xaa;
  t.b = 0xdead_beef;
  t.link.next = 0x1_2340;
  t.word = 0x1_0000_0002n;
  t.x = 5;
  t.y = 31;
  t.z = 0x3fff_ffff;
  t.pos = -2;
  t.comm = "a name that is too long";
  t.small.set(2, 7);
  expect([
    t.a,
    t.b,
    t.link.next,
    t.lo,
    t.hi,
    t.x,
    t.y,
    t.z,
    t.pos,
    t.comm,
    t.small.get(2),
    t.link.prev,
  ]).toEqual([0xaa, 0xdead_beef, 0x1_2340, 2, 1, 5, 31, 0x3fff_ffff, -2, "a name that is ", 7, 0]);
  expect(
    m.dv.getUint32(0x1_0000 + layout.offset(thing, "link") + layout.offset(list_head, "next") + 4, true),
  ).toBe(m.baseHi);
});

test("no layout moves a field of an ABI struct", () => {
  const fixed = abiStruct("fixed", { a: s32, b: u64, c: u8 });
  expect([...Layout.shuffled(9).of(fixed).fields.values()].map((p) => p.offset)).toEqual([0, 8, 16]);
});

test("a pointer with a foreign high word is a bug of the kernel", () => {
  const m = new LinearMemory(new ArrayBuffer(0x2_0000));
  const head = new (Layout.natural().view(list_head))(m, 0x1_0000);
  m.dv.setBigUint64(0x1_0000, 0x1234_5678_0000_1000n, true);
  expect(() => head.next).toThrow("bad kernel pointer");
});
