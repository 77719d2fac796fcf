/**
 * BTF from declarations in C, as small as tests need it: structures, unions, enumerations, names of types, functions, variables, tags.
 *
 * `declare("struct a { int x; struct b *y; }; int f(struct a *p__sz);")`. Known without declaration: int, u8, u16, u32, u64, u128, void, char.
 * `struct a;` says that there is one; a structure that is declared twice is two types. Functions are static but where `global` stands before them; members and parameters may be pointers to functions,
 * `int (*less)(struct a *x)`. Tags: `__tag(kptr)` behind `*` tags what is pointed to;
 * `__contains(type, member)` behind a member makes it a list of such; `__thrown(f)` behind a function makes `f` run when it throws;
 * `__arg(nonnull)` behind a parameter is a tag of it.
 * `percpu` before a variable: each processor has its own.
 */
import { BtfBuilder, BtfError, parseBtf } from "@alien-ts/btf";
import type { Btf, BtfMember, BtfParam } from "@alien-ts/btf";

const NUMBERS: Record<string, { readonly size: number; readonly isSigned: boolean }> = {
  char: { size: 1, isSigned: true },
  u8: { size: 1, isSigned: false },
  int: { size: 4, isSigned: true },
  u16: { size: 2, isSigned: false },
  u32: { size: 4, isSigned: false },
  u64: { size: 8, isSigned: false },
  u128: { size: 16, isSigned: false },
};

const PER_CPU = { kind: "datasec", name: ".data..percpu" } as const;

type Composite = "struct" | "union";
const isComposite = (word: string): word is Composite => word === "struct" || word === "union";

export function declare(text: string): Btf {
  const parsed = parseBtf(new Declarations(text).build());
  if (parsed instanceof BtfError) throw parsed;
  return parsed;
}

class Declarations {
  readonly #builder = new BtfBuilder();
  readonly #ids = new Map<string, number>();
  readonly #sizes = new Map<number, number>();
  /** What has its members. */
  readonly #complete = new Set<number>();
  readonly #tokens: readonly string[];
  /** Tags of the parameters that were read last. */
  #tags: readonly (readonly [component: number, name: string])[] = [];
  readonly #perCpu: { type: number; offset: number; size: number }[] = [];
  #at = 0;

  constructor(text: string) {
    this.#tokens = text.match(/[A-Za-z_]\w*|\d+|[{}()[\];,*]/g) ?? [];
  }

  build(): Uint8Array {
    while (this.#at < this.#tokens.length) {
      const [word, third] = [this.#peek(), this.#tokens[this.#at + 2]];
      if (isComposite(word) && third === "{") this.#composite(word);
      else if (isComposite(word) && third === ";") this.#forward(word);
      else if (word === "enum" && third === "{") this.#enumeration();
      else if (word === "typedef") this.#typedef();
      else this.#functionOrVariable();
    }
    if (this.#perCpu.length > 0) this.#builder.add({ ...PER_CPU, size: 0, vars: this.#perCpu });
    return this.#builder.build();
  }

  #peek(): string {
    return this.#tokens[this.#at] ?? "";
  }

  #next(expected?: string): string {
    const token = this.#peek();
    if (expected !== undefined && token !== expected) throw new Error(`expected ${expected}, found ${token}`);
    this.#at += 1;
    return token;
  }

