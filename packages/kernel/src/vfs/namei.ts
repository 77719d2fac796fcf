/**
 * Path walking: from a name to a place (Linux: fs/namei.c, Documentation/filesystems/path-lookup.rst).
 *
 * `lookupPath` (path_lookupat) finds an existing place, `lookupParent` (path_parentat) the directory of a name that is to be made
 * or removed. A `Walk` is Linux's nameidata: where it is, with references; what component is last. Symbolic links are followed
 * by recursion, 40 in total; `..` stops at the task's root and crosses mounts; RESOLVE_* of openat2 restrict all of it.
 *
 * Names are byte strings. Nothing here sleeps.
 */
import {
  AT,
  EBADF,
  EAGAIN,
  ELOOP,
  ENAMETOOLONG,
  ENOENT,
  ENOTDIR,
  EXDEV,
  EACCES,
  isErr,
  type KAddr,
  NAME_MAX,
  type Result,
  s32,
  type UAddr,
  u32,
  userPtr,
} from "@alien-ts/abi";
import type { Cx } from "../core/cx.ts";
import { type Owned, ownerPtr, ownerPtrOrNull } from "../core/owner.ts";
import { kernelFn } from "../core/row.ts";
import { d_alloc, d_drop, d_lookup, d_rehash, type Dentry, dget, dput, is_subdir } from "./dentry.ts";
import { type Filename, filenamep, getname_flags, putname } from "./filename.ts";
import { iput, MAY } from "./inode.ts";
import { lookupMnt, MNT, mntget, mntput, path_get, path_put, type PathRef } from "./mount.ts";
import { stackAlloc, writePath } from "./path.ts";
import { inode_permission } from "./permission.ts";

/** Flags of a walk (include/linux/namei.h). */
export const LOOKUP = {
  FOLLOW: 1 << 0,
  DIRECTORY: 1 << 1,
  EMPTY: 1 << 3,
  NO_SYMLINKS: 1 << 24,
  NO_MAGICLINKS: 1 << 25,
  NO_XDEV: 1 << 26,
  BENEATH: 1 << 27,
  IN_ROOT: 1 << 28,
} as const;

/** Symbolic links in one walk (MAXSYMLINKS). */
const MAXSYMLINKS = 40;

/** What the last component is. */
export type LastType = "norm" | "dot" | "dotdot" | "root";

/** A struct path that a row fills: its TypeScript value beside it. */
export class PathSlot implements Owned {
  readonly addr: KAddr;
  value: PathRef | undefined = undefined;

  constructor(addr: KAddr) {
    this.addr = addr;
  }

  set(cx: Cx, place: PathRef): void {
    this.value = place;
    writePath(cx.kernel, this.addr, place.mnt, place.dentry);
  }
}

export const pathSlotp = ownerPtr<PathSlot>("path");
const pathSlotOrNull = ownerPtrOrNull<PathSlot>("path");

/** Linux: struct nameidata. Owns one reference to its mount and dentry. */
export class Walk {
  readonly cx: Cx;
  readonly flags: number;
  readonly root: PathRef;
  mnt: PathRef["mnt"];
  dentry: Dentry;
  links = 0;
  last = "";
  lastType: LastType = "root";
  /** The last component was followed by a slash: it must be a directory. */
  hasTrailingSlash = false;

  constructor(cx: Cx, start: PathRef, root: PathRef, flags: number) {
    this.cx = cx;
    this.flags = flags;
    this.root = root;
    this.mnt = mntget(start.mnt);
    this.dentry = dget(start.dentry);
  }

  has(flag: number): boolean {
    return (this.flags & flag) !== 0;
  }

  /** Goes to a place whose references are handed over. */
  moveTo(place: PathRef): void {
    const { mnt, dentry } = this;
    this.mnt = place.mnt;
    this.dentry = place.dentry;
    dput(this.cx, dentry);
    mntput(this.cx, mnt);
  }

  /** Gives the references up. */
  end(): void {
    path_put(this.cx, this);
  }

  get isAtRoot(): boolean {
    return this.mnt === this.root.mnt && this.dentry === this.root.dentry;
  }
}

