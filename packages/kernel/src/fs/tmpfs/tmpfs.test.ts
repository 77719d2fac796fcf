import {
  AT,
  EBADF,
  EBUSY,
  EEXIST,
  EFAULT,
  EFBIG,
  EINVAL,
  EISDIR,
  ENODATA,
  ENOSPC,
  ENXIO,
  EOPNOTSUPP,
  EPERM,
  ERANGE,
  type Errno,
  ESPIPE,
  F_SEAL,
  iovec,
  Layout,
  MAP,
  MFD,
  O,
  PAGE_SIZE,
  PROT,
  RLIMIT,
  S,
  SEEK,
  stat,
  UTIME_OMIT,
} from "@alien-ts/abi";
import { describe, expect, test } from "vitest";
import { fileKernel, fileTask, type FileTask, ok } from "../../file-testing.ts";
import { difference } from "../../mm/allocation-faults.ts";
import { do_mmap, do_munmap } from "../../mm/mmap.ts";
import { sys_getdents64, sys_mkdirat, sys_unlinkat } from "../../syscalls/directories.ts";
import { sys_fcntl, sys_ioctl } from "../../syscalls/fd.ts";
import { sys_linkat, sys_renameat2 } from "../../syscalls/links.ts";
import { sys_mount } from "../../syscalls/mount.ts";
import { sys_memfd_create } from "../../syscalls/open.ts";
import {
  sys_copy_file_range,
  sys_lseek,
  sys_pread64,
  sys_preadv2,
  sys_pwrite64,
  sys_read,
  sys_readv,
  sys_sendfile,
  sys_write,
  sys_writev,
} from "../../syscalls/read-write.ts";
import {
  sys_fallocate,
  sys_fchmod,
  sys_fchown,
  sys_fstatfs,
  sys_ftruncate,
  sys_newfstat,
  sys_statx,
  sys_truncate,
  sys_utimensat,
} from "../../syscalls/stat.ts";
import { sys_fadvise64_64, sys_fsync, sys_sync_file_range } from "../../syscalls/sync.ts";
import { sys_fgetxattr, sys_flistxattr, sys_fremovexattr, sys_fsetxattr } from "../../syscalls/xattr.ts";
import { d_path } from "../../vfs/d-path.ts";
import { getStruct } from "../../vfs/user.ts";

const no = (errno: Errno): number => -errno.number;
const setup = (layout: Layout = Layout.natural()): FileTask => fileTask(fileKernel({ layout }));
const LAYOUTS = [Layout.natural(), Layout.shuffled(21), Layout.shuffled(22)] as const;

const write = (task: FileTask, fd: number, text: string): number =>
  task.call(sys_write, fd, task.str(text), text.length);

function read(task: FileTask, fd: number, length: number): string {
  const buffer = task.buffer(length);
  return task.text(buffer, ok(task.call(sys_read, fd, buffer, length)));
}

function statOf(
  task: FileTask,
  fd: number,
): { size: number; blocks: number; mode: number; nlink: number; mtime: number } {
  const buffer = task.buffer(128);
  ok(task.call(sys_newfstat, fd, buffer));
  const found = getStruct(task.cx, stat, buffer, (view) => ({
    size: view.st_size,
    blocks: view.st_blocks,
    mode: view.st_mode,
    nlink: view.st_nlink,
    mtime: view.st_mtime,
  }));
  if (!("size" in found)) throw new Error("stat");
  return found;
}

const lseek = (task: FileTask, fd: number, offset: number, whence: number): number =>
  task.call(sys_lseek, fd, offset, whence);

function map(task: FileTask, fd: number, length: number, flags: number): number {
  const file = task.task.files.get(fd)!;
  const args = { addr: 0, length, prot: PROT.READ | PROT.WRITE, flags, offset: 0 };
  const mapped = do_mmap(task.mm, {
    ...args,
    file: {
      readable: file.canRead,
      writable: file.canWrite,
      appendOnly: false,
      noexec: false,
      mmap: (request) => file.f_op.mmap!(task.cx, file, request),
    },
  });
  if (typeof mapped !== "number") throw new Error(mapped.name);
  return mapped;
}

