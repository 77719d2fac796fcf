/** Metadata: stat, statx, statfs, chmod, chown, utimensat, access, truncate, fallocate. Linux: fs/stat.c, fs/open.c, fs/utimes.c. */
import {
  ACCESS,
  AT,
  EACCES,
  EBADF,
  EFAULT,
  EINVAL,
  EROFS,
  isErr,
  NR,
  type Result,
  S,
  stat,
  statfs,
  statx,
  STATX,
  type UAddr,
  UTIME_NOW,
  UTIME_OMIT,
  type View,
} from "@alien-ts/abi";
import type { Cx } from "../core/cx.ts";
import { int, offsetArg, slong, syscall, uint, userPointer } from "../core/syscall.ts";
import { get_user_s64 } from "../mm/uaccess.ts";
import { prepareCreds, putCred, setCred } from "../task/create.ts";
import {
  chmod_common,
  chown_common,
  do_truncate,
  type TimeChange,
  truncatePath,
  vfs_utimes,
} from "../vfs/attr.ts";
import { MAJOR, MINOR, new_encode_dev } from "../vfs/char-dev.ts";
import { type File, path_noexec } from "../vfs/file.ts";
import { getname_flags, LOOKUP_EMPTY, putname } from "../vfs/filename.ts";
import { MAY } from "../vfs/inode.ts";
import { path_put, type PathRef } from "../vfs/mount.ts";
import { LOOKUP, userPath } from "../vfs/namei.ts";
import { stackPath } from "../vfs/path.ts";
import { inode_permission } from "../vfs/permission.ts";
import { vfs_fallocate, withFile } from "../vfs/read-write.ts";
import { Kstat, statfsFlags, vfs_fstat, vfs_statfs, vfs_statx } from "../vfs/stat.ts";
import { putStruct, userMm } from "../vfs/user.ts";

const DFD = ["dfd", int] as const;
const FILENAME = ["filename", userPointer("const char")] as const;

/** Runs `body` with a struct kstat on the kernel stack. */
function withStat(cx: Cx, body: (into: Kstat) => Result<number>): Result<number> {
  const { ksp } = cx;
  const result = body(new Kstat(cx));
  cx.ksp = ksp;
  return result;
}

/** vfs_fstatat(): an empty (or NULL) name with AT_EMPTY_PATH means the descriptor. */
function fillStat(
  cx: Cx,
  dfd: number,
  filename: UAddr,
  flags: number,
  into: Kstat,
  mask: number,
): Result<number> {
  const isEmptyAllowed = (flags & AT.EMPTY_PATH) !== 0;
  if (isEmptyAllowed && filename === 0 && dfd >= 0) return vfs_fstat(cx, dfd, into);
  const name = getname_flags(cx, filename, isEmptyAllowed ? LOOKUP_EMPTY : 0);
  if (isErr(name)) return name;
  const isFd = isEmptyAllowed && name.text === "" && dfd >= 0;
  const result = isFd ? vfs_fstat(cx, dfd, into) : vfs_statx(cx, dfd, name, flags, into, mask);
  putname(cx, name);
  return result;
}

/** cp_new_stat(). */
const copyStat = (cx: Cx, { t }: Kstat, to: UAddr): Result<0> =>
  putStruct(cx, stat, to, (out: View<typeof stat.fields>) => {
    out.st_dev = new_encode_dev(t.dev);
    out.st_ino = t.ino;
    out.st_mode = t.mode;
    out.st_nlink = t.nlink;
    out.st_uid = t.uid.val;
    out.st_gid = t.gid.val;
    out.st_rdev = new_encode_dev(t.rdev);
    out.st_size = t.size;
    out.st_blksize = t.blksize;
    out.st_blocks = t.blocks;
    out.st_atime = t.atime.tv_sec;
    out.st_atime_nsec = t.atime.tv_nsec;
    out.st_mtime = t.mtime.tv_sec;
    out.st_mtime_nsec = t.mtime.tv_nsec;
    out.st_ctime = t.ctime.tv_sec;
    out.st_ctime_nsec = t.ctime.tv_nsec;
  });

export const sys_newfstatat = syscall(
  NR.newfstatat,
  "newfstatat",
  [DFD, FILENAME, ["statbuf", userPointer("struct stat")], ["flag", int]],
  (cx, dfd, filename, statbuf, flag) =>
    withStat(cx, (into) => {
      const found = fillStat(cx, dfd, filename, flag, into, STATX.BASIC_STATS);
      return isErr(found) ? found : copyStat(cx, into, statbuf);
    }),
);

