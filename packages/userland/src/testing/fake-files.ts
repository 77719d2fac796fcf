/** The file system of the fake kernel: a tree of nodes, open files, pipes. Test-only. */
import { EBADF, EISDIR, ELOOP, ENOENT, ENOTDIR, S } from "@alien-ts/abi";
import { fromBytes, toBytes } from "../libc/text.ts";

export interface FakeNode {
  mode: number;
  readonly ino: number;
  /** A regular file's contents, or a symbolic link's target. */
  bytes: Uint8Array;
  readonly children: Map<string, FakeNode>;
  mtime: number;
  nlink: number;
}

let lastInode = 0;

export function makeNode(mode: number, bytes: Uint8Array = new Uint8Array(0)): FakeNode {
  lastInode += 1;
  return { mode, ino: lastInode, bytes, children: new Map(), mtime: 0, nlink: 1 };
}

export const isDir = (node: FakeNode): boolean => (node.mode & S.IFMT) === S.IFDIR;
export const isLink = (node: FakeNode): boolean => (node.mode & S.IFMT) === S.IFLNK;

/** Undefined from `read` and `write` means: wait. */
export interface FakeFile {
  readonly node: FakeNode | undefined;
  readonly path: string;
  offset: number;
  flags: number;
  references: number;
  read(length: number): Uint8Array | number | undefined;
  write(bytes: Uint8Array): number | undefined;
  release(): void;
  /** Set on a terminal: struct termios as it was set last. */
  termios?: Uint8Array;
}

export interface Found {
  readonly parent: FakeNode;
  readonly name: string;
  readonly node: FakeNode | undefined;
}

/** Walks a path from the root; a negated errno where a component is missing. */
export function walk(root: FakeNode, path: string, follow: boolean, depth = 0): Found | number {
  if (depth > 8) return -ELOOP.number;
  const parts = path.split("/").filter((part) => part !== "" && part !== ".");
  const trail: FakeNode[] = [root];
  const names: string[] = [""];
  for (const [i, part] of parts.entries()) {
    const at = trail.at(-1)!;
    if (!isDir(at)) return -ENOTDIR.number;
    if (part === "..") {
      if (trail.length > 1) {
        trail.pop();
        names.pop();
      }
      continue;
    }
    const node = at.children.get(part);
    const isLast = i === parts.length - 1;
    if (node === undefined) return isLast ? { parent: at, name: part, node } : -ENOENT.number;
    if (isLink(node) && (follow || !isLast)) {
      const target = String.fromCharCode(...node.bytes);
      const base = target.startsWith("/") ? "" : names.join("/");
      return walk(root, [base, target, ...parts.slice(i + 1)].join("/"), follow, depth + 1);
    }
    trail.push(node);
    names.push(part);
  }
  const node = trail.at(-1)!;
  if (path.endsWith("/") && !isDir(node)) return -ENOTDIR.number;
  return { parent: trail.at(-2) ?? root, name: names.at(-1)!, node };
}

export function regularFile(node: FakeNode, path: string, flags: number): FakeFile {
  return {
    node,
    path,
    offset: 0,
    flags,
    references: 1,
    read(length) {
      if (isDir(node)) return -EISDIR.number;
      const bytes = node.bytes.subarray(this.offset, this.offset + length);
      this.offset += bytes.length;
      return bytes;
    },
    write(bytes) {
      if ((this.flags & 3) === 0) return -EBADF.number;
      if ((this.flags & 0x400) !== 0) this.offset = node.bytes.length;
      const grown = new Uint8Array(Math.max(node.bytes.length, this.offset + bytes.length));
      grown.set(node.bytes);
      grown.set(bytes, this.offset);
      node.bytes = grown;
      this.offset += bytes.length;
      return bytes.length;
    },
    release() {},
  };
}

/** A terminal on which `keys` have been typed; what is written to it is kept. */
export function makeTerminal(keys: string): FakeFile & { screen: string } {
  let at = 0;
  return {
    node: undefined,
    path: "/dev/console",
    offset: 0,
    flags: 2,
    references: 1,
    screen: "",
    termios: new Uint8Array(36),
    read(length) {
      const bytes = toBytes(keys.slice(at, at + length));
      at += bytes.length;
      return bytes;
    },
    write(bytes) {
      this.screen += fromBytes(bytes);
      return bytes.length;
    },
    release() {},
  };
}

/** Bytes that a fake pipe holds. */
const PIPE_BYTES = 65_536;

/** A read end and a write end; -32 (EPIPE) from `write` where no reader is left. */
export function makePipe(): readonly [FakeFile, FakeFile] {
  let queue = new Uint8Array(0);
  let readers = 1;
  let writers = 1;
  const common = { node: undefined, path: "pipe:[1]", offset: 0, references: 1 };
  const reader: FakeFile = {
    ...common,
    flags: 0,
    read(length) {
      if (queue.length === 0) return writers === 0 ? new Uint8Array(0) : undefined;
      const bytes = queue.slice(0, length);
      queue = queue.slice(length);
      return bytes;
    },
    write: () => -EBADF.number,
    release: () => {
      readers -= 1;
    },
  };
  const writer: FakeFile = {
    ...common,
    flags: 1,
    read: () => -EBADF.number,
    write(bytes) {
      if (readers === 0) return -32;
      const room = PIPE_BYTES - queue.length;
      if (room === 0) return undefined;
      const taken = bytes.subarray(0, room);
      const grown = new Uint8Array(queue.length + taken.length);
      grown.set(queue);
      grown.set(taken, queue.length);
      queue = grown;
      return taken.length;
    },
    release: () => {
      writers -= 1;
    },
  };
  return [reader, writer];
}
