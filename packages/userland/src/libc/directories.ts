/** Directories: getdents64(2), in the order of the file system, and walks over a tree. */
import { DIRENT64_NAME_OFFSET, DT, NR, O, linux_dirent64 } from "@alien-ts/abi";
import { check } from "./errors.ts";
import { close, open } from "./files.ts";
import type { Process } from "./process.ts";
import { makeStruct, withBlock } from "./structs.ts";
import { fromBytes } from "./text.ts";

export interface DirectoryEntry {
  readonly name: string;
  readonly inode: number;
  /** A `DT` value; `DT.UNKNOWN` where the file system does not say. */
  readonly type: number;
}

const DIRENT_BYTES = 32_768;

/** All entries of a directory, `.` and `..` among them. */
export function readDirectory(process: Process, path: string): Promise<DirectoryEntry[]> {
  return withDirectory(process, path, (entries) => Promise.resolve(entries));
}

/** Runs `body` with the entries while the directory is open, as between opendir(3) and closedir(3). */
export async function withDirectory<T>(
  process: Process,
  path: string,
  body: (entries: DirectoryEntry[]) => Promise<T>,
): Promise<T> {
  const fd = await open(process, path, O.RDONLY | O.DIRECTORY | O.CLOEXEC);
  try {
    return await body(await readEntries(process, fd, path));
  } finally {
    await close(process, fd);
  }
}

function readEntries(process: Process, fd: number, path: string): Promise<DirectoryEntry[]> {
  return withBlock(process, DIRENT_BYTES, async (buffer) => {
    const entries: DirectoryEntry[] = [];
    for (;;) {
      const length = check(await process.trap(NR.getdents64, fd, buffer, DIRENT_BYTES), "getdents64", path);
      if (length === 0) return entries;
      parseEntries(process.memory.read(buffer, length), entries);
    }
  });
}

/** Names without `.` and `..`, sorted. */
export async function listNames(process: Process, path: string): Promise<string[]> {
  const entries = await readDirectory(process, path);
  return entries
    .map(({ name }) => name)
    .filter((name) => name !== "." && name !== "..")
    .sort();
}

function parseEntries(bytes: Uint8Array, into: DirectoryEntry[]): void {
  const head = makeStruct(linux_dirent64);
  for (let at = 0; at < bytes.length; at += head.view.d_reclen) {
    head.bytes.set(bytes.subarray(at, at + head.bytes.length));
    const { d_reclen, d_type, d_ino } = head.view;
    if (d_reclen === 0) throw new Error("a directory record has no length");
    const name = bytes.subarray(at + DIRENT64_NAME_OFFSET, at + d_reclen);
    const end = name.indexOf(0);
    into.push({ name: fromBytes(end < 0 ? name : name.subarray(0, end)), inode: d_ino, type: d_type });
  }
}

export const isDirectoryEntry = (entry: DirectoryEntry): boolean => entry.type === DT.DIR;
