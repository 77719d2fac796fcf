/**
 * Maps and a ring buffer in JavaScript, over the layouts that the JIT's shapes describe: what its WebAssembly is compared with.
 * Written from kernel/bpf/arraymap.c, hashtab.c and ringbuf.c.
 */
import type { KAddr, LinearMemory } from "@alien-ts/abi";
import { MURMUR, RING_RECORD } from "./jit/options.ts";
import type { ArrayShape, HashShape, HashWrites, RingLayout, RingShape } from "./jit/options.ts";

const ENOENT = -2;
const E2BIG = -7;
const EEXIST = -17;
const EINVAL = -22;

/** A map as helpers see it. `flags` is a u64. */
export interface TestMap {
  lookup(key: KAddr): KAddr;
  update(key: KAddr, value: KAddr, flags: bigint): number;
  delete(key: KAddr): number;
}

export class TestArray implements TestMap {
  readonly shape: ArrayShape & { readonly valueBytes: number };
  private readonly memory: LinearMemory;

  constructor(memory: LinearMemory, at: KAddr, valueBytes: number, maxEntries: number) {
    this.memory = memory;
    const stride = (valueBytes + 7) & -8;
    this.shape = { kind: "array", values: at, stride, maxEntries, valueBytes };
  }

  lookup(key: KAddr): KAddr {
    const index = this.memory.dv.getUint32(key, true);
    return index < this.shape.maxEntries ? this.shape.values + index * this.shape.stride : 0;
  }

  update(key: KAddr, value: KAddr, flags: bigint): number {
    if (flags > 2n) return EINVAL;
    const to = this.lookup(key);
    if (to === 0) return E2BIG;
    if (flags === 1n) return EEXIST;
    this.memory.u8.copyWithin(to, value, value + this.shape.valueBytes);
    return 0;
  }

  delete(): number {
    return EINVAL;
  }
}

export interface HashOptions {
  readonly keyBytes: number;
  readonly valueBytes: number;
  readonly maxEntries: number;
  /** Whether all elements are made at first, and one that updates swap. */
  readonly isPreallocated: boolean;
}

const BUCKET_COUNT = 8;
const SEED = 0x1357;
const LINK_BYTES = 16;

/** Takes 64 bytes and what its elements need. */
export class TestHash implements TestMap {
  readonly shape: HashShape & { readonly writes: HashWrites };
  private readonly memory: LinearMemory;
  private readonly isPreallocated: boolean;
  /** Where the next element is made. */
  private end: KAddr;

  constructor(memory: LinearMemory, at: KAddr, options: HashOptions) {
    const { keyBytes, valueBytes, maxEntries, isPreallocated } = options;
    this.memory = memory;
    this.isPreallocated = isPreallocated;
    const [free, count, spare, buckets] = [at, at + 4, at + 8, at + 16];
    const writes = { free, count, maxEntries, valueBytes, ...(isPreallocated ? { spare } : {}) };
    const valueOffset = (keyBytes + 7) & -8;
    this.shape = {
      kind: "hash",
      buckets,
      bucketCount: BUCKET_COUNT,
      seed: SEED,
      keyBytes,
      valueOffset,
      writes,
    };
    this.end = buckets + 4 * BUCKET_COUNT;
    if (!isPreallocated) return;
    for (let i = 0; i < maxEntries; i++) this.give(this.make());
    memory.u32[spare >> 2] = this.make();
  }

  lookup(key: KAddr): KAddr {
    const link = this.find(key);
    return link === 0 ? 0 : this.dataOf(link) + this.shape.valueOffset;
  }

  update(key: KAddr, value: KAddr, flags: bigint): number {
    const { u8 } = this.memory;
    const { keyBytes, valueOffset, writes } = this.shape;
    if (flags > 2n) return EINVAL;
    const old = this.find(key);
    if (old !== 0 && flags === 1n) return EEXIST;
    if (old === 0 && flags === 2n) return ENOENT;
    if (old === 0 && this.word(writes.count) >= writes.maxEntries) return E2BIG;
    const link = old !== 0 && writes.spare !== undefined ? this.swap(writes.spare, old) : this.take();
    u8.copyWithin(this.dataOf(link), key, key + keyBytes);
    const to = this.dataOf(link) + valueOffset;
    u8.copyWithin(to, value, value + writes.valueBytes);
    const hash = this.hash(key);
    this.set(link + 4, hash);
    this.set(link, this.word(this.bucket(hash)));
    this.set(this.bucket(hash), link);
    if (old === 0) this.set(writes.count, this.word(writes.count) + 1);
    else {
      this.unlink(old, hash);
      if (!this.isPreallocated) this.give(old);
    }
    return 0;
  }

  delete(key: KAddr): number {
    const link = this.find(key);
    if (link === 0) return ENOENT;
    this.unlink(link, this.hash(key));
    this.give(link);
    this.set(this.shape.writes.count, this.word(this.shape.writes.count) - 1);
    return 0;
  }

  private word(at: KAddr): number {
    return this.memory.u32[at >> 2]!;
  }

  private set(at: KAddr, value: number): void {
    this.memory.u32[at >> 2] = value;
  }

  private dataOf(link: KAddr): KAddr {
    return this.word(link + 8);
  }

  /** A new link with its data. */
  private make(): KAddr {
    const { valueOffset, writes } = this.shape;
    const link = this.end;
    this.set(link + 8, link + LINK_BYTES);
    this.end += (LINK_BYTES + valueOffset + writes.valueBytes + 7) & -8;
    return link;
  }

  private take(): KAddr {
    const { free } = this.shape.writes;
    const link = this.word(free);
    if (link === 0) return this.make();
    this.set(free, this.word(link));
    return link;
  }

