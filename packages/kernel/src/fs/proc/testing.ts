/**
 * For tests of procfs, sysfs and debugfs: a kernel with all three mounted, tasks of root and of a plain user, and readers with
 * buffers of any size. Part of no kernel.
 */
import { AT, DT, isErr, O } from "@alien-ts/abi";
import type { BootOptions } from "../../boot.ts";
import type { Kernel } from "../../core/kernel.ts";
import { FileTask, fileKernel, ok } from "../../file-testing.ts";
import { initIpc } from "../../ipc/init.ts";
import * as directories from "../../syscalls/directories.ts";
import * as links from "../../syscalls/links.ts";
import * as open from "../../syscalls/open.ts";
import * as readWrite from "../../syscalls/read-write.ts";
import { startTask } from "../../testing.ts";
import { WaitQueue, waitEvent } from "../../sched/wait.ts";
import { commitCreds, prepareCreds } from "../../task/create.ts";
import { initDebugfsKprobes } from "../../trace/debugfs-kprobes.ts";
import { initKprobes } from "../../trace/kprobes.ts";
import { mountAtBoot } from "../../vfs/namespace.ts";
import { initDebugfs } from "../debugfs/debugfs.ts";
import { initSysfs } from "../sysfs/sysfs.ts";
import { initProcfs } from "./procfs.ts";

export const USER = 1000;

export interface ProcKernel {
  readonly kernel: Kernel;
  /** A task of root. */
  readonly root: FileTask;
  /** A task of user 1000, without capabilities. */
  readonly user: FileTask;
}

/** A kernel with /proc, /sys and /sys/kernel/debug. */
export function procKernel(options: BootOptions = {}): ProcKernel {
  const kernel = fileKernel({ commandLine: "quiet", ...options });
  const { bootCx } = kernel;
  initIpc(bootCx);
  initKprobes(kernel);
  initProcfs(kernel);
  initSysfs(kernel);
  initDebugfs(kernel);
  initDebugfsKprobes(kernel);
  const root = sleepingTask(kernel);
  for (const path of ["/proc", "/sys"])
    ok(root.call(directories.sys_mkdirat, AT.FDCWD, root.str(path), 0o755));
  mountAtBoot(bootCx, "proc", "/proc");
  mountAtBoot(bootCx, "sysfs", "/sys");
  mountAtBoot(bootCx, "debugfs", "/sys/kernel/debug");
  const user = sleepingTask(kernel);
  becomeUser(user, USER);
  return { kernel, root, user };
}

/** Puts the pids of the two tasks in place of {root} and {user}. */
export const withPids = ({ root, user }: ProcKernel, text: string): string =>
  text.replaceAll("{root}", String(root.task.pid)).replaceAll("{user}", String(user.task.pid));

/** A task that sleeps for ever when the scheduler runs it, whose calls a test makes. */
export const sleepingTask = (kernel: Kernel): FileTask =>
  new FileTask(
    startTask(kernel, "test", function* (cx) {
      yield* waitEvent(cx, new WaitQueue(), () => false);
    }),
  );

/** Drops all privileges. */
export function becomeUser({ kernel, task }: FileTask, uid: number): void {
  const cred = prepareCreds(kernel, task.cred);
  if (isErr(cred)) throw new Error("no memory");
  const { t } = cred;
  for (const id of [t.uid, t.euid, t.suid, t.fsuid, t.gid, t.egid, t.sgid, t.fsgid]) id.val = uid;
  t.cap_permitted.val = 0n;
  t.cap_effective.val = 0n;
  commitCreds(task, cred);
}

const BUFFER_BYTES = 65_536;

/** The whole of an open file, in reads of `chunk` bytes; minus an errno when a read fails. */
export function drain(by: FileTask, fd: number, chunk = BUFFER_BYTES): string | number {
  const buffer = by.buffer(chunk);
  const parts: string[] = [];
  for (;;) {
    const got = by.call(readWrite.sys_read, fd, buffer, chunk);
    if (got < 0) return got;
    if (got === 0) return parts.join("");
    parts.push(by.text(buffer, got));
  }
}

/** A file's text, or minus the errno of the open or the read. */
export function readNode(by: FileTask, path: string, chunk = BUFFER_BYTES): string | number {
  const fd = by.call(open.sys_openat, AT.FDCWD, by.str(path), O.RDONLY | O.NONBLOCK, 0);
  if (fd < 0) return fd;
  const text = drain(by, fd, chunk);
  by.close(fd);
  return text;
}

/** 0, or minus the errno of the open or the write. */
export function writeNode(by: FileTask, path: string, text: string): number {
  const fd = by.call(open.sys_openat, AT.FDCWD, by.str(path), O.WRONLY, 0);
  if (fd < 0) return fd;
  const written = by.call(readWrite.sys_write, fd, by.str(text), text.length);
  by.close(fd);
  return written < 0 ? written : 0;
}

/** A link's text, or minus an errno. */
export function readLink(by: FileTask, path: string): string | number {
  const buffer = by.buffer(4096);
  const length = by.call(links.sys_readlinkat, AT.FDCWD, by.str(path), buffer, 4096);
  return length < 0 ? length : by.text(buffer, length);
}

export interface Entry {
  readonly name: string;
  readonly type: number;
}

/** The entries of a directory but . and .., or minus an errno. */
export function listNode(by: FileTask, path: string): Entry[] | number {
  const fd = by.call(open.sys_openat, AT.FDCWD, by.str(path), O.RDONLY | O.DIRECTORY, 0);
  if (fd < 0) return fd;
  const buffer = by.buffer(BUFFER_BYTES);
  const entries: Entry[] = [];
  for (;;) {
    const got = by.call(directories.sys_getdents64, fd, buffer, BUFFER_BYTES);
    if (got < 0) return got;
    if (got === 0) break;
    entries.push(...parseEntries(by.read(buffer, got)));
  }
  by.close(fd);
  return entries.filter(({ name }) => name !== "." && name !== "..");
}

const NAME_AT = 19;

function parseEntries(bytes: Uint8Array): Entry[] {
  const entries: Entry[] = [];
  for (let at = 0; at < bytes.length;) {
    const length = bytes[at + 16]! | (bytes[at + 17]! << 8);
    const record = bytes.subarray(at, at + length);
    const end = record.indexOf(0, NAME_AT);
    entries.push({ name: String.fromCharCode(...record.subarray(NAME_AT, end)), type: record[18]! });
    at += length;
  }
  return entries;
}

/** Paths of everything below `path`, depth first, with their types; symbolic links are not followed. */
export function walk(by: FileTask, path: string): { readonly path: string; readonly type: number }[] {
  const entries = listNode(by, path);
  if (typeof entries === "number") return [];
  return entries.flatMap(({ name, type }) => {
    const below = `${path}/${name}`;
    return [{ path: below, type }, ...(type === DT.DIR ? walk(by, below) : [])];
  });
}