/** Where a walk starts (path_init). EBADF, ENOTDIR, EXDEV. */
export function startWalk(cx: Cx, dfd: number, name: string, flags: number): Result<Walk> {
  const { fs } = cx.task;
  const isScoped = (flags & (LOOKUP.BENEATH | LOOKUP.IN_ROOT)) !== 0;
  if (name.startsWith("/") && (flags & LOOKUP.IN_ROOT) === 0) {
    if ((flags & LOOKUP.BENEATH) !== 0) return EXDEV;
    if ((flags & LOOKUP.NO_XDEV) !== 0 && fs.root.mnt !== fs.pwd.mnt && dfd === AT.FDCWD) return EXDEV;
    return new Walk(cx, fs.root, fs.root, flags);
  }
  if (dfd === AT.FDCWD) return new Walk(cx, fs.pwd, isScoped ? fs.pwd : fs.root, flags);
  const file = cx.task.files.get(dfd);
  if (file === undefined) return EBADF;
  if (name !== "" && !file.inode.isDirectory) return ENOTDIR;
  return new Walk(cx, file.path, isScoped ? file.path : fs.root, flags);
}

/** Walks all but the last component, which is left in `walk.last`. Linux: link_path_walk(). */
export function walkParent(walk: Walk, path: string): Result<0> {
  let at = 0;
  while (path[at] === "/") at++;
  walk.lastType = "root";
  walk.last = "";
  walk.hasTrailingSlash = false;
  while (at < path.length) {
    const allowed = mayLookup(walk);
    if (isErr(allowed)) return allowed;
    let end = path.indexOf("/", at);
    if (end < 0) end = path.length;
    const name = path.slice(at, end);
    at = end;
    while (path[at] === "/") at++;
    walk.last = name;
    walk.lastType = name === "." ? "dot" : name === ".." ? "dotdot" : "norm";
    walk.hasTrailingSlash = at > end;
    if (at >= path.length) return 0;
    const step = walkLast(walk, true);
    if (isErr(step)) return step;
    if (!canLookup(walk.dentry)) return ENOTDIR;
  }
  return 0;
}

function mayLookup(walk: Walk): Result<number> {
  const { inode } = walk.dentry;
  if (inode === null) return ENOENT;
  if (!canLookup(walk.dentry)) return ENOTDIR;
  return inode_permission(walk.cx, walk.mnt.idmap, inode, MAY.EXEC);
}

/** Linux: d_can_lookup(). */
const canLookup = (dentry: Dentry): boolean => dentry.inode?.isDirectory === true;

/** Goes to the last component; follows it when it is a symbolic link and `follow`. ENOENT when it is not there. */
export function walkLast(walk: Walk, follow: boolean): Result<0> {
  switch (walk.lastType) {
    case "root":
    case "dot":
      return 0;
    case "dotdot":
      return followDotDot(walk);
    default:
      return walkName(walk, follow);
  }
}

function walkName(walk: Walk, follow: boolean): Result<0> {
  const mustBeDirectory = walk.hasTrailingSlash;
  const found = lookupDentry(walk.cx, walk.dentry, walk.last);
  if (isErr(found)) return found;
  if (found.inode === null) {
    dput(walk.cx, found);
    return ENOENT;
  }
  const entered = enterDentry(walk, found, follow || mustBeDirectory);
  if (isErr(entered)) return entered;
  return mustBeDirectory && !canLookup(walk.dentry) ? ENOTDIR : 0;
}

/** Goes to a positive child (its reference is handed over): follows a link, crosses what is mounted there. */
export function enterDentry(walk: Walk, child: Dentry, follow: boolean): Result<0> {
  if (child.inode?.isSymlink === true && follow) return followLink(walk, child);
  let place: PathRef = { mnt: mntget(walk.mnt), dentry: child };
  for (;;) {
    const upper = lookupMnt(place.mnt, place.dentry);
    if (upper === undefined) break;
    if (walk.has(LOOKUP.NO_XDEV)) {
      path_put(walk.cx, place);
      return EXDEV;
    }
    const next: PathRef = { mnt: mntget(upper), dentry: dget(upper.root) };
    path_put(walk.cx, place);
    place = next;
  }
  walk.moveTo(place);
  return 0;
}

