import {
  AT,
  E2BIG,
  EACCES,
  EBADF,
  EBUSY,
  EEXIST,
  EFAULT,
  EINVAL,
  EISDIR,
  ELOOP,
  EMFILE,
  ENAMETOOLONG,
  ENFILE,
  ENODEV,
  ENOENT,
  ENOTDIR,
  ENOTEMPTY,
  ENXIO,
  EPERM,
  EROFS,
  EXDEV,
  type Errno,
  Layout,
  MNT_DETACH,
  MS,
  O,
  RENAME_EXCHANGE,
  RENAME_NOREPLACE,
  S,
} from "@alien-ts/abi";
import { describe, expect, test } from "vitest";
import { difference } from "../mm/allocation-faults.ts";
import {
  sys_chdir,
  sys_chroot,
  sys_getcwd,
  sys_getdents64,
  sys_mkdirat,
  sys_mknodat,
  sys_umask,
  sys_unlinkat,
} from "../syscalls/directories.ts";
import { sys_dup, sys_dup3, sys_fcntl } from "../syscalls/fd.ts";
import { sys_linkat, sys_readlinkat, sys_renameat2, sys_symlinkat } from "../syscalls/links.ts";
import { sys_mount, sys_umount } from "../syscalls/mount.ts";
import { sys_close, sys_openat, sys_openat2 } from "../syscalls/open.ts";
import { sys_read, sys_write } from "../syscalls/read-write.ts";
import { sys_faccessat, sys_fchmodat, sys_fchownat } from "../syscalls/stat.ts";
import { fileKernel, fileTask, type FileTask, ok } from "../file-testing.ts";
import { commitCreds, prepareCreds } from "../task/create.ts";
import { showMounts } from "./namespace.ts";
import { RESOLVE } from "./open.ts";

const LAYOUTS = [Layout.natural(), Layout.shuffled(7), Layout.shuffled(8)] as const;

const setup = (layout?: Layout): FileTask => fileTask(fileKernel({ layout: layout ?? Layout.natural() }));

/** Drops root's powers. */
function become(task: FileTask, uid: number): void {
  const made = prepareCreds(task.kernel, task.task.cred);
  if (!("t" in made)) throw new Error("no memory");
  for (const id of [
    made.t.uid,
    made.t.euid,
    made.t.suid,
    made.t.fsuid,
    made.t.gid,
    made.t.egid,
    made.t.fsgid,
  ])
    id.val = uid;
  made.t.cap_effective.val = 0n;
  made.t.cap_permitted.val = 0n;
  commitCreds(task.task, made);
}

const mkdir = (task: FileTask, path: string, mode = 0o755): number =>
  task.call(sys_mkdirat, AT.FDCWD, task.str(path), mode);
const symlink = (task: FileTask, target: string, path: string): number =>
  task.call(sys_symlinkat, task.str(target), AT.FDCWD, task.str(path));
const rename = (task: FileTask, from: string, to: string, flags = 0): number =>
  task.call(sys_renameat2, AT.FDCWD, task.str(from), AT.FDCWD, task.str(to), flags);
const unlink = (task: FileTask, path: string, flags = 0): number =>
  task.call(sys_unlinkat, AT.FDCWD, task.str(path), flags);
const openAt = (task: FileTask, path: string, flags: number, mode = 0o644): number =>
  task.call(sys_openat, AT.FDCWD, task.str(path), flags, mode);
const no = (errno: Errno): number => -errno.number;

function readlink(task: FileTask, path: string): string {
  const buffer = task.buffer(256);
  return task.text(buffer, ok(task.call(sys_readlinkat, AT.FDCWD, task.str(path), buffer, 256)));
}

function cwd(task: FileTask): string {
  const buffer = task.buffer(256);
  return task.text(buffer, ok(task.call(sys_getcwd, buffer, 256)) - 1);
}

function list(task: FileTask, path: string): string[] {
  const fd = task.open(path, O.RDONLY | O.DIRECTORY);
  const buffer = task.buffer(512);
  const names: string[] = [];
  for (;;) {
    const got = ok(task.call(sys_getdents64, fd, buffer, 512));
    if (got === 0) break;
    const bytes = task.read(buffer, got);
    for (let at = 0; at < got;) {
      const length = bytes[at + 16]! | (bytes[at + 17]! << 8);
      const name = bytes.subarray(at + 19, bytes.indexOf(0, at + 19));
      names.push(String.fromCharCode(...name));
      at += length;
    }
  }
  task.close(fd);
  return names.filter((name) => name !== "." && name !== "..");
}

