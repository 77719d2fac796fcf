/**
 * Lookups in maps as WebAssembly: of arrays inline, of hash maps inline or by a function per map. Interface: `emitMapLookup`;
 * for other operations (map-writes.ts) `knownMap`, `hasFastKey`, `emitSearch`, `mapFunction`.
 *
 * The hash is MurmurHash3 over the key's words, the table a bucket array with links (options.ts): the map's implementation
 * and this must agree, which a test of both sides over one memory shows.
 */
import type { KAddr } from "@alien-ts/abi";
import { OP, VALUE } from "@alien-ts/wasm-encoder";
import type { ValueType } from "@alien-ts/wasm-encoder";
import { Emitter } from "./emitter.ts";
import { pushAddress } from "./memory.ts";
import type { ModuleContext } from "./module-context.ts";
import { HASH_LINK, MURMUR } from "./options.ts";
import type { ArrayShape, HashShape, MapShape } from "./options.ts";
import type { Site } from "./site.ts";

const MOST_KEY_BYTES = 64;

/** A map that is known where the program is compiled. */
export interface KnownMap {
  readonly address: KAddr;
  readonly shape: MapShape;
}

/** The map whose address r1 is known to hold. */
export function knownMap({ e, module }: Site): KnownMap | undefined {
  const address = e.knownAddress(1);
  const shape = address === undefined ? undefined : module.options.mapAt?.(address);
  return address === undefined || shape === undefined ? undefined : { address, shape };
}

export const hasFastKey = ({ keyBytes }: HashShape): boolean =>
  keyBytes % 4 === 0 && keyBytes <= MOST_KEY_BYTES;

/** Emits `r0 = map_lookup_elem(r1, r2)` where r1 is a map that is known and can be looked up here; false otherwise. */
export function emitMapLookup(site: Site): boolean {
  const { e, module } = site;
  const known = knownMap(site);
  if (known === undefined || known.shape.kind === "ring") return false;
  const { address, shape } = known;
  if (shape.kind === "array") {
    lookUpArray(site, shape);
    return true;
  }
  // A checked program's key would have to be validated as a whole.
  const { keyBytes } = shape;
  if (!hasFastKey(shape) || (module.isChecked && keyBytes > 8)) return false;
  const offset = pushAddress(site, { register: 2, offset: 0, info: Math.min(keyBytes, 8) });
  // Inline it is faster by the call, a quarter of a lookup; with long keys or many lookups the code would grow.
  if (keyBytes <= MOST_INLINE_BYTES && module.inlineBudget > INLINE_COST) {
    module.inlineBudget -= INLINE_COST;
    const key = e.temporary("i32", "key");
    e.localSet(key);
    emitLookup(e, shape, key, offset);
  } else {
    if (offset !== 0) e.i32(offset).op(OP.i32_add);
    e.call(mapFunction(module, `lookup ${address}`, ["i32"], (inner) => emitLookup(inner, shape, 0, 0)));
  }
  e.set(0);
  return true;
}

const MOST_INLINE_BYTES = 8;
/** In slots of BPF. */
const INLINE_COST = 60;

/** Linux: array_map_gen_lookup(). */
function lookUpArray(site: Site, { values, stride, maxEntries }: ArrayShape): void {
  const { e } = site;
  const index = e.temporary("i32", "index");
  const offset = pushAddress(site, { register: 2, offset: 0, info: 4 });
  e.memory(OP.i32_load, offset).localTee(index).i32(maxEntries).op(OP.i32_lt_u).open(OP.if, VALUE.i64);
  e.localGet(index);
  const shift = 31 - Math.clz32(stride);
  if (stride === 1 << shift) e.i32(shift).op(OP.i32_shl);
  else e.i32(stride).op(OP.i32_mul);
  e.i32(values).op(OP.i32_add).pushPointer();
  e.op(OP.else).i64(0, 0).close().set(0);
}

/** Number of the function of the program's module that gives an i64 and is known by `name`; `emit` emits it where it is new. */
export function mapFunction(
  module: ModuleContext,
  name: string,
  params: readonly ValueType[],
  emit: (e: Emitter) => void,
): number {
  const known = module.mapFunctions.get(name);
  if (known !== undefined) return known;
  const e = new Emitter(params.length, module.program.constants, module.target.high);
  emit(e);
  const code = e.out.bytes();
  const index = module.builder.addFunction({ params, results: ["i64"], locals: e.locals, code });
  module.mapFunctions.set(name, index);
  return index;
}

