/**
 * Mounting (Linux: fs/namespace.c): mount(2) in all its forms, umount2(2), pivot_root(2), and what /proc/<pid>/mounts prints.
 *
 * Differs from Linux: one name space and private propagation only, so MS_SHARED is EINVAL.
 */
import {
  CAP,
  EAGAIN,
  EBUSY,
  EINVAL,
  ELOOP,
  ENODEV,
  ENOENT,
  ENOMEM,
  ENOTDIR,
  EPERM,
  isErr,
  type KAddr,
  MNT_DETACH,
  MNT_EXPIRE,
  MNT_FORCE,
  MS,
  type Result,
  s32,
  ulong,
} from "@alien-ts/abi";
import { capable } from "../core/cred.ts";
import type { Cx } from "../core/cx.ts";
import { type Kernel, KernelBug } from "../core/kernel.ts";
import { type Owned, type OwnerType } from "../core/owner.ts";
import { kernelFn } from "../core/row.ts";
import { dentryPath, pathFrom } from "./d-path.ts";
import { bytesOf, type Dentry, is_subdir } from "./dentry.ts";
import { FsStruct } from "./fs-struct.ts";
import {
  alloc_vfsmnt,
  attachMount,
  detachMount,
  MNT,
  mntFlagsOf,
  mntput,
  type Mount,
  mountsBelow,
  mntget,
  path_put,
  type PathRef,
  topMount,
} from "./mount.ts";
import { kern_path } from "./namei.ts";
import { type Path, pathp, stackPath } from "./path.ts";
import { deactivate_super, SB_RDONLY } from "./super.ts";

/** A string in kernel memory that a row passes on. */
export class KernelString implements Owned {
  readonly addr: KAddr;
  readonly text: string;
  constructor(addr: KAddr, text: string) {
    this.addr = addr;
    this.text = text;
  }
}

const charp: OwnerType<KernelString | null> = { kind: "owner", c: "char *", target: "char", nullable: true };

/** Runs `body` with strings copied to kernel memory. ENOMEM. */
export function withStrings<T>(
  kernel: Kernel,
  texts: readonly string[],
  body: (strings: readonly KernelString[]) => Result<T>,
): Result<T> {
  const strings: KernelString[] = [];
  let result: Result<T> = ENOMEM;
  for (const text of texts) {
    const addr = kernel.kmalloc.kzalloc(text.length + 1, "string");
    if (addr === 0) break;
    kernel.mem.u8.set(bytesOf(text), addr);
    const made = new KernelString(addr, text);
    kernel.kmalloc.setOwner(addr, made);
    strings.push(made);
  }
  if (strings.length === texts.length) result = body(strings);
  for (const { addr } of strings) kernel.kmalloc.kfree(addr);
  return result;
}

const MS_MGC_VAL = 0xc0ed_0000;
const MS_MGC_MSK = 0xffff_0000;
const PROPAGATION = MS.SHARED | MS.PRIVATE | MS.SLAVE | MS.UNBINDABLE;
const SB_FLAGS = MS.RDONLY | MS.SYNCHRONOUS | MS.MANDLOCK | MS.DIRSYNC | MS.LAZYTIME;

/** mount(2) behind its copies from user memory. */
export const path_mount = kernelFn(
  "path_mount",
  [
    ["dev_name", charp],
    ["path", pathp],
    ["type_page", charp],
    ["flags", ulong],
    ["data_page", charp],
  ],
  s32,
  (cx, dev, path: Path, type, rawFlags, data): Result<number> => {
    const flags =
      (rawFlags & MS_MGC_MSK) >>> 0 === MS_MGC_VAL ? rawFlags & ~MS_MGC_MSK : rawFlags & 0x7fff_ffff;
    if (!capable(cx, CAP.SYS_ADMIN)) return EPERM;
    const options = data?.text ?? "";
    if ((flags & (MS.REMOUNT | MS.BIND)) === (MS.REMOUNT | MS.BIND)) return remountBind(path, flags);
    if ((flags & MS.REMOUNT) !== 0) return remount(cx, path, flags, options);
    if ((flags & MS.BIND) !== 0) return bind(cx, path, dev?.text ?? "", (flags & MS.REC) !== 0);
    if ((flags & PROPAGATION) !== 0) return changePropagation(path, flags);
    if ((flags & MS.MOVE) !== 0) return moveMount(cx, path, dev?.text ?? "");
    return newMount(cx, path, { type: type?.text ?? "", source: dev?.text ?? "none", flags, options });
  },
);

const isMountRoot = (place: PathRef): boolean => place.dentry === place.mnt.root;

