/** The types of a map's keys and values. Answers to map_check_btf() in kernel/bpf/syscall.c. */
import { EINVAL, ENOTSUPP, EOPNOTSUPP, type Result } from "@alien-ts/abi";
import type { Btf } from "@alien-ts/btf";
import { valueFields } from "@alien-ts/bpf-verifier";
import type { MapAttributes } from "../maps/map.ts";
import type { SupportedMapType } from "../maps/types.ts";
import type { BtfObject } from "./btf-object.ts";

export interface MapBtf {
  readonly object: BtfObject;
  readonly keyType: number;
  /** 0 for none. */
  readonly valueType: number;
}

/**
 * Whether the types fit the map: EINVAL, or ENOTSUPP for a map type whose elements have none. EOPNOTSUPP for values with fields
 * that need the kernel's care (locks, timers, pointers): `special` is told of the first.
 */
export function checkMapBtf(
  row: SupportedMapType,
  attributes: MapAttributes,
  { object: { btf }, keyType, valueType }: MapBtf,
  special: (kind: string) => void,
): Result<0> {
  const isKeyless = keyType === 0;
  if (isKeyless && row.btf !== "array") return EINVAL;
  if (!isKeyless && btf.sizeOf(keyType) !== attributes.keySize) return EINVAL;
  if (sizeOfValue(btf, valueType) !== attributes.valueSize) return EINVAL;
  if (row.btf === "none") return ENOTSUPP;
  if (row.btf === "array" && !isIndexed(btf, keyType, valueType, attributes)) return EINVAL;
  const [field] = valueFields(btf, valueType);
  if (field === undefined) return 0;
  special(field.kind);
  return EOPNOTSUPP;
}

/** `array_map_check_btf`: a 32-bit integer as key; without one, a section of variables in the only element. */
function isIndexed(btf: Btf, keyType: number, valueType: number, { maxEntries }: MapAttributes): boolean {
  if (keyType === 0) return maxEntries === 1 && btf.type(valueType)?.kind === "datasec";
  const key = btf.type(btf.resolve(keyType));
  return key?.kind === "int" && key.bits === 32 && key.offset === 0;
}

function sizeOfValue(btf: Btf, id: number): number | undefined {
  const type = btf.type(id);
  return type?.kind === "datasec" ? type.size : btf.sizeOf(id);
}
