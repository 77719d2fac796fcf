/** Copies to and from user memory, iterators, and a task's own view of its memory. */
import {
  EFAULT,
  EINVAL,
  isErr,
  MAP,
  PAGE_SIZE,
  PROT,
  type Result,
  type UAddr,
  UserFault,
  utf8Encode,
} from "@alien-ts/abi";
import { expect, test } from "vitest";
import { type AddressSpace, TASK_SIZE } from "./address-space.ts";
import { FAULT } from "./fault.ts";
import { import_iovec, IovIter } from "./iov-iter.ts";
import { KernelPages } from "./mappable.ts";
import { do_mmap, do_munmap } from "./mmap.ts";
import { do_mprotect } from "./mprotect.ts";
import { mapAnonymous, ok, testManager, testSpace } from "./testing.ts";
import {
  access_ok,
  clear_user,
  copy_from_user,
  copy_to_user,
  get_user_s32,
  get_user_s64,
  get_user_u16,
  get_user_u32,
  get_user_u64,
  get_user_u8,
  put_user_u16,
  put_user_u32,
  put_user_u64,
  put_user_u8,
  readUserBytes,
  readUserString,
  strncpy_from_user,
  strnlen_user,
  writeUserBytes,
} from "./uaccess.ts";
import { TaskMemory } from "./user-memory.ts";

/** Four pages: two read-write, one read-only, one unmapped. `user` is the first; `kernel` a buffer of two pages. */
function scene(): {
  mm: AddressSpace;
  user: UAddr;
  readOnly: UAddr;
  hole: UAddr;
  kernel: number;
  u8: Uint8Array;
} {
  const manager = testManager();
  const mm = testSpace(manager);
  const user = ok(mapAnonymous(mm, 4 * PAGE_SIZE));
  ok(do_mprotect(mm, user + 2 * PAGE_SIZE, PAGE_SIZE, PROT.READ));
  ok(do_munmap(mm, user + 3 * PAGE_SIZE, PAGE_SIZE));
  const kernel = manager.pages.alloc(2, "buffer");
  return {
    mm,
    user,
    readOnly: user + 2 * PAGE_SIZE,
    hole: user + 3 * PAGE_SIZE,
    kernel,
    u8: manager.pages.memory.u8,
  };
}

const BAD = [
  0,
  1,
  0xfff,
  -1,
  -PAGE_SIZE,
  TASK_SIZE,
  2 ** 47,
  0xffff_ffd6_0010_0000,
  2 ** 63,
  2 ** 64,
  Number.NaN,
];

test.each(BAD)("every access at %d faults without a throw", (addr) => {
  const { mm, kernel } = scene();
  expect(copy_from_user(mm, kernel, addr, 16)).toBe(16);
  expect(copy_to_user(mm, addr, kernel, 16)).toBe(16);
  expect(clear_user(mm, addr, 16)).toBe(16);
  expect(strnlen_user(mm, addr, 16)).toBe(0);
  const results: Result<unknown>[] = [
    strncpy_from_user(mm, kernel, addr, 16),
    readUserBytes(mm, addr, 16),
    readUserString(mm, addr, 16),
    writeUserBytes(mm, addr, new Uint8Array(3)),
    ...[get_user_u8, get_user_u16, get_user_u32, get_user_s32, get_user_u64, get_user_s64].map((get) =>
      get(mm, addr),
    ),
    ...[put_user_u8, put_user_u16, put_user_u32, put_user_u64].map((put) => put(mm, addr, 1)),
  ];
  expect(results.every((result) => result === EFAULT)).toBe(true);
});

test("a copy stops at the first bad page and says how much is missing", () => {
  const { mm, readOnly, hole, kernel, u8 } = scene();
  u8.fill(7, kernel, kernel + 2 * PAGE_SIZE);
  expect(copy_to_user(mm, readOnly - 10, kernel, 100)).toBe(90);
  expect(readUserBytes(mm, readOnly - 10, 12)).toEqual(new Uint8Array([...Array<number>(10).fill(7), 0, 0]));
  expect(copy_from_user(mm, kernel, hole - 10, 100)).toBe(90);
  expect(u8[kernel + 9]).toBe(0);
  expect(u8[kernel + 10]).toBe(7);
  expect(clear_user(mm, readOnly - 5, 9)).toBe(4);
  expect(copy_to_user(mm, readOnly, kernel, 1)).toBe(1);
});

