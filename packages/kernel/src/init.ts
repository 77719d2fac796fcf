/**
 * The first tasks: init (pid 1) and kthreadd (pid 2). Linux: init/main.c, kernel_init(); init/initramfs.c.
 *
 * `startInit` makes both. Init, still in the kernel, unpacks the root file system's files, opens /dev/console as descriptors
 * 0, 1 and 2, and executes the program: `init=` of the kernel command line, else the one that the app names, else Linux's
 * list. Words behind `--` on the command line are arguments of init.
 *
 * How the machine ends: init calls reboot(2), or, when it was started to run one command (`-c` or `--once` among its
 * arguments), exits; its exit status is then the machine's. Any other end of init is a panic.
 */
import { AT, EEXIST, ENOENT, isErr, O, type Result, S, utf8Encode } from "@alien-ts/abi";
import type { Cx } from "./core/cx.ts";
import { type Kernel, KernelBug } from "./core/kernel.ts";
import type { Blocking } from "./core/row.ts";
import { kernelExec } from "./fs/exec.ts";
import { waitEvent, WaitQueue } from "./sched/wait.ts";
import { panic } from "./task/exit.ts";
import { startKernelThread, startUserThread } from "./task/fork.ts";
import { ignore_signals } from "./task/signal.ts";
import { ERROR_MINOR, HVC_MAJOR } from "./ipc/tty/console.ts";
import { settle } from "./vfs/blocking.ts";
import { MKDEV, new_encode_dev } from "./vfs/char-dev.ts";
import { byteString } from "./vfs/dentry.ts";
import { addFile } from "./vfs/fd-table.ts";
import { type File, fput, get_file } from "./vfs/file.ts";
import { type Filename, getname_kernel, putname } from "./vfs/filename.ts";
import { do_mkdirat, do_mknodat, do_symlinkat } from "./vfs/namei-ops.ts";
import { filp_open } from "./vfs/open.ts";
import { kernel_write } from "./vfs/read-write.ts";

/** A file of the root file system at boot. A directory has no bytes; a symbolic link's bytes are its target. */
export interface RootFile {
  readonly path: string;
  /** Type and permissions, as in `st_mode`. */
  readonly mode: number;
  readonly bytes: Uint8Array;
}

export interface InitOptions {
  /** Parents before children. */
  readonly files: readonly RootFile[];
  /** Path and arguments of init; without it Linux's list is tried. */
  readonly init?: readonly string[];
}

const FALLBACKS = ["/sbin/init", "/etc/init", "/bin/init", "/bin/sh"];
const ENVIRONMENT = ["HOME=/", "TERM=linux"];
const CONSOLE = "/dev/console";
const ERRORS = "/dev/hvc1";
const CONSOLE_DEV = MKDEV(5, 1);
const ERRORS_DEV = MKDEV(HVC_MAJOR, ERROR_MINOR);

/** Makes init and kthreadd. They run when the scheduler does. */
export function startInit(kernel: Kernel, options: InitOptions): void {
  const cx = kernel.bootCx;
  const { requested, args } = parseCommandLine(kernel.config.commandLine);
  const given = options.init ?? [];
  const all = [...given.slice(1), ...args];
  kernel.isInitCommand = all.includes("-c") || all.includes("--once");
  const init = startUserThread(cx, "swapper/0", (own) =>
    kernel_init(own, { files: options.files, requested, program: given[0], args: all }),
  );
  const kthreadd = startKernelThread(cx, "kthreadd", function* (own) {
    yield* waitEvent(own, new WaitQueue(), () => false);
  });
  if (isErr(init) || isErr(kthreadd)) throw new KernelBug("no memory for the first tasks");
  ignore_signals(kthreadd);
  if (init.pid !== 1) throw new KernelBug(`init is task ${init.pid}: a subsystem started a task before it`);
}

/** `init=PATH`, and the words behind `--`. */
function parseCommandLine(line: string): { readonly requested: string | undefined; readonly args: string[] } {
  const words = splitWords(line);
  const end = words.indexOf("--");
  const own = end < 0 ? words : words.slice(0, end);
  const requested = own.findLast((word) => word.startsWith("init="))?.slice("init=".length);
  return { requested, args: end < 0 ? [] : words.slice(end + 1) };
}

