/** Address spaces: faults, copy-on-write, sharing, fork, limits, accounting. */
import { EACCES, ENOMEM, isErr, Layout, MADV, MAP, PAGE_SIZE, PROT, type UAddr } from "@alien-ts/abi";
import { expect, test } from "vitest";
import { AddressSpace, TASK_SIZE } from "./address-space.ts";
import { difference } from "./allocation-faults.ts";
import { ACCESS, FAULT } from "./fault.ts";
import { KernelPages } from "./mappable.ts";
import { do_brk, do_mmap, do_munmap, set_brk, setup_arg_pages } from "./mmap.ts";
import { do_madvise, do_mprotect, mapsEntries, statm } from "./mprotect.ts";
import { DEFAULT_MM_LIMITS } from "./memory-manager.ts";
import { mapAnonymous, ok, seededRandom, TestFile, testManager, testSpace } from "./testing.ts";
import { get_user_u8, put_user_u8 } from "./uaccess.ts";

const RW = PROT.READ | PROT.WRITE;
const load = (mm: AddressSpace, addr: UAddr): number => ok(get_user_u8(mm, addr));
const store = (mm: AddressSpace, addr: UAddr, value: number): void => void ok(put_user_u8(mm, addr, value));

test("an untouched anonymous page reads as zero from the zero page, and a store gives it a page of its own", () => {
  const manager = testManager();
  const mm = testSpace(manager);
  const addr = ok(mapAnonymous(mm, 3 * PAGE_SIZE));
  expect(mm.translate(addr, ACCESS.READ)).toBe(manager.zeroPage);
  expect(mm.rssPages).toBe(0);
  store(mm, addr, 5);
  expect(load(mm, addr)).toBe(5);
  expect(manager.pages.memory.u8[manager.zeroPage]).toBe(0);
  expect(mm.rss).toEqual({ anon: 1, file: 0, shmem: 0 });
});

test.each([
  { prot: PROT.NONE, read: FAULT.ACCERR, write: FAULT.ACCERR, exec: FAULT.ACCERR },
  { prot: PROT.READ, read: 0, write: FAULT.ACCERR, exec: FAULT.ACCERR },
  { prot: PROT.WRITE, read: 0, write: 0, exec: FAULT.ACCERR },
  { prot: PROT.EXEC, read: FAULT.ACCERR, write: FAULT.ACCERR, exec: 0 },
  { prot: PROT.READ | PROT.EXEC, read: 0, write: FAULT.ACCERR, exec: 0 },
])("protection $prot decides each access, by mmap and by mprotect", ({ prot, read, write, exec }) => {
  const mm = testSpace(testManager());
  const mapped = ok(mapAnonymous(mm, PAGE_SIZE, { prot }));
  const changed = ok(mapAnonymous(mm, PAGE_SIZE));
  store(mm, changed, 1);
  expect(do_mprotect(mm, changed, PAGE_SIZE, prot)).toBe(0);
  const outcome = (addr: UAddr, access: number): number => Math.min(mm.translate(addr, access), 0);
  for (const addr of [mapped, changed])
    expect([ACCESS.READ, ACCESS.WRITE, ACCESS.EXEC].map((access) => outcome(addr, access))).toEqual([
      read,
      write,
      exec,
    ]);
});

test.each([0, 0x1000, -1, -4096, TASK_SIZE, 2 ** 47, 2 ** 53 + 2, 0xffff_ffd6_0000_0000, Number.NaN])(
  "the address %d is not mapped",
  (addr) => {
    const mm = testSpace(testManager());
    expect(mm.translate(addr, ACCESS.READ)).toBe(FAULT.MAPERR);
    expect(mm.translate(addr, ACCESS.WRITE)).toBe(FAULT.MAPERR);
  },
);

