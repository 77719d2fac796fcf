import { AT, EINVAL, ELOOP, ENXIO, type Errno, isErr, MNT_EXPIRE, EAGAIN, MS, O } from "@alien-ts/abi";
import { describe, expect, test } from "vitest";
import { fileKernel, fileTask, type FileTask, ok } from "../file-testing.ts";
import { difference } from "../mm/allocation-faults.ts";
import { sys_chdir, sys_chroot, sys_getcwd, sys_mkdirat } from "../syscalls/directories.ts";
import { sys_mount, sys_pivot_root, sys_umount } from "../syscalls/mount.ts";
import { anon_inode_getfile } from "./anon-inodes.ts";
import { dentry_open } from "./open.ts";
import { d_path } from "./d-path.ts";
import { type FileOperations, fput } from "./file.ts";
import { showMountInfo, showMounts } from "./namespace.ts";

const no = (errno: Errno): number => -errno.number;
const mkdir = (task: FileTask, path: string): number =>
  ok(task.call(sys_mkdirat, AT.FDCWD, task.str(path), 0o755));
const mount = (task: FileTask, source: string, target: string, type: string, flags = 0): number =>
  task.call(sys_mount, task.str(source), task.str(target), task.str(type), flags, 0);

/** /a is a tmpfs with a directory b, on which lies another. */
function twoMounts(): FileTask {
  const task = fileTask(fileKernel());
  for (const path of ["/a", "/to"]) mkdir(task, path);
  ok(mount(task, "outer", "/a", "tmpfs"));
  mkdir(task, "/a/b");
  ok(mount(task, "inner", "/a/b", "tmpfs"));
  task.writeFile("/a/b/deep", "deep");
  return task;
}

const mounted = (task: FileTask): string[] =>
  showMounts(task.cx)
    .trimEnd()
    .split("\n")
    .map((line) => line.split(" ").slice(0, 2).join(" "));

describe("the tree of mounts", () => {
  test("a recursive bind copies what is mounted below, a plain one does not", () => {
    const task = twoMounts();
    ok(mount(task, "/a", "/to", "", MS.BIND));
    expect(() => task.readFile("/to/b/deep")).toThrow("errno 2");
    ok(task.call(sys_umount, task.str("/to"), 0));
    ok(mount(task, "/a", "/to", "", MS.BIND | MS.REC));
    expect(task.readFile("/to/b/deep")).toBe("deep");
    expect(mounted(task)).toEqual(["rootfs /", "outer /a", "inner /a/b", "outer /to", "inner /to/b"]);
    expect(showMountInfo(task.cx)).toMatch(/^(\d+) \1 0:\d+ \/ \/ rw,relatime - tmpfs rootfs rw/);
  });

  test("a moved mount takes what is below with it, and cannot go below itself", () => {
    const task = twoMounts();
    ok(mount(task, "/a", "/to", "", MS.MOVE));
    expect(task.readFile("/to/b/deep")).toBe("deep");
    expect(mounted(task)).toEqual(["rootfs /", "outer /to", "inner /to/b"]);
    expect(mount(task, "/to", "/to/b", "", MS.MOVE)).toBe(no(ELOOP));
    expect(mount(task, "/a", "/to", "", MS.MOVE)).toBe(no(EINVAL));
  });

  test(".. goes through mount points, and an expiring mount needs two calls", () => {
    const task = twoMounts();
    ok(task.call(sys_chdir, task.str("/a/b")));
    expect(task.readFile("../../a/b/deep")).toBe("deep");
    ok(task.call(sys_chdir, task.str("../..")));
    expect(task.call(sys_umount, task.str("/a/b"), MNT_EXPIRE)).toBe(no(EAGAIN));
    expect(task.call(sys_umount, task.str("/a/b"), MNT_EXPIRE)).toBe(0);
  });

  test("pivot_root makes a mount the root, and puts the old one below", () => {
    const task = twoMounts();
    mkdir(task, "/to/x");
    expect(task.call(sys_pivot_root, task.str("/a"), task.str("/a/b"))).toBe(no(EINVAL));
    ok(task.call(sys_chroot, task.str("/a")));
    ok(task.call(sys_chdir, task.str("/")));
    mkdir(task, "/b/new");
    ok(mount(task, "third", "/b/new", "tmpfs"));
    mkdir(task, "/b/new/old");
    ok(task.call(sys_pivot_root, task.str("/b/new"), task.str("/b/new/old")));
    expect(task.readFile("/old/b/deep")).toBe("deep");
    const buffer = task.buffer(64);
    expect(task.text(buffer, ok(task.call(sys_getcwd, buffer, 64)) - 1)).toBe("/");
  });
});

describe("anonymous files", () => {
  test("are named after their kind, released once, and leave nothing", () => {
    const { cx, kernel } = fileTask(fileKernel());
    const before = kernel.kmalloc.snapshot();
    const released: unknown[] = [];
    const operations: FileOperations = {
      name: "test_fops",
      release: (_cx, _inode, gone) => void released.push(gone.private_data),
    };
    const file = anon_inode_getfile(cx, "[test]", operations, "state", O.RDWR);
    if (isErr(file)) throw new Error(file.name);
    expect(d_path(cx, file.path)).toBe("anon_inode:[test]");
    expect(dentry_open(cx, file.path, O.RDWR)).toBe(ENXIO);
    expect(released).toEqual([]);
    fput(cx, file);
    expect(released).toEqual(["state"]);
    expect(difference(before, kernel.kmalloc.snapshot())).toEqual(new Map());
  });
});
