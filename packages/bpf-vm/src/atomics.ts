/**
 * Atomic instructions (RFC 9669 section 5.3) and load-acquire, store-release.
 *
 * BPF runs on one thread, and another CPU's code enters only between instructions: plain loads and stores are atomic here.
 * An address must be aligned to the access, as Linux's strict mode and the hardware ask.
 */
import { LOAD_ACQUIRE, STORE_RELEASE } from "@alien-ts/bpf-isa";
import type { BpfMachine } from "./machine.ts";
import type { FaultKind } from "./run.ts";

/** Bytes by bits 3 and 4 of the opcode. */
const SIZES = [4, 2, 1, 8] as const;

/**
 * Executes the atomic instruction with opcode byte `opcode`; `source` has the source's register-file index in its low byte and
 * the operation above it. Returns what went wrong, or null; `accessSize` says how wide the access was.
 */
export function executeAtomic(
  machine: BpfMachine,
  opcode: number,
  d: number,
  source: number,
  offset: number,
): FaultKind | null {
  const { regs } = machine;
  const s = source & 0xff;
  const operation = source >> 8;
  const size = accessSize(opcode);
  const base = operation === LOAD_ACQUIRE ? s : d;
  const address = (regs[base]! + offset) >>> 0;
  if (!machine.mayAccess(address | 0, regs[base + 1]!, size, operation !== LOAD_ACQUIRE)) return "access";
  if ((address & (size - 1)) !== 0) return "misaligned";
  if (operation === LOAD_ACQUIRE) loadAcquire(machine, address, size, d);
  else if (operation === STORE_RELEASE) storeRelease(machine, address, size, s);
  else if (size === 8) modify64(machine, operation, address >> 2, s);
  else modify32(machine, operation, address >> 2, s);
  return null;
}

export const accessSize = (opcode: number): number => SIZES[(opcode >> 3) & 3]!;

/** Whether the operation of a source word only reads. */
export const isLoadAcquire = (source: number): boolean => source >> 8 === LOAD_ACQUIRE;

function loadAcquire(machine: BpfMachine, address: number, size: number, d: number): void {
  const { regs, memory } = machine;
  const word = memory.i32[address >> 2]!;
  const shift = (address & 3) * 8;
  regs[d + 1] = size === 8 ? memory.i32[(address >> 2) + 1]! : 0;
  regs[d] = size >= 4 ? word : (word >>> shift) & (size === 2 ? 0xffff : 0xff);
}

function storeRelease(machine: BpfMachine, address: number, size: number, s: number): void {
  const { regs, memory } = machine;
  const value = regs[s]!;
  if (size === 1) memory.u8[address] = value;
  else if (size === 2) memory.u16[address >> 1] = value;
  else memory.i32[address >> 2] = value;
  if (size === 8) memory.i32[(address >> 2) + 1] = regs[s + 1]!;
}

/** The operation's code without its fetch bit; `index` is the word's index in memory. */
function modify32(machine: BpfMachine, operation: number, index: number, s: number): void {
  const { regs } = machine;
  const words = machine.memory.i32;
  const old = words[index]!;
  const value = regs[s]!;
  const isCompare = operation === 0xf1;
  if (!isCompare || old === regs[0]!) words[index] = combine(operation, old, value);
  if ((operation & 1) === 0) return;
  const result = isCompare ? 0 : s;
  regs[result] = old;
  regs[result + 1] = 0;
}

function modify64(machine: BpfMachine, operation: number, index: number, s: number): void {
  const { regs } = machine;
  const words = machine.memory.i32;
  const oldLow = words[index]!;
  const oldHigh = words[index + 1]!;
  const low = regs[s]!;
  const high = regs[s + 1]!;
  const isCompare = operation === 0xf1;
  if (!isCompare || (oldLow === regs[0]! && oldHigh === regs[1]!)) {
    const sum = combine(operation, oldLow, low);
    const isAdd = (operation & 0xf0) === 0;
    words[index] = sum;
    words[index + 1] = combine(operation, oldHigh, high) + (isAdd && sum >>> 0 < oldLow >>> 0 ? 1 : 0);
  }
  if ((operation & 1) === 0) return;
  const result = isCompare ? 0 : s;
  regs[result] = oldLow;
  regs[result + 1] = oldHigh;
}

/** One word of the result; exchanges (0xe1, 0xf1) take the new value. */
function combine(operation: number, old: number, value: number): number {
  switch (operation & 0xf0) {
    case 0x00:
      return (old + value) | 0;
    case 0x40:
      return old | value;
    case 0x50:
      return old & value;
    case 0xa0:
      return old ^ value;
    default:
      return value;
  }
}
