/**
 * What the tests and the random suite of this folder share: a seeded generator (the same seed, the same run), small
 * memories and address spaces, a file's page cache. Part of no kernel.
 */
import {
  EIO,
  isErr,
  type KAddr,
  Layout,
  LinearMemory,
  MAP,
  PROT,
  type Result,
  type UAddr,
} from "@alien-ts/abi";
import { Prng } from "../core/prng.ts";
import { AddressSpace } from "./address-space.ts";
import { Kmalloc } from "./kmalloc.ts";
import type { Mappable } from "./mappable.ts";
import { DEFAULT_MM_LIMITS, MemoryManager, type MmLimits } from "./memory-manager.ts";
import { do_mmap, type MmapFile } from "./mmap.ts";
import { PageAllocator } from "./pages.ts";

/** Gives integers in [0, below). */
export type Random = (below: number) => number;

export function seededRandom(seed: number): Random {
  const prng = new Prng(seed);
  return (below) => prng.below(below);
}

/** A memory manager over a fresh memory, in debug mode. */
export function testManager(sizeBytes = 16 * 0x10_0000, layout: Layout = Layout.natural()): MemoryManager {
  const memory = new LinearMemory(new ArrayBuffer(sizeBytes));
  const pages = new PageAllocator(memory, { start: 0x2_0000, end: sizeBytes, debug: true });
  return new MemoryManager(new Kmalloc(pages, { debug: true }), layout);
}

/** A fresh address space; a test has memory for it. */
export function testSpace(manager: MemoryManager, limits: MmLimits = DEFAULT_MM_LIMITS): AddressSpace {
  const mm = AddressSpace.create(manager, { limits });
  if (isErr(mm)) throw new Error(`no memory for an address space: ${mm.name}`);
  return mm;
}

/** mmap of anonymous memory with `flags` (MAP_PRIVATE unless given), by default read-write and anywhere. */
export function mapAnonymous(
  mm: AddressSpace,
  length: number,
  { addr = 0, prot = PROT.READ | PROT.WRITE, flags = MAP.PRIVATE as number } = {},
): Result<UAddr> {
  return do_mmap(mm, { addr, length, prot, flags: flags | MAP.ANONYMOUS, offset: 0, file: undefined });
}

/** The value of a result that must not be an error. */
export function ok<T>(result: Result<T>): T {
  if (isErr(result)) throw new Error(`unexpected ${result.name}`);
  return result;
}

/** A page cache of `pageCount` counted pages; byte 0 of page n is n + 1. Counts its mappings. */
export class TestFile implements Mappable {
  readonly name = "/tmp/file";
  readonly device = 0x12;
  readonly inode = 77;
  readonly counted = true;
  readonly isShmem = false;
  readonly pages: PageAllocator;
  readonly frames: KAddr[] = [];
  readonly dirtyPages = new Set<number>();
  mappings = 0;

  constructor(pages: PageAllocator, pageCount: number) {
    this.pages = pages;
    for (let i = 0; i < pageCount; i++) {
      const frame = pages.alloc(1, "page cache");
      pages.memory.u8[frame] = i + 1;
      this.frames.push(frame);
    }
  }

  fault(index: number): Result<KAddr> {
    const frame = this.frames[index];
    if (frame === undefined) return EIO;
    this.pages.get(frame);
    return frame;
  }
  dirtied(index: number): void {
    this.dirtyPages.add(index);
  }
  retain(): void {
    this.mappings += 1;
  }
  release(): void {
    this.mappings -= 1;
  }
  drop(): void {
    for (const frame of this.frames.splice(0)) this.pages.put(frame);
  }

  /** The file as mmap sees it, opened for reading and writing unless said otherwise. */
  opened(how: Partial<MmapFile> = {}): MmapFile {
    return {
      readable: true,
      writable: true,
      appendOnly: false,
      noexec: false,
      mmap: () => this,
      ...how,
    };
  }
}
