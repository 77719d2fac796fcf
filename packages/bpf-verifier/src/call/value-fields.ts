/** Arguments that point into map values and objects: timers, kernel pointers, constant strings. */
import { EACCES, EINVAL } from "@alien-ts/abi";
import { FIELD_NAMES, checkMapValue, isReadOnlyMap } from "../access/region.ts";
import type { Analysis } from "../analysis.ts";
import { assert } from "../assert.ts";
import type { MapInfo } from "../env.ts";
import { fieldsOf } from "../state/fields.ts";
import type { Register } from "../state/register.ts";
import { reject } from "../verdict.ts";
import type { Check } from "../verdict.ts";
import type { CallFacts } from "./arguments.ts";

type MapFieldKind = "timer" | "workqueue" | "task_work";

/** A special field of a map's value, whose map the call is about. Linux: check_map_field_pointer() */
export function checkMapField(
  register: Register,
  number: number,
  kind: MapFieldKind,
  facts: { map: MapInfo | undefined; mapUid: number },
): Check {
  const map = register.map!;
  const name = FIELD_NAMES[kind];
  if (!register.scalar.isConst)
    return reject(
      EINVAL,
      `R${number} doesn't have constant offset. ${name} has to be at the constant offset`,
    );
  if (map.btf === undefined)
    return reject(EINVAL, `map '${map.name}' has to have BTF in order to use ${name}`);
  const field = map.fields.find((candidate) => candidate.kind === kind);
  if (field === undefined) return reject(EINVAL, `map '${map.name}' has no valid ${name}`);
  const at = register.off + Number(register.scalar.constant);
  if (field.offset !== at)
    return reject(EINVAL, `off ${at} doesn't point to 'struct ${name}' that is at ${field.offset}`);
  assert(facts.map === undefined, "fields of values stand before their maps");
  facts.mapUid = register.mapUid;
  facts.map = map;
  return undefined;
}

/** Linux: process_kptr_func() */
export function checkKptrArgument(analysis: Analysis, facts: CallFacts, number: number): Check {
  const register = analysis.register(number);
  const { map, kind } = register;
  if (kind === "map_value" && map !== undefined) {
    if (map.btf === undefined)
      return reject(EINVAL, `map '${map.name}' has to have BTF in order to use bpf_kptr_xchg`);
    facts.map = map;
  }
  if (!register.scalar.isConst)
    return reject(EINVAL, `R${number} doesn't have constant offset. kptr has to be at the constant offset`);
  const fields = fieldsOf(register).filter(({ kind, pointer }) => kind === "kptr" && pointer?.tag !== "user");
  if (fields.length === 0) return reject(EINVAL, `R${number} has no valid kptr`);
  const at = register.off + Number(register.scalar.constant);
  const field = fields.find(({ offset }) => offset === at);
  if (field === undefined) return reject(EACCES, `off=${at} doesn't point to kptr`);
  if (field.pointer?.tag === "untrusted") return reject(EACCES, `off=${at} kptr isn't referenced kptr`);
  facts.field = field;
  return undefined;
}

/** A NUL-terminated text in a frozen, read-only map. Linux: check_reg_const_str() */
export function checkConstantString(analysis: Analysis, number: number): Check {
  const register = analysis.register(number);
  const map = register.map!;
  if (!isReadOnlyMap(map) || !map.isFrozen)
    return reject(EACCES, `R${number} does not point to a readonly map'`);
  if (!register.scalar.isConst) return reject(EACCES, `R${number} is not a constant address'`);
  if (map.constantAt === undefined) return reject(EACCES, "no direct value access support for this map type");
  const size = map.valueSize - register.off;
  const outside = checkMapValue(register, { number, off: register.off, size, isZeroAllowed: false }, false);
  if (outside !== undefined) return outside;
  const from = register.off + Number(register.scalar.constant);
  for (let at = from; at < map.valueSize; at++) if (map.constantAt(at, 1) === 0n) return undefined;
  return reject(EINVAL, "string is not zero-terminated");
}
