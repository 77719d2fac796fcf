/**
 * A header with all types of a BTF blob, as `bpftool btf dump file … format c` prints it: `formatHeader(btf)`.
 *
 * C wants a type before its use, so types are put in order first (`order.ts`), and structures that point to each other are
 * declared ahead. Gaps that a compiler would not leave are written as unnamed bit fields (`padding.ts`), so that every member gets
 * its offset. Types of one name are told apart by a number behind it. Functions and variables are no types and are left out.
 */
import type { Btf } from "./btf.ts";
import { formatType, type Style } from "./format.ts";
import { definitionOrder } from "./order.ts";
import { StructBodies } from "./padding.ts";
import type { BtfComposite, BtfEnum, BtfType } from "./types.ts";

const BEFORE = `#ifndef __VMLINUX_H__
#define __VMLINUX_H__

#ifndef BPF_NO_PRESERVE_ACCESS_INDEX
#pragma clang attribute push (__attribute__((preserve_access_index)), apply_to = record)
#endif

`;
const AFTER = `#ifndef BPF_NO_PRESERVE_ACCESS_INDEX
#pragma clang attribute pop
#endif

#endif /* __VMLINUX_H__ */
`;

export function formatHeader(btf: Btf): string {
  const header = new Header(btf);
  const text: string[] = [];
  for (const id of definitionOrder(btf).queue) header.emit(id, 0, text);
  return BEFORE + text.join("") + AFTER;
}

const INVALID = "/* invalid type */";
/** Anonymous structures in each other, and what they may grow to: a malformed blob may hold cycles. */
const MAX_INDENT = 32;
const MAX_DECLARATIONS = 4_000_000;
const MAX_DEPTH = 1000;

class Header {
  readonly #btf: Btf;
  readonly #emitted = new Set<number>();
  readonly #emitting = new Set<number>();
  /** Structures that were declared, and typedefs that were written ahead. */
  readonly #ahead = new Set<number>();
  readonly #names: Names;
  #budget = MAX_DECLARATIONS;
  #depth = 0;
  readonly #style: Style;

  constructor(btf: Btf) {
    this.#btf = btf;
    const names = new Names();
    const bodies = new StructBodies(btf);
    this.#names = names;
    this.#style = {
      nameOf: (id, type) => names.ofType(id, type),
      body: (type, indent) =>
        indent > MAX_INDENT
          ? INVALID
          : bodies.write(type, indent, (member, name, deeper) => this.#declare(member, name, deeper)),
      enumerators: (type, indent) => enumerators(names, type, indent),
    };
  }

