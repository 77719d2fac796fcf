/**
 * Types as C: `formatType(btf, id, "name")` gives a declarator (`const char *name[4]`), `formatDefinition(btf, id)` the
 * definition of a struct, union, enum or typedef, with tabs as `bpftool btf dump` prints them.
 */
import type { Btf } from "./btf.ts";
import type { BtfComposite, BtfEnum, BtfType } from "./types.ts";

const MAX_DEPTH = 32;
/** Types in one declaration: more than the largest of the kernel has. */
const MAX_TYPES = 100_000;

/** How a file of types writes what a single type writes plainly. */
export interface Style {
  nameOf(id: number, type: BtfType): string;
  /** From brace to brace. */
  body(type: BtfComposite, indent: number): string;
  enumerators(type: BtfEnum, indent: number): string;
}

export interface FormatOptions {
  readonly style?: Style;
  /** Tabs before the line that the type is written on. */
  readonly indent?: number;
}

/** The type with a declared name (may be empty), in C's inside-out order. With a style, tags of types are written, too. */
export function formatType(
  btf: Btf,
  id: number,
  name = "",
  { style, indent = 0 }: FormatOptions = {},
): string {
  return declare(btf, id, name, { ...outermost(), indent, style });
}

interface Nesting {
  /** Types passed on the way here: a malformed blob may hold a cycle. */
  readonly depth: number;
  /** Tabs before the members of an anonymous struct. */
  readonly indent: number;
  /** What is left of `MAX_TYPES`: anonymous structs that hold each other grow exponentially. */
  readonly budget: { types: number };
  readonly style: Style | undefined;
}

const outermost = (): Nesting => ({ depth: 0, indent: 0, budget: { types: MAX_TYPES }, style: undefined });

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
      const starred = star(name, nesting);
      return declare(btf, type.type, needsParentheses ? `(${starred})` : starred, deeper);
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
    case "type_tag": {
      // Written between the type and what is declared with it.
      const tag =
        nesting.style === undefined ? name : join(`__attribute__((btf_type_tag("${type.name}")))`, name);
      return declare(btf, type.type, tag, deeper);
    }
    case "func":
    case "var":
      return declare(btf, type.type, type.name, deeper);
    case "struct":
    case "union":
      return join(
        type.name === "" ? inline(btf, type, deeper) : `${type.kind} ${nameIn(deeper, id, type)}`,
        name,
      );
    case "enum":
    case "enum64": {
      const { style, indent } = nesting;
      const values = style?.enumerators(type, indent) ?? `{\n${enumerators(type)}}`;
      return join(`enum ${type.name === "" ? values : nameIn(nesting, id, type)}`, name);
    }
    case "fwd":
      return join(`${type.isUnion ? "union" : "struct"} ${type.name}`, name);
    default:
      return join(nameIn(nesting, id, type), name);
  }
}

const nameIn = ({ style }: Nesting, id: number, type: BtfType): string =>
  style?.nameOf(id, type) ?? type.name;

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

/** Headers have a space between a star and what is no name. */
const star = (name: string, { style }: Nesting): string =>
  style !== undefined && /^(\(|const\b|volatile\b|restrict\b)/.test(name) ? `* ${name}` : `*${name}`;

/** A qualifier stands before its type, but after the star of a pointer. */
function qualified(
  btf: Btf,
  type: { readonly kind: string; readonly type: number },
  name: string,
  nesting: Nesting,
): string {
  const target = btf.type(type.type)?.kind;
  // That of an array is its elements', which have it themselves.
  if (target === "array" && nesting.style !== undefined) return declare(btf, type.type, name, nesting);
  if (target === "ptr") return declare(btf, type.type, join(type.kind, name), nesting);
  return `${type.kind} ${declare(btf, type.type, name, nesting)}`;
}

function inline(btf: Btf, type: BtfComposite, nesting: Nesting): string {
  if (nesting.style !== undefined) return `${type.kind} ${nesting.style.body(type, nesting.indent)}`;
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
