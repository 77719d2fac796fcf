/**
 * The pages of a tmpfs file (Linux: mm/shmem.c): a sparse list of page frames in linear memory. Reads and writes copy from and to
 * them, and mappings show the very same frames.
 *
 * Invariants: a page that is not in the list is a hole and reads as zeroes; bytes behind the end of the file are zero in its last
 * page; every page counts against the file system's size.
 */
import { ENOMEM, ENOSPC, isErr, type KAddr, PAGE_SIZE, type Result } from "@alien-ts/abi";
import type { Kernel } from "../../core/kernel.ts";
import type { IovIter } from "../../mm/iov-iter.ts";
import type { Vma } from "../../mm/vma.ts";
import { type PageCache, unmapPages } from "../../vfs/file-mapping.ts";
import type { Inode } from "../../vfs/inode.ts";
import type { TmpfsInfo } from "./options.ts";

/** 512-byte blocks of a page, as st_blocks counts them. */
const SECTORS_PER_PAGE = PAGE_SIZE / 512;

export class ShmemPages implements PageCache {
  readonly areas = new Set<Vma>();
  readonly isShmem = true;
  readonly #kernel: Kernel;
  readonly #inode: Inode;
  readonly #info: TmpfsInfo;
  readonly #frames = new Map<number, KAddr>();

  constructor(inode: Inode, info: TmpfsInfo) {
    this.#kernel = inode.kernel;
    this.#inode = inode;
    this.#info = info;
  }

  get count(): number {
    return this.#frames.size;
  }

  frame(index: number): Result<KAddr> {
    const known = this.#frames.get(index);
    if (known !== undefined) return known;
    if (this.#info.usedPages >= this.#info.maxPages) return ENOSPC;
    const frame = this.#kernel.pages.alloc(1, "shmem");
    if (frame === 0) return ENOMEM;
    this.#frames.set(index, frame);
    this.#count(1);
    return frame;
  }

  #count(pages: number): void {
    this.#info.usedPages += pages;
    this.#inode.t.i_blocks = this.#frames.size * SECTORS_PER_PAGE;
  }

  remove(firstIndex: number, count: number): undefined {
    this.punch(firstIndex * PAGE_SIZE, count * PAGE_SIZE);
  }

  /** Copies [pos, pos + length) to `to`; the caller has cut it at the end of the file. Bytes copied. */
  read(pos: number, length: number, to: IovIter): number {
    let done = 0;
    while (done < length) {
      const at = pos + done;
      const inPage = at % PAGE_SIZE;
      const chunk = Math.min(PAGE_SIZE - inPage, length - done);
      const frame = this.#frames.get(Math.floor(at / PAGE_SIZE));
      const copied = frame === undefined ? to.iov_iter_zero(chunk) : to.copy_to_iter(frame + inPage, chunk);
      done += copied;
      if (copied < chunk) break;
    }
    return done;
  }

  /** Copies from `from` to [pos, pos + length). Bytes copied; an error only when it is the first page's. */
  write(pos: number, length: number, from: IovIter): Result<number> {
    let done = 0;
    while (done < length) {
      const at = pos + done;
      const inPage = at % PAGE_SIZE;
      const chunk = Math.min(PAGE_SIZE - inPage, length - done);
      const frame = this.frame(Math.floor(at / PAGE_SIZE));
      if (isErr(frame)) return done > 0 ? done : frame;
      const copied = from.copy_from_iter(frame + inPage, chunk);
      done += copied;
      if (copied < chunk) break;
    }
    return done;
  }

  /** The file ends at `size` now: later pages go, and the rest of the last one is zeroed. */
  truncate(size: number): void {
    const first = Math.ceil(size / PAGE_SIZE);
    unmapPages(this, first, Number.MAX_SAFE_INTEGER);
    for (const index of this.#frames.keys()) if (index >= first) this.#drop(index);
    this.#zero(size, PAGE_SIZE - (size % PAGE_SIZE || PAGE_SIZE));
  }

  /** Makes [offset, offset + length) a hole: whole pages go, parts of pages are zeroed. */
  punch(offset: number, length: number): void {
    const end = offset + length;
    const first = Math.ceil(offset / PAGE_SIZE);
    const last = Math.floor(end / PAGE_SIZE);
    if (first > last) {
      this.#zero(offset, length);
      return;
    }
    this.#zero(offset, first * PAGE_SIZE - offset);
    this.#zero(last * PAGE_SIZE, end - last * PAGE_SIZE);
    unmapPages(this, first, last);
    for (const index of this.#frames.keys()) if (index >= first && index < last) this.#drop(index);
  }

  /** Pages for [offset, offset + length) (fallocate). On failure what was added goes again. */
  reserve(offset: number, length: number): Result<0> {
    const added: number[] = [];
    for (let index = Math.floor(offset / PAGE_SIZE); index * PAGE_SIZE < offset + length; index++) {
      if (this.#frames.has(index)) continue;
      const frame = this.frame(index);
      if (isErr(frame)) {
        for (const undo of added) this.#drop(undo);
        return frame;
      }
      added.push(index);
    }
    return 0;
  }

  /** The next byte from `offset` on that is data, or a hole, below `size`; `size` when there is none. */
  next(offset: number, isData: boolean, size: number): number {
    let index = Math.floor(offset / PAGE_SIZE);
    if (this.#frames.has(index) === isData) return offset;
    if (isData) {
      let best = Number.POSITIVE_INFINITY;
      for (const known of this.#frames.keys()) if (known > index && known < best) best = known;
      return Math.min(best * PAGE_SIZE, size);
    }
    while (this.#frames.has(index)) index += 1;
    return Math.min(index * PAGE_SIZE, size);
  }

  /** Frees every page. Nothing maps them any more. */
  free(): void {
    for (const index of this.#frames.keys()) this.#drop(index);
  }

  #drop(index: number): void {
    const frame = this.#frames.get(index);
    if (frame === undefined) return;
    this.#frames.delete(index);
    this.#kernel.pages.put(frame);
    this.#count(-1);
  }

  /** Zeroes bytes within one page, when it is there. */
  #zero(offset: number, length: number): void {
    const frame = this.#frames.get(offset >= 0 ? Math.floor(offset / PAGE_SIZE) : 0);
    if (frame === undefined || length <= 0) return;
    const at = frame + (offset % PAGE_SIZE);
    this.#kernel.mem.u8.fill(0, at, at + length);
  }
}
