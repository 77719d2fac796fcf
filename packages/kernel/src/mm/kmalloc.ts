/**
 * kmalloc: kernel objects of any size, from size classes over the page allocator (Linux: mm/slab_common.c, mm/slub.c).
 *
 * `kmalloc(size, tag)` gives an address, 0 on exhaustion; `kzalloc` a zeroed one; `kfree` takes it back. Sizes up to 8 KiB come
 * from slabs of equal objects, larger ones are page runs. Every address is a multiple of 8, and a power-of-two size is
 * naturally aligned (Documentation/core-api/memory-allocation.rst). `kmalloc(0)` gives an object of the smallest class.
 *
 * `setOwner`/`ownerOf` connect an allocation with the TypeScript object that stands for it (a `File`, a task): the allocator
 * keeps a hidden word per object, the owner's slot in `owners`. The hidden words, tags and free lists lie in typed arrays
 * beside the linear memory: a guest cannot forge an owner, and natural alignment costs no space. `ownerOf` takes any number
 * and answers undefined unless it is exactly the start of a live, owned allocation.
 *
 * Debug mode fills new objects with 0x5a and freed ones with 0x6b, checks on reallocation that a freed object was not
 * written, and on kfree that nothing was written after the requested size. Double frees throw in every mode.
 */
import { type KAddr, type LinearMemory, PAGE_SHIFT, PAGE_SIZE } from "@alien-ts/abi";
import { type Snapshot, TagLedger, type TagUsage } from "./allocation-faults.ts";
import type { PageAllocator } from "./pages.ts";
import { Cache, FREE, Slab } from "./slab.ts";

/** Bytes of include/linux/poison.h. */
export const POISON_FREE = 0x6b;
export const POISON_INUSE = 0x5a;
export const SLUB_RED_ACTIVE = 0xcc;

/** The kmalloc caches of Linux, with the pages of one slab of each. */
const CLASSES = [
  { size: 8, slabPages: 1 },
  { size: 16, slabPages: 1 },
  { size: 32, slabPages: 1 },
  { size: 64, slabPages: 1 },
  { size: 96, slabPages: 1 },
  { size: 128, slabPages: 1 },
  { size: 192, slabPages: 1 },
  { size: 256, slabPages: 1 },
  { size: 512, slabPages: 2 },
  { size: 1024, slabPages: 4 },
  { size: 2048, slabPages: 8 },
  { size: 4096, slabPages: 8 },
  { size: 8192, slabPages: 8 },
] as const;
const LARGEST_CLASS = 8192;
/** Page tag of slabs: what they hold is accounted per object, so a snapshot leaves these pages out. */
const SLAB_TAG = "slab";

export interface KmallocOptions {
  /** Poisoning, red zones and use-after-free checks. */
  readonly debug?: boolean;
}

/** The kernel's object allocator. */
export class Kmalloc {
  readonly pages: PageAllocator;
  readonly #memory: LinearMemory;
  readonly #debug: boolean;
  readonly #caches: readonly Cache[] = CLASSES.map(({ size, slabPages }) => new Cache(size, slabPages));
  /** Class index by (size + 7) >> 3. */
  readonly #classOf = new Uint8Array(LARGEST_CLASS / 8 + 1);
  /** Slab id by page frame number; 0 is no slab. */
  readonly #slabOfPage: Int32Array;
  readonly #slabs: (Slab | undefined)[] = [undefined];
  readonly #freeSlabIds: number[] = [];
  readonly #owners: (object | undefined)[] = [undefined];
  readonly #freeSlots: number[] = [];
  readonly #ledger = new TagLedger();
  #liveObjects = 0;
  #liveBytes = 0;

  constructor(pages: PageAllocator, options: KmallocOptions = {}) {
    this.pages = pages;
    this.#memory = pages.memory;
    this.#debug = options.debug ?? false;
    this.#slabOfPage = new Int32Array(pages.memory.size >>> PAGE_SHIFT);
    for (let i = 0, index = 0; i < this.#classOf.length; i++) {
      while (CLASSES[index]!.size < i * 8) index += 1;
      this.#classOf[i] = index;
    }
  }

  get liveObjects(): number {
    return this.#liveObjects;
  }

  /** Requested bytes that are live. */
  get liveBytes(): number {
    return this.#liveBytes;
  }