/** A tree that the error tests share. */
function withTree(layout?: Layout): FileTask {
  const task = setup(layout);
  ok(mkdir(task, "/dir"));
  ok(mkdir(task, "/dir/sub"));
  task.writeFile("/file", "contents");
  task.writeFile("/secret", "s");
  ok(task.call(sys_fchmodat, AT.FDCWD, task.str("/secret"), 0o600));
  ok(symlink(task, "/file", "/link"));
  ok(symlink(task, "dir", "/dirlink"));
  ok(symlink(task, "loop2", "/loop1"));
  ok(symlink(task, "loop1", "/loop2"));
  ok(symlink(task, "/made-by-link", "/dangling"));
  ok(task.call(sys_mknodat, AT.FDCWD, task.str("/socket"), S.IFSOCK | 0o666, 0));
  ok(task.call(sys_mknodat, AT.FDCWD, task.str("/device"), S.IFCHR | 0o666, 0xfe01));
  return task;
}

describe("open", () => {
  const cases: readonly [string, number, Errno][] = [
    ["/missing", O.RDONLY, ENOENT],
    ["/missing/file", O.RDWR | O.CREAT, ENOENT],
    ["", O.RDONLY, ENOENT],
    ["/file/below", O.RDONLY, ENOTDIR],
    ["/file/", O.RDONLY, ENOTDIR],
    ["/file", O.RDONLY | O.DIRECTORY, ENOTDIR],
    ["/link/", O.RDONLY, ENOTDIR],
    ["/dir", O.WRONLY, EISDIR],
    ["/dir", O.RDWR, EISDIR],
    ["/dir", O.RDONLY | O.TRUNC, EISDIR],
    ["/dir", O.RDONLY | O.CREAT, EISDIR],
    ["/new/", O.RDWR | O.CREAT, EISDIR],
    ["/file", O.RDWR | O.CREAT | O.EXCL, EEXIST],
    ["/link", O.RDWR | O.CREAT | O.EXCL, EEXIST],
    ["/dangling", O.RDWR | O.CREAT | O.EXCL, EEXIST],
    ["/link", O.RDONLY | O.NOFOLLOW, ELOOP],
    ["/loop1", O.RDONLY, ELOOP],
    ["/loop1", O.RDWR | O.CREAT, ELOOP],
    ["/socket", O.RDONLY, ENXIO],
    ["/device", O.RDONLY, ENXIO],
    [`/${"n".repeat(256)}`, O.RDONLY, ENAMETOOLONG],
    [`/${"n".repeat(256)}`, O.RDWR | O.CREAT, ENAMETOOLONG],
    [`/${"d/".repeat(2050)}`, O.RDONLY, ENAMETOOLONG],
    ["/dir", O.CREAT | O.DIRECTORY, EINVAL],
    ["/dir", O.TMPFILE | O.RDONLY, EINVAL],
    ["/file", O.TMPFILE | O.RDWR, ENOTDIR],
    ["/dir", O.DIRECT, EINVAL],
  ];
  for (const layout of LAYOUTS)
    test(`answers Linux's errno for what cannot be opened (${layout.name})`, () => {
      const task = withTree(layout);
      const got = cases.map(([path, flags]) => openAt(task, path, flags));
      expect(got).toEqual(cases.map(([, , errno]) => no(errno)));
    });

  test("a bad name pointer is EFAULT, and no descriptor is lost", () => {
    const task = withTree();
    expect(task.call(sys_openat, AT.FDCWD, 0, O.RDONLY, 0)).toBe(no(EFAULT));
    expect(task.call(sys_openat, AT.FDCWD, 0x12_3456_7000, O.RDONLY, 0)).toBe(no(EFAULT));
    expect(task.open("/file", O.RDONLY)).toBe(0);
  });

  test("a relative name needs a directory descriptor", () => {
    const task = withTree();
    const file = task.open("/file", O.RDONLY);
    const dir = task.open("/dir", O.RDONLY | O.DIRECTORY);
    expect(task.call(sys_openat, 99, task.str("sub"), O.RDONLY, 0)).toBe(no(EBADF));
    expect(task.call(sys_openat, file, task.str("sub"), O.RDONLY, 0)).toBe(no(ENOTDIR));
    expect(task.call(sys_openat, 99, task.str("/file"), O.RDONLY, 0)).toBe(2);
    expect(task.call(sys_openat, dir, task.str("sub"), O.RDONLY, 0)).toBe(3);
  });

  test("O_CREAT makes the target of a dangling link", () => {
    const task = withTree();
    task.close(task.open("/dangling", O.RDWR | O.CREAT));
    expect(list(task, "/")).toContain("made-by-link");
  });

  test("O_PATH opens what cannot be read, and cannot be read", () => {
    const task = withTree();
    const fd = task.open("/link", O.PATH | O.NOFOLLOW);
    const buffer = task.buffer(64);
    expect(task.call(sys_read, fd, buffer, 1)).toBe(no(EBADF));
    expect(task.call(sys_readlinkat, fd, task.str(""), buffer, 64)).toBe(5);
    expect(task.open("/socket", O.PATH)).toBe(fd + 1);
  });

  test("permissions are those of the owner, the group or others, and root ignores them", () => {
    const task = withTree();
    ok(mkdir(task, "/open", 0o777));
    ok(task.call(sys_fchmodat, AT.FDCWD, task.str("/open"), 0o777));
    ok(mkdir(task, "/closed", 0o700));
    task.writeFile("/closed/inside", "");
    task.close(task.open("/secret", O.RDWR));
    become(task, 1000);
    expect(openAt(task, "/secret", O.RDONLY)).toBe(no(EACCES));
    expect(openAt(task, "/file", O.WRONLY)).toBe(no(EACCES));
    expect(openAt(task, "/file", O.RDONLY | O.TRUNC)).toBe(no(EACCES));
    expect(openAt(task, "/closed/inside", O.RDONLY)).toBe(no(EACCES));
    expect(openAt(task, "/new", O.RDWR | O.CREAT)).toBe(no(EACCES));
    expect(openAt(task, "/file", O.RDONLY | O.NOATIME)).toBe(no(EPERM));
    expect(openAt(task, "/open/mine", O.RDWR | O.CREAT, 0)).toBeGreaterThanOrEqual(0);
    expect(openAt(task, "/open/mine", O.RDWR)).toBe(no(EACCES));
    expect(task.call(sys_faccessat, AT.FDCWD, task.str("/file"), 4)).toBe(0);
    expect(task.call(sys_faccessat, AT.FDCWD, task.str("/file"), 2)).toBe(no(EACCES));
  });

  test("descriptors run out at RLIMIT_NOFILE, and files at the system's limit", () => {
    const task = withTree();
    const opened: number[] = [];
    let fd = openAt(task, "/file", O.RDONLY);
    for (; fd >= 0; fd = openAt(task, "/file", O.RDONLY)) opened.push(fd);
    expect(fd).toBe(no(EMFILE));
    expect(opened).toEqual(Array.from({ length: 1024 }, (_, i) => i));
    expect(task.call(sys_dup, 3)).toBe(no(EMFILE));
    task.close(17);
    expect(task.open("/file", O.RDONLY)).toBe(17);
    for (const each of opened) task.close(each);
    task.kernel.vfs.maxFiles = 0;
    become(task, 1000);
    expect(openAt(task, "/file", O.RDONLY)).toBe(no(ENFILE));
  });

  test("openat2 checks its structure and keeps a walk where it must stay", () => {
    const task = withTree();
    const dir = task.open("/dir", O.PATH);
    const how = (flags: number, mode: number, resolve: number, extra: readonly number[] = []): number =>
      task.put(new Uint8Array(BigUint64Array.from([flags, mode, resolve, ...extra].map(BigInt)).buffer));
    const open2 = (dfd: number, path: string, at: number, size = 24): number =>
      task.call(sys_openat2, dfd, task.str(path), at, size);
    expect(open2(dir, "sub", how(0, 0, 0), 16)).toBe(no(EINVAL));
    expect(open2(dir, "sub", how(0, 0, 0, [1]), 32)).toBe(no(E2BIG));
    expect(open2(dir, "sub", how(0, 0, 0, [0]), 32)).toBeGreaterThanOrEqual(0);
    expect(open2(dir, "sub", how(0, 0o644, 0))).toBe(no(EINVAL));
    expect(open2(dir, "../file", how(0, 0, RESOLVE.BENEATH))).toBe(no(EXDEV));
    expect(open2(dir, "/file", how(0, 0, RESOLVE.BENEATH))).toBe(no(EXDEV));
    expect(open2(dir, "sub/../sub", how(0, 0, RESOLVE.BENEATH))).toBeGreaterThanOrEqual(0);
    expect(open2(dir, "/sub", how(0, 0, RESOLVE.IN_ROOT))).toBeGreaterThanOrEqual(0);
    expect(open2(dir, "../../sub", how(0, 0, RESOLVE.IN_ROOT))).toBeGreaterThanOrEqual(0);
    expect(open2(AT.FDCWD, "/link", how(0, 0, RESOLVE.NO_SYMLINKS))).toBe(no(ELOOP));
    expect(open2(AT.FDCWD, "/dirlink/sub", how(0, 0, RESOLVE.NO_SYMLINKS))).toBe(no(ELOOP));
  });
});

