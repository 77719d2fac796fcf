/** Numbers that change from turn to turn of a loop and decided nothing are forgotten. Linux: widen_imprecise_scalars(). */
import { UNKNOWN } from "../state/register.ts";
import type { Register } from "../state/register.ts";
import type { State } from "../state/state.ts";
import { IdMap, isExact } from "./equal.ts";

/** Widens `now` against `before`, which stood at the same instruction. */
export function widen(before: State, now: State): void {
  const ids = new IdMap();
  for (let index = Math.min(before.frames.length, now.frames.length) - 1; index >= 0; index--) {
    const old = before.frames[index]!;
    const frame = now.frames[index]!;
    frame.registers.forEach((register, i) => {
      frame.registers[i] = widened(old.registers[i]!, register, ids);
    });
    frame.stack.forEach((slot, i) => {
      const oldSlot = old.stack[i];
      if (oldSlot === undefined || slot.types[7] !== "r" || oldSlot.types[7] !== "r") return;
      const spilled = widened(oldSlot.spilled, slot.spilled, ids);
      if (spilled !== slot.spilled) frame.stack[i] = { types: slot.types, spilled };
    });
  }
}

/** A number is another one as well where it is tied to others in another way. Linux: maybe_widen_reg() */
function widened(old: Register, now: Register, ids: IdMap): Register {
  if (!old.isScalar || !now.isScalar || old.isPrecise || now.isPrecise) return now;
  return isExact(old, now, ids) ? now : UNKNOWN;
}