  /** `size` bytes with undefined contents, accounted under `tag`; 0 when memory is exhausted. */
  kmalloc(size: number, tag: string): KAddr | 0 {
    if (!Number.isInteger(size) || size < 0) throw new Error(`kmalloc of ${size} bytes (${tag})`);
    if (this.pages.faults.shouldFail(tag)) return 0;
    const slab = size > LARGEST_CLASS ? this.#largeSlab(size) : this.#slabWithRoom(size);
    if (slab === undefined) return 0;
    const index = slab.take();
    const addr = slab.base + index * slab.size;
    const tagId = this.#ledger.id(tag);
    if (this.#debug) this.#prepare(slab, index, addr, size);
    slab.owner[index] = 0;
    slab.tag[index] = tagId;
    slab.requested[index] = size;
    this.#ledger.add(tagId, 1, size);
    this.#liveObjects += 1;
    this.#liveBytes += size;
    return addr;
  }

  /** `size` zeroed bytes; 0 when memory is exhausted. */
  kzalloc(size: number, tag: string): KAddr | 0 {
    const addr = this.kmalloc(size, tag);
    if (addr !== 0) this.#memory.u8.fill(0, addr, addr + size);
    return addr;
  }

  /** Frees an allocation and forgets its owner; `kfree(0)` does nothing. Throws on a double free or a foreign address. */
  kfree(addr: KAddr): void {
    if (addr === 0) return;
    const slab = this.#slabAt(addr);
    const index = slab === undefined ? FREE : slab.indexOf(addr);
    if (slab === undefined || index === FREE)
      throw new Error(`kfree of ${this.#memory.format(addr)}, which was never allocated`);
    const slot = slab.owner[index]!;
    if (slot === FREE)
      throw new Error(
        `double free of ${this.#memory.format(addr)}, last allocated as ${this.#ledger.name(slab.tag[index]!)}`,
      );
    if (this.#debug) this.#retire(slab, index, addr);
    if (slot !== 0) this.#dropSlot(slot);
    slab.owner[index] = FREE;
    this.#ledger.add(slab.tag[index]!, -1, -slab.requested[index]!);
    this.#liveObjects -= 1;
    this.#liveBytes -= slab.requested[index]!;
    slab.give(index);
    this.#afterFree(slab);
  }

  /**
   * Moves an allocation to one of `size` bytes, keeping its contents and its owner. 0 when memory is exhausted: the old
   * allocation then stays. In place when the object's class is large enough.
   */
  krealloc(addr: KAddr, size: number, tag: string): KAddr | 0 {
    if (addr === 0) return this.kmalloc(size, tag);
    const { slab, index } = this.#live(addr, "krealloc");
    const old = slab.requested[index]!;
    if (size <= slab.size && !this.#debug) {
      this.#ledger.add(slab.tag[index]!, 0, size - old);
      this.#liveBytes += size - old;
      slab.requested[index] = size;
      return addr;
    }
    const moved = this.kmalloc(size, tag);
    if (moved === 0) return 0;
    this.#memory.u8.copyWithin(moved, addr, addr + Math.min(old, size));
    const owner = this.ownerOf(addr);
    this.kfree(addr);
    if (owner !== undefined) this.setOwner(moved, owner);
    return moved;
  }

  /** Usable bytes of a live allocation. */
  ksize(addr: KAddr): number {
    const { slab } = this.#live(addr, "ksize");
    return slab.size;
  }

  /** Makes `owner` the object that stands for the allocation at `addr`; undefined takes it away. */
  setOwner(addr: KAddr, owner: object | undefined): void {
    const { slab, index } = this.#live(addr, "setOwner");
    const slot = slab.owner[index]!;
    if (owner === undefined) {
      if (slot !== 0) this.#dropSlot(slot);
      slab.owner[index] = 0;
    } else if (slot !== 0) {
      this.#owners[slot] = owner;
    } else {
      const fresh = this.#freeSlots.pop() ?? this.#owners.length;
      this.#owners[fresh] = owner;
      slab.owner[index] = fresh;
    }
  }

  /** The owner of the live allocation that starts exactly at `addr`. Safe for any number that a guest made up. */
  ownerOf(addr: number): object | undefined {
    if (!(addr > 0 && addr < this.#memory.size)) return undefined;
    const slab = this.#slabs[this.#slabOfPage[addr >>> PAGE_SHIFT]!];
    if (slab === undefined) return undefined;
    const index = slab.indexOf(addr);
    if (index === FREE) return undefined;
    const slot = slab.owner[index]!;
    return slot > 0 ? this.#owners[slot] : undefined;
  }

  /** Whether a live allocation starts exactly at `addr`. */
  isLive(addr: number): boolean {
    if (!(addr > 0 && addr < this.#memory.size)) return false;
    const slab = this.#slabAt(addr);
    const index = slab === undefined ? FREE : slab.indexOf(addr);
    return index !== FREE && slab!.owner[index] !== FREE;
  }

  /** Live objects and page runs by tag, for leak tests; compare two with `difference`. */
  snapshot(): Snapshot {
    const usage = new Map<string, TagUsage>();
    this.#ledger.collect(usage, "");
    this.pages.ledger.collect(usage, "pages:");
    usage.delete(`pages:${SLAB_TAG}`);
    return usage;
  }

  /** Gives the pages of all empty slabs back; returns how many. */
  shrink(): number {
    let freed = 0;
    for (const cache of this.#caches) {
      const empty = cache.empty;
      cache.empty = undefined;
      if (empty !== undefined) freed += this.#dropSlab(empty);
    }
    return freed;
  }

  /** Lines of /proc/slabinfo's kind: objects in use, objects in all, object size, per class. */
  slabInfo(): { name: string; active: number; total: number; size: number }[] {
    return this.#caches.map((cache) => {
      let active = 0;
      let total = 0;
      for (const slab of this.#slabs)
        if (slab !== undefined && slab.cache === cache) {
          active += slab.count - slab.freeCount;
          total += slab.count;
        }
      return { name: `kmalloc-${sizeName(cache.size)}`, active, total, size: cache.size };
    });
  }

  #slabAt(addr: KAddr): Slab | undefined {
    return this.#slabs[this.#slabOfPage[addr >>> PAGE_SHIFT] ?? 0];
  }

  #live(addr: KAddr, what: string): { slab: Slab; index: number } {
    const slab = this.#slabAt(addr);
    const index = slab === undefined ? FREE : slab.indexOf(addr);
    if (slab === undefined || index === FREE || slab.owner[index] === FREE)
      throw new Error(`${what} of ${this.#memory.format(addr)}, which is not a live allocation`);
    return { slab, index };
  }

  #dropSlot(slot: number): void {
    this.#owners[slot] = undefined;
    this.#freeSlots.push(slot);
  }

  #slabWithRoom(size: number): Slab | undefined {
    const cache = this.#caches[this.#classOf[(size + 7) >> 3]!]!;
    const partial = cache.partial[cache.partial.length - 1];
    if (partial !== undefined) {
      if (partial.freeCount === 1) cache.leavePartial(partial);
      return partial;
    }
    const slab = cache.empty ?? this.#newSlab(cache, cache.size, cache.slabPages);
    cache.empty = undefined;
    if (slab !== undefined && slab.count > 1) cache.enterPartial(slab);
    return slab;
  }

  #largeSlab(size: number): Slab | undefined {
    const pages = Math.ceil(size / PAGE_SIZE);
    return this.#newSlab(undefined, pages * PAGE_SIZE, pages);
  }

