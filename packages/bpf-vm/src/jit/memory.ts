/**
 * Loads, stores, atomics and packet-legacy loads as WebAssembly. Interface: `emitMemory`, `pushAddress`, `addCheckFunction`.
 *
 * An address is the low word of its register plus the instruction's offset, static where it is not negative. In a checked
 * module every access that is not known to be in the current frame goes through one function that validates it, or asks the
 * machine, or traps. Atomics are plain loads and stores: BPF runs on one thread, and other code enters only at helpers.
 */
import { FRAME_BYTES, LOAD_ACQUIRE, NULL_GUARD, STORE_RELEASE } from "./constants.ts";
import { OP } from "@alien-ts/wasm-encoder";
import { probedLoad, STRIDE, VARIANT } from "../program.ts";
import type { Emitter } from "./emitter.ts";
import type { ModuleContext } from "./module-context.ts";
import { ACCESS, ASK, ASK_SHIFT, SCRATCH, STOP } from "./scratch.ts";
import type { Site } from "./site.ts";

interface Access {
  readonly size: number;
  readonly op: number;
}

const LOADS: ReadonlyMap<number, Access> = new Map([
  [0x71, { size: 1, op: OP.i64_load8_u }],
  [0x69, { size: 2, op: OP.i64_load16_u }],
  [0x61, { size: 4, op: OP.i64_load32_u }],
  [0x79, { size: 8, op: OP.i64_load }],
  [0x91, { size: 1, op: OP.i64_load8_s }],
  [0x89, { size: 2, op: OP.i64_load16_s }],
  [0x81, { size: 4, op: OP.i64_load32_s }],
]);

const STORES: ReadonlyMap<number, Access> = new Map([
  [0x73, { size: 1, op: OP.i64_store8 }],
  [0x6b, { size: 2, op: OP.i64_store16 }],
  [0x63, { size: 4, op: OP.i64_store32 }],
  [0x7b, { size: 8, op: OP.i64_store }],
]);

/** Widths of atomic instructions, with the load and the store of each. */
const ATOMICS: ReadonlyMap<number, { readonly size: number; readonly load: number; readonly store: number }> =
  new Map([
    [0xd3, { size: 1, load: OP.i64_load8_u, store: OP.i64_store8 }],
    [0xcb, { size: 2, load: OP.i64_load16_u, store: OP.i64_store16 }],
    [0xc3, { size: 4, load: OP.i64_load32_u, store: OP.i64_store32 }],
    [0xdb, { size: 8, load: OP.i64_load, store: OP.i64_store }],
  ]);

/** Emits the memory instruction of the site; whether it is one. */
export function emitMemory(site: Site): boolean {
  const { e, module, slot } = site;
  const { code } = module.program;
  const at = slot * STRIDE;
  const operation = code[at]!;
  const d = code[at + 1]! >> 1;
  const s = code[at + 2]!;
  const offset = code[at + 3]!;
  const probed = probedLoad(operation);
  const load = LOADS.get(probed ?? operation);
  if (load !== undefined) {
    if (probed !== undefined) loadUntrusted(site, load, s >> 1, offset);
    else e.memory(load.op, pushAddress(site, { register: s >> 1, offset, info: load.size }));
    e.set(d);
    return true;
  }
  const store = STORES.get(operation);
  if (store !== undefined) {
    const place = pushAddress(site, { register: d, offset, info: store.size | ACCESS.write });
    e.source(s).memory(store.op, place);
    return true;
  }
  if (ATOMICS.has(operation)) {
    emitAtomic(site, operation, d, s, offset);
    return true;
  }
  if (operation === VARIANT.PACKET) {
    emitPacket(site, code[at + 1]!, s, offset);
    return true;
  }
  return false;
}

export interface Place {
  readonly register: number;
  readonly offset: number;
  /** Size of the access, and `ACCESS` bits. */
  readonly info: number;
}

/** Pushes the i32 that an access starts from, and gives the static offset to add. */
export function pushAddress({ e, module, slot }: Site, { register, offset, info }: Place): number {
  const frame = e.frameOffset(register);
  const size = info & ACCESS.sizeMask;
  const inFrame = frame === undefined ? undefined : FRAME_BYTES + frame + offset;
  const isInFrame = inFrame !== undefined && inFrame >= 0 && inFrame + size <= FRAME_BYTES;
  if (module.isChecked && !(isInFrame && ((info & ACCESS.aligned) === 0 || inFrame % size === 0))) {
    e.get(register);
    if (offset !== 0) e.i64(offset, offset >> 31).op(OP.i64_add);
    e.localGet(e.level.frame).i32(info).i32(slot).call(module.checkIndex);
    return 0;
  }
  if (inFrame !== undefined && inFrame >= 0) {
    e.localGet(e.level.frame);
    return inFrame;
  }
  e.get32(register);
  if (offset >= 0) return offset;
  e.i32(offset).op(OP.i32_add);
  return 0;
}

/** A load through a pointer that may be bad: 0 unless it lies in the memory. (Linux: BPF_PROBE_MEM) */
function loadUntrusted({ e, module }: Site, { size, op }: Access, register: number, offset: number): void {
  const { high, memoryBytes } = module.target;
  const address = e.temporary("i64", "address");
  e.get(register)
    .i64(offset, offset >> 31)
    .op(OP.i64_add)
    .localTee(address);
  e.i64(NULL_GUARD, high)
    .op(OP.i64_sub)
    .i64(memoryBytes - NULL_GUARD - size, 0)
    .op(OP.i64_le_u)
    .open(OP.if, 0x7e);
  e.localGet(address).op(OP.i32_wrap_i64).memory(op, 0).op(OP.else).i64(0, 0).close();
}

