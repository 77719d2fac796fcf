/**
 * Descriptor tables: `struct files_struct` and its fdtable in linear memory, as BPF programs walk it
 * (`task->files->fdt->fd[n]`). Linux: fs/file.c.
 *
 * `task.files` is the current table. `allocFd` reserves the lowest free number (EMFILE at RLIMIT_NOFILE), `install` fills it (the
 * table takes the caller's file reference), `get` reads, `close_fd` closes. `getUnusedFd`+`install` are two steps as in Linux, so that what can fail
 * comes before anything is visible; `addFile` is both.
 *
 * Invariant: a set bit of open_fds is a reserved descriptor; a non-null fd[] entry is an open one and holds one reference.
 */
import {
  EBADF,
  EINVAL,
  EMFILE,
  ENOMEM,
  isErr,
  type KAddr,
  type Result,
  RLIMIT,
  u32,
  s32,
  type ViewOf,
} from "@alien-ts/abi";
import type { Cx } from "../core/cx.ts";
import type { Kernel } from "../core/kernel.ts";
import { type Owned, ownerPtr } from "../core/owner.ts";
import { kernelFn } from "../core/row.ts";
import { File, filep, fput, get_file } from "./file.ts";
import { files_struct } from "./structs.ts";

declare module "../core/task.ts" {
  interface Task {
    /** Descriptors; shared by clone(CLONE_FILES). Empty after exit. */
    files: FilesStruct;
  }
}

/** Descriptors that a table starts with (NR_OPEN_DEFAULT) and may have (sysctl fs.nr_open). */
const NR_OPEN_DEFAULT = 64;
export const NR_OPEN = 1024 * 1024;
const POINTER_BYTES = 8;

export const files_structp = ownerPtr<FilesStruct>("files_struct");

export class FilesStruct implements Owned {
  readonly kernel: Kernel;
  readonly addr: KAddr;
  readonly t: ViewOf<typeof files_struct>;
  /** The array of struct file pointers, and the bitmaps behind it. */
  #fd: KAddr = 0;
  #open: KAddr = 0;
  #cloexec: KAddr = 0;
  #max = 0;

  private constructor(kernel: Kernel, addr: KAddr) {
    this.kernel = kernel;
    this.addr = addr;
    this.t = new (kernel.layout.view(files_struct))(kernel.mem, addr);
  }

