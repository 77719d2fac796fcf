/**
 * Files and paths: the *at system calls relative to the current directory, one function each. All throw `SystemError`
 * with the path that failed.
 */
import {
  AT,
  EINTR,
  NR,
  O,
  PATH_MAX,
  S,
  UTIME_NOW,
  UTIME_OMIT,
  type ViewOf,
  statfs,
  stat as statStruct,
  timespec,
} from "@alien-ts/abi";
import { check } from "./errors.ts";
import type { Process } from "./process.ts";
import { BUFFER_BYTES, Stream } from "./stdio.ts";
import { fill, makeStruct, sizeOf, withBlock, withString } from "./structs.ts";
import { fromBytes, toBytes } from "./text.ts";

export type FileStatus = ViewOf<typeof statStruct>;

const CWD = AT.FDCWD;

/** openat(2); O_CLOEXEC is the caller's to give. */
export async function open(process: Process, path: string, flags: number, mode = 0o666): Promise<number> {
  const fd = await withString(process, path, (at) => process.trap(NR.openat, CWD, at, flags, mode));
  return check(fd, "open", path);
}

export async function close(process: Process, fd: number): Promise<void> {
  check(await process.trap(NR.close, fd), "close");
}

/** Opens a file for reading, `-` being standard input. */
export async function openInput(process: Process, path: string): Promise<Stream> {
  if (path === "-") return process.stdin;
  return new Stream(process, await open(process, path, O.RDONLY | O.CLOEXEC), undefined, path);
}

export async function openOutput(process: Process, path: string, flags: number): Promise<Stream> {
  const fd = await open(process, path, O.WRONLY | O.CREAT | O.CLOEXEC | flags);
  return new Stream(process, fd, "full", path);
}

/** Closes what `openInput` opened. */
export async function closeInput(process: Process, stream: Stream): Promise<void> {
  if (stream !== process.stdin) await stream.close();
}

/** The whole file; `-` is standard input. */
export async function readFile(process: Process, path: string): Promise<string> {
  const stream = await openInput(process, path);
  try {
    return await stream.readAll();
  } finally {
    await closeInput(process, stream);
  }
}

/** Writes to a descriptor until all is written. */
export async function writeAll(process: Process, fd: number, text: string): Promise<void> {
  const bytes = toBytes(text);
  if (bytes.length === 0) return;
  const size = Math.min(bytes.length, BUFFER_BYTES);
  await withBlock(process, size, async (buffer) => {
    for (let at = 0; at < bytes.length;) {
      const chunk = bytes.subarray(at, at + size);
      process.memory.write(buffer, chunk);
      const put = await process.trap(NR.write, fd, buffer, chunk.length);
      if (put !== -EINTR.number) at += check(put, "write", "write error");
    }
  });
}

export const stat = (process: Process, path: string): Promise<FileStatus> => statAt(process, path, 0);
export const lstat = (process: Process, path: string): Promise<FileStatus> =>
  statAt(process, path, AT.SYMLINK_NOFOLLOW);

async function statAt(process: Process, path: string, flags: number): Promise<FileStatus> {
  const got = await tryStatAt(process, path, flags);
  return typeof got === "number" ? failWith(got, "stat", path) : got;
}

/** The status, or a negated errno. */
export function tryStat(process: Process, path: string): Promise<FileStatus | number> {
  return tryStatAt(process, path, 0);
}

export function tryLstat(process: Process, path: string): Promise<FileStatus | number> {
  return tryStatAt(process, path, AT.SYMLINK_NOFOLLOW);
}

function tryStatAt(process: Process, path: string, flags: number): Promise<FileStatus | number> {
  return withString(process, path, (at) =>
    fill(process, statStruct, (buffer) => process.trap(NR.newfstatat, CWD, at, buffer, flags)),
  );
}

export async function fstat(process: Process, fd: number): Promise<FileStatus> {
  const got = await fill(process, statStruct, (buffer) => process.trap(NR.fstat, fd, buffer));
  return typeof got === "number" ? failWith(got, "fstat") : got;
}

const failWith = (result: number, call: string, path?: string): never => {
  check(result, call, path);
  throw new Error(`${call} returned ${result}`);
};

export const typeBits = (status: FileStatus): number => status.st_mode & S.IFMT;
export const isDirectory = (status: FileStatus): boolean => typeBits(status) === S.IFDIR;
export const isSymlink = (status: FileStatus): boolean => typeBits(status) === S.IFLNK;
export const isRegular = (status: FileStatus): boolean => typeBits(status) === S.IFREG;

/** faccessat2(2) for the effective ids, else faccessat(2): whether the access would be granted. */
export async function accessible(process: Process, path: string, mode: number): Promise<boolean> {
  return withString(process, path, async (at) => {
    const result = await process.trap(NR.faccessat2, CWD, at, mode, AT.EACCESS);
    return result === -38 ? (await process.trap(NR.faccessat, CWD, at, mode)) === 0 : result === 0;
  });
}

/** A call on one path. */
async function onPath(
  process: Process,
  path: string,
  call: string,
  trap: (at: number) => number | Promise<number>,
): Promise<void> {
  check(await withString(process, path, trap), call, path);
}

export const mkdir = (process: Process, path: string, mode = 0o777): Promise<void> =>
  onPath(process, path, "mkdir", (at) => process.trap(NR.mkdirat, CWD, at, mode));