test("large copies cross pages both ways", () => {
  const { mm, user, kernel, u8 } = scene();
  for (let i = 0; i < 5000; i++) u8[kernel + i] = i & 0xff;
  expect(copy_to_user(mm, user + 100, kernel, 5000)).toBe(0);
  u8.fill(0, kernel, kernel + 5000);
  expect(copy_from_user(mm, kernel, user + 100, 5000)).toBe(0);
  for (let i = 0; i < 5000; i++) if (u8[kernel + i] !== (i & 0xff)) throw new Error(`byte ${i}`);
  expect(copy_from_user(mm, kernel, -1, 0)).toBe(0);
});

test("words are little-endian at any alignment and across pages", () => {
  const { mm, user, readOnly } = scene();
  for (const at of [
    user,
    user + 3,
    user + PAGE_SIZE - 1,
    user + PAGE_SIZE - 2,
    user + PAGE_SIZE - 4,
    user + PAGE_SIZE - 6,
  ]) {
    ok(put_user_u64(mm, at, 2 ** 52 + 12345));
    expect(get_user_u64(mm, at)).toBe(2 ** 52 + 12345);
    ok(put_user_u64(mm, at, -2));
    expect(get_user_s64(mm, at)).toBe(-2);
    expect(get_user_u16(mm, at)).toBe(0xfffe);
    expect(get_user_s32(mm, at)).toBe(-2);
    expect(get_user_u32(mm, at)).toBe(0xffff_fffe);
    ok(put_user_u16(mm, at, 0x1234));
    expect(get_user_u8(mm, at + 1)).toBe(0x12);
  }
  for (const put of [put_user_u16, put_user_u32, put_user_u64]) {
    ok(put_user_u8(mm, readOnly - 1, 9));
    expect(put(mm, readOnly - 1, 0)).toBe(EFAULT);
    expect(get_user_u8(mm, readOnly - 1)).toBe(9);
  }
});

test("strings end at NUL, at the limit, or at a fault", () => {
  const { mm, user, hole, kernel } = scene();
  ok(writeUserBytes(mm, user + PAGE_SIZE - 3, utf8Encode("path/x\0")));
  expect(readUserString(mm, user + PAGE_SIZE - 3, 100)).toEqual(utf8Encode("path/x"));
  expect(readUserString(mm, user + PAGE_SIZE - 3, 4)).toEqual(utf8Encode("path"));
  expect(strncpy_from_user(mm, kernel, user + PAGE_SIZE - 3, 100)).toBe(6);
  expect(strncpy_from_user(mm, kernel, user + PAGE_SIZE - 3, 4)).toBe(4);
  expect(strnlen_user(mm, user + PAGE_SIZE - 3, 100)).toBe(7);
  expect(strnlen_user(mm, user + PAGE_SIZE - 3, 4)).toBe(5);
  expect(strnlen_user(mm, hole, 4)).toBe(0);
  expect(readUserString(mm, hole - 1, 1)).toEqual(new Uint8Array(0));
});

test.each([
  [0, 0, true],
  [0, 2 ** 63, true],
  [TASK_SIZE, 2 ** 40, true],
  [2 ** 63, 2 ** 12, false],
  [-1, 1, false],
  [0xffff_ffd6_0000_0000, 8, false],
  [0, 2 ** 64, false],
])("access_ok(%d, %d) is %s", (addr, length, expected) => {
  expect(access_ok(addr, length)).toBe(expected);
});

test("one iterator walks user segments, kernel memory and arrays alike", () => {
  const { mm, user, kernel, u8 } = scene();
  const memory = mm.manager.pages.memory;
  const array = new Uint8Array(10);
  const iterators = [
    IovIter.userSegments(mm, [
      { addr: user, length: 4 },
      { addr: user + 50, length: 0 },
      { addr: user + PAGE_SIZE - 2, length: 6 },
    ]),
    IovIter.kernel(memory, kernel + PAGE_SIZE, 10),
    IovIter.bytes(memory, array),
  ];
  for (let i = 0; i < 10; i++) u8[kernel + i] = i + 1;
  for (const iterator of iterators) {
    expect(iterator.copy_to_iter(kernel, 3)).toBe(3);
    expect(iterator.copyBytesTo(Uint8Array.of(4, 5, 6))).toBe(3);
    expect(iterator.iov_iter_zero(2)).toBe(2);
    expect(iterator.copy_to_iter(kernel + 8, 100)).toBe(2);
    expect(iterator.count).toBe(0);
    expect(iterator.copy_to_iter(kernel, 1)).toBe(0);
    iterator.revert(10);
    expect(iterator.copy_from_iter(kernel + 100, 6)).toBe(6);
    expect([...memory.bytes(kernel + 100, 6)]).toEqual([1, 2, 3, 4, 5, 6]);
    expect([...iterator.take(100)]).toEqual([0, 0, 9, 10]);
    iterator.revert(9);
    iterator.truncate(3);
    expect([...iterator.take(100)]).toEqual([2, 3, 4]);
  }
  expect([...ok(readUserBytes(mm, user + PAGE_SIZE - 2, 6))]).toEqual([5, 6, 0, 0, 9, 10]);
});

