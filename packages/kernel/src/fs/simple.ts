/**
 * Pseudo file systems made of nodes: what procfs, sysfs, debugfs, tracefs and the like are built of (Linux: fs/libfs.c,
 * fs/kernfs, fs/seq_file.c).
 *
 *     const root = dir({
 *       version: file((cx) => `Linux version ${cx.kernel.config.release}\n`),
 *       sys: dir({ "panic": file(() => "0\n", { mode: 0o644, write: (cx, text) => setPanic(text) }) }),
 *       self: symlink((cx) => String(cx.task.tgid)),
 *     });
 *     root.add("uptime", file(readUptime));                       // any time later; root.remove("uptime")
 *     const pids = dynamicDir({ lookup: (cx, name) => node or null, list: (cx) => [{ name: "1", type: DT.DIR }] });
 *     register_filesystem(kernel, simpleFileSystem({ name: "proc", magic: FS_MAGIC.PROC, root }));
 *
 * A node is a description with mode and owner; inodes and dentries are made when a name is looked up, and freed with their
 * last user. A dynamic directory makes nodes on demand; `isValid` on a node says when it stops standing for its object.
 *
 * `file` has seq_file semantics: the content is made at the first read and whenever a read starts at offset 0; reads in parts
 * see one content; lseek works with SEEK_SET and SEEK_CUR. A write hands over the bytes of one write(2) as a byte string.
 * `special` takes a FileOperations of its own. A tree belongs to one kernel: build it in that kernel's init.
 */
import {
  DT,
  EACCES,
  EINVAL,
  EISDIR,
  EFAULT,
  ENOENT,
  ENOMEM,
  isErr,
  type Errno,
  type Result,
  S,
  SEEK,
} from "@alien-ts/abi";
import type { Cx } from "../core/cx.ts";
import { andThen, type MaybeBlocking } from "../vfs/blocking.ts";
import { bytesOf, byteString, d_alloc_root, type Dentry, type DentryOperations } from "../vfs/dentry.ts";
import {
  DEFAULT_POLLMASK,
  type DirContext,
  type File,
  type FileOperations,
  type PollRegister,
} from "../vfs/file.ts";
import { type Attributes, type Inode, type InodeOperations, new_inode, setattr_copy } from "../vfs/inode.ts";
import type { PathRef } from "../vfs/mount.ts";
import { generic_permission } from "../vfs/permission.ts";
import {
  alloc_super,
  deactivate_super,
  type FileSystemType,
  setRoot,
  type StatFs,
  type SuperBlock,
} from "../vfs/super.ts";

export interface NodeOptions {
  /** Permission bits; by default 0444 for files, 0555 for directories. */
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  /** False once the node's object is gone: its name is looked up again. */
  readonly isValid?: () => boolean;
  /** Replaces the check of mode bits. `mask` of MAY. */
  readonly permission?: (cx: Cx, mask: number) => Result<0>;
}

export interface FileOptions extends NodeOptions {
  /** One write(2): answers an error, or takes all of it. */
  readonly write?: (cx: Cx, text: string, file: File) => MaybeBlocking<Result<unknown>>;
  /** Without `write`: what writes answer, instead of what the file system says (`SimpleFileSystem.writeError`). */
  readonly writeError?: Errno;
  readonly open?: (cx: Cx, file: File) => Result<0>;
  readonly release?: (cx: Cx, file: File) => void;
  readonly poll?: (cx: Cx, file: File, register: PollRegister | undefined) => number;
  /** st_size; 0 by default, as in procfs. */
  readonly size?: number;
}

/** What a read of a `file` shows: text (a byte string) or bytes. */
export type ReadContent = (cx: Cx, file: File) => MaybeBlocking<Result<string | Uint8Array>>;

export interface Listed {
  readonly name: string;
  /** A value of DT. */
  readonly type: number;
}

export type SimpleNode = SimpleFile | SimpleDir | SimpleSymlink | SimpleSpecial;

