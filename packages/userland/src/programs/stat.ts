/** stat(1): GNU's default text, `-c` and `--printf` formats, `-f` for file systems. */
import { S } from "@alien-ts/abi";
import { type Names, readNames } from "../libc/accounts.ts";
import { UsageError } from "../libc/errors.ts";
import {
  type FileStatus,
  fileSystemStatus,
  isSymlink,
  lstat,
  readlink,
  stat as statFile,
} from "../libc/files.ts";
import { formatMode } from "../libc/modes.ts";
import { expandEscapes } from "../libc/printf.ts";
import type { Process } from "../libc/process.ts";
import { formatTime } from "../libc/time.ts";
import { forEachOperand, tool } from "../libc/tool.ts";
import { major, minor } from "./ls.ts";

interface Subject {
  readonly path: string;
  readonly status: FileStatus;
  readonly names: Names;
  readonly target: string | undefined;
}

const TYPE_NAMES: Readonly<Record<number, string>> = {
  [S.IFDIR]: "directory",
  [S.IFLNK]: "symbolic link",
  [S.IFCHR]: "character special file",
  [S.IFBLK]: "block special file",
  [S.IFIFO]: "fifo",
  [S.IFSOCK]: "socket",
};

function typeName({ st_mode, st_size }: FileStatus): string {
  const name = TYPE_NAMES[st_mode & S.IFMT];
  return name ?? (st_size === 0 ? "regular empty file" : "regular file");
}

const time = (seconds: number, nanoseconds: number): string =>
  formatTime("%Y-%m-%d %H:%M:%S.%N %z", { seconds, nanoseconds });
const octal = ({ st_mode }: FileStatus): string => (st_mode & 0o7777).toString(8);

const DIRECTIVES: Readonly<Record<string, (subject: Subject) => string | number>> = {
  a: ({ status }) => octal(status),
  A: ({ status }) => formatMode(status.st_mode),
  b: ({ status }) => status.st_blocks,
  B: () => 512,
  d: ({ status }) => status.st_dev,
  D: ({ status }) => status.st_dev.toString(16),
  f: ({ status }) => status.st_mode.toString(16),
  F: ({ status }) => typeName(status),
  g: ({ status }) => status.st_gid,
  G: ({ status, names }) => names.group(status.st_gid),
  h: ({ status }) => status.st_nlink,
  i: ({ status }) => status.st_ino,
  n: ({ path }) => path,
  N: ({ path, target }) => (target === undefined ? `'${path}'` : `'${path}' -> '${target}'`),
  o: ({ status }) => status.st_blksize,
  s: ({ status }) => status.st_size,
  t: ({ status }) => major(status.st_rdev).toString(16),
  T: ({ status }) => minor(status.st_rdev).toString(16),
  u: ({ status }) => status.st_uid,
  U: ({ status, names }) => names.user(status.st_uid),
  w: () => "-",
  W: () => 0,
  x: ({ status }) => time(status.st_atime, status.st_atime_nsec),
  X: ({ status }) => status.st_atime,
  y: ({ status }) => time(status.st_mtime, status.st_mtime_nsec),
  Y: ({ status }) => status.st_mtime,
  z: ({ status }) => time(status.st_ctime, status.st_ctime_nsec),
  Z: ({ status }) => status.st_ctime,
  "%": () => "%",
};

export const stat = tool({
  name: "stat",
  usage: "stat [-fLt] [-c FORMAT] [--printf=FORMAT] FILE...",
  options: "c:fLt",
  long: { dereference: "L", "file-system": "f", format: "c", printf: "printf:", terse: "t" },
  main: async (process, { options, operands }) => {
    if (operands.length === 0) throw new UsageError("missing operand");
    const names = await readNames(process);
    const printf = options.value("printf");
    const given = options.value("c");
    const format =
      printf === undefined
        ? (given ?? (options.has("t") ? "%n %s %b %f %u %g %D %i %h %t %T %X %Y %Z %W %o" : undefined))
        : expandEscapes(printf).text;
    const show = async (path: string): Promise<void> => {
      if (options.has("f")) return process.stdout.write(await describeFileSystem(process, path));
      const status = options.has("L") ? await statFile(process, path) : await lstat(process, path);
      const subject = {
        path,
        status,
        names,
        target: isSymlink(status) ? await readlink(process, path) : undefined,
      };
      if (format === undefined) return process.stdout.write(describe(subject));
      return process.stdout.write(fillFormat(format, subject) + (printf === undefined ? "\n" : ""));
    };
    return forEachOperand(process, "stat", operands, show, (error) =>
      options.has("f")
        ? `cannot read file system information for '${error.path ?? ""}': ${error.errno.message}`
        : `cannot statx '${error.path ?? ""}': ${error.errno.message}`,
    );
  },
});

function fillFormat(format: string, subject: Subject): string {
  return format.replace(/%([-0]*)(\d*)([a-zA-Z%])/g, (text, flags: string, width: string, letter: string) => {
    const directive = DIRECTIVES[letter];
    if (directive === undefined) return text;
    const value = String(directive(subject));
    if (flags.includes("-")) return value.padEnd(Number(width));
    return value.padStart(Number(width), flags.includes("0") ? "0" : " ");
  });
}

function describe(subject: Subject): string {
  const { status, names } = subject;
  const type = status.st_mode & S.IFMT;
  const device =
    type === S.IFCHR || type === S.IFBLK
      ? `     Device type: ${major(status.st_rdev)},${minor(status.st_rdev)}`
      : "";
  const user = `(${String(status.st_uid).padStart(5)}/${names.user(status.st_uid).padStart(8)})`;
  const group = `(${String(status.st_gid).padStart(5)}/${names.group(status.st_gid).padStart(8)})`;
  const name = subject.target === undefined ? subject.path : `${subject.path} -> ${subject.target}`;
  return [
    `  File: ${name}`,
    `  Size: ${String(status.st_size).padEnd(10)}\tBlocks: ${String(status.st_blocks).padEnd(10)} IO Block: ${String(status.st_blksize).padEnd(6)} ${typeName(status)}`,
    `Device: ${major(status.st_dev)},${minor(status.st_dev)}\tInode: ${String(status.st_ino).padEnd(11)} Links: ${status.st_nlink}${device}`,
    `Access: (${octal(status).padStart(4, "0")}/${formatMode(status.st_mode)})  Uid: ${user}   Gid: ${group}`,
    `Access: ${time(status.st_atime, status.st_atime_nsec)}`,
    `Modify: ${time(status.st_mtime, status.st_mtime_nsec)}`,
    `Change: ${time(status.st_ctime, status.st_ctime_nsec)}`,
    " Birth: -",
    "",
  ].join("\n");
}

async function describeFileSystem(process: Process, path: string): Promise<string> {
  const status = await fileSystemStatus(process, path);
  return [
    `  File: "${path}"`,
    `    ID: 0        Namelen: ${status.f_namelen}     Type: ${status.f_type.toString(16)}`,
    `Block size: ${String(status.f_bsize).padEnd(10)} Fundamental block size: ${status.f_frsize}`,
    `Blocks: Total: ${String(status.f_blocks).padEnd(10)} Free: ${String(status.f_bfree).padEnd(10)} Available: ${status.f_bavail}`,
    `Inodes: Total: ${String(status.f_files).padEnd(10)} Free: ${status.f_ffree}`,
    "",
  ].join("\n");
}