/** Follows a link whose reference is handed over; the walk stands in the link's directory. */
function followLink(walk: Walk, link: Dentry): Result<0> {
  const target = linkTarget(walk, link);
  if (isErr(target)) {
    dput(walk.cx, link);
    return target;
  }
  dput(walk.cx, link);
  if (typeof target !== "string") {
    walk.moveTo(target);
    return 0;
  }
  const parent = walkLinkParent(walk, target);
  return isErr(parent) ? parent : walkLast(walk, true);
}

/** Walks to the parent of a link's target: `walk.last` is the target's last component. */
export function walkLinkParent(walk: Walk, target: string): Result<0> {
  if (target === "") return ENOENT;
  if (target.startsWith("/")) {
    if (walk.has(LOOKUP.BENEATH)) return EXDEV;
    if (walk.has(LOOKUP.NO_XDEV) && walk.root.mnt !== walk.mnt) return EXDEV;
    walk.moveTo(path_get({ mnt: walk.root.mnt, dentry: walk.root.dentry }));
  }
  return walkParent(walk, target);
}

/** What a link says, counted against the limit (pick_link). ELOOP, EXDEV. */
export function linkTarget(walk: Walk, link: Dentry): Result<string | PathRef> {
  const { cx } = walk;
  const { inode } = link;
  walk.links += 1;
  if (inode === null || inode.i_op.get_link === undefined) return EACCES;
  if (walk.links > MAXSYMLINKS || walk.has(LOOKUP.NO_SYMLINKS)) return ELOOP;
  if ((walk.mnt.flags & MNT.NOSYMFOLLOW) !== 0) return ELOOP;
  const target = inode.i_op.get_link(cx, link, inode);
  if (isErr(target) || typeof target === "string") return target;
  const refusal = walk.has(LOOKUP.NO_MAGICLINKS)
    ? ELOOP
    : walk.has(LOOKUP.BENEATH | LOOKUP.IN_ROOT) || (walk.has(LOOKUP.NO_XDEV) && target.mnt !== walk.mnt)
      ? EXDEV
      : undefined;
  if (refusal === undefined) return target;
  path_put(cx, target);
  return refusal;
}

/** `..`: up one directory, through mount points, never above the root (handle_dots, follow_dotdot). */
function followDotDot(walk: Walk): Result<0> {
  if (walk.isAtRoot) return walk.has(LOOKUP.BENEATH) ? EXDEV : 0;
  let { mnt, dentry } = walk;
  while (dentry === mnt.root) {
    if (mnt.parent === mnt) return walk.has(LOOKUP.BENEATH) ? EXDEV : 0;
    if (walk.has(LOOKUP.NO_XDEV)) return EXDEV;
    dentry = mnt.mountpoint;
    mnt = mnt.parent;
    if (mnt === walk.root.mnt && dentry === walk.root.dentry) return climbed(walk, { mnt, dentry });
  }
  const escaped =
    walk.has(LOOKUP.BENEATH | LOOKUP.IN_ROOT) &&
    !is_subdir(dentry, walk.root.dentry) &&
    mnt === walk.root.mnt;
  return escaped ? EAGAIN : climbed(walk, { mnt, dentry: dentry.parent });
}

function climbed(walk: Walk, place: PathRef): Result<0> {
  let at = place;
  for (;;) {
    const upper = lookupMnt(at.mnt, at.dentry);
    if (upper === undefined) break;
    if (walk.has(LOOKUP.NO_XDEV)) return EXDEV;
    at = { mnt: upper, dentry: upper.root };
  }
  walk.moveTo(path_get({ mnt: at.mnt, dentry: at.dentry }));
  return 0;
}

/** The dentry of a name in a directory, with a reference; a new, unhashed negative one when the name is not there. */
export function lookupDentry(cx: Cx, parent: Dentry, name: string): Result<Dentry> {
  const dir = parent.inode;
  if (dir === null) return ENOENT;
  if (dir.i_op.lookup === undefined && parent.children === undefined) return ENOTDIR;
  if (name.length > NAME_MAX) return ENAMETOOLONG;
  const cached = d_lookup(parent, name);
  if (cached !== null) {
    if (cached.d_op?.d_revalidate?.(cx, cached) !== false) return cached;
    d_drop(cached);
    dput(cx, cached);
  }
  const made = d_alloc(parent, name);
  if (isErr(made)) return made;
  const inode = dir.i_op.lookup?.(cx, dir, made) ?? null;
  if (isErr(inode)) {
    dput(cx, made);
    return inode;
  }
  if (inode !== null) {
    if (parent.children?.has(name) === true) iput(cx, inode);
    else {
      made.inode = inode;
      made.t.d_inode = inode.addr;
      d_rehash(made);
    }
  }
  return made;
}