describe("reading and writing", () => {
  test("what is written is read back, across pages and through vectors", () => {
    for (const layout of LAYOUTS) {
      const task = setup(layout);
      const fd = task.open("/f", O.RDWR | O.CREAT);
      const text = Array.from({ length: 10_000 }, (_, i) => String.fromCharCode(97 + (i % 26))).join("");
      expect(write(task, fd, text)).toBe(10_000);
      expect(lseek(task, fd, 4090, SEEK.SET)).toBe(4090);
      expect(read(task, fd, 20)).toBe(text.slice(4090, 4110));
      const [a, b] = [task.buffer(8), task.buffer(8)];
      const vector = task.put(new Uint8Array(BigUint64Array.from([a, 3, b, 8].map(BigInt)).buffer));
      expect(task.kernel.layout.size(iovec)).toBe(16);
      expect(task.call(sys_readv, fd, vector, 2)).toBe(11);
      expect(task.text(a, 3) + task.text(b, 8)).toBe(text.slice(4110, 4121));
      expect(task.call(sys_writev, fd, vector, 2)).toBe(11);
      expect(statOf(task, fd)).toMatchObject({ size: 10_000, blocks: 24, mode: S.IFREG | 0o644, nlink: 1 });
    }
  });

  test("holes read as zeroes and take no pages", () => {
    const task = setup();
    const fd = task.open("/f", O.RDWR | O.CREAT);
    expect(task.call(sys_pwrite64, fd, task.str("end"), 3, 1_000_000)).toBe(3);
    expect(statOf(task, fd)).toMatchObject({ size: 1_000_003, blocks: 8 });
    expect(read(task, fd, 4)).toBe("\0\0\0\0");
    expect(lseek(task, fd, 0, SEEK.DATA)).toBe(Math.floor(1_000_000 / PAGE_SIZE) * PAGE_SIZE);
    expect(lseek(task, fd, 0, SEEK.HOLE)).toBe(0);
    expect(lseek(task, fd, 999_999, SEEK.HOLE)).toBe(1_000_003);
    expect(lseek(task, fd, 1_000_003, SEEK.DATA)).toBe(no(ENXIO));
  });

  test("truncation zeroes what it cuts off", () => {
    const task = setup();
    const fd = task.open("/f", O.RDWR | O.CREAT);
    ok(write(task, fd, "abcdefgh"));
    ok(task.call(sys_ftruncate, fd, 3));
    ok(task.call(sys_ftruncate, fd, 6));
    expect(task.readFile("/f")).toBe("abc\0\0\0");
    expect(task.call(sys_ftruncate, fd, -1)).toBe(no(EINVAL));
    expect(task.call(sys_truncate, task.str("/"), 0)).toBe(no(EISDIR));
    ok(task.call(sys_truncate, task.str("/f"), 0));
    expect(statOf(task, fd)).toMatchObject({ size: 0, blocks: 0 });
  });

  test("O_APPEND writes at the end wherever the position is", () => {
    const task = setup();
    task.writeFile("/f", "12345");
    const fd = task.open("/f", O.RDWR | O.APPEND);
    ok(lseek(task, fd, 1, SEEK.SET));
    expect(write(task, fd, "6")).toBe(1);
    expect(task.call(sys_pwrite64, fd, task.str("7"), 1, 0)).toBe(1);
    expect(task.readFile("/f")).toBe("1234567");
    expect(lseek(task, fd, 0, SEEK.CUR)).toBe(6);
  });

  const errors: readonly [string, (task: FileTask, fd: number) => number, Errno][] = [
    ["a read into memory that is not there", (t, fd) => t.call(sys_read, fd, 0x1000, 4), EFAULT],
    ["a write from memory that is not there", (t, fd) => t.call(sys_write, fd, 0x1000, 4), EFAULT],
    ["a read with a kernel pointer", (t, fd) => t.call(sys_read, fd, 2 ** 40, 4), EFAULT],
    ["a negative pread offset", (t, fd) => t.call(sys_pread64, fd, t.buffer(4), 4, -1), EINVAL],
    ["an unknown whence", (t, fd) => lseek(t, fd, 0, 9), EINVAL],
    ["a seek before the start", (t, fd) => lseek(t, fd, -1, SEEK.SET), EINVAL],
    ["a bad vector", (t, fd) => t.call(sys_readv, fd, 0x1000, 1), EFAULT],
    ["a vector of too many", (t, fd) => t.call(sys_readv, fd, t.buffer(16), 1025), EINVAL],
    [
      "unknown RWF flags",
      (t, fd) => t.call(sys_preadv2, fd, t.put(new Uint8Array(16)), 1, 0, 0, 0x8000),
      EOPNOTSUPP,
    ],
    ["an ioctl that files lack", (t, fd) => t.call(sys_ioctl, fd, 0x5401, 0), { number: 25 } as Errno],
    ["an unknown fallocate mode", (t, fd) => t.call(sys_fallocate, fd, 0x80, 0, 1), EOPNOTSUPP],
    ["fallocate of nothing", (t, fd) => t.call(sys_fallocate, fd, 0, 0, 0), EINVAL],
    ["unknown advice", (t, fd) => t.call(sys_fadvise64_64, fd, 0, 0, 9), EINVAL],
    ["bad sync_file_range flags", (t, fd) => t.call(sys_sync_file_range, fd, 0, 0, 8), EINVAL],
  ];
  test.each(errors)("%s answers Linux's errno", (_name, act, errno) => {
    const task = setup();
    task.writeFile("/f", "some text");
    expect(act(task, task.open("/f", O.RDWR))).toBe(no(errno));
  });

  test("a write that faults half way counts what was written", () => {
    const task = setup();
    const fd = task.open("/f", O.RDWR | O.CREAT);
    const page = task.map(PAGE_SIZE, PROT.READ | PROT.WRITE);
    const mapped = do_munmap(task.mm, page, 0);
    expect(mapped).toBe(EINVAL);
    expect(task.call(sys_write, fd, page, 2 * PAGE_SIZE)).toBeGreaterThanOrEqual(PAGE_SIZE);
    expect(statOf(task, fd).size).toBeGreaterThanOrEqual(PAGE_SIZE);
  });

  test("RLIMIT_FSIZE cuts a write, and then refuses it with SIGXFSZ", () => {
    const task = setup();
    task.task.process.limits[RLIMIT.FSIZE] = { soft: 5, hard: 5 };
    const fd = task.open("/f", O.RDWR | O.CREAT);
    expect(write(task, fd, "12345678")).toBe(5);
    expect(write(task, fd, "9")).toBe(no(EFBIG));
    expect(task.call(sys_ftruncate, fd, 6)).toBe(no(EFBIG));
    expect(task.task.pending.mask).not.toBe(0n);
  });

  test("sendfile and copy_file_range copy between files, with and without offsets", () => {
    const task = setup();
    task.writeFile("/from", "0123456789");
    const from = task.open("/from", O.RDONLY);
    const to = task.open("/to", O.RDWR | O.CREAT);
    const offset = task.put(new Uint8Array(BigUint64Array.from([4n]).buffer));
    expect(task.call(sys_sendfile, to, from, offset, 3)).toBe(3);
    expect(task.read(offset, 1)[0]).toBe(7);
    expect(task.call(sys_sendfile, to, from, 0, 100)).toBe(10);
    expect(task.call(sys_copy_file_range, from, offset, to, 0, 100, 0)).toBe(3);
    expect(task.readFile("/to")).toBe("4560123456789789");
    expect(task.call(sys_copy_file_range, to, 0, to, 0, 5, 1)).toBe(no(EINVAL));
    expect(task.call(sys_sendfile, from, to, 0, 1)).toBe(no(EBADF));
  });

  test("setuid is lost when somebody else writes, and directories cannot be read", () => {
    const task = setup();
    const fd = task.open("/f", O.RDWR | O.CREAT);
    ok(task.call(sys_fchmod, fd, 0o4755));
    ok(write(task, fd, "root keeps it"));
    expect(statOf(task, fd).mode & 0o7777).toBe(0o4755);
    ok(task.call(sys_fchown, fd, 5, 5));
    expect(statOf(task, fd).mode & 0o7777).toBe(0o755);
    const dir = task.open("/", O.RDONLY);
    expect(task.call(sys_read, dir, task.buffer(4), 4)).toBe(no(EISDIR));
    expect(task.call(sys_fsync, dir)).toBe(0);
  });

  test("times are set, kept and omitted", () => {
    const task = setup();
    const fd = task.open("/f", O.RDWR | O.CREAT);
    const times = task.put(new Uint8Array(BigInt64Array.from([1n, 2n, 1234n, 5n]).buffer));
    ok(task.call(sys_utimensat, AT.FDCWD, task.str("/f"), times, 0));
    expect(statOf(task, fd).mtime).toBe(1234);
    const omit = task.put(new Uint8Array(BigInt64Array.from([9n, 0n, 0n, BigInt(UTIME_OMIT)]).buffer));
    ok(task.call(sys_utimensat, fd, 0, omit, 0));
    expect(statOf(task, fd).mtime).toBe(1234);
    const bad = task.put(new Uint8Array(BigInt64Array.from([0n, -1n, 0n, 0n]).buffer));
    expect(task.call(sys_utimensat, AT.FDCWD, task.str("/f"), bad, 0)).toBe(no(EINVAL));
    const out = task.buffer(256);
    ok(task.call(sys_statx, fd, task.str(""), AT.EMPTY_PATH, 0x7ff, out));
    expect(task.read(out, 4)[0]).toBe(0xff);
  });
});