/** "newfstat" in Linux's source; the number is __NR_fstat. */
export const sys_newfstat = syscall(
  NR.fstat,
  "newfstat",
  [
    ["fd", uint],
    ["statbuf", userPointer("struct stat")],
  ],
  (cx, fd, statbuf) =>
    withStat(cx, (into) => {
      const found = vfs_fstat(cx, fd | 0, into);
      return isErr(found) ? found : copyStat(cx, into, statbuf);
    }),
);

const STATX_RESERVED = 0x8000_0000;
const STATX_SYNC_TYPE = 0x6000;

const copyTime = (
  out: { tv_sec: number; tv_nsec: number },
  time: { tv_sec: number; tv_nsec: number },
): void => {
  out.tv_sec = time.tv_sec;
  out.tv_nsec = time.tv_nsec;
};

/** cp_statx(). */
const copyStatx = (cx: Cx, { t }: Kstat, to: UAddr): Result<0> =>
  putStruct(cx, statx, to, (out: View<typeof statx.fields>) => {
    out.stx_mask = t.result_mask;
    out.stx_blksize = t.blksize;
    out.stx_attributes = t.attributes;
    out.stx_attributes_mask = t.attributes_mask;
    out.stx_nlink = t.nlink;
    out.stx_uid = t.uid.val;
    out.stx_gid = t.gid.val;
    out.stx_mode = t.mode;
    out.stx_ino = t.ino;
    out.stx_size = t.size;
    out.stx_blocks = t.blocks;
    copyTime(out.stx_atime, t.atime);
    copyTime(out.stx_btime, t.btime);
    copyTime(out.stx_ctime, t.ctime);
    copyTime(out.stx_mtime, t.mtime);
    out.stx_rdev_major = MAJOR(t.rdev);
    out.stx_rdev_minor = MINOR(t.rdev);
    out.stx_dev_major = MAJOR(t.dev);
    out.stx_dev_minor = MINOR(t.dev);
    out.stx_mnt_id = t.mnt_id;
  });

export const sys_statx = syscall(
  NR.statx,
  "statx",
  [DFD, FILENAME, ["flags", uint], ["mask", uint], ["buffer", userPointer("struct statx")]],
  (cx, dfd, filename, flags, mask, buffer) => {
    if ((mask & STATX_RESERVED) !== 0) return EINVAL;
    if ((flags & STATX_SYNC_TYPE) === STATX_SYNC_TYPE) return EINVAL;
    return withStat(cx, (into) => {
      const found = fillStat(cx, dfd, filename, flags, into, mask);
      return isErr(found) ? found : copyStatx(cx, into, buffer);
    });
  },
);

const NAME_MAX = 255;

function copyStatfs(cx: Cx, place: PathRef, to: UAddr): Result<number> {
  const found = vfs_statfs(cx, place);
  if (isErr(found)) return found;
  const { sb } = place.mnt;
  return putStruct(cx, statfs, to, (out: View<typeof statfs.fields>) => {
    out.f_type = sb.t.s_magic;
    out.f_bsize = found.bsize;
    out.f_blocks = found.blocks;
    out.f_bfree = found.bfree;
    out.f_bavail = found.bavail;
    out.f_files = found.files;
    out.f_ffree = found.ffree;
    out.f_fsid.set(0, sb.dev);
    out.f_namelen = NAME_MAX;
    out.f_frsize = found.bsize;
    out.f_flags = statfsFlags(place);
  });
}

/** Runs `body` with a place from user memory, and gives it back. */
function withPath(
  cx: Cx,
  dfd: number,
  filename: UAddr,
  flags: number,
  body: (place: PathRef) => Result<number>,
): Result<number> {
  const place = userPath(cx, dfd, filename, flags);
  if (isErr(place)) return place;
  const result = body(place);
  path_put(cx, place);
  return result;
}

export const sys_statfs = syscall(
  NR.statfs,
  "statfs",
  [
    ["pathname", userPointer("const char")],
    ["buf", userPointer("struct statfs")],
  ],
  (cx, pathname, buf) =>
    withPath(cx, AT.FDCWD, pathname, LOOKUP.FOLLOW, (place) => copyStatfs(cx, place, buf)),
);

export const sys_fstatfs = syscall(
  NR.fstatfs,
  "fstatfs",
  [
    ["fd", uint],
    ["buf", userPointer("struct statfs")],
  ],
  (cx, fd, buf) => {
    const file = cx.task.files.get(fd);
    return file === undefined ? EBADF : copyStatfs(cx, file.path, buf);
  },
);

