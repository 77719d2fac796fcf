/** Global variables of an object, patched before their map is created: Aya's `override_global`. */
import { ParseError } from "../errors.ts";
import type { DataSpec, MapSpec, ObjectSpec } from "./spec.ts";

export interface GlobalOverride {
  /** As many bytes as the variable has. */
  readonly value: Uint8Array;
  /** Throw when there is no such variable; true when absent. */
  readonly mustExist?: boolean;
}

/** A spec with the new values; the given one is not changed. */
export function overrideGlobals(
  spec: ObjectSpec,
  overrides: Readonly<Record<string, GlobalOverride>>,
): ObjectSpec {
  const maps = new Map(spec.maps);
  for (const [name, { value, mustExist = true }] of Object.entries(overrides)) {
    const map = Array.from(maps.values()).find(({ data }) =>
      data?.symbols.some((symbol) => symbol.name === name),
    );
    if (map?.data !== undefined) maps.set(map.name, patched(map, map.data, name, value));
    else if (mustExist) throw new ParseError(name, "the object has no such global variable");
  }
  return { ...spec, maps };
}

function patched(map: MapSpec, data: DataSpec, name: string, value: Uint8Array): MapSpec {
  const symbol = data.symbols.find((candidate) => candidate.name === name)!;
  if (symbol.size !== value.length || symbol.address + symbol.size > data.bytes.length)
    throw new ParseError(name, `the variable has ${symbol.size} bytes, the new value ${value.length}`);
  const bytes = data.bytes.slice();
  bytes.set(value, symbol.address);
  return { ...map, data: { ...data, bytes } };
}
