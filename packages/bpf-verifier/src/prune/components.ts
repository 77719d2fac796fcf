/**
 * Loops in the shape of a program: the strongly connected components of each function's instructions. Linux: compute_scc()
 *
 * A component with more than one instruction or with an edge to itself is a loop and has a number, counted from 1 in the order in
 * which Tarjan's algorithm completes them, which the log shows. A call that calls back again and again is a loop as well; Linux
 * 6.18 does not know it as one, so that its number is negative and is not shown.
 */
import { callsCallback } from "../call/callback-kinds.ts";
import type { ProgramEnv } from "../env.ts";

const LEFT = 0xffff_ffff;

/** The number of the loop that each instruction is part of; 0 for none. */
export function findComponents(env: ProgramEnv, edges: Int32Array): Int32Array {
  const search = new Search(edges);
  for (const [index, insn] of env.insns.entries()) {
    search.from(index);
    if (search.components[index] === 0 && callsCallback(env, insn)) search.components[index] = -1 - index;
  }
  return search.components;
}

class Search {
  readonly components: Int32Array;
  /** Two instructions that may follow each one; -1 for none. */
  readonly #edges: Int32Array;
  /** When an instruction was found, and the earliest on the stack that it leads to. */
  readonly #found: Uint32Array;
  readonly #lowest: Uint32Array;
  readonly #stack: number[] = [];
  #count = 0;
  #next = 1;

  constructor(edges: Int32Array) {
    const count = edges.length / 2;
    this.#edges = edges;
    this.components = new Int32Array(count);
    this.#found = new Uint32Array(count);
    this.#lowest = new Uint32Array(count);
  }

  from(start: number): void {
    if (this.#found[start] !== 0) return;
    const path = [start];
    while (path.length > 0) {
      const index = path[path.length - 1]!;
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

  /** Learns from what follows `index`, what comes next in the text first; the first of these that was not found yet. */
  #lower(index: number): number | undefined {
    for (let i = 2 * index; i < 2 * index + 2; i++) {
      const next = this.#edges[i]!;
      const found = this.#found[next];
      if (found === undefined) continue;
      if (found === 0) return next;
      this.#lowest[index] = Math.min(this.#lowest[index]!, this.#lowest[next]!);
    }
    return undefined;
  }

  #complete(index: number): void {
    const isItsOwn = this.#edges[2 * index] === index || this.#edges[2 * index + 1] === index;
    const isLoop = this.#stack[this.#stack.length - 1] !== index || isItsOwn;
    for (;;) {
      const member = this.#stack.pop()!;
      this.#lowest[member] = LEFT;
      if (isLoop) this.components[member] = this.#next;
      if (member === index) break;
    }
    if (isLoop) this.#next += 1;
  }
}
