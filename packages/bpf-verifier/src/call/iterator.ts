/** Open-coded iterators on the stack: made, advanced, destroyed. Linux: process_iter_arg(), process_iter_next_call(). */
import { EINVAL } from "@alien-ts/abi";
import { REG } from "@alien-ts/bpf-isa";
import { checkStackBounds } from "../access/stack.ts";
import type { Analysis } from "../analysis.ts";
import { findPreviousEntry } from "../prune/visited.ts";
import { widen } from "../prune/widen.ts";
import { FLAG, NULL_REGISTER, UNKNOWN, pointer } from "../state/register.ts";
import type { IteratorState } from "../state/register.ts";
import { EMPTY_SLOT, slotOf } from "../state/stack.ts";
import type { Frame } from "../state/state.ts";
import { reject } from "../verdict.ts";
import type { Check } from "../verdict.ts";

const ITERATOR = "iiiiiiii";
const NUMBER_BYTES = 4;

interface Place {
  readonly frame: number;
  readonly slot: number;
}

/** The slot that r1 points to, or the refusal. */
function placeOf(analysis: Analysis): Place | NonNullable<Check> {
  const bad = analysis.read(REG.R1);
  if (bad !== undefined) return bad;
  const register = analysis.register(REG.R1);
  if (register.kind !== "fp") return reject(EINVAL, "arg#0 expected pointer to an iterator on stack");
  if (!register.scalar.isConst) return reject(EINVAL, "iter has to be at a constant offset");
  const off = register.off + Number(register.scalar.constant);
  if (off % 8 !== 0) return reject(EINVAL, `cannot pass in iter at an offset=${off}`);
  const outside = checkStackBounds(analysis, REG.R1, register.off, 8, "write");
  if (outside !== undefined) return outside;
  return { frame: register.frame, slot: slotOf(off) };
}

export function newIterator(analysis: Analysis, name: string): Check {
  const place = placeOf(analysis);
  if (!("slot" in place)) return place;
  const frame = analysis.state.frames[place.frame]!;
  if (/[dif]/.test(frame.stack[place.slot]!.types))
    return reject(EINVAL, `expected uninitialized iter_${name} as arg #0`);
  const id = analysis.newId();
  analysis.state.references.push({ kind: "object", id, insn: analysis.index, object: undefined });
  put(analysis, frame, place.slot, id, { name, state: "active", depth: 0 });
  return undefined;
}

function put(analysis: Analysis, frame: Frame, slot: number, refId: number, iterator: IteratorState): void {
  frame.stack[slot] = { types: ITERATOR, spilled: pointer("fp", { refId, iterator }) };
  if (frame === analysis.frame) analysis.touchSlot(slot);
}

interface Found extends Place {
  readonly refId: number;
  readonly iterator: IteratorState;
}

function found(analysis: Analysis, name: string): Found | NonNullable<Check> {
  const place = placeOf(analysis);
  if (!("slot" in place)) return place;
  const { types, spilled } = analysis.state.frames[place.frame]!.stack[place.slot]!;
  if (types !== ITERATOR || spilled.iterator?.name !== name)
    return reject(EINVAL, `expected an initialized iter_${name} as arg #0`);
  return { ...place, refId: spilled.refId, iterator: spilled.iterator };
}

/** Two ways on: a number and an iterator that is one turn deeper, or NULL and an iterator at its end. */
export function nextNumber(analysis: Analysis): Check {
  const iterator = found(analysis, "num");
  if (!("slot" in iterator)) return iterator;
  const { state } = analysis;
  const before = findPreviousEntry(state.parent ?? state, analysis.index);
  analysis.clearCallerSaved();
  if (iterator.iterator.state === "active") {
    const queued = state.copy();
    const { depth, name } = iterator.iterator;
    put(analysis, queued.frames[iterator.frame]!, iterator.slot, iterator.refId, {
      name,
      state: "active",
      depth: depth + 1,
    });
    if (before !== undefined) widen(before, queued);
    queued.registers[REG.R0] = pointer("mem", {
      flags: FLAG.RDONLY,
      memSize: NUMBER_BYTES,
      refId: iterator.refId,
    });
    const full = analysis.push(analysis.index + 1, queued);
    if (full !== undefined) return full;
  }
  put(analysis, state.frames[iterator.frame]!, iterator.slot, iterator.refId, {
    ...iterator.iterator,
    state: "drained",
  });
  analysis.set(REG.R0, NULL_REGISTER);
  return undefined;
}

export function destroyIterator(analysis: Analysis, name: string): Check {
  const iterator = found(analysis, name);
  if (!("slot" in iterator)) return iterator;
  const { state } = analysis;
  state.references = state.references.filter(({ id }) => id !== iterator.refId);
  const frame = state.frames[iterator.frame]!;
  frame.stack[iterator.slot] = EMPTY_SLOT;
  if (frame === analysis.frame) analysis.touchSlot(iterator.slot);
  // What the iterator gave is no longer there.
  state.replaceAll((register) => (register.refId === iterator.refId ? UNKNOWN : register));
  return undefined;
}