describe("space", () => {
  test("a full file system is ENOSPC, and gives pages back", () => {
    const task = setup();
    ok(task.call(sys_mkdirat, AT.FDCWD, task.str("/m"), 0o755));
    const options = task.str("size=8k,nr_inodes=4");
    ok(task.call(sys_mount, task.str("x"), task.str("/m"), task.str("tmpfs"), 0, options));
    const fd = task.open("/m/a", O.RDWR | O.CREAT);
    expect(write(task, fd, "x".repeat(10_000))).toBe(8192);
    expect(write(task, fd, "y")).toBe(no(ENOSPC));
    expect(task.call(sys_fallocate, fd, 0, 0, 100_000)).toBe(no(ENOSPC));
    ok(task.call(sys_fallocate, fd, 3, 0, 4096));
    expect(write(task, fd, "y")).toBe(1);
    const buffer = task.buffer(120);
    ok(task.call(sys_fstatfs, fd, buffer));
    const words = new BigUint64Array(task.read(buffer, 120).slice().buffer);
    expect([...words.subarray(0, 7)].map(Number)).toEqual([0x01021994, 4096, 2, 0, 0, 4, 2]);
    task.close(task.open("/m/b", O.RDWR | O.CREAT));
    task.close(task.open("/m/c", O.RDWR | O.CREAT));
    expect(task.call(sys_mkdirat, AT.FDCWD, task.str("/m/d"), 0o755)).toBe(no(ENOSPC));
  });
});

