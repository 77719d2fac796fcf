/**
 * Map definitions of an object: BTF-defined (`.maps`), legacy (`maps`), and data sections.
 *
 * Authority: libbpf's BTF-defined maps, Aya's reading of them (aya-obj `maps.rs`). Unknown members are skipped, as in Aya.
 */
import { BPF_F, BPF_MAP_TYPE } from "@alien-ts/abi";
import type { ElfSection, ElfSymbol } from "@alien-ts/elf";
import { SHT_NOBITS, STT_SECTION } from "@alien-ts/elf";
import type { Btf, BtfMember } from "@alien-ts/btf";
import { ParseError } from "../errors.ts";
import type { DataSpec, MapSpec } from "./spec.ts";

const PINNING_BY_NAME = 1;

/** Size of `struct bpf_map_def` up to `map_flags`, and with `id` and `pinning`. */
const LEGACY_MINIMUM = 20;
const LEGACY_PINNING_AT = 24;

const NO_TYPES = { extra: 0, keyTypeId: 0, valueTypeId: 0 } as const;

/** One map per variable of the DATASEC `.maps`. */
export function btfMaps(btf: Btf): MapSpec[] {
  const id = btf.find(".maps", "datasec");
  const datasec = id === undefined ? undefined : btf.type(id);
  if (datasec?.kind !== "datasec")
    throw new ParseError(".maps", "the object's BTF has no DATASEC of this name");
  return datasec.vars.map((entry) => {
    const variable = btf.type(entry.type);
    if (variable?.kind !== "var") throw new ParseError(".maps", `type ${entry.type} is not a variable`);
    return mapOfStruct(btf, variable.name, variable.type);
  });
}

/** The struct whose members encode the definition. */
function mapOfStruct(btf: Btf, name: string, typeId: number): MapSpec {
  const members = btf.members(typeId);
  if (members === undefined) throw new ParseError(name, "a map definition must be a struct");
  let spec: MapSpec = {
    name,
    origin: "btf",
    type: 0,
    keySize: 0,
    valueSize: 0,
    maxEntries: 0,
    flags: 0,
    pinning: "none",
    ...NO_TYPES,
  };
  for (const member of members) spec = { ...spec, ...mapMember(btf, name, member) };
  if (spec.type === 0) throw new ParseError(name, "a map definition needs the member `type`");
  return spec;
}

function mapMember(btf: Btf, map: string, member: BtfMember): Partial<MapSpec> {
  const number = (): number => encodedNumber(btf, map, member);
  switch (member.name) {
    case "type":
      return { type: number() };
    case "key_size":
      return { keySize: number() };
    case "value_size":
      return { valueSize: number() };
    case "max_entries":
      return { maxEntries: number() };
    case "map_flags":
      return { flags: number() };
    case "map_extra":
      return { extra: number() };
    case "pinning":
      return { pinning: number() === PINNING_BY_NAME ? "byName" : "none" };
    case "key": {
      const { typeId, size } = pointedType(btf, map, member);
      return { keyTypeId: typeId, keySize: size };
    }
    case "value": {
      const { typeId, size } = pointedType(btf, map, member);
      return { valueTypeId: typeId, valueSize: size };
    }
    case "values":
      return innerMap(btf, map, member);
    default:
      return {};
  }
}

/** `int (*name)[N]` encodes the number N; `enum { value = N } name` a number of any width. */
function encodedNumber(btf: Btf, map: string, member: BtfMember): number {
  const type = btf.type(btf.resolve(member.type));
  const target = type?.kind === "ptr" ? btf.type(btf.resolve(type.type)) : undefined;
  if (target?.kind === "array") return target.count;
  const value = type?.kind === "enum" || type?.kind === "enum64" ? type.values[0] : undefined;
  if (value === undefined)
    throw new ParseError(map, `member ${member.name} must be a pointer to an array, or an enumeration`);
  return Number(value.value);
}

