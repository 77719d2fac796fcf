/** Copying files and trees: what cp(1) and mv(1) across file systems have in common. */
import { O, S } from "@alien-ts/abi";
import { listNames } from "./directories.ts";
import { SystemError, ToolError } from "./errors.ts";
import {
  type FileStatus,
  chmod,
  chown,
  closeInput,
  copyStream,
  isDirectory,
  isSymlink,
  lstat,
  mkdir,
  mknod,
  openInput,
  open,
  readlink,
  setTimes,
  stat,
  symlink,
  tryStat,
  typeBits,
  unlink,
} from "./files.ts";
import type { Process } from "./process.ts";
import { Stream } from "./stdio.ts";
import { joinPath } from "./text.ts";

export interface CopyOptions {
  readonly recursive: boolean;
  /** Times, owner and mode too. */
  readonly preserve: boolean;
  /** Whether symbolic links are copied as links: always below a tree, here for operands too. */
  readonly keepLinks: boolean;
  readonly force: boolean;
  /** Told of every file that is copied. */
  readonly onCopy?: (from: string, to: string) => Promise<void>;
}

export async function copyPath(
  process: Process,
  from: string,
  to: string,
  options: CopyOptions,
): Promise<void> {
  const status = options.keepLinks ? await lstat(process, from) : await stat(process, from);
  if (isDirectory(status)) return copyDirectory(process, { from, to, status }, options);
  const target = await tryStat(process, to);
  if (typeof target !== "number" && target.st_ino === status.st_ino && target.st_dev === status.st_dev) {
    throw new ToolError(`'${from}' and '${to}' are the same file`);
  }
  if (isSymlink(status)) await copyLink(process, from, to);
  else if (options.recursive && typeBits(status) !== S.IFREG)
    await mknod(process, to, status.st_mode, status.st_rdev);
  else await copyContents(process, { from, to, status }, options);
  if (options.preserve && !isSymlink(status)) await preserve(process, to, status);
  await options.onCopy?.(from, to);
}

interface Pair {
  readonly from: string;
  readonly to: string;
  readonly status: FileStatus;
}

async function copyDirectory(
  process: Process,
  { from, to, status }: Pair,
  options: CopyOptions,
): Promise<void> {
  if (!options.recursive) throw new ToolError(`-r not specified; omitting directory '${from}'`);
  if (`${to}/`.startsWith(`${from}/`)) {
    throw new ToolError(`cannot copy a directory, '${from}', into itself, '${to}'`);
  }
  const existing = await tryStat(process, to);
  if (typeof existing === "number") {
    await mkdir(process, to, (status.st_mode & 0o777) | S.IRWXU);
    await options.onCopy?.(from, to);
  } else if (!isDirectory(existing)) {
    throw new ToolError(`cannot overwrite non-directory '${to}' with directory '${from}'`);
  }
  for (const name of await listNames(process, from)) {
    await copyPath(process, joinPath(from, name), joinPath(to, name), { ...options, keepLinks: true });
  }
  if (options.preserve) await preserve(process, to, status);
}

async function copyLink(process: Process, from: string, to: string): Promise<void> {
  const target = await readlink(process, from);
  try {
    await symlink(process, target, to);
  } catch (error) {
    if (!(error instanceof SystemError) || error.errno.name !== "EEXIST") throw error;
    await unlink(process, to);
    await symlink(process, target, to);
  }
}

async function copyContents(
  process: Process,
  { from, to, status }: Pair,
  options: CopyOptions,
): Promise<void> {
  const input = await openInput(process, from);
  try {
    const output = new Stream(process, await openTarget(process, to, status, options.force), "full", to);
    await copyStream(input, output);
    await output.close();
  } finally {
    await closeInput(process, input);
  }
}

async function openTarget(process: Process, to: string, status: FileStatus, force: boolean): Promise<number> {
  const flags = O.WRONLY | O.CREAT | O.TRUNC | O.CLOEXEC;
  try {
    return await open(process, to, flags, status.st_mode & 0o777);
  } catch (error) {
    if (!force || !(error instanceof SystemError)) throw error;
    await unlink(process, to);
    return open(process, to, flags, status.st_mode & 0o777);
  }
}

async function preserve(process: Process, path: string, status: FileStatus): Promise<void> {
  await chown(process, path, status.st_uid, status.st_gid).catch((error: unknown) => {
    // Only root may give files away: cp -p keeps what it can.
    if (!(error instanceof SystemError)) throw error;
  });
  await chmod(process, path, status.st_mode & 0o7777);
  await setTimes(process, path, {
    access: { seconds: status.st_atime, nanoseconds: status.st_atime_nsec },
    modification: { seconds: status.st_mtime, nanoseconds: status.st_mtime_nsec },
  });
}
