/**
 * What a CO-RE relocation is about, in one BTF: the type, the path to a field of it, or the enumerator.
 *
 * Authority: libbpf `bpf_core_parse_spec`; Documentation/bpf/llvm_reloc.rst ("CO-RE Relocations").
 */
import { CoreError } from "./error.ts";
import type { Btf } from "../btf.ts";
import type { BtfArray, BtfType } from "../types.ts";

/** enum bpf_core_relo_kind. */
export const CORE_RELO = {
  FIELD_BYTE_OFFSET: 0,
  FIELD_BYTE_SIZE: 1,
  FIELD_EXISTS: 2,
  FIELD_SIGNED: 3,
  FIELD_LSHIFT_U64: 4,
  FIELD_RSHIFT_U64: 5,
  TYPE_ID_LOCAL: 6,
  TYPE_ID_TARGET: 7,
  TYPE_EXISTS: 8,
  TYPE_SIZE: 9,
  ENUMVAL_EXISTS: 10,
  ENUMVAL_VALUE: 11,
  TYPE_MATCHES: 12,
} as const;

/** The names that libbpf prints, by number. */
export const CORE_RELO_NAMES = [
  "byte_off",
  "byte_sz",
  "field_exists",
  "signed",
  "lshift_u64",
  "rshift_u64",
  "local_type_id",
  "target_type_id",
  "type_exists",
  "type_size",
  "enumval_exists",
  "enumval_value",
  "type_matches",
] as const;

/** Steps that an access path may have. */
export const MAX_STEPS = 64;

/** One step of a path: a named member, an enumerator, or (without a name) an element of an array. */
export interface Step {
  /** The composite that has the member; the type of the element; the enumeration. */
  readonly type: number;
  readonly index: number;
  /** Undefined for an element of an array. */
  readonly name: string | undefined;
}

export interface Access {
  readonly btf: Btf;
  readonly root: number;
  readonly steps: readonly Step[];
  /** Of the field, from the start of the root. */
  readonly bitOffset: number;
}

export const isFieldRelocation = (kind: number): boolean => kind <= CORE_RELO.FIELD_RSHIFT_U64;
export const isEnumRelocation = (kind: number): boolean =>
  kind === CORE_RELO.ENUMVAL_EXISTS || kind === CORE_RELO.ENUMVAL_VALUE;

/** The type behind const, volatile, restrict, typedef and type tags. */
export const plainType = (btf: Btf, id: number): BtfType => btf.type(btf.resolve(id))!;

const FLAVOUR = /^(.*[^_])___[^_]/s;

/** `task_struct___old` and `task_struct` are flavours of the same type: the name without what follows the last `___`. */
export function essentialName(name: string): string {
  return FLAVOUR.exec(name)?.[1] ?? name;
}

/** The access of a relocation record in the program's own BTF. */
export function parseAccess(btf: Btf, root: number, text: string, kind: number): Access | CoreError {
  if (!/^\d{1,9}(:\d{1,9})*$/.test(text)) return new CoreError(`Invalid CO-RE access string '${text}'`, root);
  const indices = text.split(":").map(Number);
  if (indices.length > MAX_STEPS) return new CoreError(`access string has ${indices.length} steps`, root);
  const [first = 0, ...rest] = indices;
  if (isEnumRelocation(kind)) return enumeratorOf(btf, root, first, rest);
  if (!isFieldRelocation(kind))
    return text === "0"
      ? { btf, root, steps: [], bitOffset: 0 }
      : new CoreError(`Invalid CO-RE access string '${text}' of a type`, root);
  return fieldOf(btf, root, first, rest);
}

function enumeratorOf(btf: Btf, root: number, index: number, rest: readonly number[]): Access | CoreError {
  const id = btf.resolve(root);
  const type = btf.type(id);
  const value = type?.kind === "enum" || type?.kind === "enum64" ? type.values[index] : undefined;
  if (value === undefined || rest.length > 0) return new CoreError("Invalid CO-RE enumerator", root);
  return { btf, root, steps: [{ type: id, index, name: value.name }], bitOffset: 0 };
}

function fieldOf(btf: Btf, root: number, first: number, rest: readonly number[]): Access | CoreError {
  let id = btf.resolve(root);
  const size = btf.sizeOf(id);
  if (size === undefined) return new CoreError("access to a type without a size", root);
  let bitOffset = first * size * 8;
  const steps: Step[] = [{ type: id, index: first, name: undefined }];
  for (const index of rest) {
    const type = btf.type(id)!;
    if (type.kind === "struct" || type.kind === "union") {
      const member = type.members[index];
      if (member === undefined)
        return new CoreError(`access to member ${index} of ${type.members.length}`, id);
      bitOffset += member.bitOffset;
      if (member.name !== "") steps.push({ type: id, index, name: member.name });
      id = btf.resolve(member.type);
      continue;
    }
    if (type.kind !== "array") return new CoreError(`access into a ${type.kind}`, id);
    if (index >= type.count && !isFlexible(btf, steps.at(-1), type))
      return new CoreError(`access to element ${index} of ${type.count}`, id);
    id = btf.resolve(type.element);
    const element = btf.sizeOf(id);
    if (element === undefined) return new CoreError("access to an array of a type without a size", id);
    bitOffset += index * element * 8;
    steps.push({ type: id, index, name: undefined });
  }
  return { btf, root, steps, bitOffset };
}

/** An array of no elements that is the last member of its structure: any index is inside. */
export function isFlexible(btf: Btf, last: Step | undefined, array: BtfArray): boolean {
  if (last?.name === undefined || array.count > 0) return false;
  return last.index === (btf.members(last.type)?.length ?? 0) - 1;
}
