/** Statements of random programs that try to make a number of an address, or of what lies on a stack that nobody wrote. */
import { asm } from "@alien-ts/bpf-isa";
import { MAP } from "./random-maps.ts";
import { flip, fresh } from "./random-mazes.ts";
import { PLACE, SIZES } from "./random-writer.ts";
import type { Writer } from "./random-writer.ts";

/** An address in `register`. */
function address(w: Writer, register: number): void {
  const { random } = w;
  switch (random.below(6)) {
    case 0:
      return w.emit(asm.movReg(register, 6));
    case 1:
      return w.emit(asm.mapValue(register, MAP.single.fd, 8 * random.below(4)));
    case 2:
      return w.emit(asm.mapFd(register, MAP.hash.fd));
    case 3:
      return lookup(w, register);
    default:
      w.pointTo(register, -8 * random.between(1, 4));
  }
}

/** A value that may be NULL, and which is NULL now and then. */
function lookup(w: Writer, register: number): void {
  w.emit(asm.storeImm(8, 10, PLACE.key, w.random.below(6)));
  w.pointTo(2, PLACE.key);
  w.emit(asm.mapFd(1, MAP.hash.fd), asm.call(1));
  if (register !== 0) w.emit(asm.movReg(register, 0));
}

/** Number or address in r7, on one way or the other. */
function either(w: Writer): void {
  const { random } = w;
  const isFirst = random.oneIn(2);
  if (isFirst) address(w, 7);
  else w.emit(asm.movImm(7, random.below(8)));
  if (random.oneIn(3)) return;
  const skip = flip(w);
  if (isFirst) w.emit(asm.movImm(7, random.below(8)));
  else address(w, 7);
  w.aim(skip);
}

/** Makes a number of r7, by arithmetic. */
function compute(w: Writer): void {
  const { random } = w;
  const other = random.oneIn(3) ? 8 : 7;
  if (other === 8) address(w, 8);
  switch (random.below(8)) {
    case 0:
      return w.emit(asm.aluReg("mov", 7, 7, 32));
    case 1:
      return w.emit(asm.movsx(random.pick([8, 16, 32] as const), 7, 7));
    case 2:
      return w.emit(
        asm.aluImm(random.pick(["and", "or", "xor", "rsh", "mul", "div", "mod"] as const), 7, 0xff),
      );
    case 3:
      return w.emit(asm.aluReg(random.pick(["sub", "xor", "and", "add"] as const), 7, other));
    case 4:
      return w.emit(asm.neg(7));
    case 5:
      return w.emit(asm.be(64, 7));
    case 6:
      return w.emit(
        asm.movImm(9, 0),
        asm.aluReg(random.pick(["sub", "xor"] as const), 9, 7),
        asm.movReg(7, 9),
      );
    default:
      return w.emit(asm.aluImm("add", 7, 1, 32));
  }
}

/** r7 goes over the stack: parts are read, or written over, or it is changed where it lies. */
function overStack(w: Writer): void {
  const { random } = w;
  const at = PLACE.narrow;
  const size = random.pick(SIZES);
  const off = at + size * random.below(8 / size);
  w.emit(asm.storeReg(random.oneIn(4) ? 4 : 8, 10, at, 7));
  switch (random.below(6)) {
    case 0:
      w.emit(asm.storeImm(size, 10, off, 0));
      break;
    case 1:
      return w.emit(asm.load(size, 7, 10, off));
    case 2:
      if (size < 8) w.emit(asm.loadSigned(size as 1 | 2 | 4, 7, 10, off));
      return;
    case 3: {
      const op = random.pick(["fetch_add", "fetch_or", "xchg", "cmpxchg", "add"] as const);
      w.emit(asm.movImm(0, 0), asm.movImm(7, 0), asm.atomic(op, random.pick([4, 8] as const), 10, at, 7));
      return w.emit(random.oneIn(2) ? asm.movReg(7, 0) : asm.load(8, 7, 10, at));
    }
    case 4: {
      w.emit(asm.mapValue(1, MAP.single.fd, 0), asm.load(4, 2, 1, 0), asm.aluImm("and", 2, 7));
      w.emit(asm.movReg(1, 10), asm.aluReg("add", 1, 2), asm.storeImm(1, 1, at, 1));
      break;
    }
    default:
  }
  w.emit(asm.load(8, 7, 10, at));
}

