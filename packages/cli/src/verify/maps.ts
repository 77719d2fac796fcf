/** The maps that cases name by kind, and those that loads describe, as the verifier knows maps. */
import type { MapInfo, ValueField } from "@alien-ts/bpf-verifier";
import { valueFields } from "@alien-ts/bpf-verifier";
import type { Btf } from "@alien-ts/btf";
import { structures } from "./btf.ts";

/** Every map has an address of its own; nothing is ever read there. */
const FIRST_ADDRESS = 0x10_0000;
const ADDRESS_STEP = 0x1_0000;

export interface MapShape {
  readonly type: number;
  readonly key: number;
  readonly value: number;
  readonly entries: number;
  readonly flags?: number;
  readonly name?: string;
  readonly inner?: MapShape;
  readonly fields?: readonly ValueField[];
  readonly btf?: Btf;
  readonly valueType?: number;
  readonly content?: Uint8Array;
  readonly isFrozen?: boolean;
  /** Of an arena: where its user has it. */
  readonly userAddress?: number;
}

const ARRAY = 2;
const ARENA = 33;
const PAGE_BYTES = 4096;
const READ_ONLY = 0x80;
const MAPS_OF_MAPS: readonly number[] = [12, 13];
/** Maps of devices, which programs never write: the kernel adds the flag. */
const DEVICES: readonly number[] = [14, 25];

export function mapInfo(shape: MapShape, index: number): MapInfo {
  const address = FIRST_ADDRESS + index * ADDRESS_STEP;
  const { content, flags = 0 } = shape;
  const hasValues = (shape.type === ARRAY && shape.entries === 1) || shape.type === ARENA;
  return {
    address,
    valueSize: shape.value,
    valuesAddress: hasValues ? (shape.userAddress ?? address + 0x1000) : undefined,
    ...(shape.type === ARENA ? { addressableBytes: shape.entries * PAGE_BYTES } : {}),
    type: shape.type,
    name: shape.name ?? "",
    keySize: shape.key,
    maxEntries: shape.entries,
    flags: DEVICES.includes(shape.type) ? flags | READ_ONLY : flags,
    inner: shape.inner === undefined ? undefined : mapInfo(shape.inner, index + 1000),
    fields: shape.fields ?? [],
    isFrozen: shape.isFrozen ?? false,
    // Loaders map an arena before they load what uses it.
    isMapped: true,
    constantAt:
      content === undefined || (flags & READ_ONLY) === 0
        ? undefined
        : (offset, size) => constantAt(content, offset, size),
    btf: shape.btf,
    btfValueType: shape.valueType ?? 0,
  };
}

function constantAt(content: Uint8Array, offset: number, size: number): bigint | undefined {
  if (offset < 0 || offset + size > content.length) return undefined;
  let value = 0n;
  for (let i = size - 1; i >= 0; i--) value = (value << 8n) | BigInt(content[offset + i]!);
  return value;
}

const NO_PREALLOC = 1;
const lock: ValueField = { kind: "spin_lock", offset: 4, size: 4 };
const timer: ValueField = { kind: "timer", offset: 0, size: 16 };

/** The pointers of `map_kptr`: to structures of the kernel, or where it has none to such without members. */
export function kptrFields(kernelBtf: Btf | undefined): readonly ValueField[] {
  const names = ["prog_test_ref_kfunc", "prog_test_member"];
  const found = names.map((name) => kernelBtf?.find(name, "struct") ?? 0);
  const own = structures(names);
  const isKnown = kernelBtf !== undefined && !found.includes(0);
  const { btf, types } = isKnown ? { btf: kernelBtf, types: found } : own;
  const field = (offset: number, tag: "untrusted" | "referenced", type: number): ValueField => ({
    kind: "kptr",
    offset,
    size: 8,
    pointer: { tag, btf, type },
  });
  return [
    field(0, "untrusted", types[0]!),
    field(8, "referenced", types[0]!),
    field(16, "referenced", types[1]!),
  ];
}