  private give(link: KAddr): void {
    this.set(link, this.word(this.shape.writes.free));
    this.set(this.shape.writes.free, link);
  }

  private swap(at: KAddr, link: KAddr): KAddr {
    const before = this.word(at);
    this.set(at, link);
    return before;
  }

  private unlink(link: KAddr, hash: number): void {
    let at = this.bucket(hash);
    while (this.word(at) !== link) at = this.word(at);
    this.set(at, this.word(link));
  }

  private find(key: KAddr): KAddr {
    const { u8 } = this.memory;
    const { keyBytes } = this.shape;
    for (let link = this.word(this.bucket(this.hash(key))); link !== 0; link = this.word(link)) {
      const data = this.dataOf(link);
      if (u8.subarray(data, data + keyBytes).every((byte, i) => byte === u8[key + i])) return link;
    }
    return 0;
  }

  private bucket(hash: number): KAddr {
    return this.shape.buckets + 4 * (hash & (BUCKET_COUNT - 1));
  }

  private hash(key: KAddr): number {
    const { keyBytes } = this.shape;
    let h = SEED ^ keyBytes;
    for (let i = 0; i < keyBytes; i += 4) {
      let k = Math.imul(this.memory.dv.getInt32(key + i, true), MURMUR.c1);
      k = Math.imul((k << 15) | (k >>> 17), MURMUR.c2);
      h ^= k;
      h = (Math.imul((h << 13) | (h >>> 19), 5) + MURMUR.add) | 0;
    }
    h = Math.imul(h ^ (h >>> 16), MURMUR.final1);
    h = Math.imul(h ^ (h >>> 13), MURMUR.final2);
    return h ^ (h >>> 16);
  }
}

/** Pages as Linux has them: of the kernel, of the consumer, of the producer, then the data. */
export const RING_LAYOUT: RingLayout = {
  mask: 0,
  pending: 8,
  consumer: 4096,
  producer: 8192,
  data: 12_288,
};

const WAKES = 16;

export class TestRing {
  readonly shape: RingShape;
  private readonly memory: LinearMemory;
  private readonly base: KAddr;

  constructor(memory: LinearMemory, base: KAddr, sizeBytes: number) {
    this.memory = memory;
    this.base = base;
    this.shape = { kind: "ring", base, sizeBytes, layout: RING_LAYOUT };
    memory.u32[(base + RING_LAYOUT.mask) >> 2] = sizeBytes - 1;
  }

  reserve(size: bigint, flags: bigint): KAddr {
    const { sizeBytes } = this.shape;
    if (flags !== 0n || size > BigInt(sizeBytes - RING_RECORD.headerBytes)) return 0;
    const length = (Number(size) + RING_RECORD.headerBytes + 7) & -8;
    const rest = sizeBytes - (this.position("producer") & (sizeBytes - 1));
    const padding = rest < length ? rest : 0;
    if (!this.fits(padding + length)) return 0;
    if (padding > 0) this.put(padding - RING_RECORD.headerBytes, RING_RECORD.discarded, padding);
    return this.put(Number(size), RING_RECORD.busy, length);
  }

  commit(record: KAddr, flags: number, discarded: number): void {
    const { dv } = this.memory;
    const header = record - RING_RECORD.headerBytes;
    dv.setInt32(header, (dv.getInt32(header, true) ^ RING_RECORD.busy) | discarded, true);
    const isNext = (this.position("consumer") & (this.shape.sizeBytes - 1)) === header - this.data;
    if ((flags & 2) !== 0 || (isNext && (flags & 1) === 0)) this.memory.u32[(this.base + WAKES) >> 2]! += 1;
  }

  /** Reads all that is committed: the sizes of the records, the discarded ones' negative. */
  consume(): number[] {
    const sizes: number[] = [];
    for (let at = this.position("consumer"); at < this.position("producer");) {
      const word = this.headerAt(at);
      if (word < 0) break;
      const size = word & ~RING_RECORD.discarded;
      sizes.push(word === size ? size : -size);
      at += (size + RING_RECORD.headerBytes + 7) & -8;
      this.setPosition("consumer", at);
    }
    return sizes;
  }

  private get data(): KAddr {
    return this.base + RING_LAYOUT.data;
  }

  private put(size: number, bits: number, length: number): KAddr {
    const position = this.position("producer");
    const at = position & (this.shape.sizeBytes - 1);
    this.memory.dv.setInt32(this.data + at, size | bits, true);
    this.memory.dv.setInt32(this.data + at + 4, (RING_LAYOUT.data + at) >> 12, true);
    this.setPosition("producer", position + length);
    return this.data + at + RING_RECORD.headerBytes;
  }

  /** Whether `length` bytes more are less than the ring; moves the pending position on where that helps. */
  private fits(length: number): boolean {
    const next = this.position("producer") + length;
    const mask = this.shape.sizeBytes - 1;
    if (next - this.position("consumer") > mask) return false;
    if (next - this.position("pending") > mask) this.movePending();
    return next - this.position("pending") <= mask;
  }

  private movePending(): void {
    let at = this.position("pending");
    while (at < this.position("producer") && this.headerAt(at) >= 0) {
      at += ((this.headerAt(at) & ~RING_RECORD.discarded) + RING_RECORD.headerBytes + 7) & -8;
    }
    this.setPosition("pending", at);
  }

  private headerAt(position: number): number {
    return this.memory.dv.getInt32(this.data + (position & (this.shape.sizeBytes - 1)), true);
  }

  private position(which: "consumer" | "producer" | "pending"): number {
    return Number(this.memory.dv.getBigUint64(this.base + RING_LAYOUT[which], true));
  }

  private setPosition(which: "consumer" | "producer" | "pending", position: number): void {
    this.memory.dv.setBigUint64(this.base + RING_LAYOUT[which], BigInt(position), true);
  }
}