  #newSlab(cache: Cache | undefined, size: number, pageCount: number): Slab | undefined {
    const base = this.pages.take(pageCount, SLAB_TAG, false);
    if (base === 0) return undefined;
    const id = this.#freeSlabIds.pop() ?? this.#slabs.length;
    const slab = new Slab(id, cache, base, size, Math.floor((pageCount * PAGE_SIZE) / size));
    this.#slabs[id] = slab;
    const pfn = base >>> PAGE_SHIFT;
    this.#slabOfPage.fill(id, pfn, pfn + pageCount);
    if (this.#debug) this.#memory.u8.fill(POISON_FREE, base, base + pageCount * PAGE_SIZE);
    return slab;
  }

  /** An empty slab is kept back, one per class, so that alloc/free pairs do not thrash; a second one is freed. */
  #afterFree(slab: Slab): void {
    const cache = slab.cache;
    if (cache === undefined) {
      this.#dropSlab(slab);
      return;
    }
    if (slab.freeCount < slab.count) {
      if (slab.freeCount === 1) cache.enterPartial(slab);
      return;
    }
    cache.leavePartial(slab);
    if (cache.empty === undefined) cache.empty = slab;
    else this.#dropSlab(slab);
  }

  #dropSlab(slab: Slab): number {
    const pageCount = this.pages.countOf(slab.base);
    const pfn = slab.base >>> PAGE_SHIFT;
    this.#slabOfPage.fill(0, pfn, pfn + pageCount);
    this.#slabs[slab.id] = undefined;
    this.#freeSlabIds.push(slab.id);
    this.pages.free(slab.base);
    return pageCount;
  }

  /** Debug, before an object is handed out. */
  #prepare(slab: Slab, index: number, addr: KAddr, size: number): void {
    const u8 = this.#memory.u8;
    for (let at = addr; at < addr + slab.size; at++)
      if (u8[at] !== POISON_FREE)
        throw new Error(
          `use after free: byte ${at - addr} of ${this.#memory.format(addr)} was written, last allocated as ${this.#ledger.name(slab.tag[index]!)}`,
        );
    u8.fill(POISON_INUSE, addr, addr + size);
    u8.fill(SLUB_RED_ACTIVE, addr + size, addr + slab.size);
  }

  /** Debug, when an object comes back. */
  #retire(slab: Slab, index: number, addr: KAddr): void {
    const u8 = this.#memory.u8;
    for (let at = addr + slab.requested[index]!; at < addr + slab.size; at++)
      if (u8[at] !== SLUB_RED_ACTIVE)
        throw new Error(
          `write past the end: byte ${at - addr} of the ${slab.requested[index]} bytes at ${this.#memory.format(addr)} (${this.#ledger.name(slab.tag[index]!)})`,
        );
    u8.fill(POISON_FREE, addr, addr + slab.size);
  }
}

const sizeName = (size: number): string => (size >= 1024 ? `${size / 1024}k` : `${size}`);
