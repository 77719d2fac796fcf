/**
 * Follows a run along what was walked: at every instruction some visit must contain the machine that follows one that did before.
 *
 * A visit that is reached through another that covers it is told apart: there, numbers that decided nothing mean nothing, unless all
 * were compared, and neither do slots that nobody read behind the one that covers (`stale`), until they are written. Calls of global
 * functions begin at the function's own walk and go on behind the call. A callback may be called again without its caller's
 * instruction being run again.
 */
import type { Insn } from "@alien-ts/bpf-isa";
import { EMPTY_SLOT } from "../src/state/stack.ts";
import type { Held, World } from "./concrete-world.ts";
import { MOST_SLOTS, isLocalCall, slotKey } from "./inside.ts";
import type { Meaning, Place } from "./inside.ts";
import type { Visit, WalkGraph } from "./walk-graph.ts";

interface Candidate {
  readonly visit: Visit;
  readonly isCovered: boolean;
  readonly stale: ReadonlySet<number>;
}

/** A walk that the run is in: the main function's, or a global function's. */
interface Level extends Place {
  readonly candidates: readonly Candidate[];
  /** Objects that the world knew before the function was called. */
  readonly objects: World["objects"];
}

/** Visits that come next, with their stale slots: as they were walked, and such that cover others. */
type Found = readonly [Map<Visit, Set<number>>, Map<Visit, Set<number>>];

const NONE: ReadonlySet<number> = new Set();
/** All eight bytes were written. */
const WHOLE = /^(r{8}|m{8}|d{8}|i{8}|f{8})$/;
/** An atomic operation that loads what was there. */
const isFetch = ({ opcode, imm }: Insn): boolean => (opcode & 0xe7) === 0xc3 && (imm & 1) === 1;

const EXIT = 0x95;
const CALL = 0x85;
const NOTHING: Held = { references: 0, locks: 0, irqs: 0, rcu: 0, preempt: 0 };

export class Follower {
  readonly #world: World;
  readonly #graph: WalkGraph;
  readonly #meaning: Meaning;
  readonly #insns: readonly Insn[];
  /** Marks of precision, put as Linux does, are not all meant where atomic operations give old values back. */
  readonly #hasFetches: boolean;
  #candidates: readonly Candidate[] = [];
  #place: Place = { base: 0, held: NOTHING };
  #levels: Level[] = [];
  #previous = -1;

  constructor(world: World, graph: WalkGraph, meaning: Meaning) {
    this.#world = world;
    this.#graph = graph;
    this.#meaning = meaning;
    this.#insns = meaning.subject.insns;
    this.#hasFetches = this.#insns.some(isFetch);
  }

  start(): void {
    this.#candidates = [];
    this.#place = { base: 0, held: NOTHING };
    this.#levels = [];
    this.#previous = -1;
  }

  /** Undefined where the machine, about to execute `slot`, is where some path was walked. */
  step(slot: number): string | undefined {
    const reached = this.#reached(slot);
    this.#previous = slot;
    let bad: string | undefined;
    const inside = reached.filter((candidate) => {
      const outside = this.#outside(candidate);
      bad = outside ?? bad;
      return outside === undefined;
    });
    this.#candidates = inside;
    if (inside.length > 0) return undefined;
    return reached.length === 0
      ? `insn ${slot} was never walked from there`
      : `insn ${slot} is outside of ${reached.length} walked: ${bad}`;
  }

  /** Undefined where the program may end here. */
  end(): string | undefined {
    const { references, locks, irqs, rcu, preempt } = this.#world.held;
    const left = references + locks + irqs + rcu + preempt;
    return left === 0 ? undefined : `ends with ${JSON.stringify(this.#world.held)}`;
  }