abstract class Node {
  /** Type and permission bits; changed by chmod. */
  mode: number;
  uid: number;
  gid: number;
  readonly options: NodeOptions;

  constructor(type: number, permissions: number, options: NodeOptions) {
    this.mode = type | (options.mode ?? permissions);
    this.uid = options.uid ?? 0;
    this.gid = options.gid ?? 0;
    this.options = options;
  }
}

export class SimpleFile extends Node {
  readonly kind = "file";
  readonly read: ReadContent | undefined;
  declare readonly options: FileOptions;

  constructor(read: ReadContent | undefined, options: FileOptions) {
    super(S.IFREG, options.write === undefined ? 0o444 : 0o644, options);
    this.read = read;
  }
}

export class SimpleSymlink extends Node {
  readonly kind = "symlink";
  readonly target: string | ((cx: Cx) => Result<string | PathRef>);
  readonly text: ((cx: Cx) => Result<string>) | undefined;

  constructor(
    target: string | ((cx: Cx) => Result<string | PathRef>),
    text: ((cx: Cx) => Result<string>) | undefined,
    options: NodeOptions,
  ) {
    super(S.IFLNK, 0o777, options);
    this.target = target;
    this.text = text;
  }
}

export class SimpleSpecial extends Node {
  readonly kind = "special";
  readonly operations: FileOperations;
  readonly rdev: number;
  readonly size: number;

  constructor(
    type: number,
    operations: FileOperations,
    options: NodeOptions & { readonly rdev?: number; readonly size?: number },
  ) {
    super(type, 0o444, options);
    this.operations = operations;
    this.rdev = options.rdev ?? 0;
    this.size = options.size ?? 0;
  }
}

export interface DynamicDirectory {
  /** The node of a name; null when there is none. Asked after the static entries. */
  readonly lookup?: (cx: Cx, name: string) => Result<SimpleNode | null>;
  /** Names that lookup knows, in order. */
  readonly list?: (cx: Cx) => Result<readonly Listed[]>;
  /** Operations beyond lookup: mkdir, rmdir, create … of file systems that users may change. */
  readonly operations?: Partial<InodeOperations>;
}

export class SimpleDir extends Node {
  readonly kind = "dir";
  readonly children = new Map<string, SimpleNode>();
  readonly dynamic: DynamicDirectory;

  constructor(
    children: Readonly<Record<string, SimpleNode>>,
    dynamic: DynamicDirectory,
    options: NodeOptions,
  ) {
    super(S.IFDIR, 0o555, options);
    this.dynamic = dynamic;
    for (const [name, node] of Object.entries(children)) this.children.set(name, node);
  }

  /** Adds or replaces an entry. */
  add<N extends SimpleNode>(name: string, node: N): N {
    this.children.set(name, node);
    return node;
  }

  remove(name: string): void {
    this.children.delete(name);
  }

  get(name: string): SimpleNode | undefined {
    return this.children.get(name);
  }

  /** The directory at a path of names, made where it is missing. */
  at(path: string): SimpleDir {
    const names = path.split("/").filter((name) => name !== "");
    return names.reduce<SimpleDir>((parent, name) => {
      const child = parent.children.get(name);
      return child instanceof SimpleDir ? child : parent.add(name, dir({}));
    }, this);
  }
}

/** A directory of fixed entries; more may be added later. */
export const dir = (children: Readonly<Record<string, SimpleNode>>, options: NodeOptions = {}): SimpleDir =>
  new SimpleDir(children, {}, options);

/** A directory whose entries are made on demand, behind those of `children`. */
export const dynamicDir = (
  dynamic: DynamicDirectory,
  children: Readonly<Record<string, SimpleNode>> = {},
  options: NodeOptions = {},
): SimpleDir => new SimpleDir(children, dynamic, options);

/** A file whose content `read` makes. Without `read` it answers EINVAL to reads. */
export const file = (read: ReadContent | undefined, options: FileOptions = {}): SimpleFile =>
  new SimpleFile(read, options);

