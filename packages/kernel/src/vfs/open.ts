/**
 * Opening files (Linux: fs/open.c, fs/namei.c): from flags and a name to a `File`. `do_sys_openat2` is the whole of openat(2);
 * `do_filp_open` stops before the descriptor; `dentry_open` opens a place that is known; `filp_open` is for the kernel itself.
 *
 * A FIFO's open sleeps for its other end, so whatever leads to `do_dentry_open` may sleep.
 */
import {
  AT,
  CAP,
  EACCES,
  EAGAIN,
  EEXIST,
  EINVAL,
  EISDIR,
  ELOOP,
  ENAMETOOLONG,
  ENFILE,
  ENOENT,
  ENOTDIR,
  EOPNOTSUPP,
  EPERM,
  ETXTBSY,
  isErr,
  O,
  type KAddr,
  NAME_MAX,
  ptr,
  type Result,
  S,
  s32,
  userPtr,
} from "@alien-ts/abi";
import { capable } from "../core/cred.ts";
import type { Cx } from "../core/cx.ts";
import { type Owned, ownerPtr } from "../core/owner.ts";
import { blockingFn } from "../core/row.ts";
import { do_truncate } from "./attr.ts";
import { andThen, type MaybeBlocking } from "./blocking.ts";
import { def_blk_fops, no_open_fops } from "./char-dev.ts";
import { d_alloc, type Dentry, dput } from "./dentry.ts";
import { fd_install, getUnusedFd } from "./fd-table.ts";
import { alloc_file, countsWriters, File, filep, FMODE, fput, markOpened, path_noexec } from "./file.ts";
import { Filename, filenamep, getname_flags, getname_kernel, putname } from "./filename.ts";
import { type Inode, iput, MAY } from "./inode.ts";
import { mnt_is_nodev, path_put, type PathRef } from "./mount.ts";
import {
  enterDentry,
  linkTarget,
  LOOKUP,
  lookupDentry,
  path_lookupat,
  startWalk,
  type Walk,
  walkLast,
  walkLinkParent,
  walkParent,
} from "./namei.ts";
import { vfs_create } from "./vfs-names.ts";
import { type Path, pathp, stackAlloc, stackPath } from "./path.ts";
import { inode_permission, isOwnerOrCapable, mnt_want_write } from "./permission.ts";
import { open_flags, open_how } from "./structs.ts";

/** RESOLVE_* of openat2 (include/uapi/linux/openat2.h). */
export const RESOLVE = {
  NO_XDEV: 1,
  NO_MAGICLINKS: 2,
  NO_SYMLINKS: 4,
  BENEATH: 8,
  IN_ROOT: 0x10,
  CACHED: 0x20,
} as const;

const TMPFILE_BIT = 0x40_0000;
const VALID_OPEN_FLAGS =
  O.ACCMODE |
  O.CREAT |
  O.EXCL |
  O.NOCTTY |
  O.TRUNC |
  O.APPEND |
  O.NONBLOCK |
  O.DSYNC |
  O.ASYNC |
  O.DIRECT |
  O.LARGEFILE |
  O.DIRECTORY |
  O.NOFOLLOW |
  O.NOATIME |
  O.CLOEXEC |
  O.SYNC |
  O.PATH |
  TMPFILE_BIT;
const O_PATH_FLAGS = O.DIRECTORY | O.NOFOLLOW | O.PATH | O.CLOEXEC;
const VALID_RESOLVE = 0x3f;
/** What fexecve and execve open with (__FMODE_EXEC). */
export const FMODE_EXEC_FLAG = 0x20;

/** What an open asks for, as openat2 passes it. */
export interface OpenRequest {
  readonly flags: number;
  readonly mode: number;
  readonly resolve: number;
}

/** Linux: struct open_flags. */
export class OpenFlags implements Owned {
  readonly addr: KAddr;
  readonly open_flag: number;
  readonly mode: number;
  readonly acc_mode: number;
  readonly lookup_flags: number;

