/**
 * Whether what was proven for an old state holds for the current one: the old one allows at least as much. Answers to
 * states_equal(), regsafe() and stacksafe() in kernel/bpf/verifier.c.
 *
 * `exact` modes: "exact" means the same state; "within" compares all numbers by range and wants what is in each byte of the stack
 * to be of one kind, "ranges" the numbers alone; "safe" looks at those numbers alone that decided something.
 */
import { UNKNOWN } from "../state/register.ts";
import type { Register } from "../state/register.ts";
import { DATA_SLOT, EMPTY_SLOT, SPILLED } from "../state/stack.ts";
import type { StackSlot } from "../state/stack.ts";
import type { Frame, State } from "../state/state.ts";

export type Exactness = "exact" | "within" | "ranges" | "safe";

/** Pairs of ids that must stand for each other. */
export class IdMap {
  /** Old and current ids by turns. */
  private readonly pairs: number[] = [];
  private temporary = 1 << 30;

  clear(): void {
    if (this.pairs.length > 0) this.pairs.length = 0;
    this.temporary = 1 << 30;
  }

  matches(old: number, now: number): boolean {
    if ((old === 0) !== (now === 0)) return false;
    if (old === 0) return true;
    const { pairs } = this;
    for (let i = 0; i < pairs.length; i += 2) {
      if (pairs[i] === old) return pairs[i + 1] === now;
      if (pairs[i + 1] === now) return false;
    }
    pairs.push(old, now);
    return true;
  }

  /**
   * Of an old number that nothing shared nothing was concluded about others; one without id now is like one whose id nothing
   * shares. Linux: check_scalar_ids()
   */
  matchesScalar(old: number, now: number): boolean {
    if (old === 0) return true;
    return this.matches(old, now === 0 ? (this.temporary += 1) : now);
  }
}

/** How states are compared. One serves for many comparisons. */
export class Comparison {
  exactness: Exactness = "exact";
  /** Slots that were never written may be read. */
  readonly mayReadAnything: boolean;
  /** Nobody tracks which numbers decided something: all do. */
  arePrecise = false;
  /** Numbers are the same, or differ. */
  comparesExactly = false;
  readonly ids = new IdMap();
  /**
   * Register of the innermost frame in which two states differ, -1 for none. Where it is given, it is compared first: what differs
   * from one state often differs from the next as well.
   */
  difference = -1;
  readonly #live: Uint16Array;

  /** @param live registers that are read later, by instruction. */
  constructor(live: Uint16Array, mayReadAnything: boolean) {
    this.#live = live;
    this.mayReadAnything = mayReadAnything;
  }

  /** Registers of a frame that are read later: a caller goes on behind its call, and a callback's caller may call again. */
  liveIn({ frames, insn }: State, frame: number): number {
    const site = frames[frame + 1]?.callSite;
    if (site === undefined) return this.#live[insn]!;
    return site < 0 ? 0x3ff : this.#live[site]! | (this.#live[site + 1] ?? 0);
  }
}

export function statesEqual(old: State, now: State, comparison: Comparison): boolean {
  if (old.frames.length !== now.frames.length || (old.isSpeculative && !now.isSpeculative)) return false;
  const { ids } = comparison;
  if (differsAgain(old, now, comparison)) return false;
  ids.clear();
  if (!sameReferences(old, now, ids)) return false;
  for (let i = 0; i < old.frames.length; i++) {
    const a = old.frames[i]!;
    const b = now.frames[i]!;
    if (a.callSite !== b.callSite || a.subprogram !== b.subprogram) return false;
    if (a.isCallback !== b.isCallback) return false;
    if (!framesEqual(a, b, comparison.liveIn(old, i), comparison)) return false;
  }
  return true;
}

function differsAgain(old: State, now: State, comparison: Comparison): boolean {
  const { difference } = comparison;
  if (difference < 0) return false;
  comparison.ids.clear();
  const isLive = (comparison.liveIn(old, old.frames.length - 1) & (1 << difference)) !== 0;
  if (isLive && !registerSafe(old.registers[difference]!, now.registers[difference]!, comparison))
    return true;
  comparison.difference = -1;
  return false;
}

function sameReferences(old: State, now: State, ids: IdMap): boolean {
  if (
    old.references.length !== now.references.length ||
    old.activeLocks !== now.activeLocks ||
    old.activePreemptLocks !== now.activePreemptLocks ||
    old.activeRcuLocks !== now.activeRcuLocks ||
    old.isInSleepable !== now.isInSleepable
  )
    return false;
  if (!ids.matches(old.activeIrqId, now.activeIrqId)) return false;
  if (old.references.length === 0) return true;
  return old.references.every((reference, i) => {
    const other = now.references[i]!;
    return (
      reference.kind === other.kind &&
      reference.object === other.object &&
      ids.matches(reference.id, other.id)
    );
  });
}

function framesEqual(old: Frame, now: Frame, live: number, comparison: Comparison): boolean {
  // Of a helper that will call back fewer times, not everything was walked.
  if (old.callbackDepth > now.callbackDepth) return false;
  const { registers } = now;
  for (let i = 0; i < 10; i++) {
    if ((live & (1 << i)) === 0 || registerSafe(old.registers[i]!, registers[i]!, comparison)) continue;
    comparison.difference = i;
    return false;
  }
  return stackSafe(old, now, comparison);
}

/** A distance that was made by an addition of low halves is another one. */
const sameDelta = (a: Register, b: Register): boolean =>
  a.hasDelta === b.hasDelta && (!a.hasDelta || a.deltaBits === b.deltaBits);

const sameDistance = (a: Register, b: Register): boolean =>
  sameDelta(a, b) && (!a.hasDelta || a.off === b.off);

