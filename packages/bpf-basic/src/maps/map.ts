/**
 * `BpfMap`: what all maps have in common. A map type is a subclass in a file of its own and a row in `types.ts`.
 *
 * Contents lie in linear memory, so that programs, the JIT and mappings see the same bytes; TypeScript holds addresses. Keys
 * and values are passed as addresses, too: no operation allocates. An operation answers `Status`: 0 or Linux's errno.
 *
 * Program side: `lookup`, `update`, … with `KAddr`s. System-call side: `copyValue`, `updateFromUser`, `nextKey`, whose values
 * have `userValueSize` bytes (per-CPU maps: one value per possible CPU, each at a multiple of 8).
 *
 * References: programs and files hold one each (`get`, `put`); the last one frees everything. `struct bpf_map` at `addr` is
 * what programs hold in a register; `MapTable` finds the map by it.
 */
import {
  type Errno,
  EINVAL,
  ENOTSUPP,
  type KAddr,
  type LinearMemory,
  ptr,
  struct,
  chars,
  u32,
  u8,
  type ViewOf,
} from "@alien-ts/abi";
import type { MapBtf } from "../btf/map-btf.ts";
import type { MapShape, MemoryRegions } from "@alien-ts/bpf-vm";
import type { MemoryOps, PerCpuVariantsOps, RandomOps, TaskOps } from "../ports.ts";

export type Status = 0 | Errno;

/** The attributes of MAP_CREATE that map types see. */
export interface MapAttributes {
  readonly mapType: number;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  readonly flags: number;
  readonly numaNode: number;
}

/** What maps need of their surroundings. */
export interface MapHost {
  readonly ports: MemoryOps & PerCpuVariantsOps & RandomOps & Pick<TaskOps, "capable">;
  /** What programs may touch, where every access is checked. */
  readonly regions: MemoryRegions;
  readonly maps: MapTable;
}

/** `struct bpf_map` (include/linux/bpf.h), the fields that programs and iterators read. */
export const bpf_map = struct("bpf_map", {
  map_type: u32,
  key_size: u32,
  value_size: u32,
  max_entries: u32,
  map_flags: u32,
  id: u32,
  numa_node: u32,
  name: chars(16),
  frozen: u8,
  inner_map_meta: ptr("bpf_map"),
});

/** Called per element by `forEach`: key and value addresses; a result other than 0 stops. */
export interface ElementVisitor {
  visit(key: KAddr, value: KAddr): number;
}

export abstract class BpfMap {
  readonly host: MapHost;
  readonly m: LinearMemory;
  readonly mapType: number;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  readonly flags: number;
  /** Whether values differ per CPU. */
  readonly isPerCpu: boolean;
  /** Bytes of a value in a system call. */
  readonly userValueSize: number;
  readonly t: ViewOf<typeof bpf_map>;
  /** Kernel address of `struct bpf_map`: what a program's map register holds. */
  readonly addr: KAddr;
  name = "";
  /** The types of its keys and values; undefined where it was given none. */
  btf: MapBtf | undefined;
  isFrozen = false;
  /** System calls and writable mappings that are writing now: freezing answers EBUSY. */
  writers = 0;
  #references = 1;

  constructor(host: MapHost, addr: KAddr, attributes: MapAttributes, isPerCpu = false) {
    this.host = host;
    this.m = host.ports.memory;
    this.addr = addr;
    this.mapType = attributes.mapType;
    this.keySize = attributes.keySize;
    this.valueSize = attributes.valueSize;
    this.maxEntries = attributes.maxEntries;
    this.flags = attributes.flags;
    this.isPerCpu = isPerCpu;
    this.userValueSize = isPerCpu
      ? roundUp8(attributes.valueSize) * host.ports.possibleCpus
      : attributes.valueSize;
    this.t = new (host.ports.layout.view(bpf_map))(this.m, addr);
    this.t.map_type = attributes.mapType;
    this.t.key_size = attributes.keySize;
    this.t.value_size = attributes.valueSize;
    this.t.max_entries = attributes.maxEntries;
    this.t.map_flags = attributes.flags;
    this.t.numa_node = attributes.numaNode;
  }

  // --- Program side -------------------------------------------------------------------------------------------------

  /** Address of the value (per-CPU maps: of this CPU's); 0 where there is none. */
  lookup(_key: KAddr): KAddr {
    return 0;
  }
  /** Address of `cpu`'s value; 0 where there is none, for maps that are not per CPU as well. */
  lookupPercpu(_key: KAddr, _cpu: number): KAddr {
    return 0;
  }
  update(_key: KAddr, _value: KAddr, _flags: number): Status {
    return EINVAL;
  }
  delete(_key: KAddr): Status {
    return EINVAL;
  }
  push(_value: KAddr, _flags: number): Status {
    return EINVAL;
  }
  pop(_value: KAddr): Status {
    return EINVAL;
  }
  peek(_value: KAddr): Status {
    return EINVAL;
  }
  /** Visits every element; answers how many were visited, or -1 where the type has no such operation. */
  forEach(_visitor: ElementVisitor): number {
    return -1;
  }
  /** Address of value `index` of a map whose values may be addressed directly (ld_imm64 of a map value); 0 where not. */
  directValue(_offset: number): KAddr {
    return 0;
  }

