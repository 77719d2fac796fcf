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

/** Slot of the byte at `off` (negative) from the frame pointer. */
export const slotOf = (off: number): number => (-off - 1) >> 3;
/** Index into `types` of that byte. */
export const byteOf = (off: number): number => (-off - 1) & 7;

export const isSpilled = (slot: StackSlot): boolean => slot.types[7] === "r";
export const isSpilledScalar = (slot: StackSlot): boolean =>
  slot.types[7] === "r" && slot.spilled.kind === "scalar";

/** The types with the byte at index `at` replaced. */
export const withByte = (types: string, at: number, letter: string): string =>
  types.slice(0, at) + letter + types.slice(at + 1);

/** A slot whose register is no longer whole: its bytes are data, also those beside it that are known to be zero. */
export const scrubbed = (slot: StackSlot): StackSlot => ({
  types: slot.types.replaceAll(/[^?]/g, "m"),
  spilled: NOT_INIT,
});
