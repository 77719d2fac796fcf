/**
 * BTF types as plain data: one interface per kind, a discriminated union over `kind`.
 *
 * Authority: Documentation/bpf/btf.rst. Type ids are indexes; id 0 is `void`. Names are strings; an anonymous type has "".
 */

/** Kind numbers of include/uapi/linux/btf.h. */
export const BTF_KIND = {
  int: 1,
  ptr: 2,
  array: 3,
  struct: 4,
  union: 5,
  enum: 6,
  fwd: 7,
  typedef: 8,
  volatile: 9,
  const: 10,
  restrict: 11,
  func: 12,
  func_proto: 13,
  var: 14,
  datasec: 15,
  float: 16,
  decl_tag: 17,
  type_tag: 18,
  enum64: 19,
} as const;

/** The names that the kernel prints, by kind number; number 0 is `void`. */
export const BTF_KIND_NAMES = [
  "UNKNOWN",
  "INT",
  "PTR",
  "ARRAY",
  "STRUCT",
  "UNION",
  "ENUM",
  "FWD",
  "TYPEDEF",
  "VOLATILE",
  "CONST",
  "RESTRICT",
  "FUNC",
  "FUNC_PROTO",
  "VAR",
  "DATASEC",
  "FLOAT",
  "DECL_TAG",
  "TYPE_TAG",
  "ENUM64",
] as const;

export type BtfKind = "void" | keyof typeof BTF_KIND;

interface Named<K extends BtfKind> {
  readonly kind: K;
  readonly name: string;
}

export type BtfVoid = Named<"void">;

export interface BtfInt extends Named<"int"> {
  readonly size: number;
  readonly bits: number;
  /** Bit offset inside the integer: 0 in what compilers write now. */
  readonly offset: number;
  readonly isSigned: boolean;
  readonly isChar: boolean;
  readonly isBool: boolean;
}

/** Kinds that only name another type. */
export type BtfReference = {
  readonly [K in "ptr" | "typedef" | "volatile" | "const" | "restrict" | "type_tag"]: Named<K> & {
    readonly type: number;
  };
}["ptr" | "typedef" | "volatile" | "const" | "restrict" | "type_tag"];

export interface BtfArray extends Named<"array"> {
  readonly element: number;
  readonly index: number;
  readonly count: number;
}

export interface BtfMember {
  readonly name: string;
  readonly type: number;
  readonly bitOffset: number;
  /** Width of a bitfield; 0 for an ordinary member. */
  readonly bitSize: number;
}

export interface BtfComposite extends Named<"struct" | "union"> {
  readonly size: number;
  readonly members: readonly BtfMember[];
}

export interface BtfEnumerator {
  readonly name: string;
  /** A bigint in ENUM64, so that every value is exact. */
  readonly value: bigint;
}

export interface BtfEnum extends Named<"enum" | "enum64"> {
  readonly size: number;
  readonly isSigned: boolean;
  readonly values: readonly BtfEnumerator[];
}

export interface BtfFwd extends Named<"fwd"> {
  readonly isUnion: boolean;
}

export type BtfLinkage = "static" | "global" | "extern";

export interface BtfFunc extends Named<"func"> {
  /** The FUNC_PROTO. */
  readonly type: number;
  readonly linkage: BtfLinkage;
}

export interface BtfParam {
  readonly name: string;
  readonly type: number;
}

export interface BtfFuncProto extends Named<"func_proto"> {
  /** The return type. */
  readonly type: number;
  /** A last parameter without name and type is `...`. */
  readonly params: readonly BtfParam[];
}

export interface BtfVar extends Named<"var"> {
  readonly type: number;
  readonly linkage: BtfLinkage;
}

export interface BtfSectionVar {
  readonly type: number;
  readonly offset: number;
  readonly size: number;
}

export interface BtfDatasec extends Named<"datasec"> {
  readonly size: number;
  readonly vars: readonly BtfSectionVar[];
}

export interface BtfFloat extends Named<"float"> {
  readonly size: number;
}

export interface BtfDeclTag extends Named<"decl_tag"> {
  readonly type: number;
  /** Member or parameter that the tag is on; -1 for the type itself. */
  readonly component: number;
}

export type BtfType =
  | BtfVoid
  | BtfInt
  | BtfReference
  | BtfArray
  | BtfComposite
  | BtfEnum
  | BtfFwd
  | BtfFunc
  | BtfFuncProto
  | BtfVar
  | BtfDatasec
  | BtfFloat
  | BtfDeclTag;

export const LINKAGE: readonly BtfLinkage[] = ["static", "global", "extern"];

/** The same type with ids renumbered by `map`. */
export function mapTypeIds(type: BtfType, map: (id: number) => number): BtfType {
  switch (type.kind) {
    case "void":
    case "int":
    case "float":
    case "fwd":
    case "enum":
    case "enum64":
      return type;
    case "array":
      return { ...type, element: map(type.element), index: map(type.index) };
    case "struct":
    case "union":
      return { ...type, members: type.members.map((member) => ({ ...member, type: map(member.type) })) };
    case "func_proto":
      return {
        ...type,
        type: map(type.type),
        params: type.params.map((param) => ({ ...param, type: map(param.type) })),
      };
    case "datasec":
      return { ...type, vars: type.vars.map((entry) => ({ ...entry, type: map(entry.type) })) };
    default:
      return { ...type, type: map(type.type) };
  }
}
