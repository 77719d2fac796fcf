/**
 * `IovIter`: where a file operation takes its bytes from or puts them (Linux: include/linux/uio.h, lib/iov_iter.c).
 *
 * It walks one or more segments, of user memory (read, readv), of kernel memory (splice, sendfile, core code), or of a
 * Uint8Array (kernel code that writes files), so that a file system has one `read_iter` and one `write_iter`. Copies advance
 * it, and give the bytes copied: fewer than asked when the segments end or a user page faults. A caller that copied nothing
 * although `count` was not 0 answers EFAULT.
 */
import {
  EFAULT,
  EINVAL,
  isErr,
  type KAddr,
  type LinearMemory,
  PAGE_SIZE,
  type Result,
  type UAddr,
} from "@alien-ts/abi";
import type { AddressSpace } from "./address-space.ts";
import {
  access_ok,
  clear_user,
  copy_from_user,
  copy_to_user,
  copyBytesFromUser,
  copyBytesToUser,
  get_user_u64,
} from "./uaccess.ts";

/** A range of user memory. */
export interface UserSpan {
  readonly addr: UAddr;
  readonly length: number;
}

/** Most segments of one call (include/uapi/linux/uio.h). */
export const UIO_MAXIOV = 1024;
/** Most bytes of one call (include/linux/fs.h, MAX_RW_COUNT). */
export const MAX_RW_COUNT = 0x7fff_ffff - (PAGE_SIZE - 1);
const SIZEOF_IOVEC = 16;

export class IovIter {
  /** It lies in no kernel memory: a probe sees NULL. */
  readonly addr: KAddr = 0;
  readonly #memory: LinearMemory;
  /** The address space of user segments. */
  readonly #mm: AddressSpace | undefined;
  /** What the segments of kernel memory or of an array index. */
  readonly #u8: Uint8Array;
  readonly #segments: readonly UserSpan[];
  #index = 0;
  #offset = 0;
  #count: number;

  private constructor(
    memory: LinearMemory,
    segments: readonly UserSpan[],
    backing: { readonly mm?: AddressSpace; readonly u8?: Uint8Array },
  ) {
    this.#memory = memory;
    this.#mm = backing.mm;
    this.#u8 = backing.u8 ?? memory.u8;
    this.#segments = segments;
    this.#count = segments.reduce((sum, segment) => sum + segment.length, 0);
  }

  /** One range of user memory, cut at MAX_RW_COUNT (import_ubuf). */
  static user(mm: AddressSpace, addr: UAddr, length: number): IovIter {
    return IovIter.userSegments(mm, [{ addr, length: Math.min(length, MAX_RW_COUNT) }]);
  }

  /** Several ranges of user memory. */
  static userSegments(mm: AddressSpace, segments: readonly UserSpan[]): IovIter {
    return new IovIter(mm.manager.pages.memory, segments, { mm });
  }

  /** A range of kernel memory. */
  static kernel(memory: LinearMemory, addr: KAddr, length: number): IovIter {
    return new IovIter(memory, [{ addr, length }], {});
  }

  /** An array of the kernel's own, outside `memory`. */
  static bytes(memory: LinearMemory, bytes: Uint8Array): IovIter {
    return new IovIter(memory, [{ addr: 0, length: bytes.length }], { u8: bytes });
  }

  /** Bytes left. */
  get count(): number {
    return this.#count;
  }

  /** Whether the bytes lie in user memory, where a copy may fault. */
  get isUser(): boolean {
    return this.#mm !== undefined;
  }

