/**
 * BPF_MAP_TYPE_HASH, PERCPU_HASH, LRU_HASH, LRU_PERCPU_HASH: one class, three properties (per CPU, LRU, preallocated).
 * Answers to kernel/bpf/hashtab.c.
 *
 * As in Linux, updating an element of a map with plain values writes a new element and frees the old one (a program that
 * holds the old value's address still sees the old value); per-CPU values are overwritten in place. A full map is E2BIG.
 *
 * Differs from Linux: an LRU map evicts by one list with a second chance for referenced elements, where Linux keeps an active
 * and an inactive list and per-CPU free lists; so a map evicts only when it is full, and never to update a key it has.
 */
import {
  BPF_ELEM,
  BPF_F,
  CAP,
  E2BIG,
  EEXIST,
  EINVAL,
  ENOENT,
  ENOMEM,
  ENOTSUPP,
  EPERM,
  isErr,
  type KAddr,
  type Result,
} from "@alien-ts/abi";
import type { MapShape } from "@alien-ts/bpf-vm";
import {
  ACCESS_FLAGS,
  flagsAreOk,
  isProgramWritable,
  KMALLOC_MAX_SIZE,
  PCPU_MIN_UNIT_SIZE,
} from "./checks.ts";
import { copyBytes } from "./copy.ts";
import { createWithStorage } from "./create.ts";
import { HashTable, tableBytes } from "./hash-table.ts";
import {
  BpfMap,
  type ElementVisitor,
  type MapAttributes,
  type MapHost,
  roundUp8,
  type Status,
} from "./map.ts";

/** What the four types differ in. */
export interface HashKind {
  readonly isPerCpu: boolean;
  readonly isLru: boolean;
}

const HASH_FLAGS = BPF_F.NO_PREALLOC | BPF_F.NO_COMMON_LRU | BPF_F.NUMA_NODE | BPF_F.ZERO_SEED | ACCESS_FLAGS;
/** sizeof(struct htab_elem) */
const HTAB_ELEM_BYTES = 48;
/** Bytes that a map without preallocation takes at a time. */
const SLAB_BYTES = 4096;

/** `htab_map_alloc_check` */
export function checkHash(a: MapAttributes, kind: HashKind, host: Pick<MapHost, "ports">): Status {
  const has = (flag: number): boolean => (a.flags & flag) !== 0;
  if (has(BPF_F.ZERO_SEED) && !host.ports.capable(CAP.SYS_ADMIN)) return EPERM;
  if (!flagsAreOk(a.flags, HASH_FLAGS)) return EINVAL;
  if (!kind.isLru && has(BPF_F.NO_COMMON_LRU)) return EINVAL;
  if (kind.isLru && has(BPF_F.NO_PREALLOC)) return ENOTSUPP;
  if (has(BPF_F.NUMA_NODE) && (kind.isPerCpu || has(BPF_F.NO_COMMON_LRU))) return EINVAL;
  if (a.maxEntries === 0 || a.keySize === 0 || a.valueSize === 0) return EINVAL;
  if (a.keySize + a.valueSize >= KMALLOC_MAX_SIZE - HTAB_ELEM_BYTES) return E2BIG;
  return kind.isPerCpu && roundUp8(a.valueSize) > PCPU_MIN_UNIT_SIZE ? E2BIG : 0;
}

export function createHash(host: MapHost, a: MapAttributes, kind: HashKind): Result<BpfMap> {
  if (a.maxEntries > 0x8000_0000) return E2BIG;
  const bucketCount = 2 ** Math.ceil(Math.log2(a.maxEntries));
  const made = createWithStorage(
    host,
    tableBytes(bucketCount),
    (addr, storage) => new HashMap(host, addr, a, kind, storage, bucketCount),
  );
  if (isErr(made) || !(made instanceof HashMap) || made.preallocate()) return made;
  made.put();
  return ENOMEM;
}

export class HashMap extends BpfMap {
  readonly #kind: HashKind;
  readonly #table: HashTable;
  readonly #stride: number;
  /**
   * Whether there is an element that the next update of an existing key will use. One, where Linux has one per CPU: here a
   * program runs to its end before one on another CPU starts.
   */
  readonly #hasSpare: boolean;

