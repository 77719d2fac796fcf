/**
 * BPF_MAP_TYPE_QUEUE and BPF_MAP_TYPE_STACK: a ring of values without keys. Pushing onto a full one is E2BIG, unless
 * BPF_EXIST drops the oldest value. Answers to kernel/bpf/queue_stack_maps.c.
 */
import { BPF_ELEM, BPF_F, BPF_MAP_TYPE, E2BIG, EINVAL, ENOENT, type KAddr, type Result } from "@alien-ts/abi";
import { ACCESS_FLAGS, flagsAreOk, KMALLOC_MAX_SIZE } from "./checks.ts";
import { copyBytes } from "./copy.ts";
import { createWithStorage } from "./create.ts";
import { BpfMap, type MapAttributes, type MapHost, type Status } from "./map.ts";

export function checkQueue(a: MapAttributes): Status {
  if (a.maxEntries === 0 || a.keySize !== 0 || a.valueSize === 0) return EINVAL;
  if (!flagsAreOk(a.flags, BPF_F.NUMA_NODE | ACCESS_FLAGS)) return EINVAL;
  return a.valueSize > KMALLOC_MAX_SIZE ? E2BIG : 0;
}

export function createQueue(host: MapHost, a: MapAttributes): Result<BpfMap> {
  return createWithStorage(
    host,
    a.maxEntries * a.valueSize,
    (addr, storage) => new QueueMap(host, addr, a, storage),
  );
}

export class QueueMap extends BpfMap {
  readonly #storage: KAddr;
  /** Index of the oldest value, and how many there are. */
  #oldest = 0;
  #length = 0;

  constructor(host: MapHost, addr: KAddr, a: MapAttributes, storage: KAddr) {
    super(host, addr, a);
    this.#storage = storage;
  }

  override push(value: KAddr, flags: number): Status {
    if (flags === BPF_ELEM.NOEXIST || flags > BPF_ELEM.EXIST) return EINVAL;
    if (this.#length === this.maxEntries) {
      if (flags !== BPF_ELEM.EXIST) return E2BIG;
      this.#dropOldest();
    }
    const at = this.#address(this.#length);
    copyBytes(this.m, at, value, this.valueSize);
    this.#length += 1;
    return 0;
  }

  override pop(value: KAddr): Status {
    const status = this.peek(value);
    if (status !== 0) return status;
    if (this.mapType === BPF_MAP_TYPE.QUEUE) this.#dropOldest();
    else this.#length -= 1;
    return 0;
  }

  override peek(value: KAddr): Status {
    if (this.#length === 0) {
      this.m.u8.fill(0, value, value + this.valueSize);
      return ENOENT;
    }
    const from = this.#address(this.mapType === BPF_MAP_TYPE.QUEUE ? 0 : this.#length - 1);
    copyBytes(this.m, value, from, this.valueSize);
    return 0;
  }

  override copyValue(_key: KAddr, to: KAddr): Status {
    return this.peek(to);
  }
  override updateFromUser(_key: KAddr, value: KAddr, flags: number): Status {
    return this.push(value, flags);
  }
  override lookupAndDelete(_key: KAddr, to: KAddr): Status {
    return this.pop(to);
  }
  override nextKey(): Status {
    return EINVAL;
  }

  protected override freeContents(): void {
    this.host.ports.free(this.#storage);
  }

  #dropOldest(): void {
    this.#oldest = (this.#oldest + 1) % this.maxEntries;
    this.#length -= 1;
  }

  /** Address of the value that is `age` younger than the oldest. */
  #address(age: number): KAddr {
    return this.#storage + ((this.#oldest + age) % this.maxEntries) * this.valueSize;
  }
}
