/** BTF made of sections: what old-style cases carry, and structures that exist by name alone. */
import { BtfError, parseBtf } from "@alien-ts/btf";
import type { Btf } from "@alien-ts/btf";

const HEADER_BYTES = 24;
const STRUCT_KIND = 4;

/** Puts a header before the sections of types and strings. Throws a BtfError where they are not valid. */
export function assembleBtf(types: Uint8Array, strings: Uint8Array): Btf {
  const blob = new Uint8Array(HEADER_BYTES + types.length + strings.length);
  const view = new DataView(blob.buffer);
  view.setUint16(0, 0xeb9f, true);
  view.setUint8(2, 1);
  view.setUint32(4, HEADER_BYTES, true);
  view.setUint32(12, types.length, true);
  view.setUint32(16, types.length, true);
  view.setUint32(20, strings.length, true);
  blob.set(types, HEADER_BYTES);
  blob.set(strings, HEADER_BYTES + types.length);
  const parsed = parseBtf(blob);
  if (parsed instanceof BtfError) throw parsed;
  return parsed;
}

/** Structures of 8 bytes without members, and their ids. */
export function structures(names: readonly string[]): {
  readonly btf: Btf;
  readonly types: readonly number[];
} {
  const types = new Uint8Array(12 * names.length);
  const view = new DataView(types.buffer);
  let text = "\0";
  names.forEach((name, i) => {
    view.setUint32(12 * i, text.length, true);
    view.setUint32(12 * i + 4, STRUCT_KIND << 24, true);
    view.setUint32(12 * i + 8, 8, true);
    text += `${name}\0`;
  });
  const btf = assembleBtf(types, new TextEncoder().encode(text));
  return { btf, types: names.map((_, i) => i + 1) };
}