  /** Writes a definition behind those that it needs. @param container what it is needed for; 0 for a definition of its own. */
  emit(id: number, container: number, text: string[]): void {
    if (this.#depth > MAX_DEPTH) return;
    this.#depth += 1;
    this.#emit(id, container, text);
    this.#depth -= 1;
  }

  #emit(id: number, container: number, text: string[]): void {
    const type = this.#btf.type(id);
    if (type === undefined || this.#emitted.has(id)) return;
    if (this.#emitting.has(id)) return this.#declareAhead(id, type, container, text);
    switch (type.kind) {
      case "int":
        this.#emitted.add(id);
        return;
      case "enum":
      case "enum64":
        if (container === 0) text.push(this.#enum(id, type));
        this.#emitted.add(id);
        return;
      case "ptr":
      case "const":
      case "volatile":
      case "restrict":
      case "type_tag":
        return this.emit(type.type, container, text);
      case "array":
        return this.emit(type.element, container, text);
      case "fwd":
        text.push(`${type.isUnion ? "union" : "struct"} ${this.#names.ofType(id, type)};\n\n`);
        this.#emitted.add(id);
        return;
      case "typedef":
        this.#emitting.add(id);
        this.emit(type.type, id, text);
        if (!this.#ahead.has(id)) text.push(this.#typedef(id));
        this.#emitted.add(id);
        return;
      case "struct":
      case "union":
        return this.#struct(id, type, container, text);
      case "func_proto":
        this.emit(type.type, container, text);
        for (const param of type.params) this.emit(param.type, container, text);
        return;
      default:
    }
  }

  #struct(id: number, type: BtfComposite, container: number, text: string[]): void {
    this.#emitting.add(id);
    const isNamed = type.name !== "";
    if (container === 0 || !isNamed)
      for (const member of type.members) this.emit(member.type, isNamed ? id : container, text);
    else if (!this.#ahead.has(id) && id !== container) {
      text.push(`${type.kind} ${this.#names.ofType(id, type)};\n\n`);
      this.#ahead.add(id);
    }
    this.#emitting.delete(id);
    if (container !== 0) return;
    text.push(`${type.kind} ${this.#names.ofType(id, type)} ${this.#body(type)};\n\n`);
    this.#emitted.add(id);
  }

  /** What is being written is needed by what it needs: by name alone, since it is behind a pointer. */
  #declareAhead(id: number, type: BtfType, container: number, text: string[]): void {
    if (this.#ahead.has(id)) return;
    if (type.kind === "struct" || type.kind === "union") {
      if (id === container || type.name === "") return;
      text.push(`${type.kind} ${this.#names.ofType(id, type)};\n\n`);
      this.#ahead.add(id);
    } else if (type.kind === "typedef") {
      text.push(this.#typedef(id));
      this.#ahead.add(id);
    }
  }

  #enum(id: number, type: BtfEnum): string {
    const name = this.#names.ofType(id, type);
    const head = name === "" ? "enum" : `enum ${name}`;
    return type.values.length === 0 ? `${head};\n\n` : `${head} ${enumerators(this.#names, type, 0)};\n\n`;
  }

  #typedef(id: number): string {
    const type = this.#btf.type(id);
    // The compiler's own.
    if (type?.kind !== "typedef" || type.name === "__builtin_va_list") return "";
    return `typedef ${this.#declare(type.type, this.#names.ofType(id, type))};\n\n`;
  }

  #declare(id: number, name: string, indent = 0): string {
    this.#budget -= 1;
    if (this.#budget < 0) return INVALID;
    return formatType(this.#btf, id, name, { style: this.#style, indent });
  }

  #body(type: BtfComposite): string {
    return this.#style.body(type, 0);
  }
}

function enumerators(names: Names, type: BtfEnum, indent: number): string {
  const suffix = type.kind === "enum" ? "" : type.isSigned ? "LL" : "ULL";
  const mode = { 1: "byte", 8: "word" }[type.size];
  const tabs = "\t".repeat(indent);
  const lines = type.values.map(
    ({ name, value }) => `${tabs}\t${names.ofValue(name)} = ${value}${suffix},\n`,
  );
  return `{\n${lines.join("")}${tabs}}${mode === undefined ? "" : ` __attribute__((mode(${mode})))`}`;
}

/** Names that were given out: the second of one name gets a number. */
class Names {
  /** Behind struct, union, enum; and by themselves. */
  readonly #tags = new Map<string, number>();
  readonly #identifiers = new Map<string, number>();
  readonly #given = new Map<number, string>();

  ofType(id: number, type: BtfType): string {
    const isDeclaration = type.kind === "fwd" || (type.kind === "enum" && type.values.length === 0);
    if (type.name === "" || isDeclaration || type.kind === "int" || type.kind === "float") return type.name;
    const known =
      this.#given.get(id) ?? numbered(type.kind === "typedef" ? this.#identifiers : this.#tags, type.name);
    this.#given.set(id, known);
    return known;
  }

  ofValue(name: string): string {
    return numbered(this.#identifiers, name);
  }
}

function numbered(counts: Map<string, number>, name: string): string {
  const count = (counts.get(name) ?? 0) + 1;
  counts.set(name, count);
  return count === 1 ? name : `${name}___${count}`;
}
