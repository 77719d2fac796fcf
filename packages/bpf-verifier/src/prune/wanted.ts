/** What a walk back along a path looks for: by frame, the registers and slots that must be precise, as bits. Linux: backtrack_state */
const SLOTS_PER_WORD = 32;

/** What must be precise before the instruction that the walk back has reached. */
export class Wanted {
  frame: number;
  /** One frame more than there are: a walk back that goes too deep ends there. (Typed arrays take longer to make.) */
  readonly registers = [0, 0, 0, 0, 0, 0, 0, 0, 0];
  private readonly slotWords = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
  /** The innermost frame of which something may be wanted. */
  private innermost: number;

  /** Something became precise that was not. */
  hasMarked = false;
  /** A fetched number was met. */
  hasFetched = false;
  /** Such numbers are followed to what they were fetched from. */
  isCareful = false;
  /** Nothing is printed. */
  isQuiet = false;

  constructor(frame: number) {
    this.frame = frame;
    this.innermost = frame;
  }

  copy(): Wanted {
    const copy = new Wanted(this.frame);
    copy.innermost = this.innermost;
    for (const [i, mask] of this.registers.entries()) copy.registers[i] = mask;
    for (const [i, mask] of this.slotWords.entries()) copy.slotWords[i] = mask;
    return copy;
  }

  get isEmpty(): boolean {
    const { registers, slotWords } = this;
    for (let i = 0; i <= this.innermost; i++)
      if ((registers[i]! | slotWords[2 * i]! | slotWords[2 * i + 1]!) !== 0) return false;
    return true;
  }

  /** Goes down into the function that the current frame called. */
  enterFrame(): void {
    this.frame += 1;
    this.innermost = Math.max(this.innermost, this.frame);
  }

  has(frame: number, register: number): boolean {
    return (this.registers[frame]! & (1 << register)) !== 0;
  }

  add(frame: number, register: number): void {
    this.registers[frame]! |= 1 << register;
  }

  drop(frame: number, register: number): void {
    this.registers[frame]! &= ~(1 << register);
  }

  hasSlot(frame: number, slot: number): boolean {
    return (this.slotWords[wordOf(frame, slot)]! & (1 << slot)) !== 0;
  }

  addSlot(frame: number, slot: number): void {
    this.slotWords[wordOf(frame, slot)]! |= 1 << slot;
  }

  dropSlot(frame: number, slot: number): void {
    this.slotWords[wordOf(frame, slot)]! &= ~(1 << slot);
  }

  /** Forgets the frame. */
  clear(frame: number): void {
    this.registers[frame] = 0;
    this.slotWords[2 * frame] = 0;
    this.slotWords[2 * frame + 1] = 0;
  }

  /** In order of their numbers. */
  slots(frame: number): readonly number[] {
    if ((this.slotWords[2 * frame]! | this.slotWords[2 * frame + 1]!) === 0) return NONE;
    const found: number[] = [];
    for (let slot = 0; slot < 2 * SLOTS_PER_WORD; slot++) if (this.hasSlot(frame, slot)) found.push(slot);
    return found;
  }
}

const NONE: readonly number[] = [];

const wordOf = (frame: number, slot: number): number => 2 * frame + (slot < SLOTS_PER_WORD ? 0 : 1);
