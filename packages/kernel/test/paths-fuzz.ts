/**
 * The random suite of paths: sequences of mkdir, write, read, unlink, rmdir, link and rename, in the kernel and in a naive tree;
 * both must answer the same, see the same tree, and leave nothing behind.
 */
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
import { type Prng, type Reach, subjectSuite } from "@alien-ts/testkit";
import { fileKernel, fileTask, type FileTask } from "../src/file-testing.ts";
import { difference } from "../src/mm/allocation-faults.ts";
import { sys_mkdirat, sys_unlinkat } from "../src/syscalls/directories.ts";
import { sys_linkat, sys_renameat2 } from "../src/syscalls/links.ts";
import { sys_close, sys_openat } from "../src/syscalls/open.ts";
import { sys_read, sys_write } from "../src/syscalls/read-write.ts";

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
  protected readonly openFlags: number = O.WRONLY | O.CREAT | O.TRUNC;
  readonly task: FileTask;
  constructor(task: FileTask) {
    this.task = task;
  }
  mkdir(path: string): number {
    return this.task.call(sys_mkdirat, AT.FDCWD, this.task.str(path), 0o755);
  }
  write(path: string, text: string): number {
    const { task } = this;
    const fd = task.call(sys_openat, AT.FDCWD, task.str(path), this.openFlags, 0o644);
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

/** A short text leaves the end of a longer one. */
class KeepsOldText extends Subject {
  protected override readonly openFlags = O.WRONLY | O.CREAT;
}

/** A second name is a file of its own. */
class CopiesForLinks extends Subject {
  override link(from: string, to: string): number {
    const text = this.read(from);
    if (typeof text !== "string" || this.read(to) !== -ENOENT.number) return super.link(from, to);
    return this.write(to, text);
  }
}

class LeaksNames extends Subject {
  override remove(path: string, flags: number): number {
    const result = super.remove(path, flags);
    if (result === 0) this.task.kernel.kmalloc.kmalloc(32, "leak");
    return result;
  }
}

type MakeSubject = (task: FileTask) => Subject;

const BUGS: Readonly<Record<string, MakeSubject>> = {
  "O_TRUNC does nothing": (task) => new KeepsOldText(task),
  "links are copies": (task) => new CopiesForLinks(task),
  "removed names leave memory behind": (task) => new LeaksNames(task),
};

const STEPS = 300;
/** After so many steps the contents of all files are compared. */
const TREE_STEPS = 10;

export const pathsFuzz = subjectSuite<MakeSubject>(
  "vfs-paths",
  (task) => new Subject(task),
  BUGS,
  (make, random, reach) => {
    const layout = random.oneIn(2) ? Layout.natural() : Layout.shuffled(random.u32());
    const subject = make(fileTask(fileKernel({ layout })));
    const { kmalloc } = subject.task.kernel;
    const before = kmalloc.snapshot();
    const model = new Model();
    for (let i = 0; i < STEPS; i++) {
      const isTreeStep = i % TREE_STEPS === 0;
      const problem =
        compare(step(random, model, subject), reach) ??
        (isTreeStep ? compareTree(subject, model.root, "") : undefined);
      if (problem !== undefined) return `step ${i}: ${problem}`;
    }
    const problem = removeAll(subject, model.root, "");
    const left = [...difference(before, kmalloc.snapshot()).keys()];
    return problem ?? (left.length > 0 ? `left behind: ${left.join(", ")}` : undefined);
  },
);

const OPERATIONS = ["mkdir", "write", "write", "read", "unlink", "rmdir", "link", "link", "rename"] as const;

/** What an operation on the model and on the kernel gave. */
interface Step {
  readonly name: string;
  readonly paths: string;
  readonly expected: string | number | Errno;
  readonly got: string | number;
}

/** Half of the paths are there, or are a new name in a directory that is there. */
function randomPath(random: Prng, model: Model): string {
  const name = (): string => random.pick(["a", "b", "c"]);
  if (random.oneIn(2)) return `/${Array.from({ length: 1 + random.below(3) }, name).join("/")}`;
  let path = "";
  for (let at: Node | undefined = model.root; isDir(at) && at.size > 0;) {
    const next: string = random.pick([...at.keys()]);
    path += `/${next}`;
    at = at.get(next);
    if (random.oneIn(3)) return isDir(at) ? `${path}/${name()}` : path;
  }
  return path === "" ? `/${name()}` : path;
}

/** One random operation on both. */
function step(random: Prng, model: Model, subject: Subject): Step {
  const path = (): string => randomPath(random, model);
  const [p, q] = [path(), path()];
  const name = random.pick(OPERATIONS);
  switch (name) {
    case "mkdir":
      return { name, paths: p, expected: model.mkdir(p), got: subject.mkdir(p) };
    case "write": {
      const text = `${p}${random.below(1000)}`.slice(0, 1 + random.below(12));
      return { name, paths: p, expected: model.write(p, text), got: subject.write(p, text) };
    }
    case "read":
      return { name, paths: p, expected: model.read(p), got: subject.read(p) };
    case "unlink":
      return { name, paths: p, expected: model.unlink(p), got: subject.remove(p, 0) };
    case "rmdir":
      return { name, paths: p, expected: model.rmdir(p), got: subject.remove(p, AT.REMOVEDIR) };
    case "link":
      return { name, paths: `${p} ${q}`, expected: model.link(p, q), got: subject.link(p, q) };
    default: {
      const flags = random.pick([0, 0, RENAME_NOREPLACE, RENAME_EXCHANGE]);
      const [expected, got] = [model.rename(p, q, flags), subject.rename(p, q, flags)];
      return { name, paths: `${p} ${q} ${flags}`, expected, got };
    }
  }
}

function compare({ name, paths, expected, got }: Step, reach: Reach): string | undefined {
  const isDone = !(expected instanceof Errno);
  reach(`${name}: ${isDone ? "done" : expected.name}`);
  const result = isDone ? expected : -expected.number;
  return result === got ? undefined : `${name} ${paths} gives ${got}, expected ${result}`;
}

function compareTree(subject: Subject, dir: Map<string, Node>, at: string): string | undefined {
  for (const [name, node] of dir) {
    const path = `${at}/${name}`;
    const expected = isDir(node) ? -EISDIR.number : node.text;
    const got = subject.read(path);
    if (got !== expected) return `${path} is ${got}, expected ${expected}`;
    const inside = isDir(node) ? compareTree(subject, node, path) : undefined;
    if (inside !== undefined) return inside;
  }
  return undefined;
}

function removeAll(subject: Subject, dir: Map<string, Node>, at: string): string | undefined {
  for (const [name, node] of dir) {
    const inside = isDir(node) ? removeAll(subject, node, `${at}/${name}`) : undefined;
    if (inside !== undefined) return inside;
    const result = subject.remove(`${at}/${name}`, isDir(node) ? AT.REMOVEDIR : 0);
    if (result !== 0) return `removing ${at}/${name} gives ${result}`;
  }
  return undefined;
}
