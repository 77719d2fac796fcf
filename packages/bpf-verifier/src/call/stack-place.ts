/** Where on the stack a register points that must point to an object there. Linux: stack_slot_obj_get_spi(). */
import { EINVAL } from "@alien-ts/abi";
import type { Analysis } from "../analysis.ts";
import { slotOf } from "../state/stack.ts";
import { reject } from "../verdict.ts";
import type { Reject } from "../verdict.ts";

export interface Place {
  readonly frame: number;
  /** The slot of its first bytes; the others are below. */
  readonly slot: number;
}

export function stackPlace(analysis: Analysis, number: number, word: string, slots: number): Place | Reject {
  const { scalar, off, frame } = analysis.register(number);
  if (!scalar.isConst) return reject(EINVAL, `${word} has to be at a constant offset`);
  const at = off + Number(scalar.constant);
  const slot = slotOf(at);
  if (at % 8 !== 0 || slot + 1 < slots) return reject(EINVAL, `cannot pass in ${word} at an offset=${at}`);
  return { frame, slot };
}
