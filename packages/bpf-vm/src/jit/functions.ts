/**
 * The functions of a BPF program, and what passes between them in registers.
 *
 * Interface: `findFunctions(program)`. A function starts at slot 0, where a local call goes, or where the address of a function
 * is taken; functions may share instructions. `liveIn` are the registers that a function may read before it writes them, so
 * that its WebAssembly function gets those as parameters and no others; `outs` are those of r1 to r5 that some caller reads
 * after the call (no verified program does). Both are bit masks, bit n for rn, computed until nothing changes.
 */
import { STRIDE } from "../program.ts";
import type { BpfProgram } from "../program.ts";
import { ENDS, buildGraph, isConditional, graphSize } from "./graph.ts";
import type { Graph } from "./graph.ts";

export interface BpfFunction {
  readonly entry: number;
  readonly graph: Graph;
  /** Slots that it executes, at most. */
  readonly size: number;
  /** Slots of its local calls, with whom they call. */
  readonly calls: readonly { readonly slot: number; readonly callee: number }[];
  /** Whether it calls helpers or touches its stack: then it must know where its frame is. */
  needsFrame: boolean;
  /** Whether its address is taken, so that helpers may call it. */
  readonly isCallback: boolean;
  liveIn: number;
  outs: number;
  /** Registers that it or those it calls may write. */
  mayWrite: number;
}

export interface FunctionTable {
  readonly byEntry: ReadonlyMap<number, BpfFunction>;
  /** Callees before callers, as far as there is no recursion. */
  readonly order: readonly BpfFunction[];
  readonly isRecursive: (entry: number) => boolean;
  /** Frames that the longest chain of calls uses; Infinity with recursion. */
  readonly depth: number;
}

const ARGUMENTS = 0b11_1110;
const REGISTERS = 0x3ff;
const FRAME = 1 << 10;

export function findFunctions(program: BpfProgram): FunctionTable {
  const byEntry = new Map<number, BpfFunction>();
  const work: { entry: number; isCallback: boolean }[] = [
    { entry: 0, isCallback: false },
    ...functionAddresses(program).map((entry) => ({ entry, isCallback: true })),
  ];
  for (let next = work.shift(); next !== undefined; next = work.shift()) {
    const { entry, isCallback } = next;
    const known = byEntry.get(entry);
    if (known !== undefined && (known.isCallback || !isCallback)) continue;
    const made = makeFunction(program, entry, isCallback);
    byEntry.set(entry, made);
    for (const { callee } of made.calls) work.push({ entry: callee, isCallback: false });
  }
  const table = callOrder(byEntry);
  solve(program, table.order, byEntry);
  return { byEntry, ...table };
}

const OP_WIDE = 0x18;
const OP_CALL_LOCAL = 0x8d;
const PSEUDO_FUNC = 4;

function functionAddresses({ insns, code }: BpfProgram): number[] {
  const found = new Set<number>();
  for (let slot = 0; slot < insns.length; slot++) {
    if (code[slot * STRIDE] !== OP_WIDE) continue;
    const insn = insns[slot]!;
    const target = slot + 1 + insn.imm;
    if (insn.src === PSEUDO_FUNC && target >= 0 && target < insns.length) found.add(target);
    slot += 1;
  }
  return [...found];
}

function makeFunction(program: BpfProgram, entry: number, isCallback: boolean): BpfFunction {
  const graph = buildGraph(program, entry);
  const { code } = program;
  const calls: { slot: number; callee: number }[] = [];
  let touched = 0;
  let mayWrite = 0;
  for (let block = 0; block < graph.count; block++) {
    for (let slot = graph.start[block]!; slot < graph.end[block]!; slot += widthOf(code, slot)) {
      if (code[slot * STRIDE] === OP_CALL_LOCAL)
        calls.push({ slot, callee: code[slot * STRIDE + 3]! / STRIDE });
      touched |= usesOf(code, slot) | (isHelperCall(code[slot * STRIDE]!) ? FRAME : 0);
      mayWrite |= writesOf(code, slot);
    }
    touched |= usesOf(code, graph.end[block]!);
  }
  const needsFrame = (touched & FRAME) !== 0;
  return {
    entry,
    graph,
    size: graphSize(graph),
    calls,
    needsFrame,
    isCallback,
    liveIn: 0,
    outs: 0,
    mayWrite,
  };
}

const isHelperCall = (operation: number): boolean => operation === 0x85 || operation === 0x86;

export const widthOf = (code: Int32Array, slot: number): number => (code[slot * STRIDE] === OP_WIDE ? 2 : 1);

