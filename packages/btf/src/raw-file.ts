/** All types of a BTF blob, a line each with its members below, as `bpftool btf dump file …` prints them: `formatRaw(btf)`. */
import type { Btf } from "./btf.ts";
import type { BtfType } from "./types.ts";

export function formatRaw(btf: Btf): string {
  const lines: string[] = [];
  for (const [id, type] of btf.types()) {
    if (id === 0) continue;
    const { facts, members } = describe(btf, type);
    lines.push(`[${id}] ${type.kind.toUpperCase()} ${quoted(type.name)} ${facts}`);
    for (const member of members) lines.push(`\t${member}`);
  }
  return lines.map((line) => `${line}\n`).join("");
}

const quoted = (name: string): string => `'${name === "" ? "(anon)" : name}'`;

interface Described {
  readonly facts: string;
  readonly members: readonly string[];
}

const only = (facts: string): Described => ({ facts, members: [] });

function describe(btf: Btf, type: BtfType): Described {
  switch (type.kind) {
    case "void":
      return only("");
    case "int": {
      const encoding = type.isSigned ? "SIGNED" : type.isChar ? "CHAR" : type.isBool ? "BOOL" : "(none)";
      return only(`size=${type.size} bits_offset=${type.offset} nr_bits=${type.bits} encoding=${encoding}`);
    }
    case "array":
      return only(`type_id=${type.element} index_type_id=${type.index} nr_elems=${type.count}`);
    case "struct":
    case "union":
      return {
        facts: `size=${type.size} vlen=${type.members.length}`,
        members: type.members.map(({ name, type: of, bitOffset, bitSize }) => {
          const width = bitSize === 0 ? "" : ` bitfield_size=${bitSize}`;
          return `${quoted(name)} type_id=${of} bits_offset=${bitOffset}${width}`;
        }),
      };
    case "enum":
    case "enum64":
      return {
        facts: `encoding=${type.isSigned ? "SIGNED" : "UNSIGNED"} size=${type.size} vlen=${type.values.length}`,
        members: type.values.map(({ name, value }) => `${quoted(name)} val=${value}${suffixOf(type)}`),
      };
    case "fwd":
      return only(`fwd_kind=${type.isUnion ? "union" : "struct"}`);
    case "func":
      return only(`type_id=${type.type} linkage=${type.linkage}`);
    case "func_proto":
      return {
        facts: `ret_type_id=${type.type} vlen=${type.params.length}`,
        members: type.params.map(({ name, type: of }) => `${quoted(name)} type_id=${of}`),
      };
    case "var":
      return only(`type_id=${type.type}, linkage=${type.linkage}`);
    case "datasec":
      return {
        facts: `size=${type.size} vlen=${type.vars.length}`,
        members: type.vars.map(({ type: of, offset, size }) => {
          const held = btf.type(of);
          return `type_id=${of} offset=${offset} size=${size} (${held?.kind.toUpperCase()} ${quoted(held?.name ?? "")})`;
        }),
      };
    case "float":
      return only(`size=${type.size}`);
    case "decl_tag":
      return only(`type_id=${type.type} component_idx=${type.component}`);
    default:
      return only(`type_id=${type.type}`);
  }
}

const suffixOf = ({ kind, isSigned }: { readonly kind: string; readonly isSigned: boolean }): string =>
  kind === "enum" ? "" : isSigned ? "LL" : "ULL";