/** Slots that nothing else uses. */
const DEEP = -320;

/** What r7 holds is seen by others. */
function show(w: Writer): void {
  const { random } = w;
  const value = (): void => w.emit(asm.mapValue(1, MAP.single.fd, 8 * random.below(5)));
  switch (random.below(10)) {
    case 0: {
      const skip = flip(w);
      w.emit(asm.movReg(0, 7), asm.exit());
      return w.aim(skip);
    }
    case 1:
      value();
      return w.emit(asm.atomic(random.pick(["add", "xchg", "fetch_or"] as const), 8, 1, 0, 7));
    case 2:
      value();
      return w.emit(asm.movReg(0, 7), asm.movImm(2, 1), asm.atomic("cmpxchg", 8, 1, 0, 2), asm.movReg(7, 0));
    case 3: {
      // The way that is taken tells.
      const op = random.pick(["jgt", "jset", "jeq", "jslt", "jne"] as const);
      const imm = random.pick([0, 0, 1, 8, -1, 0x7fff_ffff]);
      const bits = random.oneIn(3) ? 32 : 64;
      const isRegister = random.oneIn(3);
      if (isRegister && random.oneIn(2)) address(w, 8);
      else fresh(w, 8, false);
      const [left, right] = random.oneIn(2) ? [7, 8] : [8, 7];
      const skip = w.jump(
        isRegister ? asm.jumpReg(op, left, right, 0, bits) : asm.jumpImm(op, 7, imm, 0, bits),
      );
      value();
      w.emit(asm.storeImm(8, 1, 0, 1));
      return w.aim(skip);
    }
    case 4:
      // In the bytes that a helper is given, with what lies beside them.
      w.emit(asm.storeReg(8, 10, PLACE.maze, 7));
      if (random.oneIn(2)) w.emit(asm.storeImm(8, 10, PLACE.maze + 8, 0));
      return give(w, PLACE.maze, random.oneIn(2));
    case 5:
      // What nobody wrote.
      w.emit(asm.storeImm(8, 10, DEEP, 0));
      if (random.oneIn(2)) w.emit(asm.storeImm(4, 10, DEEP + 8, 0));
      w.emit(asm.load(random.pick(SIZES), 7, 10, DEEP + 8 * random.below(3)));
      break;
    case 6:
      w.emit(asm.storeImm(8, 10, DEEP, 0));
      if (random.oneIn(2)) w.emit(asm.storeImm(4, 10, DEEP + 8, 0));
      return give(w, DEEP + 8 * random.below(3), random.oneIn(2));
    case 7:
      return w.emit(asm.storeReg(4, 6, 52, 7));
    case 8:
      // An argument that may be any number.
      w.emit(asm.storeImm(8, 10, PLACE.key, 1));
      w.pointTo(2, PLACE.key);
      w.emit(asm.mapValue(3, MAP.single.fd, 0), asm.mapFd(1, MAP.hash.fd), asm.movReg(4, 7), asm.call(2));
      return;
    default:
  }
  value();
  w.emit(asm.storeReg(random.pick(SIZES), 1, 0, 7));
}

/** Bytes of the stack become a key or a value. */
function give(w: Writer, off: number, isKey: boolean): void {
  w.emit(asm.storeImm(8, 10, PLACE.key, 1));
  w.pointTo(2, isKey ? off : PLACE.key);
  w.emit(asm.mapFd(1, isKey ? MAP.hash.fd : MAP.queue.fd), asm.movImm(4, 0));
  if (isKey) return w.emit(asm.mapValue(3, MAP.single.fd, 0), asm.call(2));
  w.pointTo(2, off);
  w.emit(asm.movImm(3, 0), asm.call(87));
}

/** An address, what is made of it, and where that can be seen: now and then nothing is forbidden in it. */
export function leak(w: Writer): void {
  const { random } = w;
  if (w.isLocked || !w.hasContext || w.busy.size > 0) return;
  for (const register of [0, 1, 2, 3, 4, 5, 7, 8, 9]) w.set(register, "none");
  either(w);
  if (random.oneIn(3)) compute(w);
  if (random.oneIn(2)) overStack(w);
  show(w);
  w.emit(asm.movImm(7, 1), asm.movImm(0, 1));
  w.set(7, "number");
  w.set(0, "number");
}