  constructor(
    host: MapHost,
    addr: KAddr,
    a: MapAttributes,
    kind: HashKind,
    storage: KAddr,
    bucketCount: number,
  ) {
    super(host, addr, a, kind.isPerCpu);
    this.#kind = kind;
    this.#stride = roundUp8(a.valueSize);
    this.#table = new HashTable(host, storage, {
      keySize: a.keySize,
      valueBytes: kind.isPerCpu ? this.#stride * host.ports.possibleCpus : a.valueSize,
      bucketCount,
      seed: (a.flags & BPF_F.ZERO_SEED) !== 0 ? 0 : host.ports.randomU32(),
      isProgramWritable: isProgramWritable(a),
    });
    this.#hasSpare = !kind.isPerCpu && this.#isPreallocated;
  }

  get #isPreallocated(): boolean {
    return (this.flags & BPF_F.NO_PREALLOC) === 0;
  }

  get #spareCount(): number {
    return this.#hasSpare ? 1 : 0;
  }

  /** Makes all elements, unless BPF_F_NO_PREALLOC; false when there is no memory. */
  preallocate(): boolean {
    if (!this.#isPreallocated) return true;
    if (!this.#table.addSlab(this.maxEntries + this.#spareCount)) return false;
    if (this.#hasSpare) this.#table.swapSpare(this.#table.take());
    return true;
  }

  // --- Program side -------------------------------------------------------------------------------------------------

  override lookup(key: KAddr): KAddr {
    const link = this.#find(key);
    if (link === 0) return 0;
    if (this.#kind.isLru) this.#table.setReferenced(link);
    const value = this.#table.valueOf(link);
    return this.#kind.isPerCpu ? value + this.host.ports.currentCpu() * this.#stride : value;
  }

  override get shape(): MapShape | undefined {
    if (this.#kind.isLru || this.#kind.isPerCpu) return undefined;
    return this.#table.shapeOf(this.valueSize, this.maxEntries, this.#hasSpare);
  }

  override lookupPercpu(key: KAddr, cpu: number): KAddr {
    if (!this.#kind.isPerCpu || cpu >= this.host.ports.possibleCpus) return 0;
    const link = this.#find(key);
    if (link === 0) return 0;
    if (this.#kind.isLru) this.#table.setReferenced(link);
    return this.#table.valueOf(link) + cpu * this.#stride;
  }

  override update(key: KAddr, value: KAddr, flags: number): Status {
    return this.#put(key, value, flags, false);
  }

  override delete(key: KAddr): Status {
    const link = this.#find(key);
    if (link === 0) return ENOENT;
    this.#remove(link);
    return 0;
  }

  override forEach(visitor: ElementVisitor): number {
    const limit = this.maxEntries + this.#spareCount;
    const cpuOffset = this.#kind.isPerCpu ? this.host.ports.currentCpu() * this.#stride : 0;
    let visited = 0;
    for (let bucket = 0; bucket < this.#table.bucketCount; bucket++) {
      let link = this.#table.firstInBucket(bucket);
      // The callback may delete and insert, so that an element moves behind the cursor: `limit` ends the walk.
      while (link !== 0 && visited < limit) {
        const next = this.#table.nextInBucket(link);
        visited += 1;
        if (visitor.visit(this.#table.keyOf(link), this.#table.valueOf(link) + cpuOffset) !== 0)
          return visited;
        link = next;
      }
    }
    return visited;
  }

  // --- System-call side ---------------------------------------------------------------------------------------------

  override copyValue(key: KAddr, to: KAddr): Status {
    const link = this.#find(key);
    if (link === 0) return ENOENT;
    this.#copyOut(link, to);
    return 0;
  }

  override updateFromUser(key: KAddr, value: KAddr, flags: number): Status {
    return this.#put(key, value, flags, true);
  }

  override nextKey(key: KAddr, to: KAddr): Status {
    const link = key === 0 ? 0 : this.#find(key);
    const next = link === 0 ? this.#table.firstFrom(0) : this.#table.after(link);
    if (next === 0) return ENOENT;
    this.#copyKey(next, to);
    return 0;
  }

  override lookupAndDelete(key: KAddr, to: KAddr): Status {
    const link = this.#find(key);
    if (link === 0) return ENOENT;
    this.#copyOut(link, to);
    this.#remove(link);
    return 0;
  }

  override get batchForm(): "buckets" {
    return "buckets";
  }

  get bucketCount(): number {
    return this.#table.bucketCount;
  }

  bucketLength(bucket: number): number {
    let length = 0;
    for (let link = this.#table.firstInBucket(bucket); link !== 0; link = this.#table.nextInBucket(link))
      length += 1;
    return length;
  }

  /** Copies all keys and values of a bucket to two areas, each tightly packed. */
  copyBucket(bucket: number, keys: KAddr, values: KAddr): void {
    let at = 0;
    for (let link = this.#table.firstInBucket(bucket); link !== 0; link = this.#table.nextInBucket(link)) {
      this.#copyKey(link, keys + at * this.keySize);
      this.#copyOut(link, values + at * this.userValueSize);
      at += 1;
    }
  }

  protected override freeContents(): void {
    this.#table.destroy();
  }

  // ------------------------------------------------------------------------------------------------------------------

  #find(key: KAddr): KAddr {
    return this.#table.find(key, this.#table.hashOf(key));
  }

  #put(key: KAddr, value: KAddr, flags: number, onAllCpus: boolean): Status {
    if (flags > BPF_ELEM.EXIST) return EINVAL;
    const table = this.#table;
    const hash = table.hashOf(key);
    const old = table.find(key, hash);
    if (old !== 0 && flags === BPF_ELEM.NOEXIST) return EEXIST;
    if (old === 0 && flags === BPF_ELEM.EXIST) return ENOENT;
    if (old !== 0 && this.#kind.isPerCpu) {
      this.#writeValue(old, value, onAllCpus);
      if (this.#kind.isLru) table.setReferenced(old);
      return 0;
    }
    const link = old === 0 ? this.#acquire() : this.#replacement(old);
    if (typeof link !== "number") return link;
    copyBytes(this.m, table.keyOf(link), key, this.keySize);
    if (this.#kind.isPerCpu) this.m.u8.fill(0, table.valueOf(link), table.valueOf(link) + this.userValueSize);
    this.#writeValue(link, value, onAllCpus);
    table.insert(link, hash);
    if (this.#kind.isLru) table.makeNewest(link);
    if (old === 0) this.#table.length += 1;
    else this.#dropOld(old);
    return 0;
  }

  /** An element for a new key. */
  #acquire(): Result<KAddr> {
    if (this.#isPreallocated) {
      const free = this.#table.take();
      if (free !== 0) return free;
      return this.#kind.isLru ? this.#evict() : E2BIG;
    }
    return this.#table.length >= this.maxEntries ? E2BIG : this.#takeGrowing();
  }

  /** The element that will hold the new value of `old`'s key. */
  #replacement(old: KAddr): Result<KAddr> {
    if (!this.#isPreallocated) return this.#takeGrowing();
    return this.#table.swapSpare(old);
  }

  #dropOld(old: KAddr): void {
    this.#table.unlink(old);
    if (this.#kind.isLru) this.#table.removeFromAges(old);
    if (!this.#isPreallocated) this.#table.give(old);
  }

  #takeGrowing(): Result<KAddr> {
    const free = this.#table.take();
    if (free !== 0) return free;
    const count = Math.max(1, Math.min(this.maxEntries, Math.floor(SLAB_BYTES / this.#table.elementBytes)));
    return this.#table.addSlab(count) ? this.#table.take() : ENOMEM;
  }

  #evict(): Result<KAddr> {
    const victim = this.#table.victim();
    if (victim === 0) return ENOMEM;
    this.#table.unlink(victim);
    this.#table.removeFromAges(victim);
    this.#table.length -= 1;
    return victim;
  }

  #remove(link: KAddr): void {
    this.#table.unlink(link);
    if (this.#kind.isLru) this.#table.removeFromAges(link);
    this.#table.give(link);
    this.#table.length -= 1;
  }

  /** A fresh per-CPU element that a program makes is zero on the other CPUs. */
  #writeValue(link: KAddr, value: KAddr, onAllCpus: boolean): void {
    const to = this.#table.valueOf(link);
    if (!this.#kind.isPerCpu) {
      copyBytes(this.m, to, value, this.valueSize);
      return;
    }
    if (onAllCpus) {
      for (let cpu = 0; cpu < this.host.ports.possibleCpus; cpu++) {
        const offset = cpu * this.#stride;
        copyBytes(this.m, to + offset, value + offset, this.valueSize);
      }
      return;
    }
    const own = to + this.host.ports.currentCpu() * this.#stride;
    copyBytes(this.m, own, value, this.valueSize);
  }

  #copyKey(link: KAddr, to: KAddr): void {
    const from = this.#table.keyOf(link);
    copyBytes(this.m, to, from, this.keySize);
  }

  #copyOut(link: KAddr, to: KAddr): void {
    const from = this.#table.valueOf(link);
    copyBytes(this.m, to, from, this.userValueSize);
  }
}
