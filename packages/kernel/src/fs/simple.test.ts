import { AT, DT, EACCES, EINVAL, EIO, ENOENT, EPERM, type Errno, FS_MAGIC, O, SEEK } from "@alien-ts/abi";
import { describe, expect, test } from "vitest";
import { fileKernel, fileTask, type FileTask, ok } from "../file-testing.ts";
import { difference } from "../mm/allocation-faults.ts";
import { sys_getdents64, sys_mkdirat } from "../syscalls/directories.ts";
import { sys_readlinkat } from "../syscalls/links.ts";
import { sys_lseek, sys_pread64, sys_read, sys_write } from "../syscalls/read-write.ts";
import { sys_fchmodat, sys_newfstatat } from "../syscalls/stat.ts";
import { mountAtBoot } from "../vfs/namespace.ts";
import { register_filesystem } from "../vfs/vfs.ts";
import { dir, dynamicDir, file, type SimpleNode, simpleFileSystem, symlink } from "./simple.ts";

const no = (errno: Errno): number => -errno.number;

interface World {
  readonly task: FileTask;
  readonly alive: Set<string>;
  readonly written: string[];
  reads: number;
}

function setup(): World {
  const kernel = fileKernel();
  const task = fileTask(kernel);
  const world: World = { task, alive: new Set(["7"]), written: [], reads: 0 };
  const process = (pid: string): SimpleNode =>
    dir(
      { name: file(() => (world.alive.has(pid) ? `process ${pid}\n` : EIO)) },
      { isValid: () => world.alive.has(pid) },
    );
  const root = dynamicDir(
    {
      lookup: (_cx, name) => (world.alive.has(name) ? process(name) : null),
      list: () => [...world.alive].map((name) => ({ name, type: DT.DIR })),
    },
    {
      counter: file(() => `read ${++world.reads} ${"x".repeat(20)}\n`),
      knob: file(() => "0\n", {
        mode: 0o644,
        write: (_cx, text) => {
          if (text === "bad\n") return EINVAL;
          world.written.push(text);
          return 0;
        },
      }),
      failing: file(() => EIO),
      self: symlink(() => "7"),
    },
  );
  root.at("bus/event_source/devices").add(
    "type",
    file(() => "6\n"),
  );
  register_filesystem(kernel, simpleFileSystem({ name: "pseudo", magic: FS_MAGIC.PROC, root }));
  ok(task.call(sys_mkdirat, AT.FDCWD, task.str("/p"), 0o755));
  mountAtBoot(kernel.bootCx, "pseudo", "/p");
  return world;
}

function names(task: FileTask, path: string): string[] {
  const fd = task.open(path, O.RDONLY);
  const buffer = task.buffer(1024);
  const got = ok(task.call(sys_getdents64, fd, buffer, 1024));
  const bytes = task.read(buffer, got);
  const found: string[] = [];
  for (let at = 0; at < got; at += bytes[at + 16]! | (bytes[at + 17]! << 8))
    found.push(String.fromCharCode(...bytes.subarray(at + 19, bytes.indexOf(0, at + 19))));
  task.close(fd);
  return found;
}

describe("a file made of a function", () => {
  test("shows one content to reads in parts, and a new one from the start", () => {
    const { task } = setup();
    const fd = task.open("/p/counter", O.RDONLY);
    const buffer = task.buffer(64);
    const read = (n: number): string => task.text(buffer, ok(task.call(sys_read, fd, buffer, n)));
    expect([read(4), read(4), read(64), read(64)]).toEqual(["read", " 1 x", `${"x".repeat(19)}\n`, ""]);
    expect(task.call(sys_lseek, fd, 0, SEEK.SET)).toBe(0);
    expect(read(6)).toBe("read 2");
    expect(task.text(buffer, ok(task.call(sys_pread64, fd, buffer, 4, 5)))).toBe("2 xx");
    expect(task.call(sys_lseek, fd, 0, SEEK.END)).toBe(no(EINVAL));
    expect(task.readFile("/p/counter")).toMatch(/^read 3 x+\n$/);
  });

  test("hands one write over at a time, and passes errors on", () => {
    const world = setup();
    const { task } = world;
    const fd = task.open("/p/knob", O.WRONLY | O.TRUNC);
    expect(task.call(sys_write, fd, task.str("1\n"), 2)).toBe(2);
    expect(task.call(sys_write, fd, task.str("bad\n"), 4)).toBe(no(EINVAL));
    expect(world.written).toEqual(["1\n"]);
    const failing = task.open("/p/failing", O.RDONLY);
    expect(task.call(sys_read, failing, task.buffer(8), 8)).toBe(no(EIO));
  });

  test("cannot be written without a write function, nor anything created", () => {
    const { task } = setup();
    expect(() => task.open("/p/counter", O.RDWR)).toThrow(`errno ${EACCES.number}`);
    expect(() => task.open("/p/new", O.RDWR | O.CREAT)).toThrow(`errno ${EACCES.number}`);
    expect(task.call(sys_mkdirat, AT.FDCWD, task.str("/p/d"), 0o755)).toBe(no(EPERM));
  });
});

describe("a tree of nodes", () => {
  test("lists fixed and dynamic entries, and follows links into them", () => {
    const { task } = setup();
    expect(names(task, "/p")).toEqual([".", "..", "counter", "knob", "failing", "self", "bus", "7"]);
    expect(task.readFile("/p/self/name")).toBe("process 7\n");
    expect(task.readFile("/p/bus/event_source/devices/type")).toBe("6\n");
    const buffer = task.buffer(8);
    expect(task.text(buffer, ok(task.call(sys_readlinkat, AT.FDCWD, task.str("/p/self"), buffer, 8)))).toBe(
      "7",
    );
  });

  test("forgets a name whose object is gone, though someone holds it", () => {
    const world = setup();
    const { task } = world;
    const held = task.open("/p/7/name", O.RDONLY);
    world.alive.delete("7");
    expect(() => task.open("/p/7", O.RDONLY)).toThrow(`errno ${ENOENT.number}`);
    expect(task.call(sys_read, held, task.buffer(8), 8)).toBe(no(EIO));
    world.alive.add("7");
    expect(task.readFile("/p/7/name")).toBe("process 7\n");
  });

  test("keeps changed modes and stable inode numbers, and no memory", () => {
    const { task } = setup();
    const inoOf = (): number[] => {
      const at = task.buffer(128);
      ok(task.call(sys_newfstatat, AT.FDCWD, task.str("/p/knob"), at, 0));
      const words = new Uint32Array(task.read(at, 24).slice().buffer);
      return [words[2]!, words[4]! & 0o777];
    };
    const before = task.kernel.kmalloc.snapshot();
    const [ino] = inoOf();
    ok(task.call(sys_fchmodat, AT.FDCWD, task.str("/p/knob"), 0o600));
    expect(inoOf()).toEqual([ino, 0o600]);
    expect(difference(before, task.kernel.kmalloc.snapshot())).toEqual(new Map());
  });
});
