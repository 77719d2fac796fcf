/**
 * For tests of system calls: a kernel with a tmpfs root, and a task with user memory whose calls are made by hand.
 *
 *     const task = fileTask(fileKernel());
 *     const fd = task.call(sys_openat, AT.FDCWD, task.str("/x"), O.RDWR | O.CREAT, 0o644);
 *
 * A call answers what the register would hold: a result, or minus an errno.
 */
import { AT, Errno, isErr, MAP, O, PROT, type Result, type UAddr } from "@alien-ts/abi";
import { bootCore, type BootOptions } from "./boot.ts";
import type { Cx } from "./core/cx.ts";
import type { RowModule } from "./core/image.ts";
import type { Kernel } from "./core/kernel.ts";
import { type Blocking, isBlocking } from "./core/row.ts";
import type { SyscallResult, SyscallRow } from "./core/syscall.ts";
import { PF, type Task } from "./core/task.ts";
import * as tmpfsFiles from "./fs/tmpfs/file-operations.ts";
import * as tmpfsMemfd from "./fs/tmpfs/memfd.ts";
import { initTmpfs } from "./fs/tmpfs/tmpfs.ts";
import { AddressSpace } from "./mm/address-space.ts";
import { DEFAULT_MM_LIMITS } from "./mm/memory-manager.ts";
import { do_mmap } from "./mm/mmap.ts";
import { copyBytesToUser, readUserBytes } from "./mm/uaccess.ts";
import { WaitQueue, waitEvent } from "./sched/wait.ts";
import { setMm } from "./task/create.ts";
import { TEST_MEMORY_BYTES, startTask } from "./testing.ts";
import { TEXT } from "./text.ts";
import { initAnonInodes } from "./vfs/anon-inodes.ts";
import * as vfsAttr from "./vfs/attr.ts";
import { bytesOf, byteString } from "./vfs/dentry.ts";
import * as vfsDentry from "./vfs/dentry.ts";
import type { FilesStruct } from "./vfs/fd-table.ts";
import * as vfsFdTable from "./vfs/fd-table.ts";
import * as vfsFile from "./vfs/file.ts";
import * as vfsFilename from "./vfs/filename.ts";
import { initBootFiles, initVfs } from "./vfs/init.ts";
import * as vfsInode from "./vfs/inode.ts";
import * as vfsNamei from "./vfs/namei.ts";
import * as vfsNameiOps from "./vfs/namei-ops.ts";
import { mountRoot } from "./vfs/namespace.ts";
import * as vfsNamespace from "./vfs/namespace.ts";
import * as vfsOpen from "./vfs/open.ts";
import * as vfsPermission from "./vfs/permission.ts";
import * as vfsReadWrite from "./vfs/read-write.ts";
import * as vfsReadv from "./vfs/readv.ts";
import * as vfsStat from "./vfs/stat.ts";
import * as vfsVfsNames from "./vfs/vfs-names.ts";
import * as directories from "./syscalls/directories.ts";
import * as fd from "./syscalls/fd.ts";
import * as links from "./syscalls/links.ts";
import * as mount from "./syscalls/mount.ts";
import * as open from "./syscalls/open.ts";
import * as readWrite from "./syscalls/read-write.ts";
import * as stat from "./syscalls/stat.ts";
import * as sync from "./syscalls/sync.ts";
import * as xattr from "./syscalls/xattr.ts";
import { testVariant } from "./testing-variant.ts";

/** Every file with rows of the VFS and its system calls. */
export const FILE_TEXT: readonly RowModule[] = [
  vfsInode,
  vfsDentry,
  vfsFile,
  vfsFdTable,
  vfsFilename,
  vfsPermission,
  vfsNamei,
  vfsAttr,
  vfsStat,
  vfsReadWrite,
  vfsReadv,
  vfsNameiOps,
  vfsVfsNames,
  vfsOpen,
  vfsNamespace,
  tmpfsFiles,
  tmpfsMemfd,
  readWrite,
  open,
  stat,
  directories,
  links,
  fd,
  mount,
  xattr,
  sync,
];

/** A kernel in 16 MiB, with the VFS on a tmpfs root and an init that sleeps. */
export function fileKernel(options: BootOptions = {}): Kernel {
  const text = [...FILE_TEXT.filter((file) => !TEXT.includes(file)), ...(options.text ?? [])];
  const kernel = bootCore({
    memory: new ArrayBuffer(TEST_MEMORY_BYTES),
    debugAllocations: true,
    ...testVariant(),
    ...options,
    text,
  });
  initFiles(kernel);
  // The first task would be init, which ignores signals.
  startSleeper(kernel, "init");
  return kernel;
}

/** A task of a kernel. */
export const fileTask = (kernel: Kernel): FileTask => new FileTask(startSleeper(kernel, "test"));

/** A task that stays. */
const startSleeper = (kernel: Kernel, name: string): Task =>
  startTask(kernel, name, function* (cx) {
    yield* waitEvent(cx, new WaitQueue(), () => false);
  });

/** Brings the VFS up on a kernel of `bootCore`, with tmpfs as its root. */
export function initFiles(kernel: Kernel): void {
  const { bootCx } = kernel;
  initVfs(kernel);
  initBootFiles(bootCx);
  initTmpfs(bootCx);
  initAnonInodes(bootCx);
  mountRoot(bootCx, "tmpfs", "mode=755");
}

