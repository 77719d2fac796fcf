/**
 * What the checks of one abstract interpretation share: the program, the current state, what was printed, ids, open paths.
 *
 * The walk (walk.ts) moves it along; `check/`, `access/` and `call/` read and change `state`. Registers are read and written
 * through `read` and `write`, which know what must be printed behind the instruction.
 */
import { EACCES, EFAULT, EINVAL } from "@alien-ts/abi";
import { FRAME_BYTES, REG, REGISTERS, disassemble } from "@alien-ts/bpf-isa";
import type { Insn } from "@alien-ts/bpf-isa";
import { edgesOf } from "./cfg.ts";
import type { MapInfo, ProgramEnv } from "./env.ts";
import type { VerifierLog } from "./log.ts";
import type { Mask } from "./speculation/masks.ts";
import { instructionNames } from "./names.ts";
import { padding, stateText } from "./print.ts";
import type { Touched } from "./print.ts";
import type { LiveStack } from "./prune/live-stack.ts";
import { FLAG, NOT_INIT, UNKNOWN, kindName, pointer } from "./state/register.ts";
import type { Register, RegisterKind } from "./state/register.ts";
import type { History } from "./state/history.ts";
import type { Frame, State } from "./state/state.ts";
import type { Subprogram, Verification } from "./state.ts";
import { reject } from "./verdict.ts";
import type { Check } from "./verdict.ts";

/** BPF_MAP_TYPE_ARENA */
export const ARENA_MAP = 33;
/** BPF_MAX_VAR_OFF */
export const MAX_VARIABLE_OFFSET = 1n << 29n;

/** BPF_STX | BPF_ATOMIC; bit 0 of the immediate is BPF_FETCH. */
const ATOMIC_STORE = 0xc3;

/** A path that is still to be walked. */
export interface OpenPath {
  readonly state: State;
  readonly insn: number;
  readonly previous: number;
  readonly logLength: number;
}

/** What the walk learns of an instruction, whatever the path. */
export interface InsnNotes {
  isSeen: boolean;
  /** A load that may meet a bad address: through a kernel pointer that nothing keeps alive. */
  isUntrusted: boolean;
  /** Kind of pointer that a load or store goes through; a program whose paths disagree is refused. */
  pointerKind: RegisterKind | undefined;
  /** The only map that a call is made with; null for several. */
  map: MapInfo | null | undefined;
  /** On some path the map is of somebody who must not use mispredicted paths. (Linux: map_ptr_state.unpriv) */
  isIndexMasked: boolean;
  /** Nothing behind a mispredicted jump may execute it. (Linux: nospec) */
  hasBarrierBefore: boolean;
  /** What it wrote must be there before anything behind it is executed. (Linux: nospec_result) */
  hasBarrierAfter: boolean;
  mask: Mask | undefined;
}

export class Analysis {
  readonly verification: Verification;
  readonly env: ProgramEnv;
  readonly log: VerifierLog;
  readonly insns: readonly Insn[];
  readonly subprograms: readonly Subprogram[];
  /** Maps by the instruction that loads them. */
  readonly maps: ReadonlyMap<number, MapInfo>;
  readonly notes: InsnNotes[];
  /** Two instructions that may follow each one in its function; -1 for none. */
  readonly edges: Int32Array;
  /** Registers that are read later, by instruction. */
  live: Uint16Array = new Uint16Array(0);
  /** What instructions read and write of the stack. */
  liveStack!: LiveStack;
  /** Bytes of stack that each function uses. */
  readonly stackDepth: number[];
  readonly calledGlobals = new Set<number>();
  /** Functions that are called back at once, and later. */
  readonly callbacks = new Set<number>();
  readonly laterCallbacks = new Set<number>();
  /** Functions whose types say something else than their callers. */
  readonly unreliable = new Set<number>();
  state!: State;
  /** The instruction that is being checked, and the one before it on the path. */
  index = 0;
  previous = -1;
  /** Where a jump, call or exit goes on; negative where the path ends. */
  target = -1;
  processed = 0;
  readonly open: OpenPath[] = [];
  /** Function that is being walked on its own, and its result is checked. */
  entry = 0;
  /** Something was masked: states whose numbers differ at all are different. (Linux: explore_alu_limits) */
  exploresLimits = false;
  #ids = 0;
  readonly #texts: string[] = [];
  readonly #names: ReturnType<typeof instructionNames>;
  #registers = (1 << REGISTERS) - 1;
  #slots = new Set<number>();
  #areAllTouched = true;
  /** Of the instruction printed last: where it ends, and how long it is. */
  printedEnd = -1;
  printedLength = 0;
  lastLine: number | undefined;

