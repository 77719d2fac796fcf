/** Metadata of files: stat, statx, statfs, readlink (Linux: fs/stat.c, fs/statfs.c). */
import {
  AT,
  EBADF,
  EFAULT,
  EINVAL,
  ENOENT,
  ENOSYS,
  isErr,
  type KAddr,
  type Result,
  s32,
  STATX,
  u32,
  type ViewOf,
  userPtr,
} from "@alien-ts/abi";
import type { Cx } from "../core/cx.ts";
import { type Owned, ownerPtr } from "../core/owner.ts";
import { kernelFn } from "../core/row.ts";
import { copyBytesToUser } from "../mm/uaccess.ts";
import { bytesOf, type Dentry, dentryp } from "./dentry.ts";
import { filenamep } from "./filename.ts";
import { touch } from "./inode.ts";
import { MNT, path_put, type PathRef } from "./mount.ts";
import { LOOKUP, lookupPath } from "./namei.ts";
import { type Path, pathp, stackAlloc, stackPath } from "./path.ts";
import { kstat } from "./structs.ts";
import type { StatFs } from "./super.ts";

/** Linux: struct kstat, on the caller's stack. */
export class Kstat implements Owned {
  readonly addr: KAddr;
  readonly t: ViewOf<typeof kstat>;

  constructor(cx: Cx) {
    const { layout, mem } = cx.kernel;
    this.addr = stackAlloc(cx, layout.size(kstat));
    this.t = new (layout.view(kstat))(mem, this.addr);
  }
}

export const kstatp = ownerPtr<Kstat>("kstat");

/** STATX_ATTR_MOUNT_ROOT: the place is the root of a mount. */
const ATTR_MOUNT_ROOT = 0x2000;

/** Fills `stat` from an inode, and from the file system where it has more to say. */
export const vfs_getattr = kernelFn(
  "vfs_getattr",
  [
    ["path", pathp],
    ["stat", kstatp],
    ["request_mask", u32],
    ["query_flags", u32],
  ],
  s32,
  (cx, path: Path, stat, _requestMask, _queryFlags) => {
    const { inode } = path.dentry;
    if (inode === null) return ENOENT;
    const { t } = stat;
    const from = inode.t;
    const overrides = inode.i_op.getattr?.(cx, inode) ?? {};
    t.result_mask = STATX.BASIC_STATS | STATX.BTIME | STATX.MNT_ID;
    t.dev = inode.sb.dev;
    t.mode = from.i_mode;
    t.nlink = overrides.nlink ?? from.i_nlink;
    t.uid.val = from.i_uid.val;
    t.gid.val = from.i_gid.val;
    t.rdev = from.i_rdev;
    t.ino = from.i_ino;
    t.size = overrides.size ?? from.i_size;
    t.blocks = overrides.blocks ?? from.i_blocks;
    t.blksize = overrides.blksize ?? inode.sb.t.s_blocksize;
    t.atime.tv_sec = from.i_atime_sec;
    t.atime.tv_nsec = from.i_atime_nsec;
    t.mtime.tv_sec = from.i_mtime_sec;
    t.mtime.tv_nsec = from.i_mtime_nsec;
    t.ctime.tv_sec = from.i_ctime_sec;
    t.ctime.tv_nsec = from.i_ctime_nsec;
    t.btime.tv_sec = inode.birth.sec;
    t.btime.tv_nsec = inode.birth.nsec;
    t.mnt_id = path.mnt.id;
    const isMountRoot = path.dentry === path.mnt.root;
    t.attributes = (overrides.attributes ?? 0) | (isMountRoot ? ATTR_MOUNT_ROOT : 0);
    t.attributes_mask = ATTR_MOUNT_ROOT;
    return 0;
  },
);

const STATX_AT_FLAGS = AT.SYMLINK_NOFOLLOW | AT.NO_AUTOMOUNT | AT.EMPTY_PATH | 0x6000;

/** Finds a name and fills `stat`. */
export const vfs_statx = kernelFn(
  "vfs_statx",
  [
    ["dfd", s32],
    ["filename", filenamep],
    ["flags", s32],
    ["stat", kstatp],
    ["request_mask", u32],
  ],
  s32,
  (cx, dfd, filename, flags, stat, mask) => {
    if ((flags & ~STATX_AT_FLAGS) !== 0) return EINVAL;
    const follow = (flags & AT.SYMLINK_NOFOLLOW) === 0 ? LOOKUP.FOLLOW : 0;
    const place = lookupPath(cx, dfd, filename, follow);
    if (isErr(place)) return place;
    const result = statPlace(cx, place, stat, mask);
    path_put(cx, place);
    return result;
  },
  { local: true },
);

