/**
 * What all address spaces of one kernel share: the allocators, the layout, the zero page. Made once at boot; no globals.
 */
import { type KAddr, type Layout, PAGE_SIZE } from "@alien-ts/abi";
import { SharedAnonymous } from "./mappable.ts";
import type { Kmalloc } from "./kmalloc.ts";
import type { PageAllocator } from "./pages.ts";

/** Draws the random gaps of an address space; a kernel passes its own generator. */
export interface RandomSource {
  /** A uniform integer in [0, limit). */
  below(limit: number): number;
}

/** The limits of the process that uses an address space, in bytes; read at each use, since setrlimit changes them. */
export interface MmLimits {
  /** RLIMIT_STACK */
  readonly stack: number;
  /** RLIMIT_AS */
  readonly addressSpace: number;
  /** RLIMIT_DATA */
  readonly data: number;
}

/** No limit but the stack's usual 8 MiB. */
export const DEFAULT_MM_LIMITS: MmLimits = {
  stack: 8 * 1024 * 1024,
  addressSpace: Number.POSITIVE_INFINITY,
  data: Number.POSITIVE_INFINITY,
};

export class MemoryManager {
  readonly kmalloc: Kmalloc;
  readonly pages: PageAllocator;
  readonly layout: Layout;
  /** The page that every untouched anonymous page reads as. Never written, never freed, never counted. */
  readonly zeroPage: KAddr;
  #nextSharedInode = 1;

  constructor(kmalloc: Kmalloc, layout: Layout) {
    this.kmalloc = kmalloc;
    this.pages = kmalloc.pages;
    this.layout = layout;
    this.zeroPage = this.pages.alloc(1, "zero page");
    if (this.zeroPage === 0) throw new Error(`no memory for the zero page (${PAGE_SIZE} bytes)`);
  }

  /** A fresh object for MAP_SHARED|MAP_ANONYMOUS (shmem_zero_setup). */
  sharedAnonymous(): SharedAnonymous {
    const inode = this.#nextSharedInode;
    this.#nextSharedInode += 1;
    return new SharedAnonymous(this.pages, inode);
  }
}
