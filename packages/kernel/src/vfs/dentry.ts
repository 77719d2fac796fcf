/**
 * Dentries: names in directories, and the cache of them (Linux: fs/dcache.c).
 *
 * A dentry with an inode is positive, one without is *negative*: the name was looked up and is not there (or a file is about
 * to be created under it). References are counted (`dget`, `dput`); a child holds its parent. The cache keeps what is
 * referenced: an open file, a working directory, a mount point, a file system that pins its tree (tmpfs). A dentry that
 * nobody refers to is freed at once, as Linux does with DCACHE_DONTCACHE.
 *
 * Invariant: a *hashed* dentry is in its parent's `children` under its name, and there is one such dentry per name.
 */
import { ENOMEM, type KAddr, type Result, type ViewOf } from "@alien-ts/abi";
import type { Cx } from "../core/cx.ts";
import type { Kernel } from "../core/kernel.ts";
import { type Owned, ownerPtr, ownerPtrOrNull, voidType } from "../core/owner.ts";
import { kernelFn } from "../core/row.ts";
import { type Inode, iput } from "./inode.ts";
import { dentry } from "./structs.ts";
import type { SuperBlock } from "./super.ts";

export const dentryp = ownerPtr<Dentry>("dentry");
export const dentryOrNull = ownerPtrOrNull<Dentry>("dentry");

export interface DentryOperations {
  /** Whether a cached dentry still stands for its object (a process that is alive); false drops it from the cache. */
  d_revalidate?(cx: Cx, dentry: Dentry): boolean;
  /** The whole name that d_path prints: "pipe:[12]", "anon_inode:[eventpoll]". */
  d_dname?(dentry: Dentry): string;
}

/** d_flags (include/linux/dcache.h). */
export const DCACHE = { MOUNTED: 1 << 16 } as const;

export class Dentry implements Owned {
  readonly kernel: Kernel;
  readonly sb: SuperBlock;
  readonly addr: KAddr;
  readonly t: ViewOf<typeof dentry>;
  /** Itself for a root. */
  parent: Dentry = this;
  /** Byte string. "/" for a root. */
  name = "";
  inode: Inode | null = null;
  isHashed = false;
  refs = 1;
  /** By name; made at the first child. */
  children: Map<string, Dentry> | undefined = undefined;
  d_op: DentryOperations | undefined = undefined;
  /** What the file system keeps with the name (d_fsdata). */
  fsdata: unknown = undefined;
  /** Mounts on top of this dentry. */
  mounts = 0;

  constructor(sb: SuperBlock, addr: KAddr) {
    const { kernel } = sb;
    this.kernel = kernel;
    this.sb = sb;
    this.addr = addr;
    this.t = new (kernel.layout.view(dentry))(kernel.mem, addr);
    this.t.d_sb = sb.addr;
    this.t.d_parent = addr;
  }

  get isRoot(): boolean {
    return this.parent === this;
  }

  get isNegative(): boolean {
    return this.inode === null;
  }
}

/** A negative dentry with one reference; not hashed. ENOMEM. */
export function d_alloc(parent: Dentry, name: string): Result<Dentry> {
  const made = allocDentry(parent.sb, name);
  if (made instanceof Dentry) {
    made.parent = dget(parent);
    made.t.d_parent = parent.addr;
    made.d_op = parent.d_op;
  }
  return made;
}

/** The root of a file system, or a name of its own (pipes, anonymous inodes). The inode's reference is handed over. */
export function d_alloc_root(
  cx: Cx,
  sb: SuperBlock,
  inode: Inode,
  name = "/",
  d_op?: DentryOperations,
): Result<Dentry> {
  const made = allocDentry(sb, name);
  if (!(made instanceof Dentry)) {
    iput(cx, inode);
    return made;
  }
  made.d_op = d_op;
  attach(made, inode);
  return made;
}

function allocDentry(sb: SuperBlock, name: string): Result<Dentry> {
  const { kernel } = sb;
  const addr = kernel.kmalloc.kzalloc(kernel.layout.size(dentry), "dentry");
  if (addr === 0) return ENOMEM;
  const made = new Dentry(sb, addr);
  kernel.kmalloc.setOwner(addr, made);
  if (setName(made, name)) return made;
  kernel.kmalloc.kfree(addr);
  return ENOMEM;
}

function setName(on: Dentry, name: string): boolean {
  const text = allocName(on.kernel, name);
  if (text === 0) return false;
  giveName(on, name, text);
  return true;
}

/** A name's bytes in kernel memory, for `d_move`; 0 when memory is exhausted. */
export function allocName(kernel: Kernel, name: string): KAddr | 0 {
  const text = kernel.kmalloc.kzalloc(name.length + 1, "dentry name");
  for (let i = 0; text !== 0 && i < name.length; i++) kernel.mem.u8[text + i] = name.charCodeAt(i);
  return text;
}