/** vfs_getattr on a place, with the path on the stack. */
export function statPlace(cx: Cx, place: PathRef, stat: Kstat, mask: number): Result<number> {
  const { ksp } = cx;
  const result = vfs_getattr(cx, stackPath(cx, place), stat, mask, 0);
  cx.ksp = ksp;
  return result;
}

/** fstat on a descriptor, O_PATH ones too. */
export const vfs_fstat = kernelFn(
  "vfs_fstat",
  [
    ["fd", s32],
    ["stat", kstatp],
  ],
  s32,
  (cx, fd, stat) => {
    const file = cx.task.files.get(fd);
    return file === undefined ? EBADF : vfs_getattr(cx, file.path, stat, STATX.BASIC_STATS, 0);
  },
);

/** What statfs(2) reports, with the mount's flags. */
export function vfs_statfs(cx: Cx, place: PathRef): Result<StatFs> {
  const { sb } = place.mnt;
  return sb.ops.statfs?.(cx, sb) ?? ENOSYS;
}

const ST_VALID = 0x20;
const ST_FLAGS = [
  [MNT.NOSUID, 2],
  [MNT.NODEV, 4],
  [MNT.NOEXEC, 8],
  [MNT.NOATIME, 0x400],
  [MNT.NODIRATIME, 0x800],
  [MNT.RELATIME, 0x1000],
  [MNT.NOSYMFOLLOW, 0x2000],
] as const;

/** f_flags of statfs(2): ST_*. */
export function statfsFlags(place: PathRef): number {
  let flags = ST_VALID | (place.mnt.isReadOnly ? 1 : 0);
  for (const [mnt, st] of ST_FLAGS) if ((place.mnt.flags & mnt) !== 0) flags |= st;
  return flags;
}

/** Copies a link's text to user memory, cut at `buflen`, without a NUL. EINVAL for what is no link. */
export const vfs_readlink = kernelFn(
  "vfs_readlink",
  [
    ["dentry", dentryp],
    ["buffer", userPtr("char")],
    ["buflen", s32],
  ],
  s32,
  (cx, dentry, buffer, buflen) => {
    const text = readLink(cx, dentry);
    if (isErr(text)) return text;
    const bytes = bytesOf(text.slice(0, buflen));
    const { mm } = cx.task;
    return mm === null || copyBytesToUser(mm, buffer, bytes) !== 0 ? EFAULT : bytes.length;
  },
);

/** The text of a link. */
export function readLink(cx: Cx, dentry: Dentry): Result<string> {
  const { inode } = dentry;
  if (inode === null) return ENOENT;
  const { readlink, get_link } = inode.i_op;
  if (readlink !== undefined) return readlink(cx, dentry);
  if (!inode.isSymlink || get_link === undefined) return EINVAL;
  const target = get_link(cx, dentry, inode);
  if (isErr(target) || typeof target === "string") return target;
  path_put(cx, target);
  return EINVAL;
}

const DAY_SEC = 86_400;

/** A file was read: atime, as relatime has it (touch_atime, relatime_need_update). */
export function touch_atime(place: PathRef): void {
  const { inode } = place.dentry;
  const { flags } = place.mnt;
  if (inode === null || (flags & MNT.NOATIME) !== 0 || place.mnt.isReadOnly) return;
  if ((flags & MNT.NODIRATIME) !== 0 && inode.isDirectory) return;
  const { t } = inode;
  const now = inode.kernel.clock.realTime();
  if ((flags & MNT.RELATIME) !== 0) {
    const isNewer = (sec: number, nsec: number): boolean =>
      t.i_atime_sec > sec || (t.i_atime_sec === sec && t.i_atime_nsec > nsec);
    const isFresh = isNewer(t.i_mtime_sec, t.i_mtime_nsec) && isNewer(t.i_ctime_sec, t.i_ctime_nsec);
    if (isFresh && now.sec - t.i_atime_sec < DAY_SEC) return;
  }
  touch(inode, now, true, false, false);
}
