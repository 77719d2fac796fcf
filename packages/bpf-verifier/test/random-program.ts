/**
 * Random programs that the verifier accepts often: classifiers over numbers, stack, map values, packets, helpers, functions, loops.
 *
 * `randomProgram` keeps track of what each register and stack slot may be, so that most of what it writes is valid; bounds are put
 * before accesses with constants that are nearly always right. `mutated` then changes a few fields.
 */
import { ALU, JUMP, asm } from "@alien-ts/bpf-isa";
import type { AccessBytes, AluOp, Bits, Insn, JumpOp } from "@alien-ts/bpf-isa";
import type { Prng } from "@alien-ts/testkit";

/** What the programs find when they load map 1, 2 and 3. */
export const MAPS = {
  single: { fd: 1, type: 2, keySize: 4, valueSize: 48, entries: 1 },
  hash: { fd: 2, type: 1, keySize: 8, valueSize: 32, entries: 3 },
  array: { fd: 3, type: 2, keySize: 4, valueSize: 24, entries: 4 },
} as const;

type Kind = "number" | "stack" | "value" | "none";

/** Numbers at which something changes, in programs and in what they read. */
export const EDGES = [
  0, 1, 2, 3, 4, 7, 8, 15, 16, 31, 32, 33, 48, 63, 64, 127, 128, 255, 256, 0xffff, 0x7fff_ffff,
];
const ALU_OPS = Object.keys(ALU) as AluOp[];
const JUMP_OPS = Object.keys(JUMP) as JumpOp[];
const SIZES: readonly AccessBytes[] = [1, 2, 4, 8];
const SLOTS = 8;
const NUMBERED = [0, 1, 2, 3, 4, 5, 7, 8, 9] as const;
/** `len`, `mark`, `hash`, `cb[1]` of a packet's context: numbers of 32 bits. */
const CONTEXT_FIELDS = [0, 8, 68, 52] as const;

/** A classifier whose jumps go forward but for bounded loops; functions stand behind its end. */
export function randomProgram(random: Prng): Insn[] {
  return new Maker(random).make();
}

class Maker {
  readonly #random: Prng;
  readonly #code: Insn[] = [];
  #kinds: Kind[] = Array.from({ length: 11 }, () => "none");
  #slots: Kind[] = Array.from({ length: SLOTS }, () => "none");
  /** Jumps to the end of the function. */
  #leaves: number[] = [];
  /** Calls of functions that are still to be written; callbacks have two arguments. */
  readonly #calls: { readonly at: number; readonly isCallback: boolean }[] = [];
  #isInFunction = false;
  /** Sets r0 at the end. */
  #result = asm.movImm(0, 0);

  constructor(random: Prng) {
    this.#random = random;
  }

