/**
 * BTF of declarations: what a kernel tells of itself, made of the rows that it is made of.
 *
 *     const types = new DeclaredTypes(layout);
 *     types.declare(task_struct);
 *     types.addFunction({ name: "vfs_read", params: [["file", { c: "struct file *" }], …], ret: { c: "ssize_t" } });
 *     const blob = types.build();
 *
 * Structures have the offsets of the layout. A type is written when something names it; a structure that nobody declared is a
 * forward declaration. The same declarations in the same order give the same bytes, and as many of them in every layout.
 */
import { type CType, type Field, isCType, type Layout, type Placement, type StructDecl } from "@alien-ts/abi";
import type { BtfEnumerator, BtfLinkage, BtfMember, BtfParam, BtfSectionVar } from "../types.ts";
import { TypeInterner } from "./interner.ts";
import { type BaseType, INTS, parseSpelling, type Qualifier, TYPEDEFS } from "./spelling.ts";

/** A type as a row has it: its C spelling, and where there is one the C type itself. */
export type DeclaredType = { readonly c: string } & Partial<
  Pick<CType, "kind" | "element" | "length" | "tag">
>;

export interface DeclaredFunction {
  readonly name: string;
  readonly params: readonly (readonly [name: string, type: DeclaredType])[];
  readonly ret: DeclaredType;
  /** Declaration tags of the function: `bpf_kfunc`. */
  readonly tags?: readonly string[];
}

export interface DeclaredEnum {
  readonly name: string;
  readonly values: readonly BtfEnumerator[];
}

export interface DeclaredVariable {
  readonly name: string;
  readonly type: DeclaredType;
  readonly linkage: BtfLinkage;
  readonly offset: number;
  readonly size: number;
}

const MAX_U32 = 0xffff_ffffn;

export class DeclaredTypes {
  readonly #layout: Layout;
  readonly #types = new TypeInterner();
  /** By spelling and tag. */
  readonly #spellings = new Map<string, number>();
  readonly #declared = new Map<string, StructDecl>();
  readonly #structs = new Map<StructDecl, number>();
  readonly #typedefs = new Map<string, string>(Object.entries(TYPEDEFS));
  readonly #enums = new Map<string, DeclaredEnum>();

  constructor(layout: Layout) {
    this.#layout = layout;
  }

  /** Makes structures known by their names, before any of them is written. Throws where two have one name. */
  declare(decls: Iterable<StructDecl>): void {
    const fresh = [...decls].filter((decl) => {
      const known = this.#declared.get(decl.name);
      if (known !== undefined && known !== decl) throw new Error(`two structures are called ${decl.name}`);
      this.#declared.set(decl.name, decl);
      return known === undefined;
    });
    for (const decl of fresh) this.#struct(decl);
  }

  /** Types that programs expect of every kernel's header: `u64`, `pid_t`, `__be32`. */
  addCommonTypedefs(): void {
    for (const name of Object.keys(TYPEDEFS)) this.#named({ kind: "typedef", name });
  }

  addTypedef(name: string, target: string): number {
    this.#typedefs.set(name, target);
    return this.#named({ kind: "typedef", name });
  }

  addEnum(decl: DeclaredEnum): number {
    this.#enums.set(decl.name, decl);
    const isSigned = decl.values.some(({ value }) => value < 0n);
    const isWide = decl.values.some(({ value }) => value > MAX_U32 || value < -0x8000_0000n);
    return this.#types.add({ kind: isWide ? "enum64" : "enum", size: isWide ? 8 : 4, isSigned, ...decl });
  }

