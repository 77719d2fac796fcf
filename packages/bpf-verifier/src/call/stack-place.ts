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
  /** At the frame pointer, where nothing is: Linux takes it for the slot below until it is accessed. */
  readonly isAtTop: boolean;
}

export function stackPlace(analysis: Analysis, number: number, word: string, slots: number): Place | Reject {
  const { scalar, off, frame } = analysis.register(number);
  if (!scalar.isConst) return reject(EINVAL, `${word} has to be at a constant offset`);
  const at = off + Number(scalar.constant);
  const slot = slotOf(at);
  const isAtTop = at === 0 && slots === 1;
  if (at % 8 !== 0 || (slot + 1 < slots && !isAtTop))
    return reject(EINVAL, `cannot pass in ${word} at an offset=${at}`);
  return { frame, slot: isAtTop ? 0 : slot, isAtTop };
}
