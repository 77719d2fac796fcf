/**
 * Makes an object's BTF acceptable to a kernel: fills in what compilers leave out, and rewrites kinds that the kernel lacks.
 *
 * Authority: aya-obj `Btf::fixup_and_sanitize`; libbpf's `btf_fixup_datasec`, `bpf_object__sanitize_btf`. Type ids do not
 * change, and the string section only grows, so that maps and `.BTF.ext` stay valid. `features.has(kind)` is asked once per
 * kind, in the order in which the types come, and only for kinds that occur.
 */
import { writeBtf } from "@alien-ts/btf";
import type { Btf, BtfDatasec, BtfFuncProto, BtfSectionVar, BtfType } from "@alien-ts/btf";
import type { DataLayout } from "./spec.ts";

export const BTF_FEATURES = [
  "datasec",
  "func",
  "func_global",
  "float",
  "decl_tag",
  "type_tag",
  "enum64",
] as const;
export type BtfFeature = (typeof BTF_FEATURES)[number];

/** What the kernel supports, of the features that an object needs. */
export type BtfSupport = ReadonlyMap<BtfFeature, boolean>;

/** Library functions that compilers call: the verifier must not check them on their own. */
const INTRINSICS = new Set(["memset", "memcpy", "memmove", "memcmp"]);

const EXTERN_SECTIONS = new Set([".ksyms", ".kconfig"]);

/** The features that this BTF needs, in the order of first use. */
export function neededFeatures(btf: Btf): BtfFeature[] {
  const needed = new Set<BtfFeature>();
  for (const [, type] of btf.types()) for (const feature of featuresOf(type)) needed.add(feature);
  return Array.from(needed);
}

function featuresOf(type: BtfType): BtfFeature[] {
  switch (type.kind) {
    case "var":
    case "datasec":
      return ["datasec"];
    case "func":
      return type.linkage === "global" ? ["func", "func_global"] : ["func"];
    case "float":
    case "decl_tag":
    case "type_tag":
    case "enum64":
      return [type.kind];
    default:
      return [];
  }
}

/** The bytes to load. */
export function fixupBtf(btf: Btf, layout: DataLayout, support: BtfSupport): Uint8Array {
  const namedProtos = protosOfFunctions(btf);
  const types = Array.from(btf.types(), ([id, type]) => {
    const complete = completeType(btf, type, layout, namedProtos.has(id));
    return lower(btf, complete, (feature) => support.get(feature) ?? true);
  });
  return writeBtf(types.slice(1), btf.littleEndian, btf.strings);
}

/** The kernel wants names for the parameters of functions (not for those of pointers to functions). */
function protosOfFunctions(btf: Btf): Set<number> {
  const ids = new Set<number>();
  for (const [, type] of btf.types()) if (type.kind === "func") ids.add(type.type);
  return ids;
}

function completeType(btf: Btf, type: BtfType, layout: DataLayout, isFunctionProto: boolean): BtfType {
  switch (type.kind) {
    case "ptr":
      return { ...type, name: "" };
    case "datasec":
      // Externs are the kernel's, so the kernel wants to hear nothing of them.
      return EXTERN_SECTIONS.has(type.name) ? plainInt("externs", 4) : completeDatasec(btf, type, layout);
    case "func_proto":
      return isFunctionProto ? nameParams(type) : type;
    case "func":
      if (type.linkage === "extern") return { ...type, linkage: "global" };
      return INTRINSICS.has(type.name) || layout.hiddenFunctions.has(type.name)
        ? { ...type, linkage: "static" }
        : type;
    case "var":
      // The type may be void.
      return type.linkage === "extern" ? plainInt(type.name, 4) : type;
    default:
      return type;
  }
}

function completeDatasec(btf: Btf, type: BtfDatasec, layout: DataLayout): BtfDatasec {
  const vars = type.vars.map((entry): BtfSectionVar => {
    const variable = btf.type(entry.type);
    // A static variable's offset is there already: compilers leave out those of symbols that a linker may move.
    const isGlobal = variable?.kind === "var" && variable.linkage === "global";
    const offset = isGlobal ? layout.variableOffsets.get(variable.name) : undefined;
    return { ...entry, offset: offset ?? entry.offset };
  });
  return {
    ...type,
    name: type.name.replaceAll("/", "."),
    size: type.size > 0 ? type.size : (layout.sectionSizes.get(type.name) ?? 0),
    vars: vars.toSorted((a, b) => a.offset - b.offset),
  };
}

const nameParams = (type: BtfFuncProto): BtfFuncProto => ({
  ...type,
  params: type.params.map((param, index) =>
    param.name === "" && param.type !== 0 ? { ...param, name: `arg${index}` } : param,
  ),
});

/** The nearest older form of a type that the kernel lacks. */
function lower(btf: Btf, type: BtfType, has: (feature: BtfFeature) => boolean): BtfType {
  switch (type.kind) {
    case "var":
      // An INT of the variable's size keeps the id; nothing reads it.
      return has("datasec") ? type : plainInt(type.name, 1);
    case "datasec":
      return has("datasec")
        ? type
        : { ...structOf(type.name.replaceAll(".", "_"), type.size), members: datasecMembers(btf, type) };
    case "func":
      if (!has("func")) return { kind: "typedef", name: type.name, type: type.type };
      return type.linkage === "global" && !has("func_global") ? { ...type, linkage: "static" } : type;
    case "func_proto":
      return has("func") ? type : { kind: "enum", name: "", size: 4, isSigned: false, values: [] };
    case "float":
      return has("float") ? type : structOf(type.name.replaceAll(" ", "_"), type.size);
    case "decl_tag":
      return has("decl_tag") ? type : plainInt(type.name.replaceAll(/\W/g, "_"), 1);
    case "type_tag":
      return has("type_tag") ? type : { kind: "const", name: "", type: type.type };
    case "enum64":
      return has("enum64") ? type : { kind: "union", name: type.name, size: type.size, members: [] };
    default:
      return type;
  }
}

const structOf = (name: string, size: number): Extract<BtfType, { kind: "struct" | "union" }> => ({
  kind: "struct",
  name,
  size,
  members: [],
});

const datasecMembers = (
  btf: Btf,
  type: BtfDatasec,
): readonly { name: string; type: number; bitOffset: number; bitSize: number }[] =>
  type.vars.map((entry) => {
    const variable = btf.type(entry.type);
    const target = variable?.kind === "var" ? variable : undefined;
    return {
      name: target?.name ?? "",
      type: target?.type ?? entry.type,
      bitOffset: entry.offset * 8,
      bitSize: 0,
    };
  });

const plainInt = (name: string, size: number): BtfType => ({
  kind: "int",
  name,
  size,
  bits: size * 8,
  offset: 0,
  isSigned: false,
  isChar: false,
  isBool: false,
});