describe("names", () => {
  test("a walk follows links, dots and doubled slashes", () => {
    const task = withTree();
    task.writeFile("/dir/sub/leaf", "leaf");
    for (const path of [
      "/dirlink/sub/leaf",
      "//dir///sub//leaf",
      "/dir/./sub/../sub/leaf",
      "/../../dir/sub/leaf",
    ])
      expect(task.readFile(path)).toBe("leaf");
    ok(task.call(sys_chdir, task.str("/dirlink/sub")));
    expect(cwd(task)).toBe("/dir/sub");
    expect(task.readFile("../sub/leaf")).toBe("leaf");
    expect(task.readFile("leaf")).toBe("leaf");
  });

  test("forty links are followed, and one more is ELOOP", () => {
    const task = setup();
    task.writeFile("/end", "end");
    ok(symlink(task, "/end", "/l0"));
    for (let i = 1; i <= 40; i++) ok(symlink(task, `/l${i - 1}`, `/l${i}`));
    expect(task.readFile("/l39")).toBe("end");
    expect(openAt(task, "/l40", O.RDONLY)).toBe(no(ELOOP));
  });

  const errors: readonly [string, (task: FileTask) => number, Errno][] = [
    ["mkdir of a name that is there", (t) => mkdir(t, "/dir"), EEXIST],
    ["mkdir of the root", (t) => mkdir(t, "/"), EEXIST],
    ["mkdir of a dangling link", (t) => mkdir(t, "/dangling"), EEXIST],
    ["mkdir below a file", (t) => mkdir(t, "/file/x"), ENOTDIR],
    ["rmdir of a full directory", (t) => unlink(t, "/dir", AT.REMOVEDIR), ENOTEMPTY],
    ["rmdir of a file", (t) => unlink(t, "/file", AT.REMOVEDIR), ENOTDIR],
    ["rmdir of .", (t) => unlink(t, "/dir/.", AT.REMOVEDIR), EINVAL],
    ["rmdir of ..", (t) => unlink(t, "/dir/..", AT.REMOVEDIR), ENOTEMPTY],
    ["rmdir of the root", (t) => unlink(t, "/", AT.REMOVEDIR), EBUSY],
    ["unlink of a directory", (t) => unlink(t, "/dir"), EISDIR],
    ["unlink of a file with a slash", (t) => unlink(t, "/file/"), ENOTDIR],
    ["unlink of nothing", (t) => unlink(t, "/nothing"), ENOENT],
    ["unlink with unknown flags", (t) => unlink(t, "/file", 1), EINVAL],
    ["symlink over a name", (t) => symlink(t, "x", "/file"), EEXIST],
    ["symlink to nothing", (t) => symlink(t, "", "/new"), ENOENT],
    [
      "link of a directory",
      (t) => t.call(sys_linkat, AT.FDCWD, t.str("/dir"), AT.FDCWD, t.str("/new"), 0),
      EPERM,
    ],
    [
      "link over a name",
      (t) => t.call(sys_linkat, AT.FDCWD, t.str("/file"), AT.FDCWD, t.str("/link"), 0),
      EEXIST,
    ],
    ["rename of nothing", (t) => rename(t, "/nothing", "/x"), ENOENT],
    ["rename of a directory into itself", (t) => rename(t, "/dir", "/dir/sub/x"), EINVAL],
    ["rename of a directory over a file", (t) => rename(t, "/dir", "/file"), ENOTDIR],
    ["rename of a file over a directory", (t) => rename(t, "/file", "/dir"), EISDIR],
    ["rename over the parent", (t) => rename(t, "/dir/sub", "/dir"), ENOTEMPTY],
    ["rename with NOREPLACE over a name", (t) => rename(t, "/file", "/secret", RENAME_NOREPLACE), EEXIST],
    ["rename with EXCHANGE and nothing", (t) => rename(t, "/file", "/x", RENAME_EXCHANGE), ENOENT],
    ["rename of .", (t) => rename(t, "/dir/.", "/x"), EBUSY],
    ["mknod of a directory", (t) => t.call(sys_mknodat, AT.FDCWD, t.str("/d"), S.IFDIR, 0), EPERM],
    ["mknod of no type", (t) => t.call(sys_mknodat, AT.FDCWD, t.str("/d"), 0xf000, 0), EINVAL],
    ["readlink of a file", (t) => t.call(sys_readlinkat, AT.FDCWD, t.str("/file"), t.buffer(8), 8), EINVAL],
    [
      "readlink without room",
      (t) => t.call(sys_readlinkat, AT.FDCWD, t.str("/link"), t.buffer(8), 0),
      EINVAL,
    ],
    ["chdir to a file", (t) => t.call(sys_chdir, t.str("/file")), ENOTDIR],
  ];
  test.each(errors)("%s answers Linux's errno", (_name, act, errno) => {
    expect(act(withTree())).toBe(no(errno));
  });

  test("a sticky directory protects the files of others", () => {
    const task = setup();
    ok(mkdir(task, "/tmp"));
    ok(task.call(sys_fchmodat, AT.FDCWD, task.str("/tmp"), 0o1777));
    task.writeFile("/tmp/roots", "");
    task.writeFile("/tmp/mine", "");
    ok(task.call(sys_fchownat, AT.FDCWD, task.str("/tmp/mine"), 1000, 1000, 0));
    become(task, 1000);
    expect(unlink(task, "/tmp/roots")).toBe(no(EPERM));
    expect(rename(task, "/tmp/roots", "/tmp/x")).toBe(no(EPERM));
    expect(unlink(task, "/tmp/mine")).toBe(0);
  });

  test("the umask takes bits away, and a setgid directory gives its group", () => {
    const task = setup();
    ok(task.call(sys_umask, 0o077));
    expect(task.call(sys_umask, 0o022)).toBe(0o077);
    ok(mkdir(task, "/shared", 0o777));
    ok(task.call(sys_fchownat, AT.FDCWD, task.str("/shared"), 0, 42, 0));
    ok(task.call(sys_fchmodat, AT.FDCWD, task.str("/shared"), 0o2777));
    ok(mkdir(task, "/shared/sub", 0o777));
    const fd = task.open("/shared/sub", O.RDONLY);
    const { inode } = task.task.files.get(fd)!;
    expect([inode.gid, inode.mode & 0o7777]).toEqual([42, 0o2755]);
  });

  test("exchange swaps a file and a directory", () => {
    const task = withTree();
    ok(rename(task, "/file", "/dir", RENAME_EXCHANGE));
    expect(task.readFile("/dir")).toBe("contents");
    expect(list(task, "/file")).toEqual(["sub"]);
  });

  test("chroot changes what / means, and .. does not leave it", () => {
    const task = withTree();
    task.writeFile("/dir/sub/inside", "in");
    ok(task.call(sys_chroot, task.str("/dir")));
    ok(task.call(sys_chdir, task.str("/")));
    expect(list(task, "/../..")).toEqual(["sub"]);
    expect(task.readFile("../../sub/inside")).toBe("in");
    expect(cwd(task)).toBe("/");
  });

  test("getcwd of a removed directory is ENOENT, and of a short buffer ERANGE", () => {
    const task = withTree();
    ok(task.call(sys_chdir, task.str("/dir/sub")));
    expect(task.call(sys_getcwd, task.buffer(4), 4)).toBe(-34);
    ok(unlink(task, "/dir/sub", AT.REMOVEDIR));
    expect(task.call(sys_getcwd, task.buffer(64), 64)).toBe(no(ENOENT));
    expect(openAt(task, "new", O.RDWR | O.CREAT)).toBe(no(ENOENT));
  });
});

