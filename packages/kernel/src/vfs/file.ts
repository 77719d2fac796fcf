/**
 * Open files: `struct file`, its owner, and the operations table that makes everything held a file (Linux: fs/file_table.c,
 * include/linux/fs.h). Pipes, sockets, maps, programs, events, epoll and directories differ in `FileOperations` alone.
 *
 * To make a kind of file: write a `FileOperations`, and get a file by `anon_inode_getfile` (anon-inodes.ts), `alloc_file_pseudo`,
 * or by opening an inode whose `i_fop` it is. Operations that may sleep answer a value or a generator. Every operation may be
 * absent; the VFS then answers as Linux does (the errno stands at each).
 *
 * `fget`/`fput` count references; the last `fput` calls `release` and frees the struct. `close` of one descriptor calls
 * `flush` each time (filp_close).
 */
import {
  CAP,
  ENFILE,
  ENOMEM,
  EBADF,
  type KAddr,
  O,
  POLL,
  type Result,
  S,
  u32,
  type UAddr,
  type ViewOf,
} from "@alien-ts/abi";
import { capable, type Cred } from "../core/cred.ts";
import type { Cx } from "../core/cx.ts";
import { assert, type Kernel } from "../core/kernel.ts";
import { type Owned, ownerPtr, ownerPtrOrNull, type OwnerType, voidType } from "../core/owner.ts";
import { kernelFn } from "../core/row.ts";
import type { IovIter } from "../mm/iov-iter.ts";
import type { Mappable } from "../mm/mappable.ts";
import type { MapRequest } from "../mm/mmap.ts";
import type { WaitQueue } from "../sched/wait.ts";
import { putCred } from "../task/create.ts";
import type { MaybeBlocking } from "./blocking.ts";
import { type Inode, iput } from "./inode.ts";
import type { FilesStruct } from "./fd-table.ts";
import type { Kiocb } from "./kiocb.ts";
import { MNT, path_get, path_put, type PathRef } from "./mount.ts";
import { Path } from "./path.ts";
import { file } from "./structs.ts";

export const filep = ownerPtr<File>("file");
export const fileOrNull = ownerPtrOrNull<File>("file");
/** `struct iov_iter *` as a parameter of rows. */
export const iov_iterp: OwnerType<IovIter> = {
  kind: "owner",
  c: "struct iov_iter *",
  target: "iov_iter",
  nullable: false,
};

/** Collects what a poll must wait on: called with each queue that wakes when the file's state changes. */
export type PollRegister = (queue: WaitQueue) => void;

/** One entry of a directory, from iterate_shared. False: the buffer is full; the entry will be asked for again. */
export interface DirContext {
  /** Where to go on; the operation sets it behind each entry that was taken. */
  pos: number;
  /** @param nextPos what `pos` becomes when the entry is taken; `type` of DT. */
  emit(name: string, ino: number, type: number, nextPos: number): boolean;
}

export interface FileOperations {
  /** Symbol of the table: "pipefifo_fops". Guests may compare f_op with its address. */
  readonly name: string;
  /** Absent: ESPIPE. */
  llseek?(cx: Cx, file: File, offset: number, whence: number): Result<number>;
  /** Absent: EINVAL. Bytes read, 0 at the end. Copies to `to`, and moves `iocb.pos` where the file has positions. */
  read_iter?(cx: Cx, iocb: Kiocb, to: IovIter): MaybeBlocking<Result<number>>;
  /** Absent: EINVAL. Bytes written. */
  write_iter?(cx: Cx, iocb: Kiocb, from: IovIter): MaybeBlocking<Result<number>>;
  /** Absent: ENOTDIR. Emits entries from `ctx.pos` on. */
  iterate_shared?(cx: Cx, file: File, ctx: DirContext): MaybeBlocking<Result<0>>;
  /** Absent: always readable and writable. Registers its queues when asked to, then answers the mask of POLL now. */
  poll?(cx: Cx, file: File, register: PollRegister | undefined): number;
  /** Absent, or ENOIOCTLCMD: ENOTTY. */
  unlocked_ioctl?(cx: Cx, file: File, cmd: number, arg: UAddr): MaybeBlocking<Result<number>>;
  /** Absent: ENODEV. The object behind the mapping. */
  mmap?(cx: Cx, file: File, request: MapRequest): Result<Mappable>;
  open?(cx: Cx, inode: Inode, file: File): MaybeBlocking<Result<0>>;
  /** A descriptor is closed, the file may live on. */
  flush?(cx: Cx, file: File, owner: FilesStruct): Result<0>;
  /** The last reference is gone. */
  release?(cx: Cx, inode: Inode, file: File): void;
  /** Absent: EINVAL. */
  fsync?(cx: Cx, file: File, start: number, end: number, isDataOnly: boolean): MaybeBlocking<Result<0>>;
  /** Absent: EOPNOTSUPP. */
  fallocate?(cx: Cx, file: File, mode: number, offset: number, length: number): Result<0>;
  /** Lines of /proc/<pid>/fdinfo/<fd> after pos, flags, mnt_id and ino, each with its newline. */
  show_fdinfo?(cx: Cx, file: File): string;
}

