/**
 * BPF_MAP_TYPE_PERCPU_ARRAY: for each index one value per possible CPU, side by side, so that a system call copies them at
 * once. Programs see their CPU's. Answers to kernel/bpf/arraymap.c.
 */
import { BPF_F, E2BIG, EINVAL, ENOENT, type KAddr, type Result } from "@alien-ts/abi";
import {
  ARRAY_FLAGS,
  checkArray,
  checkIndexUpdate,
  KEY_SCRATCH_BYTES,
  nextIndex,
  visitIndices,
} from "./array.ts";
import { isProgramWritable, PCPU_MIN_UNIT_SIZE } from "./checks.ts";
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

export function checkPercpuArray(a: MapAttributes): Status {
  const refused = checkArray(a, ARRAY_FLAGS & ~(BPF_F.MMAPABLE | BPF_F.INNER_MAP));
  if (refused !== 0) return refused;
  if ((a.flags & BPF_F.NUMA_NODE) !== 0) return EINVAL;
  return roundUp8(a.valueSize) > PCPU_MIN_UNIT_SIZE ? E2BIG : 0;
}

export function createPercpuArray(host: MapHost, a: MapAttributes): Result<BpfMap> {
  const bytes = roundUp8(a.valueSize) * host.ports.possibleCpus * a.maxEntries;
  return createWithStorage(
    host,
    KEY_SCRATCH_BYTES + bytes,
    (addr, storage) => new PercpuArrayMap(host, addr, a, storage),
  );
}

export class PercpuArrayMap extends BpfMap {
  readonly #storage: KAddr;
  readonly #values: KAddr;
  readonly #stride: number;

  constructor(host: MapHost, addr: KAddr, a: MapAttributes, storage: KAddr) {
    super(host, addr, a, true);
    this.#storage = storage;
    this.#values = storage + KEY_SCRATCH_BYTES;
    this.#stride = roundUp8(a.valueSize);
    host.regions.add(storage, KEY_SCRATCH_BYTES + this.userValueSize * a.maxEntries, isProgramWritable(a));
  }

  override lookup(key: KAddr): KAddr {
    return this.lookupPercpu(key, this.host.ports.currentCpu());
  }

  override lookupPercpu(key: KAddr, cpu: number): KAddr {
    const index = this.m.dv.getUint32(key, true);
    return index < this.maxEntries && cpu < this.host.ports.possibleCpus ? this.#valueAt(index, cpu) : 0;
  }

  override update(key: KAddr, value: KAddr, flags: number): Status {
    const index = this.m.dv.getUint32(key, true);
    const refused = checkIndexUpdate(index, this.maxEntries, flags);
    if (refused !== 0) return refused;
    copyBytes(this.m, this.#valueAt(index, this.host.ports.currentCpu()), value, this.valueSize);
    return 0;
  }

  override updateFromUser(key: KAddr, value: KAddr, flags: number): Status {
    const index = this.m.dv.getUint32(key, true);
    const refused = checkIndexUpdate(index, this.maxEntries, flags);
    if (refused !== 0) return refused;
    for (let cpu = 0; cpu < this.host.ports.possibleCpus; cpu++) {
      const from = value + cpu * this.#stride;
      copyBytes(this.m, this.#valueAt(index, cpu), from, this.valueSize);
    }
    return 0;
  }

  override forEach(visitor: ElementVisitor): number {
    const cpu = this.host.ports.currentCpu();
    return visitIndices(this, this.#storage, (index) => this.#valueAt(index, cpu), visitor);
  }

  override copyValue(key: KAddr, to: KAddr): Status {
    const first = this.lookupPercpu(key, 0);
    if (first === 0) return ENOENT;
    copyBytes(this.m, to, first, this.userValueSize);
    return 0;
  }

  override nextKey(key: KAddr, to: KAddr): Status {
    return nextIndex(this, key, to);
  }

  override get batchForm(): "keys" {
    return "keys";
  }

  protected override freeContents(): void {
    this.host.regions.remove(this.#storage);
    this.host.ports.free(this.#storage);
  }

  #valueAt(index: number, cpu: number): KAddr {
    return this.#values + index * this.userValueSize + cpu * this.#stride;
  }
}
