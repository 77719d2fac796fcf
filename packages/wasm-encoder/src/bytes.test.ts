import { Prng } from "@alien-ts/testkit";
import { expect, test } from "vitest";
import { ByteWriter } from "./bytes.ts";

const SEED = 11;

function decodeSigned(bytes: Uint8Array): bigint {
  let value = 0n;
  let shift = 0n;
  for (const byte of bytes) {
    value |= BigInt(byte & 0x7f) << shift;
    shift += 7n;
  }
  return BigInt.asIntN(Number(shift), value);
}

// Values of the LEB128 article and of the core spec's examples.
test.each([
  [0, [0]],
  [127, [0x7f]],
  [128, [0x80, 1]],
  [624_485, [0xe5, 0x8e, 0x26]],
  [0xffff_ffff, [0xff, 0xff, 0xff, 0xff, 0x0f]],
])("%i as unsigned LEB128", (value, bytes) => {
  expect([...new ByteWriter().u32(value).bytes()]).toEqual(bytes);
});

test.each([
  [0, [0]],
  [63, [0x3f]],
  [64, [0xc0, 0]],
  [-64, [0x40]],
  [-65, [0xbf, 0x7f]],
  [-123_456, [0xc0, 0xbb, 0x78]],
])("%i as signed LEB128", (value, bytes) => {
  expect([...new ByteWriter().s32(value).bytes()]).toEqual(bytes);
  expect([...new ByteWriter().s64(value, value >> 31).bytes()]).toEqual(bytes);
});

test(`signed 64-bit numbers come back, in as few bytes as possible (seed ${SEED})`, () => {
  const random = new Prng(SEED);
  for (let i = 0; i < 2000; i++) {
    const value = BigInt.asIntN(64, random.u64()) >> BigInt(random.below(64));
    const low = Number(BigInt.asIntN(32, value));
    const bytes = new ByteWriter().s64(low, Number(BigInt.asIntN(32, value >> 32n))).bytes();
    expect(decodeSigned(bytes)).toBe(value);
    const shorter = BigInt.asIntN(bytes.length * 7 - 7, value);
    expect(shorter === value && bytes.length > 1).toBe(false);
  }
});

test("a name is its length in bytes and UTF-8", () => {
  expect([...new ByteWriter(1).name("é!").bytes()]).toEqual([3, 0xc3, 0xa9, 0x21]);
});
