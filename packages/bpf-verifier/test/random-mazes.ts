/**
 * Mazes: a number that is too large wanders between registers and slots, through copies, ties, functions and turns of a loop; one of
 * these is used at the end. Whether the large number can come there is for the verifier to find out, from what paths have in
 * common: one that cuts a path short too soon, or forgets what a number was made of, accepts what leaves its memory.
 */
import { asm } from "@alien-ts/bpf-isa";
import { MAP } from "./random-maps.ts";
import { kfuncId } from "./random-types.ts";
import { PLACE } from "./random-writer.ts";
import type { Call, Writer } from "./random-writer.ts";

/** Where a number may be: a register, or a slot by its offset from the frame pointer of the main function. */
type Place = { readonly register: number } | { readonly off: number };

interface Maze {
  readonly w: Writer;
  readonly places: readonly Place[];
  /** The register that points to the frame of the slots. */
  readonly base: number;
  readonly limit: number;
  /** Jumps out of the loop, and to its next turn. */
  readonly breaks: number[];
  readonly continues: number[];
  readonly isInLoop: boolean;
  /** The number goes from each place to the next, at most once at each turn, and does harm in the last. */
  readonly isChain: boolean;
}

const SLOTS: readonly Place[] = [0, 8, 16].map((at) => ({ off: PLACE.maze + at }));
const REGISTERS: readonly Place[] = [7, 8, 9].map((register) => ({ register }));
const LARGE = 300;

/** Puts a number that nobody knows into `register`; a call is made where it must be another one at each turn. */
export function fresh(w: Writer, register: number, isCall: boolean): void {
  if (isCall) {
    w.emit(asm.call(7));
    if (register !== 0) w.emit(asm.movReg(register, 0));
  } else
    w.emit(asm.mapValue(register, MAP.single.fd, 0), asm.load(4, register, register, 4 * w.random.below(12)));
}

/** A jump that goes either way, to be aimed; it writes no register but `scratch`. */
export function flip(w: Writer, scratch = 5): number {
  fresh(w, scratch, false);
  return w.jump(asm.jumpImm("jset", scratch, 1 << w.random.below(2), 0));
}

/** As `flip`, anew at each turn of a loop. */
function coin({ w, isInLoop }: Maze): number {
  fresh(w, 0, isInLoop && !w.isLocked);
  return w.jump(asm.jumpImm("jset", 0, 1 << w.random.below(2), 0));
}

function take({ w, base }: Maze, from: Place, into: number): void {
  w.emit("register" in from ? asm.movReg(into, from.register) : asm.load(8, into, base, from.off));
}

function put({ w, base }: Maze, to: Place, from: number): void {
  w.emit("register" in to ? asm.movReg(to.register, from) : asm.storeReg(8, base, to.off, from));
}

function putConstant({ w, base }: Maze, to: Place, value: number): void {
  w.emit("register" in to ? asm.movImm(to.register, value) : asm.storeImm(8, base, to.off, value));
}

function wander(maze: Maze): void {
  const { random } = maze.w;
  move(maze, random.pick(maze.places), random.pick(maze.places));
}

