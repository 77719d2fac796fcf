/**
 * The slots of a frame's stack: 8 bytes each, of which every byte has a type, and a register where one was spilled.
 *
 * Slot 0 is fp-8 … fp-1. Types are one letter per byte, as Linux prints them, from the highest address down: `r` spilled
 * register, `m` any data, `0` zero, `?` nothing, `d` dynptr, `i` iterator, `f` saved interrupt flags. Slots are immutable and
 * shared between states.
 */
import type { Register } from "./register.ts";
import { NOT_INIT } from "./register.ts";

export interface StackSlot {
  /** Eight letters; letter i is the byte at fp - 8 * slot - 1 - i. */
  readonly types: string;
  readonly spilled: Register;
}

export const EMPTY_SLOT: StackSlot = { types: "????????", spilled: NOT_INIT };
/** Data in every byte. */
export const DATA_SLOT: StackSlot = { types: "mmmmmmmm", spilled: NOT_INIT };
/** The types of a slot that holds a whole register. */
export const SPILLED = "rrrrrrrr";

/** Slot of the byte at `off` (negative) from the frame pointer. */
export const slotOf = (off: number): number => (-off - 1) >> 3;
/** Index into `types` of that byte. */
export const byteOf = (off: number): number => (-off - 1) & 7;

export const isSpilled = (slot: StackSlot): boolean => slot.types[7] === "r";
export const isSpilledScalar = (slot: StackSlot): boolean =>
  slot.types[7] === "r" && slot.spilled.kind === "scalar";

/** The types with `size` bytes replaced of which the lowest is at `off`; all are in one slot. */
export function withBytes(types: string, off: number, size: number, letter: "m" | "0"): string {
  if (size === 8) return letter === "m" ? DATA_SLOT.types : ZEROES;
  const end = byteOf(off) + 1;
  return types.slice(0, end - size) + letter.repeat(size) + types.slice(end);
}
const ZEROES = "00000000";

/** The types of a slot in whose low `size` bytes a register was spilled. */
export function spilledTypes({ types }: StackSlot, size: number): string {
  if (size === 8) return SPILLED;
  const rest = 8 - size;
  if (types === EMPTY_SLOT.types) return types.slice(0, rest) + SPILLED.slice(rest);
  if (types === SPILLED) return DATA_SLOT.types.slice(0, rest) + SPILLED.slice(rest);
  return types.slice(0, rest).replaceAll(/[^0?]/g, "m") + SPILLED.slice(rest);
}

/** A slot whose register is no longer whole: its bytes are data, also those beside it that are known to be zero. */
export function scrubbed({ types }: StackSlot): StackSlot {
  return types === SPILLED ? DATA_SLOT : { types: types.replaceAll(/[^?]/g, "m"), spilled: NOT_INIT };
}

/** It belongs to a dynptr or an iterator, or holds saved interrupt flags: all of its bytes do. */
export const isSpecial = ({ types }: StackSlot): boolean => {
  const letter = types[7];
  return letter === "d" || letter === "i" || letter === "f";
};