/** A symbolic link to a path; a function may also answer a place itself (a magic link, its references handed over). */
export const symlink = (
  target: string | ((cx: Cx) => Result<string | PathRef>),
  text?: (cx: Cx) => Result<string>,
  options: NodeOptions = {},
): SimpleSymlink => new SimpleSymlink(target, text, options);

/** A regular file with operations of its own. */
export const special = (
  operations: FileOperations,
  options: NodeOptions & { readonly size?: number } = {},
): SimpleSpecial => new SimpleSpecial(S.IFREG, operations, options);

export interface SimpleFileSystem {
  readonly name: string;
  readonly magic: number;
  readonly root: SimpleDir;
  /** /proc/filesystems shows "nodev" (default). */
  readonly nodev?: boolean;
  readonly show_options?: () => string;
  /** What writes to a file that takes none answer (procfs); without it, opening for writing does: EACCES (sysfs). */
  readonly writeError?: Errno;
  /** What the lookup of a name that is not there answers (procfs), so that making one does too; without it there is a negative dentry. */
  readonly lookupError?: Errno;
}

/** A file system of one tree: every mount shows the same super block. */
export function simpleFileSystem(description: SimpleFileSystem): FileSystemType {
  let single: SuperBlock | undefined;
  const type: FileSystemType = {
    name: description.name,
    nodev: description.nodev ?? true,
    mount(cx) {
      if (single === undefined) {
        const made = makeSuper(cx, type, description);
        if (isErr(made)) return made;
        single = made;
      }
      single.active += 1;
      return single;
    },
  };
  return type;
}

function makeSuper(cx: Cx, type: FileSystemType, description: SimpleFileSystem): Result<SuperBlock> {
  const { magic, root, show_options } = description;
  const sb = alloc_super(cx.kernel, {
    type,
    magic,
    info: description,
    ops: {
      statfs: () => EMPTY_STATFS,
      ...(show_options === undefined ? {} : { show_options: () => show_options() }),
    },
  });
  if (isErr(sb)) return sb;
  const inode = makeInode(sb, root, ROOT_INO);
  const dentry = isErr(inode) ? inode : d_alloc_root(cx, sb, inode, "/", simple_dentry_operations);
  if (isErr(dentry)) {
    deactivate_super(cx, sb);
    return ENOMEM;
  }
  dentry.fsdata = root;
  setRoot(sb, dentry);
  return sb;
}

export const EMPTY_STATFS: StatFs = { bsize: 4096, blocks: 0, bfree: 0, bavail: 0, files: 0, ffree: 0 };
const ROOT_INO = 1;

/** Inode numbers follow from the path, so that a listing and a later stat agree. */
function childIno(parent: number, name: string): number {
  let hash = (Math.imul(parent, 0x9e37_79b1) ^ 0x811c_9dc5) >>> 0;
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x0100_0193) >>> 0;
  return hash < 2 ? hash + 2 : hash;
}

function makeInode(sb: SuperBlock, node: SimpleNode, ino: number): Result<Inode> {
  const made = new_inode(sb, {
    mode: node.mode,
    uid: node.uid,
    gid: node.gid,
    ino,
    i_op: INODE_OPERATIONS[node.kind],
    i_fop:
      node.kind === "special"
        ? node.operations
        : node.kind === "dir"
          ? simple_dir_operations
          : seq_file_operations,
    rdev: node.kind === "special" ? node.rdev : 0,
    data: node,
  });
  if (isErr(made)) return made;
  if (node.kind === "file") made.size = node.options.size ?? 0;
  if (node.kind === "special") made.size = node.size;
  if (node.kind === "dir") {
    made.nlink = 2;
    for (const child of node.children.values()) if (child.kind === "dir") made.nlink += 1;
    const { operations } = node.dynamic;
    if (operations !== undefined) made.i_op = { ...made.i_op, ...operations };
  }
  return made;
}

