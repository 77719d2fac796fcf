/**
 * Loops in the shape of a program: the strongly connected components of each function's instructions. Linux: compute_scc()
 *
 * A component with more than one instruction or with an edge to itself is a loop and has a number, counted from 1 in the order in
 * which Tarjan's algorithm completes them, which the log shows. A call that calls back again and again is a loop as well; Linux
 * 6.18 does not know it as one, so that its number is negative and is not shown.
 */
import { callsCallback } from "../call/callback-kinds.ts";
import { successors } from "../cfg.ts";
import type { ProgramEnv } from "../env.ts";

const LEFT = 0xffff_ffff;

/** The number of the loop that each instruction is part of; 0 for none. */
export function findComponents(env: ProgramEnv): Int32Array {
  const search = new Search(env);
  for (const [index, insn] of env.insns.entries()) {
    search.from(index);
    if (search.components[index] === 0 && callsCallback(env, insn)) search.components[index] = -1 - index;
  }
  return search.components;
}

class Search {
  readonly components: Int32Array;
  readonly #env: ProgramEnv;
  /** When an instruction was found, and the earliest on the stack that it leads to. */
  readonly #found: Uint32Array;
  readonly #lowest: Uint32Array;
  readonly #stack: number[] = [];
  #count = 0;
  #next = 1;

  constructor(env: ProgramEnv) {
    this.#env = env;
    this.components = new Int32Array(env.insns.length);
    this.#found = new Uint32Array(env.insns.length);
    this.#lowest = new Uint32Array(env.insns.length);
  }

  from(start: number): void {
    if (this.#found[start] !== 0) return;
    const path = [start];
    while (path.length > 0) {
      const index = path.at(-1)!;
      if (this.#found[index] === 0) {
        this.#count += 1;
        this.#found[index] = this.#lowest[index] = this.#count;
        this.#stack.push(index);
      }
      const unknown = this.#lower(index);
      if (unknown !== undefined) {
        path.push(unknown);
        continue;
      }
      path.pop();
      if (this.#lowest[index] === this.#found[index]) this.#complete(index);
    }
  }

  /** Learns from what follows `index`; the first of these that was not found yet. */
  #lower(index: number): number | undefined {
    for (const next of this.#successors(index)) {
      const found = this.#found[next];
      if (found === undefined) continue;
      if (found === 0) return next;
      this.#lowest[index] = Math.min(this.#lowest[index]!, this.#lowest[next]!);
    }
    return undefined;
  }

  /** What comes next in the text first: the order decides the numbers. */
  #successors(index: number): readonly number[] {
    const list = successors(this.#env.insns, index, false);
    return list.length === 2 && list[1] === index + 1 ? [list[1], list[0]!] : list;
  }

  #complete(index: number): void {
    const isLoop = this.#stack.at(-1) !== index || this.#successors(index).includes(index);
    for (;;) {
      const member = this.#stack.pop()!;
      this.#lowest[member] = LEFT;
      if (isLoop) this.components[member] = this.#next;
      if (member === index) break;
    }
    if (isLoop) this.#next += 1;
  }
}
