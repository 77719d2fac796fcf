/** kmalloc: classes and alignment, owners, accounting, debug checks, fault injection. */
import { LinearMemory } from "@alien-ts/abi";
import { expect, test } from "vitest";
import { difference } from "./allocation-faults.ts";
import { Kmalloc, POISON_FREE, POISON_INUSE } from "./kmalloc.ts";
import { PageAllocator } from "./pages.ts";
import { seededRandom } from "./testing.ts";

const MIB = 0x10_0000;

function heap({ debug = false, sizeBytes = 4 * MIB } = {}): Kmalloc {
  const memory = new LinearMemory(new ArrayBuffer(sizeBytes));
  return new Kmalloc(new PageAllocator(memory, { start: 0x2_0000, end: sizeBytes, debug }), { debug });
}

test.each([
  [0, 8],
  [1, 8],
  [9, 16],
  [65, 96],
  [97, 128],
  [129, 192],
  [193, 256],
  [2049, 4096],
  [8192, 8192],
  [8193, 12288],
  [100_000, 102_400],
])("an allocation of %i bytes has room for %i", (size, room) => {
  const k = heap();
  const addr = k.kmalloc(size, "t");
  expect(k.ksize(addr)).toBe(room);
  expect(addr % 8).toBe(0);
  k.kfree(addr);
  expect(k.liveObjects).toBe(0);
});

test("power-of-two sizes are naturally aligned", () => {
  const k = heap();
  for (let size = 8; size <= 0x1_0000; size *= 2)
    for (let i = 0; i < 3; i++) expect(k.kmalloc(size, "t") % size).toBe(0);
});

test("kzalloc clears what an earlier object left", () => {
  const k = heap();
  const first = k.kmalloc(64, "t");
  k.pages.memory.bytes(first, 64).fill(7);
  k.kfree(first);
  const second = k.kzalloc(64, "t");
  expect(second).toBe(first);
  expect(k.pages.memory.bytes(second, 64).every((b) => b === 0)).toBe(true);
});

test("ownerOf knows exactly the starts of live owned allocations", () => {
  const k = heap();
  const owner = { name: "file" };
  const addr = k.kmalloc(96, "file");
  const large = k.kmalloc(20_000, "buffer");
  expect(k.ownerOf(addr)).toBeUndefined();
  k.setOwner(addr, owner);
  k.setOwner(large, owner);
  expect(k.ownerOf(addr)).toBe(owner);
  expect(k.ownerOf(large)).toBe(owner);
  for (const wrong of [
    0,
    -1,
    -4096,
    addr + 1,
    addr + 8,
    addr + 96,
    addr + 0.5,
    large + 4096,
    2 ** 31,
    2 ** 32 + addr,
    2 ** 60,
    Number.NaN,
    Number.POSITIVE_INFINITY,
  ])
    expect(k.ownerOf(wrong)).toBeUndefined();
  k.kfree(addr);
  expect(k.ownerOf(addr)).toBeUndefined();
  expect(k.kmalloc(96, "other")).toBe(addr);
  expect(k.ownerOf(addr)).toBeUndefined();
});

test("nothing that a guest writes into memory makes an owner", () => {
  const k = heap();
  const addr = k.kmalloc(64, "t");
  k.setOwner(addr, {});
  k.pages.memory.bytes(addr & ~0xfff, 4096).fill(1);
  expect(k.ownerOf(addr)).toBeDefined();
  expect(k.ownerOf(addr + 64)).toBeUndefined();
});

test("krealloc keeps contents and owner", () => {
  const k = heap();
  const owner = {};
  const addr = k.kmalloc(40, "t");
  k.setOwner(addr, owner);
  k.pages.memory.bytes(addr, 40).fill(9);
  expect(k.krealloc(addr, 60, "t")).toBe(addr);
  const moved = k.krealloc(addr, 500, "t");
  expect(moved).not.toBe(addr);
  expect(k.pages.memory.bytes(moved, 40).every((b) => b === 9)).toBe(true);
  expect(k.ownerOf(moved)).toBe(owner);
  expect(k.liveBytes).toBe(500);
});

