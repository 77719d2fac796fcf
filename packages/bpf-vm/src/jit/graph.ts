/**
 * The control flow of one BPF function: basic blocks over prepared code (program.ts), their dominators, and what structured
 * control flow needs of them.
 *
 * Interface: `buildGraph(program, entry)`. Blocks are numbers in the order of their slots; block data are typed arrays, so
 * that a program of ten thousand instructions makes no objects per instruction. Only reachable slots have blocks; the slot
 * after the last one may be one (it traps). Dominators are those of Cooper, Harvey and Kennedy, "A Simple, Fast Dominance
 * Algorithm"; `isMerge`, `isLoop` and `children` are what Ramsey, "Beyond Relooper", asks for.
 */
import { STRIDE } from "../program.ts";
import type { BpfProgram } from "../program.ts";

/** How a block ends. */
export const ENDS = {
  /** At an exit. */
  exit: 0,
  /** Goes on at `next`: a goto, or the start of another block. */
  goto: 1,
  /** Goes to `taken` if the jump's condition holds, else to `next`. */
  jump: 2,
  /** Goes to `taken` when the frame's turns are used up, else to `next`. */
  mayGoto: 3,
  /** At a slot that cannot run. */
  trap: 4,
} as const;

export interface Graph {
  readonly count: number;
  /** The block of the function's first slot. */
  readonly entry: number;
  readonly start: Int32Array;
  /** Slot after the last one that is executed as part of the block, its terminator excluded. */
  readonly end: Int32Array;
  readonly ends: Uint8Array;
  readonly taken: Int32Array;
  readonly next: Int32Array;
  /** Blocks in reverse postorder, and each one's place in it. */
  readonly order: Int32Array;
  readonly place: Int32Array;
  /** Whether a back edge goes to the block, and whether more than one forward edge does. */
  readonly isLoop: Uint8Array;
  readonly isMerge: Uint8Array;
  /** The blocks that each one dominates immediately, latest in reverse postorder first. */
  readonly children: readonly (readonly number[])[];
  /** Whether every back edge goes to a block that dominates its source. */
  readonly isReducible: boolean;
}

const OP_TRAP = 0x00;
const OP_WIDE = 0x18;
const OP_GOTO = 0x05;
const OP_EXIT = 0x95;
const OP_MAY_GOTO = 0xe5;

export function buildGraph(program: BpfProgram, entry: number): Graph {
  const blocks = findBlocks(program, entry);
  return { ...blocks, ...analyse(blocks) };
}

/** Conditional jumps in register form: class JMP or JMP32 with the source bit, calls and exits apart. */
export const isConditional = (operation: number): boolean => {
  const low = operation & 0x0f;
  return (low === 0x0d || low === 0x0e) && operation !== 0x8d && operation !== 0x86;
};

type Blocks = Pick<Graph, "count" | "entry" | "start" | "end" | "ends" | "taken" | "next">;

const LEADER = 1;
const SEEN = 2;

/** Slots that are reached, and those that start a block. */
function mark(code: Int32Array, slots: number, entry: number): Uint8Array {
  const marks = new Uint8Array(slots + 1);
  const work = [entry];
  marks[entry] = LEADER;
  for (let slot = work.pop(); slot !== undefined; slot = work.pop()) {
    for (let at = slot; (marks[at]! & SEEN) === 0;) {
      marks[at]! |= SEEN;
      const operation = code[at * STRIDE]!;
      if (operation === OP_EXIT || operation === OP_TRAP) break;
      const isGoto = operation === OP_GOTO;
      if (isGoto || operation === OP_MAY_GOTO || isConditional(operation)) {
        const target = code[at * STRIDE + 3]! / STRIDE;
        marks[target]! |= LEADER;
        work.push(target);
        if (isGoto) break;
        marks[at + 1]! |= LEADER;
      }
      at += operation === OP_WIDE ? 2 : 1;
    }
  }
  return marks;
}

function findBlocks({ code, insns }: BpfProgram, entry: number): Blocks {
  const marks = mark(code, insns.length, entry);
  const blockAt = new Int32Array(insns.length + 1);
  const starts: number[] = [];
  for (let slot = 0; slot < marks.length; slot++) {
    if (marks[slot] === (LEADER | SEEN)) {
      blockAt[slot] = starts.length;
      starts.push(slot);
    }
  }
  const count = starts.length;
  const blocks = {
    count,
    entry: blockAt[entry]!,
    start: Int32Array.from(starts),
    end: new Int32Array(count),
    ends: new Uint8Array(count),
    taken: new Int32Array(count).fill(-1),
    next: new Int32Array(count).fill(-1),
  };
  for (let block = 0; block < count; block++) endBlock(blocks, block, code, marks, blockAt);
  return blocks;
}