function pointedType(btf: Btf, map: string, member: BtfMember): { typeId: number; size: number } {
  const pointer = btf.type(btf.resolve(member.type));
  const typeId = pointer?.kind === "ptr" ? pointer.type : undefined;
  const size = typeId === undefined ? undefined : btf.sizeOf(typeId);
  if (typeId === undefined || size === undefined)
    throw new ParseError(map, `member ${member.name} must be a pointer to a type with a size`);
  return { typeId, size };
}

/** `struct inner *values[]`: the definition of the inner maps. */
function innerMap(btf: Btf, map: string, member: BtfMember): Partial<MapSpec> {
  const array = btf.type(btf.resolve(member.type));
  const pointer = array?.kind === "array" ? btf.type(btf.resolve(array.element)) : undefined;
  if (pointer?.kind !== "ptr") throw new ParseError(map, "member values must be an array of pointers");
  // An array of function pointers is a program array, whose slots are filled at run time.
  if (btf.type(btf.resolve(pointer.type))?.kind === "func_proto") return {};
  return { inner: mapOfStruct(btf, `${map}.inner`, pointer.type) };
}

/** One map per symbol of a legacy `maps` section. */
export function legacyMaps(section: ElfSection, symbols: readonly ElfSymbol[]): MapSpec[] {
  const own = symbols.filter(
    (symbol) => symbol.section === section.index && symbol.type !== STT_SECTION && symbol.name !== "",
  );
  return own.map((symbol) => {
    const size = symbol.size > 0 ? symbol.size : section.data.length - symbol.value;
    if (size < LEGACY_MINIMUM || symbol.value + size > section.data.length)
      throw new ParseError(
        symbol.name,
        `a legacy map definition has at least ${LEGACY_MINIMUM} bytes inside its section, found ${size}`,
      );
    const view = new DataView(section.data.buffer, section.data.byteOffset + symbol.value, size);
    const word = (at: number): number => (at + 4 <= size ? view.getUint32(at, true) : 0);
    return {
      name: symbol.name,
      origin: "legacy",
      type: word(0),
      keySize: word(4),
      valueSize: word(8),
      maxEntries: word(12),
      flags: word(16),
      pinning: word(LEGACY_PINNING_AT) === PINNING_BY_NAME ? "byName" : "none",
      ...NO_TYPES,
    };
  });
}

/** `.rodata`, `.data` or `.bss` as a one-element array; undefined for an empty section. */
export function dataMap(section: ElfSection, symbols: readonly ElfSymbol[]): MapSpec | undefined {
  if (section.size === 0) return undefined;
  if (section.size > MAX_DATA_BYTES)
    throw new ParseError(
      section.name,
      `a data section has at most ${MAX_DATA_BYTES} bytes, found ${section.size}`,
    );
  const kind: DataSpec["kind"] = section.name.startsWith(".rodata")
    ? "rodata"
    : section.name.startsWith(".bss")
      ? "bss"
      : "data";
  return dataSection(section.name, {
    kind,
    bytes: section.type === SHT_NOBITS ? new Uint8Array(section.size) : section.data.slice(),
    symbols: symbols
      .filter(
        (symbol) => symbol.section === section.index && symbol.type !== STT_SECTION && symbol.name !== "",
      )
      .map(({ name, value, size }) => ({ name, address: value, size })),
  });
}

/** The map that holds these bytes: an array of one element. */
export const dataSection = (name: string, data: DataSpec): MapSpec => ({
  name,
  origin: "data",
  type: BPF_MAP_TYPE.ARRAY,
  keySize: 4,
  valueSize: data.bytes.length,
  maxEntries: 1,
  flags: data.kind === "rodata" ? BPF_F.RDONLY_PROG : 0,
  pinning: "none",
  ...NO_TYPES,
  data,
});

/** Bound on what a corrupt SHT_NOBITS size may make us allocate; the kernel refuses such values anyway (KMALLOC_MAX_SIZE). */
const MAX_DATA_BYTES = 64 * 1024 * 1024;
