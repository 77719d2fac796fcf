/**
 * A hash table in linear memory: buckets, elements and a free list, all addressed by `KAddr`.
 *
 * An element is a *link* ({next, hash, data, newer, older, referenced}, 24 bytes) and its *data* (the key, then the value at
 * a multiple of 8). Links lie apart from data because programs that no verifier has seen may run over the end of a value:
 * they then meet another key or value of their own map, never a pointer of ours.
 *
 * Elements come in slabs, which are freed with the table and not before: an address that a program holds stays an element of
 * this map, as in Linux, where a deleted element may be reused at once. A bucket's newest element is its first.
 */
import type { KAddr, LinearMemory } from "@alien-ts/abi";
import { HASH_LINK, type HashShape, MURMUR } from "@alien-ts/bpf-vm";
import { type MapHost, roundUp8 } from "./map.ts";

/** Indices of a link's words: the first three are those that the JIT's lookups read. */
const NEXT = HASH_LINK.next >> 2;
const HASH = HASH_LINK.hash >> 2;
const DATA = HASH_LINK.data >> 2;
const NEWER = 3;
const OLDER = 4;
const REFERENCED = 5;
const LINK_BYTES = 24;
/** Words in front of the buckets: the first free element, the spare one, how many elements are in buckets. */
const HEAD = { free: 0, spare: 1, length: 2, bytes: 16 } as const;

/** Bytes that a table takes besides its elements. */
export const tableBytes = (bucketCount: number): number => HEAD.bytes + bucketCount * 4;

export interface HashTableShape {
  readonly keySize: number;
  readonly valueBytes: number;
  /** A power of two. */
  readonly bucketCount: number;
  readonly seed: number;
  readonly isProgramWritable: boolean;
}

export class HashTable {
  readonly m: LinearMemory;
  readonly keySize: number;
  readonly valueOffset: number;
  readonly bucketCount: number;
  readonly elementBytes: number;
  readonly #host: MapHost;
  readonly #head: KAddr;
  readonly #buckets: KAddr;
  readonly #seed: number;
  readonly #dataBytes: number;
  readonly #isProgramWritable: boolean;
  readonly #slabs: { readonly links: KAddr; readonly data: KAddr }[] = [];
  /** Ends of the list by age, for LRU maps; 0 where empty. */
  #newest: KAddr = 0;
  #oldest: KAddr = 0;

  /** @param storage `tableBytes(shape.bucketCount)` zeroed bytes, which the table owns from now on. */
  constructor(host: MapHost, storage: KAddr, shape: HashTableShape) {
    this.m = host.ports.memory;
    this.#host = host;
    this.#head = storage;
    this.#buckets = storage + HEAD.bytes;
    this.#seed = shape.seed;
    this.keySize = shape.keySize;
    this.bucketCount = shape.bucketCount;
    this.valueOffset = roundUp8(shape.keySize);
    this.#dataBytes = this.valueOffset + roundUp8(shape.valueBytes);
    this.elementBytes = LINK_BYTES + this.#dataBytes;
    this.#isProgramWritable = shape.isProgramWritable;
  }

  // --- Elements -----------------------------------------------------------------------------------------------------

  /** Adds `count` free elements; false when there is no memory. The first is taken first. */
  addSlab(count: number): boolean {
    const links = this.#host.ports.alloc(count * this.elementBytes);
    if (links === 0) return false;
    const data = links + count * LINK_BYTES;
    this.#slabs.push({ links, data });
    this.#host.regions.add(data, count * this.#dataBytes, this.#isProgramWritable);
    for (let i = count - 1; i >= 0; i--) {
      const link = links + i * LINK_BYTES;
      this.m.u32[(link >> 2) + DATA] = data + i * this.#dataBytes;
      this.give(link);
    }
    return true;
  }