const nodeOf = (inode: Inode): SimpleNode | undefined =>
  inode.data instanceof Node ? (inode.data as SimpleNode) : undefined;

const dirOf = (inode: Inode): SimpleDir | undefined =>
  inode.data instanceof SimpleDir ? inode.data : undefined;

function setattr(_cx: Cx, dentry: Dentry, attributes: Attributes): Result<0> {
  const { inode } = dentry;
  const node = inode === null ? undefined : nodeOf(inode);
  if (inode === null || node === undefined) return ENOENT;
  setattr_copy(inode, attributes);
  node.mode = inode.mode;
  node.uid = inode.uid;
  node.gid = inode.gid;
  return 0;
}

function permission(cx: Cx, inode: Inode, mask: number): Result<0> {
  const node = nodeOf(inode);
  const own = node?.options.permission;
  if (own !== undefined) return own(cx, mask);
  const allowed = generic_permission(cx, 0, inode, mask);
  return isErr(allowed) ? allowed : 0;
}

const COMMON: InodeOperations = { setattr, permission };

const INODE_OPERATIONS: Readonly<Record<SimpleNode["kind"], InodeOperations>> = {
  file: COMMON,
  special: COMMON,
  dir: { ...COMMON, lookup: lookupNode },
  symlink: {
    ...COMMON,
    get_link(cx, _dentry, inode) {
      const node = inode.data;
      if (!(node instanceof SimpleSymlink)) return ENOENT;
      return typeof node.target === "string" ? node.target : node.target(cx);
    },
    readlink(cx, dentry) {
      const node = dentry.inode?.data;
      if (!(node instanceof SimpleSymlink)) return ENOENT;
      if (node.text !== undefined) return node.text(cx);
      const target = typeof node.target === "string" ? node.target : node.target(cx);
      return isErr(target) || typeof target === "string" ? target : EINVAL;
    },
  },
};

function lookupNode(cx: Cx, inode: Inode, dentry: Dentry): Result<Inode | null> {
  const parent = dirOf(inode);
  if (parent === undefined) return ENOENT;
  const node = parent.children.get(dentry.name) ?? parent.dynamic.lookup?.(cx, dentry.name) ?? null;
  if (node === null) return (inode.sb.info as SimpleFileSystem).lookupError ?? null;
  if (isErr(node)) return node;
  dentry.fsdata = node;
  return makeInode(inode.sb, node, childIno(inode.ino, dentry.name));
}

/** A cached name is good while the directory still has its node, and the node its object. */
export const simple_dentry_operations: DentryOperations = {
  d_revalidate(_cx, dentry) {
    const node = dentry.fsdata;
    if (!(node instanceof Node)) return true;
    const parent = dentry.parent.fsdata;
    const isStatic = parent instanceof SimpleDir && parent.children.get(dentry.name) === node;
    if (node.options.isValid !== undefined) return node.options.isValid();
    return isStatic || (parent instanceof SimpleDir && parent.dynamic.lookup !== undefined);
  },
};

const DIR_LLSEEK_LIMIT = Number.MAX_SAFE_INTEGER;

/** Positions: 0 and 1 are . and .., then static entries, then dynamic ones, by index. */
export const simple_dir_operations: FileOperations = {
  name: "simple_dir_operations",
  llseek(_cx, opened, offset, whence) {
    const base = whence === SEEK.SET ? 0 : whence === SEEK.CUR ? opened.pos : undefined;
    if (base === undefined || base + offset < 0 || base + offset > DIR_LLSEEK_LIMIT) return EINVAL;
    opened.pos = base + offset;
    return opened.pos;
  },
  iterate_shared(cx, opened, ctx) {
    const node = dirOf(opened.inode);
    if (node === undefined || !emitDots(opened, ctx)) return 0;
    const dynamic = node.dynamic.list?.(cx) ?? [];
    if (isErr(dynamic)) return dynamic;
    const entries = [
      ...[...node.children].map(([name, child]) => ({ name, type: child.mode >> 12 })),
      ...dynamic,
    ];
    while (ctx.pos - 2 < entries.length) {
      const entry = entries[ctx.pos - 2]!;
      const next = ctx.pos + 1;
      if (!ctx.emit(entry.name, childIno(opened.inode.ino, entry.name), entry.type, next)) return 0;
      ctx.pos = next;
    }
    return 0;
  },
  read_iter: () => EISDIR,
};