describe("descriptors", () => {
  test("dup3, fcntl and close-on-exec", () => {
    const task = withTree();
    const fd = task.open("/file", O.RDWR | O.CLOEXEC);
    expect(task.call(sys_fcntl, fd, 1, 0)).toBe(1);
    expect(task.call(sys_fcntl, fd, 3, 0)).toBe(O.RDWR | O.LARGEFILE);
    expect(task.call(sys_dup3, fd, fd, 0)).toBe(no(EINVAL));
    expect(task.call(sys_dup3, fd, 1024, 0)).toBe(no(EBADF));
    expect(task.call(sys_dup3, fd, 200, O.CLOEXEC)).toBe(200);
    expect(task.call(sys_fcntl, fd, 0, 100)).toBe(100);
    expect(task.call(sys_fcntl, fd, 1030, 2000)).toBe(no(EINVAL));
    const buffer = task.buffer(8);
    ok(task.call(sys_read, fd, buffer, 3));
    ok(task.call(sys_read, 200, buffer, 3));
    expect(task.text(buffer, 3)).toBe("ten");
    task.task.files.closeOnExec(task.cx);
    expect(task.call(sys_read, fd, buffer, 1)).toBe(no(EBADF));
    expect(task.call(sys_read, 100, buffer, 1)).toBe(1);
  });

  test("fd tables are what a program walks in memory", () => {
    for (const layout of LAYOUTS) {
      const task = withTree(layout);
      const fd = task.open("/file", O.RDWR);
      const { files } = task.task;
      const { u32 } = task.kernel.mem;
      expect(task.task.t.files).toBe(files.addr);
      const file = u32[(files.t.fdtab.fd + fd * 8) >>> 2]!;
      expect(file).toBe(files.get(fd)!.addr);
      expect(files.t.fdt).toBe(files.t.fdtab.addr);
    }
  });

  test("a write to a read-only descriptor is EBADF, and to a closed one too", () => {
    const task = withTree();
    const fd = task.open("/file", O.RDONLY);
    expect(task.call(sys_write, fd, task.str("x"), 1)).toBe(no(EBADF));
    task.close(fd);
    expect(task.call(sys_close, fd)).toBe(no(EBADF));
  });
});