  constructor(
    addr: KAddr,
    fields: { open_flag: number; mode: number; acc_mode: number; lookup_flags: number },
  ) {
    this.addr = addr;
    this.open_flag = fields.open_flag;
    this.mode = fields.mode;
    this.acc_mode = fields.acc_mode;
    this.lookup_flags = fields.lookup_flags;
  }

  has(flag: number): boolean {
    return (this.open_flag & flag) !== 0;
  }
}

export const open_flagsp = ownerPtr<OpenFlags>("open_flags");

/** open(2) and openat(2) ignore flags that they do not know, and a mode without O_CREAT (build_open_how). */
export function build_open_how(flags: number, mode: number): OpenRequest {
  let known = flags & VALID_OPEN_FLAGS;
  if ((known & O.PATH) !== 0) known &= O_PATH_FLAGS;
  const creates = (known & (O.CREAT | TMPFILE_BIT)) !== 0;
  return { flags: known, mode: creates ? mode & 0o7777 : 0, resolve: 0 };
}

/** Checks a request. EINVAL. Linux: build_open_flags(). */
export function checkOpenRequest({ flags, mode, resolve }: OpenRequest): Result<0> {
  if ((flags & ~VALID_OPEN_FLAGS) !== 0 || flags > 0x7fff_ffff) return EINVAL;
  if ((resolve & ~VALID_RESOLVE) !== 0) return EINVAL;
  if ((resolve & (RESOLVE.BENEATH | RESOLVE.IN_ROOT)) === (RESOLVE.BENEATH | RESOLVE.IN_ROOT)) return EINVAL;
  const creates = (flags & (O.CREAT | TMPFILE_BIT)) !== 0;
  if (creates ? (mode & ~0o7777) !== 0 || mode < 0 || mode > 0o7777 : mode !== 0) return EINVAL;
  if ((flags & (O.DIRECTORY | O.CREAT)) === (O.DIRECTORY | O.CREAT)) return EINVAL;
  if ((flags & TMPFILE_BIT) !== 0) {
    if ((flags & O.TMPFILE) !== O.TMPFILE || (flags & O.CREAT) !== 0) return EINVAL;
    if ((flags & O.ACCMODE) === O.RDONLY) return EINVAL;
  }
  if ((flags & O.PATH) !== 0 && (flags & ~O_PATH_FLAGS) !== 0) return EINVAL;
  if ((resolve & RESOLVE.CACHED) !== 0 && (flags & (O.TRUNC | O.CREAT | TMPFILE_BIT)) !== 0) return EAGAIN;
  return 0;
}

const ACC_MODE = [MAY.READ, MAY.WRITE, MAY.READ | MAY.WRITE, MAY.READ | MAY.WRITE] as const;

/** A struct open_flags on the kernel stack. */
function stackOpenFlags(cx: Cx, { flags, mode, resolve }: OpenRequest): OpenFlags {
  const { layout, mem } = cx.kernel;
  const isPath = (flags & O.PATH) !== 0;
  let accMode: number = isPath ? 0 : ACC_MODE[flags & O.ACCMODE]!;
  if (!isPath && (flags & O.TRUNC) !== 0) accMode |= MAY.WRITE;
  if (!isPath && (flags & O.APPEND) !== 0) accMode |= MAY.APPEND;
  const isNoFollow = (flags & O.NOFOLLOW) !== 0 || (flags & (O.CREAT | O.EXCL)) === (O.CREAT | O.EXCL);
  let lookup = isNoFollow ? 0 : LOOKUP.FOLLOW;
  if ((flags & O.DIRECTORY) !== 0) lookup |= LOOKUP.DIRECTORY;
  if ((resolve & RESOLVE.NO_XDEV) !== 0) lookup |= LOOKUP.NO_XDEV;
  if ((resolve & RESOLVE.NO_MAGICLINKS) !== 0) lookup |= LOOKUP.NO_MAGICLINKS;
  if ((resolve & RESOLVE.NO_SYMLINKS) !== 0) lookup |= LOOKUP.NO_SYMLINKS | LOOKUP.NO_MAGICLINKS;
  if ((resolve & RESOLVE.BENEATH) !== 0) lookup |= LOOKUP.BENEATH;
  if ((resolve & RESOLVE.IN_ROOT) !== 0) lookup |= LOOKUP.IN_ROOT;
  const addr = stackAlloc(cx, layout.size(open_flags));
  const view = new (layout.view(open_flags))(mem, addr);
  const creates = (flags & (O.CREAT | TMPFILE_BIT)) !== 0;
  view.open_flag = flags;
  view.mode = creates ? (mode & 0o7777) | S.IFREG : 0;
  view.acc_mode = accMode;
  view.lookup_flags = lookup;
  return new OpenFlags(addr, { open_flag: flags, mode: view.mode, acc_mode: accMode, lookup_flags: lookup });
}

