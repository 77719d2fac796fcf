/**
 * `struct()` declares a C type once: its name and fields, with Linux's names. Offsets are no part of the declaration: a
 * `Layout` (layout.ts) gives them. `abiStruct()` is for types whose bytes are fixed by the ABI (UAPI, pt_regs, BPF contexts,
 * ring headers): every layout places them naturally.
 *
 * Fields are C types, or one of the field forms below: `nested(decl)`, `anonymous(kind, fields)` (members belong to the
 * enclosing type, as in C), `bits(type, width)`. Pointers name their target, so types may refer to each other.
 */
import { type CType, type ViewBase, u32 } from "./ctype.ts";

export interface Nested<F extends Fields = Fields> {
  readonly form: "nested";
  readonly decl: StructDecl<F>;
}
export interface Anonymous<F extends Fields = Fields> {
  readonly form: "anonymous";
  readonly union: boolean;
  readonly fields: F;
}
export interface Bits {
  readonly form: "bits";
  readonly type: CType<number>;
  readonly width: number;
}

export type Field = CType<never> | CType | Nested | Anonymous | Bits;
export interface Fields {
  readonly [name: string]: Field;
}

export interface StructDecl<F extends Fields = Fields> {
  readonly name: string;
  readonly fields: F;
  readonly union: boolean;
  /** Bytes fixed by the ABI: no layout moves its fields. */
  readonly abi: boolean;
  /** C knows it by a typedef alone: `typedef struct { … } kuid_t`. */
  readonly isTypedef?: true;
}

type FieldValue<X> =
  X extends CType<infer T>
    ? T
    : X extends Nested<infer F>
      ? View<F>
      : X extends Bits
        ? number
        : X extends Anonymous
          ? never
          : never;

type PlainKeys<F extends Fields> = { [K in keyof F]: F[K] extends Anonymous ? never : K }[keyof F];
type AnonymousKeys<F extends Fields> = { [K in keyof F]: F[K] extends Anonymous ? K : never }[keyof F];
type Merge<U> = (U extends unknown ? (x: U) => void : never) extends (x: infer I) => void ? I : unknown;

/** The fields of a declaration as properties of a view; members of anonymous fields are its own. */
export type FieldsOf<F extends Fields> = { -readonly [K in PlainKeys<F>]: FieldValue<F[K]> } & Merge<
  { [K in AnonymousKeys<F>]: F[K] extends Anonymous<infer G> ? FieldsOf<G> : unknown }[AnonymousKeys<F>]
>;

export type View<F extends Fields> = ViewBase & FieldsOf<F>;
export type ViewOf<S> = S extends StructDecl<infer F> ? View<F> : never;

export function struct<const F extends Fields>(name: string, fields: F): StructDecl<F> {
  return { name, fields, union: false, abi: false };
}

export function abiStruct<const F extends Fields>(name: string, fields: F): StructDecl<F> {
  return { name, fields, union: false, abi: true };
}

/** A struct without a tag, which C knows by a typedef. */
export function typedefStruct<const F extends Fields>(name: string, fields: F): StructDecl<F> {
  return { name, fields, union: false, abi: false, isTypedef: true };
}

/** A named union. */
export function union<const F extends Fields>(name: string, fields: F): StructDecl<F> {
  return { name, fields, union: true, abi: false };
}

export const nested = <F extends Fields>(decl: StructDecl<F>): Nested<F> => ({ form: "nested", decl });

export const anonymousUnion = <const F extends Fields>(fields: F): Anonymous<F> => ({
  form: "anonymous",
  union: true,
  fields,
});
export const anonymousStruct = <const F extends Fields>(fields: F): Anonymous<F> => ({
  form: "anonymous",
  union: false,
  fields,
});

/** A bitfield of `width` bits in units of `type`. */
export const bits = (width: number, type: CType<number> = u32): Bits => ({ form: "bits", type, width });

export const isCType = (field: Field): field is CType => !("form" in field);