test("after fork, private stores are invisible to the other side, and shared ones are seen", () => {
  const manager = testManager();
  const before = manager.kmalloc.snapshot();
  const parent = testSpace(manager);
  const own = ok(mapAnonymous(parent, 2 * PAGE_SIZE));
  const shared = ok(mapAnonymous(parent, PAGE_SIZE, { flags: MAP.SHARED }));
  store(parent, own, 1);
  const child = ok(parent.fork());
  expect(child.translate(own, ACCESS.READ)).toBe(parent.translate(own, ACCESS.READ));
  store(child, own, 2);
  store(parent, own + PAGE_SIZE, 3);
  store(child, shared, 4);
  expect([load(parent, own), load(child, own)]).toEqual([1, 2]);
  expect([load(parent, own + PAGE_SIZE), load(child, own + PAGE_SIZE)]).toEqual([3, 0]);
  expect(load(parent, shared)).toBe(4);
  parent.put();
  store(child, own, 6);
  expect(load(child, shared)).toBe(4);
  child.put();
  expect(difference(before, manager.kmalloc.snapshot()).size).toBe(0);
});

test("the last owner of a copy-on-write page writes it in place", () => {
  const parent = testSpace(testManager());
  const addr = ok(mapAnonymous(parent, PAGE_SIZE));
  store(parent, addr, 1);
  const frame = parent.translate(addr, ACCESS.READ);
  const child = ok(parent.fork());
  child.put();
  expect(parent.translate(addr, ACCESS.WRITE)).toBe(frame);
});

test("a private file mapping copies at the first store, a shared one writes the page cache", () => {
  const manager = testManager();
  const mm = testSpace(manager);
  const file = new TestFile(manager.pages, 2);
  const map = (flags: number): UAddr =>
    ok(do_mmap(mm, { addr: 0, length: 3 * PAGE_SIZE, prot: RW, flags, offset: 0, file: file.opened() }));
  const own = map(MAP.PRIVATE);
  const shared = map(MAP.SHARED);
  expect([load(mm, own), load(mm, own + PAGE_SIZE)]).toEqual([1, 2]);
  store(mm, own, 9);
  expect(load(mm, shared)).toBe(1);
  store(mm, shared + PAGE_SIZE, 8);
  expect(load(mm, own + PAGE_SIZE)).toBe(8);
  expect([...file.dirtyPages]).toEqual([1]);
  expect(mm.translate(own + 2 * PAGE_SIZE, ACCESS.READ)).toBe(FAULT.BUS);
  expect(mm.rss).toEqual({ anon: 1, file: 3, shmem: 0 });
  expect(file.mappings).toBe(2);
  mm.zapObject(file, 1, 2);
  const [first] = file.frames;
  file.frames.length = 1;
  expect(mm.translate(shared + PAGE_SIZE, ACCESS.WRITE)).toBe(FAULT.BUS);
  mm.put();
  expect(file.mappings).toBe(0);
  expect(manager.pages.refs(first!)).toBe(1);
});

test("pages of a kernel object are the same bytes in two address spaces and in the kernel, and may be shown twice", () => {
  const manager = testManager();
  const addr = manager.pages.alloc(3, "ring");
  let mappings = 0;
  const ring = new KernelPages({
    name: "anon_inode:bpf-map",
    addr,
    pageCount: 3,
    pageOf: (index) => (index > 2 ? index - 2 : index),
    onRetain: () => (mappings += 1),
    onRelease: () => (mappings -= 1),
  });
  const file = { readable: true, writable: true, appendOnly: false, noexec: false, mmap: () => ring };
  const spaces = [testSpace(manager), testSpace(manager)];
  const [a, b] = spaces.map((mm) =>
    ok(do_mmap(mm, { addr: 0, length: 5 * PAGE_SIZE, prot: RW, flags: MAP.SHARED, offset: 0, file })),
  );
  store(spaces[0]!, a! + PAGE_SIZE + 5, 42);
  expect(load(spaces[1]!, b! + PAGE_SIZE + 5)).toBe(42);
  expect(load(spaces[1]!, b! + 3 * PAGE_SIZE + 5)).toBe(42);
  expect(manager.pages.memory.u8[addr + PAGE_SIZE + 5]).toBe(42);
  expect(mappings).toBe(2);
  for (const mm of spaces) mm.put();
  expect(mappings).toBe(0);
  expect(manager.pages.refs(addr)).toBe(1);
});

