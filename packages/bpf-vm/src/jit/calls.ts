/**
 * Calls of helpers as WebAssembly. Interface: `emitHelperCall`, `emitRegisterCall`.
 *
 * Fast helpers get their arguments as i32 by their prototypes, or are inlined. All others go through the machine: r1 to r5
 * into the mailbox, a call, r0 out of it. Such a helper may interrupt the program: its run ends (then this traps), or another
 * program replaces the function (a tail call).
 */
import { CALL } from "@alien-ts/bpf-isa";
import { BULK, BLOCK_VOID, OP, VALUE } from "@alien-ts/wasm-encoder";
import { STRIDE } from "../program.ts";
import { FRAME_BYTES } from "./constants.ts";
import { emitMapLookup } from "./maps.ts";
import { emitAsk, emitStop } from "./memory.ts";
import { directForm } from "./module-context.ts";
import { emitMapDelete, emitMapUpdate } from "./map-writes.ts";
import { MAX_LOOPS } from "./options.ts";
import type { FastHelper, TypedHelper, WasmHelper } from "./options.ts";
import { emitRingCommit, emitRingReserve } from "./rings.ts";
import { ASK, SCRATCH, STOP, TAIL } from "./scratch.ts";
import type { Site } from "./site.ts";

/** Emits the call of a helper or kernel function at the site. */
export function emitHelperCall(site: Site): void {
  const { module, slot, e } = site;
  const insn = module.program.insns[slot]!;
  const fast = insn.src === CALL.HELPER ? module.options.helper?.(insn.imm) : undefined;
  const direct = directForm(fast);
  const call = (): void => {
    if (direct === undefined) emitMachineCall(site, insn.imm);
    else if (direct.kind === "typed") emitTyped(site, insn.imm, direct);
    else emitWasm(site, insn.imm, direct);
  };
  if (fast?.kind === "load_u64") e.i32(fast.address).memory(OP.i64_load, 0).set(0);
  else if (fast === undefined || !emitFast(site, fast, call)) call();
}

/** Emits what needs no call, or a call in some cases only; false where there is no such form. */
function emitFast(site: Site, fast: FastHelper, call: () => void): boolean {
  switch (fast.kind) {
    case "map_lookup":
      return emitMapLookup(site);
    case "map_update":
      return emitMapUpdate(site, call);
    case "map_delete":
      return emitMapDelete(site);
    case "ring_reserve":
      return emitRingReserve(site, call);
    case "ring_submit":
    case "ring_discard":
      return emitRingCommit(site, fast, call);
    case "loop":
      return emitLoop(site);
    case "probe_read":
      // Unverified programs may name any destination: the helper itself checks it.
      if (site.module.isChecked) return false;
      emitProbeRead(site);
      return true;
    default:
      return false;
  }
}

function emitWasm({ e, module }: Site, id: number, { params }: WasmHelper): void {
  for (let n = 1; n <= params; n++) e.get(n);
  e.call(module.typedCall(id)).set(0);
}

/** bpf-helpers(7), bpf_loop: calls a function of the program, which is inlined where it is small. */
function emitLoop(site: Site): boolean {
  const { e, module } = site;
  const entry = e.knownWord(2);
  const callee = entry === undefined ? undefined : module.functions.byEntry.get(entry);
  if (module.isChecked || entry === undefined || callee?.isCallback !== true) return false;
  const [index, count, context] = [e.local("i32"), e.local("i32"), e.local("i64")];
  e.open(OP.block, VALUE.i64);
  const done = e.depth;
  e.get(4).op(OP.i64_eqz).op(OP.i32_eqz).open(OP.if).i64(EINVAL, -1).branch(OP.br, done).close();
  e.get32(1).localTee(count).i32(MAX_LOOPS).op(OP.i32_gt_u);
  e.open(OP.if).i64(E2BIG, -1).branch(OP.br, done).close();
  e.get(3).localSet(context).i32(0).localSet(index);
  e.open(OP.block);
  const stopped = e.depth;
  e.open(OP.loop);
  const again = e.depth;
  e.localGet(index).localGet(count).op(OP.i32_eq).branch(OP.br_if, stopped);
  emitTurn(site);
  e.localGet(index).set32(1).localGet(context).set(2);
  e.localGet(index).i32(1).op(OP.i32_add).localSet(index);
  site.callFunction(entry);
  e.get(0).op(OP.i64_eqz).branch(OP.br_if, again).close().close();
  e.localGet(index).op(OP.i64_extend_i32_u).close().set(0);
  return true;
}

const E2BIG = -7;
const EINVAL = -22;

/** Counts a callback; after the last that the run may make, the run ends. */
function emitTurn({ e, module, slot }: Site): void {
  const left = e.temporary("i32", "turns");
  const turns = module.target.scratch + SCRATCH.turns;
  e.i32(0).memory(OP.i32_load, turns).localTee(left).op(OP.i32_eqz).open(OP.if);
  emitStop(e, module, STOP.outOfFuel, slot);
  e.close();
  e.i32(0).localGet(left).i32(1).op(OP.i32_sub).memory(OP.i32_store, turns);
}