/** Linux: struct open_how on the stack of do_sys_openat2's callers. */
export class OpenHow implements Owned {
  readonly addr: KAddr;
  readonly request: OpenRequest;
  constructor(addr: KAddr, request: OpenRequest) {
    this.addr = addr;
    this.request = request;
  }
}

export const open_howp = ownerPtr<OpenHow>("open_how");

/** All of openat(2) and openat2(2): the new descriptor. */
export const do_sys_openat2 = blockingFn(
  "do_sys_openat2",
  [
    ["dfd", s32],
    ["filename", userPtr("char")],
    ["how", open_howp],
  ],
  s32,
  (cx, dfd, filename, how): MaybeBlocking<Result<number>> => {
    const { request } = how;
    const checked = checkOpenRequest(request);
    if (isErr(checked)) return checked;
    const name = getname_flags(cx, filename, 0);
    if (isErr(name)) return name;
    const fd = getUnusedFd(cx, (request.flags & O.CLOEXEC) !== 0);
    if (isErr(fd)) {
      putname(cx, name);
      return fd;
    }
    const { ksp } = cx;
    const flags = stackOpenFlags(cx, request);
    return andThen(do_filp_open(cx, dfd, name, flags), (file): Result<number> => {
      cx.ksp = ksp;
      putname(cx, name);
      if (file instanceof File) {
        fd_install(cx, fd, file);
        return fd;
      }
      cx.task.files.freeFd(fd);
      return file;
    });
  },
);

/** openat(2) and openat2(2) with the request on the kernel stack. */
export function openUserPath(
  cx: Cx,
  dfd: number,
  filename: number,
  request: OpenRequest,
): MaybeBlocking<Result<number>> {
  const { ksp } = cx;
  const { layout, mem } = cx.kernel;
  const addr = stackAlloc(cx, layout.size(open_how));
  const view = new (layout.view(open_how))(mem, addr);
  view.flags = request.flags;
  view.mode = request.mode;
  view.resolve = request.resolve;
  return andThen(do_sys_openat2(cx, dfd, filename, new OpenHow(addr, request)), (result) => {
    cx.ksp = ksp;
    return result;
  });
}

/** Opens a file by name: the place is found or made, checked and opened. */
export const do_filp_open = blockingFn(
  "do_filp_open",
  [
    ["dfd", s32],
    ["pathname", filenamep],
    ["op", open_flagsp],
  ],
  filep,
  (cx, dfd, pathname, op): MaybeBlocking<Result<File>> => {
    const { vfs } = cx.kernel;
    if (vfs.openFiles >= vfs.maxFiles && !capable(cx, CAP.SYS_ADMIN)) return ENFILE;
    if ((op.open_flag & TMPFILE_BIT) !== 0) return openTmpfile(cx, dfd, pathname.text, op);
    const found = findForOpen(cx, dfd, pathname.text, op);
    if (isErr(found)) return found;
    return andThen(openFound(cx, found, op), (file) => {
      path_put(cx, found.place);
      return file;
    });
  },
);

interface Found {
  /** With references. */
  readonly place: PathRef;
  readonly isCreated: boolean;
}

/** The place that an open means, made when O_CREAT asks for it. Linux: path_openat() up to do_open(). */
function findForOpen(cx: Cx, dfd: number, name: string, op: OpenFlags): Result<Found> {
  if (!op.has(O.CREAT)) {
    const place = path_lookupat(cx, dfd, name, op.lookup_flags);
    return isErr(place) ? place : { place, isCreated: false };
  }
  const walk = startWalk(cx, dfd, name, op.lookup_flags);
  if (isErr(walk)) return walk;
  const result = walkToCreate(walk, name, op);
  if (isErr(result)) {
    walk.end();
    return result;
  }
  return { place: { mnt: walk.mnt, dentry: walk.dentry }, isCreated: result === "created" };
}