describe("mounts", () => {
  const mount = (
    task: FileTask,
    source: string,
    target: string,
    type: string,
    flags = 0,
    data = "",
  ): number =>
    task.call(sys_mount, task.str(source), task.str(target), task.str(type), flags, task.str(data));
  const umount = (task: FileTask, target: string, flags = 0): number =>
    task.call(sys_umount, task.str(target), flags);

  test("a mount hides what is below it until it is gone", () => {
    const task = withTree();
    ok(mount(task, "none", "/dir", "tmpfs", MS.NOSUID, "size=64k,mode=700"));
    expect(list(task, "/dir")).toEqual([]);
    expect(showMounts(task.cx)).toContain("none /dir tmpfs rw,nosuid,relatime,size=64k,mode=700 0 0\n");
    task.writeFile("/dir/x", "x");
    const fd = task.open("/dir/x", O.RDONLY);
    expect(umount(task, "/dir")).toBe(no(EBUSY));
    expect(unlink(task, "/dir", AT.REMOVEDIR)).toBe(no(EBUSY));
    expect(rename(task, "/dir", "/moved")).toBe(no(EBUSY));
    task.close(fd);
    expect(umount(task, "/dir")).toBe(0);
    expect(list(task, "/dir")).toEqual(["sub"]);
    expect(umount(task, "/dir")).toBe(no(EINVAL));
  });

  test("a lazy unmount keeps open files alive", () => {
    const task = withTree();
    ok(mount(task, "none", "/dir", "tmpfs"));
    task.writeFile("/dir/x", "still");
    const fd = task.open("/dir/x", O.RDONLY);
    ok(umount(task, "/dir", MNT_DETACH));
    const buffer = task.buffer(8);
    expect(task.call(sys_read, fd, buffer, 8)).toBe(5);
    task.close(fd);
    expect(list(task, "/dir")).toEqual(["sub"]);
  });

  test("a bind mount shows the same files, and a read-only one refuses to change them", () => {
    const task = withTree();
    ok(mkdir(task, "/bound"));
    ok(mount(task, "/dir", "/bound", "", MS.BIND));
    ok(mount(task, "", "/bound", "", MS.BIND | MS.REMOUNT | MS.RDONLY));
    task.writeFile("/dir/new", "n");
    expect(task.readFile("/bound/new")).toBe("n");
    expect(openAt(task, "/bound/new", O.RDWR)).toBe(no(EROFS));
    expect(unlink(task, "/bound/new")).toBe(no(EROFS));
    expect(mkdir(task, "/bound/d")).toBe(no(EROFS));
    expect(rename(task, "/bound/new", "/dir/x")).toBe(no(EXDEV));
    expect(list(task, "/bound/..")).toContain("bound");
  });

  const refused: readonly [string, (task: FileTask) => number, Errno][] = [
    ["an unknown type", (t) => mount(t, "none", "/dir", "ext9"), ENODEV],
    ["no type", (t) => mount(t, "none", "/dir", ""), EINVAL],
    ["a missing place", (t) => mount(t, "none", "/nowhere", "tmpfs"), ENOENT],
    ["a file as place", (t) => mount(t, "none", "/file", "tmpfs"), ENOTDIR],
    ["a bad option", (t) => mount(t, "none", "/dir", "tmpfs", 0, "colour=red"), EINVAL],
    ["a bind of nothing", (t) => mount(t, "/nowhere", "/dir", "", MS.BIND), ENOENT],
    ["a bind of a file on a directory", (t) => mount(t, "/file", "/dir", "", MS.BIND), ENOTDIR],
    ["an unmount of no mount", (t) => umount(t, "/dir"), EINVAL],
    ["bad umount flags", (t) => umount(t, "/dir", 64), EINVAL],
  ];
  test.each(refused)("%s is refused", (_name, act, errno) => {
    const task = withTree();
    expect(act(task)).toBe(no(errno));
    become(task, 1000);
    expect([no(errno), no(EPERM)]).toContain(act(task));
  });
});

