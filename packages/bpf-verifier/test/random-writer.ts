/**
 * `Writer`: the pen of random programs. It keeps track of what each register and stack slot may hold, so that most of what is
 * written is valid; the statements themselves are in `random-*.ts`.
 *
 * The stack: slots 0 to 7 hold what programs spill, `PLACE` says what lies below. Jumps in `leaves` go to the end of the function; what
 * must be given back first is written inside `holding`.
 */
import { asm } from "@alien-ts/bpf-isa";
import type { AccessBytes, Bits, Insn } from "@alien-ts/bpf-isa";
import type { Prng } from "@alien-ts/testkit";
import type { Privileges } from "../src/privileges.ts";
import type { ProgramKind } from "./concrete-world.ts";

export type Kind = "number" | "stack" | "value" | "packet" | "none";

/** Numbers at which something changes, in programs and in what they read. */
export const EDGES = [
  0, 1, 2, 3, 4, 7, 8, 15, 16, 31, 32, 33, 48, 63, 64, 127, 128, 255, 256, 0xffff, 0x7fff_ffff,
];
export const SIZES: readonly AccessBytes[] = [1, 2, 4, 8];
export const SLOTS = 8;
/** Registers that statements use; r6 is the context. */
export const REGISTERS = [0, 1, 2, 3, 4, 5, 7, 8, 9] as const;
export const SAVED = [7, 8, 9] as const;

/** Offsets from the frame pointer. */
export const PLACE = {
  bound: -72,
  key: -80,
  callback: -88,
  record: -96,
  dynptr: -112,
  clone: -128,
  iterator: -136,
  flags: -144,
  locked: -152,
  buffer: -168,
  socket: -176,
  /** A pointer that outlives what it points to. */
  late: -184,
  /** A part of a slot. */
  narrow: -192,
  /** Three slots between which numbers move. */
  maze: -216,
  /** An object of the program. */
  owned: -224,
} as const;
export type Resource = keyof typeof PLACE;

/** What a function of the program is given: numbers, its caller's stack, a context. */
export type FunctionKind =
  | "static numbers"
  | "static stack"
  | "static context"
  | "global numbers"
  | "global memory"
  | "global context"
  | "loop callback"
  | "each callback";

/** A call of a function that is still to be written. */
export interface Call {
  readonly at: number;
  readonly kind: FunctionKind;
  /** Writes all of the function, where this is not left to chance. */
  readonly body?: (w: Writer) => void;
}

export class Writer {
  readonly random: Prng;
  readonly kind: ProgramKind;
  readonly privileges: Privileges;
  readonly code: Insn[] = [];
  kinds: Kind[] = Array.from({ length: 11 }, () => "none");
  slots: Kind[] = Array.from({ length: SLOTS }, () => "none");
  /** Bytes behind packet pointers, by register. */
  ranges: number[] = Array.from({ length: 11 }, () => 0);
  leaves: number[] = [];
  readonly calls: Call[] = [];
  /** r6 is the context. */
  hasContext = true;
  /** A function is written that may end the program. */
  mayThrow = false;
  /** A lock is held. */
  isLocked = false;
  /** Some programs break a rule here and there: most of these are refused, and must be. */
  readonly isSloppy: boolean;
  /** Frames that may still be opened. */
  framesLeft = 2;
  readonly busy = new Set<Resource>();

  constructor(random: Prng, kind: ProgramKind, privileges: Privileges) {
    this.random = random;
    this.kind = kind;
    this.privileges = privileges;
    this.kinds[10] = "stack";
    this.isSloppy = random.oneIn(3);
  }

  /** A rule is broken now. */
  get slips(): boolean {
    return this.isSloppy && this.random.oneIn(3);
  }

  get length(): number {
    return this.code.length;
  }

  emit(...parts: readonly (Insn | readonly Insn[])[]): void {
    this.code.push(...(parts.flat() as Insn[]));
  }

  patch(at: number, change: Partial<Insn>): void {
    this.code[at] = { ...this.code[at]!, ...change };
  }

  /** The jump at `at` goes here. */
  aim(at: number): void {
    this.patch(at, { off: this.code.length - at - 1 });
  }

  /** Writes a jump to the end of the function. */
  leave(insn: Insn): void {
    this.emit(insn);
    this.leaves.push(this.code.length - 1);
  }

  /** A jump that is aimed later. */
  jump(insn: Insn): number {
    this.emit(insn);
    return this.code.length - 1;
  }

  set(register: number, kind: Kind): void {
    this.kinds[register] = kind;
  }

  having(kind: Kind): number | undefined {
    const found = REGISTERS.filter((register) => this.kinds[register] === kind);
    return found.length === 0 ? undefined : this.random.pick(found);
  }

  /** A register that holds a number, which may be written now. */
  number(): number {
    const found = this.having("number");
    if (found !== undefined) return found;
    this.emit(asm.movImm(7, this.imm()));
    this.set(7, "number");
    return 7;
  }

  imm(): number {
    const { random } = this;
    if (random.oneIn(4)) return random.i32();
    const edge = random.pick(EDGES);
    return random.oneIn(3) ? -edge : edge;
  }

  /** A call leaves nothing in r1 to r5, and its result in r0. */
  afterCall(result: Kind = "number"): void {
    for (let i = 1; i <= 5; i++) this.set(i, "none");
    this.set(0, result);
  }

  call(helper: number, result: Kind = "number"): void {
    this.emit(asm.call(helper));
    this.afterCall(result);
  }

  kfunc(id: number, result: Kind = "number"): void {
    this.emit(asm.callKfunc(id));
    this.afterCall(result);
  }