function remountBind(path: PathRef, flags: number): Result<number> {
  if (!isMountRoot(path) || !path.mnt.isAttached) return EINVAL;
  path.mnt.flags = mntFlagsOf(flags);
  return 0;
}

function remount(cx: Cx, path: PathRef, flags: number, options: string): Result<number> {
  if (!isMountRoot(path) || !path.mnt.isAttached) return EINVAL;
  const { sb } = path.mnt;
  const done = sb.ops.reconfigure?.(cx, sb, options) ?? 0;
  if (isErr(done)) return done;
  sb.t.s_flags = (sb.t.s_flags & ~SB_RDONLY) | (flags & MS.RDONLY);
  path.mnt.flags = mntFlagsOf(flags & ~MS.RDONLY);
  cx.kernel.vfs.mountEvents += 1;
  return 0;
}

function changePropagation(path: PathRef, flags: number): Result<number> {
  const kinds = flags & PROPAGATION;
  if ((kinds & (kinds - 1)) !== 0 || (flags & ~(PROPAGATION | MS.REC | MS.SILENT)) !== 0) return EINVAL;
  if (!isMountRoot(path)) return EINVAL;
  return kinds === MS.SHARED ? EINVAL : 0;
}

interface NewMount {
  readonly type: string;
  readonly source: string;
  readonly flags: number;
  readonly options: string;
}

function newMount(cx: Cx, path: PathRef, { type, source, flags, options }: NewMount): Result<number> {
  if (type === "") return EINVAL;
  const fsType = cx.kernel.vfs.types.get(type);
  if (fsType === undefined) return ENODEV;
  const sb = fsType.mount(cx, { type: fsType, flags: flags & SB_FLAGS, source, options });
  if (isErr(sb)) return sb;
  const mnt = alloc_vfsmnt(sb, sb.root, source, mntFlagsOf(flags & ~MS.RDONLY));
  if (!isErr(mnt) && (flags & MS.RDONLY) !== 0) sb.t.s_flags |= SB_RDONLY;
  deactivate_super(cx, sb);
  if (isErr(mnt)) return mnt;
  const added = graft(cx, mnt, path);
  if (isErr(added)) mntput(cx, mnt);
  return added;
}

/** Puts a new mount on a place (do_add_mount, graft_tree). EBUSY for the same file system twice, ENOTDIR. */
function graft(cx: Cx, mnt: Mount, path: PathRef): Result<number> {
  const at = topMount(path);
  if (at.mnt.sb === mnt.sb && at.dentry === at.mnt.root && mnt.root === at.dentry) return EBUSY;
  const checked = checkTarget(mnt.root, at);
  if (isErr(checked)) return checked;
  attachMount(mnt, at);
  cx.kernel.vfs.mountEvents += 1;
  return 0;
}

function checkTarget(root: Dentry, at: PathRef): Result<0> {
  if (root.inode?.isSymlink === true) return EINVAL;
  if (at.dentry.inode?.isDirectory !== root.inode?.isDirectory) return ENOTDIR;
  if (!at.mnt.isAttached) return EINVAL;
  return !at.dentry.isHashed && !at.dentry.isRoot ? ENOENT : 0;
}

/** MS_BIND: a second mount of what `source` shows, with everything below when `isRecursive`. */
function bind(cx: Cx, path: PathRef, source: string, isRecursive: boolean): Result<number> {
  if (source === "") return EINVAL;
  const old = kern_path(cx, source);
  if (isErr(old)) return old;
  const at = topMount(path);
  const checked = checkTarget(old.dentry, at);
  const copy = isErr(checked) ? checked : copyTree(cx, old, isRecursive);
  path_put(cx, old);
  if (isErr(copy)) return copy;
  attachMount(copy, at);
  cx.kernel.vfs.mountEvents += 1;
  return 0;
}

/** A mount of the same place; mounts below are copied when `isRecursive` (copy_tree). ENOMEM. */
function copyTree(cx: Cx, place: PathRef, isRecursive: boolean): Result<Mount> {
  const { mnt } = place;
  const copy = alloc_vfsmnt(mnt.sb, place.dentry, mnt.source, mnt.flags);
  if (isErr(copy) || !isRecursive) return copy;
  for (const [mountpoint, child] of mnt.children) {
    if (!is_subdir(mountpoint, place.dentry)) continue;
    const below = copyTree(cx, { mnt: child, dentry: child.root }, true);
    if (isErr(below)) {
      for (const made of mountsBelow(copy).toReversed()) {
        if (made !== copy) detachMount(cx, made);
        mntput(cx, made);
      }
      return below;
    }
    attachMount(below, { mnt: copy, dentry: mountpoint });
  }
  return copy;
}

