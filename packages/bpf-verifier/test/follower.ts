/**
 * Follows a run along what was walked: at every instruction some visit must contain the machine that follows one that did before.
 *
 * A visit that is reached through another that covers it is told apart: there, numbers that decided nothing mean nothing, unless all
 * were compared. Calls of global functions begin at the function's own walk and go on behind the call. A callback may be called again
 * without its caller's instruction being run again.
 */
import type { Insn } from "@alien-ts/bpf-isa";
import type { Held, World } from "./concrete-world.ts";
import { isLocalCall } from "./inside.ts";
import type { Meaning, Place } from "./inside.ts";
import type { Visit, WalkGraph } from "./walk-graph.ts";

interface Candidate {
  readonly visit: Visit;
  readonly isCovered: boolean;
}

/** A walk that the run is in: the main function's, or a global function's. */
interface Level extends Place {
  readonly candidates: readonly Candidate[];
  /** Objects that the world knew before the function was called. */
  readonly objects: World["objects"];
}

/** Visits as they were walked, and such that cover others. */
type Found = readonly [Set<Visit>, Set<Visit>];

const EXIT = 0x95;
const NOTHING: Held = { references: 0, locks: 0, irqs: 0, rcu: 0, preempt: 0 };

export class Follower {
  readonly #world: World;
  readonly #graph: WalkGraph;
  readonly #meaning: Meaning;
  readonly #insns: readonly Insn[];
  #candidates: readonly Candidate[] = [];
  #place: Place = { base: 0, held: NOTHING };
  #levels: Level[] = [];
  #previous = -1;

  constructor(world: World, graph: WalkGraph, meaning: Meaning) {
    this.#world = world;
    this.#graph = graph;
    this.#meaning = meaning;
    this.#insns = meaning.subject.insns;
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
    const inside = reached.filter(({ visit, isCovered }) => {
      const outside = this.#outside(visit, isCovered);
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

  #outside(visit: Visit, isCovered: boolean): string | undefined {
    const { insn, state, read, marked } = visit;
    const place = this.#place;
    if (!isCovered) return this.#meaning.outside(state, insn, place, "all");
    if (this.#graph.comparesAllNumbers) return this.#meaning.outside(read, insn, place, "all");
    return marked === undefined
      ? this.#meaning.outside(read, insn, place, "none")
      : this.#meaning.outside(marked, insn, place, "precise");
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
    const found: Found = [new Set(), new Set()];
    for (const candidate of before) this.#follow(candidate, found);
    return found.flatMap((visits, isCovered) =>
      [...visits]
        .filter((visit) => visit.insn === slot && visit.state.frames.length === frames)
        .map((visit) => ({ visit, isCovered: isCovered === 1 })),
    );
  }

  #roots(slot: number): readonly Candidate[] {
    const isMain = this.#previous < 0;
    return this.#graph.roots
      .filter((visit, i) => visit.insn === slot && (i === 0) === isMain)
      .map((visit) => ({ visit, isCovered: false }));
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
  #follow({ visit, isCovered }: Candidate, found: Found): void {
    const isCallback = this.#insns[visit.insn]!.opcode === EXIT && visit.state.frames.at(-1)!.isCallback;
    const visitNext = (next: Visit, isNowCovered: boolean): void => {
      const known = found[isNowCovered ? 1 : 0];
      if (known.has(next)) return;
      known.add(next);
      // The helper goes on by itself.
      if (isCallback) this.#follow({ visit: next, isCovered: isNowCovered }, found);
    };
    for (const next of visit.next) visitNext(next, isCovered);
    for (const next of visit.covered) visitNext(next, true);
  }
}
