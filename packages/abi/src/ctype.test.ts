import { expect, test } from "vitest";
import {
  bool,
  type CType,
  errnoFromNumber,
  ENOENT,
  ENOTSUPP,
  fromWords,
  hiWord,
  isErr,
  LinearMemory,
  loff_t,
  NR,
  s16,
  s32,
  s64,
  s8,
  size_t,
  ssize_t,
  u16,
  u32,
  u64,
  u8,
  userPtr,
  utf8Decode,
  utf8Encode,
} from "./index.ts";

const memory = new LinearMemory(new ArrayBuffer(0x1_0000));

/** type, value, the register's 64 bits by the riscv64 C ABI. */
const REGISTERS: readonly (readonly [
  string,
  { lo(v: never): number; hi(v: never): number; fromReg: CType["fromReg"] },
  unknown,
  bigint,
])[] = [
  ["u8", u8, 0xff, 0xffn],
  ["s8", s8, -1, 0xffff_ffff_ffff_ffffn],
  ["u16", u16, 0x8000, 0x8000n],
  ["s16", s16, -32768, 0xffff_ffff_ffff_8000n],
  ["u32 is sign-extended", u32, 0x8000_0000, 0xffff_ffff_8000_0000n],
  ["u32 small", u32, 7, 7n],
  ["s32", s32, -2, 0xffff_ffff_ffff_fffen],
  ["u64", u64, 0xdead_beef_0000_0001n, 0xdead_beef_0000_0001n],
  ["s64", s64, -1n, 0xffff_ffff_ffff_ffffn],
  ["size_t", size_t, 2 ** 53 - 1, 0x1f_ffff_ffff_ffffn],
  ["ssize_t", ssize_t, -4095, 0xffff_ffff_ffff_f001n],
  ["loff_t", loff_t, -(2 ** 40), 0xffff_ff00_0000_0000n],
  ["user pointer", userPtr("char"), 0x3f_ffff_f000, 0x3f_ffff_f000n],
  ["bool", bool, true, 1n],
];

test.each(REGISTERS)("%s travels in a register and back", (_, type, value, bits) => {
  const lo = type.lo(value as never);
  const hi = type.hi(value as never);
  expect((BigInt(hi >>> 0) << 32n) | BigInt(lo >>> 0)).toBe(bits);
  expect(type.fromReg(lo, hi, memory)).toBe(value);
});

test.each([0, 1, -1, 2 ** 31, -(2 ** 31), 2 ** 32, 2 ** 52 + 1, -(2 ** 53) + 1])(
  "%d splits into words and joins again",
  (value) => {
    expect(fromWords(value | 0, hiWord(value))).toBe(value);
  },
);

test("errno constants are found by number, and tell errors from results", () => {
  expect([errnoFromNumber(2), errnoFromNumber(524), errnoFromNumber(9999)]).toEqual([
    ENOENT,
    ENOTSUPP,
    undefined,
  ]);
  expect([isErr(ENOENT), isErr(-2), isErr({ number: 2 })]).toEqual([true, false, false]);
});

test("riscv64 has the generic numbers and only the *at forms", () => {
  expect([NR.openat, NR.read, NR.bpf, NR.perf_event_open, NR.clone3]).toEqual([56, 63, 280, 241, 435]);
  expect(["open", "fork", "poll"].some((name) => name in NR)).toBe(false);
});

test.each(["", "plain", "üñî", "日本語", "🙂 mixed \u0000 nul"])("UTF-8 of %j decodes to itself", (text) => {
  expect(utf8Decode(utf8Encode(text))).toBe(text);
  expect([...utf8Encode(text)]).toEqual([...new TextEncoder().encode(text)]);
});

test.each([[0xff], [0xc0, 0x80], [0xed, 0xa0, 0x80], [0xe2, 0x82], [0xf4, 0x90, 0x80, 0x80], [0x80, 0x41]])(
  "malformed UTF-8 %j gives replacement characters and goes on",
  (...bytes) => {
    expect(utf8Decode(Uint8Array.from(bytes))).toContain("\ufffd");
  },
);
