/**
 * A slow machine that executes programs by the reference semantics: the yardstick of the engines' tests and fuzzers.
 *
 * Registers are unsigned `bigint`s, memory is a port; nothing is predecoded or cached. `runReference` ends with a result, never
 * a throw. It trusts nothing: every access goes through the port, which refuses by returning undefined or false.
 */
import { FRAME_BYTES, MAX_FRAMES, MAX_MAY_GOTO, REG } from "./constants.ts";
import { wideConstant } from "./instruction.ts";
import type { Insn } from "./instruction.ts";
import { identify, writtenRegister } from "./opcodes.ts";
import type { AccessBytes, OpcodeRow } from "./opcodes.ts";
import { ALU, ATOMIC, JUMP, negate, signExtend, swapBytes } from "./operations.ts";
import type { Bits } from "./operations.ts";

/** The memory that a program sees; addresses and values are unsigned 64-bit. `frames` is how many stack frames are in use. */
export interface ReferenceMemory {
  load(address: bigint, size: AccessBytes, frames: number): bigint | undefined;
  /** False where the access is refused. */
  store(address: bigint, size: AccessBytes, value: bigint, frames: number): boolean;
}

export interface ReferenceOptions {
  readonly memory: ReferenceMemory;
  readonly r1: bigint;
  readonly r2?: bigint;
  /** End of the highest stack frame, r10 at entry. */
  readonly stackTop: bigint;
  /** Instructions after which the run is stopped. */
  readonly fuel: number;
  /** r0 of a helper, from r1 to r5. */
  readonly callHelper?: (id: number, args: readonly bigint[]) => bigint | undefined;
  /** The packet of the legacy loads. */
  readonly packet?: Uint8Array;
}

export type ReferenceResult =
  | { readonly kind: "done"; readonly r0: bigint; readonly executed: number }
  | { readonly kind: "fault"; readonly pc: number; readonly executed: number }
  | { readonly kind: "fuel"; readonly executed: number };

interface Frame {
  readonly returnTo: number;
  readonly saved: readonly bigint[];
  readonly loopsLeft: number;
}

interface State {
  readonly options: ReferenceOptions;
  readonly insns: readonly Insn[];
  readonly regs: bigint[];
  readonly frames: Frame[];
  pc: number;
  loopsLeft: number;
  hasExited: boolean;
}

/** What a step says: go on, or stop with a fault. */
type Step = boolean;

/** Runs `insns` from slot 0 until exit, fault or the end of the fuel. */
export function runReference(insns: readonly Insn[], options: ReferenceOptions): ReferenceResult {
  const regs = Array.from({ length: 11 }, () => 0n);
  regs[1] = options.r1;
  regs[2] = options.r2 ?? 0n;
  regs[10] = options.stackTop;
  const state: State = { options, insns, regs, frames: [], pc: 0, loopsLeft: MAX_MAY_GOTO, hasExited: false };
  for (let executed = 0; ; executed++) {
    if (executed === options.fuel) return { kind: "fuel", executed };
    // Wherever a program leaves its instructions, it stops after the last one.
    const pc = state.pc < 0 || state.pc > insns.length ? insns.length : state.pc;
    const insn = insns[pc];
    const row = insn === undefined || isSecondSlot(insns, pc) ? undefined : identify(insn);
    if (insn === undefined || row === undefined) return { kind: "fault", pc, executed };
    state.pc = pc + 1;
    if (!step(state, row, insn, pc)) return { kind: "fault", pc, executed };
    if (state.hasExited) return { kind: "done", r0: regs[0]!, executed: executed + 1 };
  }
}

/** The second slot of a wide load is never executed. */
function isSecondSlot(insns: readonly Insn[], pc: number): boolean {
  return insns[pc]!.opcode === 0 && insns[pc - 1]?.opcode === 0x18;
}

function step(state: State, row: OpcodeRow, insn: Insn, pc: number): Step {
  const { regs } = state;
  const { dst, src, off, imm } = insn;
  if (dst > 10 || (src > 10 && row.kind !== "wide")) return false;
  // RFC 9669 section 2.2: r10 is read-only.
  if (writtenRegister(row, insn) === REG.R10) return false;
  switch (row.kind) {
    case "alu": {
      const operand = row.source === "reg" ? regs[src]! : BigInt(imm);
      const b = BigInt.asUintN(row.bits, operand);
      regs[dst] = ALU[row.op].apply(row.bits, BigInt.asUintN(row.bits, regs[dst]!), b);
      return true;
    }
    case "neg":
      regs[dst] = negate(row.bits, regs[dst]!);
      return true;
    case "movsx":
      regs[dst] = signExtend(row.bits, row.from, regs[src]!);
      return true;
    case "end":
      regs[dst] =
        row.order === "le" ? BigInt.asUintN(row.width, regs[dst]!) : swapBytes(row.width, regs[dst]!);
      return true;
    case "jump": {
      const operand = row.source === "reg" ? regs[src]! : BigInt(imm);
      const b = BigInt.asUintN(row.bits, operand);
      if (JUMP[row.op].test(row.bits, BigInt.asUintN(row.bits, regs[dst]!), b)) state.pc += off;
      return true;
    }
    case "goto":
      state.pc += row.field === "off" ? off : imm;
      return true;
    case "may_goto":
      if (state.loopsLeft === 0) state.pc += off;
      else state.loopsLeft -= 1;
      return true;
    case "wide":
      return stepWide(state, row, insn, pc);
    case "call":
      return stepCall(state, row, insn);
    case "exit":
      return leave(state);
    default:
      return stepMemory(state, row, insn);
  }
}

