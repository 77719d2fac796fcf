/**
 * Structures in user memory, seen through the declarations of abi/uapi: `readStruct` copies one out, `StructBlock` is one
 * in the heap that a system call fills or reads.
 */
import { type Fields, Layout, LinearMemory, type StructDecl, type UAddr, type View } from "@alien-ts/abi";
import type { Process } from "./process.ts";

/** UAPI structures have one layout everywhere; this one places them. */
const layout = Layout.natural();

export const sizeOf = <F extends Fields>(decl: StructDecl<F>): number => layout.of(decl).size;

/** A fresh zeroed structure outside user memory, and its bytes. */
export function makeStruct<F extends Fields>(
  decl: StructDecl<F>,
): { readonly view: View<F>; readonly bytes: Uint8Array } {
  const size = sizeOf(decl);
  const memory = new LinearMemory(new ArrayBuffer(Math.ceil(size / 8) * 8));
  return { view: new (layout.view(decl))(memory, 0), bytes: memory.u8.subarray(0, size) };
}

export function readStruct<F extends Fields>(process: Process, decl: StructDecl<F>, addr: UAddr): View<F> {
  const { view, bytes } = makeStruct(decl);
  bytes.set(process.memory.read(addr, bytes.length));
  return view;
}

/** Runs `body` with a block of the heap that is freed afterwards. */
export async function withBlock<T>(
  process: Process,
  size: number,
  body: (addr: UAddr) => Promise<T>,
): Promise<T> {
  const addr = await process.malloc(size);
  try {
    return await body(addr);
  } finally {
    await process.free(addr);
  }
}

/** Runs `body` with a C string in the heap. */
export async function withString<T>(
  process: Process,
  text: string,
  body: (addr: UAddr) => T | Promise<T>,
): Promise<T> {
  const addr = await process.allocString(text);
  try {
    return await body(addr);
  } finally {
    await process.free(addr);
  }
}

/** Makes a call that fills a structure; its negated errno, or the structure. */
export async function fill<F extends Fields>(
  process: Process,
  decl: StructDecl<F>,
  call: (addr: UAddr) => number | Promise<number>,
): Promise<View<F> | number> {
  return withBlock(process, sizeOf(decl), async (addr) => {
    const result = await call(addr);
    return result < 0 ? result : readStruct(process, decl, addr);
  });
}

/** Copies a structure into the heap for the time of a call. */
export async function pass<F extends Fields>(
  process: Process,
  decl: StructDecl<F>,
  set: (view: View<F>) => void,
  call: (addr: UAddr) => number | Promise<number>,
): Promise<number> {
  const { view, bytes } = makeStruct(decl);
  set(view);
  return withBlock(process, bytes.length, async (addr) => {
    process.memory.write(addr, bytes);
    return call(addr);
  });
}
