/** Statements of random programs about numbers: arithmetic, copies, spills, linked registers, branches. */
import { ALU, JUMP, asm } from "@alien-ts/bpf-isa";
import type { AluOp, Bits, JumpOp } from "@alien-ts/bpf-isa";
import { MAP } from "./random-maps.ts";
import { PLACE, REGISTERS, SAVED, SIZES } from "./random-writer.ts";
import type { Writer } from "./random-writer.ts";

const ALU_OPS = Object.keys(ALU) as AluOp[];
const JUMP_OPS = Object.keys(JUMP) as JumpOp[];
const UNKNOWN_NUMBERS = [5, 7, 8];

/** Puts a number into the register. */
export function number(w: Writer, register: number): void {
  const { random } = w;
  switch (random.below(w.hasContext ? 5 : 3)) {
    case 0:
      w.emit(asm.movImm(register, w.imm()));
      break;
    case 1:
      w.emit(asm.wide64(register, random.u64() >> BigInt(random.below(64))));
      break;
    case 2:
      if (!w.hasContext) return unknown(w, register);
      w.emit(asm.load(4, register, 6, random.pick(w.kind.numbers)));
      break;
    case 3:
      if (w.kind.name === "xdp") w.emit(asm.load(4, register, 6, 16));
      else w.emit(asm.load(random.pick([1, 2, 4] as const), register, 6, random.oneIn(2) ? 8 : 52));
      break;
    default:
      w.emit(asm.load(4, register, 6, random.pick(w.kind.numbers)));
  }
  w.set(register, "number");
}

/** An unknown number from a helper, which forgets r0 to r5. */
export function unknown(w: Writer, register: number): void {
  if (w.isLocked) {
    w.emit(asm.movImm(register, w.imm()));
    w.set(register, "number");
    return;
  }
  w.call(w.random.pick(UNKNOWN_NUMBERS));
  if (register !== 0) w.emit(asm.movReg(register, 0));
  w.set(register, "number");
}

export function alu(w: Writer): void {
  const { random } = w;
  const dst = w.number();
  const bits: Bits = random.oneIn(2) ? 64 : 32;
  if (random.oneIn(8)) return oddAlu(w, dst, bits);
  const op = random.pick(ALU_OPS);
  const isShift = op === "lsh" || op === "rsh" || op === "arsh";
  const isDivision = op === "div" || op === "mod" || op === "sdiv" || op === "smod";
  if (random.oneIn(3)) {
    const src = w.number();
    if (isShift && random.oneIn(2)) w.emit(asm.aluImm("and", src, bits - 1));
    return w.emit(asm.aluReg(op, dst, src, bits));
  }
  const imm = isShift ? random.below(bits) : w.imm();
  w.emit(asm.aluImm(op, dst, isDivision && imm === 0 ? 1 : imm, bits));
}

function oddAlu(w: Writer, dst: number, bits: Bits): void {
  const { random } = w;
  const width = random.pick([16, 32, 64] as const);
  switch (random.below(5)) {
    case 0:
      return w.emit(asm.neg(dst, bits));
    case 1:
      return w.emit(asm.movsx(random.pick([8, 16] as const), dst, w.number(), bits));
    case 2:
      return w.emit(asm.movsx(32, dst, w.number()));
    case 3:
      return w.emit(random.oneIn(2) ? asm.be(width, dst) : asm.bswap(width, dst));
    default:
      return w.emit(asm.le(width, dst));
  }
}

export function copy(w: Writer): void {
  const from = w.number();
  const to = w.random.pick(REGISTERS);
  w.emit(asm.aluReg("mov", to, from, w.random.oneIn(3) ? 32 : 64));
  w.set(to, "number");
  if (w.random.oneIn(2)) w.emit(asm.aluImm("add", to, w.random.between(-8, 40)));
}

/** A condition, its jump not aimed. */
export function compare(w: Writer): number {
  const { random } = w;
  const bits: Bits = random.oneIn(2) ? 64 : 32;
  const op = random.pick(JUMP_OPS);
  const dst = w.number();
  return w.jump(
    random.oneIn(3) ? asm.jumpReg(op, dst, w.number(), 0, bits) : asm.jumpImm(op, dst, w.imm(), 0, bits),
  );
}