  /** Pointers into the packet are no longer good. */
  packetMoved(): void {
    if (this.slips) return;
    this.kinds = this.kinds.map((kind) => (kind === "packet" ? "none" : kind));
  }

  /** `register` points to a place on the stack. */
  pointTo(register: number, off: number): void {
    this.emit(asm.movReg(register, 10), asm.aluImm("add", register, off));
    this.set(register, "none");
  }

  /** Slots whose bytes were written one way or another: numbers stay numbers. */
  smeared(): void {
    this.slots = this.slots.map((kind) => (kind === "number" ? kind : "none"));
  }

  /** Few of them, so that what is written is read. */
  slot(): number {
    return this.random.below(this.random.oneIn(3) ? SLOTS : 3);
  }

  copyKinds(): readonly [Kind[], Kind[]] {
    return [[...this.kinds], [...this.slots]];
  }

  /** Keeps what is the same on another way here. */
  join([kinds, slots]: readonly [readonly Kind[], readonly Kind[]]): void {
    this.kinds = this.kinds.map((kind, i) => (kind === kinds[i] && kind !== "packet" ? kind : "none"));
    this.slots = this.slots.map((kind, i) => (kind === slots[i] ? kind : "none"));
  }

  /**
   * What `body` writes stands between taking something and giving it back. Ways out of it give it back too.
   */
  holding(resource: Resource | undefined, body: () => void, release: () => void): void {
    const outer = this.leaves;
    this.leaves = [];
    if (resource !== undefined) this.busy.add(resource);
    body();
    release();
    if (resource !== undefined) this.busy.delete(resource);
    const early = this.leaves;
    this.leaves = outer;
    if (early.length === 0) return;
    const skip = this.jump(asm.goto(0));
    for (const at of early) this.aim(at);
    const after = this.copyKinds();
    release();
    [this.kinds, this.slots] = [[...after[0]], [...after[1]]];
    this.leave(asm.goto(0));
    this.aim(skip);
  }

  /** Bounds the number in `register` to [0, limit], in one of the ways that programs do it; now and then a little too far. */
  bound(register: number, limit: number): void {
    const { random } = this;
    const most = this.slips ? limit + random.pick([1, 1, 1, 8]) : limit;
    const bits: Bits = random.oneIn(3) ? 32 : 64;
    const mask = 2 ** Math.floor(Math.log2(most + 1)) - 1;
    switch (random.below(9)) {
      case 0:
        return this.emit(asm.aluImm("and", register, mask, bits));
      case 1:
        if (bits === 32) this.emit(asm.aluReg("mov", register, register, 32));
        return this.leave(asm.jumpImm("jgt", register, most, 0, bits));
      case 2:
        this.leave(asm.jumpImm("jsgt", register, most, 0));
        return this.leave(asm.jumpImm("jslt", register, 0, 0));
      case 3:
        this.emit(asm.aluImm("rsh", register, 64 - Math.floor(Math.log2(most + 1)) || 1));
        return this.leave(asm.jumpImm("jge", register, most + 1, 0));
      case 4:
        this.emit(asm.aluReg("mov", register, register, 32));
        this.leave(asm.jumpImm("jsgt", register, most, 0, 32));
        return this.leave(asm.jumpImm("jslt", register, 0, 0, 32));
      case 5:
        this.emit(asm.aluImm("and", register, 0xff));
        return this.leave(asm.jumpImm("jgt", register, most, 0, 32));
      case 6:
        this.emit(asm.jumpImm("jle", register, most, 1));
        return this.leave(asm.goto(0));
      case 7:
        // Through the high half: a shift to the left and back.
        this.emit(asm.aluImm("lsh", register, 32), asm.aluImm("rsh", register, 32));
        return this.leave(asm.jumpImm("jge", register, most + 1, 0, bits));
      default:
        this.emit(asm.storeReg(8, 10, PLACE.bound, register));
        this.leave(asm.jumpImm("jgt", register, most, 0));
        return this.emit(asm.load(8, register, 10, PLACE.bound));
    }
  }

  /** Reads or writes `size` bytes behind a pointer, in the ways that are allowed; now and then in another. */
  access(pointer: number, off: number, size: AccessBytes, ways: "all" | "plain" | "read" = "all"): void {
    const { random } = this;
    const choice = this.slips
      ? random.below(10)
      : ways === "read"
        ? 9
        : ways === "plain"
          ? random.pick([0, 1, 2, 3, 7, 8, 9])
          : random.below(10);
    if (choice < 2) return this.emit(asm.storeReg(size, pointer, off, this.number()));
    if (choice < 4) return this.emit(asm.storeImm(size, pointer, off, this.imm()));
    const to = random.pick([0, 3, 7, 8].filter((register) => register !== pointer));
    if (choice === 4 && size >= 4 && off % size === 0) {
      const word = size as 4 | 8;
      if (this.kinds[0] !== "number" || pointer === 0) return;
      const op = random.pick(["add", "fetch_or", "xchg", "cmpxchg"] as const);
      return this.emit(asm.atomic(op, word, pointer, off, this.number()));
    }
    if (choice === 5 && off % size === 0) this.emit(asm.loadAcquire(size, to, pointer, off));
    else if (choice === 6 && off % size === 0)
      return this.emit(asm.storeRelease(size, pointer, off, this.number()));
    else if (size < 8 && random.oneIn(3)) this.emit(asm.loadSigned(size as 1 | 2 | 4, to, pointer, off));
    else this.emit(asm.load(size, to, pointer, off));
    this.set(to, "number");
  }
}