/** A number goes from one place to another, in one of the ways that numbers go. */
function move(maze: Maze, from: Place, to: Place): void {
  const { w, base } = maze;
  const { random } = w;
  switch (random.below(12)) {
    case 0:
    case 1:
      return putConstant(maze, to, random.below(8));
    case 2:
      // Through a part of a slot.
      take(maze, from, 1);
      w.emit(asm.storeReg(4, 10, PLACE.narrow, 1), asm.load(4, 2, 10, PLACE.narrow));
      return put(maze, to, 2);
    case 3:
      // An unknown number that is at most as large.
      take(maze, from, 1);
      fresh(w, 2, false);
      w.emit(asm.jumpReg("jle", 2, 1, 1, random.oneIn(4) ? 32 : 64), asm.movImm(2, 0));
      return put(maze, to, 2);
    case 4:
      // As a summand.
      take(maze, from, 1);
      w.emit(asm.movImm(2, random.below(2)), asm.aluReg(random.pick(["add", "or"] as const), 2, 1));
      return put(maze, to, 2);
    case 5:
      take(maze, from, 1);
      w.emit(asm.aluReg("mov", 2, 1, 32));
      return put(maze, to, 2);
    case 6:
      return throughFunction(maze, from, to);
    case 7: {
      // A copy of an unknown number, which is compared with what was there.
      take(maze, from, 1);
      fresh(w, 2, false);
      w.emit(asm.movReg(3, 2));
      const skip = w.jump(asm.jumpReg("jgt", 2, 1, 0));
      put(maze, to, 3);
      return w.aim(skip);
    }
    case 8:
      if ("register" in to) break;
      take(maze, from, 1);
      return w.emit(asm.storeRelease(8, base, to.off, 1));
    case 9:
      if ("register" in from || "register" in to) break;
      w.emit(asm.loadAcquire(8, 1, base, from.off));
      return put(maze, to, 1);
    default:
  }
  take(maze, from, 1);
  put(maze, to, 1);
}

/** A function gives what it is given, or writes it through a pointer, now and then only on one of its ways. */
function throughFunction(maze: Maze, from: Place, to: Place): void {
  const { w, base } = maze;
  if (w.isLocked || w.framesLeft === 0) return;
  take(maze, from, 2);
  if ("register" in to || w.random.oneIn(3)) {
    w.emit(asm.movReg(1, 2));
    callWritten(w, (inner) => inner.emit(asm.movReg(0, 1), asm.exit()));
    return put(maze, to, 0);
  }
  w.emit(asm.movReg(1, base), asm.aluImm("add", 1, to.off));
  const other = w.random.pick(SLOTS);
  if (w.random.oneIn(2) && "off" in other) {
    // One call, two places.
    const skip = flip(w);
    w.emit(asm.movReg(1, base), asm.aluImm("add", 1, other.off));
    w.aim(skip);
  }
  callWritten(w, writeThrough);
}

/** `*r1 = r2`, on some ways; in a function of its own now and then. */
function writeThrough(w: Writer): void {
  const { random } = w;
  const skip = random.oneIn(2) ? flip(w) : undefined;
  if (random.oneIn(4)) callWritten(w, writeThrough, random.oneIn(2));
  else w.emit(random.oneIn(4) ? asm.storeReg(4, 1, 0, 2) : asm.storeReg(8, 1, 0, 2));
  if (skip !== undefined) w.aim(skip);
  w.emit(asm.movImm(0, 0), asm.exit());
}

/** Calls a function that is written by `body`. */
export function callWritten(w: Writer, body: NonNullable<Call["body"]>, isLast = true): void {
  if (w.framesLeft === 0 || !isLast) return w.emit(asm.storeReg(8, 1, 0, 2));
  w.calls.push({ at: w.length, kind: "static numbers", body });
  w.emit(asm.callLocal(0));
}

function step(maze: Maze): void {
  const { w, isInLoop } = maze;
  const { random } = w;
  if (random.oneIn(4)) return wander(maze);
  const skip = coin(maze);
  wander(maze);
  if (random.oneIn(3)) wander(maze);
  if (isInLoop && random.oneIn(4)) (random.oneIn(2) ? maze.breaks : maze.continues).push(w.jump(asm.goto(0)));
  w.aim(skip);
}