function emitTyped({ e, module }: Site, id: number, { params, result }: TypedHelper): void {
  params.forEach((kind, i) => {
    e.get32(i + 1);
    if (kind === "u64")
      e.get(i + 1)
        .i64(32, 0)
        .op(OP.i64_shr_u)
        .op(OP.i32_wrap_i64);
  });
  e.call(module.typedCall(id));
  switch (result) {
    case "none":
      e.i64(0, 0).set(0);
      return;
    case "u32":
      e.set32(0);
      return;
    case "s32":
      e.op(OP.i64_extend_i32_s).set(0);
      return;
    case "u64":
      e.op(OP.i64_extend_i32_u)
        .i32(0)
        .memory(OP.i64_load32_u, module.target.scratch + SCRATCH.resultHigh);
      e.i64(32, 0).op(OP.i64_shl).op(OP.i64_or).set(0);
      return;
    case "pointer": {
      const low = e.temporary("i32", "pointer");
      e.localTee(low).op(OP.i64_extend_i32_u).i64(0, module.target.high).op(OP.i64_or);
      e.i64(0, 0).localGet(low).op(OP.select).set(0);
      return;
    }
  }
}

/** bpf-helpers(7), bpf_probe_read_kernel: copies, or clears the destination and returns -EFAULT. */
function emitProbeRead({ e, module }: Site): void {
  const { high, memoryBytes } = module.target;
  const [destination, size, source] = [1, 2, 3];
  const firstAddress = 0x1_0000;
  e.get(source).i64(firstAddress, high).op(OP.i64_sub);
  e.i64(memoryBytes - firstAddress, 0)
    .get32(size)
    .op(OP.i64_extend_i32_u)
    .op(OP.i64_sub)
    .op(OP.i64_le_u);
  e.get32(size)
    .i32(memoryBytes - firstAddress)
    .op(OP.i32_le_u)
    .op(OP.i32_and)
    .open(OP.if);
  e.get32(destination).get32(source).get32(size).op(OP.bulk).op(BULK.memory_copy).op(0).op(0);
  e.i64(0, 0).localSet(e.localOf(0)).op(OP.else);
  e.get32(destination).i32(0).get32(size).op(OP.bulk).op(BULK.memory_fill).op(0);
  // No bytes can be read at any address.
  e.i64(0, 0).i64(-14, -1).get32(size).op(OP.i32_eqz).op(OP.select).set(0).close();
}

function emitMachineCall(site: Site, id: number): void {
  const { e, module, slot } = site;
  const { code } = module.program;
  const isHelper = module.program.insns[slot]!.src === CALL.HELPER;
  storeArguments(site, isHelper ? (module.options.argumentCount?.(id) ?? 5) : 5);
  e.i32(slot).call(module.machineCall(code[slot * STRIDE + 2]!));
  finishMachineCall(site);
}

/** `callx`: the helper's id is in a register. */
export function emitRegisterCall(site: Site): void {
  const { e, module, slot } = site;
  const status = e.temporary("i32", "status");
  storeArguments(site, 5);
  e.i32(ASK.callRegister)
    .get32(module.program.code[slot * STRIDE + 1]! >> 1)
    .i32(slot);
  emitAsk(e, module, 2);
  e.localTee(status).i32(2).op(OP.i32_eq).open(OP.if);
  emitStop(e, module, STOP.unknownHelper, slot);
  e.close().localGet(status);
  finishMachineCall(site);
}

function storeArguments(site: Site, count: number): void {
  const { e, module } = site;
  const { scratch } = module.target;
  for (let n = 1; n <= count; n++)
    e.i32(0)
      .get(n)
      .memory(OP.i64_store, scratch + SCRATCH.registers + 8 * n);
  e.i32(0)
    .localGet(e.level.frame)
    .memory(OP.i32_store, scratch + SCRATCH.frame);
  site.flushFuel();
}

/** On the stack: whether the helper interrupted. */
function finishMachineCall(site: Site): void {
  const { e, module } = site;
  const { scratch } = module.target;
  site.reloadFuel();
  e.open(OP.if, BLOCK_VOID);
  emitInterrupted(site);
  e.close();
  // In halves, as it was written: a load of what two stores have left in the store buffer waits for both to reach the cache.
  e.i32(0).memory(OP.i64_load32_u, scratch + SCRATCH.registers);
  e.i32(0).memory(OP.i64_load32_u, scratch + SCRATCH.registers + 4);
  e.i64(32, 0).op(OP.i64_shl).op(OP.i64_or).set(0);
}

function emitInterrupted(site: Site): void {
  const { e, module, isInMain } = site;
  const { scratch, hasTailCalls } = module.target;
  const tail = e.temporary("i32", "tail");
  const pushTarget = (): void => {
    e.get32(1).localGet(e.level.frame).i32(FRAME_BYTES).op(OP.i32_add);
  };
  e.i32(0)
    .memory(OP.i32_load, scratch + SCRATCH.tail)
    .localTee(tail)
    .i32(0)
    .op(OP.i32_lt_s)
    .open(OP.if);
  e.localGet(tail).i32(TAIL.stop).op(OP.i32_eq).open(OP.if).op(OP.unreachable).close();
  e.i32(ASK.tail);
  pushTarget();
  emitAsk(e, module, 2);
  e.op(OP.i32_eqz).open(OP.if).op(OP.unreachable).close();
  site.reloadFuel();
  e.i32(0)
    .memory(OP.i64_load, scratch + SCRATCH.registers)
    .localSet(e.localOf(0));
  site.exit();
  e.close();
  pushTarget();
  e.localGet(tail);
  if (isInMain && hasTailCalls) {
    e.op(OP.return_call).out.u32(module.enterIndex);
    return;
  }
  e.call(module.enterIndex);
  e.localSet(e.localOf(0));
  site.reloadFuel();
  site.exit();
}
