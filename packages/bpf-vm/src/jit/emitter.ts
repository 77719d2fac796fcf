/**
 * `Emitter`: writes one WebAssembly function, with the BPF registers as locals.
 *
 * r0 to r5 are one set of i64 locals for a function and all that is inlined into it, since calls pass them on anyway; r6 to r9,
 * the frame and the turns of `may_goto` belong to a `Level`, one per inlined call. The frame is an i32 local, the bottom of the
 * frame, so that every access through r10 has a static offset. Within a block the emitter knows which registers hold a
 * constant or an address in the frame (`known`); the knowledge ends with the block.
 */
import { FRAME_BYTES } from "@alien-ts/bpf-isa";
import { BLOCK_VOID, ByteWriter, OP } from "@alien-ts/wasm-encoder";
import type { ValueType } from "@alien-ts/wasm-encoder";

export interface Level {
  /** Locals of r6 to r9. */
  readonly saved: readonly number[];
  /** Local with the bottom of the frame; -1 where the function needs none. */
  readonly frame: number;
  /** Local with the turns left of may_goto; -1 where there is none. */
  readonly loops: number;
}

const KNOWN = { nothing: 0, constant: 1, frame: 2 } as const;

/** Index of the first constant in a register file. */
const FIRST_CONSTANT = 22;

export class Emitter {
  readonly out = new ByteWriter(512);
  /** Types of the locals after the parameters. */
  readonly locals: ValueType[] = [];
  level!: Level;
  /** Blocks that are open in the WebAssembly function. */
  depth = 0;
  private readonly parameters: number;
  private readonly constants: Int32Array;
  private readonly high: number;
  private readonly shared: number[] = [];
  private readonly kinds = new Uint8Array(11);
  private readonly lows = new Int32Array(11);
  private readonly highs = new Int32Array(11);
  private readonly temporaries = new Map<string, number>();

  constructor(parameters: number, constants: Int32Array, high: number) {
    this.parameters = parameters;
    this.constants = constants;
    this.high = high;
  }

  // --- Locals -------------------------------------------------------------------------------------------------------

  local(type: ValueType): number {
    return this.parameters + this.locals.push(type) - 1;
  }

  /** A local for use within one instruction. */
  temporary(type: ValueType, name: string): number {
    const key = `${name} ${type}`;
    const known = this.temporaries.get(key);
    if (known !== undefined) return known;
    const local = this.local(type);
    this.temporaries.set(key, local);
    return local;
  }

  /** Gives r0 to r5 their locals: a parameter where `parameterOf` has one. */
  shareRegisters(parameterOf: (register: number) => number | undefined): void {
    for (let register = 0; register < 6; register++) {
      this.shared.push(parameterOf(register) ?? this.local("i64"));
    }
  }

  localOf(register: number): number {
    return register < 6 ? this.shared[register]! : this.level.saved[register - 6]!;
  }

  // --- Code ---------------------------------------------------------------------------------------------------------

  op(opcode: number): this {
    this.out.u8(opcode);
    return this;
  }

  localGet(local: number): this {
    this.out.u8(OP.local_get).u32(local);
    return this;
  }

  localSet(local: number): this {
    this.out.u8(OP.local_set).u32(local);
    return this;
  }

  localTee(local: number): this {
    this.out.u8(OP.local_tee).u32(local);
    return this;
  }

  i32(value: number): this {
    this.out.u8(OP.i32_const).s32(value);
    return this;
  }

  i64(low: number, high: number): this {
    this.out.u8(OP.i64_const).s64(low, high);
    return this;
  }

  call(index: number): this {
    this.out.u8(OP.call).u32(index);
    return this;
  }

  /** Makes the i32 on the stack a kernel pointer. */
  pushPointer(): this {
    return this.op(OP.i64_extend_i32_u).i64(0, this.high).op(OP.i64_or);
  }

  /** A load or store at the address on the stack plus `offset`. */
  memory(opcode: number, offset: number): this {
    this.out.u8(opcode).u8(0).u32(offset);
    return this;
  }

