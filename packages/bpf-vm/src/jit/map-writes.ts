/**
 * Updates and deletions in maps as WebAssembly: of arrays inline, of hash maps by a function per map and operation. Interface:
 * `emitMapUpdate`, `emitMapDelete`.
 *
 * What is done, in which order, and what is refused with which error is that of kernel/bpf/arraymap.c and hashtab.c, as the
 * shapes (options.ts) say it: a test runs the same operations through both engines and compares all of memory. An update that
 * finds no free element in a map that is not full answers `CALL`, and is then made by a call of the helper.
 */
import { BULK, OP, VALUE } from "@alien-ts/wasm-encoder";
import type { Emitter } from "./emitter.ts";
import { emitSearch, hasFastKey, knownMap, loadKey, mapFunction, pushBucket } from "./maps.ts";
import type { Search } from "./maps.ts";
import { HASH_LINK } from "./options.ts";
import type { ArrayShape, HashShape, HashWrites } from "./options.ts";
import type { Site } from "./site.ts";

/** BPF_ANY is 0. */
const FLAG = { noExist: 1, exist: 2 } as const;

const ENOENT = -2;
const E2BIG = -7;
const EEXIST = -17;
const EINVAL = -22;
/** A result that no operation has. */
const CALL = 1;

/** Emits `r0 = map_update_elem(r1, r2, r3, r4)` where it can be done here; false otherwise. `call` emits the call of the helper. */
export function emitMapUpdate(site: Site, call: () => void): boolean {
  const { e, module } = site;
  const known = module.isChecked ? undefined : knownMap(site);
  if (known === undefined || known.shape.kind === "ring") return false;
  const { address, shape } = known;
  if (shape.kind === "array") return updateArray(e, shape);
  const { writes } = shape;
  if (writes === undefined || !hasFastKey(shape)) return false;
  const result = e.temporary("i64", "result");
  e.get32(2).get32(3).get(4);
  e.call(
    mapFunction(module, `update ${address}`, ["i32", "i32", "i64"], (inner) =>
      updateHash(inner, shape, writes),
    ),
  );
  e.localTee(result).i64(CALL, 0).op(OP.i64_eq).open(OP.if);
  call();
  e.op(OP.else).localGet(result).set(0).close();
  return true;
}

/** Emits `r0 = map_delete_elem(r1, r2)` where it can be done here; false otherwise. */
export function emitMapDelete(site: Site): boolean {
  const { e, module } = site;
  const known = module.isChecked ? undefined : knownMap(site);
  if (known === undefined || known.shape.kind === "ring") return false;
  const { address, shape } = known;
  if (shape.kind === "array") {
    pushErrno(e, EINVAL).set(0);
    return true;
  }
  const { writes } = shape;
  if (writes === undefined || !hasFastKey(shape)) return false;
  e.get32(2);
  e.call(mapFunction(module, `delete ${address}`, ["i32"], (inner) => deleteFromHash(inner, shape, writes)));
  e.set(0);
  return true;
}

const pushErrno = (e: Emitter, errno: number): Emitter => e.i64(errno, -1);

// --- Arrays ---------------------------------------------------------------------------------------------------------

function updateArray(e: Emitter, { values, stride, maxEntries, valueBytes }: ArrayShape): boolean {
  if (valueBytes === undefined) return false;
  const index = e.temporary("i32", "index");
  const from = e.temporary("i32", "from");
  const to = e.temporary("i32", "to");
  e.open(OP.block, VALUE.i64);
  const done = e.depth;
  e.get(4).i64(FLAG.exist, 0).op(OP.i64_gt_u);
  returnIf(e, EINVAL, done);
  e.get32(2).memory(OP.i32_load, 0).localTee(index).i32(maxEntries).op(OP.i32_ge_u);
  returnIf(e, E2BIG, done);
  e.get(4).i64(FLAG.noExist, 0).op(OP.i64_eq);
  returnIf(e, EEXIST, done);
  e.localGet(index).i32(stride).op(OP.i32_mul).i32(values).op(OP.i32_add).localSet(to);
  e.get32(3).localSet(from);
  emitCopy(e, { to, offset: 0, from, bytes: valueBytes });
  e.i64(0, 0).close().set(0);
  return true;
}

/** Leaves the block `done` with an error where the i32 on the stack is not 0. */
function returnIf(e: Emitter, errno: number, done: number): void {
  e.open(OP.if);
  pushErrno(e, errno).branch(OP.br, done).close();
}

interface Copy {
  /** Locals with addresses; `offset` is added to `to`. */
  readonly to: number;
  readonly offset: number;
  readonly from: number;
  readonly bytes: number;
}

/** More is copied by the host, which takes ten nanoseconds to be asked. */
const MOST_WORDS_COPIED = 8;

/** As memmove: everything is read before anything is written. */
function emitCopy(e: Emitter, { to, offset, from, bytes }: Copy): void {
  const parts: { readonly at: number; readonly load: number; readonly store: number }[] = [];
  let at = 0;
  for (const { size, load, store } of COPIES) {
    for (; at + size <= bytes; at += size) parts.push({ at, load, store });
  }
  if (parts.length > MOST_WORDS_COPIED) {
    e.localGet(to).i32(offset).op(OP.i32_add).localGet(from).i32(bytes);
    e.op(OP.bulk).op(BULK.memory_copy).op(0).op(0);
    return;
  }
  const copied = parts.map((part, i) => {
    const local = e.temporary("i64", `copy ${i}`);
    e.localGet(from).memory(part.load, part.at).localSet(local);
    return local;
  });
  parts.forEach((part, i) =>
    e
      .localGet(to)
      .localGet(copied[i]!)
      .memory(part.store, offset + part.at),
  );
}

