/**
 * What can be mapped into a user address space, and the two kinds of it that memory management has itself.
 *
 * `Mappable` is the port between a mapping and the object behind it (page cache, BPF map, perf ring): it answers faults with
 * frames. Frames are either *counted* (single pages of the page allocator, whose references are counted: page caches) or
 * memory that the object owns for as long as it is retained (rings, maps: `KernelPages`). A frame that is mapped twice is
 * the same bytes for everybody, the kernel included.
 */
import { ENOMEM, EIO, type KAddr, PAGE_SIZE, type Result } from "@alien-ts/abi";
import type { PageAllocator } from "./pages.ts";
import type { Vma } from "./vma.ts";

/** An object behind mappings (Linux: vm_operations_struct and address_space_operations). */
export interface Mappable {
  /** Path or name that /proc/<pid>/maps shows. */
  readonly name: string;
  /** Device number and inode that /proc/<pid>/maps shows; 0 for none. */
  readonly device: number;
  readonly inode: number;
  /** Whether frames are counted: `fault` then hands over one reference with the frame. */
  readonly counted: boolean;
  /** Shared memory (tmpfs, shared anonymous), for the accounting of resident pages. */
  readonly isShmem: boolean;
  /**
   * The frame of page `index` of the object, for a store when `isWrite` (a private mapping asks for a load, and copies).
   * ENOMEM stops the task as out-of-memory does; any other error is SIGBUS.
   */
  fault(index: number, isWrite: boolean): Result<KAddr>;
  /** A shared mapping is about to store to page `index` for the first time. */
  dirtied?(index: number): void;
  /** A mapping comes to refer to this object (mmap, fork, the upper part of a split). Balanced by `release`. */
  retain(vma: Vma): void;
  /** A mapping no longer refers to this object. Its pages are unmapped already. */
  release(vma: Vma): void;
  /** Punches a hole (MADV_REMOVE), unmapping its pages everywhere with `zapObject`. Absent: EOPNOTSUPP. */
  remove?(firstIndex: number, count: number): Result<void>;
}

/** Memory of MAP_SHARED|MAP_ANONYMOUS: pages appear when touched and live until the last mapping goes. */
export class SharedAnonymous implements Mappable {
  readonly name = "/dev/zero (deleted)";
  readonly device = 1;
  readonly inode: number;
  readonly counted = true;
  readonly isShmem = true;
  readonly #pages: PageAllocator;
  readonly #frames = new Map<number, KAddr>();
  readonly #vmas = new Set<Vma>();

  constructor(pages: PageAllocator, inode: number) {
    this.#pages = pages;
    this.inode = inode;
  }

  fault(index: number): Result<KAddr> {
    let frame = this.#frames.get(index);
    if (frame === undefined) {
      frame = this.#pages.alloc(1, "shmem");
      if (frame === 0) return ENOMEM;
      this.#frames.set(index, frame);
    }
    this.#pages.get(frame);
    return frame;
  }

  retain(vma: Vma): void {
    this.#vmas.add(vma);
  }

  release(vma: Vma): void {
    this.#vmas.delete(vma);
    if (this.#vmas.size > 0) return;
    for (const frame of this.#frames.values()) this.#pages.put(frame);
    this.#frames.clear();
  }

  remove(firstIndex: number, count: number): void {
    for (const vma of this.#vmas) vma.mm.zapObject(this, firstIndex, firstIndex + count);
    for (let index = firstIndex; index < firstIndex + count; index++) {
      const frame = this.#frames.get(index);
      if (frame === undefined) continue;
      this.#frames.delete(index);
      this.#pages.put(frame);
    }
  }
}

export interface KernelPagesOptions {
  readonly name: string;
  readonly device?: number;
  readonly inode?: number;
  /** Address of the first page of contiguous kernel memory, page-aligned. */
  readonly addr: KAddr;
  readonly pageCount: number;
  /** Page of the memory that page `index` of the mapping shows; by default the same. A ring shows its data twice this way. */
  readonly pageOf?: (index: number) => number;
  readonly onRetain?: (vma: Vma) => void;
  readonly onRelease?: (vma: Vma) => void;
}

/** Contiguous kernel memory as a mapping. Its owner keeps it alive until the last release. */
export class KernelPages implements Mappable {
  readonly name: string;
  readonly device: number;
  readonly inode: number;
  readonly counted = false;
  readonly isShmem = false;
  readonly #options: KernelPagesOptions;

  constructor(options: KernelPagesOptions) {
    if (options.addr % PAGE_SIZE !== 0) throw new Error(`${options.name}: mapped memory is not page-aligned`);
    this.#options = options;
    this.name = options.name;
    this.device = options.device ?? 0;
    this.inode = options.inode ?? 0;
  }

  fault(index: number): Result<KAddr> {
    const page = this.#options.pageOf?.(index) ?? index;
    if (page < 0 || page >= this.#options.pageCount) return EIO;
    return this.#options.addr + page * PAGE_SIZE;
  }

  retain(vma: Vma): void {
    this.#options.onRetain?.(vma);
  }

  release(vma: Vma): void {
    this.#options.onRelease?.(vma);
  }
}