function walkToCreate(walk: Walk, name: string, op: OpenFlags): Result<"created" | "found"> {
  let step = walkParent(walk, name);
  for (;;) {
    if (isErr(step)) return step;
    if (walk.dentry.inode?.isDirectory !== true) return ENOTDIR;
    if (walk.lastType !== "norm") {
      const last = walkLast(walk, true);
      return isErr(last) ? last : "found";
    }
    if (walk.hasTrailingSlash) return EISDIR;
    const link = openLast(walk, op);
    if (typeof link === "string" || isErr(link)) return link;
    const target = linkTarget(walk, link.link);
    dput(walk.cx, link.link);
    if (isErr(target)) return target;
    if (typeof target !== "string") {
      walk.moveTo(target);
      return "found";
    }
    step = walkLinkParent(walk, target);
  }
}

/** Looks the last component up, or makes it. A symbolic link that must be followed is handed back with its reference. */
function openLast(walk: Walk, op: OpenFlags): Result<"created" | "found" | { readonly link: Dentry }> {
  const { cx, mnt } = walk;
  const parent = walk.dentry;
  if (walk.last.length > NAME_MAX) return ENAMETOOLONG;
  const child = lookupDentry(cx, parent, walk.last);
  if (isErr(child)) return child;
  if (child.inode === null) {
    const made = createForOpen(cx, mnt, parent, child, op);
    if (isErr(made)) {
      dput(cx, child);
      return made;
    }
    const entered = enterDentry(walk, child, false);
    return isErr(entered) ? entered : "created";
  }
  if (op.has(O.EXCL)) {
    dput(cx, child);
    return EEXIST;
  }
  if (child.inode.isSymlink && (op.lookup_flags & LOOKUP.FOLLOW) !== 0) return { link: child };
  const entered = enterDentry(walk, child, false);
  return isErr(entered) ? entered : "found";
}

function createForOpen(cx: Cx, mnt: PathRef["mnt"], parent: Dentry, child: Dentry, op: OpenFlags): Result<0> {
  const dir = parent.inode;
  if (dir === null) return ENOENT;
  const writable = mnt_want_write(mnt);
  if (isErr(writable)) return writable;
  const mode = (op.mode & ~cx.task.fs.umask & 0o7777) | S.IFREG;
  const made = vfs_create(cx, mnt.idmap, dir, child, mode, op.has(O.EXCL));
  return isErr(made) ? made : 0;
}

/** Checks, truncates and opens the place. Linux: do_open(). */
function openFound(cx: Cx, { place, isCreated }: Found, op: OpenFlags): MaybeBlocking<Result<File>> {
  const { inode } = place.dentry;
  if (inode === null) return ENOENT;
  if (op.has(O.CREAT) && !isCreated && inode.isDirectory) return EISDIR;
  if ((op.lookup_flags & LOOKUP.DIRECTORY) !== 0 && !inode.isDirectory) return ENOTDIR;
  let accMode = isCreated ? 0 : op.acc_mode;
  if (!op.has(O.PATH)) {
    accMode |= MAY.OPEN;
    const allowed = may_open(cx, place, accMode, op.open_flag);
    if (isErr(allowed)) return allowed;
    const wantsWrite = (op.open_flag & O.ACCMODE) !== O.RDONLY || (op.has(O.TRUNC) && !isCreated);
    if (wantsWrite && !isSpecial(inode)) {
      const writable = mnt_want_write(place.mnt);
      if (isErr(writable)) return writable;
    }
  }
  return andThen(open_place(cx, place, op.open_flag), (file): Result<File> => {
    if (!(file instanceof File) || isCreated || !op.has(O.TRUNC) || !inode.isRegular) return file;
    const truncated = handle_truncate(cx, file, inode);
    if (!isErr(truncated)) return file;
    fput(cx, file);
    return truncated;
  });
}