  make(): Insn[] {
    this.#emit(asm.movReg(6, 1));
    this.#kinds[10] = "stack";
    for (const register of NUMBERED) this.#fill(register);
    this.#block(this.#random.between(4, 28), 0);
    this.#end();
    for (let i = 0; i < this.#calls.length && i < 3; i++) this.#function(this.#calls[i]!);
    // Calls beyond the third go to the last function.
    const written = this.#calls.slice(0, 3).map(({ at }) => at + 1 + this.#code[at]!.imm);
    this.#calls.slice(3).forEach(({ at, isCallback }) => {
      const like = this.#calls.slice(0, 3).findIndex((call) => call.isCallback === isCallback);
      const start = written[like];
      if (start === undefined) this.#patch(at, isCallback ? asm.movImm(2, 0) : asm.movImm(0, 0));
      else this.#patch(at, { ...this.#code[at]!, imm: start - at - 1 });
    });
    return this.#code;
  }

  #emit(...parts: readonly (Insn | readonly Insn[])[]): void {
    this.#code.push(...(parts.flat() as Insn[]));
  }

  #patch(at: number, insn: Insn): void {
    this.#code[at] = insn;
  }

  #aim(at: number): void {
    this.#patch(at, { ...this.#code[at]!, off: this.#code.length - at - 1 });
  }

  #end(): void {
    for (const at of this.#leaves) this.#aim(at);
    this.#leaves = [];
    this.#emit(this.#result, asm.exit());
  }

  #function({ at, isCallback }: { readonly at: number; readonly isCallback: boolean }): void {
    const insn = this.#code[at]!;
    this.#patch(at, { ...insn, imm: this.#code.length - at - 1 });
    this.#isInFunction = true;
    this.#result = isCallback ? asm.movImm(0, this.#random.below(2)) : asm.movReg(0, 0);
    this.#kinds = Array.from({ length: 11 }, () => "none");
    this.#kinds[10] = "stack";
    this.#kinds[1] = "number";
    if (!isCallback) this.#kinds[2] = "number";
    this.#slots = Array.from({ length: SLOTS }, () => "none");
    if (isCallback && this.#random.oneIn(2)) {
      // The callback changes what its caller has on the stack.
      this.#emit(asm.load(8, 3, 2, 0), asm.aluImm("add", 3, 1), asm.storeReg(8, 2, 0, 3));
    }
    const registers = this.#random.oneIn(2) ? [3, 7] : [4, 8];
    for (const register of [0, ...registers]) this.#number(register);
    this.#block(this.#random.between(1, 8), 1);
    this.#end();
    this.#isInFunction = false;
  }

  #block(length: number, depth: number): void {
    for (let i = 0; i < length; i++) this.#statement(depth);
  }

  #statement(depth: number): void {
    switch (this.#random.below(22)) {
      case 0:
      case 1:
        return this.#branch(depth);
      case 2:
      case 3:
        return this.#spill();
      case 4:
      case 5:
        return this.#unspill();
      case 6:
      case 7:
        return this.#accessValue();
      case 8:
        return this.#accessStack();
      case 9:
        return this.#accessPacket();
      case 10:
        return depth < 2 ? this.#loop(depth) : this.#alu();
      case 11:
        return this.#call(depth);
      case 12:
        return this.#fill(this.#random.pick(NUMBERED));
      case 13:
        return this.#helper();
      case 14:
        return this.#copy();
      case 15:
        return this.#atomic();
      default:
        return this.#alu();
    }
  }

  #having(kind: Kind): number | undefined {
    const found = [...NUMBERED].filter((register) => this.#kinds[register] === kind);
    return found.length === 0 ? undefined : this.#random.pick(found);
  }

  #aNumber(): number {
    const found = this.#having("number");
    if (found !== undefined) return found;
    this.#number(7);
    return 7;
  }

  #imm(): number {
    const random = this.#random;
    if (random.oneIn(4)) return random.i32();
    const edge = random.pick(EDGES);
    return random.oneIn(3) ? -edge : edge;
  }

  /** Puts something into the register. */
  #fill(register: number): void {
    const random = this.#random;
    switch (this.#isInFunction ? 9 : random.below(10)) {
      case 0:
        this.#emit(asm.movReg(register, 10), asm.aluImm("add", register, -8 * random.between(1, SLOTS)));
        this.#kinds[register] = "stack";
        return;
      case 1:
        this.#emit(asm.mapValue(register, MAPS.single.fd, 8 * random.below(3)));
        this.#kinds[register] = "value";
        return;
      default:
        return this.#number(register);
    }
  }

  #number(register: number): void {
    const random = this.#random;
    this.#kinds[register] = "number";
    switch (random.below(this.#isInFunction ? 3 : 5)) {
      case 0:
        return this.#emit(asm.movImm(register, this.#imm()));
      case 1:
        return this.#emit(asm.wide64(register, random.u64() >> BigInt(random.below(64))));
      case 2:
        // Functions have no context: an unknown number comes from a helper, which forgets r0 to r5.
        if (this.#isInFunction || register > 5) return this.#unknown(register);
        return this.#emit(asm.load(4, register, 6, random.pick(CONTEXT_FIELDS)));
      case 3:
        return this.#emit(asm.load(random.pick([1, 2, 4] as const), register, 6, 8));
      default:
        return this.#emit(asm.load(4, register, 6, random.pick(CONTEXT_FIELDS)));
    }
  }

  #unknown(register: number): void {
    this.#emit(asm.call(this.#random.pick([5, 7, 8])));
    this.#forget();
    this.#kinds[0] = "number";
    if (register !== 0) this.#emit(asm.movReg(register, 0));
    this.#kinds[register] = "number";
  }

  /** A call leaves nothing in r1 to r5. */
  #forget(): void {
    for (let i = 1; i <= 5; i++) this.#kinds[i] = "none";
  }

  #alu(): void {
    const random = this.#random;
    const dst = this.#aNumber();
    const bits: Bits = random.oneIn(2) ? 64 : 32;
    if (random.oneIn(8)) {
      const odd = random.below(4);
      if (odd === 0) return this.#emit(asm.neg(dst, bits));
      if (odd === 1) return this.#emit(asm.movsx(random.pick([8, 16] as const), dst, this.#aNumber(), bits));
      if (odd === 2) return this.#emit(asm.be(random.pick([16, 32, 64] as const), dst));
      return this.#emit(asm.le(random.pick([16, 32, 64] as const), dst));
    }
    const op = random.pick(ALU_OPS);
    const isShift = op === "lsh" || op === "rsh" || op === "arsh";
    const isDivision = op === "div" || op === "mod" || op === "sdiv" || op === "smod";
    if (random.oneIn(3) && !isShift) return this.#emit(asm.aluReg(op, dst, this.#aNumber(), bits));
    const imm = isShift ? random.below(bits) : this.#imm();
    this.#emit(asm.aluImm(op, dst, isDivision && imm === 0 ? 1 : imm, bits));
  }

  #copy(): void {
    const from = this.#aNumber();
    const to = this.#random.pick(NUMBERED);
    const bits: Bits = this.#random.oneIn(3) ? 32 : 64;
    this.#emit(asm.aluReg("mov", to, from, bits));
    this.#kinds[to] = "number";
    if (this.#random.oneIn(2)) this.#emit(asm.aluImm("add", to, this.#random.between(-8, 40)));
  }

  #compare(off: number): void {
    const random = this.#random;
    const bits: Bits = random.oneIn(2) ? 64 : 32;
    const op = random.pick(JUMP_OPS);
    const dst = this.#aNumber();
    this.#emit(
      random.oneIn(3)
        ? asm.jumpReg(op, dst, this.#aNumber(), off, bits)
        : asm.jumpImm(op, dst, this.#imm(), off, bits),
    );
  }

  /** An if, sometimes with an else. */
  #branch(depth: number): void {
    const random = this.#random;
    if (random.oneIn(3)) {
      this.#compare(0);
      this.#leaves.push(this.#code.length - 1);
      return;
    }
    this.#compare(0);
    const jump = this.#code.length - 1;
    const before = [[...this.#kinds], [...this.#slots]] as const;
    this.#block(random.between(1, 3), depth + 1);
    let skip = -1;
    if (random.oneIn(2)) {
      this.#emit(asm.goto(0));
      skip = this.#code.length - 1;
    }
    this.#aim(jump);
    const after = [this.#kinds, this.#slots] as const;
    [this.#kinds, this.#slots] = [[...before[0]], [...before[1]]];
    if (skip >= 0) {
      this.#block(random.between(1, 3), depth + 1);
      this.#aim(skip);
    }
    this.#kinds = this.#kinds.map((kind, i) => (kind === after[0][i] ? kind : "none"));
    this.#slots = this.#slots.map((kind, i) => (kind === after[1][i] ? kind : "none"));
  }

  /** A loop with a counter that is known, or one that may_goto or an unknown number ends. */
  #loop(depth: number): void {
    const random = this.#random;
    const counter = random.pick([7, 8, 9]);
    this.#emit(asm.movImm(counter, 0));
    this.#kinds[counter] = "number";
    const start = this.#code.length;
    const isMayGoto = random.oneIn(3);
    if (isMayGoto) this.#emit(asm.mayGoto(0));
    // What the body finds must be there at every turn: numbers in saved registers and slots.
    this.#kinds = this.#kinds.map((kind, i) => (i === 10 || (i > 5 && kind === "number") ? kind : "none"));
    this.#slots = this.#slots.map((kind) => (kind === "number" ? kind : "none"));
    const before = [[...this.#kinds], [...this.#slots]] as const;
    // The body may use the counter but must not change it: it is hidden while the body is written.
    this.#kinds[counter] = "none";
    if (random.oneIn(2)) this.#useCounter(counter);
    this.#block(random.between(1, 3), depth + 1);
    for (const register of [7, 8, 9])
      if (register !== counter && before[0][register] === "number" && this.#kinds[register] !== "number")
        this.#emit(asm.movImm(register, 5));
    const isKept = this.#kinds[counter] === "none";
    this.#emit(isKept ? asm.aluImm("add", counter, random.between(1, 3)) : asm.movImm(counter, 1));
    const back = start - this.#code.length - 1;
    if (isMayGoto) this.#emit(asm.goto(back));
    else if (isKept)
      this.#emit(
        asm.jumpImm(
          random.pick(["jlt", "jslt", "jne"] as const),
          counter,
          random.between(1, 6),
          back,
          random.oneIn(3) ? 32 : 64,
        ),
      );
    if (isMayGoto) this.#aim(start);
    this.#kinds = this.#kinds.map((kind, i) => (kind === before[0][i] ? kind : "none"));
    this.#slots = this.#slots.map((kind, i) => (kind === before[1][i] ? kind : "none"));
    this.#kinds[counter] = "number";
  }

  #useCounter(counter: number): void {
    this.#emit(
      asm.movReg(1, 10),
      asm.movReg(2, counter),
      asm.aluImm("and", 2, 7),
      asm.aluReg("add", 1, 2),
      asm.storeReg(1, 1, -64, counter),
    );
    this.#slots[7] = "none";
    this.#kinds[1] = "none";
    this.#kinds[2] = "number";
  }

  /** Few of them, so that what is written is read. */
  #slot(): number {
    return this.#random.below(this.#random.oneIn(3) ? SLOTS : 3);
  }

  #spill(): void {
    const random = this.#random;
    const slot = this.#slot();
    const off = -8 * (slot + 1);
    const pointer = random.oneIn(4) ? (this.#having("stack") ?? this.#having("value")) : undefined;
    if (pointer !== undefined && !this.#isInFunction) {
      this.#emit(asm.storeReg(8, 10, off, pointer));
      this.#slots[slot] = this.#kinds[pointer]!;
      return;
    }
    const size = random.oneIn(2) ? 8 : random.pick(SIZES);
    const at = off + size * random.below(8 / size);
    this.#emit(
      random.oneIn(3)
        ? asm.storeImm(size, 10, at, random.oneIn(2) ? 0 : this.#imm())
        : asm.storeReg(size, 10, at, this.#aNumber()),
    );
    this.#slots[slot] = size === 8 || this.#slots[slot] === "number" ? "number" : "none";
  }

  #unspill(): void {
    const random = this.#random;
    const slot = this.#slot();
    const kind = this.#slots[slot]!;
    const to = random.pick(NUMBERED);
    const off = -8 * (slot + 1);
    if (kind === "none") return this.#emit(asm.storeImm(8, 10, off, 0));
    if (kind === "number" && random.oneIn(2)) {
      const size = random.pick(SIZES);
      const at = off + size * random.below(8 / size);
      const isSigned = size < 8 && random.oneIn(3);
      this.#emit(isSigned ? asm.loadSigned(size as 1 | 2 | 4, to, 10, at) : asm.load(size, to, 10, at));
    } else this.#emit(asm.load(8, to, 10, off));
    this.#kinds[to] = kind;
  }

  /** Bounds the number in `register` to [0, limit], in one of the ways that programs do it. */
  #bound(register: number, limit: number): void {
    const random = this.#random;
    const most = random.oneIn(25) ? limit + random.between(1, 9) : limit;
    const bits: Bits = random.oneIn(3) ? 32 : 64;
    const leave = (insn: Insn): void => {
      this.#emit(insn);
      this.#leaves.push(this.#code.length - 1);
    };
    const mask = 2 ** Math.floor(Math.log2(most + 1)) - 1;
    switch (random.below(8)) {
      case 0:
        return this.#emit(asm.aluImm("and", register, mask, bits));
      case 7:
        this.#emit(asm.jumpImm("jle", register, most, 1));
        return leave(asm.goto(0));
      case 1:
        if (bits === 32) this.#emit(asm.aluReg("mov", register, register, 32));
        return leave(asm.jumpImm("jgt", register, most, 0, bits));
      case 2:
        leave(asm.jumpImm("jsgt", register, most, 0));
        return leave(asm.jumpImm("jslt", register, 0, 0));
      case 3:
        this.#emit(asm.aluImm("rsh", register, 64 - Math.floor(Math.log2(most + 1)) || 1));
        return leave(asm.jumpImm("jge", register, most + 1, 0));
      case 4:
        this.#emit(asm.aluReg("mov", register, register, 32));
        leave(asm.jumpImm("jsgt", register, most, 0, 32));
        return leave(asm.jumpImm("jslt", register, 0, 0, 32));
      case 5:
        this.#emit(asm.aluImm("and", register, 0xff));
        return leave(asm.jumpImm("jgt", register, most, 0, 32));
      default:
        this.#emit(asm.storeReg(8, 10, -72, register));
        leave(asm.jumpImm("jgt", register, most, 0));
        return this.#emit(asm.load(8, register, 10, -72));
    }
  }

  #access(pointer: number, off: number, size: AccessBytes): void {
    const random = this.#random;
    switch (random.below(4)) {
      case 0:
        return this.#emit(asm.storeReg(size, pointer, off, this.#aNumber()));
      case 1:
        return this.#emit(asm.storeImm(size, pointer, off, this.#imm()));
      default: {
        const to = random.pick([0, 3, 7, 8].filter((register) => register !== pointer));
        this.#emit(
          size < 8 && random.oneIn(3)
            ? asm.loadSigned(size as 1 | 2 | 4, to, pointer, off)
            : asm.load(size, to, pointer, off),
        );
        this.#kinds[to] = "number";
      }
    }
  }

  #accessValue(): void {
    if (this.#isInFunction) return this.#alu();
    const random = this.#random;
    const map = random.oneIn(3) ? this.#lookup() : MAPS.single;
    if (map === MAPS.single) this.#emit(asm.mapValue(1, MAPS.single.fd, 0));
    const size = random.pick(SIZES);
    const off = random.below(map.valueSize - size + 1);
    const index = this.#kinds[2] === "number" ? 2 : this.#aNumber();
    this.#emit(asm.movReg(2, index));
    this.#kinds[1] = "none";
    this.#kinds[2] = "none";
    this.#bound(2, map.valueSize - size - off);
    this.#emit(asm.aluReg("add", 1, 2));
    this.#access(1, off, size);
    this.#kinds[2] = "number";
  }

  /** Leaves the value in r1. */
  #lookup(): (typeof MAPS)[keyof typeof MAPS] {
    const random = this.#random;
    const map = random.oneIn(2) ? MAPS.hash : MAPS.array;
    this.#emit(asm.storeImm(8, 10, -80, random.below(6)), asm.movReg(2, 10), asm.aluImm("add", 2, -80));
    this.#emit(asm.mapFd(1, map.fd), asm.call(1));
    this.#forget();
    this.#kinds[0] = "none";
    if (random.oneIn(3)) {
      this.#emit(asm.movReg(1, 0), asm.jumpImm("jeq", 0, 0, 0));
    } else {
      this.#emit(asm.jumpImm("jeq", 0, 0, 0));
      this.#leaves.push(this.#code.length - 1);
      this.#emit(asm.movReg(1, 0));
      return map;
    }
    this.#leaves.push(this.#code.length - 1);
    return map;
  }

  /** The stack through a variable offset. */
  #accessStack(): void {
    const random = this.#random;
    const size = random.pick(SIZES);
    const index = this.#aNumber();
    this.#emit(asm.movReg(2, index));
    this.#kinds[2] = "none";
    if (size === 1) this.#bound(2, random.pick([7, 15, 31]));
    else this.#emit(asm.aluImm("and", 2, (random.pick([7, 15, 31]) & -size) >>> 0));
    const isSubtracted = random.oneIn(3);
    if (isSubtracted) this.#emit(asm.neg(2));
    this.#emit(asm.movReg(1, 10), asm.aluReg("add", 1, 2));
    this.#kinds[1] = "none";
    const off = isSubtracted ? -8 * random.between(1, SLOTS) : -8 * random.between(4, SLOTS);
    this.#access(1, off, size);
    for (let slot = 0; slot < SLOTS; slot++) if (this.#slots[slot] !== "number") this.#slots[slot] = "none";
    this.#kinds[2] = "number";
  }

  #accessPacket(): void {
    if (this.#isInFunction) return this.#alu();
    const random = this.#random;
    this.#emit(asm.load(4, 1, 6, 76), asm.load(4, 2, 6, 80));
    this.#kinds[1] = "none";
    this.#kinds[2] = "none";
    if (random.oneIn(2)) {
      const index = this.#having("number");
      if (index !== undefined) {
        this.#emit(asm.movReg(3, index));
        this.#kinds[3] = "none";
        this.#bound(3, random.pick([15, 31, 63]));
        this.#emit(asm.aluReg("add", 1, 3));
        this.#kinds[3] = "number";
      }
    }
    const length = random.between(1, 24);
    const size = random.pick(SIZES);
    const last = Math.max(0, length - size + (random.oneIn(25) ? 1 : 0));
    this.#emit(asm.movReg(4, 1), asm.aluImm("add", 4, length));
    this.#kinds[4] = "none";
    const pair = random.below(4);
    if (pair === 0) this.#emit(asm.jumpReg("jgt", 4, 2, 0));
    else if (pair === 1) this.#emit(asm.jumpReg("jlt", 2, 4, 0));
    else if (pair === 2) this.#emit(asm.jumpReg("jge", 4, 2, 0));
    else this.#emit(asm.jumpReg("jle", 2, 4, 0));
    this.#leaves.push(this.#code.length - 1);
    if (length >= size) this.#access(1, random.below(last + 1), size);
    this.#kinds[1] = "none";
    this.#kinds[2] = "none";
  }

  #helper(): void {
    const random = this.#random;
    if (this.#isInFunction || random.oneIn(2)) return this.#unknown(random.pick(NUMBERED));
    // bpf_skb_load_bytes() into the stack, its length variable or not.
    const isVariable = random.oneIn(2);
    this.#emit(asm.movReg(4, this.#aNumber()));
    this.#kinds[4] = "none";
    if (isVariable) {
      this.#bound(4, 15);
      this.#emit(asm.aluImm("add", 4, 1));
    } else this.#emit(asm.movImm(4, random.between(1, 16)));
    this.#emit(asm.movReg(3, 10), asm.aluImm("add", 3, -8 * random.between(2, SLOTS)));
    this.#emit(asm.movReg(1, 6), asm.movImm(2, random.below(64)), asm.call(26));
    for (let slot = 0; slot < SLOTS; slot++) if (this.#slots[slot] !== "number") this.#slots[slot] = "none";
    this.#forget();
    this.#kinds[0] = "number";
  }

  #call(depth: number): void {
    const random = this.#random;
    if (this.#isInFunction || depth > 1) return this.#alu();
    if (random.oneIn(3)) {
      this.#emit(asm.storeImm(8, 10, -88, 0), asm.movImm(1, random.between(0, 5)));
      if (random.oneIn(2)) {
        this.#emit(asm.load(4, 1, 6, 8));
        this.#bound(1, 6);
      }
      const at = this.#code.length;
      this.#emit(asm.functionAddress(2, 0), asm.movReg(3, 10), asm.aluImm("add", 3, -88), asm.movImm(4, 0));
      this.#emit(asm.call(181));
      this.#calls.push({ at, isCallback: true });
    } else {
      this.#emit(asm.movReg(1, this.#aNumber()));
      this.#kinds[1] = "number";
      this.#emit(asm.movReg(2, this.#aNumber()));
      this.#calls.push({ at: this.#code.length, isCallback: false });
      this.#emit(asm.callLocal(0));
    }
    this.#forget();
    this.#kinds[0] = "number";
  }

  #atomic(): void {
    const random = this.#random;
    const slot = random.below(SLOTS);
    const off = -8 * (slot + 1);
    const size = random.pick([4, 8] as const);
    const source = this.#aNumber();
    this.#emit(asm.storeReg(8, 10, off, source));
    this.#slots[slot] = "number";
    if (this.#kinds[0] !== "number") this.#emit(asm.movImm(0, 3));
    this.#kinds[0] = "number";
    this.#emit(
      asm.atomic(random.pick(["add", "or", "xchg", "cmpxchg", "fetch_add"] as const), size, 10, off, source),
    );
  }
}

