/** Slabs of kmalloc: page runs of equal objects, and the size classes that keep them. Linear memory is not touched here. */
import type { KAddr } from "@alien-ts/abi";

/** No object: the owner of one that is free, the index of none. */
export const FREE = -1;

/** One size class. */
export class Cache {
  readonly size: number;
  readonly slabPages: number;
  /** Slabs with some objects free and some in use; the last one serves. */
  readonly partial: Slab[] = [];
  /** A slab with no object in use, kept back. */
  empty: Slab | undefined = undefined;

  constructor(size: number, slabPages: number) {
    this.size = size;
    this.slabPages = slabPages;
  }

  enterPartial(slab: Slab): void {
    slab.partialIndex = this.partial.length;
    this.partial.push(slab);
  }

  leavePartial(slab: Slab): void {
    if (slab.partialIndex < 0) return;
    const last = this.partial.pop()!;
    if (last !== slab) {
      this.partial[slab.partialIndex] = last;
      last.partialIndex = slab.partialIndex;
    }
    slab.partialIndex = -1;
  }
}

/** A page run of equal objects, with the hidden words of each. A large allocation is a slab of one object. */
export class Slab {
  readonly id: number;
  readonly cache: Cache | undefined;
  readonly base: KAddr;
  readonly size: number;
  readonly count: number;
  /** Per object: FREE, 0 (live, no owner) or the owner's slot. */
  readonly owner: Int32Array;
  readonly tag: Uint16Array;
  readonly requested: Uint32Array;
  readonly #freeStack: Uint16Array;
  freeCount: number;
  partialIndex = -1;

  constructor(id: number, cache: Cache | undefined, base: KAddr, size: number, count: number) {
    this.id = id;
    this.cache = cache;
    this.base = base;
    this.size = size;
    this.count = count;
    this.owner = new Int32Array(count).fill(FREE);
    this.tag = new Uint16Array(count);
    this.requested = new Uint32Array(count);
    this.#freeStack = new Uint16Array(count);
    for (let i = 0; i < count; i++) this.#freeStack[i] = count - 1 - i;
    this.freeCount = count;
  }

  /** Index of the object that starts at `addr`, or FREE when none does. */
  indexOf(addr: number): number {
    const offset = addr - this.base;
    const index = (offset / this.size) | 0;
    return index * this.size === offset && index < this.count ? index : FREE;
  }

  take(): number {
    this.freeCount -= 1;
    return this.#freeStack[this.freeCount]!;
  }

  give(index: number): void {
    this.#freeStack[this.freeCount] = index;
    this.freeCount += 1;
  }
}