/** What does harm to whom the number at the end is too large. */
function sink(maze: Maze, from = maze.w.random.pick(maze.places)): void {
  const { w, limit } = maze;
  const { random } = w;
  take(maze, from, 2);
  switch (random.below(w.isLocked ? 3 : w.framesLeft === 0 ? 4 : 6)) {
    case 0: {
      // No way leads behind this jump.
      const skip = w.jump(asm.jumpImm("jle", 2, limit, 0, random.oneIn(3) ? 32 : 64));
      w.emit(asm.load(8, 2, 2, 0));
      return w.aim(skip);
    }
    case 1:
      w.emit(asm.movReg(1, 10), asm.aluReg("add", 1, 2), asm.load(1, 3, 1, -limit - 1));
      return;
    case 2:
      w.emit(asm.mapValue(1, MAP.single.fd, 0), asm.aluReg("add", 1, 2));
      w.emit(asm.storeReg(8, 10, PLACE.narrow, 1), asm.load(8, 3, 10, PLACE.narrow), asm.load(1, 3, 3, 0));
      return;
    case 3:
      // bpf_probe_read_kernel(): so many bytes.
      w.emit(asm.mapValue(1, MAP.single.fd, 0), asm.movImm(3, 0), asm.call(113));
      return;
    case 4:
      w.emit(asm.movReg(1, 2));
      return callWritten(w, (inner) => {
        inner.emit(asm.mapValue(2, MAP.single.fd, 0), asm.aluReg("add", 2, 1), asm.load(1, 0, 2, 0));
        inner.emit(asm.exit());
      });
    default: {
      // What a function found of it.
      w.emit(asm.movReg(1, 2));
      callWritten(w, (inner) => inner.emit(asm.movReg(0, 1), asm.exit()));
      w.emit(asm.mapValue(1, MAP.single.fd, 0), asm.aluReg("add", 1, 0), asm.load(1, 3, 1, 0));
    }
  }
}

function steps(maze: Maze, most: number): void {
  for (let i = maze.w.random.between(1, most); i > 0; i--) step(maze);
}

/** Numbers at the beginning: one is too large, on some ways or all. */
function begin(maze: Maze): void {
  const { w, places, isChain } = maze;
  const { random } = w;
  const large = isChain ? places[0]! : random.pick(places);
  for (const place of places) putConstant(maze, place, random.below(8));
  const choice = isChain ? 1 : random.below(3);
  if (choice === 0) return putConstant(maze, large, LARGE);
  if (choice === 1) {
    putConstant(maze, large, LARGE);
    const skip = flip(w);
    putConstant(maze, large, random.below(8));
    return w.aim(skip);
  }
  // An unknown number below a bound that is too high, on some ways; it has a copy.
  fresh(w, 1, false);
  w.emit(asm.movReg(2, 1));
  const skip = flip(w);
  w.leave(asm.jumpImm("jgt", 1, 40, 0));
  w.aim(skip);
  w.leave(asm.jumpImm("jgt", 1, LARGE, 0));
  put(maze, large, random.pick([1, 2]));
}

/** A maze in some kind of loop, or in none. */
export function maze(w: Writer): void {
  const { random } = w;
  const kind = random.below(w.busy.has("iterator") || w.isLocked ? 2 : 6);
  const isCallback = kind === 3 || kind === 4;
  const isChain = kind > 0 && random.oneIn(3);
  const places = random.oneIn(3) ? SLOTS : random.oneIn(2) ? REGISTERS : [...SLOTS, ...REGISTERS];
  const ways = { w, base: 10, limit: 47, breaks: [], continues: [], isChain };
  const outer: Maze = {
    ...ways,
    places: isCallback ? SLOTS : places.slice(0, isChain ? 4 : 6),
    isInLoop: false,
  };
  for (const register of [0, 1, 2, 3, 4, 5]) w.set(register, "none");
  begin(outer);
  const inner: Maze = { ...outer, breaks: [], continues: [], isInLoop: true };
  if (kind === 0) steps(outer, 5);
  else if (kind === 1) mayGotoLoop(inner);
  else if (kind === 2) countedLoop(inner);
  else if (isCallback) callbackLoop(inner);
  else iteratorLoop(inner);
  if (random.oneIn(2)) step(outer);
  sink(outer);
  for (const register of [7, 8, 9]) w.set(register, isCallback ? w.kinds[register]! : "none");
}