/** MS_MOVE. EINVAL, ELOOP for a move below itself. */
function moveMount(cx: Cx, path: PathRef, source: string): Result<number> {
  if (source === "") return EINVAL;
  const old = kern_path(cx, source);
  if (isErr(old)) return old;
  const { mnt } = old;
  const at = topMount(path);
  const checked =
    !isMountRoot(old) || mnt.parent === mnt || !mnt.isAttached ? EINVAL : checkTarget(mnt.root, at);
  const isBelow = mountsBelow(mnt).includes(at.mnt);
  if (!isErr(checked) && !isBelow) {
    detachMount(cx, mnt);
    attachMount(mnt, at);
    cx.kernel.vfs.mountEvents += 1;
  }
  path_put(cx, old);
  return isErr(checked) ? checked : isBelow ? ELOOP : 0;
}

/** umount2(2) behind its look-up. EPERM, EINVAL, EBUSY, EAGAIN. The place's references stay the caller's. */
export const path_umount = kernelFn(
  "path_umount",
  [
    ["path", pathp],
    ["flags", s32],
  ],
  s32,
  (cx, path: Path, flags): Result<number> => {
    const { mnt } = path;
    if (!capable(cx, CAP.SYS_ADMIN)) return EPERM;
    if (!isMountRoot(path) || !mnt.isAttached) return EINVAL;
    if ((flags & MNT_EXPIRE) !== 0) {
      if ((flags & (MNT_FORCE | MNT_DETACH)) !== 0 || mnt === cx.task.fs.root.mnt) return EINVAL;
      if (isBusy(mnt)) return EBUSY;
      if (!mnt.isExpiring) {
        mnt.isExpiring = true;
        return EAGAIN;
      }
    }
    if (mnt.parent === mnt) {
      // The root of the tree cannot go: it becomes read-only (do_umount_root).
      if ((flags & MNT_DETACH) !== 0) return EINVAL;
      mnt.sb.t.s_flags |= SB_RDONLY;
      return 0;
    }
    if ((flags & MNT_DETACH) === 0 && isBusy(mnt)) return EBUSY;
    for (const gone of mountsBelow(mnt).toReversed()) {
      detachMount(cx, gone);
      mntput(cx, gone);
    }
    cx.kernel.vfs.mountEvents += 1;
    return 0;
  },
);

/** Used by anyone but the tree and the caller's path. */
const isBusy = (mnt: Mount): boolean => mnt.children.size > 0 || mnt.refs > 2;

/** path_mount and path_umount with the path on the stack. */
export function mountAt(cx: Cx, place: PathRef, request: NewMount): Result<number> {
  const { ksp } = cx;
  const { type, source, flags, options } = request;
  const result = withStrings(cx.kernel, [source, type, options], ([dev, kind, data]) =>
    path_mount(cx, dev ?? null, stackPath(cx, place), kind ?? null, flags, data ?? null),
  );
  cx.ksp = ksp;
  return result;
}

export function umountAt(cx: Cx, place: PathRef, flags: number): Result<number> {
  const { ksp } = cx;
  const result = path_umount(cx, stackPath(cx, place), flags);
  cx.ksp = ksp;
  return result;
}

/** A mount at boot, by paths: throws when it fails. */
export function mountAtBoot(cx: Cx, type: string, target: string, options = "", flags = 0): void {
  const place = kern_path(cx, target);
  const result = isErr(place) ? place : mountAt(cx, place, { type, source: type, flags, options });
  if (isErr(result)) throw new KernelBug(`mount of ${type} on ${target}: ${result.name}`);
  if (!isErr(place)) path_put(cx, place);
}

/** Makes `type` the root of everything, and gives the boot task its fs_struct. At boot, once. */
export function mountRoot(cx: Cx, type: string, options = "mode=755"): void {
  const { kernel } = cx;
  const fsType = kernel.vfs.types.get(type);
  if (fsType === undefined) throw new KernelBug(`root file system ${type} is not registered`);
  const sb = fsType.mount(cx, { type: fsType, flags: 0, source: "rootfs", options });
  if (isErr(sb)) throw new KernelBug(`root file system ${type}: ${sb.name}`);
  const mnt = alloc_vfsmnt(sb, sb.root, "rootfs", MNT.RELATIME);
  if (isErr(mnt)) throw new KernelBug("no memory for the root mount");
  deactivate_super(cx, sb);
  mnt.isAttached = true;
  kernel.vfs.root = mnt;
  const place = { mnt, dentry: mnt.root };
  const fs = FsStruct.create(kernel, place, place, 0o022);
  if (isErr(fs)) throw new KernelBug("no memory for the boot task's fs_struct");
  cx.task.fs = fs;
  cx.task.t.fs = fs.addr;
}

