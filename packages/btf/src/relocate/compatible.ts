/**
 * When a type of the target may stand for a type of the program: loosely (`areCompatible`, for fields and existence of types) or
 * by structure (`typesMatch`, for `bpf_core_type_matches`).
 *
 * Authority: libbpf `bpf_core_fields_are_compat`, `__bpf_core_types_are_compat`, `__bpf_core_types_match`.
 */
import type { Btf } from "../btf.ts";
import type { BtfComposite, BtfEnum, BtfFuncProto, BtfType } from "../types.ts";
import { essentialName, plainType } from "./access.ts";

/** A type of one BTF. */
export interface TypeOf {
  readonly btf: Btf;
  readonly id: number;
}

const MAX_DEPTH = 32;

const isComposite = (type: BtfType): type is BtfComposite => type.kind === "struct" || type.kind === "union";
const isEnum = (type: BtfType): type is BtfEnum => type.kind === "enum" || type.kind === "enum64";

/** The same kind; enumerations of both widths are one kind. */
export const areSameKind = (a: BtfType, b: BtfType): boolean => a.kind === b.kind || (isEnum(a) && isEnum(b));

/** Whether a member of the target's type can be read as one of the program's type. */
export function areFieldsCompatible(local: TypeOf, target: TypeOf): boolean {
  let [mine, theirs] = [plainType(local.btf, local.id), plainType(target.btf, target.id)];
  for (let depth = 0; depth < MAX_DEPTH && mine.kind === "array" && theirs.kind === "array"; depth++) {
    mine = plainType(local.btf, mine.element);
    theirs = plainType(target.btf, theirs.element);
  }
  if (isComposite(mine) && isComposite(theirs)) return true;
  if (!areSameKind(mine, theirs)) return false;
  switch (mine.kind) {
    case "ptr":
    case "float":
      return true;
    case "fwd":
    case "enum":
    case "enum64":
      // One of them anonymous, or the same name but for the flavour.
      return (
        mine.name === "" || theirs.name === "" || essentialName(mine.name) === essentialName(theirs.name)
      );
    case "int":
      // Widths may differ; the old way to say bitfield may not.
      return mine.offset === 0 && theirs.kind === "int" && theirs.offset === 0;
    default:
      return false;
  }
}

/** Whether two types of the same name are the same thing, whatever their members are. */
export function areTypesCompatible(local: TypeOf, target: TypeOf): boolean {
  if (!areSameKind(local.btf.type(local.id)!, target.btf.type(target.id)!)) return false;
  return compatibleBelow(local, target, MAX_DEPTH);
}

function compatibleBelow(local: TypeOf, target: TypeOf, depth: number): boolean {
  if (depth === 0) return false;
  const [mine, theirs] = [plainType(local.btf, local.id), plainType(target.btf, target.id)];
  if (!areSameKind(mine, theirs)) return false;
  const below = (a: number, b: number): boolean =>
    compatibleBelow({ btf: local.btf, id: a }, { btf: target.btf, id: b }, depth - 1);
  switch (mine.kind) {
    case "void":
    case "struct":
    case "union":
    case "enum":
    case "enum64":
    case "fwd":
      return true;
    case "int":
      return mine.offset === 0 && theirs.kind === "int" && theirs.offset === 0;
    case "ptr":
      return theirs.kind === "ptr" && below(mine.type, theirs.type);
    case "array":
      return theirs.kind === "array" && below(mine.element, theirs.element);
    case "func_proto":
      return theirs.kind === "func_proto" && sameSignature(mine, theirs, below);
    default:
      return false;
  }
}

const sameSignature = (
  mine: BtfFuncProto,
  theirs: BtfFuncProto,
  isSame: (mine: number, theirs: number) => boolean,
): boolean =>
  mine.params.length === theirs.params.length &&
  mine.params.every((param, index) => isSame(param.type, theirs.params[index]!.type)) &&
  isSame(mine.type, theirs.type);

/** Whether the target has every member and enumerator that the program's type has, and these match in turn. */
export function typesMatch(local: TypeOf, target: TypeOf): boolean {
  return matchBelow(local, target, false, MAX_DEPTH);
}

const sameName = (mine: string, theirs: string): boolean =>
  theirs === "" ? mine === "" : essentialName(mine) === essentialName(theirs);

function matchBelow(local: TypeOf, target: TypeOf, isBehindPointer: boolean, depth: number): boolean {
  if (depth === 0) return false;
  const [mine, theirs] = [plainType(local.btf, local.id), plainType(target.btf, target.id)];
  if (!sameName(nameOf(mine), nameOf(theirs))) return false;
  const below =
    (isPointer: boolean) =>
    (a: number, b: number): boolean =>
      matchBelow({ btf: local.btf, id: a }, { btf: target.btf, id: b }, isPointer, depth - 1);
  switch (mine.kind) {
    case "void":
      return theirs.kind === "void";
    case "fwd":
      return matchForward(mine.isUnion, theirs, isBehindPointer);
    case "enum":
    case "enum64":
      return isEnum(theirs) && matchEnum(mine, theirs);
    case "struct":
    case "union":
      if (isBehindPointer && theirs.kind === "fwd") return (mine.kind === "union") === theirs.isUnion;
      if (mine.kind !== theirs.kind) return false;
      return isBehindPointer || matchComposite(mine, theirs as BtfComposite, below(false));
    case "int":
      return theirs.kind === "int" && mine.size === theirs.size && mine.isSigned === theirs.isSigned;
    case "ptr":
      return theirs.kind === "ptr" && below(true)(mine.type, theirs.type);
    case "array":
      return (
        theirs.kind === "array" &&
        mine.count === theirs.count &&
        below(isBehindPointer)(mine.element, theirs.element)
      );
    case "func_proto":
      return theirs.kind === "func_proto" && sameSignature(mine, theirs, below(false));
    default:
      return false;
  }
}

/** `void` has no name in BTF. */
const nameOf = (type: BtfType): string => (type.kind === "void" || !("name" in type) ? "" : type.name);

function matchForward(isUnion: boolean, theirs: BtfType, isBehindPointer: boolean): boolean {
  if (theirs.kind === "fwd") return theirs.isUnion === isUnion;
  return isBehindPointer && theirs.kind === (isUnion ? "union" : "struct");
}

const matchEnum = (mine: BtfEnum, theirs: BtfEnum): boolean =>
  mine.size === theirs.size &&
  mine.values.every(({ name }) =>
    theirs.values.some((value) => essentialName(value.name) === essentialName(name)),
  );

const matchComposite = (
  mine: BtfComposite,
  theirs: BtfComposite,
  isSame: (mine: number, theirs: number) => boolean,
): boolean =>
  mine.members.length <= theirs.members.length &&
  mine.members.every((member) =>
    theirs.members.some((other) => sameName(member.name, other.name) && isSame(member.type, other.type)),
  );