function stepWide(state: State, row: OpcodeRow & { kind: "wide" }, insn: Insn, pc: number): Step {
  const second = state.insns[pc + 1];
  if (second?.opcode !== 0) return false;
  if (row.pseudo === "FUNC") state.regs[insn.dst] = BigInt.asUintN(32, BigInt(pc + 1 + insn.imm));
  else if (row.pseudo === "NONE") state.regs[insn.dst] = wideConstant(insn, second);
  else return false;
  state.pc = pc + 2;
  return true;
}

function stepCall(state: State, row: OpcodeRow & { kind: "call" }, insn: Insn): Step {
  const { regs, frames, options } = state;
  if (row.target === "local") {
    if (frames.length === MAX_FRAMES - 1) return false;
    frames.push({ returnTo: state.pc, saved: regs.slice(6, 10), loopsLeft: state.loopsLeft });
    state.loopsLeft = MAX_MAY_GOTO;
    regs[10]! -= BigInt(FRAME_BYTES);
    state.pc += insn.imm;
    return true;
  }
  if (row.target === "kfunc") return false;
  const id = row.target === "register" ? Number(BigInt.asIntN(32, regs[insn.dst]!)) : insn.imm;
  const r0 = options.callHelper?.(id, regs.slice(1, 6));
  if (r0 === undefined) return false;
  regs[0] = BigInt.asUintN(64, r0);
  return true;
}

function leave(state: State): Step {
  const frame = state.frames.pop();
  if (frame === undefined) {
    state.hasExited = true;
    return true;
  }
  state.regs.splice(6, 4, ...frame.saved);
  state.regs[10]! += BigInt(FRAME_BYTES);
  state.loopsLeft = frame.loopsLeft;
  state.pc = frame.returnTo;
  return true;
}

function stepMemory(state: State, row: OpcodeRow, insn: Insn): Step {
  const { regs } = state;
  const { memory } = state.options;
  const frames = state.frames.length + 1;
  const at = (base: number): bigint => BigInt.asUintN(64, regs[base]! + BigInt(insn.off));
  switch (row.kind) {
    case "load":
    case "load_acquire": {
      const address = at(insn.src);
      if (row.kind === "load_acquire" && !isAligned(address, row.size)) return false;
      const value = memory.load(address, row.size, frames);
      if (value === undefined) return false;
      regs[insn.dst] = row.kind === "load" && row.isSigned ? signExtend(64, row.size * 8, value) : value;
      return true;
    }
    case "store":
    case "store_release": {
      const address = at(insn.dst);
      if (row.kind === "store_release" && !isAligned(address, row.size)) return false;
      const value = row.kind === "store" && row.source === "imm" ? BigInt(insn.imm) : regs[insn.src]!;
      return memory.store(address, row.size, BigInt.asUintN(row.size * 8, value), frames);
    }
    case "atomic":
      return stepAtomic(state, row, insn, at(insn.dst));
    case "packet":
      return stepPacket(state, row, insn);
    default:
      return false;
  }
}

function stepAtomic(state: State, row: OpcodeRow & { kind: "atomic" }, insn: Insn, address: bigint): Step {
  const { regs } = state;
  const { memory } = state.options;
  const frames = state.frames.length + 1;
  const bits: Bits = row.size === 8 ? 64 : 32;
  if (!isAligned(address, row.size)) return false;
  const old = memory.load(address, row.size, frames);
  if (old === undefined) return false;
  const narrow = (value: bigint): bigint => BigInt.asUintN(bits, value);
  const stored = ATOMIC[row.op].apply(bits, old, narrow(regs[insn.src]!), narrow(regs[0]!));
  if (!memory.store(address, row.size, stored, frames)) return false;
  if (ATOMIC[row.op].fetches) regs[row.op === "cmpxchg" ? 0 : insn.src] = old;
  return true;
}

/** Linux: bpf_gen_ld_abs(): a load past the packet's end makes the function return 0. */
function stepPacket(state: State, row: OpcodeRow & { kind: "packet" }, insn: Insn): Step {
  const { packet } = state.options;
  if (packet === undefined) return false;
  const index = row.mode === "ind" ? Number(BigInt.asIntN(32, state.regs[insn.src]!)) : 0;
  const from = (index + insn.imm) | 0;
  state.regs[0] = 0n;
  if (from < 0 || from + row.size > packet.length) return leave(state);
  for (const byte of packet.subarray(from, from + row.size))
    state.regs[0] = (state.regs[0] << 8n) | BigInt(byte);
  return true;
}

const isAligned = (address: bigint, size: number): boolean => address % BigInt(size) === 0n;
