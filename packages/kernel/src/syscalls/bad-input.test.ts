/** Whatever a program passes to a file system call, it gets a result or an errno; nothing throws, sleeps for ever or leaks. */
import { AT, O, PAGE_SIZE, PROT } from "@alien-ts/abi";
import { expect, test } from "vitest";
import { isBlocking } from "../core/row.ts";
import type { SyscallRow } from "../core/syscall.ts";
import { fileKernel, fileTask, type FileTask } from "../file-testing.ts";
import { difference } from "../mm/allocation-faults.ts";
import { seededRandom } from "../mm/testing.ts";
import { detachMount, mntput, mountsBelow } from "../vfs/mount.ts";
import { DIRECTORY_SYSCALLS } from "./directories.ts";
import { FD_SYSCALLS } from "./fd.ts";
import { LINK_SYSCALLS } from "./links.ts";
import { MOUNT_SYSCALLS } from "./mount.ts";
import { OPEN_SYSCALLS } from "./open.ts";
import { READ_WRITE_SYSCALLS } from "./read-write.ts";
import { STAT_SYSCALLS } from "./stat.ts";
import { SYNC_SYSCALLS } from "./sync.ts";
import { XATTR_SYSCALLS } from "./xattr.ts";

const ROWS: readonly SyscallRow[] = [
  ...READ_WRITE_SYSCALLS,
  ...OPEN_SYSCALLS,
  ...STAT_SYSCALLS,
  ...DIRECTORY_SYSCALLS,
  ...LINK_SYSCALLS,
  ...FD_SYSCALLS,
  ...MOUNT_SYSCALLS,
  ...XATTR_SYSCALLS,
  ...SYNC_SYSCALLS,
];

/** Addresses that are not there, cannot be written, or end where a page ends. */
function badPointers(task: FileTask): readonly number[] {
  const readOnly = task.map(PAGE_SIZE, PROT.READ);
  const lonely = task.map(PAGE_SIZE, PROT.READ | PROT.WRITE);
  return [0, 0x1000, 2 ** 38, 2 ** 47, 2 ** 52, readOnly, lonely + PAGE_SIZE - 3, lonely + PAGE_SIZE - 1];
}

const NUMBERS = [
  0,
  1,
  2,
  3,
  7,
  100,
  4096,
  2 ** 31 - 1,
  2 ** 31,
  2 ** 32 - 1,
  -1,
  -100,
  2 ** 52,
  -(2 ** 52),
] as const;

function callFor(task: FileTask, row: SyscallRow, args: readonly number[]): unknown {
  const { depth, ksp } = task.cx;
  const result = task.start(row, ...args);
  const value = isBlocking(result) ? result.next() : { done: true, value: result };
  expect([row.name, args, value.done]).toEqual([row.name, args, true]);
  expect([task.cx.depth, task.cx.ksp]).toEqual([depth, ksp]);
  return value.value;
}

/** Arguments by the C type of each parameter. */
function argumentsFor(
  row: SyscallRow,
  pointers: readonly number[],
  random: (below: number) => number,
): number[] {
  return row.params.map(([name, kind]) => {
    if (kind.c.endsWith("*")) return pointers[random(pointers.length)]!;
    if (name === "dfd") return [AT.FDCWD, 0, 1, 2, 99][random(5)]!;
    if (/fd/.test(name)) return [0, 1, 2, 99][random(4)]!;
    return NUMBERS[random(NUMBERS.length)]!;
  });
}

const ROUNDS = 40;

for (const seed of [1, 2])
  test(`no argument makes a file system call throw, sleep or leak (seed ${seed})`, () => {
    const kernel = fileKernel();
    const task = fileTask(kernel);
    task.writeFile("/file", "text");
    const strings = ["/file", "/", "", "file/x", "user.x"].map((text) => task.str(text));
    const pointers = [...badPointers(task), ...strings, task.put(new Uint8Array(64))];
    const random = seededRandom(seed);
    const reset = (): void => {
      // umount2("/") has made the root read-only, where it was called.
      kernel.vfs.root.sb.t.s_flags = 0;
      kernel.vfs.root.flags = 0;
      for (const [fd] of task.task.files.entries()) task.close(fd);
      task.task.fs.setRoot(task.cx, { mnt: kernel.vfs.root, dentry: kernel.vfs.root.root });
      task.task.fs.setPwd(task.cx, task.task.fs.root);
      for (const mnt of mountsBelow(kernel.vfs.root).slice(1).toReversed()) {
        detachMount(task.cx, mnt);
        mntput(task.cx, mnt);
      }
      for (const flags of [O.RDWR, O.RDONLY, O.PATH])
        task.open("/file", flags | (flags === O.RDWR ? O.CREAT : 0));
    };
    reset();
    for (const row of ROWS) {
      for (let round = 0; round < ROUNDS; round++) {
        const args = argumentsFor(row, pointers, random);
        const result = callFor(task, row, args);
        expect([row.name, args, typeof result === "number" || typeof result === "object"]).toEqual([
          row.name,
          args,
          true,
        ]);
        if (task.task.files.get(2) === undefined || task.task.files.max > 64) reset();
      }
    }
    reset();
    const before = kernel.kmalloc.snapshot();
    for (const row of [...OPEN_SYSCALLS, ...LINK_SYSCALLS, ...MOUNT_SYSCALLS, ...XATTR_SYSCALLS])
      for (const pointer of badPointers(task).slice(0, 5))
        callFor(task, row, [pointer, pointer, pointer, pointer, pointer]);
    reset();
    const changed = difference(before, kernel.kmalloc.snapshot());
    for (const own of ["pages:anon", "pgtable", "pages:pgtable"]) changed.delete(own);
    expect(changed).toEqual(new Map());
  });
