/** Dynptrs as arguments: made, read, released. Linux: process_dynptr_func(). */
import { EINVAL } from "@alien-ts/abi";
import { checkStackBounds } from "../access/stack.ts";
import type { Analysis } from "../analysis.ts";
import { destroyDynptr } from "../state/dynptr.ts";
import { UNKNOWN, pointer } from "../state/register.ts";
import type { Register } from "../state/register.ts";
import { EMPTY_SLOT, slotOf } from "../state/stack.ts";
import type { Frame } from "../state/state.ts";
import { reject } from "../verdict.ts";
import type { Check } from "../verdict.ts";
import type { CallFacts } from "./arguments.ts";
import type { ArgumentKind } from "./kinds.ts";

const DYNPTR_BYTES = 16;

/** The main slot of the dynptr that the register points to, or the refusal. */
function slotAt(analysis: Analysis, number: number): number | Check {
  const register = analysis.register(number);
  if (!register.scalar.isConst) return reject(EINVAL, "dynptr has to be at a constant offset");
  const off = register.off + Number(register.scalar.constant);
  if (off % 8 !== 0) return reject(EINVAL, `cannot pass in dynptr at an offset=${off}`);
  const slot = slotOf(off);
  return slot < 1 ? reject(EINVAL, `cannot pass in dynptr at an offset=${off}`) : slot;
}

export function dynptrOf(analysis: Analysis, number: number): Register | undefined {
  const register = analysis.register(number);
  if (register.kind === "dynptr_ptr") return register;
  const slot = slotAt(analysis, number);
  if (typeof slot !== "number") return undefined;
  const found = analysis.state.frames[register.frame]?.stack[slot];
  return found?.types === "dddddddd" && found.spilled.isFirstSlot ? found.spilled : undefined;
}

export function checkDynptrArgument(
  analysis: Analysis,
  facts: CallFacts,
  number: number,
  argument: ArgumentKind,
): Check {
  const register = analysis.register(number);
  if (argument.isUninitialised) return makeDynptr(analysis, facts, number, argument);
  if (register.kind === "fp") {
    const slot = slotAt(analysis, number);
    if (typeof slot !== "number") return slot;
  }
  const dynptr = dynptrOf(analysis, number);
  if (dynptr === undefined) return reject(EINVAL, `Expected an initialized dynptr as arg #${number - 1}`);
  if (argument.dynptr !== undefined && dynptr.dynptr !== argument.dynptr)
    return reject(EINVAL, `Expected a dynptr of type ${argument.dynptr} as arg #${number - 1}`);
  if (argument.releases) {
    if (register.kind !== "fp") return reject(EINVAL, `arg ${number} is an unacquired reference`);
    if (dynptr.refId === 0) return reject(EINVAL, `arg ${number} is an unacquired reference`);
    releaseDynptr(analysis, dynptr);
  }
  facts.dynptrId = dynptr.id;
  if (dynptr.refId !== 0) facts.refId = dynptr.refId;
  return undefined;
}

function makeDynptr(analysis: Analysis, facts: CallFacts, number: number, argument: ArgumentKind): Check {
  const register = analysis.register(number);
  if (register.kind !== "fp") return reject(EINVAL, "Dynptr has to be an uninitialized dynptr");
  const slot = slotAt(analysis, number);
  if (typeof slot !== "number") return slot;
  const outside = checkStackBounds(analysis, number, register.off, DYNPTR_BYTES, "write");
  if (outside !== undefined) return outside;
  const frame = analysis.state.frames[register.frame]!;
  for (const index of [slot, slot - 1]) {
    const types = frame.stack[index]!.types;
    if (/[if]/.test(types)) return reject(EINVAL, "Dynptr has to be an uninitialized dynptr");
    const bad = destroyDynptr(analysis, frame, index);
    if (bad !== undefined) return bad;
  }
  return fill(analysis, facts, frame, slot, argument);
}

function fill(
  analysis: Analysis,
  facts: CallFacts,
  frame: Frame,
  slot: number,
  argument: ArgumentKind,
): Check {
  const id = analysis.newId();
  const dynptr = argument.dynptr ?? "local";
  let refId = 0;
  if (dynptr === "ringbuf") {
    refId = analysis.newId();
    analysis.state.references.push({ kind: "object", id: refId, insn: analysis.index, object: undefined });
  }
  const main = pointer("dynptr_ptr", { dynptr, isFirstSlot: true, id, refId });
  frame.stack[slot] = { types: "dddddddd", spilled: main };
  frame.stack[slot - 1] = { types: "dddddddd", spilled: main.with({ isFirstSlot: false }) };
  if (frame === analysis.frame) {
    analysis.touchSlot(slot);
    analysis.touchSlot(slot - 1);
  }
  facts.dynptrId = id;
  return undefined;
}

/** The reference is given back: every copy and slice of the dynptr ends. */
function releaseDynptr(analysis: Analysis, dynptr: Register): void {
  const { state } = analysis;
  state.references = state.references.filter(({ id }) => id !== dynptr.refId);
  for (const frame of state.frames) {
    frame.stack.forEach((slot, i) => {
      if (slot.types[7] === "d" && slot.spilled.refId === dynptr.refId) {
        frame.stack[i] = EMPTY_SLOT;
        if (frame === analysis.frame) analysis.touchSlot(i);
      }
    });
  }
  state.replaceAll((register) => (register.refId === dynptr.refId ? UNKNOWN : register));
}
