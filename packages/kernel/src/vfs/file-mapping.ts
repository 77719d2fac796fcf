/**
 * Mappings of regular files: the port between memory management and a file system's pages (Linux: filemap, shmem_fault).
 *
 * A file system gives an inode its `PageCache`. `mapFile` makes, per open file, the `Mappable` that areas refer to: it holds the
 * open file, and enters each area into the cache's `areas`, so that truncation takes pages away wherever they are mapped.
 */
import { EIO, isErr, type KAddr, PAGE_SIZE, type Result } from "@alien-ts/abi";
import type { Mappable } from "../mm/mappable.ts";
import type { Vma } from "../mm/vma.ts";
import { pathFrom } from "./d-path.ts";
import { type File, fput, get_file } from "./file.ts";
import { new_encode_dev } from "./char-dev.ts";

export interface PageCache {
  /** Areas that show these pages. */
  readonly areas: Set<Vma>;
  readonly isShmem: boolean;
  /** The frame of a page, allocated when it is a hole. ENOMEM, ENOSPC. The cache keeps its reference. */
  frame(index: number): Result<KAddr>;
  /** A shared mapping stores to the page for the first time. */
  dirtied?(index: number): void;
  /** Punches a hole (MADV_REMOVE). */
  remove?(firstIndex: number, count: number): Result<void>;
}

class FileMapping implements Mappable {
  readonly counted = true;
  readonly isShmem: boolean;
  readonly remove?: (firstIndex: number, count: number) => Result<void>;
  readonly #file: File;
  readonly #cache: PageCache;

  constructor(file: File, cache: PageCache) {
    this.#file = file;
    this.#cache = cache;
    this.isShmem = cache.isShmem;
    if (cache.remove !== undefined) this.remove = (first, count) => cache.remove?.(first, count);
  }

  get name(): string {
    const { path, kernel } = this.#file;
    const { dentry } = path;
    if (dentry.d_op?.d_dname !== undefined && dentry !== path.mnt.root) return dentry.d_op.d_dname(dentry);
    const { root } = kernel.vfs;
    const { text } = pathFrom(path, { mnt: root, dentry: root.root });
    return dentry.isHashed || dentry.isRoot ? text : `${text} (deleted)`;
  }

  get device(): number {
    return new_encode_dev(this.#file.inode.sb.dev);
  }

  get inode(): number {
    return this.#file.inode.ino;
  }

  fault(index: number): Result<KAddr> {
    const { inode, kernel } = this.#file;
    if (index * PAGE_SIZE >= inode.size) return EIO;
    const frame = this.#cache.frame(index);
    if (!isErr(frame)) kernel.pages.get(frame);
    return frame;
  }

  dirtied(index: number): void {
    this.#cache.dirtied?.(index);
  }

  retain(vma: Vma): void {
    get_file(this.#file);
    this.#cache.areas.add(vma);
  }

  release(vma: Vma): void {
    this.#cache.areas.delete(vma);
    fput(this.#file.kernel.bootCx, this.#file);
  }
}

/** What mappings of `file` refer to. */
export function mapFile(file: File, cache: PageCache): Mappable {
  file.mappable ??= new FileMapping(file, cache);
  return file.mappable;
}

/** Takes pages [first, end) out of every mapping of the cache (unmap_mapping_pages). */
export function unmapPages(cache: PageCache, first: number, end: number): void {
  for (const vma of cache.areas) {
    if (vma.mappable !== undefined) vma.mm.zapObject(vma.mappable, first, end);
  }
}
