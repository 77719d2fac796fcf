/** Open-coded iterators on the stack: made, advanced, destroyed. Linux: process_iter_arg(), process_iter_next_call(). */
import { EINVAL, EPROTO } from "@alien-ts/abi";
import { REG } from "@alien-ts/bpf-isa";
import { isInRcu } from "../access/btf-pointer.ts";
import { checkMemory } from "../access/memory.ts";
import type { Analysis } from "../analysis.ts";
import { findPreviousEntry } from "../prune/visited.ts";
import { widen } from "../prune/widen.ts";
import { notNull } from "../state/nullness.ts";
import { FLAG, NULL_REGISTER, pointer } from "../state/register.ts";
import type { IteratorState, Register } from "../state/register.ts";
import { EMPTY_SLOT } from "../state/stack.ts";
import type { Frame } from "../state/state.ts";
import { reject } from "../verdict.ts";
import type { Check } from "../verdict.ts";
import { releaseReference } from "./release.ts";
import { has } from "./kfunc/facts.ts";
import type { Kfunc, KfuncFacts } from "./kfunc/facts.ts";
import { typeOf } from "./kfunc/parameters.ts";
import { stackPlace } from "./stack-place.ts";
import type { Place } from "./stack-place.ts";

const ITERATOR = "iiiiiiii";
const PREFIX = "bpf_iter_";

/** An iterator's type: its name, and how many slots it takes. */
interface Kind {
  readonly name: string;
  readonly slots: number;
}

function kindOf({ btf, prototype }: Kfunc, index: number): Kind | undefined {
  const type = typeOf(btf, prototype.params[index]!.type);
  const target = type?.kind === "ptr" ? typeOf(btf, type.type) : undefined;
  if (target?.kind !== "struct" || !target.name.startsWith(PREFIX)) return undefined;
  return { name: target.name.slice(PREFIX.length), slots: target.size / 8 };
}

const CSS_TASK_PROGRAMS: readonly number[] = [29];
const ITERATOR_ATTACH = 28;

export function checkIteratorArgument(
  analysis: Analysis,
  kfunc: Kfunc,
  number: number,
  facts: KfuncFacts,
): Check {
  const { programType } = analysis.env;
  if (kfunc.name === "bpf_iter_css_task_new") {
    const isAllowed =
      CSS_TASK_PROGRAMS.includes(programType.type) ||
      (programType.type === 26 && programType.attachType === ITERATOR_ATTACH) ||
      analysis.state.isInSleepable;
    if (!isAllowed)
      return reject(EINVAL, "css_task_iter is only allowed in bpf_lsm, bpf_iter and sleepable progs");
  }
  if (analysis.register(number).kind !== "fp")
    return reject(EINVAL, `arg#${number - 1} expected pointer to an iterator on stack`);
  const kind = kindOf(kfunc, number - 1);
  if (kind === undefined) return reject(EINVAL, `expected valid iter pointer as arg #${number - 1}`);
  const place = stackPlace(analysis, number, "iter", kind.slots);
  return has(kfunc, "iter_new")
    ? makeIterator(analysis, kfunc, { number, kind, place })
    : useIterator(analysis, kfunc, { number, kind, place }, facts);
}

interface Argument {
  readonly number: number;
  readonly kind: Kind;
  readonly place: ReturnType<typeof stackPlace>;
}

function makeIterator(analysis: Analysis, kfunc: Kfunc, { number, kind, place }: Argument): Check {
  const refusal = `expected uninitialized iter_${kind.name} as arg #${number - 1}`;
  if ("errno" in place) return reject(EINVAL, `${place.message}\n${refusal}`);
  const frame = analysis.state.frames[place.frame]!;
  const slots = Array.from({ length: kind.slots }, (_, i) => place.slot - i);
  if (slots.some((slot) => frame.stack[slot]?.types.includes("i") === true)) return reject(EINVAL, refusal);
  for (let off = 0; off < kind.slots * 8; off += 8) {
    const write = { number, off, size: 8, kind: "write", into: -1, stored: undefined } as const;
    const bad = checkMemory(analysis, { ...write, isStrict: false, isSigned: false });
    if (bad !== undefined) return bad;
  }
  const id = analysis.newId();
  analysis.state.hold({ kind: "object", id, insn: analysis.index, object: undefined });
  const isProtected = has(kfunc, "rcu_protected");
  const flags = !isProtected ? 0 : isInRcu(analysis) ? FLAG.RCU : FLAG.UNTRUSTED;
  for (const [i, slot] of slots.entries()) {
    analysis.liveStack.wrote(frame.index, slot);
    const iterator: IteratorState = { name: kind.name, state: "active", depth: 0 };
    put(analysis, frame, slot, pointer("fp", { flags, refId: i === 0 ? id : 0, iterator }));
  }
  return undefined;
}