describe("memory", () => {
  test("everything is given back when names are removed and descriptors closed", () => {
    for (const layout of LAYOUTS) {
      const kernel = fileKernel({ layout });
      const task = fileTask(kernel);
      task.str("warm");
      const before = kernel.kmalloc.snapshot();
      exerciseEverything(task);
      expect(difference(before, kernel.kmalloc.snapshot())).toEqual(new Map());
    }
  });

  test("any allocation may fail, and nothing leaks", () => {
    const kernel = fileKernel();
    const task = fileTask(kernel);
    exerciseEverything(task);
    const before = kernel.kmalloc.snapshot();
    const failures = new Set<string>();
    for (let n = 1; n < 400; n++) {
      const { faults } = kernel.pages;
      faults.failAfter(n);
      try {
        exerciseEverything(task);
      } catch (failure) {
        // A step that failed ends the exercise; what it left is cleaned up below.
        failures.add(String(failure));
      }
      const isDone = faults.armed;
      faults.failAfter(0);
      cleanUp(task);
      expect([n, difference(before, kernel.kmalloc.snapshot())]).toEqual([n, new Map()]);
      if (isDone) break;
    }
    expect([...failures].filter((failure) => failure !== "Error: errno 12")).toEqual([]);
  });

  function exerciseEverything(task: FileTask): void {
    ok(mkdir(task, "/a"));
    ok(mkdir(task, "/a/b"));
    task.writeFile("/a/f", "x".repeat(9000));
    ok(symlink(task, "f", "/a/s"));
    ok(task.call(sys_linkat, AT.FDCWD, task.str("/a/f"), AT.FDCWD, task.str("/a/b/g"), 0));
    ok(rename(task, "/a/s", "/a/b/a-longer-name"));
    ok(rename(task, "/a/b/g", "/a/f2"));
    readlink(task, "/a/b/a-longer-name");
    const missing = openAt(task, "/missing", O.RDONLY);
    if (missing !== no(ENOENT)) ok(missing);
    const tmp = task.open("/a", O.TMPFILE | O.RDWR);
    ok(task.call(sys_write, tmp, task.str("hello"), 5));
    const kept = task.open("/a/f", O.RDWR);
    ok(unlink(task, "/a/f"));
    ok(task.call(sys_mount, task.str("m"), task.str("/a/b"), task.str("tmpfs"), 0, 0));
    task.writeFile("/a/b/inner", "y");
    ok(task.call(sys_umount, task.str("/a/b"), 0));
    task.close(tmp);
    task.close(kept);
    cleanUp(task);
  }

  function cleanUp(task: FileTask): void {
    for (const [fd] of task.task.files.entries()) task.close(fd);
    task.call(sys_umount, task.str("/a/b"), 0);
    for (const path of ["/a/b/a-longer-name", "/a/b/g", "/a/s", "/a/f", "/a/f2"]) unlink(task, path);
    for (const path of ["/a/b", "/a"]) unlink(task, path, AT.REMOVEDIR);
  }
});