/** f_mode (include/linux/fs.h, file_ref). */
export const FMODE = {
  READ: 1 << 0,
  WRITE: 1 << 1,
  LSEEK: 1 << 2,
  PREAD: 1 << 3,
  PWRITE: 1 << 4,
  EXEC: 1 << 5,
  ATOMIC_POS: 1 << 15,
  PATH: 1 << 14,
  CAN_READ: 1 << 17,
  CAN_WRITE: 1 << 18,
  OPENED: 1 << 19,
  CREATED: 1 << 20,
  STREAM: 1 << 21,
} as const;

export class File implements Owned {
  readonly kernel: Kernel;
  readonly addr: KAddr;
  readonly t: ViewOf<typeof file>;
  /** Where it was opened; the file holds its references. */
  readonly path: Path;
  readonly inode: Inode;
  readonly cred: Cred;
  /** Open file descriptions are counted: descriptors, tasks at work in it, mappings. Linux: f_ref. */
  refs = 1;
  #operations: FileOperations;
  #privateData: unknown = undefined;
  /** What its mappings refer to; made at the first mmap (file-mapping.ts). */
  mappable: Mappable | undefined = undefined;
  /** F_SETOWN: a pid, or minus a process group; 0 none. */
  ownerPid = 0;
  /** F_SETSIG: the signal of O_ASYNC; 0 is SIGIO. */
  ownerSignal = 0;

  constructor(at: PathRef, addr: KAddr, flags: number, operations: FileOperations, cred: Cred) {
    const { kernel } = at.mnt;
    assert(at.dentry.inode !== null, "a file is opened on a negative dentry");
    this.kernel = kernel;
    this.addr = addr;
    this.t = new (kernel.layout.view(file))(kernel.mem, addr);
    this.path = path_get(new Path(addr + kernel.vfs.offsets.filePath, at.mnt, at.dentry));
    this.inode = at.dentry.inode;
    this.inode.refs += 1;
    this.cred = cred;
    cred.users += 1;
    this.#operations = operations;
    this.t.f_inode = this.inode.addr;
    this.t.f_flags = flags;
    this.t.f_cred = cred.addr;
    this.t.f_mode = modeOfFlags(flags);
    this.t.f_op = kernel.vfs.tableAddress(operations.name);
  }

  get f_op(): FileOperations {
    return this.#operations;
  }
  set f_op(operations: FileOperations) {
    this.#operations = operations;
    this.t.f_op = this.kernel.vfs.tableAddress(operations.name);
  }
  /** What the operations keep with the file: a map, a pipe, a cursor. Guests see the address of one that is `Owned`. */
  get private_data(): unknown {
    return this.#privateData;
  }
  set private_data(value: unknown) {
    this.#privateData = value;
    this.t.private_data = isOwned(value) ? value.addr : 0;
  }
  get flags(): number {
    return this.t.f_flags;
  }
  set flags(flags: number) {
    this.t.f_flags = flags;
  }
  get mode(): number {
    return this.t.f_mode;
  }
  set mode(mode: number) {
    this.t.f_mode = mode;
  }
  get pos(): number {
    return this.t.f_pos;
  }
  set pos(pos: number) {
    this.t.f_pos = pos;
  }
  get isNonBlocking(): boolean {
    return (this.t.f_flags & O.NONBLOCK) !== 0;
  }
  get canRead(): boolean {
    return (this.t.f_mode & FMODE.READ) !== 0;
  }
  get canWrite(): boolean {
    return (this.t.f_mode & FMODE.WRITE) !== 0;
  }
}

const isOwned = (value: unknown): value is Owned =>
  typeof value === "object" && value !== null && "addr" in value && typeof value.addr === "number";

/** Linux: OPEN_FMODE(): 0, 1 and 2 are read, write, both; 3 is neither. */
const modeOfFlags = (flags: number): number =>
  ((flags + 1) & O.ACCMODE) | FMODE.LSEEK | FMODE.PREAD | FMODE.PWRITE;