  /** An empty table with one user. ENOMEM. */
  static create(kernel: Kernel): Result<FilesStruct> {
    const addr = kernel.kmalloc.kzalloc(kernel.layout.size(files_struct), "files_struct");
    if (addr === 0) return ENOMEM;
    const made = new FilesStruct(kernel, addr);
    kernel.kmalloc.setOwner(addr, made);
    made.t.count = 1;
    made.t.fdt = addr + kernel.layout.offset(files_struct, "fdtab");
    if (made.#grow(NR_OPEN_DEFAULT)) return made;
    kernel.kmalloc.kfree(addr);
    return ENOMEM;
  }

  /** A copy with the same files (dup_fd). ENOMEM. */
  dup(): Result<FilesStruct> {
    const copy = FilesStruct.create(this.kernel);
    if (isErr(copy)) return copy;
    if (!copy.#grow(this.#max)) {
      copy.#free();
      return ENOMEM;
    }
    for (let fd = 0; fd < this.#max; fd++) {
      const file = this.get(fd);
      if (file === undefined) continue;
      copy.#setBit(copy.#open, fd, true);
      copy.#setBit(copy.#cloexec, fd, this.isCloexec(fd));
      copy.install(fd, get_file(file));
    }
    return copy;
  }

  /** One more task uses the table. */
  share(): FilesStruct {
    this.t.count += 1;
    return this;
  }

  get isShared(): boolean {
    return this.t.count > 1;
  }

  /** One user less; the last one closes every descriptor (put_files_struct). */
  put(cx: Cx): void {
    this.t.count -= 1;
    if (this.t.count > 0) return;
    for (let fd = 0; fd < this.#max; fd++) if (this.#bit(this.#open, fd)) close_fd_of(cx, this, fd);
    this.#free();
  }

  #free(): void {
    this.kernel.kmalloc.kfree(this.#fd);
    this.kernel.kmalloc.kfree(this.addr);
    this.#max = 0;
  }

  /** Size of the table. */
  get max(): number {
    return this.#max;
  }

  /** The open file of a descriptor, without a reference. */
  get(fd: number): File | undefined {
    if (!(fd >= 0 && fd < this.#max)) return undefined;
    const addr = this.kernel.mem.u32[(this.#fd + fd * POINTER_BYTES) >>> 2]!;
    if (addr === 0) return undefined;
    const file = this.kernel.ownerOf(addr);
    return file instanceof File ? file : undefined;
  }

  /** The lowest free descriptor from `from` on, reserved. EMFILE at `limit`. */
  allocFd(from: number, limit: number, isCloexec: boolean): Result<number> {
    let fd = from;
    while (fd < this.#max && this.#bit(this.#open, fd)) fd += 1;
    if (fd >= limit) return EMFILE;
    if (fd >= this.#max && !this.#grow(fd + 1)) return ENOMEM;
    this.#setBit(this.#open, fd, true);
    this.#setBit(this.#cloexec, fd, isCloexec);
    return fd;
  }

  /** Gives back a reserved descriptor that was not installed (put_unused_fd). */
  freeFd(fd: number): void {
    this.#setBit(this.#open, fd, false);
    this.#setBit(this.#cloexec, fd, false);
  }

  /** Fills a reserved descriptor; takes the caller's reference (fd_install). */
  install(fd: number, file: File): void {
    this.#setPointer(fd, file.addr);
  }

  /** Makes `fd` be `file` (a reference handed over), and answers what it was. ENOMEM. Linux: do_dup2(). */
  replace(fd: number, file: File, isCloexec: boolean): Result<File | undefined> {
    if (fd >= this.#max && !this.#grow(fd + 1)) return ENOMEM;
    const old = this.get(fd);
    this.#setBit(this.#open, fd, true);
    this.#setBit(this.#cloexec, fd, isCloexec);
    this.#setPointer(fd, file.addr);
    return old;
  }

  /** Frees `fd`, and answers its file with the table's reference. */
  take(fd: number): File | undefined {
    const file = this.get(fd);
    if (file === undefined) return undefined;
    this.#setPointer(fd, 0);
    this.freeFd(fd);
    return file;
  }

  isCloexec(fd: number): boolean {
    return fd < this.#max && this.#bit(this.#cloexec, fd);
  }

  setCloexec(fd: number, isOn: boolean): void {
    this.#setBit(this.#cloexec, fd, isOn);
  }

  /** Open descriptors, lowest first. */
  *entries(): Generator<readonly [fd: number, file: File]> {
    for (let fd = 0; fd < this.#max; fd++) {
      const file = this.get(fd);
      if (file !== undefined) yield [fd, file];
    }
  }

  /** exec: closes what is marked close-on-exec (do_close_on_exec). */
  closeOnExec(cx: Cx): void {
    for (let fd = 0; fd < this.#max; fd++)
      if (this.#bit(this.#open, fd) && this.isCloexec(fd)) close_fd_of(cx, this, fd);
  }

  /** Room for `wanted` descriptors: a power of two, as expand_fdtable() makes it. */
  #grow(wanted: number): boolean {
    let max = Math.max(this.#max, NR_OPEN_DEFAULT);
    while (max < wanted) max *= 2;
    if (max === this.#max) return true;
    const { kmalloc, mem } = this.kernel;
    const bitmapBytes = max / 8;
    const fd = kmalloc.kzalloc(max * POINTER_BYTES + 2 * bitmapBytes, "fdtable");
    if (fd === 0) return false;
    const open = fd + max * POINTER_BYTES;
    const oldBitmapBytes = this.#max / 8;
    if (this.#fd !== 0) {
      mem.u8.copyWithin(fd, this.#fd, this.#fd + this.#max * POINTER_BYTES);
      mem.u8.copyWithin(open, this.#open, this.#open + oldBitmapBytes);
      mem.u8.copyWithin(open + bitmapBytes, this.#cloexec, this.#cloexec + oldBitmapBytes);
      kmalloc.kfree(this.#fd);
    }
    this.#fd = fd;
    this.#open = open;
    this.#cloexec = open + bitmapBytes;
    this.#max = max;
    const table = this.t.fdtab;
    table.max_fds = max;
    table.fd = fd;
    table.open_fds = open;
    table.close_on_exec = this.#cloexec;
    return true;
  }

  #setPointer(fd: number, addr: KAddr): void {
    const { mem } = this.kernel;
    const at = this.#fd + fd * POINTER_BYTES;
    mem.dv.setUint32(at, addr, true);
    mem.dv.setUint32(at + 4, addr === 0 ? 0 : mem.baseHi, true);
  }

  #bit(bitmap: KAddr, fd: number): boolean {
    return ((this.kernel.mem.u8[bitmap + (fd >>> 3)]! >>> (fd & 7)) & 1) === 1;
  }

  #setBit(bitmap: KAddr, fd: number, isOn: boolean): void {
    const at = bitmap + (fd >>> 3);
    const bit = 1 << (fd & 7);
    const { u8 } = this.kernel.mem;
    u8[at] = isOn ? u8[at]! | bit : u8[at]! & ~bit;
  }
}

/** RLIMIT_NOFILE of the current task. */
export const openFilesLimit = (cx: Cx): number => Math.min(cx.task.process.limit(RLIMIT.NOFILE), NR_OPEN);

/** The lowest free descriptor of the current task, reserved (get_unused_fd_flags). EMFILE, ENOMEM. */
export const getUnusedFd = (cx: Cx, isCloexec: boolean, from = 0): Result<number> =>
  cx.task.files.allocFd(from, openFilesLimit(cx), isCloexec);

/** A descriptor for `file`, whose reference is handed over, also on failure: then the file is closed. EMFILE, ENOMEM. */
export function addFile(cx: Cx, file: File, isCloexec: boolean, from = 0): Result<number> {
  const fd = getUnusedFd(cx, isCloexec, from);
  if (isErr(fd)) fput(cx, file);
  else fd_install(cx, fd, file);
  return fd;
}

export const fd_install = kernelFn(
  "fd_install",
  [
    ["fd", u32],
    ["file", filep],
  ],
  s32,
  (cx, fd, file) => {
    cx.task.files.install(fd, file);
    return 0;
  },
  { doc: "Makes a reserved descriptor stand for a file." },
);

/** Closes a descriptor of the current task. EBADF; else what the file's flush answers. */
export const close_fd = kernelFn(
  "close_fd",
  [["fd", u32]],
  s32,
  (cx, fd) => close_fd_of(cx, cx.task.files, fd),
  {
    doc: "Closes a descriptor: the file is flushed, and released with its last reference.",
  },
);

function close_fd_of(cx: Cx, files: FilesStruct, fd: number): Result<number> {
  const file = files.take(fd);
  if (file === undefined) return EBADF;
  return filp_close(cx, file, files);
}

/** Flush and one reference back (fs/open.c). POSIX locks of this table's owner go with any descriptor of the file. */
export const filp_close = kernelFn(
  "filp_close",
  [
    ["filp", filep],
    ["id", files_structp],
  ],
  s32,
  (cx, file, id) => {
    const result = file.f_op.flush?.(cx, file, id) ?? 0;
    file.inode.locks?.removePosix(cx, id);
    fput(cx, file);
    return result;
  },
);

/** dup2 semantics for the current task: `fd` becomes `file` (a reference is taken); what it was is closed. EBADF, EINVAL. */
export function replaceFd(cx: Cx, fd: number, file: File, isCloexec: boolean): Result<number> {
  const { files } = cx.task;
  if (fd < 0) return EINVAL;
  if (fd >= openFilesLimit(cx)) return EBADF;
  const old = files.replace(fd, get_file(file), isCloexec);
  if (isErr(old)) {
    fput(cx, file);
    return old;
  }
  if (old !== undefined) filp_close(cx, old, files);
  return fd;
}
