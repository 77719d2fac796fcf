/** UAPI structures outside user memory: fields by the declarations of abi/uapi, bytes to copy in and out. */
import { Layout, LinearMemory } from "@alien-ts/abi";
import type { Fields, StructDecl, View } from "@alien-ts/abi";

/** UAPI structures have one layout everywhere. */
const layout = Layout.natural();

export interface UapiRecord<F extends Fields> {
  readonly view: View<F>;
  readonly bytes: Uint8Array;
}

/** A zeroed structure. @param sizeBytes its size where that is larger than the declaration's. */
export function makeRecord<F extends Fields>(
  decl: StructDecl<F>,
  sizeBytes: number = layout.of(decl).size,
): UapiRecord<F> {
  const memory = new LinearMemory(new ArrayBuffer(Math.ceil(sizeBytes / 8) * 8));
  return { view: new (layout.view(decl))(memory, 0), bytes: memory.u8.subarray(0, sizeBytes) };
}

/** The structure in `bytes`, copied. */
export function readRecord<F extends Fields>(decl: StructDecl<F>, bytes: Uint8Array): View<F> {
  const { view, bytes: into } = makeRecord(decl);
  into.set(bytes.subarray(0, into.length));
  return view;
}

export const fieldOffset = <F extends Fields>(decl: StructDecl<F>, field: string): number =>
  layout.offset(decl, field);
export const recordSize = <F extends Fields>(decl: StructDecl<F>): number => layout.of(decl).size;