function put(analysis: Analysis, frame: Frame, slot: number, spilled: Register): void {
  frame.stack[slot] = { types: ITERATOR, spilled };
  analysis.touchSlot(slot);
}

function useIterator(
  analysis: Analysis,
  kfunc: Kfunc,
  { number, kind, place }: Argument,
  facts: KfuncFacts,
): Check {
  const refusal = `expected an initialized iter_${kind.name} as arg #${number - 1}`;
  if ("errno" in place) return reject(EINVAL, `${place.message}\n${refusal}`);
  const frame = analysis.state.frames[place.frame]!;
  if (place.isAtTop) return reject(EINVAL, refusal);
  for (let i = 0; i < kind.slots; i++) {
    const slot = frame.stack[place.slot - i];
    const { spilled } = slot ?? EMPTY_SLOT;
    if (slot !== undefined && spilled.has(FLAG.UNTRUSTED) && slot.types === ITERATOR)
      return reject(EPROTO, `expected an RCU CS when using ${kfunc.name}`);
    const isMain = i === 0;
    if (slot?.types !== ITERATOR || spilled.iterator?.name !== kind.name || (spilled.refId !== 0) !== isMain)
      return reject(EINVAL, refusal);
  }
  facts.iterator = place;
  for (let i = 0; i < kind.slots; i++) {
    analysis.liveStack.read(place.frame, place.slot - i);
    analysis.touchSlot(place.slot - i);
  }
  const { refId } = frame.stack[place.slot]!.spilled;
  facts.refId = refId;
  if (has(kfunc, "iter_destroy")) destroyIterator(analysis, place, kind.slots);
  return undefined;
}

/** The iterator that a call of a `next` function advances. */
export const iteratorAt = ({ state }: Analysis, { frame, slot }: Place): Register =>
  state.frames[frame]!.stack[slot]!.spilled;

/** Two ways on: an element and an iterator that is one turn deeper, or NULL and an iterator at its end. */
export function advance(analysis: Analysis, place: Place): Check {
  const { state } = analysis;
  const before = findPreviousEntry(state.parent ?? state, analysis.index);
  const spilled = iteratorAt(analysis, place);
  const iterator = spilled.iterator!;
  if (iterator.state === "active") {
    const queued = state.copy();
    const next = spilled.with({ iterator: { ...iterator, depth: iterator.depth + 1 } });
    put(analysis, queued.frames[place.frame]!, place.slot, next);
    if (before !== undefined) widen(before, queued);
    queued.registers[REG.R0] = notNull(queued.registers[REG.R0]!);
    const full = analysis.push(analysis.index + 1, queued);
    if (full !== undefined) return full;
  }
  put(
    analysis,
    state.frames[place.frame]!,
    place.slot,
    spilled.with({ iterator: { ...iterator, state: "drained" } }),
  );
  analysis.set(REG.R0, NULL_REGISTER);
  return undefined;
}

function destroyIterator(analysis: Analysis, { frame: index, slot }: Place, slots: number): void {
  const frame = analysis.state.frames[index]!;
  const { refId } = frame.stack[slot]!.spilled;
  // What the iterator gave is no longer there.
  releaseReference(analysis, refId);
  for (let i = 0; i < slots; i++) {
    frame.stack[slot - i] = EMPTY_SLOT;
    analysis.liveStack.wrote(index, slot - i);
    analysis.touchSlot(slot - i);
  }
}