/** pivot_root(2): `fresh` becomes the root of all tasks whose root it was, and the old root moves to `putOld`. */
export function pivotRoot(cx: Cx, fresh: PathRef, putOld: PathRef): Result<number> {
  const { root } = cx.task.fs;
  const rootMnt = root.mnt;
  const oldTop = topMount(putOld);
  if (!fresh.dentry.inode?.isDirectory || !putOld.dentry.inode?.isDirectory) return ENOTDIR;
  if (!capable(cx, CAP.SYS_ADMIN)) return EPERM;
  if (fresh.mnt === rootMnt || oldTop.mnt === rootMnt) return EBUSY;
  if (!isMountRoot(root) || !isMountRoot(fresh)) return EINVAL;
  if (rootMnt.parent === rootMnt || fresh.mnt.parent === fresh.mnt) return EINVAL;
  if (!pathFrom(oldTop, fresh).isReachable || !pathFrom(fresh, root).isReachable) return EINVAL;
  const place: PathRef = { mnt: mntget(rootMnt.parent), dentry: rootMnt.mountpoint };
  detachMount(cx, fresh.mnt);
  detachMount(cx, rootMnt);
  attachMount(rootMnt, oldTop);
  attachMount(fresh.mnt, place);
  mntput(cx, place.mnt);
  for (const task of cx.kernel.pids.tasks()) moveRoot(cx, task.fs, root, fresh);
  cx.kernel.vfs.mountEvents += 1;
  return 0;
}

/** Linux: chroot_fs_refs(). */
function moveRoot(cx: Cx, fs: FsStruct, old: PathRef, fresh: PathRef): void {
  const isOld = (at: PathRef): boolean => at.mnt === old.mnt && at.dentry === old.dentry;
  if (isOld(fs.pwd)) fs.setPwd(cx, fresh);
  if (isOld(fs.root)) fs.setRoot(cx, fresh);
}

const OPTION_WORDS = [
  [MNT.NOSUID, ",nosuid"],
  [MNT.NODEV, ",nodev"],
  [MNT.NOEXEC, ",noexec"],
  [MNT.NOATIME, ",noatime"],
  [MNT.NODIRATIME, ",nodiratime"],
  [MNT.RELATIME, ",relatime"],
  [MNT.NOSYMFOLLOW, ",nosymfollow"],
] as const;

const mountOptions = (mnt: Mount): string =>
  (mnt.isReadOnly ? "ro" : "rw") +
  OPTION_WORDS.map(([flag, word]) => ((mnt.flags & flag) !== 0 ? word : "")).join("");

/** Spaces and the like as octal escapes (mangle). */
const mangle = (text: string): string =>
  text.replace(/[ \t\n\\#]/g, (c) => `\\${c.charCodeAt(0).toString(8).padStart(3, "0")}`);

/** Mounts that the current task can reach, in tree order. */
function visibleMounts(cx: Cx): { readonly mnt: Mount; readonly at: string }[] {
  const { root } = cx.task.fs;
  return mountsBelow(cx.kernel.vfs.root).flatMap((mnt) => {
    const { text, isReachable } = pathFrom({ mnt, dentry: mnt.root }, root);
    return isReachable || mnt === root.mnt ? [{ mnt, at: text }] : [];
  });
}

/** The text of /proc/<pid>/mounts (show_vfsmnt). */
export const showMounts = (cx: Cx): string =>
  visibleMounts(cx)
    .map(({ mnt, at }) => {
      const options = mountOptions(mnt) + (mnt.sb.ops.show_options?.(cx, mnt.sb) ?? "");
      return `${mangle(mnt.source)} ${mangle(at)} ${mnt.sb.type.name} ${options} 0 0\n`;
    })
    .join("");

/** The text of /proc/<pid>/mountinfo (show_mountinfo). */
export const showMountInfo = (cx: Cx): string =>
  visibleMounts(cx)
    .map(({ mnt, at }) => {
      const { dev } = mnt.sb;
      const sbOptions = (mnt.sb.isReadOnly ? "ro" : "rw") + (mnt.sb.ops.show_options?.(cx, mnt.sb) ?? "");
      const head = `${mnt.id} ${mnt.parent.id} ${dev >>> 20}:${dev & 0xf_ffff} ${mangle(dentryPath(mnt.root))} ${mangle(at)}`;
      return `${head} ${mountOptions(mnt)} - ${mnt.sb.type.name} ${mangle(mnt.source)} ${sbOptions}\n`;
    })
    .join("");