/** An existing place by name, with references (path_lookupat). `flags` of LOOKUP. */
export function path_lookupat(cx: Cx, dfd: number, name: string, flags: number): Result<PathRef> {
  const walk = startWalk(cx, dfd, name, flags);
  if (isErr(walk)) return walk;
  const result = walkAll(walk, name);
  if (isErr(result)) {
    walk.end();
    return result;
  }
  return { mnt: walk.mnt, dentry: walk.dentry };
}

function walkAll(walk: Walk, name: string): Result<0> {
  const parent = walkParent(walk, name);
  if (isErr(parent)) return parent;
  const mustBeDirectory = walk.has(LOOKUP.DIRECTORY) || walk.hasTrailingSlash;
  const last = walkLast(walk, walk.has(LOOKUP.FOLLOW));
  if (isErr(last)) return last;
  return mustBeDirectory && !canLookup(walk.dentry) ? ENOTDIR : 0;
}

export const filename_lookup = kernelFn(
  "filename_lookup",
  [
    ["dfd", s32],
    ["name", filenamep],
    ["flags", u32],
    ["path", pathSlotp],
    ["root", pathSlotOrNull],
  ],
  s32,
  (cx, dfd, name, flags, path) => {
    const place = path_lookupat(cx, dfd, name.text, flags);
    if (isErr(place)) return place;
    path.set(cx, place);
    return 0;
  },
  { doc: "Finds the place that a name stands for." },
);

export const user_path_at = kernelFn(
  "user_path_at",
  [
    ["dfd", s32],
    ["name", userPtr("char")],
    ["flags", u32],
    ["path", pathSlotp],
  ],
  s32,
  (cx, dfd, uptr, flags, path) => {
    const name = getname_flags(cx, uptr, flags);
    if (isErr(name)) return name;
    const result = filename_lookup(cx, dfd, name, flags, path, null);
    putname(cx, name);
    return result;
  },
  { doc: "Finds the place that a name in user memory stands for." },
);

/** The place of a name in user memory, with references. */
export const userPath = (cx: Cx, dfd: number, uptr: UAddr, flags: number): Result<PathRef> =>
  intoSlot(cx, (slot) => user_path_at(cx, dfd, uptr, flags, slot));

/** The place of a name, with references. */
export const lookupPath = (cx: Cx, dfd: number, name: Filename, flags: number): Result<PathRef> =>
  intoSlot(cx, (slot) => filename_lookup(cx, dfd, name, flags, slot, null));

/** A place by a kernel's own path, from the task's root: what init, exec and mounts at boot use (kern_path). */
export const kern_path = (cx: Cx, path: string, flags: number = LOOKUP.FOLLOW): Result<PathRef> =>
  path === "" ? ENOENT : path_lookupat(cx, AT.FDCWD, path, flags);

function intoSlot(cx: Cx, fill: (slot: PathSlot) => Result<number>): Result<PathRef> {
  const { ksp } = cx;
  const slot = new PathSlot(stackAlloc(cx, cx.kernel.vfs.offsets.pathSize));
  const result = fill(slot);
  cx.ksp = ksp;
  return isErr(result) ? result : slot.value!;
}

/** The directory of a name, and its last component. */
export interface ParentRef extends PathRef {
  readonly last: string;
  readonly lastType: LastType;
  readonly hasTrailingSlash: boolean;
}

/** The parent directory of a name, with references, for making and removing it (filename_parentat). */
export function lookupParent(cx: Cx, dfd: number, name: string): Result<ParentRef> {
  if (name === "") return ENOENT;
  const walk = startWalk(cx, dfd, name, 0);
  if (isErr(walk)) return walk;
  const result = walkParent(walk, name);
  if (isErr(result)) {
    walk.end();
    return result;
  }
  if (!canLookup(walk.dentry)) {
    walk.end();
    return ENOTDIR;
  }
  const { mnt, dentry, last, lastType, hasTrailingSlash } = walk;
  return { mnt, dentry, last, lastType, hasTrailingSlash };
}