function endBlock(
  blocks: Blocks,
  block: number,
  code: Int32Array,
  marks: Uint8Array,
  blockAt: Int32Array,
): void {
  const { start, end, ends, taken, next } = blocks;
  for (let at = start[block]!; ;) {
    const operation = code[at * STRIDE]!;
    end[block] = at;
    if (operation === OP_EXIT || operation === OP_TRAP) {
      ends[block] = operation === OP_EXIT ? ENDS.exit : ENDS.trap;
      return;
    }
    if (operation === OP_GOTO) {
      ends[block] = ENDS.goto;
      next[block] = blockAt[code[at * STRIDE + 3]! / STRIDE]!;
      return;
    }
    if (operation === OP_MAY_GOTO || isConditional(operation)) {
      ends[block] = operation === OP_MAY_GOTO ? ENDS.mayGoto : ENDS.jump;
      taken[block] = blockAt[code[at * STRIDE + 3]! / STRIDE]!;
      next[block] = blockAt[at + 1]!;
      if (taken[block] === next[block]) ends[block] = ENDS.goto;
      return;
    }
    at += operation === OP_WIDE ? 2 : 1;
    if (((marks[at] ?? 0) & LEADER) !== 0) {
      end[block] = at;
      ends[block] = ENDS.goto;
      next[block] = blockAt[at]!;
      return;
    }
  }
}

type Analysis = Omit<Graph, keyof Blocks>;

function analyse(blocks: Blocks): Analysis {
  const { count } = blocks;
  const order = reversePostorder(blocks);
  const place = new Int32Array(count);
  order.forEach((block, i) => (place[block] = i));
  const predecessors = predecessorsOf(blocks);
  const dominator = dominators(blocks.entry, order, place, predecessors);
  const isLoop = new Uint8Array(count);
  const isMerge = new Uint8Array(count);
  let isReducible = true;
  for (let block = 0; block < count; block++) {
    let forward = 0;
    for (const from of predecessors[block]!) {
      if (place[from]! < place[block]!) {
        forward += 1;
        continue;
      }
      isLoop[block] = 1;
      if (!dominates(dominator, place, block, from)) isReducible = false;
    }
    if (forward > 1) isMerge[block] = 1;
  }
  const children: number[][] = Array.from({ length: count }, () => []);
  for (let i = count - 1; i > 0; i--) children[dominator[order[i]!]!]!.push(order[i]!);
  return { order, place, isLoop, isMerge, children, isReducible };
}

/** Taken targets are visited first, so that what follows a jump in the program follows it in the order too. */
function reversePostorder({ count, entry, taken, next }: Blocks): Int32Array {
  const order = new Int32Array(count);
  const visited = new Uint8Array(count);
  const stack = [entry];
  const steps = new Uint8Array(count);
  let free = count;
  visited[entry] = 1;
  while (stack.length > 0) {
    const block = stack.at(-1)!;
    const step = steps[block]!++;
    if (step > 1) {
      order[--free] = block;
      stack.pop();
      continue;
    }
    const successor = step === 0 ? taken[block]! : next[block]!;
    if (successor >= 0 && visited[successor] === 0) {
      visited[successor] = 1;
      stack.push(successor);
    }
  }
  return order;
}

function predecessorsOf({ count, taken, next }: Blocks): number[][] {
  const predecessors: number[][] = Array.from({ length: count }, () => []);
  for (let block = 0; block < count; block++) {
    const a = next[block]!;
    const b = taken[block]!;
    if (a >= 0) predecessors[a]!.push(block);
    if (b >= 0 && b !== a) predecessors[b]!.push(block);
  }
  return predecessors;
}

function dominators(
  entry: number,
  order: Int32Array,
  place: Int32Array,
  predecessors: readonly (readonly number[])[],
): Int32Array {
  const dominator = new Int32Array(order.length).fill(-1);
  dominator[entry] = entry;
  for (let hasChanged = true; hasChanged;) {
    hasChanged = false;
    for (const block of order) {
      if (block === entry) continue;
      let common = -1;
      for (const from of predecessors[block]!) {
        if (dominator[from]! < 0) continue;
        common = common < 0 ? from : intersect(dominator, place, common, from);
      }
      if (dominator[block] !== common) {
        dominator[block] = common;
        hasChanged = true;
      }
    }
  }
  return dominator;
}

function intersect(dominator: Int32Array, place: Int32Array, a: number, b: number): number {
  let x = a;
  let y = b;
  while (x !== y) {
    while (place[x]! > place[y]!) x = dominator[x]!;
    while (place[y]! > place[x]!) y = dominator[y]!;
  }
  return x;
}

function dominates(dominator: Int32Array, place: Int32Array, a: number, b: number): boolean {
  let at = b;
  while (place[at]! > place[a]!) at = dominator[at]!;
  return at === a;
}

/** Instructions of each block's loop, of that with the block as header; 0 where it heads none. */
export function loopSizes(graph: Graph): Int32Array {
  const sizes = new Int32Array(graph.count);
  const before = predecessors(graph);
  for (let header = 0; header < graph.count; header++) {
    if (graph.isLoop[header] === 0) continue;
    const inside = new Set([header]);
    const work = before[header]!.filter((block) => graph.place[header]! <= graph.place[block]!);
    for (let block = work.pop(); block !== undefined; block = work.pop()) {
      if (inside.has(block)) continue;
      inside.add(block);
      work.push(...before[block]!);
    }
    for (const block of inside) sizes[header]! += graph.end[block]! - graph.start[block]! + 1;
  }
  return sizes;
}

function predecessors({ count, next, taken }: Graph): number[][] {
  const before: number[][] = Array.from({ length: count }, () => []);
  for (let block = 0; block < count; block++) {
    for (const to of [next[block]!, taken[block]!]) if (to >= 0) before[to]!.push(block);
  }
  return before;
}

/** Instructions of all blocks. */
export function graphSize({ count, start, end }: Graph): number {
  let size = 0;
  for (let block = 0; block < count; block++) size += end[block]! - start[block]! + 1;
  return size;
}