export function spill(w: Writer): void {
  const { random } = w;
  const slot = w.slot();
  const off = -8 * (slot + 1);
  const pointer = random.oneIn(4) ? (w.having("stack") ?? w.having("value")) : undefined;
  if (pointer !== undefined) {
    w.emit(asm.storeReg(8, 10, off, pointer));
    w.slots[slot] = w.kinds[pointer]!;
    return;
  }
  const size = random.oneIn(2) ? 8 : random.pick(SIZES);
  const at = off + size * random.below(8 / size);
  w.emit(
    random.oneIn(3)
      ? asm.storeImm(size, 10, at, random.oneIn(2) ? 0 : w.imm())
      : asm.storeReg(size, 10, at, w.number()),
  );
  w.slots[slot] = size === 8 || w.slots[slot] === "number" ? "number" : "none";
}

export function fill(w: Writer): void {
  const { random } = w;
  const slot = w.slot();
  const kind = w.slots[slot]!;
  const to = random.pick(REGISTERS);
  const off = -8 * (slot + 1);
  if (kind === "none") return w.emit(asm.storeImm(8, 10, off, 0));
  if (kind === "number" && random.oneIn(2)) {
    const size = random.pick(SIZES);
    const at = off + size * random.below(8 / size);
    const isSigned = size < 8 && random.oneIn(3);
    w.emit(isSigned ? asm.loadSigned(size as 1 | 2 | 4, to, 10, at) : asm.load(size, to, 10, at));
  } else w.emit(asm.load(8, to, 10, off));
  w.set(to, kind);
}

/** A bounded number goes through a part of a slot and is an offset afterwards. */
export function narrowSpill(w: Writer): void {
  const { random } = w;
  const size = random.pick([1, 2, 4] as const);
  const limit = random.pick([7, 15, 31]);
  const slot = w.slot();
  const isAtStart = random.below(4) > 0;
  const at = -8 * (slot + 1) + (isAtStart ? 0 : size * random.below(8 / size));
  w.emit(asm.movReg(2, w.number()));
  w.set(2, "none");
  w.bound(2, limit);
  w.emit(random.oneIn(4) ? asm.storeImm(8, 10, -8 * (slot + 1), 0) : asm.movReg(3, 2));
  w.set(3, "none");
  w.emit(asm.storeReg(size, 10, at, 2));
  const isSigned = random.oneIn(3);
  w.emit(isSigned ? asm.loadSigned(size, 3, 10, at) : asm.load(size, 3, 10, at));
  w.slots[slot] = w.slots[slot] === "number" ? "number" : "none";
  // Only the beginning of a slot is known where it holds less than a register.
  if (!isAtStart) w.bound(3, limit);
  useAsOffset(w, 3, limit);
  w.set(2, "number");
}

/** Reads or writes a byte of the stack at a bounded number, which becomes the register's. */
export function useAsOffset(w: Writer, register: number, limit: number): void {
  if (!w.privileges.mayLeakPointers) {
    if (limit > 47) return w.set(register, "number");
    w.emit(asm.mapValue(1, MAP.single.fd, 0), asm.aluReg("add", 1, register));
    w.set(1, "none");
    w.set(register, "number");
    return w.access(1, Math.max(0, 47 - limit), 1);
  }
  w.emit(asm.movReg(1, 10), asm.aluReg("add", 1, register));
  w.set(1, "none");
  w.set(register, "number");
  const off = -Math.max(64, limit + 1);
  if (limit < 64 && w.random.oneIn(2))
    for (let at = off; at < off + limit + 1; at += 8) w.emit(asm.storeImm(8, 10, at, 0));
  w.access(1, off, 1);
  w.smeared();
}

