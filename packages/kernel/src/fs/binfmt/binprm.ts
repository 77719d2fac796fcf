/**
 * `struct linux_binprm`: what execve knows of the program that it is about to start (Linux: include/linux/binfmts.h).
 *
 * A `Bprm` owns the open file, the new address space, the new credentials and the argument strings until they are handed to
 * the task; `freeBprm` gives back what is left. A binary format reads `buf`, and either loads the image, asks for another
 * file to be loaded by setting `interpreter`, or answers ENOEXEC.
 */
import {
  bytes,
  E2BIG,
  EFAULT,
  ENOMEM,
  isErr,
  type KAddr,
  ptr,
  type Result,
  RLIMIT,
  s32,
  struct,
  type UAddr,
  ulong,
  type ViewOf,
} from "@alien-ts/abi";
import type { Cred } from "../../core/cred.ts";
import type { Cx } from "../../core/cx.ts";
import type { Kernel } from "../../core/kernel.ts";
import { type Owned, ownerPtr } from "../../core/owner.ts";
import type { Task } from "../../core/task.ts";
import { AddressSpace } from "../../mm/address-space.ts";
import { get_user_u64, readUserBytes, strnlen_user } from "../../mm/uaccess.ts";
import { prepareCreds, putCred } from "../../task/create.ts";
import type { Process } from "../../task/process.ts";
import { bytesOf } from "../../vfs/dentry.ts";
import { type File, fput } from "../../vfs/file.ts";
import { type Filename, putname } from "../../vfs/filename.ts";
import { allow_write_access } from "../../vfs/open.ts";

/** Bytes at the start of a file that tell its format (BINPRM_BUF_SIZE). */
export const BINPRM_BUF_SIZE = 256;
/** Longest argument string, with its NUL (MAX_ARG_STRLEN). */
const MAX_ARG_STRLEN = 131_072;
/** Room that arguments always have (ARG_MAX). */
const ARG_MAX = 131_072;
/** Three quarters of _STK_LIM. */
const STACK_SHARE_MAX = (8 * 1024 * 1024 * 3) / 4;
const POINTER_BYTES = 8;

export const linux_binprm = struct("linux_binprm", {
  argmin: ulong,
  mm: ptr("mm_struct"),
  p: ulong,
  executable: ptr("file"),
  interpreter: ptr("file"),
  file: ptr("file"),
  cred: ptr("cred"),
  unsafe: s32,
  argc: s32,
  envc: s32,
  filename: ptr("char"),
  interp: ptr("char"),
  fdpath: ptr("char"),
  execfd: s32,
  exec: ulong,
  buf: bytes(BINPRM_BUF_SIZE),
});

export const bprmp = ownerPtr<Bprm>("linux_binprm");

export class Bprm implements Owned {
  readonly kernel: Kernel;
  readonly addr: KAddr;
  readonly t: ViewOf<typeof linux_binprm>;
  /** The path as given: bprm->filename, AT_EXECFN. */
  readonly filename: Filename;
  /** What is being loaded. Writers are kept away from it. */
  #file: File;
  /** A script's interpreter: to be loaded in its place. */
  interpreter: File | undefined = undefined;
  /** The path of `file` as scripts pass it on. */
  interp: string;
  args: Uint8Array[] = [];
  environment: Uint8Array[] = [];
  mm: AddressSpace | undefined = undefined;
  cred: Cred | undefined = undefined;
  /** AT_SECURE: the program runs with more rights than its caller. */
  isSecure = false;
  /** The path is a descriptor that exec closes: a script's interpreter could not open it. */
  isPathInaccessible = false;

  constructor(kernel: Kernel, addr: KAddr, file: File, filename: Filename) {
    this.kernel = kernel;
    this.addr = addr;
    this.t = new (kernel.layout.view(linux_binprm))(kernel.mem, addr);
    this.filename = filename;
    this.interp = filename.text;
    this.#file = file;
    this.t.file = file.addr;
    this.t.filename = filename.addr + kernel.vfs.offsets.filenameSize;
    this.t.interp = this.t.filename;
  }

  get file(): File {
    return this.#file;
  }
  set file(file: File) {
    this.#file = file;
    this.t.file = file.addr;
  }

