/**
 * Lookups in maps as WebAssembly: of arrays inline, of hash maps inline or by a function per map. Interface: `emitMapLookup`.
 *
 * The hash is MurmurHash3 over the key's words, the table a bucket array with links (options.ts): the map's implementation
 * and this must agree, which a test of both sides over one memory shows.
 */
import { OP } from "@alien-ts/wasm-encoder";
import { Emitter } from "./emitter.ts";
import { pushAddress } from "./memory.ts";
import type { ModuleContext } from "./module-context.ts";
import { HASH_LINK, MURMUR } from "./options.ts";
import type { ArrayShape, HashShape } from "./options.ts";
import type { Site } from "./site.ts";

const MOST_KEY_BYTES = 64;

/** Emits `r0 = map_lookup_elem(r1, r2)` where r1 is a map that is known and can be looked up here; false otherwise. */
export function emitMapLookup(site: Site): boolean {
  const { e, module } = site;
  const address = e.knownAddress(1);
  const shape = address === undefined ? undefined : module.options.mapAt?.(address);
  if (address === undefined || shape === undefined) return false;
  if (shape.kind === "array") {
    lookUpArray(site, shape);
    return true;
  }
  // A checked program's key would have to be validated as a whole.
  const { keyBytes } = shape;
  if (keyBytes % 4 !== 0 || keyBytes > MOST_KEY_BYTES || (module.isChecked && keyBytes > 8)) return false;
  const offset = pushAddress(site, { register: 2, offset: 0, info: Math.min(keyBytes, 8) });
  // Inline it is faster by the call, a quarter of a lookup; with long keys or many lookups the code would grow.
  if (keyBytes <= MOST_INLINE_BYTES && module.inlineBudget > INLINE_COST) {
    module.inlineBudget -= INLINE_COST;
    const key = e.temporary("i32", "key");
    e.localSet(key);
    emitLookup(e, shape, { key, offset, high: module.target.high });
  } else {
    if (offset !== 0) e.i32(offset).op(OP.i32_add);
    e.call(lookupFunction(module, address, shape));
  }
  e.set(0);
  return true;
}

const MOST_INLINE_BYTES = 8;
/** In slots of BPF. */
const INLINE_COST = 60;

/** Linux: array_map_gen_lookup(). */
function lookUpArray(site: Site, { values, stride, maxEntries }: ArrayShape): void {
  const { e, module } = site;
  const index = e.temporary("i32", "index");
  const offset = pushAddress(site, { register: 2, offset: 0, info: 4 });
  e.memory(OP.i32_load, offset).localTee(index).i32(maxEntries).op(OP.i32_lt_u).open(OP.if, 0x7e);
  e.localGet(index);
  const shift = 31 - Math.clz32(stride);
  if (stride === 1 << shift) e.i32(shift).op(OP.i32_shl);
  else e.i32(stride).op(OP.i32_mul);
  e.i32(values).op(OP.i32_add).op(OP.i64_extend_i32_u).i64(0, module.target.high).op(OP.i64_or);
  e.op(OP.else).i64(0, 0).close().set(0);
}

/** Number of the function `(key i32) -> i64` that looks up in one map. */
function lookupFunction(module: ModuleContext, address: number, shape: HashShape): number {
  const known = module.lookups.get(address);
  if (known !== undefined) return known;
  const e = new Emitter(1, module.program.constants, module.target.high);
  emitLookup(e, shape, { key: 0, offset: 0, high: module.target.high });
  const index = module.builder.addFunction({
    params: ["i32"],
    results: ["i64"],
    locals: e.locals,
    code: e.out.bytes(),
  });
  module.lookups.set(address, index);
  return index;
}

interface Lookup {
  /** Local with the key's address, to which `offset` is added. */
  readonly key: number;
  readonly offset: number;
  readonly high: number;
}

/** Pushes the address of the value, or 0, as i64. */
function emitLookup(e: Emitter, shape: HashShape, { key, offset, high }: Lookup): void {
  const { keyBytes, seed, buckets, bucketCount, valueOffset } = shape;
  const hash = e.temporary("i32", "hash");
  const link = e.temporary("i32", "link");
  const data = e.temporary("i32", "data");
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
  e.localGet(hash)
    .i32(bucketCount - 1)
    .op(OP.i32_and)
    .i32(2)
    .op(OP.i32_shl);
  e.memory(OP.i32_load, buckets).localSet(link);
  e.open(OP.block, 0x7e);
  const found = e.depth;
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
  e.localGet(data).i32(valueOffset).op(OP.i32_add).op(OP.i64_extend_i32_u).i64(0, high).op(OP.i64_or);
  e.branch(OP.br, found).close();
  e.localGet(link).memory(OP.i32_load, HASH_LINK.next).localSet(link).branch(OP.br, again);
  e.close().close().i64(0, 0).close();
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