/** `.` and `..` at positions 0 and 1 (dir_emit_dots). False: the buffer is full. */
export function emitDots(opened: File, ctx: DirContext): boolean {
  const { dentry } = opened.path;
  if (ctx.pos === 0) {
    if (!ctx.emit(".", opened.inode.ino, DT.DIR, 1)) return false;
    ctx.pos = 1;
  }
  if (ctx.pos === 1) {
    if (!ctx.emit("..", dentry.parent.inode?.ino ?? opened.inode.ino, DT.DIR, 2)) return false;
    ctx.pos = 2;
  }
  return true;
}

/** The content of an open seq file. */
class SeqState {
  content: Uint8Array | undefined = undefined;
}

const writeErrorOf = (node: SimpleFile, inode: Inode): Errno | undefined =>
  node.options.writeError ?? (inode.sb.info as SimpleFileSystem).writeError;

/** Operations of `file` nodes. */
export const seq_file_operations: FileOperations = {
  name: "simple_seq_fops",
  open(cx, inode, opened) {
    const node = inode.data;
    if (!(node instanceof SimpleFile)) return ENOENT;
    if (opened.canWrite && node.options.write === undefined && writeErrorOf(node, inode) === undefined)
      return EACCES;
    opened.private_data = new SeqState();
    return node.options.open?.(cx, opened) ?? 0;
  },
  release(cx, inode, opened) {
    if (inode.data instanceof SimpleFile) inode.data.options.release?.(cx, opened);
  },
  llseek(_cx, opened, offset, whence) {
    const base = whence === SEEK.SET ? 0 : whence === SEEK.CUR ? opened.pos : undefined;
    if (base === undefined || base + offset < 0) return EINVAL;
    opened.pos = base + offset;
    return opened.pos;
  },
  read_iter(cx, iocb, to) {
    const opened = iocb.file;
    const node = opened.inode.data;
    const state = opened.private_data;
    if (!(node instanceof SimpleFile) || !(state instanceof SeqState) || node.read === undefined)
      return EINVAL;
    const isFresh = iocb.pos === 0 || state.content === undefined;
    return andThen<Result<string | Uint8Array>, Result<number>>(
      isFresh ? node.read(cx, opened) : (state.content ?? ""),
      (content) => {
        if (isErr(content)) return content;
        const bytes = typeof content === "string" ? bytesOf(content) : content;
        state.content = bytes;
        const { pos } = iocb;
        if (pos >= bytes.length || to.count === 0) return 0;
        const copied = to.copyBytesTo(bytes.subarray(pos, pos + to.count));
        if (copied === 0) return EFAULT;
        iocb.pos = pos + copied;
        return copied;
      },
    );
  },
  write_iter(cx, iocb, from) {
    const node = iocb.file.inode.data;
    if (!(node instanceof SimpleFile)) return EINVAL;
    if (node.options.write === undefined) return writeErrorOf(node, iocb.file.inode) ?? EINVAL;
    const wanted = from.count;
    const bytes = from.take(wanted);
    if (bytes.length < wanted) return EFAULT;
    return andThen<Result<unknown>, Result<number>>(
      node.options.write(cx, byteString(bytes), iocb.file),
      (result) => {
        if (isErr(result)) return result;
        iocb.pos += wanted;
        return wanted;
      },
    );
  },
  poll(cx, opened, register) {
    const node = opened.inode.data;
    const own = node instanceof SimpleFile ? node.options.poll : undefined;
    return own?.(cx, opened, register) ?? DEFAULT_POLLMASK;
  },
};