  /** Id of the FUNC. */
  addFunction({ name, params, ret, tags = [] }: DeclaredFunction): number {
    const id = this.#types.add({
      kind: "func",
      name,
      type: this.#prototype(params, ret),
      linkage: "static",
    });
    for (const tag of tags) this.#types.add({ kind: "decl_tag", name: tag, type: id, component: -1 });
    return id;
  }

  /** What attaches to a tracepoint by BTF: `typedef void (*btf_trace_NAME)(void *, …)`. */
  addTracepoint(name: string, params: readonly DeclaredType[]): number {
    const nameless = [{ c: "void *" }, ...params].map((type) => ["", type] as const);
    const prototype = this.#prototype(nameless, { c: "void" });
    const pointer = this.#types.add({ kind: "ptr", name: "", type: prototype });
    return this.#types.add({ kind: "typedef", name: `btf_trace_${name}`, type: pointer });
  }

  addSection(name: string, size: number, variables: readonly DeclaredVariable[]): number {
    const vars = variables.map(({ name: variable, type, linkage, ...place }): BtfSectionVar => {
      const of = this.#type(type);
      return { ...place, type: this.#types.add({ kind: "var", name: variable, type: of, linkage }) };
    });
    return this.#types.add({ kind: "datasec", name, size, vars });
  }

  build(): Uint8Array {
    return this.#types.build();
  }

  #prototype(params: DeclaredFunction["params"], ret: DeclaredType): number {
    const typed = params.map(([name, type]): BtfParam => ({ name, type: this.#type(type) }));
    return this.#types.add({ kind: "func_proto", name: "", type: this.#type(ret), params: typed });
  }

  #type({ c, kind, element, length, tag }: DeclaredType): number {
    if (kind === "array" && element !== undefined) {
      const of = this.#type(element.c === c ? element : { c });
      const index = this.#type({ c: "unsigned long" });
      return this.#types.add({ kind: "array", name: "", element: of, index, count: length ?? 0 });
    }
    return this.#spelled(c, kind === "userptr" ? "user" : tag);
  }

  /** @param tag of what the outermost pointer points to. */
  #spelled(c: string, tag: string | undefined): number {
    const key = tag === undefined ? c : `${c} ${tag}`;
    const known = this.#spellings.get(key) ?? this.#make(c, tag);
    this.#spellings.set(key, known);
    return known;
  }

  #make(c: string, tag: string | undefined): number {
    const { base, qualifiers } = parseSpelling(c);
    const [ofBase = [], ...ofPointers] = qualifiers;
    let id = this.#qualified(this.#named(base), ofBase);
    ofPointers.forEach((pointer, i) => {
      if (tag !== undefined && i === ofPointers.length - 1)
        id = this.#types.add({ kind: "type_tag", name: tag, type: id });
      id = this.#qualified(this.#types.add({ kind: "ptr", name: "", type: id }), pointer);
    });
    return id;
  }

  #qualified(type: number, qualifiers: readonly Qualifier[]): number {
    return qualifiers.reduce((of, kind) => this.#types.add({ kind, name: "", type: of }), type);
  }

  #named(base: BaseType): number {
    switch (base.kind) {
      case "void":
        return 0;
      case "int":
        return this.#int(base.name);
      case "typedef":
        return this.#typedef(base.name);
      case "enum": {
        const decl = this.#enums.get(base.name);
        if (decl === undefined) throw new Error(`enum ${base.name} is not declared`);
        return this.addEnum(decl);
      }
      default: {
        const decl = this.#declared.get(base.name);
        if (decl !== undefined) return this.#struct(decl);
        return this.#types.add({ kind: "fwd", name: base.name, isUnion: base.kind === "union" });
      }
    }
  }

  #int(name: string): number {
    const facts = INTS[name];
    if (facts === undefined) throw new Error(`'${name}' is not an integer`);
    const { size, isSigned } = facts;
    const isBool = name === "_Bool";
    return this.#types.add({
      kind: "int",
      name,
      size,
      bits: size * 8,
      offset: 0,
      isSigned,
      isChar: false,
      isBool,
    });
  }

  #typedef(name: string): number {
    const decl = this.#declared.get(name);
    if (decl?.isTypedef === true) return this.#struct(decl);
    const target = this.#typedefs.get(name);
    if (target === undefined) throw new Error(`type ${name} is not declared`);
    return this.#types.add({ kind: "typedef", name, type: this.#spelled(target, undefined) });
  }

  /** Id of a declared structure: of its typedef, where C knows it by one. */
  #struct(decl: StructDecl): number {
    const known = this.#structs.get(decl);
    if (known !== undefined) return known;
    const id = this.#types.reserve();
    this.#structs.set(decl, id);
    const { size, fields } = this.#layout.of(decl);
    const content = { size, members: this.#members(decl.fields, fields, 0) };
    const kind = decl.union ? "union" : "struct";
    if (decl.isTypedef === true) {
      const anonymous = this.#types.reserve();
      this.#types.set(anonymous, { kind, name: "", ...content });
      this.#types.set(id, { kind: "typedef", name: decl.name, type: anonymous });
    } else this.#types.set(id, { kind, name: decl.name, ...content });
    return id;
  }

  /** Members in the order in which they lie. @param base offset of what they are members of. */
  #members(
    fields: Readonly<Record<string, Field>>,
    placed: ReadonlyMap<string, Placement>,
    base: number,
  ): BtfMember[] {
    return Object.entries(fields)
      .map(([name, field]) => {
        const place = placed.get(name)!;
        const isAnonymous = !isCType(field) && field.form === "anonymous";
        return {
          name: isAnonymous ? "" : name,
          type: this.#field(field, place, placed),
          bitOffset: (place.offset - base) * 8 + (place.bitOffset ?? 0),
          bitSize: place.bitSize ?? 0,
        };
      })
      .sort((a, b) => a.bitOffset - b.bitOffset);
  }

  #field(field: Field, place: Placement, placed: ReadonlyMap<string, Placement>): number {
    if (isCType(field)) return this.#type(field);
    switch (field.form) {
      case "bits":
        return this.#type(field.type);
      case "nested":
        return this.#struct(field.decl);
      case "anonymous": {
        const id = this.#types.reserve();
        const members = this.#members(field.fields, placed, place.offset);
        this.#types.set(id, { kind: field.union ? "union" : "struct", name: "", size: place.size, members });
        return id;
      }
    }
  }
}
