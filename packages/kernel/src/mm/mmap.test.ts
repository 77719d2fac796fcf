/** Errnos and placement of mmap, munmap, mprotect, mremap, madvise, msync, mlock, mincore. */
import {
  EACCES,
  EEXIST,
  EFAULT,
  EINVAL,
  ENODEV,
  ENOMEM,
  EOPNOTSUPP,
  EPERM,
  MADV,
  MAP,
  MREMAP_DONTUNMAP,
  MREMAP_FIXED,
  MREMAP_MAYMOVE,
  MSYNC,
  PAGE_SIZE,
  PROT,
  type Result,
  type UAddr,
} from "@alien-ts/abi";
import { expect, test } from "vitest";
import { type AddressSpace, TASK_SIZE } from "./address-space.ts";
import { DEFAULT_MM_LIMITS } from "./memory-manager.ts";
import {
  do_mmap,
  do_mremap,
  do_munmap,
  type MapRequest,
  type MmapArguments,
  type MremapArguments,
} from "./mmap.ts";
import { do_madvise, do_mincore, do_mlock, do_mprotect, do_msync } from "./mprotect.ts";
import { mapAnonymous, ok, TestFile, testManager, testSpace } from "./testing.ts";
import { get_user_u8, put_user_u8 } from "./uaccess.ts";
import { VM } from "./vma.ts";

const RW = PROT.READ | PROT.WRITE;
const PRIVATE_ANON = MAP.PRIVATE | MAP.ANONYMOUS;
const USED = 0x5000_0000;

/** A space with three pages at USED (read-write, read-only, a hole, read-write) and a file. */
function scene(): { mm: AddressSpace; file: TestFile } {
  const manager = testManager();
  const mm = testSpace(manager);
  const fixed = MAP.PRIVATE | MAP.FIXED;
  ok(mapAnonymous(mm, PAGE_SIZE, { addr: USED, flags: fixed }));
  ok(mapAnonymous(mm, PAGE_SIZE, { addr: USED + PAGE_SIZE, flags: fixed, prot: PROT.READ }));
  ok(mapAnonymous(mm, PAGE_SIZE, { addr: USED + 3 * PAGE_SIZE, flags: fixed }));
  return { mm, file: new TestFile(manager.pages, 2) };
}

const mapCases: [string, Partial<MmapArguments> & { how?: object }, Result<UAddr>][] = [
  ["length 0", { length: 0 }, EINVAL],
  ["an offset within a page", { offset: 100 }, EINVAL],
  ["a length above the address space", { length: TASK_SIZE + 1 }, ENOMEM],
  ["a length of 2^64 - 1", { length: 2 ** 64 - 1 }, ENOMEM],
  ["more private writable memory than the machine has", { length: 2 ** 30 }, ENOMEM],
  ["neither MAP_SHARED nor MAP_PRIVATE", { flags: MAP.ANONYMOUS }, EINVAL],
  ["MAP_SHARED_VALIDATE without a file", { flags: MAP.SHARED_VALIDATE | MAP.ANONYMOUS }, EINVAL],
  ["MAP_FIXED within a page", { addr: USED + 1, flags: PRIVATE_ANON | MAP.FIXED }, EINVAL],
  ["MAP_FIXED below mmap_min_addr", { addr: PAGE_SIZE, flags: PRIVATE_ANON | MAP.FIXED }, EPERM],
  ["MAP_FIXED beyond the address space", { addr: TASK_SIZE, flags: PRIVATE_ANON | MAP.FIXED }, ENOMEM],
  ["MAP_FIXED_NOREPLACE over an area", { addr: USED, flags: PRIVATE_ANON | MAP.FIXED_NOREPLACE }, EEXIST],
  [
    "MAP_FIXED_NOREPLACE in a hole",
    { addr: USED + 2 * PAGE_SIZE, flags: PRIVATE_ANON | MAP.FIXED_NOREPLACE },
    USED + 2 * PAGE_SIZE,
  ],
  ["huge pages", { flags: PRIVATE_ANON | MAP.HUGETLB }, ENOMEM],
  ["a free hint", { addr: USED + 0x10_0001 }, USED + 0x10_0000],
  ["a file without mmap", { flags: MAP.PRIVATE, how: { mmap: undefined } }, ENODEV],
  ["a file that is not readable", { flags: MAP.PRIVATE, how: { readable: false } }, EACCES],
  ["a shared writable mapping of a read-only file", { flags: MAP.SHARED, how: { writable: false } }, EACCES],
  [
    "a shared writable mapping of an append-only file",
    { flags: MAP.SHARED, how: { appendOnly: true } },
    EACCES,
  ],
  ["code from a noexec mount", { flags: MAP.PRIVATE, prot: PROT.EXEC, how: { noexec: true } }, EPERM],
  [
    "an unknown flag with MAP_SHARED_VALIDATE",
    { flags: MAP.SHARED_VALIDATE | 0x8_0000, how: {} },
    EOPNOTSUPP,
  ],
  ["a growing file mapping", { flags: MAP.PRIVATE | MAP.GROWSDOWN, how: {} }, EINVAL],
];

