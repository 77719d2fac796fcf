/** Numbers that change from turn to turn of a loop and decided nothing are forgotten. Linux: widen_imprecise_scalars(). */
import { UNKNOWN } from "../state/register.ts";
import type { Register } from "../state/register.ts";
import type { State } from "../state/state.ts";

/** Widens `now` against `before`, which stood at the same instruction. */
export function widen(before: State, now: State): void {
  for (let index = Math.min(before.frames.length, now.frames.length) - 1; index >= 0; index--) {
    const old = before.frames[index]!;
    const frame = now.frames[index]!;
    frame.registers.forEach((register, i) => {
      frame.registers[i] = widened(old.registers[i]!, register);
    });
    frame.stack.forEach((slot, i) => {
      const oldSlot = old.stack[i];
      if (oldSlot === undefined || slot.types[7] !== "r" || oldSlot.types[7] !== "r") return;
      const spilled = widened(oldSlot.spilled, slot.spilled);
      if (spilled !== slot.spilled) frame.stack[i] = { types: slot.types, spilled };
    });
  }
}

function widened(old: Register, now: Register): Register {
  if (!old.isScalar || !now.isScalar || old.isPrecise || now.isPrecise) return now;
  return old.scalar.equals(now.scalar) ? now : UNKNOWN;
}
