/**
 * How keys and values of maps become TypeScript values: a codec knows its size, and reads and writes that many bytes.
 *
 * `struct({ pid: u32, nr: u32 })` lays its fields out as C does: each at its alignment, padding zero.
 */
import { cString, utf8Encode } from "@alien-ts/abi";

export interface Codec<T> {
  readonly size: number;
  readonly align: number;
  /** @param at offset in `view`. */
  decode(view: DataView, at: number): T;
  /** The bytes are zero before. */
  encode(view: DataView, at: number, value: T): void;
}

export type Decoded<C> = C extends Codec<infer T> ? T : never;

const scalar = <T>(size: number, decode: Codec<T>["decode"], encode: Codec<T>["encode"]): Codec<T> => ({
  size,
  align: size,
  decode,
  encode,
});

export const u8 = scalar<number>(
  1,
  (view, at) => view.getUint8(at),
  (view, at, value) => view.setUint8(at, value),
);
export const u16 = scalar<number>(
  2,
  (view, at) => view.getUint16(at, true),
  (view, at, value) => view.setUint16(at, value, true),
);
export const u32 = scalar<number>(
  4,
  (view, at) => view.getUint32(at, true),
  (view, at, value) => view.setUint32(at, value, true),
);
export const i32 = scalar<number>(
  4,
  (view, at) => view.getInt32(at, true),
  (view, at, value) => view.setInt32(at, value, true),
);
export const u64 = scalar<bigint>(
  8,
  (view, at) => view.getBigUint64(at, true),
  (view, at, value) => view.setBigUint64(at, value, true),
);
export const i64 = scalar<bigint>(
  8,
  (view, at) => view.getBigInt64(at, true),
  (view, at, value) => view.setBigInt64(at, value, true),
);

const TWO_32 = 0x1_0000_0000;

/** An unsigned 64-bit counter as a number: exact to 2^53. */
export const count64 = scalar<number>(
  8,
  (view, at) => view.getUint32(at + 4, true) * TWO_32 + view.getUint32(at, true),
  (view, at, value) => {
    view.setUint32(at, value % TWO_32, true);
    view.setUint32(at + 4, Math.floor(value / TWO_32), true);
  },
);

/** Bytes of a fixed length, copied. */
export const bytes = (size: number): Codec<Uint8Array> => ({
  size,
  align: 1,
  decode: (view, at) => new Uint8Array(view.buffer, view.byteOffset + at, size).slice(),
  encode: (view, at, value) => {
    if (value.length !== size) throw new RangeError(`expected ${size} bytes, found ${value.length}`);
    new Uint8Array(view.buffer, view.byteOffset + at, size).set(value);
  },
});

/** A NUL-padded string in an array of `size` bytes. */
export const chars = (size: number): Codec<string> => ({
  size,
  align: 1,
  decode: (view, at) => cString(new Uint8Array(view.buffer, view.byteOffset + at, size)),
  encode: (view, at, value) =>
    new Uint8Array(view.buffer, view.byteOffset + at, size).set(utf8Encode(value).subarray(0, size)),
});

export function array<T>(element: Codec<T>, length: number): Codec<T[]> {
  return {
    size: element.size * length,
    align: element.align,
    decode: (view, at) =>
      Array.from({ length }, (_, index) => element.decode(view, at + index * element.size)),
    encode: (view, at, value) => {
      if (value.length !== length) throw new RangeError(`expected ${length} elements, found ${value.length}`);
      value.forEach((item, index) => element.encode(view, at + index * element.size, item));
    },
  };
}

type Shape = Readonly<Record<string, Codec<unknown>>>;
type Fields<S> = { readonly [K in keyof S]: Decoded<S[K]> };

export function struct<const S extends Record<string, Codec<never> | Codec<unknown>>>(
  shape: S,
): Codec<Fields<S>> {
  const fields: { name: string; at: number; codec: Codec<unknown> }[] = [];
  let at = 0;
  let align = 1;
  for (const [name, codec] of Object.entries(shape as Shape)) {
    at = roundUp(at, codec.align);
    fields.push({ name, at, codec });
    at += codec.size;
    align = Math.max(align, codec.align);
  }
  return {
    size: roundUp(at, align),
    align,
    decode: (view, base) =>
      Object.fromEntries(
        fields.map((field) => [field.name, field.codec.decode(view, base + field.at)]),
      ) as Fields<S>,
    encode: (view, base, value) => {
      const record: Readonly<Record<string, unknown>> = value;
      for (const field of fields) field.codec.encode(view, base + field.at, record[field.name]);
    },
  };
}

export function encodeValue<T>(codec: Codec<T>, value: T): Uint8Array {
  const out = new Uint8Array(codec.size);
  codec.encode(new DataView(out.buffer), 0, value);
  return out;
}

export const decodeValue = <T>(codec: Codec<T>, from: Uint8Array): T =>
  codec.decode(new DataView(from.buffer, from.byteOffset, from.byteLength), 0);

const roundUp = (value: number, unit: number): number => Math.ceil(value / unit) * unit;
