/** Random path operations, in the kernel and in a naive model; both must answer the same, and see the same tree. */
import {
  AT,
  EEXIST,
  EINVAL,
  EISDIR,
  Errno,
  ENOENT,
  ENOTDIR,
  ENOTEMPTY,
  EPERM,
  Layout,
  O,
  RENAME_EXCHANGE,
  RENAME_NOREPLACE,
} from "@alien-ts/abi";
import { expect, test } from "vitest";
import { fileKernel, fileTask, type FileTask } from "../file-testing.ts";
import { difference } from "../mm/allocation-faults.ts";
import { seededRandom } from "../mm/testing.ts";
import { sys_mkdirat, sys_unlinkat } from "../syscalls/directories.ts";
import { sys_linkat, sys_renameat2 } from "../syscalls/links.ts";
import { sys_close, sys_openat } from "../syscalls/open.ts";
import { sys_read, sys_write } from "../syscalls/read-write.ts";

/** A file's contents, or a directory. Hard links share the object. */
type Node = { text: string } | Map<string, Node>;

const isDir = (node: Node | undefined): node is Map<string, Node> => node instanceof Map;

class Model {
  readonly root = new Map<string, Node>();

  /** The parent directory and last name of a path. */
  parent(path: string): { readonly dir: Map<string, Node>; readonly name: string } | Errno {
    const names = path.split("/").slice(1);
    const name = names.pop()!;
    let dir: Node = this.root;
    for (const step of names) {
      const next: Node | undefined = dir.get(step);
      if (next === undefined) return ENOENT;
      if (!isDir(next)) return ENOTDIR;
      dir = next;
    }
    return { dir, name };
  }

  mkdir(path: string): 0 | Errno {
    const at = this.parent(path);
    if (at instanceof Errno) return at;
    if (at.dir.has(at.name)) return EEXIST;
    at.dir.set(at.name, new Map());
    return 0;
  }

  write(path: string, text: string): 0 | Errno {
    const at = this.parent(path);
    if (at instanceof Errno) return at;
    const node = at.dir.get(at.name);
    if (isDir(node)) return EISDIR;
    if (node === undefined) at.dir.set(at.name, { text });
    else node.text = text;
    return 0;
  }

  read(path: string): string | Errno {
    const at = this.parent(path);
    if (at instanceof Errno) return at;
    const node = at.dir.get(at.name);
    if (node === undefined) return ENOENT;
    return isDir(node) ? EISDIR : node.text;
  }

  unlink(path: string): 0 | Errno {
    const at = this.parent(path);
    if (at instanceof Errno) return at;
    const node = at.dir.get(at.name);
    if (node === undefined) return ENOENT;
    if (isDir(node)) return EISDIR;
    at.dir.delete(at.name);
    return 0;
  }

  rmdir(path: string): 0 | Errno {
    const at = this.parent(path);
    if (at instanceof Errno) return at;
    const node = at.dir.get(at.name);
    if (node === undefined) return ENOENT;
    if (!isDir(node)) return ENOTDIR;
    if (node.size > 0) return ENOTEMPTY;
    at.dir.delete(at.name);
    return 0;
  }

  link(from: string, to: string): 0 | Errno {
    const old = this.parent(from);
    if (old instanceof Errno) return old;
    const node = old.dir.get(old.name);
    if (node === undefined) return ENOENT;
    const fresh = this.parent(to);
    if (fresh instanceof Errno) return fresh;
    if (fresh.dir.has(fresh.name)) return EEXIST;
    if (isDir(node)) return EPERM;
    fresh.dir.set(fresh.name, node);
    return 0;
  }

  rename(from: string, to: string, flags: number): 0 | Errno {
    const old = this.parent(from);
    if (old instanceof Errno) return old;
    const fresh = this.parent(to);
    if (fresh instanceof Errno) return fresh;
    const node = old.dir.get(old.name);
    const target = fresh.dir.get(fresh.name);
    if (node === undefined) return ENOENT;
    if ((flags & RENAME_NOREPLACE) !== 0 && target !== undefined) return EEXIST;
    const isExchange = (flags & RENAME_EXCHANGE) !== 0;
    if (isExchange && target === undefined) return ENOENT;
    if (`${to}/`.startsWith(`${from}/`) && to !== from) return EINVAL;
    if (`${from}/`.startsWith(`${to}/`) && to !== from) return isExchange ? EINVAL : ENOTEMPTY;
    if (node === target) return 0;
    if (isExchange) {
      old.dir.set(old.name, target!);
      fresh.dir.set(fresh.name, node);
      return 0;
    }
    if (target !== undefined) {
      if (isDir(node) && !isDir(target)) return ENOTDIR;
      if (!isDir(node) && isDir(target)) return EISDIR;
      if (isDir(target) && target.size > 0) return ENOTEMPTY;
    }
    old.dir.delete(old.name);
    fresh.dir.set(fresh.name, node);
    return 0;
  }
}