  /** Some atomic operation gives the old value back. */
  readonly hasFetches: boolean;

  constructor(verification: Verification, env: ProgramEnv, maps: ReadonlyMap<number, MapInfo>) {
    this.verification = verification;
    this.env = env;
    this.#names = instructionNames(env);
    this.log = verification.log;
    this.insns = env.insns;
    this.edges = edgesOf(env.insns);
    this.hasFetches = env.insns.some(
      ({ opcode, imm }) => (opcode & 0xe7) === ATOMIC_STORE && (imm & 1) !== 0,
    );
    this.subprograms = verification.subprograms;
    this.maps = maps;
    this.notes = env.insns.map(() => ({
      isSeen: false,
      isUntrusted: false,
      pointerKind: undefined,
      map: undefined,
      isIndexMasked: false,
      hasBarrierBefore: false,
      hasBarrierAfter: false,
      mask: undefined,
    }));
    this.stackDepth = this.subprograms.map(() => 0);
  }

  /** The program as it is printed: with the addresses of maps. */
  get printed(): readonly Insn[] {
    return this.verification.printed;
  }

  /** Number of the function that runs when the program throws; 0 for none. */
  get exceptionCallback(): number {
    return this.verification.exceptionCallback;
  }

  /** The function that is walked ends the program: it is the main function, or runs when the program throws. */
  get endsProgram(): boolean {
    return this.entry === 0 || this.entry === this.exceptionCallback;
  }

