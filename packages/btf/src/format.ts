/**
 * Types as C: `formatType(btf, id, "name")` gives a declarator (`const char *name[4]`), `formatDefinition(btf, id)` the
 * definition of a struct, union, enum or typedef, with tabs as `bpftool btf dump` prints them.
 */
import type { Btf } from "./btf.ts";
import type { BtfComposite, BtfEnum } from "./types.ts";

const MAX_DEPTH = 32;
/** Types in one declaration: more than the largest of the kernel has. */
const MAX_TYPES = 100_000;

/** The type with a declared name (may be empty), in C's inside-out order. */
export function formatType(btf: Btf, id: number, name = ""): string {
  return declare(btf, id, name, outermost());
}

interface Nesting {
  /** Types passed on the way here: a malformed blob may hold a cycle. */
  readonly depth: number;
  /** Tabs before the members of an anonymous struct. */
  readonly indent: number;
  /** What is left of `MAX_TYPES`: anonymous structs that hold each other grow exponentially. */
  readonly budget: { types: number };
}

const outermost = (): Nesting => ({ depth: 0, indent: 0, budget: { types: MAX_TYPES } });

function declare(btf: Btf, id: number, name: string, nesting: Nesting): string {
  const type = btf.type(id);
  nesting.budget.types -= 1;
  if (type === undefined || nesting.depth > MAX_DEPTH || nesting.budget.types < 0)
    return join("/* invalid type */", name);
  const deeper = { ...nesting, depth: nesting.depth + 1 };
  switch (type.kind) {
    case "ptr": {
      const target = btf.type(type.type);
      const needsParentheses = target?.kind === "array" || target?.kind === "func_proto";
      return declare(btf, type.type, needsParentheses ? `(*${name})` : `*${name}`, deeper);
    }
    case "array":
      return declare(btf, type.element, `${name}[${type.count}]`, deeper);
    case "func_proto": {
      const params = type.params.map((param) =>
        param.type === 0 ? "..." : declare(btf, param.type, param.name, deeper),
      );
      return declare(btf, type.type, `${name}(${params.join(", ") || "void"})`, deeper);
    }
    case "const":
    case "volatile":
    case "restrict":
      return qualified(btf, type, name, deeper);
    case "type_tag":
      return declare(btf, type.type, name, deeper);
    case "func":
    case "var":
      return declare(btf, type.type, type.name, deeper);
    case "struct":
    case "union":
      return join(type.name === "" ? inline(btf, type, deeper) : `${type.kind} ${type.name}`, name);
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
      return `${join(type.kind, type.name)} {\n${members(btf, type, outermost())}};`;
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
  nesting: Nesting,
): string {
  const isPointer = btf.type(type.type)?.kind === "ptr";
  if (isPointer) return declare(btf, type.type, join(type.kind, name), nesting);
  return `${type.kind} ${declare(btf, type.type, name, nesting)}`;
}

function inline(btf: Btf, type: BtfComposite, nesting: Nesting): string {
  return `${type.kind} {\n${members(btf, type, nesting)}${"\t".repeat(nesting.indent)}}`;
}

function members(btf: Btf, type: BtfComposite, nesting: Nesting): string {
  const inside = { ...nesting, indent: nesting.indent + 1 };
  return type.members
    .map((member) => {
      const width = member.bitSize > 0 ? `: ${member.bitSize}` : "";
      return `${"\t".repeat(inside.indent)}${declare(btf, member.type, member.name, inside)}${width};\n`;
    })
    .join("");
}

const enumerators = (type: BtfEnum): string =>
  type.values.map(({ name, value }) => `\t${name} = ${value},\n`).join("");

const join = (left: string, right: string): string =>
  right === "" || left === "" ? left + right : `${left} ${right}`;