test.each(mapCases)("mmap of %s", (_, { how, ...args }, expected) => {
  const { mm, file } = scene();
  const full: MmapArguments = {
    addr: 0,
    length: PAGE_SIZE,
    prot: RW,
    flags: PRIVATE_ANON,
    offset: 0,
    file: how === undefined ? undefined : file.opened(how),
    ...args,
  };
  expect(do_mmap(mm, full)).toBe(expected);
  expect(mm.t.total_vm).toBe(typeof expected === "number" ? 4 : 3);
});

test("RLIMIT_AS and RLIMIT_DATA refuse what exceeds them, and MAP_FIXED over old pages counts the difference", () => {
  const mm = testSpace(testManager(), {
    ...DEFAULT_MM_LIMITS,
    addressSpace: 8 * PAGE_SIZE,
    data: 4 * PAGE_SIZE,
  });
  const addr = ok(mapAnonymous(mm, 4 * PAGE_SIZE));
  expect(mapAnonymous(mm, PAGE_SIZE)).toBe(ENOMEM);
  ok(mapAnonymous(mm, 4 * PAGE_SIZE, { prot: PROT.READ }));
  expect(mapAnonymous(mm, PAGE_SIZE, { prot: PROT.READ })).toBe(ENOMEM);
  expect(mapAnonymous(mm, 4 * PAGE_SIZE, { addr, flags: MAP.PRIVATE | MAP.FIXED, prot: PROT.READ })).toBe(
    addr,
  );
});

test("a file's mmap operation may take rights away", () => {
  const { mm, file } = scene();
  const frozen = file.opened({
    mmap: (request: MapRequest) => {
      request.flags &= ~VM.MAYWRITE;
      return file;
    },
  });
  const addr = ok(
    do_mmap(mm, { addr: 0, length: PAGE_SIZE, prot: PROT.READ, flags: MAP.SHARED, offset: 0, file: frozen }),
  );
  expect(do_mprotect(mm, addr, PAGE_SIZE, RW)).toBe(EACCES);
});

test.each([
  ["an address within a page", USED + 1, PAGE_SIZE, EINVAL],
  ["length 0", USED, 0, EINVAL],
  ["a range beyond the address space", TASK_SIZE - PAGE_SIZE, 2 * PAGE_SIZE, EINVAL],
  ["a range with holes", USED - PAGE_SIZE, 8 * PAGE_SIZE, 0],
  ["nothing mapped", 0x10_0000, PAGE_SIZE, 0],
])("munmap of %s", (_, addr, length, expected) => {
  expect(do_munmap(scene().mm, addr, length)).toBe(expected);
});

