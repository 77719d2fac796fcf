/** Statements of random programs about control: loops, functions of the program, callbacks, tail calls. */
import { asm } from "@alien-ts/bpf-isa";
import { MAP } from "./random-maps.ts";
import { movePacket } from "./random-memory.ts";
import { number } from "./random-numbers.ts";
import { keep, loopStart } from "./random-objects.ts";
import { PLACE, SAVED } from "./random-writer.ts";
import type { Call, FunctionKind, Writer } from "./random-writer.ts";

type Block = (length: number) => void;

/** A loop with a counter that is known, or one that may_goto or an unknown number ends. */
export function loop(w: Writer, block: Block): void {
  const { random } = w;
  const counter = random.pick(SAVED);
  w.emit(asm.movImm(counter, 0));
  w.set(counter, "number");
  const start = w.length;
  const isMayGoto = random.oneIn(3);
  if (isMayGoto) w.emit(asm.mayGoto(0));
  const before = loopStart(w);
  // The body may use the counter but must not change it: it is hidden while the body is written.
  w.set(counter, "none");
  before[0][counter] = "none";
  if (random.oneIn(2)) useCounter(w, counter);
  block(random.between(1, 3));
  keep(w, before);
  const isKept = w.kinds[counter] === "none";
  w.emit(isKept ? asm.aluImm("add", counter, random.between(1, 3)) : asm.movImm(counter, 1));
  const back = (): number => start - w.length - 1;
  if (isMayGoto) {
    if (random.oneIn(3)) w.leave(asm.jumpImm("jgt", counter, random.between(1, 9), 0));
    w.emit(asm.goto(back()));
  } else if (isKept) {
    const op = random.pick(["jlt", "jslt", "jne"] as const);
    w.emit(asm.jumpImm(op, counter, 6, back(), random.oneIn(3) ? 32 : 64));
  }
  if (isMayGoto) w.aim(start);
  w.join(before);
  w.set(counter, "number");
}

function useCounter(w: Writer, counter: number): void {
  w.emit(asm.movReg(1, 10), asm.movReg(2, counter), asm.aluImm("and", 2, 7), asm.aluReg("add", 1, 2));
  w.emit(asm.storeReg(1, 1, -64, counter));
  w.slots[7] = "none";
  w.set(1, "none");
  w.set(2, "number");
}

const PLAIN: readonly FunctionKind[] = ["static numbers", "static stack", "global numbers", "global memory"];
const WITH_CONTEXT: readonly FunctionKind[] = ["static context", "global context"];

/** Calls a function that is written later. */
export function call(w: Writer): void {
  const { random } = w;
  if (random.oneIn(3)) return callback(w);
  const isOverPacket = w.having("packet") !== undefined && random.oneIn(2);
  const kind = random.pick(isOverPacket ? WITH_CONTEXT : w.hasContext ? [...PLAIN, ...WITH_CONTEXT] : PLAIN);
  w.emit(asm.movReg(2, w.number()));
  w.set(2, "number");
  if (kind.endsWith("numbers")) w.emit(asm.movReg(1, w.number()));
  else if (kind.endsWith("context")) w.emit(asm.movReg(1, 6));
  else {
    const off = -8 * random.between(2, 6);
    w.emit(asm.storeReg(8, 10, off, 2), asm.storeImm(8, 10, off + 8, w.imm()));
    w.pointTo(1, off);
    if (kind === "global memory" && random.oneIn(5)) w.emit(asm.movImm(1, 0));
    w.slots[-off / 8 - 1] = "number";
    w.slots[-off / 8 - 2] = "number";
  }
  w.calls.push({ at: w.length, kind });
  w.emit(asm.callLocal(0));
  w.afterCall();
  if (kind.endsWith("context")) w.packetMoved();
}