describe("directories", () => {
  const names = (task: FileTask, fd: number, size: number): string[] => {
    const buffer = task.buffer(size);
    const got = ok(task.call(sys_getdents64, fd, buffer, size));
    const bytes = task.read(buffer, got);
    const found: string[] = [];
    for (let at = 0; at < got; at += bytes[at + 16]! | (bytes[at + 17]! << 8))
      found.push(String.fromCharCode(...bytes.subarray(at + 19, bytes.indexOf(0, at + 19))));
    return found;
  };

  test("entries keep their place while others come and go", () => {
    const task = setup();
    ok(task.call(sys_mkdirat, AT.FDCWD, task.str("/d"), 0o755));
    for (let i = 0; i < 9; i++) task.writeFile(`/d/f${i}`, "");
    const fd = task.open("/d", O.RDONLY);
    expect(names(task, fd, 120)).toEqual([".", "..", "f0", "f1", "f2"]);
    for (const gone of ["f0", "f2", "f4"]) ok(task.call(sys_unlinkat, AT.FDCWD, task.str(`/d/${gone}`), 0));
    task.writeFile("/d/new", "");
    expect([...names(task, fd, 72), ...names(task, fd, 1024)]).toEqual(["f3", "f5", "f6", "f7", "f8"]);
    expect(names(task, fd, 1024)).toEqual([]);
    ok(lseek(task, fd, 0, SEEK.SET));
    expect(names(task, fd, 1024)).toEqual([".", "..", "f1", "f3", "f5", "f6", "f7", "f8", "new"]);
    expect(task.call(sys_getdents64, fd, task.buffer(8), 8)).toBe(0);
    ok(lseek(task, fd, 0, SEEK.SET));
    expect(task.call(sys_getdents64, fd, task.buffer(8), 8)).toBe(no(EINVAL));
    expect(task.call(sys_getdents64, fd, 0x1000, 512)).toBe(no(EFAULT));
  });

  test("hard links share an inode, and count", () => {
    const task = setup();
    task.writeFile("/a", "one");
    ok(task.call(sys_linkat, AT.FDCWD, task.str("/a"), AT.FDCWD, task.str("/b"), 0));
    const fd = task.open("/b", O.RDWR);
    expect(statOf(task, fd).nlink).toBe(2);
    ok(task.call(sys_unlinkat, AT.FDCWD, task.str("/a"), 0));
    expect(statOf(task, fd).nlink).toBe(1);
    ok(task.call(sys_unlinkat, AT.FDCWD, task.str("/b"), 0));
    expect([statOf(task, fd).nlink, read(task, fd, 8)]).toEqual([0, "one"]);
    expect(d_path(task.cx, task.task.files.get(fd)!.path)).toBe("/b (deleted)");
  });

  test("an unnamed file gets a name by linkat, unless it was opened with O_EXCL", () => {
    const task = setup();
    const named = (flags: number): number => {
      const fd = task.open("/", O.TMPFILE | O.RDWR | flags);
      ok(write(task, fd, "t"));
      return task.call(sys_linkat, fd, task.str(""), AT.FDCWD, task.str("/named"), AT.EMPTY_PATH);
    };
    expect(named(O.EXCL)).toBe(-2);
    expect(named(0)).toBe(0);
    expect(task.readFile("/named")).toBe("t");
  });

  test("a rename over an open file keeps the old contents readable", () => {
    const task = setup();
    task.writeFile("/old", "old");
    task.writeFile("/new", "new");
    const fd = task.open("/old", O.RDONLY);
    ok(task.call(sys_renameat2, AT.FDCWD, task.str("/new"), AT.FDCWD, task.str("/old"), 0));
    expect([read(task, fd, 8), task.readFile("/old")]).toEqual(["old", "new"]);
    expect(d_path(task.cx, task.task.files.get(fd)!.path)).toBe("/old (deleted)");
  });
});