test.each([
  ["an address within a page", USED + 1, PAGE_SIZE, PROT.READ, EINVAL],
  ["length 0 anywhere", 0x10_0000, 0, PROT.READ, 0],
  ["a hole at the start", USED + 2 * PAGE_SIZE, PAGE_SIZE, PROT.READ, ENOMEM],
  ["a hole within", USED, 4 * PAGE_SIZE, PROT.READ, ENOMEM],
  ["an unknown right", USED, PAGE_SIZE, 0x40, EINVAL],
  ["PROT_GROWSDOWN on what does not grow", USED, PAGE_SIZE, 0x0100_0000, EINVAL],
  ["two areas", USED, 2 * PAGE_SIZE, RW, 0],
])("mprotect of %s", (_, addr, length, prot, expected) => {
  expect(do_mprotect(scene().mm, addr, length, prot)).toBe(expected);
});

const remapCases: [string, Partial<MremapArguments>, Result<UAddr>][] = [
  ["an unknown flag", { flags: 8 }, EINVAL],
  ["MREMAP_FIXED without MREMAP_MAYMOVE", { flags: MREMAP_FIXED }, EINVAL],
  [
    "MREMAP_DONTUNMAP of another length",
    { flags: MREMAP_MAYMOVE | MREMAP_DONTUNMAP, newLength: 2 * PAGE_SIZE },
    EINVAL,
  ],
  ["an address within a page", { addr: USED + 1 }, EINVAL],
  ["new length 0", { newLength: 0 }, EINVAL],
  ["an unmapped address", { addr: USED + 2 * PAGE_SIZE }, EFAULT],
  ["a range over two areas, growing", { oldLength: 2 * PAGE_SIZE, newLength: 3 * PAGE_SIZE }, EFAULT],
  ["old length 0 of a private area", { oldLength: 0, flags: MREMAP_MAYMOVE }, EINVAL],
  ["growth into a neighbour", { newLength: 2 * PAGE_SIZE }, ENOMEM],
  ["growth into a hole", { addr: USED + PAGE_SIZE, newLength: 2 * PAGE_SIZE }, USED + PAGE_SIZE],
  ["an overlapping target", { flags: MREMAP_MAYMOVE | MREMAP_FIXED, newAddr: USED }, EINVAL],
  ["the same length", {}, USED],
];

test.each(remapCases)("mremap of %s", (_, args, expected) => {
  const { mm } = scene();
  expect(
    do_mremap(mm, { addr: USED, oldLength: PAGE_SIZE, newLength: PAGE_SIZE, flags: 0, newAddr: 0, ...args }),
  ).toBe(expected);
});

test("mremap moves the pages with their contents, shrinks, and leaves an empty area with MREMAP_DONTUNMAP", () => {
  const { mm } = scene();
  ok(put_user_u8(mm, USED + 5, 42));
  const remap = (addr: UAddr, oldLength: number, newLength: number, flags: number): UAddr =>
    ok(do_mremap(mm, { addr, oldLength, newLength, flags, newAddr: 0 }));
  const moved = remap(USED, PAGE_SIZE, 3 * PAGE_SIZE, MREMAP_MAYMOVE);
  expect(get_user_u8(mm, moved + 5)).toBe(42);
  expect(get_user_u8(mm, USED + 5)).toBe(EFAULT);
  expect(remap(moved, 3 * PAGE_SIZE, PAGE_SIZE, 0)).toBe(moved);
  expect(get_user_u8(mm, moved + PAGE_SIZE)).toBe(EFAULT);
  const again = remap(moved, PAGE_SIZE, PAGE_SIZE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP);
  expect([get_user_u8(mm, moved + 5), get_user_u8(mm, again + 5)]).toEqual([0, 42]);
});

test("mremap with old length 0 shows a shared area a second time", () => {
  const { mm } = scene();
  const addr = ok(mapAnonymous(mm, PAGE_SIZE, { flags: MAP.SHARED }));
  const second = ok(
    do_mremap(mm, { addr, oldLength: 0, newLength: PAGE_SIZE, flags: MREMAP_MAYMOVE, newAddr: 0 }),
  );
  ok(put_user_u8(mm, addr, 3));
  expect(get_user_u8(mm, second)).toBe(3);
});