const isSpecial = (inode: Inode): boolean =>
  inode.type === S.IFCHR || inode.type === S.IFBLK || inode.type === S.IFIFO || inode.type === S.IFSOCK;

function handle_truncate(cx: Cx, file: File, inode: Inode): Result<0> {
  if (inode.writers < 0) return ETXTBSY;
  const done = do_truncate(cx, 0, file.path.dentry, 0, 0, file);
  return isErr(done) ? done : 0;
}

/** Whether a place may be opened as asked (fs/namei.c). ELOOP, EISDIR, EACCES, EPERM, EROFS. */
export function may_open(cx: Cx, place: PathRef, accMode: number, flags: number): Result<0> {
  const { inode } = place.dentry;
  if (inode === null) return ENOENT;
  if (inode.isSymlink) return ELOOP;
  if (inode.isDirectory && (accMode & (MAY.WRITE | MAY.EXEC)) !== 0)
    return accMode & MAY.WRITE ? EISDIR : EACCES;
  if ((inode.type === S.IFCHR || inode.type === S.IFBLK) && mnt_is_nodev(place.mnt)) return EACCES;
  if ((accMode & MAY.EXEC) !== 0 && (path_noexec(place) || !inode.isRegular)) return EACCES;
  const allowed = inode_permission(cx, place.mnt.idmap, inode, accMode);
  if (isErr(allowed)) return allowed;
  if ((flags & O.NOATIME) !== 0 && !isOwnerOrCapable(cx, inode)) return EPERM;
  return 0;
}

/** A file on a place, opened. */
function open_place(cx: Cx, place: PathRef, flags: number): MaybeBlocking<Result<File>> {
  const file = alloc_file(
    cx,
    place,
    flags & ~(O.CREAT | O.EXCL | O.NOCTTY | O.TRUNC | FMODE_EXEC_FLAG),
    NO_OPERATIONS,
  );
  if (isErr(file)) return file;
  if ((flags & FMODE_EXEC_FLAG) !== 0) file.mode |= FMODE.EXEC;
  const { ksp } = cx;
  return andThen(vfs_open(cx, stackPath(cx, place), file), (result): Result<File> => {
    cx.ksp = ksp;
    if (!isErr(result)) return file;
    fput(cx, file);
    return result;
  });
}

const NO_OPERATIONS = { name: "empty_fops" } as const;

export const vfs_open = blockingFn(
  "vfs_open",
  [
    ["path", pathp],
    ["file", filep],
  ],
  s32,
  (cx, _path: Path, file): MaybeBlocking<Result<number>> => do_dentry_open(cx, file, 0),
);

/** Gives a file its operations, and runs their open. ENXIO, ETXTBSY, EINVAL, and what the operation answers. */
export const do_dentry_open = blockingFn(
  "do_dentry_open",
  [
    ["f", filep],
    ["open", ptr("void")],
  ],
  s32,
  (cx, f, _open): MaybeBlocking<Result<number>> => {
    const { inode } = f;
    if ((f.flags & O.PATH) !== 0) {
      f.mode = FMODE.PATH;
      return 0;
    }
    if (f.canWrite && countsWriters(inode)) {
      if (inode.writers < 0) return ETXTBSY;
    }
    f.f_op = operationsOf(cx, inode);
    if (inode.isRegular || inode.isDirectory) f.mode |= FMODE.ATOMIC_POS;
    return andThen(f.f_op.open?.(cx, inode, f) ?? 0, (result): Result<number> => {
      if (isErr(result)) return result;
      if (f.canWrite && countsWriters(inode)) inode.writers += 1;
      markOpened(f);
      // Linux: a file that cannot do direct I/O is closed again. tmpfs can (6.6).
      return (f.flags & O.DIRECT) !== 0 && !inode.isRegular ? EINVAL : 0;
    });
  },
);

function operationsOf(cx: Cx, inode: Inode): File["f_op"] {
  switch (inode.type) {
    case S.IFIFO:
      return cx.kernel.vfs.fifoOperations ?? no_open_fops;
    case S.IFBLK:
      return def_blk_fops;
    case S.IFSOCK:
      return no_open_fops;
    default:
      return inode.i_fop;
  }
}