  /**
   * What compiled programs need to look up and write elements themselves.
   *
   * @param hasSpare whether an update swaps the old element with the spare one.
   */
  shapeOf(valueBytes: number, maxEntries: number, hasSpare: boolean): HashShape {
    const spare = hasSpare ? { spare: this.#head + HEAD.spare * 4 } : {};
    return {
      kind: "hash",
      buckets: this.#buckets,
      bucketCount: this.bucketCount,
      seed: this.#seed,
      keyBytes: this.keySize,
      valueOffset: this.valueOffset,
      writes: {
        free: this.#head + HEAD.free * 4,
        count: this.#head + HEAD.length * 4,
        maxEntries,
        valueBytes,
        ...spare,
      },
    };
  }

  /** A free element; 0 when there is none. */
  take(): KAddr {
    const words = this.m.u32;
    const free = (this.#head >> 2) + HEAD.free;
    const link = words[free]!;
    if (link !== 0) words[free] = words[(link >> 2) + NEXT]!;
    return link;
  }

  give(link: KAddr): void {
    const words = this.m.u32;
    const free = (this.#head >> 2) + HEAD.free;
    words[(link >> 2) + NEXT] = words[free]!;
    words[free] = link;
  }

  /** Keeps `link`, and gives what was kept before; 0 at first. */
  swapSpare(link: KAddr): KAddr {
    const at = (this.#head >> 2) + HEAD.spare;
    const before = this.m.u32[at]!;
    this.m.u32[at] = link;
    return before;
  }

  /** How many elements are in buckets, as the map counts them. */
  get length(): number {
    return this.m.u32[(this.#head >> 2) + HEAD.length]!;
  }
  set length(length: number) {
    this.m.u32[(this.#head >> 2) + HEAD.length] = length;
  }

  keyOf(link: KAddr): KAddr {
    return this.m.u32[(link >> 2) + DATA]!;
  }

  valueOf(link: KAddr): KAddr {
    return this.m.u32[(link >> 2) + DATA]! + this.valueOffset;
  }

  destroy(): void {
    for (const { links, data } of this.#slabs) {
      this.#host.regions.remove(data);
      this.#host.ports.free(links);
    }
    this.#host.ports.free(this.#head);
  }

  // --- Keys ---------------------------------------------------------------------------------------------------------

  hashOf(key: KAddr): number {
    const { dv, u8 } = this.m;
    let hash = this.#seed ^ this.keySize;
    let at = key;
    const end = key + this.keySize;
    for (; at + 4 <= end; at += 4) hash = mix(hash, dv.getInt32(at, true));
    if (at < end) {
      let tail = 0;
      for (let shift = 0; at < end; at++, shift += 8) tail |= u8[at]! << shift;
      hash = mix(hash, tail);
    }
    hash ^= hash >>> 16;
    hash = Math.imul(hash, MURMUR.final1);
    hash ^= hash >>> 13;
    hash = Math.imul(hash, MURMUR.final2);
    return (hash ^ (hash >>> 16)) >>> 0;
  }

  /** The element with this key; 0 where there is none. */
  find(key: KAddr, hash: number): KAddr {
    const words = this.m.u32;
    let link = words[this.#bucketOf(hash) >> 2]!;
    while (link !== 0) {
      const at = link >> 2;
      if (words[at + HASH] === hash && this.#keysEqual(words[at + DATA]!, key)) return link;
      link = words[at + NEXT]!;
    }
    return 0;
  }

  /** Puts an element whose key is written into its bucket, first. */
  insert(link: KAddr, hash: number): void {
    const words = this.m.u32;
    const bucket = this.#bucketOf(hash) >> 2;
    words[(link >> 2) + HASH] = hash;
    words[(link >> 2) + NEXT] = words[bucket]!;
    words[bucket] = link;
  }

  /** Takes an element out of its bucket; it is not freed. */
  unlink(link: KAddr): void {
    const words = this.m.u32;
    let at = this.#bucketOf(words[(link >> 2) + HASH]!) >> 2;
    while (words[at] !== link) at = (words[at]! >> 2) + NEXT;
    words[at] = words[(link >> 2) + NEXT]!;
  }

  // --- Iteration ----------------------------------------------------------------------------------------------------

  firstInBucket(bucket: number): KAddr {
    return this.m.u32[(this.#buckets >> 2) + bucket]!;
  }

  nextInBucket(link: KAddr): KAddr {
    return this.m.u32[(link >> 2) + NEXT]!;
  }

  /** The first element in `bucket` or one after it; 0 where there is none. */
  firstFrom(bucket: number): KAddr {
    for (let i = bucket; i < this.bucketCount; i++) {
      const link = this.firstInBucket(i);
      if (link !== 0) return link;
    }
    return 0;
  }

  /** The element after `link` in bucket order; 0 after the last. */
  after(link: KAddr): KAddr {
    const next = this.nextInBucket(link);
    if (next !== 0) return next;
    const hash = this.m.u32[(link >> 2) + HASH]!;
    return this.firstFrom((hash & (this.bucketCount - 1)) + 1);
  }

  // --- Age ----------------------------------------------------------------------------------------------------------

  setReferenced(link: KAddr): void {
    this.m.u32[(link >> 2) + REFERENCED] = 1;
  }

  makeNewest(link: KAddr): void {
    const words = this.m.u32;
    const at = link >> 2;
    words[at + REFERENCED] = 0;
    words[at + NEWER] = 0;
    words[at + OLDER] = this.#newest;
    if (this.#newest === 0) this.#oldest = link;
    else words[(this.#newest >> 2) + NEWER] = link;
    this.#newest = link;
  }

  removeFromAges(link: KAddr): void {
    const words = this.m.u32;
    const newer = words[(link >> 2) + NEWER]!;
    const older = words[(link >> 2) + OLDER]!;
    if (newer === 0) this.#newest = older;
    else words[(newer >> 2) + OLDER] = older;
    if (older === 0) this.#oldest = newer;
    else words[(older >> 2) + NEWER] = newer;
  }

  /** The oldest element that was not referenced since it was last passed over; those that were become the newest. */
  victim(): KAddr {
    for (;;) {
      const link = this.#oldest;
      if (link === 0 || this.m.u32[(link >> 2) + REFERENCED] === 0) return link;
      this.removeFromAges(link);
      this.makeNewest(link);
    }
  }

  // ------------------------------------------------------------------------------------------------------------------

  #bucketOf(hash: number): KAddr {
    return this.#buckets + (hash & (this.bucketCount - 1)) * 4;
  }

  #keysEqual(a: KAddr, b: KAddr): boolean {
    const { dv, u8 } = this.m;
    let i = 0;
    for (; i + 4 <= this.keySize; i += 4)
      if (dv.getInt32(a + i, true) !== dv.getInt32(b + i, true)) return false;
    for (; i < this.keySize; i++) if (u8[a + i] !== u8[b + i]) return false;
    return true;
  }
}

/** One round of MurmurHash3. */
function mix(hash: number, word: number): number {
  let k = Math.imul(word, MURMUR.c1);
  k = Math.imul((k << 15) | (k >>> 17), MURMUR.c2);
  const h = hash ^ k;
  return (Math.imul((h << 13) | (h >>> 19), 5) + MURMUR.add) | 0;
}
