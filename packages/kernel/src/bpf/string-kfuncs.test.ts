/** What programs learn of strings in the kernel's memory. */
import { E2BIG, EFAULT, ENOENT, Errno, NULL_GUARD_BYTES } from "@alien-ts/abi";
import { expect, test } from "vitest";
import { testKernel } from "../testing.ts";
import * as strings from "./string-kfuncs.ts";

const kernel = testKernel();
const { bootCx: cx, mem } = kernel;
const page = kernel.pages.alloc(40, "strings");
const full = (address: number): bigint => (BigInt(mem.baseHi) << 32n) | BigInt(address);
let next = page;

/** Address of a string in memory. */
function at(text: string): bigint {
  const start = next;
  for (const char of `${text}\0`) mem.u8[next++] = char.charCodeAt(0);
  return full(start);
}

const number = (answer: number | Errno): number => (answer instanceof Errno ? -answer.number : answer);
const code = (char: string): number => (char === "" ? 0 : char.charCodeAt(0));

test.each([
  ["abc", "abc", 0, 0],
  ["abc", "abd", -1, -1],
  ["abc", "ab", 1, 1],
  ["aBc", "Abc", 1, 0],
  ["", "", 0, 0],
  ["\xff", "a", 1, 1],
])("%j and %j compare as %i, without case as %i", (a, b, exact, folded) => {
  expect(number(strings.bpf_strcmp(cx, at(a), at(b)))).toBe(exact);
  expect(number(strings.bpf_strcasecmp(cx, at(a), at(b)))).toBe(folded);
});

test.each([
  ["hello", "l", 2, 2, 3],
  ["hello", "z", -ENOENT.number, 5, -ENOENT.number],
  ["hello", "", 5, 5, 5],
  ["", "x", -ENOENT.number, 0, -ENOENT.number],
])("in %j, %j is first at %i (or the end: %i), last at %i", (text, char, first, orEnd, last) => {
  const s = at(text);
  expect(number(strings.bpf_strchr(cx, s, code(char)))).toBe(first);
  expect(number(strings.bpf_strchrnul(cx, s, code(char)))).toBe(orEnd);
  expect(number(strings.bpf_strrchr(cx, s, code(char)))).toBe(last);
});

test("a count ends a search", () => {
  const s = at("hello");
  expect(number(strings.bpf_strnchr(cx, s, 2, code("l")))).toBe(-ENOENT.number);
  expect(number(strings.bpf_strnchr(cx, s, 3, code("l")))).toBe(2);
  expect(number(strings.bpf_strnchr(cx, s, 0, code("h")))).toBe(-ENOENT.number);
  expect([2, 5, 9].map((count) => number(strings.bpf_strnlen(cx, s, count)))).toEqual([2, 5, 5]);
  expect(number(strings.bpf_strlen(cx, s))).toBe(5);
});

test.each([
  ["aabbcc", "ab", 4, 0],
  ["aabbcc", "", 0, 6],
  ["aabbcc", "c", 0, 4],
  ["abc", "cba", 3, 0],
])("%j begins with bytes of %j for %i bytes, without for %i", (text, set, within, without) => {
  expect(number(strings.bpf_strspn(cx, at(text), at(set)))).toBe(within);
  expect(number(strings.bpf_strcspn(cx, at(text), at(set)))).toBe(without);
});

test.each([
  ["openat", "open", 4, 0, 0],
  ["openat", "nat", 5, -ENOENT.number, 3],
  ["openat", "nat", 6, 3, 3],
  ["openat", "", 0, 0, 0],
  ["openat", "x", 6, -ENOENT.number, -ENOENT.number],
  ["aaab", "aab", 4, 1, 1],
])("in %j, %j within %i bytes is at %i, at all at %i", (whole, part, length, within, anywhere) => {
  expect(number(strings.bpf_strnstr(cx, at(whole), at(part), length))).toBe(within);
  expect(number(strings.bpf_strstr(cx, at(whole), at(part)))).toBe(anywhere);
});

test("what cannot be read is EFAULT, and what has no end E2BIG", () => {
  for (const address of [0n, 0x40_0000n, full(NULL_GUARD_BYTES - 1), full(mem.size - 1) + 1n]) {
    expect(number(strings.bpf_strlen(cx, address))).toBe(-EFAULT.number);
    expect(number(strings.bpf_strcmp(cx, at("a"), address))).toBe(-EFAULT.number);
    expect(number(strings.bpf_strspn(cx, at("a"), address))).toBe(-EFAULT.number);
    expect(number(strings.bpf_strstr(cx, at("a"), address))).toBe(-EFAULT.number);
  }
  const long = kernel.pages.alloc(17, "strings");
  mem.u8.fill(0x61, long, long + 17 * 4096);
  expect(number(strings.bpf_strlen(cx, full(long)))).toBe(-E2BIG.number);
  expect(number(strings.bpf_strchr(cx, full(long), code("b")))).toBe(-E2BIG.number);
  expect(number(strings.bpf_strcmp(cx, full(long), full(long)))).toBe(-E2BIG.number);
});
