/**
 * A `Layout` turns struct declarations into offsets for one kernel, once, at boot: `natural` is what a C compiler for a
 * 64-bit target does; `shuffled(seed)` permutes the fields of every struct and adds gaps, to prove that nothing assumes an
 * offset. `view(decl)` is the class whose instances show one object in linear memory; an object holds one for life, since
 * making one per access measured 25 ns against 3 ns. Hot loops read `offset(decl, field)` once.
 */
import type { Accessor, CType, ViewBase } from "./ctype.ts";
import type { KAddr, LinearMemory } from "./memory.ts";
import { type Bits, type Field, type Fields, isCType, type StructDecl, type View } from "./struct.ts";

/** Where a field lies. Bitfields: `offset` is that of the storage unit. */
export interface Placement {
  readonly offset: number;
  readonly size: number;
  readonly bitOffset?: number;
  readonly bitSize?: number;
  readonly field: Field;
}

export interface StructLayout {
  readonly size: number;
  readonly align: number;
  /** By field name; members of anonymous fields included. */
  readonly fields: ReadonlyMap<string, Placement>;
}

export type ViewClass<F extends Fields> = new (m: LinearMemory, addr: KAddr) => View<F>;

/** The order in which a struct's fields are placed, and the gap before each. */
type Arrange = (decl: { readonly fields: Fields; readonly key: string }) => readonly Slot[];
interface Slot {
  readonly name: string;
  readonly field: Field;
  readonly gapBytes: number;
}

export class Layout {
  readonly name: string;
  readonly #arrange: Arrange;
  readonly #layouts = new Map<StructDecl, StructLayout>();
  readonly #views = new Map<StructDecl, ViewClass<Fields>>();

  private constructor(name: string, arrange: Arrange) {
    this.name = name;
    this.#arrange = arrange;
  }

  /** What a C compiler does: fields in order, each at its alignment. */
  static natural(): Layout {
    return new Layout("natural", inOrder);
  }

  /** Fields of every struct that is not ABI in an order drawn from `seed`, with gaps of 0 to 24 bytes between them. */
  static shuffled(seed: number): Layout {
    return new Layout(`shuffled(${seed})`, (decl) => shuffle(decl, seed));
  }

  of<F extends Fields>(decl: StructDecl<F>): StructLayout {
    const known = this.#layouts.get(decl);
    if (known !== undefined) return known;
    const arrange = decl.abi || decl.union ? inOrder : this.#arrange;
    const made = place(decl.fields, decl.union, decl.name, arrange, (d) => this.of(d));
    this.#layouts.set(decl, made);
    return made;
  }

  /** Byte offset of `field`. Throws on a name that the declaration lacks. */
  offset<F extends Fields>(decl: StructDecl<F>, field: string): number {
    const placement = this.of(decl).fields.get(field);
    if (placement === undefined) throw new Error(`struct ${decl.name} has no field ${field}`);
    return placement.offset;
  }

  size(decl: StructDecl): number {
    return this.of(decl).size;
  }

  view<F extends Fields>(decl: StructDecl<F>): ViewClass<F> {
    let made = this.#views.get(decl as StructDecl);
    if (made === undefined) {
      made = viewClass(this, decl as StructDecl);
      this.#views.set(decl as StructDecl, made);
    }
    return made as unknown as ViewClass<F>;
  }
}

const inOrder: Arrange = ({ fields }) =>
  Object.entries(fields).map(([name, field]) => ({ name, field, gapBytes: 0 }));

/** A small generator (mulberry32): layouts are drawn before any kernel exists. */
function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (t ^ (t >>> 14)) >>> 0;
  };
}

function hash(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  return h >>> 0;
}

function shuffle({ fields, key }: { readonly fields: Fields; readonly key: string }, seed: number): Slot[] {
  const next = generator(seed ^ hash(key));
  const groups = bitGroups(Object.entries(fields));
  for (let i = groups.length - 1; i > 0; i--) {
    const j = next() % (i + 1);
    const held = groups[i]!;
    groups[i] = groups[j]!;
    groups[j] = held;
  }
  return groups.flatMap((group) =>
    group.map(([name, field], i) => ({ name, field, gapBytes: i === 0 ? (next() % 4) * 8 : 0 })),
  );
}