  /** The first bytes of `file`, zero behind its end. */
  get buf(): Uint8Array {
    return this.t.buf;
  }

  setStrings(args: Uint8Array[], environment: Uint8Array[]): void {
    this.args = args;
    this.environment = environment;
    this.t.argc = args.length;
    this.t.envc = environment.length;
  }
}

/** A bprm for an opened program, whose reference is handed over, also on failure. ENOMEM. Linux: alloc_bprm(). */
export function allocBprm(cx: Cx, file: File, filename: Filename): Result<Bprm> {
  const { kernel, task } = cx;
  const addr = kernel.kmalloc.kzalloc(kernel.layout.size(linux_binprm), "linux_binprm");
  if (addr === 0) {
    closeProgram(cx, file);
    return ENOMEM;
  }
  const bprm = new Bprm(kernel, addr, file, filename);
  kernel.kmalloc.setOwner(addr, bprm);
  const cred = prepareCreds(kernel, task.cred);
  const mm = isErr(cred)
    ? cred
    : AddressSpace.create(kernel.memoryManager, { limits: limitsOf(task.process), random: kernel.prng });
  if (!isErr(cred)) bprm.cred = cred;
  if (isErr(mm)) {
    freeBprm(cx, bprm);
    return mm;
  }
  bprm.mm = mm;
  bprm.t.mm = mm.addr;
  bprm.t.cred = bprm.cred?.addr ?? 0;
  return bprm;
}

/** Limits that an address space reads at each use. */
const limitsOf = (process: Process): AddressSpace["limits"] => ({
  get stack() {
    return process.limit(RLIMIT.STACK);
  },
  get addressSpace() {
    return process.limit(RLIMIT.AS);
  },
  get data() {
    return process.limit(RLIMIT.DATA);
  },
});

/** Gives back what the task did not take. Linux: free_bprm(). */
export function freeBprm(cx: Cx, bprm: Bprm): void {
  const { kernel } = cx;
  bprm.mm?.put();
  if (bprm.cred !== undefined) putCred(kernel, bprm.cred);
  if (bprm.interpreter !== undefined) closeProgram(cx, bprm.interpreter);
  closeProgram(cx, bprm.file);
  kernel.kmalloc.kfree(bprm.addr);
}

/** Closes what `do_open_execat` opened. */
export function closeProgram(cx: Cx, file: File): void {
  allow_write_access(file.inode);
  fput(cx, file);
}

/** Strings of a kernel's own, for init. */
export const kernelStrings = (texts: readonly string[]): Uint8Array[] => texts.map(bytesOf);

/** A vector of strings in user memory; NULL is an empty one. EFAULT, E2BIG. Linux: count(), copy_strings(). */
export function readStrings(task: Task, vector: UAddr, budget: ArgumentBudget): Result<Uint8Array[]> {
  const { mm } = task;
  if (vector === 0) return [];
  if (mm === null) return EFAULT;
  const strings: Uint8Array[] = [];
  for (let at = vector; ; at += POINTER_BYTES) {
    const pointer = get_user_u64(mm, at);
    if (isErr(pointer)) return pointer;
    if (pointer === 0) return strings;
    const size = strnlen_user(mm, pointer, MAX_ARG_STRLEN);
    if (size === 0) return EFAULT;
    if (size > MAX_ARG_STRLEN || !budget.take(size)) return E2BIG;
    const string = readUserBytes(mm, pointer, size - 1);
    if (isErr(string)) return string;
    strings.push(string);
  }
}

/** Bytes that all strings and their pointers may take together. Linux: bprm_stack_limits(). */
export class ArgumentBudget {
  #left: number;

  constructor(process: Process) {
    const share = Math.min(STACK_SHARE_MAX, process.limit(RLIMIT.STACK) / 4);
    this.#left = Math.max(share, ARG_MAX);
  }

  /** Accounts for a string of `size` bytes with its NUL; false when there is no room. */
  take(size: number): boolean {
    this.#left -= size + POINTER_BYTES;
    return this.#left >= 0;
  }
}

/** Releases a bprm's file name with the bprm itself. */
export function freeBprmAndName(cx: Cx, bprm: Bprm): void {
  const { filename } = bprm;
  freeBprm(cx, bprm);
  putname(cx, filename);
}