/** Copies of one number at a distance: what a jump teaches of one holds for the other. */
export function linked(w: Writer): void {
  const { random } = w;
  const bits: Bits = random.oneIn(4) ? 32 : 64;
  const distance = random.oneIn(2) ? 0 : random.between(1, 16);
  w.emit(asm.movReg(3, w.number()));
  if (random.oneIn(2)) w.emit(asm.aluReg("mov", 3, 3, 32));
  w.set(3, "none");
  const isSpilled = random.oneIn(3);
  const isExtended = random.oneIn(4);
  if (isExtended) {
    // An extension is a copy where the sign is known.
    if (random.oneIn(2)) w.emit(asm.aluImm("and", 3, random.pick([0x7f, 0xff, 0x7fff])));
    w.emit(asm.movsx(random.pick([8, 16] as const), 2, 3, bits));
  } else w.emit(isSpilled ? asm.storeReg(8, 10, PLACE.bound, 3) : asm.aluReg("mov", 2, 3, bits));
  w.set(2, "none");
  if (distance > 0) w.emit(asm.aluImm("add", 3, distance, bits));
  const limit = random.pick([7, 15, 31]);
  w.leave(asm.jumpImm("jgt", 3, limit, 0, random.oneIn(4) ? 32 : 64));
  if (random.oneIn(2)) w.leave(asm.jumpImm(random.pick(["jlt", "jslt"] as const), 3, distance, 0));
  if (isSpilled && !isExtended) w.emit(asm.load(8, 2, 10, PLACE.bound));
  if (distance > 0 && random.oneIn(2)) w.leave(asm.jumpImm("jgt", 2, limit, 0));
  w.set(3, "number");
  useAsOffset(w, 2, limit);
}

/** Arithmetic in the lower half, of which an offset is made. */
export function lowerHalf(w: Writer): void {
  const { random } = w;
  w.emit(asm.aluReg("mov", 2, w.number(), 32));
  w.set(2, "none");
  for (let i = random.between(1, 3); i > 0; i--) {
    const op = random.pick(["add", "sub", "mul", "or", "xor", "rsh", "arsh", "lsh", "neg", "and"] as const);
    if (op === "neg") w.emit(asm.neg(2, 32));
    else w.emit(asm.aluImm(op, 2, op.endsWith("sh") ? random.below(32) : w.imm(), 32));
  }
  if (random.oneIn(3)) w.emit(asm.movsx(32, 2, 2));
  const limit = random.pick([7, 15, 31, 63]);
  w.bound(2, limit);
  useAsOffset(w, 2, Math.min(limit, 63));
}

/**
 * Two values meet and are an offset later. Where a rule is broken one of them is too large: a verifier that does not follow the offset
 * back to where they part takes both ways for one.
 */
export function diverging(w: Writer): void {
  const { random } = w;
  const register = random.pick(SAVED);
  w.emit(asm.movImm(register, w.isSloppy && random.oneIn(2) ? 300 : random.below(8)));
  w.set(register, "none");
  const other = compare(w);
  w.emit(asm.movReg(register, w.number()), asm.aluImm("and", register, 7));
  w.aim(other);
  switch (random.below(4)) {
    case 0:
      w.emit(asm.storeReg(8, 10, PLACE.bound, register));
      w.aim(compare(w));
      w.emit(asm.load(8, 2, 10, PLACE.bound));
      break;
    case 1:
      w.emit(asm.movImm(2, random.below(8)), asm.aluReg("add", 2, register));
      break;
    case 2:
      w.emit(asm.movReg(2, register));
      w.leave(asm.jumpImm("jgt", register, 310, 0));
      break;
    default:
      w.emit(asm.aluReg("mov", 2, register, random.oneIn(2) ? 64 : 32));
  }
  w.set(2, "none");
  w.aim(compare(w));
  useAsOffset(w, 2, 15);
  w.set(register, "number");
}

/** An if, sometimes with an else; or a way to the end. */
export function branch(w: Writer, block: (length: number) => void): void {
  const { random } = w;
  const jump = compare(w);
  if (random.oneIn(3)) {
    w.leaves.push(jump);
    return;
  }
  const before = w.copyKinds();
  block(random.between(1, 3));
  const skip = random.oneIn(2) ? w.jump(asm.goto(0)) : undefined;
  w.aim(jump);
  const after = w.copyKinds();
  [w.kinds, w.slots] = [[...before[0]], [...before[1]]];
  if (skip !== undefined) {
    block(random.between(1, 3));
    w.aim(skip);
  }
  w.join(after);
}
