/** The page allocator: buddy merging, references, exhaustion, misuse. */
import { LinearMemory, PAGE_SIZE } from "@alien-ts/abi";
import { expect, test } from "vitest";
import { PAGE_POISON, PageAllocator, orderOf } from "./pages.ts";
import { seededRandom } from "./testing.ts";

const START = 0x2_0000;
const MIB = 0x10_0000;

function pagesOf(sizeBytes = MIB, debug = false): PageAllocator {
  const memory = new LinearMemory(new ArrayBuffer(sizeBytes));
  return new PageAllocator(memory, { start: START, end: sizeBytes, debug });
}

test("a run is zeroed, naturally aligned, and counted", () => {
  const pages = pagesOf(MIB, true);
  for (const count of [1, 2, 3, 4, 5, 8, 13, 16]) {
    const before = pages.freePages;
    const addr = pages.alloc(count, "test");
    expect(addr % (PAGE_SIZE << orderOf(count))).toBe(0);
    expect(pages.freePages).toBe(before - count);
    expect(pages.memory.bytes(addr, count * PAGE_SIZE).every((b) => b === 0)).toBe(true);
    pages.memory.bytes(addr, count * PAGE_SIZE).fill(1);
    pages.free(addr);
    expect(pages.memory.u8[addr]).toBe(PAGE_POISON);
    expect(pages.freePages).toBe(before);
  }
});

test("exhaustion gives 0, and freeing everything merges back to the blocks of the start", () => {
  const pages = pagesOf();
  const whole = pages.buddyInfo();
  const runs: number[] = [];
  for (let addr = pages.alloc(1, "x"); addr !== 0; addr = pages.alloc(1, "x")) runs.push(addr);
  expect(runs.length).toBe(pages.totalPages);
  expect(new Set(runs).size).toBe(runs.length);
  expect(pages.freePages).toBe(0);
  for (const addr of runs) pages.free(addr);
  expect(pages.buddyInfo()).toEqual(whole);
});

test("the last put frees a run, and free refuses one that is shared", () => {
  const pages = pagesOf();
  const addr = pages.alloc(2, "shared");
  pages.get(addr);
  expect(() => pages.free(addr)).toThrow(/freed with 2 references \(shared\)/);
  pages.put(addr);
  expect(pages.usedPages).toBe(2);
  pages.put(addr);
  expect(pages.usedPages).toBe(0);
});

test("a double free, an interior address and a foreign one throw", () => {
  const pages = pagesOf();
  const addr = pages.alloc(4, "x");
  expect(() => pages.free(addr + PAGE_SIZE)).toThrow(/not a live page run/);
  expect(() => pages.free(addr + 8)).toThrow(/not a live page run/);
  expect(() => pages.put(0)).toThrow(/not a live page run/);
  pages.free(addr);
  expect(() => pages.free(addr)).toThrow(/not a live page run/);
});

test("page zero and the null guard are never handed out", () => {
  const memory = new LinearMemory(new ArrayBuffer(MIB));
  const pages = new PageAllocator(memory, { start: 0, end: MIB });
  for (let addr = pages.alloc(1, "x"); addr !== 0; addr = pages.alloc(1, "x"))
    expect(addr).toBeGreaterThanOrEqual(0x1_0000);
});

test("the n-th allocation fails, once", () => {
  const pages = pagesOf();
  pages.faults.failAfter(2);
  expect(pages.alloc(1, "a")).not.toBe(0);
  expect(pages.alloc(1, "b")).toBe(0);
  expect(pages.faults.failedTag).toBe("b");
  expect(pages.alloc(1, "c")).not.toBe(0);
});

test.each([1, 2, 3])("random runs never overlap and all come back (seed %i)", (seed) => {
  const random = seededRandom(seed);
  const pages = pagesOf(4 * MIB);
  const whole = pages.buddyInfo();
  const owner = new Map<number, number>();
  const live: { addr: number; count: number }[] = [];
  for (let step = 0; step < 3000; step++) {
    if (live.length === 0 || random(100) < 55) {
      const count = 1 + random(20);
      const addr = pages.alloc(count, "random", false);
      if (addr === 0) continue;
      for (let i = 0; i < count; i++) {
        if (owner.has(addr + i * PAGE_SIZE)) throw new Error(`page ${i} of ${addr} was given out twice`);
        owner.set(addr + i * PAGE_SIZE, addr);
      }
      live.push({ addr, count });
    } else {
      const [run] = live.splice(random(live.length), 1);
      for (let i = 0; i < run!.count; i++) owner.delete(run!.addr + i * PAGE_SIZE);
      pages.free(run!.addr);
    }
    expect(pages.usedPages).toBe(owner.size);
  }
  for (const { addr } of live) pages.free(addr);
  expect(pages.buddyInfo()).toEqual(whole);
});