/** A file on a place, with one reference, not opened yet (alloc_empty_file). It takes references to the place. ENFILE, ENOMEM. */
export function alloc_file(cx: Cx, at: PathRef, flags: number, operations: FileOperations): Result<File> {
  const { kernel } = cx;
  const { vfs } = kernel;
  if (vfs.openFiles >= vfs.maxFiles && !capable(cx, CAP.SYS_ADMIN)) {
    kernel.log.info(`VFS: file-max limit ${vfs.maxFiles} reached`);
    return ENFILE;
  }
  const addr = kernel.kmalloc.kzalloc(kernel.layout.size(file), "file");
  if (addr === 0) return ENOMEM;
  const made = new File(at, addr, flags & ~O.CLOEXEC, operations, cx.task.cred);
  kernel.kmalloc.setOwner(addr, made);
  vfs.openFiles += 1;
  return made;
}

/** A file on an inode without a name, opened (alloc_file_pseudo). Read and write as the operations allow. */
export function alloc_opened_file(
  cx: Cx,
  at: PathRef,
  flags: number,
  operations: FileOperations,
): Result<File> {
  const made = alloc_file(cx, at, flags, operations);
  if (made instanceof File) markOpened(made);
  return made;
}

/** Completes f_mode from what the operations can do. */
export function markOpened(opened: File): void {
  let { mode } = opened;
  const { f_op } = opened;
  if ((mode & FMODE.READ) !== 0 && f_op.read_iter !== undefined) mode |= FMODE.CAN_READ;
  if ((mode & FMODE.WRITE) !== 0 && f_op.write_iter !== undefined) mode |= FMODE.CAN_WRITE;
  if (f_op.llseek === undefined) mode &= ~FMODE.LSEEK;
  opened.mode = mode | FMODE.OPENED;
}

/** Linux: stream_open(). The file has no positions: pread and lseek answer ESPIPE. */
export function stream_open(opened: File): void {
  opened.mode = (opened.mode & ~(FMODE.LSEEK | FMODE.PREAD | FMODE.PWRITE | FMODE.ATOMIC_POS)) | FMODE.STREAM;
}

/** Linux: nonseekable_open(). */
export function nonseekable_open(opened: File): void {
  opened.mode &= ~(FMODE.LSEEK | FMODE.PREAD | FMODE.PWRITE);
}

export function get_file(held: File): File {
  held.refs += 1;
  return held;
}

/** The file of a descriptor of the current task, with a reference. Null when it is not open, and for O_PATH. */
export const fget = kernelFn("fget", [["fd", u32]], fileOrNull, (cx, fd) => {
  const found = cx.task.files.get(fd);
  return found === undefined || (found.mode & FMODE.PATH) !== 0 ? null : get_file(found);
});

/** As fget, O_PATH files too. */
export function fget_raw(cx: Cx, fd: number): Result<File> {
  const found = cx.task.files.get(fd);
  return found === undefined ? EBADF : get_file(found);
}

/** Gives a reference back; the last one closes the file. */
export const fput = kernelFn(
  "fput",
  [["file", filep]],
  voidType,
  (cx, put) => {
    put.refs -= 1;
    if (put.refs === 0) ____fput(cx, put);
    return undefined;
  },
  { fidelity: { simplified: "the file is closed at once, not when the task returns to user mode" } },
);

export const ____fput = kernelFn("____fput", [["work", filep]], voidType, (cx, put) => __fput(cx, put), {
  local: true,
});

export const __fput = kernelFn(
  "__fput",
  [["file", filep]],
  voidType,
  (cx, gone) => {
    const { inode, kernel } = gone;
    if ((gone.mode & FMODE.OPENED) !== 0) {
      inode.locks?.releaseFile(cx, gone);
      for (const hook of kernel.vfs.releaseHooks) hook(cx, gone);
      gone.f_op.release?.(cx, inode, gone);
      if (gone.canWrite && countsWriters(inode)) inode.writers -= 1;
    }
    path_put(cx, gone.path);
    iput(cx, inode);
    putCred(kernel, gone.cred);
    kernel.vfs.openFiles -= 1;
    kernel.kmalloc.kfree(gone.addr);
    return undefined;
  },
  { local: true, doc: "Closes an open file description: locks, release, names, memory." },
);

/** i_writecount is kept for regular files: ETXTBSY. */
export const countsWriters = (inode: Inode): boolean => inode.type === S.IFREG;

/** What poll answers for a file without a poll operation. */
export const DEFAULT_POLLMASK = POLL.IN | POLL.OUT | POLL.RDNORM | POLL.WRNORM;

/** The events of a file now (vfs_poll); with `register`, its queues are given to the caller first. */
export function vfs_poll(cx: Cx, polled: File, register?: PollRegister): number {
  return polled.f_op.poll === undefined ? DEFAULT_POLLMASK : polled.f_op.poll(cx, polled, register);
}

/** Linux: path_noexec(). */
export const path_noexec = (at: PathRef): boolean => (at.mnt.flags & MNT.NOEXEC) !== 0;
