/**
 * The calls of a BPF ring buffer as WebAssembly: reserving, submitting and discarding records. Interface: `emitRingReserve`,
 * `emitRingCommit`. Answers to kernel/bpf/ringbuf.c; positions and headers are where the shape (options.ts) says.
 *
 * Only what needs nothing else is done here: a record that fits before the ring's end and what is not yet committed, a commit
 * that wakes nobody. Everything else, errors too, is left to a call of the helper.
 */
import { OP } from "@alien-ts/wasm-encoder";
import { knownMap } from "./maps.ts";
import { RING_RECORD } from "./options.ts";
import type { RingCommit, RingShape } from "./options.ts";
import type { Site } from "./site.ts";

const PAGE = { shift: 12, mask: -4096 } as const;
/** BPF_RB_NO_WAKEUP; BPF_RB_FORCE_WAKEUP is 2. */
const NO_WAKEUP = 1;

/** Emits `r0 = ringbuf_reserve(r1, r2, r3)` where the ring is known; false otherwise. `call` emits the call of the helper. */
export function emitRingReserve(site: Site, call: () => void): boolean {
  const { e } = site;
  const known = site.module.isChecked ? undefined : knownMap(site);
  if (known?.shape.kind !== "ring") return false;
  e.open(OP.block);
  const done = e.depth;
  e.open(OP.block);
  reserve(site, known.shape, e.depth);
  e.branch(OP.br, done).close();
  call();
  e.close();
  return true;
}

/** Leaves the block `slow` where a call must do it. Linux: __bpf_ringbuf_reserve */
function reserve({ e }: Site, { base, sizeBytes, layout }: RingShape, slow: number): void {
  const { consumer, producer, pending, data } = layout;
  const { headerBytes, busy } = RING_RECORD;
  const mask = sizeBytes - 1;
  const position = e.temporary("i64", "position");
  const length = e.temporary("i64", "length");
  const next = e.temporary("i64", "next");
  const at = e.temporary("i32", "at");
  e.get(3).i64(0, 0).op(OP.i64_ne).branch(OP.br_if, slow);
  e.get(2)
    .i64(sizeBytes - headerBytes, 0)
    .op(OP.i64_gt_u)
    .branch(OP.br_if, slow);
  // Rounded up to whole words, as the next header must be aligned.
  e.get(2)
    .i64(headerBytes + 7, 0)
    .op(OP.i64_add)
    .i64(-8, -1)
    .op(OP.i64_and)
    .localSet(length);
  e.i32(0)
    .memory(OP.i64_load, base + producer)
    .localTee(position);
  e.localGet(length).op(OP.i64_add).localSet(next);
  for (const oldest of [consumer, pending]) {
    e.localGet(next)
      .i32(0)
      .memory(OP.i64_load, base + oldest)
      .op(OP.i64_sub);
    e.i64(mask, 0).op(OP.i64_gt_u).branch(OP.br_if, slow);
  }
  e.localGet(position).op(OP.i32_wrap_i64).i32(mask).op(OP.i32_and).localTee(at);
  e.localGet(length).op(OP.i32_wrap_i64).op(OP.i32_add).i32(sizeBytes).op(OP.i32_gt_u).branch(OP.br_if, slow);
  e.localGet(at)
    .get32(2)
    .i32(busy)
    .op(OP.i32_or)
    .memory(OP.i32_store, base + data);
  e.localGet(at).localGet(at).i32(data).op(OP.i32_add).i32(PAGE.shift).op(OP.i32_shr_u);
  e.memory(OP.i32_store, base + data + 4);
  e.i32(0)
    .localGet(next)
    .memory(OP.i64_store, base + producer);
  e.localGet(at)
    .i32(base + data + headerBytes)
    .op(OP.i32_add)
    .pushPointer()
    .set(0);
}

/** Emits `ringbuf_submit(r1, r2)` or `ringbuf_discard`; false where it must be a call. `call` emits that. */
export function emitRingCommit(site: Site, commit: RingCommit, call: () => void): boolean {
  const { e } = site;
  if (site.module.isChecked) return false;
  e.open(OP.block);
  const done = e.depth;
  e.open(OP.block);
  emitCommit(site, commit, e.depth);
  e.branch(OP.br, done).close();
  call();
  e.close();
  return true;
}

/** Leaves the block `slow` where a call must do it. Linux: bpf_ringbuf_commit */
function emitCommit({ e }: Site, { kind, layout }: RingCommit, slow: number): void {
  const header = e.temporary("i32", "header");
  const base = e.temporary("i32", "base");
  e.get(2).i64(NO_WAKEUP, 0).op(OP.i64_gt_u).branch(OP.br_if, slow);
  e.get32(1).i32(RING_RECORD.headerBytes).op(OP.i32_sub).localTee(header).i32(PAGE.mask).op(OP.i32_and);
  e.localGet(header).memory(OP.i32_load, 4).i32(PAGE.shift).op(OP.i32_shl).op(OP.i32_sub).localSet(base);
  // A reader that has read all before this record is told of it.
  e.localGet(base).memory(OP.i32_load, layout.consumer).localGet(base).memory(OP.i32_load, layout.mask);
  e.op(OP.i32_and).localGet(header).localGet(base).op(OP.i32_sub).i32(layout.data).op(OP.i32_sub);
  e.op(OP.i32_eq).get(2).op(OP.i64_eqz).op(OP.i32_and).branch(OP.br_if, slow);
  e.localGet(header).localGet(header).memory(OP.i32_load, 0).i32(RING_RECORD.busy).op(OP.i32_xor);
  if (kind === "ring_discard") e.i32(RING_RECORD.discarded).op(OP.i32_or);
  e.memory(OP.i32_store, 0);
  e.i64(0, 0).set(0);
}