test.each([
  ["an unknown advice", USED, PAGE_SIZE, 99, EINVAL],
  ["an address within a page", USED + 1, PAGE_SIZE, MADV.NORMAL, EINVAL],
  ["length 0", 0x10_0000, 0, MADV.DONTNEED, 0],
  ["a hole", USED, 4 * PAGE_SIZE, MADV.DONTNEED, ENOMEM],
  ["huge pages", USED, PAGE_SIZE, MADV.HUGEPAGE, 0],
  ["MADV_REMOVE of anonymous memory", USED, PAGE_SIZE, MADV.REMOVE, EINVAL],
])("madvise of %s", (_, addr, length, advice, expected) => {
  expect(do_madvise(scene().mm, addr, length, advice)).toBe(expected);
});

test("MADV_REMOVE punches a hole into shared memory for everybody", () => {
  const { mm } = scene();
  const addr = ok(mapAnonymous(mm, 2 * PAGE_SIZE, { flags: MAP.SHARED }));
  const child = ok(mm.fork());
  for (const space of [mm, child]) {
    ok(put_user_u8(space, addr, 1));
    ok(put_user_u8(space, addr + PAGE_SIZE, 2));
  }
  expect(do_madvise(mm, addr, PAGE_SIZE, MADV.REMOVE)).toBe(0);
  for (const space of [mm, child])
    expect([get_user_u8(space, addr), get_user_u8(space, addr + PAGE_SIZE)]).toEqual([0, 2]);
});

test.each([
  ["an unknown flag", USED, 8, EINVAL],
  ["both MS_SYNC and MS_ASYNC", USED, MSYNC.SYNC | MSYNC.ASYNC, EINVAL],
  ["an address within a page", USED + 1, MSYNC.SYNC, EINVAL],
  ["an unmapped page", USED + 2 * PAGE_SIZE, MSYNC.SYNC, ENOMEM],
  ["a mapped page", USED, MSYNC.SYNC, 0],
])("msync of %s", (_, addr, flags, expected) => {
  expect(do_msync(scene().mm, addr, PAGE_SIZE, flags)).toBe(expected);
});

test("mlock faults pages in, mincore tells which are there, and locked pages refuse MADV_DONTNEED", () => {
  const { mm } = scene();
  expect(do_mincore(mm, USED, 2 * PAGE_SIZE)).toEqual(new Uint8Array([0, 0]));
  expect(do_mlock(mm, USED + 10, 20, true)).toBe(0);
  expect(do_mincore(mm, USED, 2 * PAGE_SIZE)).toEqual(new Uint8Array([1, 0]));
  expect(mm.t.locked_vm).toBe(1);
  expect(do_madvise(mm, USED, PAGE_SIZE, MADV.DONTNEED)).toBe(EINVAL);
  expect(do_mlock(mm, USED, PAGE_SIZE, false)).toBe(0);
  expect(mm.t.locked_vm).toBe(0);
  expect(do_mlock(mm, USED, 4 * PAGE_SIZE, true)).toBe(ENOMEM);
  expect(do_mincore(mm, USED, 4 * PAGE_SIZE)).toBe(ENOMEM);
});

test("a private mapping of shared pages shown at a hint below a growing area keeps the guard gap", () => {
  const mm = testSpace(testManager());
  const stack = USED + 0x100_0000;
  ok(mapAnonymous(mm, PAGE_SIZE, { addr: stack, flags: MAP.PRIVATE | MAP.FIXED | MAP.GROWSDOWN }));
  expect(mapAnonymous(mm, PAGE_SIZE, { addr: stack - PAGE_SIZE })).not.toBe(stack - PAGE_SIZE);
  expect(mapAnonymous(mm, PAGE_SIZE, { addr: stack - 257 * PAGE_SIZE })).toBe(stack - 257 * PAGE_SIZE);
});
