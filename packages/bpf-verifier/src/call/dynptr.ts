/** Dynptrs as arguments: made, read, released. Linux: process_dynptr_func(). */
import { EINVAL } from "@alien-ts/abi";
import { checkMemory } from "../access/memory.ts";
import type { Analysis } from "../analysis.ts";
import { assert } from "../assert.ts";
import { destroyDynptr } from "../state/dynptr.ts";
import { UNKNOWN, pointer } from "../state/register.ts";
import type { DynptrKind, Register } from "../state/register.ts";
import { EMPTY_SLOT } from "../state/stack.ts";
import { reject } from "../verdict.ts";
import type { Check, Reject } from "../verdict.ts";
import { stackPlace } from "./stack-place.ts";
import type { Place } from "./stack-place.ts";

const SLOTS = 2;
const DYNPTR = "dddddddd";

/** What a function does with a dynptr. */
export interface DynptrArgument {
  /** It makes one here. */
  readonly isUninitialised: boolean;
  /** It gives back what the dynptr holds. */
  readonly releases: boolean;
  readonly dynptr: DynptrKind | undefined;
  /** Of a copy: the reference of the first. */
  readonly clonedRef?: number;
}

export interface FoundDynptr {
  readonly id: number;
  readonly kind: DynptrKind;
  readonly refId: number;
}

/** The dynptr that the register points to, or where there is none. */
function dynptrAt(analysis: Analysis, number: number): Register | Reject | undefined {
  const register = analysis.register(number);
  if (register.kind === "dynptr_ptr") return register;
  const place = stackPlace(analysis, number, "dynptr", SLOTS);
  if ("errno" in place) return place;
  const { stack } = analysis.state.frames[place.frame]!;
  const first = stack[place.slot];
  const isWhole = first?.types === DYNPTR && stack[place.slot - 1]?.types === DYNPTR;
  if (isWhole) {
    for (const slot of [place.slot, place.slot - 1]) {
      analysis.liveStack.read(place.frame, slot);
      analysis.touchSlot(slot);
    }
  }
  return isWhole && first.spilled.isFirstSlot ? first.spilled : undefined;
}

/** @param found told of the dynptr, made or met. */
export function checkDynptrArgument(
  analysis: Analysis,
  number: number,
  argument: DynptrArgument,
  found: (dynptr: FoundDynptr) => void,
): Check {
  const register = analysis.register(number);
  if (register.kind !== "fp" && register.kind !== "dynptr_ptr")
    return reject(EINVAL, `arg#${number - 1} expected pointer to stack or const struct bpf_dynptr`);
  if (argument.isUninitialised) return makeDynptr(analysis, number, argument);
  const dynptr = dynptrAt(analysis, number);
  if (argument.releases) {
    if (register.kind !== "fp") return reject(EINVAL, "cannot release unowned const bpf_dynptr");
    if (!isHeld(analysis, number))
      return reject(EINVAL, `${before(dynptr)}arg ${number} is an unacquired reference`);
  }
  if (dynptr === undefined || "errno" in dynptr)
    return reject(EINVAL, `${before(dynptr)}Expected an initialized dynptr as arg #${number - 1}`);
  if (argument.releases) {
    assert(dynptr.refId !== 0 && dynptr.dynptr === argument.dynptr, "only records are held by dynptrs");
    releaseDynptr(analysis, dynptr);
  }
  found({ id: dynptr.id, kind: dynptr.dynptr ?? "local", refId: dynptr.refId });
  return undefined;
}

/** The slot has what must be given back, whether or not that is a dynptr and begins there. */
function isHeld(analysis: Analysis, number: number): boolean {
  const place = stackPlace(analysis, number, "dynptr", SLOTS);
  if ("errno" in place) return false;
  const slot = analysis.state.frames[place.frame]!.stack[place.slot];
  return slot !== undefined && slot.spilled.refId !== 0;
}

const before = (refusal: Reject | Register | undefined): string =>
  refusal !== undefined && "errno" in refusal ? `${refusal.message}\n` : "";

function makeDynptr(analysis: Analysis, number: number, argument: DynptrArgument): Check {
  const refusal = "Dynptr has to be an uninitialized dynptr";
  if (analysis.register(number).kind !== "fp") return reject(EINVAL, refusal);
  const place = stackPlace(analysis, number, "dynptr", SLOTS);
  if ("errno" in place) return reject(EINVAL, `${place.message}\n${refusal}`);
  for (let off = 0; off < SLOTS * 8; off += 8) {
    const write = { number, off, size: 8, kind: "write", into: -1, stored: undefined } as const;
    const bad = checkMemory(analysis, { ...write, isStrict: false, isSigned: false });
    if (bad !== undefined) return bad;
  }
  return fill(analysis, place, argument);
}

function fill(analysis: Analysis, { frame: index, slot }: Place, argument: DynptrArgument): Check {
  const frame = analysis.state.frames[index]!;
  for (const at of [slot, slot - 1]) {
    const bad = destroyDynptr(analysis, frame, at);
    if (bad !== undefined) return bad;
  }
  const id = analysis.newId();
  const dynptr = argument.dynptr ?? "local";
  let refId = 0;
  if (dynptr === "ringbuf") {
    refId = argument.clonedRef ?? 0;
    if (refId === 0) {
      refId = analysis.newId();
      analysis.state.hold({ kind: "object", id: refId, insn: analysis.index, object: undefined });
    }
  }
  const main = pointer("dynptr_ptr", { dynptr, isFirstSlot: true, id, refId });
  for (const at of [slot, slot - 1]) analysis.liveStack.wrote(index, at);
  frame.stack[slot] = { types: DYNPTR, spilled: main };
  frame.stack[slot - 1] = { types: DYNPTR, spilled: main.with({ isFirstSlot: false }) };
  analysis.touchSlot(slot);
  analysis.touchSlot(slot - 1);
  return undefined;
}

/** The reference is given back: every copy and slice of the dynptr ends. */
function releaseDynptr(analysis: Analysis, dynptr: Register): void {
  const { state } = analysis;
  state.references = state.references.filter(({ id }) => id !== dynptr.refId);
  const ended = new Set<number>();
  for (const frame of state.frames) {
    frame.stack.forEach((slot, i) => {
      if (slot.types[7] !== "d" || slot.spilled.refId !== dynptr.refId) return;
      ended.add(slot.spilled.id);
      frame.stack[i] = EMPTY_SLOT;
      analysis.liveStack.wrote(frame.index, i);
      analysis.touchSlot(i);
    });
  }
  state.replaceAll((register) =>
    register.refId === dynptr.refId || (register.dynptrId !== 0 && ended.has(register.dynptrId))
      ? UNKNOWN
      : register,
  );
}