/** Flags of the *at calls as flags of a walk. Undefined for flags that the call does not know. */
function lookupFlags(flags: number): number | undefined {
  if ((flags & ~(AT.SYMLINK_NOFOLLOW | AT.EMPTY_PATH)) !== 0) return undefined;
  const follow = (flags & AT.SYMLINK_NOFOLLOW) === 0 ? LOOKUP.FOLLOW : 0;
  return follow | ((flags & AT.EMPTY_PATH) === 0 ? 0 : LOOKUP.EMPTY);
}

/** Runs a row that takes a struct path, with the path on the stack. */
function onPath<T>(cx: Cx, place: PathRef, body: (path: ReturnType<typeof stackPath>) => T): T {
  const { ksp } = cx;
  const result = body(stackPath(cx, place));
  cx.ksp = ksp;
  return result;
}

const MODE = ["mode", uint] as const;

function chmodAt(cx: Cx, dfd: number, filename: UAddr, mode: number, flags: number): Result<number> {
  const lookup = lookupFlags(flags);
  if (lookup === undefined) return EINVAL;
  return withPath(cx, dfd, filename, lookup, (place) =>
    onPath(cx, place, (path) => chmod_common(cx, path, mode & 0xffff)),
  );
}

export const sys_fchmodat = syscall(
  NR.fchmodat,
  "fchmodat",
  [DFD, FILENAME, MODE],
  (cx, dfd, filename, mode) => chmodAt(cx, dfd, filename, mode, 0),
);

export const sys_fchmodat2 = syscall(
  NR.fchmodat2,
  "fchmodat2",
  [DFD, FILENAME, MODE, ["flags", uint]],
  (cx, dfd, filename, mode, flags) => chmodAt(cx, dfd, filename, mode, flags),
);

export const sys_fchmod = syscall(NR.fchmod, "fchmod", [["fd", uint], MODE], (cx, fd, mode) =>
  withFile(cx, fd, (file: File) => chmod_common(cx, file.path, mode & 0xffff)),
);

const OWNER = [
  ["user", uint],
  ["group", uint],
] as const;

export const sys_fchownat = syscall(
  NR.fchownat,
  "fchownat",
  [DFD, FILENAME, ...OWNER, ["flag", int]],
  (cx, dfd, filename, user, group, flag) => {
    const lookup = lookupFlags(flag);
    if (lookup === undefined) return EINVAL;
    return withPath(cx, dfd, filename, lookup, (place) =>
      onPath(cx, place, (path) => chown_common(cx, path, user, group)),
    );
  },
);

export const sys_fchown = syscall(NR.fchown, "fchown", [["fd", uint], ...OWNER], (cx, fd, user, group) =>
  withFile(cx, fd, (file: File) => chown_common(cx, file.path, user, group)),
);

const NSEC_PER_SEC = 1_000_000_000;

/** One struct timespec of utimensat. EFAULT, EINVAL. */
function readTime(cx: Cx, at: UAddr): Result<TimeChange> {
  const mm = userMm(cx);
  const sec = get_user_s64(mm, at);
  const nsec = get_user_s64(mm, at + 8);
  if (isErr(sec) || isErr(nsec)) return EFAULT;
  if (nsec === UTIME_NOW) return "now";
  if (nsec === UTIME_OMIT) return "omit";
  return nsec < 0 || nsec >= NSEC_PER_SEC ? EINVAL : { sec, nsec };
}

export const sys_utimensat = syscall(
  NR.utimensat,
  "utimensat",
  [DFD, FILENAME, ["utimes", userPointer("struct timespec")], ["flags", int]],
  (cx, dfd, filename, utimes, flags) => {
    const atime = utimes === 0 ? "now" : readTime(cx, utimes);
    const mtime = utimes === 0 ? "now" : readTime(cx, utimes + 16);
    if (isErr(atime)) return atime;
    if (isErr(mtime)) return mtime;
    if (atime === "omit" && mtime === "omit") return 0;
    if (filename === 0 && dfd !== AT.FDCWD) {
      if (flags !== 0) return EINVAL;
      return withFile(cx, dfd, (file) => vfs_utimes(cx, file.path, atime, mtime));
    }
    const lookup = lookupFlags(flags);
    if (lookup === undefined) return EINVAL;
    return withPath(cx, dfd, filename, lookup, (place) => vfs_utimes(cx, place, atime, mtime));
  },
);

