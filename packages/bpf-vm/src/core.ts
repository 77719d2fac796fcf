/**
 * `Core`: the registers that interpreted programs run in, and a cache of their code beside them, in one array.
 *
 * There is one core (interpreter.ts makes it at the first run), as the host runs one program at a time: to V8 the array is then a constant, whose
 * address and length need no loading and checking at each of an instruction's ten accesses. That takes a third off the time of
 * a loop (4.0 to 2.6 ns per instruction). Nothing in it outlives a run but copies of code: a run within a run (`begin`,
 * `end`) puts the outer one's registers aside, and a program whose copy was thrown out is copied again (`place`).
 *
 * Words 0 to 21 are registers. Copied code is that of program.ts with jump targets and constants relocated.
 */
import { MAX_INSNS, REGISTERS } from "@alien-ts/bpf-isa";
import { STRIDE } from "./program.ts";
import type { BpfProgram } from "./program.ts";

const REGISTER_WORDS = 2 * REGISTERS;
/** What a frame of a call keeps, in words: r6 to r9 of its caller, its own turns of may_goto, where its caller goes on. */
export const FRAME = { words: 10, loopsLeft: 8, returnTo: 9 } as const;

/** Where the first copy is: code starts at a multiple of `STRIDE`. */
const FIRST = 24;

/** Room for the largest program: each instruction with a constant of its own. Pages never written cost nothing. */
const FILE_WORDS = FIRST + (STRIDE + 2) * (MAX_INSNS + 2);

export class Core {
  readonly file = new Int32Array(FILE_WORDS);
  /** Copies of older generations have been thrown out. */
  generation = 1;
  private top = FIRST;
  private nesting = 0;
  private readonly aside: Int32Array[] = [];

  /** Starts a run: the registers are its own until `end`. */
  begin(): void {
    if (this.nesting++ > 0) this.putAside();
  }

  /** Ends a run: the registers hold again what they held before it. */
  end(): void {
    if (--this.nesting > 0) this.takeBack();
  }

  /** Index of the copy of `program`, which is made unless there is one. */
  place(program: BpfProgram): number {
    if (program.generation === this.generation) return program.base;
    const { code, constants } = program;
    const words = code.length + constants.length - REGISTER_WORDS;
    if (words > FILE_WORDS - this.top) {
      this.generation += 1;
      this.top = FIRST;
    }
    const base = this.top;
    this.copy(program, base);
    this.top = (base + words + STRIDE - 1) & -STRIDE;
    program.base = base;
    program.generation = this.generation;
    return base;
  }

  private copy({ code, constants }: BpfProgram, base: number): void {
    const { file } = this;
    const pool = base + code.length - REGISTER_WORDS;
    file.set(code, base);
    file.set(constants.subarray(REGISTER_WORDS), pool + REGISTER_WORDS);
    for (let at = 0; at < code.length; at += STRIDE) {
      const operation = code[at]!;
      const source = code[at + 2]!;
      if (source >= REGISTER_WORDS && hasOperand(operation)) file[base + at + 2] = pool + source;
      if (isJump(operation)) file[base + at + 3] = base + code[at + 3]!;
    }
  }

  private putAside(): void {
    const saved = (this.aside[this.nesting - 2] ??= new Int32Array(REGISTER_WORDS));
    for (let i = 0; i < REGISTER_WORDS; i++) saved[i] = this.file[i]!;
  }

  private takeBack(): void {
    const saved = this.aside[this.nesting - 1]!;
    for (let i = 0; i < REGISTER_WORDS; i++) this.file[i] = saved[i]!;
  }
}

/** Whether an operation's source word is an index of the register file: not a helper's number or an atomic's operation. */
const hasOperand = (operation: number): boolean => operation !== 0x85 && (operation & 0xe7) !== 0xc3;

/** Classes JMP and JMP32 but for exits and calls of helpers. */
const isJump = (operation: number): boolean =>
  ((operation & 7) === 5 || (operation & 7) === 6) &&
  operation !== 0x85 &&
  operation !== 0x86 &&
  operation !== 0x95;
