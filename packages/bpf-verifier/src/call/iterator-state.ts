/** What a state knows of the iterator that it is about to advance. */
import { REG } from "@alien-ts/bpf-isa";
import { slotOf } from "../state/stack.ts";
import type { State } from "../state/state.ts";

/** The iterator that r1 of a state points to is not at its end. */
export function isActiveIterator(state: State): boolean {
  const register = state.registers[REG.R1]!;
  if (register.kind !== "fp" || !register.scalar.isConst) return false;
  const slot = state.frames[register.frame]?.stack[slotOf(register.off + Number(register.scalar.constant))];
  return slot?.spilled.iterator?.state === "active";
}