const BINARY: Readonly<Record<number, number>> = {
  0x00: OP.i64_add,
  0x40: OP.i64_or,
  0x50: OP.i64_and,
  0xa0: OP.i64_xor,
};
const COMPARE_AND_EXCHANGE = 0xf1;

function emitAtomic(site: Site, opcode: number, d: number, source: number, offset: number): void {
  const { e } = site;
  const { size, load, store } = ATOMICS.get(opcode)!;
  const operation = source >> 8;
  const s = (source & 0xff) >> 1;
  if (operation === LOAD_ACQUIRE) {
    e.memory(load, pushAddress(site, { register: s, offset, info: size | ACCESS.aligned })).set(d);
    return;
  }
  const place = pushAddress(site, { register: d, offset, info: size | ACCESS.aligned | ACCESS.write });
  if (operation === STORE_RELEASE) {
    e.get(s).memory(store, place);
    return;
  }
  const address = e.temporary("i32", "address");
  const old = e.temporary("i64", "old");
  e.localTee(address).localGet(address).memory(load, place).localTee(old);
  const binary = BINARY[operation & 0xf0];
  if (binary !== undefined) {
    e.get(s).op(binary);
  } else {
    e.op(OP.drop).get(s);
    if (operation === COMPARE_AND_EXCHANGE) {
      e.localGet(old).localGet(old).get(0);
      if (size === 4) e.op(OP.i32_wrap_i64).op(OP.i64_extend_i32_u);
      e.op(OP.i64_eq).op(OP.select);
    }
  }
  e.memory(store, place);
  if ((operation & 1) === 1) e.localGet(old).set(operation === COMPARE_AND_EXCHANGE ? 0 : s);
}

/** Linux: bpf_gen_ld_abs(): a load past the packet's end makes the function return 0. */
function emitPacket(site: Site, size: number, s: number, offset: number): void {
  const { e, module, slot } = site;
  const status = e.temporary("i32", "status");
  e.i32(ASK.packet | (size << ASK_SHIFT))
    .source32(s)
    .i32(offset)
    .op(OP.i32_add);
  emitAsk(e, module, 1);
  e.localTee(status).open(OP.if);
  e.localGet(status).i32(1).op(OP.i32_ne).open(OP.if);
  emitStop(e, module, STOP.noPacket, slot);
  e.close();
  e.i64(0, 0).set(0);
  site.exit();
  e.close();
  e.i32(0)
    .memory(OP.i64_load32_u, module.target.scratch + SCRATCH.packet)
    .set(0);
}

/** Calls `ask` with the question and `count` words that are on the stack. */
export function emitAsk(e: Emitter, module: ModuleContext, count: number): void {
  for (let word = count; word < 4; word++) e.i32(0);
  e.call(module.askIndex);
}

/** Ends the run: tells the machine why, and traps. */
export function emitStop(e: Emitter, module: ModuleContext, reason: number, slot: number): void {
  e.i32(ASK.stop | (reason << ASK_SHIFT)).i32(slot);
  emitAsk(e, module, 1);
  e.op(OP.drop).op(OP.unreachable);
}

/**
 * Adds `(address i64, frame i32, info i32, slot i32) -> i32`, which gives the address's low word, or ends the run. What lies in
 * the frames in use or in the context is found here; the machine decides the rest.
 */
export function addCheckFunction(module: ModuleContext, e: Emitter): void {
  const { scratch, high } = module.target;
  const [address, frame, info, slot] = [0, 1, 2, 3];
  const distance = e.local("i64");
  const size = e.local("i64");
  const load = (at: number): Emitter => e.i32(0).memory(OP.i64_load32_u, scratch + at);
  const giveBack = (): Emitter => e.localGet(address).op(OP.i32_wrap_i64).op(OP.return);
  e.localGet(info).i32(ACCESS.sizeMask).op(OP.i32_and).op(OP.i64_extend_i32_u).localSet(size);
  // Misaligned accesses that must be aligned are the machine's to judge.
  e.localGet(info).i32(ACCESS.aligned).op(OP.i32_and).op(OP.i32_eqz);
  e.localGet(address)
    .localGet(size)
    .i64(1, 0)
    .op(OP.i64_sub)
    .op(OP.i64_and)
    .op(OP.i64_eqz)
    .op(OP.i32_or)
    .open(OP.if);
  e.localGet(address).localGet(frame).op(OP.i64_extend_i32_u).i64(0, high).op(OP.i64_or).op(OP.i64_sub);
  load(SCRATCH.stackTop).localGet(frame).op(OP.i64_extend_i32_u).op(OP.i64_sub).localGet(size).op(OP.i64_sub);
  e.op(OP.i64_le_u).open(OP.if);
  giveBack();
  e.close();
  e.localGet(address);
  load(SCRATCH.context).i64(0, high).op(OP.i64_or).op(OP.i64_sub).localTee(distance);
  const extent = (): void => {
    load(SCRATCH.writable);
    load(SCRATCH.readable).localGet(info).i32(ACCESS.write).op(OP.i32_and).op(OP.select);
  };
  extent();
  e.op(OP.i64_lt_u).localGet(distance).localGet(size).op(OP.i64_add);
  extent();
  e.op(OP.i64_le_u).op(OP.i32_and).open(OP.if);
  giveBack();
  e.close().close();
  e.localGet(info).i32(ASK_SHIFT).op(OP.i32_shl).i32(ASK.access).op(OP.i32_or);
  e.localGet(address).op(OP.i32_wrap_i64).localGet(address).i64(32, 0).op(OP.i64_shr_u).op(OP.i32_wrap_i64);
  e.localGet(slot).localGet(frame);
  emitAsk(e, module, 4);
  e.open(OP.if);
  giveBack();
  e.close().op(OP.unreachable);
}