const SCRATCH_BYTES = 0x8_0000;

/** A task whose system calls a test makes. */
export class FileTask {
  readonly task: Task;
  readonly cx: Cx;
  readonly kernel: Kernel;
  readonly mm: AddressSpace;
  readonly #scratch: UAddr;
  #used = 0;

  constructor(task: Task) {
    this.task = task;
    this.cx = task.cx;
    this.kernel = task.kernel;
    const mm = must(AddressSpace.create(this.kernel.memoryManager, { limits: DEFAULT_MM_LIMITS }));
    setMm(task, mm);
    task.t.flags &= ~PF.KTHREAD;
    this.useFiles(must(task.files.dup()));
    const fs = must(task.fs.copy());
    task.fs.put(task.cx);
    task.fs = fs;
    task.t.fs = fs.addr;
    this.mm = mm;
    this.#scratch = this.map(SCRATCH_BYTES, PROT.READ | PROT.WRITE);
    // Touched at once, so that accounting is not about this memory.
    copyBytesToUser(mm, this.#scratch, new Uint8Array(SCRATCH_BYTES));
  }

  /** Takes another descriptor table (its reference handed over): that of a thread, for example. */
  useFiles(files: FilesStruct): void {
    this.task.files.put(this.cx);
    this.task.files = files;
    this.task.t.files = files.addr;
  }

  /** Fresh anonymous memory. */
  map(length: number, prot: number): UAddr {
    const flags = MAP.PRIVATE | MAP.ANONYMOUS;
    return must(do_mmap(this.mm, { addr: 0, length, prot, flags, offset: 0, file: undefined }));
  }

  /** `size` bytes of user memory; the oldest are used again when all were given. */
  buffer(size: number): UAddr {
    const room = Math.ceil(size / 16) * 16;
    if (this.#used + room > SCRATCH_BYTES) this.#used = 0;
    const at = this.#scratch + this.#used;
    this.#used += room;
    return at;
  }

  /** A C string in user memory. */
  str(text: string): UAddr {
    return this.put(bytesOf(`${text}\0`));
  }

  put(bytes: Uint8Array): UAddr {
    const at = this.buffer(bytes.length);
    if (copyBytesToUser(this.mm, at, bytes) !== 0) throw new Error("scratch memory faults");
    return at;
  }

  read(at: UAddr, length: number): Uint8Array {
    return must(readUserBytes(this.mm, at, length));
  }

  text(at: UAddr, length: number): string {
    return byteString(this.read(at, length));
  }

  /** Makes a system call that does not sleep. */
  call(row: SyscallRow, ...args: readonly number[]): number {
    const result = this.start(row, ...args);
    if (!isBlocking(result)) return asNumber(result as SyscallResult);
    const step = (result as Blocking<SyscallResult>).next();
    if (step.done !== true) throw new Error(`${row.name} sleeps`);
    return asNumber(step.value);
  }

  /** Makes a system call; a generator when it sleeps. */
  start(row: SyscallRow, ...args: readonly number[]): SyscallResult | Blocking<SyscallResult> {
    const { dv } = this.kernel.mem;
    const { roles } = this.kernel.text.arch;
    const regs = this.task.userRegs;
    for (let i = 0; i < 6; i++) {
      const value = args[i] ?? 0;
      for (const at of i === 0
        ? [roles.originalArgument, roles.syscallArguments[0]!]
        : [roles.syscallArguments[i]!]) {
        dv.setInt32(regs + at, value | 0, true);
        dv.setInt32(regs + at + 4, Math.floor(value / 2 ** 32) | 0, true);
      }
    }
    return row.gate(this.cx, regs);
  }

  /** Opens or fails the test. */
  open(path: string, flags: number, mode = 0o644): number {
    return ok(this.call(open.sys_openat, AT.FDCWD, this.str(path), flags, mode));
  }

  close(at: number): void {
    ok(this.call(open.sys_close, at));
  }

  /** Makes or replaces a file. */
  writeFile(path: string, text: string): void {
    const at = this.open(path, O.WRONLY | O.CREAT | O.TRUNC);
    ok(this.call(readWrite.sys_write, at, this.str(text), text.length));
    this.close(at);
  }

  readFile(path: string): string {
    const at = this.open(path, O.RDONLY);
    const buffer = this.buffer(65_536);
    let text = "";
    for (;;) {
      const got = ok(this.call(readWrite.sys_read, at, buffer, 65_536));
      if (got === 0) break;
      text += this.text(buffer, got);
    }
    this.close(at);
    return text;
  }

  /** Ends the task's use of memory and files. */
  end(): void {
    for (const hook of this.kernel.taskHooks.toReversed()) hook.exit?.(this.cx, this.task);
    setMm(this.task, null);
    this.mm.put();
  }
}

const asNumber = (result: SyscallResult): number => (result instanceof Errno ? -result.number : result);

/** A result that is no error. */
export function ok(result: number): number {
  if (result < 0) throw new Error(`errno ${-result}`);
  return result;
}

function must<T>(result: Result<T>): T {
  if (isErr(result)) throw new Error(result.name);
  return result;
}