const OFFSETS = [-8, -4, -2, -1, 1, 2, 4, 8];

/** The program with a few fields changed. */
export function mutated(random: Prng, insns: readonly Insn[]): Insn[] {
  const copy = insns.map((insn) => ({ ...insn }));
  for (let times = random.between(1, 2); times > 0; times--) {
    const at = random.below(copy.length);
    const insn = copy[at]!;
    const isWide = insn.opcode === 0x18 || insn.opcode === 0;
    if (isWide || insn.opcode === 0x85) continue;
    const kind = random.below(6);
    const isJump = (insn.opcode & 7) >= 5 && (insn.opcode & 7) <= 6;
    if (kind === 0)
      copy[at] = { ...insn, imm: (insn.opcode & 8) === 0 ? (insn.imm + random.pick(OFFSETS)) | 0 : insn.imm };
    else if (kind === 1) copy[at] = { ...insn, dst: random.below(10) };
    else if (kind === 2) copy[at] = { ...insn, src: (insn.opcode & 8) === 0 ? insn.src : random.below(11) };
    else if (kind === 3 && !isJump && insn.off !== 0)
      copy[at] = { ...insn, off: insn.off + random.pick(OFFSETS) };
    else if (kind === 4) copy[at] = { ...insn, opcode: changed(random, insn.opcode) };
    else if (kind === 5)
      copy.splice(at, 1, { opcode: 0xbf, dst: random.below(10), src: random.below(10), off: 0, imm: 0 });
  }
  return copy;
}

/** Another operation or width of the same shape. */
function changed(random: Prng, opcode: number): number {
  const kind = opcode & 7;
  if (kind === 4 || kind === 7)
    return random.oneIn(2) ? opcode ^ 3 : (opcode & 0x0f) | (random.below(13) << 4);
  if ((kind === 5 || kind === 6) && opcode !== 0x95 && opcode !== 0x05 && opcode !== 0xe5)
    return random.oneIn(2) ? opcode ^ 3 : (opcode & 0x0f) | ((random.between(1, 13) << 4) & 0xf0);
  if (kind === 1 || kind === 2 || kind === 3) return (opcode & ~0x18) | (random.below(4) << 3);
  return opcode;
}