test("an iterator stops at a fault after what it could copy", () => {
  const { mm, readOnly, kernel } = scene();
  const iterator = IovIter.user(mm, readOnly - 4, 10);
  expect(iterator.copy_to_iter(kernel, 10)).toBe(4);
  expect(iterator.count).toBe(6);
  expect(iterator.copyBytesTo(new Uint8Array(6))).toBe(0);
});

test("import_iovec checks the array, its lengths and its addresses", () => {
  const { mm, user, hole } = scene();
  const put = (base: number, length: number): void => {
    ok(put_user_u64(mm, user, base));
    ok(put_user_u64(mm, user + 8, length));
  };
  put(user + 100, 5);
  expect(ok(import_iovec(mm, user, 1)).count).toBe(5);
  put(hole, 2 ** 31);
  expect(ok(import_iovec(mm, user, 1)).count).toBe(0x7fff_f000);
  put(user, -1);
  expect(import_iovec(mm, user, 1)).toBe(EINVAL);
  put(-PAGE_SIZE, 1);
  expect(import_iovec(mm, user, 1)).toBe(EFAULT);
  expect(import_iovec(mm, hole, 1)).toBe(EFAULT);
  expect(import_iovec(mm, user, 1025)).toBe(EINVAL);
  expect(ok(import_iovec(mm, 0, 0)).count).toBe(0);
});

test("a program's own access that faults is told to the kernel and unwinds the program", () => {
  const { mm, user, readOnly, hole } = scene();
  const faults: [number, number][] = [];
  const memory = new TaskMemory(mm, (addr, code) => {
    faults.push([addr, code]);
    return false;
  });
  memory.write(user + PAGE_SIZE - 3, utf8Encode("hello\0"));
  expect(memory.readCString(user + PAGE_SIZE - 3)).toEqual(utf8Encode("hello"));
  expect(memory.read(user + PAGE_SIZE - 1, 2)).toEqual(utf8Encode("ll"));
  memory.writeU64(user + PAGE_SIZE - 5, -3);
  expect(memory.readU64(user + PAGE_SIZE - 5)).toBe(2 ** 64);
  expect(memory.readU32(user + PAGE_SIZE - 5)).toBe(0xffff_fffd);
  const attempts = [
    () => memory.readU8(hole),
    () => memory.writeU32(readOnly, 1),
    () => memory.read(hole - 1, 2),
  ];
  for (const attempt of attempts) expect(attempt).toThrow(UserFault);
  expect(faults).toEqual([
    [hole, FAULT.MAPERR],
    [readOnly, FAULT.ACCERR],
    [hole, FAULT.MAPERR],
  ]);
});

test("a view of a ring is the kernel's own pages, and scattered pages have no view", () => {
  const { mm, user, kernel } = scene();
  const ring = new KernelPages({ name: "ring", addr: kernel, pageCount: 2, pageOf: (index) => index % 2 });
  const file = { readable: true, writable: true, appendOnly: false, noexec: false, mmap: () => ring };
  const map = {
    addr: 0,
    length: 4 * PAGE_SIZE,
    prot: PROT.READ | PROT.WRITE,
    flags: MAP.SHARED,
    offset: 0,
    file,
  };
  const addr = ok(do_mmap(mm, map));
  const memory = new TaskMemory(mm, () => false);
  const view = memory.view(addr + 8, PAGE_SIZE * 2 - 8)!;
  mm.manager.pages.memory.dv.setUint32(kernel + 16, 77, true);
  expect(view.getUint32(8, true)).toBe(77);
  view.setUint8(0, 5);
  expect(memory.readU8(addr + 2 * PAGE_SIZE + 8)).toBe(5);
  expect(memory.view(addr + PAGE_SIZE, 2 * PAGE_SIZE)).toBeUndefined();
  expect(isErr(get_user_u8(mm, user))).toBe(false);
});