/** Kinds of the old-style cases: type, sizes, entries. */
export const FIXTURE_MAPS: Record<string, MapShape> = {
  map_hash_8b: { type: 1, key: 8, value: 8, entries: 1, flags: NO_PREALLOC },
  map_hash_16b: { type: 1, key: 8, value: 16, entries: 1, flags: NO_PREALLOC },
  map_hash_48b: { type: 1, key: 8, value: 48, entries: 1, flags: NO_PREALLOC },
  map_array_48b: { type: 2, key: 4, value: 48, entries: 1 },
  map_array_ro: { type: 2, key: 4, value: 48, entries: 1, flags: READ_ONLY },
  map_array_wo: { type: 2, key: 4, value: 48, entries: 1, flags: 0x100 },
  map_array_small: { type: 2, key: 4, value: 1, entries: 1 },
  map_sockmap: { type: 15, key: 4, value: 4, entries: 1 },
  map_sockhash: { type: 18, key: 4, value: 4, entries: 1 },
  map_xskmap: { type: 17, key: 4, value: 4, entries: 1 },
  map_stacktrace: { type: 7, key: 4, value: 8, entries: 1 },
  map_event_output: { type: 4, key: 4, value: 4, entries: 1 },
  map_reuseport_array: { type: 20, key: 4, value: 8, entries: 1 },
  map_ringbuf: { type: 27, key: 0, value: 0, entries: 4096 },
  map_in_map: { type: 12, key: 4, value: 4, entries: 1, inner: { type: 2, key: 4, value: 4, entries: 1 } },
  cgroup_storage: { type: 19, key: 16, value: 64, entries: 0 },
  percpu_cgroup_storage: { type: 21, key: 16, value: 64, entries: 0 },
  sk_storage_map: {
    type: 24,
    key: 4,
    value: 8,
    entries: 0,
    flags: NO_PREALLOC,
    fields: [lock],
    name: "test_map",
  },
  map_spin_lock: { type: 2, key: 4, value: 8, entries: 1, fields: [lock], name: "test_map" },
  map_timer: { type: 2, key: 4, value: 16, entries: 1, fields: [timer], name: "test_map" },
  map_kptr: { type: 2, key: 4, value: 24, entries: 1, name: "test_map" },
  prog1: { type: 3, key: 4, value: 4, entries: 4 },
  prog2: { type: 3, key: 4, value: 4, entries: 8 },
};

export interface LoadedMap {
  readonly fd: number;
  readonly name: string;
  readonly type: number;
  readonly key_size: number;
  readonly value_size: number;
  readonly max_entries: number;
  readonly map_flags: number;
  /** Of an arena: its address; 0 for one that the kernel chooses. */
  readonly map_extra?: number;
  readonly btf_value_type_id?: number;
  readonly inner_map_fd?: number;
  readonly value0?: Uint8Array;
  readonly frozen?: boolean;
}

/** A map of a load; `all` for the one inside. */
export function loadedShape(
  map: LoadedMap,
  all: readonly LoadedMap[],
  btf: Btf | undefined,
  kernelBtf: Btf | undefined,
): MapShape {
  const inner = MAPS_OF_MAPS.includes(map.type) ? all.find(({ fd }) => fd === map.inner_map_fd) : undefined;
  const valueType = map.btf_value_type_id ?? 0;
  const hasBtf = btf !== undefined && valueType !== 0;
  return {
    type: map.type,
    key: map.key_size,
    value: map.value_size,
    entries: map.max_entries,
    flags: map.map_flags,
    name: map.name,
    isFrozen: map.frozen === true,
    ...(map.type === ARENA && map.map_extra !== undefined && map.map_extra !== 0
      ? { userAddress: map.map_extra }
      : {}),
    ...(inner === undefined ? {} : { inner: { ...loadedShape(inner, [], btf, kernelBtf), name: "" } }),
    ...(hasBtf ? { btf, valueType, fields: valueFields(btf, valueType, kernelBtf) } : {}),
    ...(map.value0 === undefined ? {} : { content: map.value0 }),
  };
}