export const rmdir = (process: Process, path: string): Promise<void> =>
  onPath(process, path, "rmdir", (at) => process.trap(NR.unlinkat, CWD, at, AT.REMOVEDIR));
export const unlink = (process: Process, path: string): Promise<void> =>
  onPath(process, path, "unlink", (at) => process.trap(NR.unlinkat, CWD, at, 0));
export const chmod = (process: Process, path: string, mode: number): Promise<void> =>
  onPath(process, path, "chmod", (at) => process.trap(NR.fchmodat, CWD, at, mode));
export const chdir = (process: Process, path: string): Promise<void> =>
  onPath(process, path, "chdir", (at) => process.trap(NR.chdir, at));
export const truncate = (process: Process, path: string, length: number): Promise<void> =>
  onPath(process, path, "truncate", (at) => process.trap(NR.truncate, at, length));
export const mknod = (process: Process, path: string, mode: number, device = 0): Promise<void> =>
  onPath(process, path, "mknod", (at) => process.trap(NR.mknodat, CWD, at, mode, device));

async function onTwoPaths(
  process: Process,
  from: string,
  to: string,
  trap: (from: number, to: number) => number | Promise<number>,
): Promise<number> {
  return withString(process, from, (a) => withString(process, to, (b) => trap(a, b)));
}

/** rename(2): a raw result, since a move falls back on copying where it is EXDEV. */
export const tryRename = (process: Process, from: string, to: string): Promise<number> =>
  onTwoPaths(process, from, to, (a, b) => process.trap(NR.renameat2, CWD, a, CWD, b, 0));

export async function symlink(process: Process, target: string, path: string): Promise<void> {
  const result = await onTwoPaths(process, target, path, (a, b) => process.trap(NR.symlinkat, a, CWD, b));
  check(result, "symlink", path);
}

export async function link(process: Process, from: string, to: string, follow = false): Promise<void> {
  const flags = follow ? AT.SYMLINK_FOLLOW : 0;
  const result = await onTwoPaths(process, from, to, (a, b) =>
    process.trap(NR.linkat, CWD, a, CWD, b, flags),
  );
  check(result, "link", to);
}

export async function readlink(process: Process, path: string): Promise<string> {
  return withString(process, path, (at) =>
    withBlock(process, PATH_MAX, async (buffer) => {
      const length = check(await process.trap(NR.readlinkat, CWD, at, buffer, PATH_MAX), "readlink", path);
      return fromBytes(process.memory.read(buffer, length));
    }),
  );
}

export async function getcwd(process: Process): Promise<string> {
  return withBlock(process, PATH_MAX, async (buffer) => {
    check(await process.trap(NR.getcwd, buffer, PATH_MAX), "getcwd");
    return fromBytes(process.memory.readCString(buffer));
  });
}

/** A time for utimensat(2): seconds and nanoseconds, "now", or "leave as it is". */
export type FileTime = { readonly seconds: number; readonly nanoseconds: number } | "now" | "omit";

export async function setTimes(
  process: Process,
  path: string,
  times: { readonly access: FileTime; readonly modification: FileTime; readonly follow?: boolean },
): Promise<void> {
  const size = sizeOf(timespec);
  const block = new Uint8Array(2 * size);
  block.set(encodeTime(times.access), 0);
  block.set(encodeTime(times.modification), size);
  const flags = times.follow === false ? AT.SYMLINK_NOFOLLOW : 0;
  await onPath(process, path, "utimensat", (at) =>
    withBlock(process, block.length, async (buffer) => {
      process.memory.write(buffer, block);
      return process.trap(NR.utimensat, CWD, at, buffer, flags);
    }),
  );
}

function encodeTime(time: FileTime): Uint8Array {
  const { view, bytes } = makeStruct(timespec);
  if (typeof time === "string") view.tv_nsec = time === "now" ? UTIME_NOW : UTIME_OMIT;
  else {
    view.tv_sec = time.seconds;
    view.tv_nsec = time.nanoseconds;
  }
  return bytes;
}

/** chown(2); -1 leaves an id as it is. */
export const chown = (process: Process, path: string, uid: number, gid: number): Promise<void> =>
  onPath(process, path, "chown", (at) => process.trap(NR.fchownat, CWD, at, uid, gid, 0));

export async function fileSystemStatus(process: Process, path: string): Promise<ViewOf<typeof statfs>> {
  const got = await withString(process, path, (at) =>
    fill(process, statfs, (buffer) => process.trap(NR.statfs, at, buffer)),
  );
  return typeof got === "number" ? failWith(got, "statfs", path) : got;
}

/** pipe2(2): the read end and the write end. */
export async function pipe(process: Process, flags = O.CLOEXEC): Promise<readonly [number, number]> {
  return withBlock(process, 16, async (buffer) => {
    check(await process.trap(NR.pipe2, buffer, flags), "pipe");
    return [process.memory.readU32(buffer), process.memory.readU32(buffer + 4)] as const;
  });
}

/** Copies one stream to another: what was read is written before more is waited for. */
export async function copyStream(from: Stream, to: Stream): Promise<void> {
  for (let bytes = await from.readBytes(); bytes.length > 0; bytes = await from.readBytes()) {
    await to.writeBytes(bytes);
    await to.flush();
  }
}