function endTurn(maze: Maze, start: number): void {
  for (const at of maze.continues) maze.w.aim(at);
  maze.w.emit(asm.goto(start - maze.w.length - 1));
  for (const at of maze.breaks) maze.w.aim(at);
}

function turn(maze: Maze): void {
  if (maze.isChain) return chain(maze);
  steps(maze, 4);
  if (maze.w.random.oneIn(2)) sink(maze);
}

/** The moves stand in any order: what must be known of a place is found out one turn later than of the next. */
function chain(maze: Maze): void {
  const { w, places } = maze;
  const { random } = w;
  const order = places.slice(1).map((_, i) => i);
  while (order.length > 0) {
    const [at] = order.splice(random.below(order.length), 1) as [number];
    const skip = coin(maze);
    move(maze, places[at]!, places[at + 1]!);
    if (random.oneIn(2)) maze.continues.push(w.jump(asm.goto(0)));
    w.aim(skip);
  }
  sink(maze, places.at(-1)!);
}

function mayGotoLoop(maze: Maze): void {
  const { w } = maze;
  const start = w.length;
  w.emit(asm.mayGoto(0));
  turn(maze);
  endTurn(maze, start);
  w.aim(start);
}

/** A few turns, which are counted on the stack. */
function countedLoop(maze: Maze): void {
  const { w } = maze;
  w.emit(asm.storeImm(8, 10, PLACE.bound, 0));
  const start = w.length;
  w.emit(asm.load(8, 1, 10, PLACE.bound));
  maze.breaks.push(w.jump(asm.jumpImm("jge", 1, w.random.between(1, 3), 0)));
  w.emit(asm.aluImm("add", 1, 1), asm.storeReg(8, 10, PLACE.bound, 1));
  turn(maze);
  endTurn(maze, start);
}

function iteratorLoop(maze: Maze): void {
  const { w } = maze;
  fresh(w, 3, false);
  w.emit(asm.movImm(2, 0));
  w.pointTo(1, PLACE.iterator);
  w.emit(asm.callKfunc(kfuncId("bpf_iter_num_new")));
  w.holding(
    "iterator",
    () => {
      const start = w.length;
      w.pointTo(1, PLACE.iterator);
      w.emit(asm.callKfunc(kfuncId("bpf_iter_num_next")));
      maze.breaks.push(w.jump(asm.jumpImm("jeq", 0, 0, 0)));
      turn(maze);
      endTurn(maze, start);
    },
    () => {
      w.pointTo(1, PLACE.iterator);
      w.emit(asm.callKfunc(kfuncId("bpf_iter_num_destroy")));
    },
  );
}

/** bpf_loop() with a known number of turns, or not; the callback gets the frame of the places. */
function callbackLoop(outer: Maze): void {
  const { w } = outer;
  const { random } = w;
  if (random.oneIn(2)) w.emit(asm.movImm(1, random.between(1, 3)));
  else {
    fresh(w, 1, false);
    w.leave(asm.jumpImm("jgt", 1, random.between(1, 4), 0));
  }
  const at = w.length;
  w.emit(asm.functionAddress(2, 0), asm.movReg(3, 10), asm.movImm(4, 0), asm.call(181));
  const body = (inner: Writer): void => {
    const maze: Maze = { ...outer, base: 6, breaks: [], continues: [] };
    inner.emit(asm.movReg(6, 2));
    turn(maze);
    for (const jump of maze.continues) inner.aim(jump);
    inner.emit(asm.movImm(0, 0), asm.exit());
    if (maze.breaks.length === 0) return;
    for (const jump of maze.breaks) inner.aim(jump);
    inner.emit(asm.movImm(0, 1), asm.exit());
  };
  w.calls.push({ at, kind: "loop callback", body });
}