function giveName(on: Dentry, name: string, text: KAddr): void {
  const own = on.t.d_name;
  on.kernel.kmalloc.kfree(own.name);
  own.name = text;
  own.len = name.length;
  own.hash = nameHash(name);
  on.name = name;
}

/** FNV-1a: Linux's own hash depends on the word size, and nobody may rely on it. */
function nameHash(name: string): number {
  let hash = 0x811c_9dc5;
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x0100_0193);
  return hash >>> 0;
}

export function dget(held: Dentry): Dentry {
  held.refs += 1;
  return held;
}

/** Gives a reference back; the last one frees the dentry and its references to parent and inode. */
export const dput = kernelFn("dput", [["dentry", dentryOrNull]], voidType, (cx, put) => {
  let at = put;
  while (at !== null) {
    at.refs -= 1;
    if (at.refs > 0) return undefined;
    const { parent } = at;
    kill(cx, at);
    at = parent === at ? null : parent;
  }
  return undefined;
});

function kill(cx: Cx, gone: Dentry): void {
  d_drop(gone);
  const { inode } = gone;
  gone.inode = null;
  if (inode !== null) iput(cx, inode);
  gone.kernel.kmalloc.kfree(gone.t.d_name.name);
  gone.kernel.kmalloc.kfree(gone.addr);
}

/** The cached dentry of a name, with a reference. Null: not cached. */
export function d_lookup(parent: Dentry, name: string): Dentry | null {
  const found = parent.children?.get(name);
  return found === undefined ? null : dget(found);
}

/** Enters an unhashed dentry into the cache. */
export function d_rehash(entry: Dentry): void {
  entry.parent.children ??= new Map();
  entry.parent.children.set(entry.name, entry);
  entry.isHashed = true;
}

/** Takes a dentry out of the cache: lookups of its name no longer find it. */
export function d_drop(entry: Dentry): void {
  if (!entry.isHashed) return;
  entry.isHashed = false;
  entry.parent.children?.delete(entry.name);
}

/** Makes a negative dentry positive, when there is an inode (its reference is handed over), and enters it into the cache. */
export function d_add(entry: Dentry, inode: Inode | null): void {
  if (inode !== null) attach(entry, inode);
  d_rehash(entry);
}

function attach(entry: Dentry, inode: Inode): void {
  entry.inode = inode;
  entry.t.d_inode = inode.addr;
}

/** The name was removed: negative when only the caller refers to it, else unhashed, and its users keep the inode. */
export function d_delete(cx: Cx, entry: Dentry): void {
  d_drop(entry);
  if (entry.refs > 1) return;
  const { inode } = entry;
  entry.inode = null;
  entry.t.d_inode = 0;
  if (inode !== null) iput(cx, inode);
}

/**
 * Gives `entry` the place of `target`, which keeps its own name and is unhashed. `text` is target's name from `allocName`, made
 * before the file system renamed: nothing may fail behind that.
 */
export function d_move(cx: Cx, entry: Dentry, target: Dentry, text: KAddr): void {
  d_drop(entry);
  d_drop(target);
  giveName(entry, target.name, text);
  const oldParent = entry.parent;
  entry.parent = dget(target.parent);
  entry.t.d_parent = entry.parent.addr;
  d_rehash(entry);
  dput(cx, oldParent);
}

/** Swaps the places of two dentries (RENAME_EXCHANGE). */
export function d_exchange(a: Dentry, b: Dentry): void {
  d_drop(a);
  d_drop(b);
  const [nameA, nameB] = [a.t.d_name, b.t.d_name];
  const [text, length, hash] = [nameA.name, nameA.len, nameA.hash];
  nameA.name = nameB.name;
  nameA.len = nameB.len;
  nameA.hash = nameB.hash;
  nameB.name = text;
  nameB.len = length;
  nameB.hash = hash;
  [a.name, b.name] = [b.name, a.name];
  [a.parent, b.parent] = [b.parent, a.parent];
  a.t.d_parent = a.parent.addr;
  b.t.d_parent = b.parent.addr;
  d_rehash(a);
  d_rehash(b);
}

/** Whether `entry` is `ancestor` or lies below it. */
export function is_subdir(entry: Dentry, ancestor: Dentry): boolean {
  for (let at = entry; ; at = at.parent) {
    if (at === ancestor) return true;
    if (at.isRoot) return false;
  }
}

/** The bytes of a byte string. */
export function bytesOf(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

/** The byte string of `bytes`. */
export function byteString(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
}