  /** Keeps `count` bytes at most (iov_iter_truncate). */
  truncate(count: number): void {
    if (count < this.#count) this.#count = count;
  }

  /** Undoes a truncation: `count` bytes are left again (iov_iter_reexpand). */
  reexpand(count: number): void {
    this.#count = count;
  }

  /** Skips `bytes`. */
  advance(bytes: number): void {
    let left = Math.min(bytes, this.#count);
    this.#count -= left;
    while (left > 0) {
      const segment = this.#segments[this.#index]!;
      const step = Math.min(left, segment.length - this.#offset);
      this.#offset += step;
      left -= step;
      if (this.#offset === segment.length) {
        this.#index += 1;
        this.#offset = 0;
      }
    }
  }

  /** Goes back over `bytes` that were copied or skipped (iov_iter_revert). */
  revert(bytes: number): void {
    let left = bytes;
    this.#count += bytes;
    while (left > this.#offset) {
      left -= this.#offset;
      this.#index -= 1;
      this.#offset = this.#segments[this.#index]!.length;
    }
    this.#offset -= left;
  }

  /** Copies kernel memory into the iterator: a read. */
  copy_to_iter(from: KAddr, length: number): number {
    return this.#each(length, (addr, chunk, done) => {
      if (this.#mm !== undefined) return chunk - copy_to_user(this.#mm, addr, from + done, chunk);
      this.#u8.set(this.#memory.u8.subarray(from + done, from + done + chunk), addr);
      return chunk;
    });
  }

  /** Copies from the iterator into kernel memory: a write. */
  copy_from_iter(to: KAddr, length: number): number {
    return this.#each(length, (addr, chunk, done) => {
      if (this.#mm !== undefined) return chunk - copy_from_user(this.#mm, to + done, addr, chunk);
      this.#memory.u8.set(this.#u8.subarray(addr, addr + chunk), to + done);
      return chunk;
    });
  }

  /** Copies `bytes` into the iterator: a read whose data is not in linear memory, or a view of it. */
  copyBytesTo(bytes: Uint8Array): number {
    return this.#each(bytes.length, (addr, chunk, done) => {
      const part = chunk === bytes.length ? bytes : bytes.subarray(done, done + chunk);
      if (this.#mm !== undefined) return chunk - copyBytesToUser(this.#mm, addr, part);
      this.#u8.set(part, addr);
      return chunk;
    });
  }

  /** Fills `into` from the iterator: a write. */
  copyBytesFrom(into: Uint8Array): number {
    return this.#each(into.length, (addr, chunk, done) => {
      const part = chunk === into.length ? into : into.subarray(done, done + chunk);
      if (this.#mm !== undefined) return chunk - copyBytesFromUser(this.#mm, part, addr);
      part.set(this.#u8.subarray(addr, addr + chunk));
      return chunk;
    });
  }

  /** The next `length` bytes at most, as an array; shorter where the iterator ends or faults. */
  take(length: number): Uint8Array {
    const bytes = new Uint8Array(Math.min(length, this.#count));
    const copied = this.copyBytesFrom(bytes);
    return copied === bytes.length ? bytes : bytes.subarray(0, copied);
  }

  /** Writes `length` zero bytes: a read from a hole. */
  iov_iter_zero(length: number): number {
    return this.#each(length, (addr, chunk) => {
      if (this.#mm !== undefined) return chunk - clear_user(this.#mm, addr, chunk);
      this.#u8.fill(0, addr, addr + chunk);
      return chunk;
    });
  }

  /** Runs `copy` on each contiguous part of the next `length` bytes, and advances by what it says it copied. */
  #each(length: number, copy: (addr: number, chunk: number, done: number) => number): number {
    let done = 0;
    while (done < length && this.#count > 0) {
      const segment = this.#segments[this.#index]!;
      const chunk = Math.min(segment.length - this.#offset, length - done, this.#count);
      if (chunk === 0) {
        this.#index += 1;
        this.#offset = 0;
        continue;
      }
      const copied = copy(segment.addr + this.#offset, chunk, done);
      this.advance(copied);
      done += copied;
      if (copied < chunk) break;
    }
    return done;
  }
}

/**
 * Reads `count` struct iovec from user memory (import_iovec). EINVAL for more than UIO_MAXIOV or a negative length, EFAULT for a
 * bad array or a segment outside the user's half; the total is cut at MAX_RW_COUNT.
 */
export function import_iovec(mm: AddressSpace, addr: UAddr, count: number): Result<IovIter> {
  const segments = read_iovec(mm, addr, count);
  return isErr(segments) ? segments : IovIter.userSegments(mm, segments);
}

/** The segments of `import_iovec`. */
export function read_iovec(mm: AddressSpace, addr: UAddr, count: number): Result<UserSpan[]> {
  if (count < 0 || count > UIO_MAXIOV) return EINVAL;
  const segments: UserSpan[] = [];
  let total = 0;
  for (let i = 0; i < count; i++) {
    const base = get_user_u64(mm, addr + i * SIZEOF_IOVEC);
    const length = get_user_u64(mm, addr + i * SIZEOF_IOVEC + 8);
    if (isErr(base) || isErr(length)) return EFAULT;
    if (length >= 2 ** 63) return EINVAL;
    if (!access_ok(base, length)) return EFAULT;
    const kept = Math.min(length, MAX_RW_COUNT - total);
    segments.push({ addr: base, length: kept });
    total += kept;
  }
  return segments;
}
