/**
 * BPF_MAP_TYPE_ARRAY: values side by side, each at a multiple of 8, zero at first. All elements exist always: deleting is
 * EINVAL. With BPF_F_MMAPABLE the values are whole pages, which tasks map. Answers to kernel/bpf/arraymap.c.
 */
import {
  BPF_ELEM,
  BPF_F,
  E2BIG,
  EEXIST,
  EINVAL,
  ENOENT,
  ENOMEM,
  type KAddr,
  PAGE_SIZE,
  type Result,
} from "@alien-ts/abi";
import type { MapShape } from "@alien-ts/bpf-vm";
import { ACCESS_FLAGS, flagsAreOk, isProgramWritable } from "./checks.ts";
import { copyBytes } from "./copy.ts";
import { createWithStorage } from "./create.ts";
import {
  BpfMap,
  type ElementVisitor,
  type MapAttributes,
  type MapHost,
  roundUp8,
  type Status,
} from "./map.ts";

export const ARRAY_FLAGS = BPF_F.NUMA_NODE | BPF_F.MMAPABLE | BPF_F.INNER_MAP | ACCESS_FLAGS;

/** `array_map_alloc_check` */
export function checkArray(a: MapAttributes, knownFlags: number = ARRAY_FLAGS): Status {
  if (a.maxEntries === 0 || a.keySize !== 4 || a.valueSize === 0) return EINVAL;
  if (!flagsAreOk(a.flags, knownFlags)) return EINVAL;
  return a.valueSize > 0x7fff_ffff ? E2BIG : 0;
}

/** What index-keyed maps answer to `update` before they write. */
export function checkIndexUpdate(index: number, maxEntries: number, flags: number): Status {
  if (flags > BPF_ELEM.EXIST) return EINVAL;
  if (index >= maxEntries) return E2BIG;
  return flags === BPF_ELEM.NOEXIST ? EEXIST : 0;
}

/** Index-keyed maps: the index after `key`, or 0 after one that is outside. */
export function nextIndex(map: BpfMap, key: KAddr, to: KAddr): Status {
  const index = key === 0 ? 0xffff_ffff : map.m.dv.getUint32(key, true);
  if (index === map.maxEntries - 1) return ENOENT;
  map.m.dv.setUint32(to, index >= map.maxEntries ? 0 : index + 1, true);
  return 0;
}

/** Visits `map.maxEntries` values that lie `stride` bytes apart. The key is a u32 in `scratch`. */
export function visitIndices(
  map: BpfMap,
  scratch: KAddr,
  value: (index: number) => KAddr,
  visitor: ElementVisitor,
): number {
  for (let index = 0; index < map.maxEntries; index++) {
    map.m.u32[scratch >> 2] = index;
    if (visitor.visit(scratch, value(index)) !== 0) return index + 1;
  }
  return map.maxEntries;
}

/** Bytes before the values for the key that `forEach` shows to callbacks. */
export const KEY_SCRATCH_BYTES = 8;

export function createArray(host: MapHost, a: MapAttributes): Result<BpfMap> {
  const bytes = roundUp8(a.valueSize) * a.maxEntries;
  if ((a.flags & BPF_F.MMAPABLE) === 0) {
    return createWithStorage(
      host,
      KEY_SCRATCH_BYTES + bytes,
      (addr, storage) => new ArrayMap(host, addr, a, storage, storage + KEY_SCRATCH_BYTES),
    );
  }
  const pageCount = Math.ceil(bytes / PAGE_SIZE);
  const pages = host.ports.allocPages(pageCount);
  if (pages === 0) return ENOMEM;
  const made = createWithStorage(
    host,
    KEY_SCRATCH_BYTES,
    (addr, storage) => new ArrayMap(host, addr, a, storage, pages),
  );
  if (!(made instanceof BpfMap)) host.ports.freePages(pages, pageCount);
  return made;
}

export class ArrayMap extends BpfMap {
  /** Address of value 0. */
  readonly values: KAddr;
  readonly #scratch: KAddr;
  readonly #stride: number;

  constructor(host: MapHost, addr: KAddr, a: MapAttributes, scratch: KAddr, values: KAddr) {
    super(host, addr, a);
    this.#scratch = scratch;
    this.values = values;
    this.#stride = roundUp8(a.valueSize);
    host.regions.add(scratch, KEY_SCRATCH_BYTES + (this.#isMappable ? 0 : this.#bytes), isProgramWritable(a));
    if (this.#isMappable) host.regions.add(values, this.#bytes, isProgramWritable(a));
  }

  get #bytes(): number {
    return this.#stride * this.maxEntries;
  }
  get #isMappable(): boolean {
    return (this.flags & BPF_F.MMAPABLE) !== 0;
  }

  override lookup(key: KAddr): KAddr {
    const index = this.m.dv.getUint32(key, true);
    return index < this.maxEntries ? this.values + index * this.#stride : 0;
  }

  override update(key: KAddr, value: KAddr, flags: number): Status {
    const index = this.m.dv.getUint32(key, true);
    const refused = checkIndexUpdate(index, this.maxEntries, flags);
    if (refused !== 0) return refused;
    copyBytes(this.m, this.values + index * this.#stride, value, this.valueSize);
    return 0;
  }

  override forEach(visitor: ElementVisitor): number {
    return visitIndices(this, this.#scratch, (index) => this.values + index * this.#stride, visitor);
  }

  override directValue(offset: number): KAddr {
    return offset < this.#bytes ? this.values + offset : 0;
  }

  override get shape(): MapShape {
    return {
      kind: "array",
      values: this.values,
      stride: this.#stride,
      maxEntries: this.maxEntries,
      valueBytes: this.valueSize,
    };
  }

  override copyValue(key: KAddr, to: KAddr): Status {
    const value = this.lookup(key);
    if (value === 0) return ENOENT;
    copyBytes(this.m, to, value, this.valueSize);
    return 0;
  }

  override nextKey(key: KAddr, to: KAddr): Status {
    return nextIndex(this, key, to);
  }

  override get batchForm(): "keys" {
    return "keys";
  }

  override mappablePages(): KAddr {
    return this.#isMappable ? this.values : 0;
  }

  protected override freeContents(): void {
    this.host.regions.remove(this.#scratch);
    if (this.#isMappable) {
      this.host.regions.remove(this.values);
      this.host.ports.freePages(this.values, Math.ceil(this.#bytes / PAGE_SIZE));
    }
    this.host.ports.free(this.#scratch);
  }
}