  #outside({ visit, isCovered, stale }: Candidate): string | undefined {
    const { insn, state, marked } = visit;
    const all = !isCovered || this.#graph.comparesAllNumbers;
    const numbers = all ? "all" : marked === undefined || this.#hasFetches ? "none" : "precise";
    return this.#meaning.outside(all ? state : (marked ?? state), insn, this.#place, { numbers, stale });
  }

  #reached(slot: number): readonly Candidate[] {
    if (this.#previous < 0) return this.#roots(0);
    const { depth } = this.#world.machine;
    if (depth < this.#place.base) this.#leave();
    const before = this.#candidates;
    const here = before[0]!.visit;
    if (isLocalCall(this.#insns[here.insn]!) && depth === this.#place.base + here.state.frames.length) {
      const roots = this.#roots(slot);
      if (roots.length > 0) return this.#enter(roots, depth);
    }
    const frames = depth - this.#place.base + 1;
    const found: Found = [new Map(), new Map()];
    for (const candidate of before) this.#follow(candidate, found);
    return found.flatMap((visits, isCovered) =>
      [...visits]
        .filter(([visit]) => visit.insn === slot && visit.state.frames.length === frames)
        .map(([visit, stale]) => ({ visit, isCovered: isCovered === 1, stale })),
    );
  }

  #roots(slot: number): readonly Candidate[] {
    const isMain = this.#previous < 0;
    return this.#graph.roots
      .filter((visit, i) => visit.insn === slot && (i === 0) === isMain)
      .map((visit) => ({ visit, isCovered: false, stale: NONE }));
  }

  #enter(roots: readonly Candidate[], depth: number): readonly Candidate[] {
    const { objects, held } = this.#world;
    this.#levels.push({ ...this.#place, candidates: this.#candidates, objects });
    this.#place = { base: depth, held: { ...held } };
    this.#world.objects = [...objects, ...this.#argumentObjects(roots[0]!.visit)];
    return roots;
  }

  /** What a global function's pointers point to: memory of its caller. */
  #argumentObjects({ state }: Visit): World["objects"] {
    return state.frames[0]!.registers.flatMap(({ kind, memSize }, number) => {
      const { machine } = this.#world;
      if (kind !== "mem" || machine.argHigh(number) !== machine.high) return [];
      const isThere = machine.mayAccess(machine.argLow(number), machine.high, memSize, false);
      return isThere ? [{ base: machine.argPointer(number), size: memSize }] : [];
    });
  }

  #leave(): void {
    const level = this.#levels.pop()!;
    const gone = new Set(this.#world.objects.filter((object) => !level.objects.includes(object)));
    const { candidates } = level;
    this.#place = { base: level.base, held: level.held };
    this.#world.objects = this.#world.objects.filter((object) => !gone.has(object));
    this.#candidates = candidates;
  }

  /** The visits that come after a candidate. One may be reached in both ways: as it was walked, and as one that covers another. */
  #follow(candidate: Candidate, found: Found): void {
    const { visit, isCovered } = candidate;
    const { opcode } = this.#insns[visit.insn]!;
    const isCallback = opcode === EXIT && visit.state.frames.at(-1)!.isCallback;
    const visitNext = (next: Visit, isNowCovered: boolean): void => {
      const known = found[isNowCovered ? 1 : 0];
      const stale = this.#staleIn(candidate, next, isNowCovered && visit.covered.includes(next));
      const before = known.get(next);
      if (before !== undefined) return stale.forEach((slot) => before.add(slot));
      known.set(next, stale);
      // The helper goes on by itself.
      if (isCallback) this.#follow({ visit: next, isCovered: isNowCovered, stale }, found);
    };
    for (const next of visit.next) visitNext(next, isCovered);
    for (const next of visit.covered) visitNext(next, true);
  }

  /** What stays stale on the way from a candidate, and what becomes so where `next` covers what would have been walked. */
  #staleIn({ visit, stale }: Candidate, next: Visit, covers: boolean): Set<number> {
    const after = new Set<number>();
    const { opcode } = this.#insns[visit.insn]!;
    // What a jump teaches of a slot is no write, and a state that covers is another path's.
    const isKept = covers || (opcode !== CALL && ((opcode & 7) === 5 || (opcode & 7) === 6));
    for (const key of stale) {
      const [frame, slot] = [Math.floor(key / MOST_SLOTS), key % MOST_SLOTS];
      const now = next.state.frames[frame]?.stack[slot];
      const isWritten =
        !isKept && now !== visit.state.frames[frame]?.stack[slot] && WHOLE.test(now?.types ?? "");
      if (frame < next.state.frames.length && !isWritten) after.add(key);
    }
    if (!covers) return after;
    next.marked!.frames.forEach(({ stack }, frame) =>
      stack.forEach((slot, i) => slot === EMPTY_SLOT && after.add(slotKey(frame, i))),
    );
    return after;
  }
}
