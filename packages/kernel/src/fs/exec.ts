/**
 * execve(2): a new program in the place of the old one (Linux: fs/exec.c).
 *
 * `do_execveat_common` is the whole of the system call, `kernel_execve` that of the kernel itself (init). The file is opened,
 * the strings are read, and the binary formats are tried in order; a script is replaced by its interpreter, up to five deep.
 * What can fail comes before the point of no return (binfmt/new-exec.ts).
 */
import {
  AT,
  EAGAIN,
  EINVAL,
  ELOOP,
  ENOENT,
  ENOEXEC,
  isErr,
  type Result,
  RLIMIT,
  s32,
  type UAddr,
  ulong,
} from "@alien-ts/abi";
import type { Cx } from "../core/cx.ts";
import type { Kernel } from "../core/kernel.ts";
import { type Blocking, type Gate, sleepingFn } from "../core/row.ts";
import { forceSignal, siginfo } from "../task/signal.ts";
import { settle } from "../vfs/blocking.ts";
import type { File } from "../vfs/file.ts";
import { type Filename, filenamep, getname_kernel, putname } from "../vfs/filename.ts";
import { do_open_execat } from "../vfs/open.ts";
import { kernel_read } from "../vfs/read-write.ts";
import {
  allocBprm,
  ArgumentBudget,
  BINPRM_BUF_SIZE,
  type Bprm,
  bprmp,
  closeProgram,
  freeBprmAndName,
  kernelStrings,
  readStrings,
} from "./binfmt/binprm.ts";
import { load_elf_binary } from "./binfmt/elf.ts";
import { setExeFile } from "./binfmt/new-exec.ts";
import { load_script } from "./binfmt/script.ts";

/** In the order in which they are tried (search_binary_handler). */
const FORMATS: readonly Gate<[Bprm], Blocking<Result<number>>>[] = [load_script, load_elf_binary];

/** Interpreters of interpreters (exec_binprm). */
const SCRIPT_DEPTH_MAX = 5;

/** Keeps each task's program file as tasks come and go. */
export function initExec(kernel: Kernel): void {
  kernel.taskHooks.push({
    name: "exec",
    fork(cx, parent, child): Result<0> {
      child.exeFile = undefined;
      if (parent?.exeFile !== undefined) setExeFile(cx, child, parent.exeFile);
      return 0;
    },
    exit: (cx, task) => setExeFile(cx, task, undefined),
  });
}

/** execve and execveat: the strings are in user memory. The name is handed over. */
export const do_execveat_common = sleepingFn(
  "do_execveat_common",
  [
    ["fd", s32],
    ["filename", filenamep],
    ["argv", ulong],
    ["envp", ulong],
    ["flags", s32],
  ],
  s32,
  function* (cx, fd, filename, argv, envp, flags) {
    const strings = readVectors(cx, argv, envp);
    if (isErr(strings)) {
      putname(cx, filename);
      return strings;
    }
    return yield* execFile(cx, { fd, filename, flags, ...strings });
  },
  { local: true, doc: "Runs a new program in the calling task." },
);

interface Vectors {
  readonly args: Uint8Array[];
  readonly environment: Uint8Array[];
}

function readVectors(cx: Cx, argv: UAddr, envp: UAddr): Result<Vectors> {
  const { task } = cx;
  const budget = new ArgumentBudget(task.process);
  const args = readStrings(task, argv, budget);
  if (isErr(args)) return args;
  const environment = readStrings(task, envp, budget);
  return isErr(environment) ? environment : { args, environment };
}

interface ExecRequest extends Vectors {
  readonly fd: number;
  readonly filename: Filename;
  readonly flags: number;
}

function* execFile(cx: Cx, request: ExecRequest): Blocking<Result<number>> {
  const { fd, filename, flags, args, environment } = request;
  const { task } = cx;
  if ((flags & ~(AT.EMPTY_PATH | AT.SYMLINK_NOFOLLOW)) !== 0) {
    putname(cx, filename);
    return EINVAL;
  }
  if (isOverProcessLimit(cx)) {
    putname(cx, filename);
    return EAGAIN;
  }
  const file = yield* settle(do_open_execat(cx, fd, filename.text, flags));
  const bprm = isErr(file) ? file : allocBprm(cx, file, filename);
  if (isErr(bprm)) {
    putname(cx, filename);
    return bprm;
  }
  if (fd !== AT.FDCWD && !filename.text.startsWith("/"))
    bprm.isPathInaccessible = filename.text === "" && task.files.isCloexec(fd);
  if (args.length === 0)
    cx.kernel.log.warn(
      `process '${task.t.comm}' launched '${filename.text}' with NULL argv: empty string added`,
    );
  bprm.setStrings(args.length === 0 ? [new Uint8Array(0)] : args, environment);
  const result = yield* bprm_execve(cx, bprm);
  freeBprmAndName(cx, bprm);
  return result;
}

/** A process that is over its user's limit may not exec after setuid (PF_NPROC_EXCEEDED). */
function isOverProcessLimit(cx: Cx): boolean {
  const { task, kernel } = cx;
  if (task.cred.uid === 0 || !Number.isFinite(task.process.limit(RLIMIT.NPROC))) return false;
  const own = kernel.pids.tasks().filter((other) => other.cred.uid === task.cred.uid).length;
  return own > task.process.limit(RLIMIT.NPROC);
}

export const bprm_execve = sleepingFn("bprm_execve", [["bprm", bprmp]], s32, bprmExecve, {
  local: true,
  doc: "Finds the binary format of an opened program, and runs it.",
});

function* bprmExecve(cx: Cx, bprm: Bprm): Blocking<Result<number>> {
  const { task } = cx;
  for (let depth = 0; ; depth++) {
    if (depth > SCRIPT_DEPTH_MAX) return ELOOP;
    const result = yield* searchHandler(cx, bprm);
    if (isErr(result)) {
      // Past the point of no return there is no program to go back to.
      if (bprm.mm === undefined && task.mm !== null) forceSignal(cx, task, siginfo(SIGSEGV, SI_KERNEL));
      return result;
    }
    const next = bprm.interpreter;
    if (next === undefined) return result;
    const script: File = bprm.file;
    bprm.file = next;
    bprm.interpreter = undefined;
    closeProgram(cx, script);
  }
}

const SIGSEGV = 11;
const SI_KERNEL = 0x80;

function* searchHandler(cx: Cx, bprm: Bprm): Blocking<Result<number>> {
  const { buf, file } = bprm;
  const head = new Uint8Array(BINPRM_BUF_SIZE);
  const count = yield* settle(kernel_read(cx, file, head, 0));
  if (isErr(count)) return count;
  buf.set(head);
  let result: Result<number> = ENOEXEC;
  for (const load of FORMATS) {
    result = yield* load(cx, bprm);
    if (result !== ENOEXEC) return result;
  }
  return result;
}

/** The kernel's own execve, for init. Linux: kernel_execve(). */
export function* kernelExec(
  cx: Cx,
  path: string,
  args: readonly string[],
  environment: readonly string[],
): Blocking<Result<number>> {
  if (path === "") return ENOENT;
  const filename = getname_kernel(cx.kernel, path);
  if (isErr(filename)) return filename;
  return yield* execFile(cx, {
    fd: AT.FDCWD,
    filename,
    flags: 0,
    args: kernelStrings(args),
    environment: kernelStrings(environment),
  });
}