function callOrder(byEntry: ReadonlyMap<number, BpfFunction>): Omit<FunctionTable, "byEntry"> {
  const order: BpfFunction[] = [];
  const depths = new Map<number, number>();
  const recursive = new Set<number>();
  const open: number[] = [];
  const visit = (entry: number): number => {
    const known = depths.get(entry);
    if (known !== undefined) return known;
    const at = open.indexOf(entry);
    if (at >= 0) {
      for (const member of open.slice(at)) recursive.add(member);
      return Number.POSITIVE_INFINITY;
    }
    // A chain of calls this long faults before it is run: what lies below need not be ordered.
    if (open.length > 64) return Number.POSITIVE_INFINITY;
    open.push(entry);
    const made = byEntry.get(entry)!;
    const depth = 1 + Math.max(0, ...made.calls.map(({ callee }) => visit(callee)));
    open.pop();
    if (!depths.has(entry)) order.push(made);
    depths.set(entry, depth);
    return depth;
  };
  // Helpers may call functions whose address is taken: these count as called from the deepest frame.
  const entries = [...byEntry.values()];
  const main = Math.max(...entries.map(({ entry }) => visit(entry)));
  const depth = entries.some(({ isCallback }) => isCallback) ? 2 * main : main;
  return { order, isRecursive: (entry) => recursive.has(entry), depth };
}

/** Registers that the instruction reads, as a mask; bit 10 is the frame pointer. Calls are the solver's. */
function usesOf(code: Int32Array, slot: number): number {
  const at = slot * STRIDE;
  const operation = code[at]!;
  const d = 1 << (code[at + 1]! >> 1);
  const source = code[at + 2]!;
  const s = source < 22 ? 1 << (source >> 1) : 0;
  if (isConditional(operation)) return d | s;
  switch (operation & 7) {
    case 0: // wide loads, packet loads, traps
      return operation === 0x20 ? s : 0;
    case 1:
      return s;
    case 3:
      return (operation & 0xe0) === 0xc0 ? atomicUses(d, source) : d | s;
    case 5:
      return operation === 0x95 ? 1 : operation === 0x85 ? ARGUMENTS : 0;
    case 6:
      return operation === 0x86 ? ARGUMENTS | d : 0;
    default:
      return isMove(operation) ? s : d | s;
  }
}

function atomicUses(d: number, source: number): number {
  const s = 1 << ((source & 0xff) >> 1);
  const operation = source >> 8;
  if (operation === 0x100) return s;
  return d | s | (operation === 0xf1 ? 1 : 0);
}

/** Moves and sign extensions: the destination is not read. */
function isMove(operation: number): boolean {
  switch (operation) {
    case 0xbf:
    case 0xbc:
    case 0x07:
    case 0x17:
    case 0x27:
    case 0x04:
    case 0x14:
      return true;
    default:
      return false;
  }
}

/** Registers that the instruction writes. */
function writesOf(code: Int32Array, slot: number): number {
  const at = slot * STRIDE;
  const operation = code[at]!;
  const d = 1 << (code[at + 1]! >> 1);
  if (isConditional(operation)) return 0;
  switch (operation & 7) {
    case 0:
      return operation === 0x20 ? 1 : operation === OP_WIDE ? d : 0;
    case 1:
      return d;
    case 3:
      return (operation & 0xe0) === 0xc0 ? atomicWrites(d, code[at + 2]!) : 0;
    case 5:
    case 6:
      return isHelperCall(operation) ? 1 : 0;
    default:
      return d;
  }
}

function atomicWrites(d: number, source: number): number {
  const operation = source >> 8;
  if (operation === 0x100) return d;
  if (operation === 0xf1) return 1;
  return (operation & 1) === 1 && operation !== 0x110 ? 1 << ((source & 0xff) >> 1) : 0;
}

/** Solves for `mayWrite` and `needsFrame` first, then for `liveIn` and `outs`. */
function solve(
  { code }: BpfProgram,
  order: readonly BpfFunction[],
  byEntry: ReadonlyMap<number, BpfFunction>,
): void {
  for (let hasChanged = true; hasChanged;) {
    hasChanged = false;
    for (const one of order) if (solveWrites(one, byEntry)) hasChanged = true;
  }
  for (let hasChanged = true; hasChanged;) {
    hasChanged = false;
    for (const one of order) if (new Liveness(code, one, byEntry).solve()) hasChanged = true;
    if (order.length === 1) return;
  }
}