  open(opcode: typeof OP.block | typeof OP.loop | typeof OP.if, type: number = BLOCK_VOID): this {
    this.depth += 1;
    this.out.u8(opcode).u8(type);
    return this;
  }

  close(): this {
    this.depth -= 1;
    return this.op(OP.end);
  }

  /** A jump to the block that was open as number `label`, counted from 1. */
  branch(opcode: typeof OP.br | typeof OP.br_if, label: number): this {
    this.out.u8(opcode).u32(this.depth - label);
    return this;
  }

  // --- BPF registers ------------------------------------------------------------------------------------------------

  /** Pushes the 64-bit value of a register. */
  get(register: number): this {
    if (register !== 10) return this.localGet(this.localOf(register));
    return this.localGet(this.level.frame).op(OP.i64_extend_i32_u).i64(FRAME_BYTES, this.high).op(OP.i64_add);
  }

  /** Pushes the low word of a register. */
  get32(register: number): this {
    const offset = this.frameOffset(register);
    if (offset !== undefined)
      return this.localGet(this.level.frame)
        .i32(FRAME_BYTES + offset)
        .op(OP.i32_add);
    if (this.kinds[register] === KNOWN.constant) return this.i32(this.lows[register]!);
    return this.get(register).op(OP.i32_wrap_i64);
  }

  /** Pops the 64-bit value of a register, of which nothing is known from then on. */
  set(register: number): this {
    this.kinds[register] = KNOWN.nothing;
    return this.localSet(this.localOf(register));
  }

  /** As `set`, from a 32-bit value: the high word becomes 0. */
  set32(register: number): this {
    return this.op(OP.i64_extend_i32_u).set(register);
  }

  /** Pushes the 64-bit value that a source word of prepared code names. */
  source(word: number): this {
    if (word < FIRST_CONSTANT) return this.get(word >> 1);
    return this.i64(this.constants[word]!, this.constants[word + 1]!);
  }

  source32(word: number): this {
    if (word < FIRST_CONSTANT) return this.get32(word >> 1);
    return this.i32(this.constants[word]!);
  }

  /** Low and high word of a source word that is a constant. */
  constantOf(word: number): { low: number; high: number } | undefined {
    if (word < FIRST_CONSTANT) return undefined;
    return { low: this.constants[word]!, high: this.constants[word + 1]! };
  }

  // --- What is known ------------------------------------------------------------------------------------------------

  forget(): void {
    this.kinds.fill(KNOWN.nothing);
  }

  /** Notes that `register` was just set to the value of a source word. */
  learnMove(register: number, word: number): void {
    if (word >= FIRST_CONSTANT) {
      this.kinds[register] = KNOWN.constant;
      this.lows[register] = this.constants[word]!;
      this.highs[register] = this.constants[word + 1]!;
      return;
    }
    const from = word >> 1;
    this.kinds[register] = from === 10 ? KNOWN.frame : this.kinds[from]!;
    this.lows[register] = from === 10 ? 0 : this.lows[from]!;
    this.highs[register] = from === 10 ? 0 : this.highs[from]!;
  }

  /** Notes that `register`, a frame address before, has grown by `offset`. */
  learnFrame(register: number, offset: number): void {
    this.kinds[register] = KNOWN.frame;
    this.lows[register] = offset;
  }

  /** Distance from the frame pointer, where the register is known to hold an address relative to it. */
  frameOffset(register: number): number | undefined {
    if (register === 10) return 0;
    return this.kinds[register] === KNOWN.frame ? this.lows[register] : undefined;
  }

  /** Low word of a constant that the register is known to hold, if its high word is 0. */
  knownWord(register: number): number | undefined {
    return this.kinds[register] === KNOWN.constant && this.highs[register] === 0
      ? this.lows[register]
      : undefined;
  }

  /** Low word of a constant that the register is known to hold, if it is a kernel address. */
  knownAddress(register: number): number | undefined {
    if (this.kinds[register] !== KNOWN.constant || this.highs[register] !== this.high) return undefined;
    return this.lows[register]! >>> 0;
  }
}