/** O_TMPFILE: an unnamed file in a directory, that linkat can name later unless O_EXCL. Linux: do_tmpfile(). */
function openTmpfile(cx: Cx, dfd: number, name: string, op: OpenFlags): MaybeBlocking<Result<File>> {
  const place = path_lookupat(cx, dfd, name, op.lookup_flags | LOOKUP.DIRECTORY);
  if (isErr(place)) return place;
  const dentry = makeTmpfile(cx, place, op);
  if (isErr(dentry)) {
    path_put(cx, place);
    return dentry;
  }
  return andThen(open_place(cx, { mnt: place.mnt, dentry }, op.open_flag & ~O.DIRECTORY), (file) => {
    dput(cx, dentry);
    path_put(cx, place);
    return file;
  });
}

function makeTmpfile(cx: Cx, place: PathRef, op: OpenFlags): Result<Dentry> {
  const dir = place.dentry.inode;
  if (dir === null) return ENOENT;
  const writable = mnt_want_write(place.mnt);
  if (isErr(writable)) return writable;
  const allowed = inode_permission(cx, place.mnt.idmap, dir, MAY.WRITE | MAY.EXEC);
  if (isErr(allowed)) return allowed;
  if (dir.i_op.tmpfile === undefined) return EOPNOTSUPP;
  const inode = dir.i_op.tmpfile(cx, dir, (op.mode & ~cx.task.fs.umask & 0o7777) | S.IFREG);
  if (isErr(inode)) return inode;
  const dentry = d_alloc(place.dentry, `#${inode.ino}`);
  if (isErr(dentry)) {
    iput(cx, inode);
    return dentry;
  }
  dentry.inode = inode;
  dentry.t.d_inode = inode.addr;
  inode.canLink = !op.has(O.EXCL);
  return dentry;
}

/** Opens a place that is known. Checks nothing. */
export const dentry_open = (cx: Cx, place: PathRef, flags: number): MaybeBlocking<Result<File>> =>
  open_place(cx, place, flags);

/** Opens a file by a kernel's own path (init's console, exec). */
export function filp_open(cx: Cx, path: string, flags: number, mode = 0): MaybeBlocking<Result<File>> {
  const name = getname_kernel(cx.kernel, path);
  if (!(name instanceof Filename)) return name;
  const { ksp } = cx;
  const op = stackOpenFlags(cx, build_open_how(flags, mode));
  return andThen(do_filp_open(cx, AT.FDCWD, name, op), (file) => {
    cx.ksp = ksp;
    putname(cx, name);
    return file;
  });
}

/**
 * Opens a program for execve: a regular file that may be executed, on a mount without noexec. EACCES. `deny_write_access` keeps
 * it from being written until `allow_write_access`.
 */
export function do_open_execat(
  cx: Cx,
  dfd: number,
  name: string,
  atFlags: number,
): MaybeBlocking<Result<File>> {
  const lookup = (atFlags & AT.SYMLINK_NOFOLLOW) !== 0 ? 0 : LOOKUP.FOLLOW;
  if (name === "" && (atFlags & AT.EMPTY_PATH) === 0) return ENOENT;
  const place = path_lookupat(cx, dfd, name, lookup);
  if (isErr(place)) return place;
  const allowed = may_open(cx, place, MAY.EXEC | MAY.OPEN, O.RDONLY);
  const step = isErr(allowed) ? allowed : open_place(cx, place, O.RDONLY | FMODE_EXEC_FLAG);
  return andThen<Result<File>, Result<File>>(step, (file) => {
    path_put(cx, place);
    if (isErr(file)) return file;
    const denied = deny_write_access(file.inode);
    if (!isErr(denied)) return file;
    fput(cx, file);
    return denied;
  });
}

/** Keeps writers away from a file that is executed. ETXTBSY when it is open for writing. */
export function deny_write_access(inode: Inode): Result<0> {
  if (inode.writers > 0) return ETXTBSY;
  inode.writers -= 1;
  return 0;
}

export function allow_write_access(inode: Inode): void {
  inode.writers += 1;
}