const COPIES = [
  { size: 8, load: OP.i64_load, store: OP.i64_store },
  { size: 4, load: OP.i64_load32_u, store: OP.i64_store32 },
  { size: 2, load: OP.i64_load16_u, store: OP.i64_store16 },
  { size: 1, load: OP.i64_load8_u, store: OP.i64_store8 },
] as const;

// --- Hash maps ------------------------------------------------------------------------------------------------------

/** `(key, value, flags) -> r0`. Linux: htab_map_update_elem */
function updateHash(e: Emitter, shape: HashShape, writes: HashWrites): void {
  const [key, value, flags] = [0, 1, 2];
  const fresh = e.local("i32");
  const old = e.local("i32");
  e.open(OP.block, VALUE.i64);
  const done = e.depth;
  e.localGet(flags).i64(FLAG.exist, 0).op(OP.i64_gt_u);
  returnIf(e, EINVAL, done);
  const search = loadKey(e, shape, key, 0);
  findLink(e, shape, search);
  e.localGet(search.link).localTee(old).open(OP.if);
  e.localGet(flags).i64(FLAG.noExist, 0).op(OP.i64_eq);
  returnIf(e, EEXIST, done);
  if (writes.spare === undefined) takeFree(e, writes, fresh, done);
  else {
    e.i32(0).memory(OP.i32_load, writes.spare).localSet(fresh);
    e.i32(0).localGet(old).memory(OP.i32_store, writes.spare);
  }
  e.op(OP.else);
  e.localGet(flags).i64(FLAG.exist, 0).op(OP.i64_eq);
  returnIf(e, ENOENT, done);
  e.i32(0).memory(OP.i32_load, writes.count).i32(writes.maxEntries).op(OP.i32_ge_u);
  returnIf(e, E2BIG, done);
  takeFree(e, writes, fresh, done);
  addToCount(e, writes, 1);
  e.close();
  e.localGet(fresh).memory(OP.i32_load, HASH_LINK.data).localSet(search.data);
  search.words.forEach((word, i) =>
    e
      .localGet(search.data)
      .localGet(word)
      .memory(OP.i32_store, 4 * i),
  );
  emitCopy(e, { to: search.data, offset: shape.valueOffset, from: value, bytes: writes.valueBytes });
  insert(e, shape, search, fresh);
  e.localGet(old).open(OP.if);
  unlink(e, shape, search, old);
  if (writes.spare === undefined) giveFree(e, writes, old);
  e.close();
  e.i64(0, 0).close();
}

/** `(key) -> r0`. Linux: htab_map_delete_elem */
function deleteFromHash(e: Emitter, shape: HashShape, writes: HashWrites): void {
  const old = e.local("i32");
  e.open(OP.block, VALUE.i64);
  const done = e.depth;
  const search = loadKey(e, shape, 0, 0);
  findLink(e, shape, search);
  e.localGet(search.link).localTee(old).op(OP.i32_eqz);
  returnIf(e, ENOENT, done);
  unlink(e, shape, search, old);
  giveFree(e, writes, old);
  addToCount(e, writes, -1);
  e.i64(0, 0).close();
}

/** Leaves the key's link in `search.link`, 0 where there is none. */
function findLink(e: Emitter, shape: HashShape, search: Search): void {
  e.open(OP.block);
  const found = e.depth;
  emitSearch(e, shape, search, () => e.branch(OP.br, found));
  e.close();
}

/** Takes the first free link, or leaves the block `done` with `CALL`. */
function takeFree(e: Emitter, { free }: HashWrites, fresh: number, done: number): void {
  e.i32(0).memory(OP.i32_load, free).localTee(fresh).op(OP.i32_eqz).open(OP.if);
  e.i64(CALL, 0).branch(OP.br, done).close();
  e.i32(0).localGet(fresh).memory(OP.i32_load, HASH_LINK.next).memory(OP.i32_store, free);
}

function giveFree(e: Emitter, { free }: HashWrites, link: number): void {
  e.localGet(link).i32(0).memory(OP.i32_load, free).memory(OP.i32_store, HASH_LINK.next);
  e.i32(0).localGet(link).memory(OP.i32_store, free);
}

function addToCount(e: Emitter, { count }: HashWrites, by: number): void {
  e.i32(0).i32(0).memory(OP.i32_load, count).i32(by).op(OP.i32_add).memory(OP.i32_store, count);
}

/** Puts `link` in front of its bucket. */
function insert(e: Emitter, shape: HashShape, search: Search, link: number): void {
  const bucket = e.temporary("i32", "bucket");
  pushBucket(e, shape, search);
  e.localSet(bucket);
  e.localGet(link).localGet(search.hash).memory(OP.i32_store, HASH_LINK.hash);
  e.localGet(link).localGet(bucket).memory(OP.i32_load, shape.buckets).memory(OP.i32_store, HASH_LINK.next);
  e.localGet(bucket).localGet(link).memory(OP.i32_store, shape.buckets);
}

/** Takes `link` out of its bucket, where it is. */
function unlink(e: Emitter, shape: HashShape, search: Search, link: number): void {
  const at = e.temporary("i32", "at");
  pushBucket(e, shape, search);
  e.i32(shape.buckets).op(OP.i32_add).localSet(at);
  e.open(OP.block);
  const found = e.depth;
  e.open(OP.loop);
  const again = e.depth;
  e.localGet(at).memory(OP.i32_load, 0).localGet(link).op(OP.i32_eq).branch(OP.br_if, found);
  e.localGet(at).memory(OP.i32_load, 0).i32(HASH_LINK.next).op(OP.i32_add).localSet(at);
  e.branch(OP.br, again).close().close();
  e.localGet(at).localGet(link).memory(OP.i32_load, HASH_LINK.next).memory(OP.i32_store, 0);
}