test("the stack grows down to its limit, and not into its guard gap", () => {
  const manager = testManager();
  const mm = testSpace(manager, { ...DEFAULT_MM_LIMITS, stack: 0x10_0000 });
  const top = ok(setup_arg_pages(mm, 100));
  store(mm, top - 8, 1);
  store(mm, top - 0x8_0000, 2);
  expect(mm.translate(top - 0x10_0000 - 1, ACCESS.WRITE)).toBe(FAULT.MAPERR);
  expect([...mapsEntries(mm)].map(({ name, start }) => [name, start])).toEqual([["[stack]", top - 0x8_0000]]);
  expect(mm.t.stack_vm).toBe(0x80);
  const near = ok(
    mapAnonymous(mm, PAGE_SIZE, { addr: top - 0xf_0000 - 0x10_0000, flags: MAP.PRIVATE | MAP.FIXED }),
  );
  expect(mm.translate(near + 0xf_0000, ACCESS.WRITE)).toBe(FAULT.MAPERR);
});

test("brk moves the heap both ways and stops at limits and neighbours", () => {
  const mm = testSpace(testManager(), { ...DEFAULT_MM_LIMITS, data: 0x4_0000 });
  set_brk(mm, 0x1_2345);
  expect(do_brk(mm, 0)).toBe(0x1_3000);
  expect(do_brk(mm, 0x1_5001)).toBe(0x1_5001);
  store(mm, 0x1_5fff, 7);
  expect([...mapsEntries(mm)].map(({ name, start, end }) => [name, start, end])).toEqual([
    ["[heap]", 0x1_3000, 0x1_6000],
  ]);
  expect(do_brk(mm, 0x1_4000)).toBe(0x1_4000);
  expect(mm.translate(0x1_5000, ACCESS.READ)).toBe(FAULT.MAPERR);
  expect(do_brk(mm, 0x1_3000 + 0x4_0001)).toBe(0x1_4000);
  ok(mapAnonymous(mm, PAGE_SIZE, { addr: 0x1_6000, flags: MAP.PRIVATE | MAP.FIXED }));
  expect(do_brk(mm, 0x1_6000)).toBe(0x1_4000);
  expect(do_brk(mm, 0x1_5000)).toBe(0x1_5000);
});

test("neighbours merge and split, and the virtual sizes follow", () => {
  const mm = testSpace(testManager());
  const b = ok(mapAnonymous(mm, 4 * PAGE_SIZE));
  const a = ok(mapAnonymous(mm, 4 * PAGE_SIZE));
  expect(a).toBe(b - 4 * PAGE_SIZE);
  expect(mm.t.map_count).toBe(1);
  ok(do_mprotect(mm, a + 2 * PAGE_SIZE, PAGE_SIZE, PROT.READ));
  expect([...mapsEntries(mm)].map(({ permissions }) => permissions)).toEqual(["rw-p", "r--p", "rw-p"]);
  expect([mm.t.total_vm, mm.t.data_vm]).toEqual([8, 7]);
  ok(do_mprotect(mm, a + 2 * PAGE_SIZE, PAGE_SIZE, RW));
  expect(mm.t.map_count).toBe(1);
  ok(do_munmap(mm, a + PAGE_SIZE, PAGE_SIZE));
  expect(mm.t.map_count).toBe(2);
  expect(statm(mm)[0]).toBe(7);
  expect(mm.t.hiwater_vm).toBe(8);
});

