/**
 * Types as C: `formatType(btf, id, "name")` gives a declarator (`const char *name[4]`), `formatDefinition(btf, id)` the
 * definition of a struct, union, enum or typedef, with tabs as `bpftool btf dump` prints them.
 */
import type { Btf } from "./btf.ts";
import type { BtfComposite, BtfEnum } from "./types.ts";

const MAX_DEPTH = 32;

/** The type with a declared name (may be empty), in C's inside-out order. */
export function formatType(btf: Btf, id: number, name = "", depth = 0): string {
  const type = btf.type(id);
  if (type === undefined || depth > MAX_DEPTH) return join("/* invalid type */", name);
  switch (type.kind) {
    case "ptr": {
      const target = btf.type(type.type);
      const needsParentheses = target?.kind === "array" || target?.kind === "func_proto";
      return formatType(btf, type.type, needsParentheses ? `(*${name})` : `*${name}`, depth + 1);
    }
    case "array":
      return formatType(btf, type.element, `${name}[${type.count}]`, depth + 1);
    case "func_proto": {
      const params = type.params.map((param) =>
        param.type === 0 ? "..." : formatType(btf, param.type, param.name, depth + 1),
      );
      return formatType(btf, type.type, `${name}(${params.join(", ") || "void"})`, depth + 1);
    }
    case "const":
    case "volatile":
    case "restrict":
      return qualified(btf, type, name, depth);
    case "type_tag":
      return formatType(btf, type.type, name, depth + 1);
    case "func":
    case "var":
      return formatType(btf, type.type, type.name, depth + 1);
    case "struct":
    case "union":
      return join(type.name === "" ? inline(btf, type, depth) : `${type.kind} ${type.name}`, name);
    case "enum":
    case "enum64":
      return join(type.name === "" ? `enum {\n${enumerators(type)}}` : `enum ${type.name}`, name);
    case "fwd":
      return join(`${type.isUnion ? "union" : "struct"} ${type.name}`, name);
    default:
      return join(type.name, name);
  }
}

/** The definition of a named type, with its semicolon. */
export function formatDefinition(btf: Btf, id: number): string {
  const type = btf.type(id);
  switch (type?.kind) {
    case "struct":
    case "union":
      return `${join(type.kind, type.name)} {\n${members(btf, type, 0)}};`;
    case "enum":
    case "enum64":
      return `${join("enum", type.name)} {\n${enumerators(type)}};`;
    case "typedef":
      return `typedef ${formatType(btf, type.type, type.name)};`;
    default:
      return `${formatType(btf, id)};`;
  }
}

/** A qualifier stands before its type, but after the star of a pointer. */
function qualified(
  btf: Btf,
  type: { readonly kind: string; readonly type: number },
  name: string,
  depth: number,
): string {
  const isPointer = btf.type(type.type)?.kind === "ptr";
  if (isPointer) return formatType(btf, type.type, join(type.kind, name), depth + 1);
  return `${type.kind} ${formatType(btf, type.type, name, depth + 1)}`;
}

function inline(btf: Btf, type: BtfComposite, depth: number): string {
  return `${type.kind} {\n${members(btf, type, depth)}${"\t".repeat(depth)}}`;
}

function members(btf: Btf, type: BtfComposite, depth: number): string {
  return type.members
    .map((member) => {
      const width = member.bitSize > 0 ? `: ${member.bitSize}` : "";
      return `${"\t".repeat(depth + 1)}${formatType(btf, member.type, member.name, depth + 1)}${width};\n`;
    })
    .join("");
}

const enumerators = (type: BtfEnum): string =>
  type.values.map(({ name, value }) => `\t${name} = ${value},\n`).join("");

const join = (left: string, right: string): string =>
  right === "" || left === "" ? left + right : `${left} ${right}`;