  /** Where values lie, for compiled programs to read and write without a call; undefined where an operation does more than that. */
  get shape(): MapShape | undefined {
    return undefined;
  }

  // --- System-call side ---------------------------------------------------------------------------------------------

  /** Copies the value, in the form of a system call, to `to`. */
  abstract copyValue(key: KAddr, to: KAddr): Status;
  updateFromUser(key: KAddr, value: KAddr, flags: number): Status {
    return this.update(key, value, flags);
  }
  /** The key after `key` (0: the first) in iteration order to `to`; ENOENT after the last. */
  abstract nextKey(key: KAddr, to: KAddr): Status;
  lookupAndDelete(_key: KAddr, _to: KAddr): Status {
    return ENOTSUPP;
  }
  /** How MAP_LOOKUP_BATCH walks: by key, by hash bucket, or not at all. */
  get batchForm(): "keys" | "buckets" | "none" {
    return "none";
  }
  /** Pages of the values, for maps that may be mapped; 0 where not. */
  mappablePages(): KAddr {
    return 0;
  }
  /** Bytes of its contents when it is full. */
  get memoryBytes(): number {
    return (roundUp8(this.keySize) + roundUp8(this.userValueSize)) * this.maxEntries;
  }
  /** A file of this map was closed. */
  fileClosed(_file: object): void {}

  // --- Lifetime -----------------------------------------------------------------------------------------------------

  setName(name: string): void {
    this.name = name;
    this.t.name = name;
  }
  /** Takes a reference to the object. */
  setBtf(btf: MapBtf): void {
    btf.object.get();
    this.btf = btf;
  }
  freeze(): void {
    this.isFrozen = true;
    this.t.frozen = 1;
  }
  get(): void {
    this.#references += 1;
  }
  put(): void {
    this.#references -= 1;
    if (this.#references > 0) return;
    this.freeContents();
    this.btf?.object.put();
    this.host.maps.remove(this);
  }
  protected abstract freeContents(): void;
}

export const roundUp8 = (n: number): number => Math.ceil(n / 8) * 8;

/** Words before `struct bpf_map`: the map's slot in the table. */
const HIDDEN_BYTES = 8;

/** Finds maps by the address of their `struct bpf_map`, in constant time and for any number. */
export class MapTable {
  readonly #ports: MemoryOps;
  readonly #slots: (BpfMap | undefined)[] = [undefined];
  readonly #freeSlots: number[] = [];
  #count = 0;
  #lastId = 0;
  /** The map found last: a helper call asks for the same one several times. */
  #found: BpfMap | undefined;

  constructor(ports: MemoryOps) {
    this.#ports = ports;
  }

  *all(): Generator<BpfMap> {
    for (const map of this.#slots) if (map !== undefined) yield map;
  }

  /** How many maps exist. */
  get size(): number {
    return this.#count;
  }

  /** Memory for a `struct bpf_map`; 0 when there is none. */
  allocAddr(): KAddr {
    const block = this.#ports.alloc(HIDDEN_BYTES + this.#ports.layout.size(bpf_map));
    return block === 0 ? 0 : block + HIDDEN_BYTES;
  }
  freeAddr(addr: KAddr): void {
    this.#ports.free(addr - HIDDEN_BYTES);
  }

  add(map: BpfMap): void {
    const slot = this.#freeSlots.pop() ?? this.#slots.length;
    this.#slots[slot] = map;
    this.#ports.memory.u32[(map.addr - HIDDEN_BYTES) >> 2] = slot;
    map.t.id = ++this.#lastId;
    this.#count += 1;
  }

  /** The map whose `struct bpf_map` lies at `addr`, which may be any number. */
  at(addr: number): BpfMap | undefined {
    const found = this.#found;
    return found !== undefined && found.addr === addr ? found : this.#find(addr);
  }

  #find(addr: number): BpfMap | undefined {
    const { u32: words, size } = this.#ports.memory;
    if (addr < HIDDEN_BYTES || addr >= size || (addr & 7) !== 0) return undefined;
    const map = this.#slots[words[(addr - HIDDEN_BYTES) >> 2]!];
    if (map === undefined || map.addr !== addr) return undefined;
    this.#found = map;
    return map;
  }

  remove(map: BpfMap): void {
    const slot = this.#ports.memory.u32[(map.addr - HIDDEN_BYTES) >> 2]!;
    this.#slots[slot] = undefined;
    if (this.#found === map) this.#found = undefined;
    this.#freeSlots.push(slot);
    this.#count -= 1;
    this.freeAddr(map.addr);
  }
}
