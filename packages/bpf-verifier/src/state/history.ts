/**
 * The steps of a path that a walk back must know of: those that the instruction before did not lead to, and those that touched the
 * stack or joined numbers. A step has a number, counted from 0.
 *
 * Steps are numbers in one list: as objects they were a third of the memory of a verification.
 */

/** A number that a jump compared, or one that is tied to it. */
export interface LinkedRegister {
  readonly frame: number;
  /** Register number, or slot number where `isSlot`. */
  readonly at: number;
  readonly isSlot: boolean;
}

/** Of each step: its instruction, the one before it, the slot that it accessed, the registers that are no numbers. */
const WORDS = 4;
const SLOTS = 64;
const NO_SLOT = -1;

export class History {
  private readonly words: number[];
  /** By step; copies share it. */
  private linked: ReadonlyMap<number, readonly LinkedRegister[]> | undefined;

  constructor(words: number[] = []) {
    this.words = words;
  }

  get length(): number {
    return this.words.length / WORDS;
  }

  copy(): History {
    const copy = new History(this.words.slice());
    copy.linked = this.linked;
    return copy;
  }

  push(insn: number, previous: number): void {
    this.words.push(insn, previous, NO_SLOT, 0);
  }

  /** Makes the instruction the last step where it is not. */
  reach(insn: number, previous: number): void {
    const { words } = this;
    if (words.length === 0 || words[words.length - WORDS] !== insn) this.push(insn, previous);
  }

  /** The last step accessed this slot through a register. */
  noteSlot(frame: number, slot: number): void {
    this.words[this.words.length - 2] = frame * SLOTS + slot;
  }

  /** The last step compared these registers, as bits, which point into the stack: no number came from them. */
  noteStackPointers(registers: number): void {
    this.words[this.words.length - 1] = registers;
  }

  /** The bounds of these were joined in the last step. */
  noteLinked(linked: readonly LinkedRegister[]): void {
    this.linked = new Map(this.linked).set(this.length - 1, linked);
  }

  insnOf(step: number): number {
    return this.words[step * WORDS]!;
  }
  previousOf(step: number): number {
    return this.words[step * WORDS + 1]!;
  }
  /** The slot that was accessed; undefined for none. */
  slotOf(step: number): { readonly frame: number; readonly slot: number } | undefined {
    const at = this.words[step * WORDS + 2]!;
    return at === NO_SLOT ? undefined : { frame: Math.floor(at / SLOTS), slot: at % SLOTS };
  }
  stackPointersOf(step: number): number {
    return this.words[step * WORDS + 3]!;
  }
  linkedOf(step: number): readonly LinkedRegister[] | undefined {
    return this.linked?.get(step);
  }
}
