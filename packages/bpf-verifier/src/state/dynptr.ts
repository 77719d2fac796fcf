/** Dynptrs on the stack: what an overwrite of their slots means. Linux: destroy_if_dynptr_stack_slot(). */
import { EINVAL } from "@alien-ts/abi";
import type { Analysis } from "../analysis.ts";
import { reject } from "../verdict.ts";
import type { Check } from "../verdict.ts";
import { FLAG } from "./register.ts";
import { EMPTY_SLOT } from "./stack.ts";
import type { Frame } from "./state.ts";

/** A write into a dynptr ends it, and the slices taken from it; one that holds a reference must not be lost. */
export function destroyDynptr(analysis: Analysis, frame: Frame, index: number): Check {
  const { types, spilled } = frame.stack[index]!;
  if (types[7] !== "d") return undefined;
  const first = spilled.isFirstSlot ? index : index + 1;
  const main = frame.stack[first]!.spilled;
  if (main.dynptr === "ringbuf") return reject(EINVAL, "cannot overwrite referenced dynptr");
  frame.stack[first] = EMPTY_SLOT;
  frame.stack[first - 1] = EMPTY_SLOT;
  for (const slot of [first, first - 1]) {
    analysis.liveStack.wrote(frame.index, slot);
    analysis.touchSlot(slot);
  }
  analysis.state.replaceAll((register) => {
    const isPlain = register.kind === "mem" && (register.flags & ~FLAG.MAYBE_NULL) === 0;
    return isPlain && register.dynptrId !== 0 && register.dynptrId === main.id ? analysis.gone : register;
  });
  return undefined;
}