/** Everything but ids and the variable part. */
const sameShape = (a: Register, b: Register): boolean =>
  a.kind === b.kind &&
  a.flags === b.flags &&
  a.off === b.off &&
  sameDelta(a, b) &&
  a.frame === b.frame &&
  a.range === b.range &&
  a.map === b.map &&
  a.mapUid === b.mapUid &&
  a.memSize === b.memSize &&
  a.btf === b.btf &&
  a.btfId === b.btfId &&
  a.dynptr === b.dynptr &&
  a.isFirstSlot === b.isFirstSlot &&
  a.subprogram === b.subprogram;

/** Linux: regs_exact() */
export const isExact = (old: Register, now: Register, ids: IdMap): boolean =>
  sameShape(old, now) &&
  old.scalar.equals(now.scalar) &&
  ids.matches(old.id, now.id) &&
  ids.matches(old.refId, now.refId) &&
  ids.matches(old.dynptrId, now.dynptrId);

/** The same in every number, ids as well: a first glance at states that may be one. */
export const isSameButFrame = (a: Register, b: Register): boolean =>
  a === b ||
  (a.id === b.id &&
    a.refId === b.refId &&
    a.dynptrId === b.dynptrId &&
    sameShape(a, b) &&
    a.scalar.equals(b.scalar));

function registerSafe(old: Register, now: Register, comparison: Comparison): boolean {
  const { exactness, ids } = comparison;
  if (old === now && hasNoIds(old)) return true;
  if (exactness === "exact") return isExact(old, now, ids);
  if (old.kind === "?" && (exactness === "safe" || now.kind === "?")) return true;
  if (old.kind !== now.kind) return false;
  switch (old.kind) {
    case "scalar":
      if (comparison.comparesExactly)
        return sameShape(old, now) && old.scalar.equals(now.scalar) && ids.matchesScalar(old.id, now.id);
      if (!old.isPrecise && exactness === "safe" && (!comparison.arePrecise || old === UNKNOWN)) return true;
      if (old.id !== 0 && !sameDistance(old, now)) return false;
      return old.scalar.contains(now.scalar) && ids.matchesScalar(old.id, now.id);
    case "map_key":
    case "map_value":
    case "mem":
    case "buf":
    case "tp_buffer":
      return (
        sameShape(old, now) &&
        old.scalar.contains(now.scalar) &&
        ids.matches(old.id, now.id) &&
        ids.matches(old.refId, now.refId) &&
        ids.matches(old.dynptrId, now.dynptrId)
      );
    case "pkt":
    case "pkt_meta":
      if (old.range < 0 || now.range < 0 ? old.range !== now.range : old.range > now.range) return false;
      return old.off === now.off && ids.matches(old.id, now.id) && old.scalar.contains(now.scalar);
    case "arena":
      return true;
    default:
      return isExact(old, now, ids);
  }
}

/** The number that a load of the whole slot gives; undefined where that is not one. */
function scalarOf({ types, spilled }: StackSlot, mayReadAnything: boolean): Register | undefined {
  if (types === SPILLED) return spilled.isScalar ? spilled : undefined;
  if (types === DATA_SLOT.types) return UNKNOWN;
  if (!mayReadAnything) return undefined;
  return types === EMPTY_SLOT.types || /^[m?]{8}$/.test(types) ? UNKNOWN : undefined;
}

function stackSafe(old: Frame, now: Frame, comparison: Comparison): boolean {
  const { exactness, mayReadAnything, ids } = comparison;
  for (let index = 0; index < old.stack.length; index++) {
    const a = old.stack[index]!;
    const b = now.stack[index];
    if (a === b && hasNoIds(a.spilled)) continue;
    if (exactness === "exact" || exactness === "within") {
      if (b === undefined || a.types !== b.types) return false;
      if (exactness === "exact") {
        if (!isExact(a.spilled, b.spilled, ids)) return false;
        continue;
      }
    }
    if (a.types === EMPTY_SLOT.types) continue;
    const oldScalar = scalarOf(a, mayReadAnything);
    if (oldScalar === UNKNOWN && mayReadAnything) continue;
    if (b === undefined) return false;
    const nowScalar = scalarOf(b, mayReadAnything);
    if (oldScalar !== undefined && nowScalar !== undefined) {
      if (!registerSafe(oldScalar, nowScalar, comparison)) return false;
      continue;
    }
    if (!slotSafe(a, b, comparison)) return false;
  }
  return true;
}

const hasNoIds = ({ id, refId, dynptrId }: Register): boolean => (id | refId | dynptrId) === 0;

function slotSafe(a: StackSlot, b: StackSlot, comparison: Comparison): boolean {
  const { ids, mayReadAnything } = comparison;
  for (let i = 0; i < 8; i++) {
    const old = a.types[i]!;
    const now = b.types[i]!;
    if (old === "?" || old === now) continue;
    if (old === "m" && (mayReadAnything || now === "0")) continue;
    return false;
  }
  switch (a.types[7]) {
    case "r":
      return registerSafe(a.spilled, b.spilled, comparison);
    case "d":
      return (
        a.spilled.dynptr === b.spilled.dynptr &&
        a.spilled.isFirstSlot === b.spilled.isFirstSlot &&
        ids.matches(a.spilled.refId, b.spilled.refId) &&
        ids.matches(a.spilled.id, b.spilled.id)
      );
    case "i":
      return (
        a.spilled.iterator?.name === b.spilled.iterator?.name &&
        a.spilled.iterator?.state === b.spilled.iterator?.state &&
        ids.matches(a.spilled.refId, b.spilled.refId)
      );
    case "f":
      return ids.matches(a.spilled.refId, b.spilled.refId);
    default:
      return true;
  }
}