test("double and foreign frees throw, kfree(0) does nothing", () => {
  const k = heap();
  const addr = k.kmalloc(64, "inode");
  k.kfree(0);
  k.kfree(addr);
  expect(() => k.kfree(addr)).toThrow(/double free .* last allocated as inode/);
  expect(() => k.kfree(addr + 8)).toThrow(/never allocated/);
  expect(() => k.kfree(0x10_0000)).toThrow(/never allocated/);
});

test("debug mode poisons, and finds use after free and writes past the end", () => {
  const k = heap({ debug: true });
  const u8 = k.pages.memory.u8;
  const addr = k.kmalloc(20, "dentry");
  expect(u8[addr]).toBe(POISON_INUSE);
  u8[addr + 20] = 1;
  expect(() => k.kfree(addr)).toThrow(/write past the end: byte 20 of the 20 bytes .*dentry/);
  u8[addr + 20] = 0xcc;
  k.kfree(addr);
  expect(u8[addr]).toBe(POISON_FREE);
  u8[addr + 3] = 1;
  expect(() => k.kmalloc(20, "t")).toThrow(/use after free: byte 3 .*dentry/);
});

test("exhaustion gives 0 and loses nothing", () => {
  const k = heap({ sizeBytes: MIB });
  const free = k.pages.freePages;
  const live: number[] = [];
  for (let addr = k.kmalloc(1000, "t"); addr !== 0; addr = k.kmalloc(1000, "t")) live.push(addr);
  expect(live.length).toBeGreaterThan(800);
  for (const addr of live) k.kfree(addr);
  k.shrink();
  expect(k.pages.freePages).toBe(free);
});

test("failAfter fails the n-th allocation of either kind, once", () => {
  const k = heap();
  k.pages.faults.failAfter(3);
  expect(k.kmalloc(10, "a")).not.toBe(0);
  expect(k.pages.alloc(1, "b")).not.toBe(0);
  expect(k.kmalloc(100_000, "c")).toBe(0);
  expect(k.kmalloc(100_000, "d")).not.toBe(0);
});

test("a difference of snapshots names what leaked", () => {
  const k = heap();
  const before = k.snapshot();
  const kept = k.kmalloc(100, "leak");
  const page = k.pages.alloc(2, "stack");
  k.kfree(k.kmalloc(50, "fine"));
  expect(difference(before, k.snapshot())).toEqual(
    new Map([
      ["leak", { objects: 1, bytes: 100 }],
      ["pages:stack", { objects: 1, bytes: 8192 }],
    ]),
  );
  k.kfree(kept);
  k.pages.free(page);
  expect(difference(before, k.snapshot()).size).toBe(0);
});

test.each([1, 2, 3, 4])(
  "random allocations keep their bytes and owners, and all come back (seed %i)",
  (seed) => {
    const random = seededRandom(seed);
    const k = heap({ debug: seed % 2 === 0, sizeBytes: 8 * MIB });
    const { u8 } = k.pages.memory;
    const free = k.pages.freePages;
    const live: { addr: number; size: number; mark: number; owner: object | undefined }[] = [];
    let bytes = 0;
    const checkAndFree = (at: number): void => {
      const [object] = live.splice(at, 1);
      const { addr, size, mark, owner } = object!;
      expect(k.ownerOf(addr)).toBe(owner);
      for (let i = 0; i < size; i++) if (u8[addr + i] !== mark) throw new Error(`byte ${i} changed`);
      k.kfree(addr);
      bytes -= size;
    };
    for (let step = 0; step < 4000; step++) {
      if (live.length === 0 || random(100) < 55) {
        const size = random(10) === 0 ? random(30_000) : random(400);
        const addr = k.kmalloc(size, `tag${random(5)}`);
        if (addr === 0) continue;
        const owner = random(2) === 0 ? { addr } : undefined;
        if (owner !== undefined) k.setOwner(addr, owner);
        u8.fill(step & 0xff, addr, addr + size);
        live.push({ addr, size, mark: step & 0xff, owner });
        bytes += size;
      } else checkAndFree(random(live.length));
      expect(k.liveBytes).toBe(bytes);
      expect(k.liveObjects).toBe(live.length);
    }
    while (live.length > 0) checkAndFree(live.length - 1);
    expect(k.snapshot().size).toBe(0);
    k.shrink();
    expect(k.pages.freePages).toBe(free);
  },
);