function callback(w: Writer): void {
  const { random } = w;
  const isEach = random.oneIn(3);
  w.emit(asm.storeImm(8, 10, PLACE.callback, 0));
  if (!isEach) {
    if (random.oneIn(2)) {
      w.emit(asm.movReg(1, w.number()));
      w.set(1, "none");
      w.bound(1, 6);
    } else w.emit(asm.movImm(1, random.between(0, 5)));
  } else w.emit(asm.mapFd(1, random.pick([MAP.hash.fd, MAP.array.fd])));
  const at = w.length;
  w.emit(asm.functionAddress(2, 0));
  w.pointTo(3, PLACE.callback);
  w.emit(asm.movImm(4, 0));
  w.call(isEach ? 164 : 181);
  w.calls.push({ at, kind: isEach ? "each callback" : "loop callback" });
}

/** Ends the program by another, or goes on. */
export function tailCall(w: Writer): void {
  w.emit(asm.movReg(1, 6), asm.mapFd(2, MAP.programs.fd), asm.movImm(3, w.random.below(4)));
  w.call(12, "none");
  w.packetMoved();
}

/** Begins the function that `kind` describes: what its arguments are good for. */
export function beginFunction(w: Writer, kind: FunctionKind): void {
  const { random } = w;
  w.kinds = w.kinds.map((_, i) => (i === 10 ? "stack" : "none"));
  w.slots = w.slots.map(() => "none");
  w.hasContext = kind.endsWith("context");
  if (w.hasContext) w.emit(asm.movReg(6, 1));
  if (!kind.endsWith("callback")) w.set(2, "number");
  if (kind.endsWith("numbers") || kind === "loop callback") w.set(1, "number");
  if (kind.endsWith("stack") || kind.endsWith("memory")) memoryArgument(w, kind);
  // The callback changes what its caller has on the stack.
  const context = kind === "loop callback" ? 2 : kind === "each callback" ? 4 : 0;
  if (context > 0 && random.oneIn(2)) {
    w.emit(asm.load(8, 5, context, 0), asm.aluImm("add", 5, random.pick([1, 1, 7])));
    w.emit(asm.storeReg(8, context, 0, 5));
  }
  if (kind === "each callback") {
    const size = random.pick([1, 2, 4, 8] as const);
    w.emit(asm.load(random.pick([1, 2, 4] as const), 5, 2, 0));
    w.set(5, "number");
    w.access(3, random.below(24 - size + 1), size);
    w.set(3, "none");
  }
  if (w.hasContext && random.oneIn(3)) movePacket(w);
  for (const register of random.oneIn(2) ? [0, 7] : [0, 8, 9]) number(w, register);
}

/** 16 bytes behind r1. */
function memoryArgument(w: Writer, kind: FunctionKind): void {
  const { random } = w;
  if (kind === "global memory" && random.below(12) > 0) w.leave(asm.jumpImm("jeq", 1, 0, 0));
  const size = random.pick([1, 2, 4, 8] as const);
  w.access(1, random.below(16 / size) * size, size);
  if (random.oneIn(2)) return;
  w.emit(asm.aluImm("and", 2, 15), asm.aluReg("add", 1, 2));
  w.access(1, 0, 1);
  w.set(2, "number");
}

/** Callbacks give 0 or 1, some of them a number that is computed. */
export function endFunction(w: Writer, kind: FunctionKind): void {
  const { random } = w;
  const early = w.leaves;
  w.leaves = [];
  if (kind.endsWith("callback")) {
    if (random.oneIn(2) && w.kinds[0] === "number") w.emit(asm.aluImm("and", 0, 1));
    else w.emit(asm.movImm(0, random.below(2)));
  } else if (w.kinds[0] !== "number") w.emit(asm.movImm(0, w.imm()));
  w.emit(asm.exit());
  if (early.length === 0) return;
  for (const at of early) w.aim(at);
  w.emit(asm.movImm(0, random.below(2)), asm.exit());
}

/** Where a call names its function. */
export function aimCall(w: Writer, { at }: Call, start: number): void {
  w.patch(at, { imm: start - at - 1 });
}