/** Linux: do_faccessat(). The real ids count, unless AT_EACCESS says otherwise. */
function accessAt(cx: Cx, dfd: number, filename: UAddr, mode: number, flags: number): Result<number> {
  if ((mode & ~(ACCESS.R_OK | ACCESS.W_OK | ACCESS.X_OK)) !== 0) return EINVAL;
  const lookup = lookupFlags(flags & ~AT.EACCESS);
  if (lookup === undefined) return EINVAL;
  const check = (): Result<number> =>
    withPath(cx, dfd, filename, lookup, (place) => checkAccess(cx, place, mode));
  return (flags & AT.EACCESS) !== 0 ? check() : withRealCredentials(cx, check);
}

function checkAccess(cx: Cx, place: PathRef, mode: number): Result<number> {
  const { inode } = place.dentry;
  if (inode === null) return EACCES;
  if ((mode & ACCESS.X_OK) !== 0 && inode.isRegular && path_noexec(place)) return EACCES;
  const allowed = inode_permission(cx, place.mnt.idmap, inode, mode | MAY.ACCESS);
  if (isErr(allowed) || (mode & ACCESS.W_OK) === 0) return allowed;
  const isSpecial =
    inode.type === S.IFCHR || inode.type === S.IFBLK || inode.type === S.IFIFO || inode.type === S.IFSOCK;
  return !isSpecial && place.mnt.isReadOnly ? EROFS : 0;
}

/** Runs `body` as the real user (access_override_creds): capabilities are those that the real user would have. */
function withRealCredentials(cx: Cx, body: () => Result<number>): Result<number> {
  const { task, kernel } = cx;
  const { cred } = task;
  const isRoot = cred.uid === 0;
  const hasAll = cred.t.cap_effective.val === cred.t.cap_permitted.val;
  const isSame =
    cred.uid === cred.fsuid && cred.gid === cred.fsgid && (isRoot ? hasAll : cred.t.cap_effective.val === 0n);
  if (isSame) return body();
  const real = prepareCreds(kernel, cred);
  if (isErr(real)) return real;
  real.t.fsuid.val = cred.uid;
  real.t.fsgid.val = cred.gid;
  real.t.cap_effective.val = isRoot ? cred.t.cap_permitted.val : 0n;
  setCred(task, real);
  const result = body();
  setCred(task, cred);
  putCred(kernel, real);
  return result;
}

export const sys_faccessat = syscall(
  NR.faccessat,
  "faccessat",
  [DFD, FILENAME, ["mode", int]],
  (cx, dfd, filename, mode) => accessAt(cx, dfd, filename, mode, 0),
);

export const sys_faccessat2 = syscall(
  NR.faccessat2,
  "faccessat2",
  [DFD, FILENAME, ["mode", int], ["flags", int]],
  (cx, dfd, filename, mode, flags) => accessAt(cx, dfd, filename, mode, flags),
);

export const sys_truncate = syscall(
  NR.truncate,
  "truncate",
  [
    ["path", userPointer("const char")],
    ["length", slong],
  ],
  (cx, path, length) =>
    length < 0
      ? EINVAL
      : withPath(cx, AT.FDCWD, path, LOOKUP.FOLLOW, (place) => truncatePath(cx, place, length)),
);

export const sys_ftruncate = syscall(
  NR.ftruncate,
  "ftruncate",
  [
    ["fd", uint],
    ["length", offsetArg],
  ],
  (cx, fd, length) =>
    length < 0
      ? EINVAL
      : withFile(cx, fd, (file): Result<number> => {
          if (!file.inode.isRegular || !file.canWrite) return EINVAL;
          return do_truncate(cx, file.path.mnt.idmap, file.path.dentry, length, 0, file);
        }),
);

export const sys_fallocate = syscall(
  NR.fallocate,
  "fallocate",
  [
    ["fd", int],
    ["mode", int],
    ["offset", offsetArg],
    ["len", offsetArg],
  ],
  (cx, fd, mode, offset, len) => withFile(cx, fd, (file) => vfs_fallocate(cx, file, mode, offset, len)),
);

export const STAT_SYSCALLS = [
  sys_newfstatat,
  sys_newfstat,
  sys_statx,
  sys_statfs,
  sys_fstatfs,
  sys_fchmod,
  sys_fchmodat,
  sys_fchmodat2,
  sys_fchown,
  sys_fchownat,
  sys_utimensat,
  sys_faccessat,
  sys_faccessat2,
  sys_truncate,
  sys_ftruncate,
  sys_fallocate,
] as const;
