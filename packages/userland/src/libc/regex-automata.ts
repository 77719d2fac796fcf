/**
 * Deterministic automata over a program, built state by state as texts need them. A step costs one table look-up once it
 * was made, and at most the size of the program before; so a search takes time linear in text times pattern, always.
 *
 * A state stands between two characters. What an assertion sees of the next one is known only at the step over it, so a
 * step says whether the state before it matched.
 *
 * `Forward` runs from a place to the longest match; or, `isSearching`, beginning anew at each place, to any match.
 * `Backward` runs from the end of the text and finds for each place the instructions from which a match can be reached:
 * where matches start, and which runs are hopeless.
 */
import { MATCH, type Program, SIDE, holds, sideAt } from "./regex-program.ts";

/** Elements of all kept states; then all are dropped and built anew as needed. */
const MOST_KEPT = 1 << 21;

interface State {
  /** Sorted instructions. */
  readonly members: Int32Array;
  /** What assertions see on the side where the text was already read. */
  readonly side: number;
}

/** States, and the table of steps from each by class. An entry is twice the next state, and one more where it matched. */
abstract class Automaton {
  readonly program: Program;
  readonly stride: number;
  steps = new Int32Array(0);
  /** Counts how often all states were dropped. */
  generation = 0;
  protected states: State[] = [];
  /** States by the hash of their members. */
  readonly #ids = new Map<number, number[]>();
  #kept = 0;
  readonly #marks: Uint32Array;
  #mark = 0;

  constructor(program: Program) {
    this.program = program;
    this.stride = program.classes + 1;
    this.#marks = new Uint32Array(program.code.length);
  }

  protected abstract makeStep(from: State, cls: number, index: number): number;

  /** Makes the missing step from `state` over `cls`. State numbers from before a new generation are void. */
  step(state: number, cls: number): number {
    const from = this.states[state]!;
    if (this.#kept > MOST_KEPT) {
      this.drop();
      return this.makeStep(from, cls, -1);
    }
    const index = state * this.stride + cls;
    const step = this.makeStep(from, cls, index);
    this.steps[index] = step;
    return step;
  }

  protected drop(): void {
    this.#kept = 0;
    this.#ids.clear();
    this.states = [];
    this.generation += 1;
  }

  protected intern(list: readonly number[], side: number): number {
    const members = Int32Array.from(list).sort();
    let hash = side;
    for (const member of members) hash = (Math.imul(hash, 31) + member) | 0;
    const known = this.#ids.get(hash) ?? [];
    for (const id of known) if (isSame(this.states[id]!, members, side)) return id;
    const id = this.states.push({ members, side }) - 1;
    this.#ids.set(hash, [...known, id]);
    this.keep(members.length + this.stride);
    const needed = (id + 1) * this.stride;
    if (needed > this.steps.length) {
      const grown = new Int32Array(needed * 2 + 64);
      grown.set(this.steps);
      this.steps = grown;
    }
    this.steps.fill(-1, id * this.stride, needed);
    return id;
  }

  protected keep(elements: number): void {
    this.#kept += elements;
  }

  /** Begins a new set of marks; `isNew` is true once for each instruction then. */
  protected beginMarks(): void {
    this.#mark += 1;
  }

  protected isNew(at: number): boolean {
    if (this.#marks[at] === this.#mark) return false;
    this.#marks[at] = this.#mark;
    return true;
  }

  /** Sides matter only where an assertion looks. */
  protected sideOf(cls: number): number {
    return this.program.sideOf[cls]!;
  }
}

function isSame(state: State, members: Int32Array, side: number): boolean {
  if (state.side !== side || state.members.length !== members.length) return false;
  for (let i = 0; i < members.length; i++) if (members[i] !== state.members[i]) return false;
  return true;
}

export class Forward extends Automaton {
  readonly #isSearching: boolean;

  constructor(program: Program, isSearching: boolean) {
    super(program);
    this.#isSearching = isSearching;
  }

  startState(text: string, at: number): number {
    return this.intern([this.program.start], this.#seen(sideAt(text, at - 1)));
  }

  members(state: number): Int32Array {
    return this.states[state]!.members;
  }

  protected makeStep({ members, side }: State, cls: number): number {
    const { code, sample, start } = this.program;
    const after = this.sideOf(cls);
    const next: number[] = [];
    const stack = [...members];
    let isMatch = 0;
    this.beginMarks();
    for (let at = stack.pop(); at !== undefined; at = stack.pop()) {
      if (!this.isNew(at)) continue;
      const each = code[at]!;
      if (each.op === "match") isMatch = 1;
      else if (each.op === "set") {
        if (cls < this.program.classes && each.set[sample[cls]!] === 1) next.push(each.next);
      } else if (each.op === "split") stack.push(each.other, each.next);
      else if (each.op !== "assert" || holds(each.what, side, after, this.program.isMultiline)) {
        stack.push(each.next);
      }
    }
    if (this.#isSearching) next.push(start);
    return this.intern([...new Set(next)], next.length === 0 ? 0 : this.#seen(after)) * 2 + isMatch;
  }

  /** Without assertions all sides are the same state. */
  #seen(side: number): number {
    return this.program.hasAssertions ? side : SIDE.edge;
  }
}

export class Backward extends Automaton {
  readonly #before: readonly (readonly number[])[];
  /** By step: the instructions from which a match can be reached at the place stepped from. */
  readonly #reaching = new Map<number, Int32Array>();

  constructor(program: Program) {
    super(program);
    const before: number[][] = program.code.map(() => []);
    program.code.forEach((each, at) => {
      if (each.op === "match") return;
      before[each.next]!.push(at);
      if (each.op === "split") before[each.other]!.push(at);
    });
    this.#before = before;
  }

  endState(): number {
    return this.intern([MATCH], SIDE.edge);
  }

  /** Whether none of the sorted `members` reaches a match from the place that the step numbered `index` was made from. */
  isHopeless(members: Int32Array, index: number): boolean {
    const reaching = this.#reaching.get(index);
    if (reaching === undefined) return false;
    for (let i = 0, j = 0; i < members.length && j < reaching.length;) {
      if (members[i] === reaching[j]) return false;
      if (members[i]! < reaching[j]!) i += 1;
      else j += 1;
    }
    return true;
  }

  protected override drop(): void {
    super.drop();
    this.#reaching.clear();
  }

  protected makeStep(state: State, cls: number, index: number): number {
    const { code, sample, start, classes, isMultiline } = this.program;
    const side = this.sideOf(cls);
    const reaching: number[] = [];
    let isStart = 0;
    this.beginMarks();
    // A match can end at every place.
    const next = [MATCH];
    const stack = [...state.members];
    for (let at = stack.pop(); at !== undefined; at = stack.pop()) {
      if (!this.isNew(at)) continue;
      reaching.push(at);
      if (at === start) isStart = 1;
      for (const before of this.#before[at]!) {
        const each = code[before]!;
        if (each.op === "set") {
          if (cls < classes && each.set[sample[cls]!] === 1) next.push(before);
        } else if (each.op !== "assert" || holds(each.what, side, state.side, isMultiline))
          stack.push(before);
      }
    }
    if (index >= 0) {
      this.#reaching.set(index, Int32Array.from(reaching).sort());
      this.keep(reaching.length);
    }
    return this.intern(next, this.program.hasAssertions ? side : SIDE.edge) * 2 + isStart;
  }
}