test("madvise(DONTNEED) empties private pages, and DONTFORK keeps an area from the child", () => {
  const mm = testSpace(testManager());
  const addr = ok(mapAnonymous(mm, 2 * PAGE_SIZE));
  store(mm, addr, 1);
  expect(do_madvise(mm, addr, PAGE_SIZE, MADV.DONTNEED)).toBe(0);
  expect(load(mm, addr)).toBe(0);
  expect(do_madvise(mm, addr, PAGE_SIZE, MADV.DONTFORK)).toBe(0);
  const child = ok(mm.fork());
  expect(child.translate(addr, ACCESS.READ)).toBe(FAULT.MAPERR);
  expect(load(child, addr + PAGE_SIZE)).toBe(0);
});

test("exhaustion is reported as out of memory, and frees again", () => {
  const manager = testManager(0x20_0000);
  const mm = testSpace(manager);
  const addr = ok(mapAnonymous(mm, 0x10_0000));
  const other = ok(mapAnonymous(mm, 0x10_0000, { flags: MAP.PRIVATE | MAP.NORESERVE }));
  let outcome = 0;
  for (let at = Math.min(addr, other); outcome >= 0; at += PAGE_SIZE)
    outcome = mm.translate(at, ACCESS.WRITE);
  expect(outcome).toBe(FAULT.OOM);
  expect(mapAnonymous(mm, 0x40_0000)).toBe(ENOMEM);
  mm.put();
  expect([...manager.kmalloc.snapshot().keys()]).toEqual(["pages:zero page"]);
});

test.each([Layout.natural(), Layout.shuffled(1), Layout.shuffled(2)])(
  "every failing allocation of a workload leaks nothing ($name)",
  (layout) => {
    const manager = testManager(0x40_0000, layout);
    const baseline = manager.kmalloc.snapshot();
    let n = 0;
    do {
      n += 1;
      manager.pages.faults.failAfter(n);
      workload(manager);
      expect(difference(baseline, manager.kmalloc.snapshot()).size).toBe(0);
    } while (!manager.pages.faults.armed);
    expect(n).toBeGreaterThan(10);
  },
);

function workload(manager: ReturnType<typeof testManager>): void {
  const mm = testSpaceOrNone(manager);
  if (mm === undefined) return;
  const own = mapAnonymous(mm, 0x1_0000);
  const shared = mapAnonymous(mm, 0x1_0000, { flags: MAP.SHARED });
  for (const addr of [own, shared]) if (!isErr(addr)) put_user_u8(mm, addr, 1);
  const child = mm.fork();
  if (!isErr(child)) {
    if (!isErr(own)) put_user_u8(child, own, 2);
    if (!isErr(shared)) put_user_u8(child, shared, 2);
    child.put();
  }
  mm.put();
}

function testSpaceOrNone(manager: ReturnType<typeof testManager>): AddressSpace | undefined {
  try {
    return testSpace(manager);
  } catch {
    return undefined;
  }
}

test("a mapping that may not be writable refuses mprotect", () => {
  const manager = testManager();
  const mm = testSpace(manager);
  const file = new TestFile(manager.pages, 1).opened({ writable: false });
  const addr = ok(
    do_mmap(mm, { addr: 0, length: PAGE_SIZE, prot: PROT.READ, flags: MAP.SHARED, offset: 0, file }),
  );
  expect(do_mprotect(mm, addr, PAGE_SIZE, RW)).toBe(EACCES);
  expect([...mapsEntries(mm)][0]).toMatchObject({ permissions: "r--s", name: "/tmp/file", inode: 77 });
});

test.each([1, 2, 3])("with drawn gaps, mappings lie below all that the stack may take (seed %i)", (seed) => {
  const manager = testManager();
  const limits = { ...DEFAULT_MM_LIMITS, stack: 0x1000_0000 };
  const random = { below: seededRandom(seed) };
  const mm = ok(AddressSpace.create(manager, { limits, random }));
  const top = ok(setup_arg_pages(mm, 0));
  set_brk(mm, 0x1_0000, random);
  expect(top - limits.stack).toBeGreaterThan(ok(mapAnonymous(mm, PAGE_SIZE)) + PAGE_SIZE);
  expect(mm.t.mmap_base % PAGE_SIZE).toBe(0);
  expect(mm.t.brk % PAGE_SIZE).toBe(0);
});