/** Words, with double quotes around those with spaces, as the kernel's next_arg() reads them. */
function splitWords(line: string): string[] {
  return [...line.matchAll(/(?:[^\s"]|"[^"]*")+/g)].map(([word]) => word.replaceAll('"', ""));
}

interface InitPlan {
  readonly files: readonly RootFile[];
  readonly requested: string | undefined;
  readonly program: string | undefined;
  readonly args: readonly string[];
}

function* kernel_init(cx: Cx, plan: InitPlan): Blocking<void> {
  yield* unpackFiles(cx, plan.files);
  yield* openConsole(cx);
  if (plan.requested !== undefined) {
    const result = yield* runInit(cx, plan.requested, plan.args);
    if (isErr(result)) panic(cx, `Requested init ${plan.requested} failed (error ${-result.number}).`);
    return;
  }
  const candidates = plan.program === undefined ? FALLBACKS : [plan.program, ...FALLBACKS];
  for (const path of new Set(candidates)) {
    const result = yield* runInit(cx, path, plan.args);
    if (!isErr(result)) return;
    if (result !== ENOENT)
      cx.kernel.log.err(`Starting init: ${path} exists but couldn't execute it (error ${-result.number})`);
  }
  panic(
    cx,
    "No working init found.  Try passing init= option to kernel. " +
      "See Linux Documentation/admin-guide/init.rst for guidance.",
  );
}

function* runInit(cx: Cx, path: string, args: readonly string[]): Blocking<Result<number>> {
  cx.kernel.log.info(`Run ${path} as init process`);
  const bytes = (text: string): string => byteString(utf8Encode(text));
  return yield* kernelExec(cx, bytes(path), [path, ...args].map(bytes), ENVIRONMENT);
}

/** Files keep the modes that they are given, whatever the umask. */
function* unpackFiles(cx: Cx, files: readonly RootFile[]): Blocking<void> {
  const { fs } = cx.task;
  const { umask } = fs;
  fs.umask = 0;
  for (const file of files) {
    const made = yield* unpack(cx, file);
    if (isErr(made) && made !== EEXIST)
      cx.kernel.log.err(`Initramfs unpacking failed: ${file.path}: ${made.message}`);
  }
  fs.umask = umask;
}

function* unpack(cx: Cx, file: RootFile): Blocking<Result<number>> {
  const path = byteString(utf8Encode(file.path));
  switch (file.mode & S.IFMT) {
    case S.IFDIR:
      return withNames(cx, [path], ([name]) => do_mkdirat(cx, AT.FDCWD, name!, file.mode & 0o7777));
    case S.IFLNK:
      return withNames(cx, [byteString(file.bytes), path], ([from, to]) =>
        do_symlinkat(cx, from!, AT.FDCWD, to!),
      );
    default:
      return yield* writeFile(cx, path, file);
  }
}

function* writeFile(cx: Cx, path: string, { mode, bytes }: RootFile): Blocking<Result<number>> {
  const opened = yield* settle(filp_open(cx, path, O.WRONLY | O.CREAT | O.TRUNC, mode & 0o7777));
  if (isErr(opened)) return opened;
  const written = yield* settle(kernel_write(cx, opened, bytes, 0));
  fput(cx, opened);
  return written;
}

/** Runs `body`, which takes over the kernel file names. */
function withNames(
  cx: Cx,
  texts: readonly string[],
  body: (names: readonly Filename[]) => Result<number>,
): Result<number> {
  const names: Filename[] = [];
  for (const text of texts) {
    const name = getname_kernel(cx.kernel, text);
    if (!isErr(name)) {
      names.push(name);
      continue;
    }
    for (const taken of names) putname(cx, taken);
    return name;
  }
  return body(names);
}

/**
 * Linux: console_on_rootfs(). The root file system has the nodes, as Linux's default initramfs has /dev/console. Standard error
 * of a console that is no terminal is a stream of its own.
 */
function* openConsole(cx: Cx): Blocking<void> {
  withNames(cx, ["/dev"], ([name]) => do_mkdirat(cx, AT.FDCWD, name!, 0o755));
  const console = yield* openDevice(cx, CONSOLE, CONSOLE_DEV);
  if (console === undefined) {
    cx.kernel.log.err("Warning: unable to open an initial console.");
    return;
  }
  const errors = cx.kernel.console.isTerminal ? undefined : yield* openDevice(cx, ERRORS, ERRORS_DEV);
  for (const file of [console, console, errors ?? console]) addFile(cx, get_file(file), false);
  fput(cx, console);
  if (errors !== undefined) fput(cx, errors);
}

function* openDevice(cx: Cx, path: string, device: number): Blocking<File | undefined> {
  withNames(cx, [path], ([name]) => do_mknodat(cx, AT.FDCWD, name!, S.IFCHR | 0o600, new_encode_dev(device)));
  const file = yield* settle(filp_open(cx, path, O.RDWR));
  return isErr(file) ? undefined : file;
}