/** Neighbouring bitfields share storage, so they move together. */
function bitGroups(entries: [string, Field][]): [string, Field][][] {
  const groups: [string, Field][][] = [];
  for (const entry of entries) {
    const last = groups.at(-1);
    const joins = isBits(entry[1]) && last !== undefined && isBits(last[0]![1]);
    if (joins) last.push(entry);
    else groups.push([entry]);
  }
  return groups;
}

const isBits = (field: Field): field is Bits => "form" in field && field.form === "bits";

const alignUp = (value: number, to: number): number => Math.ceil(value / to) * to;

function place(
  fields: Fields,
  isUnion: boolean,
  key: string,
  arrange: Arrange,
  of: (decl: StructDecl) => StructLayout,
): StructLayout {
  const placed = new Map<string, Placement>();
  let end = 0;
  let align = 1;
  let bitEnd: number | undefined;
  for (const { name, field, gapBytes } of arrange({ fields, key })) {
    if (isBits(field)) {
      const unit = field.type.size * 8;
      let at = bitEnd ?? (isUnion ? 0 : end + gapBytes) * 8;
      if (Math.floor(at / unit) !== Math.floor((at + field.width - 1) / unit)) at = alignUp(at, unit);
      const offset = Math.floor(at / unit) * field.type.size;
      placed.set(name, {
        offset,
        size: field.type.size,
        bitOffset: at - offset * 8,
        bitSize: field.width,
        field,
      });
      bitEnd = isUnion ? undefined : at + field.width;
      end = Math.max(end, Math.ceil((at + field.width) / 8));
      align = Math.max(align, field.type.align);
      continue;
    }
    bitEnd = undefined;
    const inner = innerLayout(field, `${key}.${name}`, arrange, of);
    const size = isCType(field) ? field.size : inner!.size;
    const need = isCType(field) ? field.align : inner!.align;
    const offset = isUnion ? 0 : alignUp(end + gapBytes, need);
    placed.set(name, { offset, size, field });
    if (!isCType(field) && field.form === "anonymous")
      for (const [member, p] of inner!.fields) placed.set(member, { ...p, offset: p.offset + offset });
    end = Math.max(end, offset + size);
    align = Math.max(align, need);
  }
  return { size: alignUp(Math.max(end, 1), align), align, fields: placed };
}

function innerLayout(
  field: Field,
  key: string,
  arrange: Arrange,
  of: (decl: StructDecl) => StructLayout,
): StructLayout | undefined {
  if (isCType(field) || isBits(field)) return undefined;
  if (field.form === "nested") return of(field.decl);
  return place(field.fields, field.union, key, field.union ? inOrder : arrange, of);
}

function viewClass(layout: Layout, decl: StructDecl): ViewClass<Fields> {
  class StructView implements ViewBase {
    // Declared, not defined: defining a field before assigning it makes a view three times as dear.
    declare readonly m: LinearMemory;
    declare readonly addr: KAddr;
    constructor(m: LinearMemory, addr: KAddr) {
      this.m = m;
      this.addr = addr;
    }
  }
  for (const [name, placement] of layout.of(decl).fields) {
    const accessor = accessorOf(layout, placement);
    if (accessor !== undefined) Object.defineProperty(StructView.prototype, name, accessor);
  }
  Object.defineProperty(StructView, "name", { value: `struct ${decl.name}` });
  return StructView as unknown as ViewClass<Fields>;
}

function accessorOf(layout: Layout, { offset, field, bitOffset, bitSize }: Placement): Accessor | undefined {
  if (isCType(field)) return (field as CType).define(offset);
  if (field.form === "bits") return bitAccessor(field.type, offset, bitOffset ?? 0, bitSize ?? 0);
  if (field.form === "anonymous") return undefined;
  const decl = field.decl;
  return {
    get() {
      return new (layout.view(decl))(this.m, this.addr + offset);
    },
  };
}

function bitAccessor(type: CType<number>, offset: number, shift: number, width: number): Accessor {
  const unit = type.define(offset) as { get(this: ViewBase): number; set(this: ViewBase, v: number): void };
  const mask = width === 32 ? 0xffff_ffff : 2 ** width - 1;
  return {
    get() {
      const raw = Math.floor((unit.get.call(this) >>> 0) / 2 ** shift) % 2 ** width;
      return type.signed && raw >= 2 ** (width - 1) ? raw - 2 ** width : raw;
    },
    set(v: number) {
      const kept = (unit.get.call(this) >>> 0) & ~((mask << shift) >>> 0);
      unit.set.call(this, (kept | ((v & mask) << shift)) >>> 0);
    },
  };
}
