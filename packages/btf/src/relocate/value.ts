/**
 * The number that a relocation puts into an instruction.
 *
 * Authority: libbpf `bpf_core_calc_field_relo`, `bpf_core_calc_type_relo`, `bpf_core_calc_enumval_relo`. Little endian.
 */
import { CoreError } from "./error.ts";
import type { BtfMember, BtfType } from "../types.ts";
import { CORE_RELO, CORE_RELO_NAMES, isEnumRelocation, isFieldRelocation, plainType } from "./access.ts";
import type { Access } from "./access.ts";
import type { Btf } from "../btf.ts";

/** The memory that a load or store of the field accesses. */
export interface FieldAccess {
  /** Bytes of the field; of one element where it is an array. */
  readonly size: number;
  /** The field's type, behind modifiers. */
  readonly type: BtfType;
}

export interface Value {
  readonly value: bigint;
  /** Whether the instruction must hold the program's own value before it is edited. */
  readonly isExact: boolean;
  readonly field?: FieldAccess;
}

/** The target has no such thing: the instruction must not run. */
export const MISSING = "missing";

/** @param access undefined where the target has none. */
export function relocationValue(
  kind: number,
  access: Access | undefined,
): Value | typeof MISSING | CoreError {
  if (isFieldRelocation(kind)) return fieldValue(kind, access);
  return isEnumRelocation(kind) ? enumValue(kind, access) : typeValue(kind, access);
}

const isOne = (is: boolean): Value => ({ value: is ? 1n : 0n, isExact: true });

function typeValue(kind: number, access: Access | undefined): Value | CoreError {
  if (access === undefined) return isOne(false);
  switch (kind) {
    case CORE_RELO.TYPE_ID_TARGET:
      // Ids change when objects are linked.
      return { value: BigInt(access.root), isExact: false };
    case CORE_RELO.TYPE_EXISTS:
    case CORE_RELO.TYPE_MATCHES:
      return isOne(true);
    case CORE_RELO.TYPE_SIZE: {
      const size = access.btf.sizeOf(access.root);
      return size === undefined
        ? new CoreError("size of a type without a size", access.root)
        : { value: BigInt(size), isExact: true };
    }
    default:
      return new CoreError(`Unknown kind of CO-RE relocation ${kind}`, access.root);
  }
}

function enumValue(kind: number, access: Access | undefined): Value | typeof MISSING {
  if (kind === CORE_RELO.ENUMVAL_EXISTS) return isOne(access !== undefined);
  const step = access?.steps[0];
  const type = access === undefined || step === undefined ? undefined : access.btf.type(step.type);
  const enumerator = type?.kind === "enum" || type?.kind === "enum64" ? type.values[step!.index] : undefined;
  return enumerator === undefined ? MISSING : { value: BigInt.asUintN(64, enumerator.value), isExact: true };
}

function fieldValue(kind: number, access: Access | undefined): Value | typeof MISSING | CoreError {
  if (kind === CORE_RELO.FIELD_EXISTS) return isOne(access !== undefined);
  const step = access?.steps.at(-1);
  if (access === undefined || step === undefined) return MISSING;
  const { btf } = access;
  if (step.name === undefined) return elementValue(kind, access, step.type);
  const member = btf.members(step.type)![step.index]!;
  const extent = extentOf(access, member);
  if (extent instanceof CoreError) return extent;
  const { byteOffset, byteSize, bits } = extent;
  const isBitfield = member.bitSize > 0;
  const left = 64 - (access.bitOffset + bits - byteOffset * 8);
  switch (kind) {
    case CORE_RELO.FIELD_BYTE_OFFSET:
      return {
        value: BigInt(byteOffset),
        isExact: !isBitfield,
        ...(isBitfield ? {} : { field: fieldAccess(btf, member.type) }),
      };
    case CORE_RELO.FIELD_BYTE_SIZE:
      return { value: BigInt(byteSize), isExact: !isBitfield };
    case CORE_RELO.FIELD_SIGNED:
      return isOne(isSigned(plainType(btf, member.type)));
    case CORE_RELO.FIELD_LSHIFT_U64:
      return { value: BigInt(left), isExact: !isBitfield };
    default:
      return { value: BigInt(64 - bits), isExact: true };
  }
}

const isSigned = (type: BtfType): boolean =>
  (type.kind === "int" || type.kind === "enum" || type.kind === "enum64") && type.isSigned;

function elementValue(kind: number, access: Access, type: number): Value | CoreError {
  const size = access.btf.sizeOf(type);
  if (size === undefined) return new CoreError("access to a type without a size", type);
  if (kind === CORE_RELO.FIELD_BYTE_SIZE) return { value: BigInt(size), isExact: true };
  if (kind === CORE_RELO.FIELD_BYTE_OFFSET)
    return {
      value: BigInt(Math.floor(access.bitOffset / 8)),
      isExact: true,
      field: fieldAccess(access.btf, type),
    };
  return new CoreError(`relocation ${CORE_RELO_NAMES[kind]} of an element of an array`, type);
}

/** Loads of an array are loads of an element. */
function fieldAccess(btf: Btf, id: number): FieldAccess {
  const type = plainType(btf, id);
  let element = id;
  for (let at = type; at.kind === "array"; at = plainType(btf, element)) element = at.element;
  return { size: btf.sizeOf(element) ?? 0, type };
}

interface Extent {
  readonly byteOffset: number;
  readonly byteSize: number;
  readonly bits: number;
}

/** The bytes to load for a member; for a bitfield, the smallest aligned integer that holds all of its bits. */
function extentOf({ btf, bitOffset }: Access, member: BtfMember): Extent | CoreError {
  let byteSize = btf.sizeOf(member.type);
  if (byteSize === undefined || byteSize === 0)
    return member.bitSize > 0 || byteSize === undefined
      ? new CoreError(`access to ${member.name}, which has no size`, member.type)
      : { byteOffset: Math.floor(bitOffset / 8), byteSize, bits: 0 };
  if (member.bitSize === 0) return { byteOffset: Math.floor(bitOffset / 8), byteSize, bits: byteSize * 8 };
  const bits = member.bitSize;
  let byteOffset = startOf(bitOffset, byteSize);
  while (bitOffset + bits - byteOffset * 8 > byteSize * 8) {
    if (byteSize >= 8) return new CoreError(`bitfield ${member.name} spans more than 8 bytes`, member.type);
    byteSize *= 2;
    byteOffset = startOf(bitOffset, byteSize);
  }
  return { byteOffset, byteSize, bits };
}

const startOf = (bitOffset: number, byteSize: number): number =>
  Math.floor(bitOffset / 8 / byteSize) * byteSize;