/** Pushes the address of the value, or 0, as i64; the key is at the address in local `key` plus `offset`. */
function emitLookup(e: Emitter, shape: HashShape, key: number, offset: number): void {
  e.open(OP.block, VALUE.i64);
  const found = e.depth;
  const search = loadKey(e, shape, key, offset);
  emitSearch(e, shape, search, () => {
    e.localGet(search.data).i32(shape.valueOffset).op(OP.i32_add).pushPointer().branch(OP.br, found);
  });
  e.i64(0, 0).close();
}

/** Locals of a search. */
export interface Search {
  /** Words of the key. */
  readonly words: readonly number[];
  readonly hash: number;
  /** The link that is looked at, 0 at the end. */
  readonly link: number;
  /** Address of the link's key. */
  readonly data: number;
}

/** Loads a key and hashes it. */
export function loadKey(e: Emitter, { keyBytes, seed }: HashShape, key: number, offset: number): Search {
  const hash = e.temporary("i32", "hash");
  const words = Array.from({ length: keyBytes / 4 }, (_, i) => e.temporary("i32", `word ${i}`));
  words.forEach((word, i) =>
    e
      .localGet(key)
      .memory(OP.i32_load, offset + 4 * i)
      .localSet(word),
  );
  e.i32(seed ^ keyBytes).localSet(hash);
  for (const word of words) emitMix(e, hash, word);
  emitFinish(e, hash);
  return { words, hash, link: e.temporary("i32", "link"), data: e.temporary("i32", "data") };
}

/** Pushes what the bucket's address is beyond `shape.buckets`. */
export function pushBucket(e: Emitter, { bucketCount }: HashShape, { hash }: Search): void {
  e.localGet(hash)
    .i32(bucketCount - 1)
    .op(OP.i32_and)
    .i32(2)
    .op(OP.i32_shl);
}

/** Searches the key's bucket. Where its element is met, `found` is emitted, which leaves the search; else the code goes on. */
export function emitSearch(e: Emitter, shape: HashShape, search: Search, found: () => void): void {
  const { words, hash, link, data } = search;
  pushBucket(e, shape, search);
  e.memory(OP.i32_load, shape.buckets).localSet(link);
  e.open(OP.block);
  const missing = e.depth;
  e.open(OP.loop);
  const again = e.depth;
  e.localGet(link).op(OP.i32_eqz).branch(OP.br_if, missing);
  e.open(OP.block);
  const other = e.depth;
  e.localGet(link).memory(OP.i32_load, HASH_LINK.hash).localGet(hash).op(OP.i32_ne).branch(OP.br_if, other);
  e.localGet(link).memory(OP.i32_load, HASH_LINK.data).localSet(data);
  words.forEach((word, i) => {
    e.localGet(data)
      .memory(OP.i32_load, 4 * i)
      .localGet(word)
      .op(OP.i32_ne)
      .branch(OP.br_if, other);
  });
  found();
  e.close();
  e.localGet(link).memory(OP.i32_load, HASH_LINK.next).localSet(link).branch(OP.br, again);
  e.close().close();
}

/** One round of MurmurHash3. */
function emitMix(e: Emitter, hash: number, word: number): void {
  e.localGet(hash);
  e.localGet(word).i32(MURMUR.c1).op(OP.i32_mul).i32(15).op(OP.i32_rotl).i32(MURMUR.c2).op(OP.i32_mul);
  e.op(OP.i32_xor)
    .i32(13)
    .op(OP.i32_rotl)
    .i32(5)
    .op(OP.i32_mul)
    .i32(MURMUR.add)
    .op(OP.i32_add)
    .localSet(hash);
}

function emitFinish(e: Emitter, hash: number): void {
  for (const { shift, factor } of [
    { shift: 16, factor: MURMUR.final1 },
    { shift: 13, factor: MURMUR.final2 },
    { shift: 16, factor: 1 },
  ]) {
    e.localGet(hash).localGet(hash).i32(shift).op(OP.i32_shr_u).op(OP.i32_xor);
    if (factor !== 1) e.i32(factor).op(OP.i32_mul);
    e.localSet(hash);
  }
}