describe("mappings", () => {
  test("a shared mapping is the file's own bytes, and truncation takes them away", () => {
    const task = setup();
    const fd = task.open("/f", O.RDWR | O.CREAT);
    ok(write(task, fd, "hello"));
    const at = map(task, fd, PAGE_SIZE, MAP.SHARED);
    expect(task.text(at, 5)).toBe("hello");
    ok(task.call(sys_pwrite64, fd, task.str("J"), 1, 0));
    expect(task.text(at, 5)).toBe("Jello");
    ok(task.call(sys_read, fd, at + 8, 0));
    ok(task.call(sys_pread64, fd, at + 1, 2, 3));
    expect(task.readFile("/f")).toBe("Jlolo");
    task.close(fd);
    ok(task.call(sys_unlinkat, AT.FDCWD, task.str("/f"), 0));
    expect(task.mm.vmas.containing(at)!.mappable!.name).toBe("/f (deleted)");
    expect(task.text(at, 5)).toBe("Jlolo");
  });

  test("pages beyond the end of the file are not there", () => {
    const task = setup();
    const fd = task.open("/f", O.RDWR | O.CREAT);
    ok(task.call(sys_ftruncate, fd, 2 * PAGE_SIZE));
    const at = map(task, fd, 2 * PAGE_SIZE, MAP.SHARED);
    ok(task.call(sys_write, fd, at + PAGE_SIZE, 1));
    ok(task.call(sys_ftruncate, fd, PAGE_SIZE));
    expect(task.call(sys_pwrite64, fd, at + PAGE_SIZE, 1, 0)).toBe(no(EFAULT));
  });

  test("memory returns to the baseline when mapping and file are gone", () => {
    const task = setup();
    const before = task.kernel.kmalloc.snapshot();
    const fd = task.open("/f", O.RDWR | O.CREAT);
    ok(write(task, fd, "x".repeat(3 * PAGE_SIZE)));
    const at = map(task, fd, 3 * PAGE_SIZE, MAP.SHARED);
    expect(task.text(at, 1)).toBe("x");
    task.close(fd);
    ok(task.call(sys_unlinkat, AT.FDCWD, task.str("/f"), 0));
    expect(do_munmap(task.mm, at, 3 * PAGE_SIZE)).toBe(0);
    const changed = difference(before, task.kernel.kmalloc.snapshot());
    changed.delete("pgtable");
    expect(changed).toEqual(new Map());
  });
});