/** Updates `mayWrite` and `needsFrame`; whether they changed. */
function solveWrites(one: BpfFunction, byEntry: ReadonlyMap<number, BpfFunction>): boolean {
  const { mayWrite, needsFrame } = one;
  for (const { callee } of one.calls) {
    const called = byEntry.get(callee)!;
    one.mayWrite |= called.mayWrite & (ARGUMENTS | 1);
    if (called.needsFrame) one.needsFrame = true;
  }
  return mayWrite !== one.mayWrite || needsFrame !== one.needsFrame;
}

/** Liveness in one function, given what is known of those it calls. */
class Liveness {
  private readonly code: Int32Array;
  private readonly one: BpfFunction;
  private readonly byEntry: ReadonlyMap<number, BpfFunction>;
  /** Per block: read before it is written, written, live at its start. */
  private readonly reads: Int32Array;
  private readonly writes: Int32Array;
  private readonly live: Int32Array;
  private hasNewOuts = false;

  constructor(code: Int32Array, one: BpfFunction, byEntry: ReadonlyMap<number, BpfFunction>) {
    this.code = code;
    this.one = one;
    this.byEntry = byEntry;
    this.reads = new Int32Array(one.graph.count);
    this.writes = new Int32Array(one.graph.count);
    this.live = new Int32Array(one.graph.count);
  }

  /** Updates `liveIn` of the function and `outs` of those it calls; whether they changed. */
  solve(): boolean {
    const { graph } = this.one;
    const before = this.one.liveIn;
    for (let block = 0; block < graph.count; block++) this.summarise(block);
    for (let isStable = false; !isStable;) {
      isStable = true;
      for (let i = graph.count - 1; i >= 0; i--) {
        const block = graph.order[i]!;
        const value = this.reads[block]! | (this.liveAfter(block) & ~this.writes[block]!);
        if (value !== this.live[block]) isStable = false;
        this.live[block] = value;
      }
    }
    if (this.one.calls.length > 0) for (let block = 0; block < graph.count; block++) this.noteOuts(block);
    this.one.liveIn = this.live[graph.entry]! & REGISTERS;
    return this.hasNewOuts || this.one.liveIn !== before;
  }

  private get atExit(): number {
    return 1 | this.one.outs;
  }

  private liveAfter(block: number): number {
    const { ends, taken, next } = this.one.graph;
    let mask = ends[block] === ENDS.exit ? this.atExit : 0;
    if (taken[block]! >= 0) mask |= this.live[taken[block]!]!;
    if (next[block]! >= 0) mask |= this.live[next[block]!]!;
    return mask;
  }

  private summarise(block: number): void {
    const { start, end, ends } = this.one.graph;
    const { code } = this;
    let reads = 0;
    let writes = 0;
    for (let slot = start[block]!; slot < end[block]!; slot += widthOf(code, slot)) {
      const callee = this.calleeAt(slot);
      reads |= (callee === undefined ? this.usesAt(slot) : callee.liveIn) & ~writes;
      writes |= callee === undefined ? writesOf(code, slot) : 1 | callee.outs;
    }
    if (ends[block] === ENDS.jump) reads |= usesOf(code, end[block]!) & ~writes;
    this.reads[block] = reads;
    this.writes[block] = writes;
  }

  /** Adds what is live after the block's calls to the `outs` of the functions called. */
  private noteOuts(block: number): void {
    const { start, end, ends } = this.one.graph;
    const { code } = this;
    let mask = this.liveAfter(block);
    if (ends[block] === ENDS.jump) mask |= usesOf(code, end[block]!);
    for (let slot = end[block]! - 1; slot >= start[block]!; slot--) {
      const callee = this.calleeAt(slot);
      if (callee === undefined) {
        // A zero is the second slot of a wide load here.
        if (code[slot * STRIDE] !== 0) mask = (mask & ~writesOf(code, slot)) | this.usesAt(slot);
        continue;
      }
      const outs = callee.outs | (mask & callee.mayWrite & ARGUMENTS);
      if (outs !== callee.outs) this.hasNewOuts = true;
      callee.outs = outs;
      mask = (mask & ~(1 | outs)) | callee.liveIn;
    }
  }

  private calleeAt(slot: number): BpfFunction | undefined {
    const at = slot * STRIDE;
    return this.code[at] === OP_CALL_LOCAL ? this.byEntry.get(this.code[at + 3]! / STRIDE) : undefined;
  }

  /** A packet load may be an exit. */
  private usesAt(slot: number): number {
    return usesOf(this.code, slot) | (this.code[slot * STRIDE] === 0x20 ? this.atExit : 0);
  }
}
