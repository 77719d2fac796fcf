/** Dynptrs on the stack: what an overwrite of their slots means. Linux: destroy_if_dynptr_stack_slot(). */
import { EINVAL } from "@alien-ts/abi";
import type { Analysis } from "../analysis.ts";
import { reject } from "../verdict.ts";
import type { Check } from "../verdict.ts";
import { UNKNOWN } from "./register.ts";
import { EMPTY_SLOT } from "./stack.ts";
import type { Frame } from "./state.ts";

/** A write into a dynptr ends it, and the slices taken from it; one that holds a reference must not be lost. */
export function destroyDynptr(analysis: Analysis, frame: Frame, index: number): Check {
  const slot = frame.stack[index]!;
  if (slot.types[7] !== "d") return undefined;
  const first = slot.spilled.isFirstSlot ? index : index + 1;
  const main = frame.stack[first]!.spilled;
  if (main.dynptr === "ringbuf") {
    // Copies of a referenced dynptr may still release it.
    const copies = analysis.state.frames
      .flatMap(({ stack }) => stack)
      .filter(
        ({ types, spilled }) => types[7] === "d" && spilled.isFirstSlot && spilled.refId === main.refId,
      );
    if (copies.length <= 1) return reject(EINVAL, "cannot overwrite referenced dynptr");
  }
  frame.stack[first] = EMPTY_SLOT;
  frame.stack[first - 1] = EMPTY_SLOT;
  if (frame === analysis.frame) {
    analysis.touchSlot(first);
    analysis.touchSlot(first - 1);
  }
  analysis.state.replaceAll((register) =>
    register.kind === "mem" && register.dynptrId !== 0 && register.dynptrId === main.id ? UNKNOWN : register,
  );
  return undefined;
}