class Subject {
  readonly task: FileTask;
  constructor(task: FileTask) {
    this.task = task;
  }
  mkdir(path: string): number {
    return this.task.call(sys_mkdirat, AT.FDCWD, this.task.str(path), 0o755);
  }
  write(path: string, text: string): number {
    const { task } = this;
    const fd = task.call(sys_openat, AT.FDCWD, task.str(path), O.WRONLY | O.CREAT | O.TRUNC, 0o644);
    if (fd < 0) return fd;
    task.call(sys_write, fd, task.str(text), text.length);
    return task.call(sys_close, fd);
  }
  read(path: string): string | number {
    const { task } = this;
    const fd = task.call(sys_openat, AT.FDCWD, task.str(path), O.RDONLY, 0);
    if (fd < 0) return fd;
    const buffer = task.buffer(64);
    const got = task.call(sys_read, fd, buffer, 64);
    task.call(sys_close, fd);
    return got < 0 ? got : task.text(buffer, got);
  }
  remove(path: string, flags: number): number {
    return this.task.call(sys_unlinkat, AT.FDCWD, this.task.str(path), flags);
  }
  link(from: string, to: string): number {
    return this.task.call(sys_linkat, AT.FDCWD, this.task.str(from), AT.FDCWD, this.task.str(to), 0);
  }
  rename(from: string, to: string, flags: number): number {
    return this.task.call(sys_renameat2, AT.FDCWD, this.task.str(from), AT.FDCWD, this.task.str(to), flags);
  }
}

const asNumber = (result: string | number | Errno): string | number =>
  result instanceof Errno ? -result.number : result;

/** One random operation on both. */
function step(random: (below: number) => number, model: Model, subject: Subject): [string, unknown, unknown] {
  const path = (): string => `/${Array.from({ length: 1 + random(3) }, () => "abc"[random(3)]!).join("/")}`;
  const [p, q] = [path(), path()];
  switch (random(8)) {
    case 0:
    case 1:
      return [`mkdir ${p}`, asNumber(model.mkdir(p)), subject.mkdir(p)];
    case 2: {
      const text = `${p}${random(100)}`;
      return [`write ${p}`, asNumber(model.write(p, text)), subject.write(p, text)];
    }
    case 3:
      return [`read ${p}`, asNumber(model.read(p)), subject.read(p)];
    case 4:
      return [`unlink ${p}`, asNumber(model.unlink(p)), subject.remove(p, 0)];
    case 5:
      return [`rmdir ${p}`, asNumber(model.rmdir(p)), subject.remove(p, AT.REMOVEDIR)];
    case 6:
      return [`link ${p} ${q}`, asNumber(model.link(p, q)), subject.link(p, q)];
    default: {
      const flags = [0, 0, RENAME_NOREPLACE, RENAME_EXCHANGE][random(4)]!;
      return [`rename ${p} ${q} ${flags}`, asNumber(model.rename(p, q, flags)), subject.rename(p, q, flags)];
    }
  }
}

function removeAll(subject: Subject, dir: Map<string, Node>, at: string): void {
  for (const [name, node] of dir) {
    if (isDir(node)) removeAll(subject, node, `${at}/${name}`);
    expect(subject.remove(`${at}/${name}`, isDir(node) ? AT.REMOVEDIR : 0)).toBe(0);
  }
}

const STEPS = 1500;

for (const seed of [1, 2, 3])
  test(`random names behave as a naive tree does, and leave nothing behind (seed ${seed})`, () => {
    const layout = seed === 1 ? Layout.natural() : Layout.shuffled(seed);
    const subject = new Subject(fileTask(fileKernel({ layout })));
    const { kmalloc } = subject.task.kernel;
    const before = kmalloc.snapshot();
    const model = new Model();
    const random = seededRandom(seed);
    for (let i = 0; i < STEPS; i++) {
      const [what, expected, got] = step(random, model, subject);
      expect([i, what, got]).toEqual([i, what, expected]);
    }
    removeAll(subject, model.root, "");
    expect(difference(before, kmalloc.snapshot())).toEqual(new Map());
  });