describe("extended attributes and seals", () => {
  test("attributes are set, replaced, listed and removed", () => {
    const task = setup();
    const fd = task.open("/f", O.RDWR | O.CREAT);
    const set = (name: string, value: string, flags = 0): number =>
      task.call(sys_fsetxattr, fd, task.str(name), task.str(value), value.length, flags);
    const buffer = task.buffer(64);
    expect(set("user.colour", "red")).toBe(0);
    expect(set("user.colour", "red", 1)).toBe(no(EEXIST));
    expect(set("user.size", "big", 2)).toBe(no(ENODATA));
    expect(set("user.", "x")).toBe(no(EOPNOTSUPP));
    expect(set("other.x", "x")).toBe(no(EOPNOTSUPP));
    expect(set("", "x")).toBe(no(ERANGE));
    expect(task.call(sys_fgetxattr, fd, task.str("user.colour"), buffer, 64)).toBe(3);
    expect(task.call(sys_fgetxattr, fd, task.str("user.colour"), buffer, 2)).toBe(no(ERANGE));
    expect(task.call(sys_fgetxattr, fd, task.str("user.colour"), buffer, 0)).toBe(3);
    expect(task.call(sys_fgetxattr, fd, task.str("user.none"), buffer, 64)).toBe(no(ENODATA));
    ok(set("trusted.t", "1"));
    expect(task.text(buffer, ok(task.call(sys_flistxattr, fd, buffer, 64)))).toBe("user.colour\0trusted.t\0");
    expect(task.call(sys_fremovexattr, fd, task.str("user.colour"))).toBe(0);
    expect(task.call(sys_fremovexattr, fd, task.str("user.colour"))).toBe(no(ENODATA));
  });

  test("a sealed memfd refuses what its seals forbid", () => {
    const task = setup();
    const fd = ok(task.call(sys_memfd_create, task.str("box"), MFD.ALLOW_SEALING));
    expect(d_path(task.cx, task.task.files.get(fd)!.path)).toBe("/memfd:box (deleted)");
    ok(write(task, fd, "12345678"));
    const at = map(task, fd, PAGE_SIZE, MAP.SHARED);
    expect(task.call(sys_fcntl, fd, 1033, F_SEAL.WRITE)).toBe(no(EBUSY));
    expect(do_munmap(task.mm, at, PAGE_SIZE)).toBe(0);
    ok(task.call(sys_fcntl, fd, 1033, F_SEAL.SHRINK | F_SEAL.GROW));
    expect(task.call(sys_ftruncate, fd, 4)).toBe(no(EPERM));
    expect(task.call(sys_ftruncate, fd, 40)).toBe(no(EPERM));
    expect(write(task, fd, "9")).toBe(no(EPERM));
    ok(task.call(sys_fcntl, fd, 1033, F_SEAL.WRITE | F_SEAL.SEAL));
    expect(task.call(sys_pwrite64, fd, task.str("x"), 1, 0)).toBe(no(EPERM));
    expect(task.call(sys_fcntl, fd, 1034, 0)).toBe(F_SEAL.SHRINK | F_SEAL.GROW | F_SEAL.WRITE | F_SEAL.SEAL);
    expect(task.call(sys_fcntl, fd, 1033, F_SEAL.SEAL)).toBe(no(EPERM));
    const plain = ok(task.call(sys_memfd_create, task.str("p"), MFD.CLOEXEC));
    expect(task.call(sys_fcntl, plain, 1033, F_SEAL.WRITE)).toBe(no(EPERM));
    expect(task.call(sys_memfd_create, task.str("n".repeat(250)), 0)).toBe(no(EINVAL));
    expect(task.call(sys_lseek, plain, 0, SEEK.CUR)).not.toBe(no(ESPIPE));
  });
});
