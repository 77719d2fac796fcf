/** The maps of random programs: as programs name them, as the verifier knows them, and where their values lie. */
import type { MapInfo } from "../src/env.ts";
import { valueFields } from "../src/value-fields.ts";
import { TYPES } from "./random-types.ts";

export interface MapShape {
  readonly fd: number;
  /** `enum bpf_map_type` */
  readonly type: number;
  readonly keySize: number;
  readonly valueSize: number;
  readonly entries: number;
  /** Values never change, and are known. */
  readonly isConstant: boolean;
  /** Parts of values that programs must not touch. */
  readonly holes?: readonly { readonly at: number; readonly size: number }[];
}

const shape = (fd: number, type: number, keySize: number, valueSize: number, entries: number): MapShape => ({
  fd,
  type,
  keySize,
  valueSize,
  entries,
  isConstant: false,
});

const ARRAY = 2;
export const MAP = {
  single: shape(1, ARRAY, 4, 48, 1),
  hash: shape(2, 1, 8, 32, 3),
  array: shape(3, ARRAY, 4, 24, 4),
  ring: { ...shape(4, 27, 0, 0, 0) },
  locked: { ...shape(5, ARRAY, 4, 24, 4), holes: [{ at: 8, size: 4 }] },
  programs: shape(6, 3, 4, 4, 0),
  constant: { ...shape(7, ARRAY, 4, 32, 1), isConstant: true },
  queue: shape(8, 22, 0, 16, 0),
  kept: { ...shape(9, ARRAY, 4, 24, 1) },
  list: { ...shape(10, ARRAY, 4, 32, 1), holes: [{ at: 0, size: 20 }] },
} as const satisfies Record<string, MapShape>;
export const MAPS: readonly MapShape[] = Object.values(MAP);

const FIRST = 0x3_0000;
/** Elements lie apart, so that an access beyond one is seen. */
const ELEMENT_STEP = 0x400;
const MAP_STEP = 0x2000;
const RING_BYTES = 4096;

export const addressOfMap = (fd: number): number => FIRST + fd * MAP_STEP;
export const elementAddress = (fd: number, index: number): number =>
  addressOfMap(fd) + (index + 1) * ELEMENT_STEP;
export const mapAt = (address: number): MapShape | undefined =>
  MAPS.find(({ fd }) => addressOfMap(fd) === address);

/** Addresses of all values of the map at `address`. */
export function elementAddresses(address: number): readonly number[] {
  const map = mapAt(address);
  return Array.from({ length: map?.entries ?? 0 }, (_, index) => elementAddress(map!.fd, index));
}

/** What the constant map holds: numbers of which programs make bounds and offsets. */
export const constantBytes = (size: number): Uint8Array =>
  Uint8Array.from({ length: size }, (_, i) => [3, 0, 0, 0, 0x80, 0xff, 7, 16][i % 8]!);

function constantAt(map: MapShape): MapInfo["constantAt"] {
  if (!map.isConstant) return undefined;
  const view = new DataView(constantBytes(map.valueSize).buffer);
  return (offset, size) => {
    if (offset < 0 || offset + size > map.valueSize) return undefined;
    let value = 0n;
    for (let i = size - 1; i >= 0; i--) value = (value << 8n) | BigInt(view.getUint8(offset + i));
    return value;
  };
}

/** Types of values by map. */
const VALUES: Readonly<Record<number, string>> = {
  [MAP.locked.fd]: "locked",
  [MAP.kept.fd]: "kept",
  [MAP.list.fd]: "list",
};
const typeOf = ({ fd }: MapShape): number => {
  const name = VALUES[fd];
  return name === undefined ? 0 : TYPES.find(name, "struct")!;
};

const BPF_F_RDONLY_PROG = 1 << 7;

/** As the verifier knows the maps. */
export const MAP_INFOS: ReadonlyMap<number, MapInfo> = new Map(
  MAPS.map((map) => [
    map.fd,
    {
      address: addressOfMap(map.fd),
      valuesAddress: map.type === ARRAY && map.entries === 1 ? elementAddress(map.fd, 0) : undefined,
      name: "",
      flags: map.isConstant ? BPF_F_RDONLY_PROG : 0,
      inner: undefined,
      fields: typeOf(map) === 0 ? [] : valueFields(TYPES, typeOf(map)),
      isFrozen: map.isConstant,
      constantAt: constantAt(map),
      btf: typeOf(map) === 0 ? undefined : TYPES,
      btfValueType: typeOf(map),
      maxEntries: map.fd === MAP.ring.fd ? RING_BYTES : Math.max(map.entries, 1),
      type: map.type,
      keySize: map.keySize,
      valueSize: map.valueSize,
    },
  ]),
);