  #known(key: string, make: () => number): number {
    const id = this.#ids.get(key) ?? make();
    this.#ids.set(key, id);
    return id;
  }

  #number(name: string): number {
    const row = NUMBERS[name];
    if (row === undefined) throw new Error(`${name} is not a type`);
    const { size, isSigned } = row;
    return this.#known(name, () => {
      const bits = size * 8;
      const rest = { bits, offset: 0, isChar: false, isBool: false };
      const id = this.#builder.add({ kind: "int", name, size, isSigned, ...rest });
      this.#sizes.set(id, size);
      return id;
    });
  }

  /** A structure that is named before it is declared is empty until then. */
  #named(kind: Composite, name: string): number {
    return this.#known(`${kind} ${name}`, () => this.#builder.add({ kind, name, size: 0, members: [] }));
  }

  /** What is only named. */
  #forward(kind: Composite): void {
    this.#next();
    const name = this.#next();
    this.#known(`${kind} ${name}`, () => this.#builder.add({ kind: "fwd", name, isUnion: kind === "union" }));
    this.#next(";");
  }

  #enumeration(): void {
    this.#next();
    const name = this.#next();
    const values: { name: string; value: bigint }[] = [];
    this.#next("{");
    while (this.#peek() !== "}") {
      if (this.#peek() === ",") this.#next();
      values.push({ name: this.#next(), value: BigInt(values.length) });
    }
    this.#next("}");
    this.#next(";");
    const id = this.#builder.add({ kind: "enum", name, size: 4, isSigned: false, values });
    this.#ids.set(`enum ${name}`, id);
    this.#sizes.set(id, 4);
  }

  /** A type by its name. */
  #base(): number {
    const word = this.#next();
    if (word === "void") return 0;
    if (isComposite(word)) return this.#named(word, this.#next());
    const name = word === "enum" ? `enum ${this.#next()}` : `typedef ${word}`;
    return this.#ids.get(name) ?? this.#number(word);
  }

  #type(): number {
    while (this.#peek() === "const") this.#next();
    let id = this.#base();
    while (this.#peek() === "*") {
      this.#next();
      if (this.#peek() === "__tag") id = this.#builder.add({ kind: "type_tag", name: this.#tag(), type: id });
      id = this.#builder.add({ kind: "ptr", name: "", type: id });
      this.#sizes.set(id, 8);
    }
    return id;
  }

  #tag(): string {
    this.#next();
    this.#next("(");
    const name = this.#next();
    this.#next(")");
    return name;
  }

  #composite(kind: Composite): void {
    this.#next(kind);
    const name = this.#next();
    if (this.#complete.has(this.#named(kind, name))) this.#ids.delete(`${kind} ${name}`);
    const id = this.#named(kind, name);
    this.#complete.add(id);
    const members: BtfMember[] = [];
    const contains: [number, string][] = [];
    let size = 0;
    this.#next("{");
    while (this.#peek() !== "}") {
      let { type, name: member } = this.#declarator();
      if (this.#peek() === "[") type = this.#array(type);
      const bytes = this.#sizes.get(type) ?? 0;
      size = Math.ceil(size / Math.min(bytes || 1, 8)) * Math.min(bytes || 1, 8);
      if (this.#peek() === "__contains") contains.push([members.length, this.#contains()]);
      members.push({ name: member, type, bitOffset: kind === "union" ? 0 : size * 8, bitSize: 0 });
      size = kind === "union" ? Math.max(size, bytes) : size + bytes;
      this.#next(";");
    }
    this.#next("}");
    this.#next(";");
    this.#builder.set(id, { kind, name, size, members });
    this.#sizes.set(id, size);
    for (const [component, tag] of contains)
      this.#builder.add({ kind: "decl_tag", name: tag, type: id, component });
  }

  #typedef(): void {
    this.#next("typedef");
    const type = this.#type();
    const name = this.#next();
    const id = this.#builder.add({ kind: "typedef", name, type });
    this.#ids.set(`typedef ${name}`, id);
    this.#sizes.set(id, this.#sizes.get(type) ?? 0);
    this.#next(";");
  }

  #contains(): string {
    this.#next();
    this.#next("(");
    const type = this.#next();
    this.#next(",");
    const member = this.#next();
    this.#next(")");
    return `contains:${type}:${member}`;
  }

  #array(element: number): number {
    this.#next("[");
    const count = Number(this.#next());
    this.#next("]");
    const id = this.#builder.add({ kind: "array", name: "", element, index: this.#number("int"), count });
    this.#sizes.set(id, (this.#sizes.get(element) ?? 0) * count);
    return id;
  }

  /** A type with the name that it gives to something, or "". */
  #declarator(): BtfParam {
    const type = this.#type();
    if (this.#peek() !== "(") return { name: /^\w/.test(this.#peek()) ? this.#next() : "", type };
    this.#next("(");
    this.#next("*");
    const name = this.#next();
    this.#next(")");
    const prototype = this.#builder.add({ kind: "func_proto", name: "", type, params: this.#parameters() });
    const pointer = this.#builder.add({ kind: "ptr", name: "", type: prototype });
    this.#sizes.set(pointer, 8);
    return { name, type: pointer };
  }

  /** What stands in parentheses behind a function's name; `void` is nothing. */
  #parameters(): readonly BtfParam[] {
    const params: BtfParam[] = [];
    const tags: [number, string][] = [];
    this.#next("(");
    while (this.#peek() !== ")") {
      if (this.#peek() === ",") this.#next();
      params.push(this.#declarator());
      while (this.#peek() === "__arg") tags.push([params.length - 1, `arg:${this.#tag()}`]);
    }
    this.#next(")");
    this.#tags = tags;
    return params.length === 1 && params[0]!.type === 0 ? [] : params;
  }

  #functionOrVariable(): void {
    const isGlobal = this.#peek() === "global";
    const isPerCpu = this.#peek() === "percpu";
    if (isGlobal || isPerCpu) this.#next();
    const type = this.#type();
    const name = this.#next();
    if (this.#peek() === ";") {
      this.#next();
      const variable = this.#builder.add({ kind: "var", name, type, linkage: "global" });
      if (isPerCpu) this.#perCpu.push({ type: variable, offset: 0, size: this.#sizes.get(type) ?? 0 });
      return;
    }
    const params = this.#parameters();
    const tags = this.#tags;
    const callbacks: string[] = [];
    while (this.#peek() === "__thrown") callbacks.push(this.#tag());
    this.#next(";");
    const func = this.#builder.add({
      kind: "func",
      name,
      type: this.#builder.add({ kind: "func_proto", name: "", type, params }),
      linkage: isGlobal ? "global" : "static",
    });
    for (const [component, tag] of tags)
      this.#builder.add({ kind: "decl_tag", name: tag, type: func, component });
    for (const callback of callbacks) {
      const tag = { kind: "decl_tag", name: `exception_callback:${callback}`, component: -1 } as const;
      this.#builder.add({ ...tag, type: func });
    }
  }
}