  /** The instruction as it is printed, without its number. */
  insnText(index: number): string {
    return (this.#texts[index] ??= disassemble(this.printed[index]!, this.printed[index + 1], this.#names));
  }

  get frame(): Frame {
    return this.state.top;
  }

  register(number: number): Register {
    return this.state.top.registers[number] ?? NOT_INIT;
  }

  newId(): number {
    return (this.#ids += 1);
  }

  /** The number exists and the register holds something. Linux: check_reg_arg(SRC_OP) */
  read(number: number): Check {
    if (number >= REGISTERS) return reject(EINVAL, `R${number} is invalid`);
    this.touch(number);
    return this.register(number).kind === "?" ? reject(EACCES, `R${number} !read_ok`) : undefined;
  }

  /** The register may be written. Linux: check_reg_arg(DST_OP_NO_MARK) */
  writable(number: number): Check {
    if (number >= REGISTERS) return reject(EINVAL, `R${number} is invalid`);
    this.touch(number);
    return number === REG.R10 ? reject(EACCES, "frame pointer is read only") : undefined;
  }

  set(number: number, register: Register): void {
    this.state.top.registers[number] = register;
  }

  /** What a register holds whose object is gone: nothing, where numbers that were addresses must not be seen. */
  get gone(): Register {
    return this.env.privileges.mayLeakPointers ? UNKNOWN : NOT_INIT;
  }

  setUnknown(number: number): void {
    this.set(number, UNKNOWN);
  }

  /** Whether the register holds an address that this program may not reveal. */
  isLeak(number: number): boolean {
    return !this.env.privileges.mayLeakPointers && this.register(number).isPointer;
  }

  touch(number: number): void {
    this.#registers |= 1 << number;
  }

  /** The slot of this number is printed, in whichever frame it changed: as Linux does. */
  touchSlot(slot: number): void {
    if (this.log.isEnabled) this.#slots.add(slot);
  }

  /** Everything is printed the next time. */
  touchAll(): void {
    this.#areAllTouched = true;
  }

  get isTouched(): boolean {
    return this.#areAllTouched || this.#registers !== 0 || this.#slots.size > 0;
  }

  #clean(): void {
    this.#registers = 0;
    if (this.#slots.size > 0) this.#slots = new Set();
    this.#areAllTouched = false;
  }

  /** Prints the changed part of the state, behind the last instruction where nothing came between. */
  printState(): void {
    const { log } = this;
    if (!log.isEnabled) {
      this.#clean();
      return;
    }
    if (this.printedEnd >= 0 && this.printedEnd === log.length) {
      log.reset(log.length - 1);
      log.write(`${padding(this.printedLength)};`);
    } else log.write(`${this.index}:`);
    const touched: Touched | undefined = this.#areAllTouched
      ? undefined
      : { registers: this.#registers, slots: this.#slots };
    log.line(stateText(this.state, this.frame, touched));
    this.#clean();
  }

  /** The path so far, of which the instruction at hand is the last step. Linux: push_jmp_history() */
  get history(): History {
    const { history } = this.state;
    history.reach(this.index, this.previous);
    return history;
  }

  /** Remembers a path to be walked later. Linux: push_stack() */
  push(insn: number, state: State, isSpeculative = false): Check {
    state.isSpeculative ||= isSpeculative;
    this.env.observer?.pushed?.(state);
    this.open.push({ state, insn, previous: this.index, logLength: this.log.length });
    for (let parent = state.parent; parent !== undefined; parent = undefined) parent.branches += 1;
    if (this.open.length > 8192) {
      return reject(EFAULT, `The sequence of ${this.open.length} jumps is too complex.`);
    }
    return undefined;
  }

  /** Remembers that function `subprogram` needs the stack down to `off`. Linux: update_stack_depth() */
  useStack(frame: Frame, off: number): void {
    const depth = this.stackDepth[frame.subprogram]!;
    if (-off > depth) this.stackDepth[frame.subprogram] = Math.min(-off, FRAME_BYTES);
  }

  /** Forgets r0 to r5 as a call does. */
  clearCallerSaved(): void {
    for (let i = 0; i <= 5; i++) {
      this.set(i, NOT_INIT);
      this.touch(i);
    }
  }

  /** Same kind of pointer on every path. Linux: save_aux_ptr_type() */
  noteKind(register: Register): Check {
    const notes = this.notes[this.index]!;
    const { kind } = register;
    notes.isUntrusted ||= kind === "ptr_" || register.has(FLAG.UNTRUSTED);
    if (notes.pointerKind === undefined) {
      notes.pointerKind = kind;
      return undefined;
    }
    if (notes.pointerKind === kind || (!isPeculiar(kind) && !isPeculiar(notes.pointerKind))) return undefined;
    return reject(EINVAL, "same insn cannot be used with different pointers");
  }

  describe(register: Register): string {
    const type = register.kind === "ptr_" ? (register.btf?.type(register.btfId)?.name ?? "") : "";
    return kindName(register) + type;
  }
}

/** Accesses through these are rewritten by what they point to. */
function isPeculiar(kind: RegisterKind): boolean {
  switch (kind) {
    case "ctx":
    case "sock":
    case "sock_common":
    case "tcp_sock":
    case "xdp_sock":
    case "ptr_":
    case "arena":
      return true;
    default:
      return false;
  }
}

/** The registers of a main function at its start: context, frame pointer. */
export function startRegisters(frame: Frame): void {
  frame.registers[REG.R1] = pointer("ctx");
  frame.registers[REG.R10] = pointer("fp", { frame: frame.index });
}
