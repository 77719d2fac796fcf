/**
 * A kernel of about 50 lines and the two kinds of processor that the kprobe suite runs on: riscv64, whose second trap is a
 * breakpoint, and a toy with fixed 4-byte instructions, a single-step flag and a debug exception, like x86.
 */
import { EINVAL, ENOMEM, type KAddr, type Result } from "@alien-ts/abi";
import {
  type Handled,
  hostCallIndex,
  encodeHostCall,
  kprobe_fault_handler,
  kprobe_handler_from_break,
  kprobe_handler_from_debug,
  type KprobeArch,
  type KprobeAuxiliaryOps,
  KprobeManager,
  type ProbeArgs,
  riscv64,
  type SymbolRange,
} from "../src/index.ts";

export const BASE_HI = 0xffff_ffd6 | 0;
const PAGE = 256;
/** Register that holds the result, the one that holds the return address. */
const A0 = 10;
const RA = 1;

type Trap = "break" | "debug" | "fault" | { readonly host: number } | undefined;

/** An instruction set: the instructions that the suite's program uses, and a processor for them. */
export interface Isa {
  readonly name: string;
  readonly arch: KprobeArch;
  /** Adds 1 to the result. */
  readonly inc: readonly number[];
  /** Jumps over the instruction `inc` that follows. */
  readonly skip: readonly number[];
  readonly ret: readonly number[];
  readonly host: (index: number) => readonly number[];
  /** May not be probed. */
  readonly refused: readonly number[];
  /** Faults when executed. */
  readonly wild: readonly number[];
  step(machine: FakeMachine): Trap;
}

export class Frame implements ProbeArgs {
  readonly frame = 0;
  readonly words = new Int32Array(64);
  isStepping = false;
  #pc = 0;
  #pcHigh = BASE_HI;
  readonly #breakLength: number;
  constructor(breakLength: number) {
    this.#breakLength = breakLength;
  }
  break_address = (): KAddr => this.#pc - this.#breakLength;
  debug_address = (): KAddr => this.#pc;
  pc = (): KAddr => this.#pc;
  pcHigh = (): number => this.#pcHigh;
  update_pc(pc: KAddr): void {
    this.setPcWords(pc, BASE_HI);
  }
  setPcWords(low: number, high: number): void {
    this.#pc = low >>> 0;
    this.#pcHigh = high;
  }
  registerLow = (register: number): number => this.words[2 * register]!;
  registerHigh = (register: number): number => this.words[2 * register + 1]!;
  setRegister(register: number, low: number, high: number): void {
    this.words[2 * register] = low;
    this.words[2 * register + 1] = high;
  }
  argumentLow = (n: number): number => this.registerLow(A0 + n);
  argumentHigh = (n: number): number => this.registerHigh(A0 + n);
  setArgument = (n: number, low: number, high: number): void => this.setRegister(A0 + n, low, high);
  returnValueLow = (): number => this.registerLow(A0);
  returnValueHigh = (): number => this.registerHigh(A0);
  setReturnValue = (low: number, high: number): void => this.setRegister(A0, low, high);
  stackPointer = (): KAddr => this.registerLow(2);
  returnAddress = (): KAddr => this.registerLow(RA) >>> 0;
  setReturnAddress = (addr: KAddr): void => this.setRegister(RA, addr, BASE_HI);
  set_single_step(isOn: boolean): void {
    this.isStepping = isOn;
  }
}

/** Text at TEXT with the symbols `f`, `g`, `secret` (blacklisted); data after it; two pages for slots. */
export class FakeMachine implements KprobeAuxiliaryOps {
  readonly isa: Isa;
  readonly memory = new Uint8Array(0x4000);
  readonly manager: KprobeManager;
  readonly symbols: SymbolRange[] = [];
  readonly log: string[] = [];
  readonly executablePageBytes = PAGE;
  freePages: KAddr[] = [0x3000, 0x3000 + PAGE];
  cpu = 0;
  task: object = {};
  frame: Frame;
  /** Called for a host call; what it does is the function's body. */
  body: (index: number) => void = () => {};
  textEnd = 0x1000;

  constructor(isa: Isa) {
    this.isa = isa;
    this.frame = this.newFrame();
    this.manager = new KprobeManager(this, isa.arch);
  }
  newFrame = (): Frame => new Frame(this.isa.arch.hasSingleStep ? 1 : 0);

  /** Appends a function; returns the addresses of its instructions. */
  define(name: string, instructions: readonly (readonly number[])[], module?: string): KAddr[] {
    this.symbols.push({ name, addr: this.textEnd, module });
    return instructions.map((bytes) => {
      const at = this.textEnd;
      this.memory.set(bytes, at);
      this.textEnd += bytes.length;
      return at;
    });
  }

  copy_text = (addr: KAddr, length: number): Uint8Array => this.memory.slice(addr, addr + length);
  set_writeable_for_address(addr: KAddr, length: number, write: (bytes: Uint8Array) => void): void {
    write(this.memory.subarray(addr, addr + length));
  }
  alloc_executable_page = (): Result<KAddr> => this.freePages.shift() ?? ENOMEM;
  free_executable_page(page: KAddr): void {
    this.freePages.unshift(page);
  }
  current_cpu = (): number => this.cpu;
  current_task = (): object => this.task;
  is_kernel_text = (addr: KAddr): boolean => addr >= 0x1000 && addr < this.textEnd;
  is_blacklisted = (addr: KAddr): boolean => this.lookup_address(addr)?.name === "secret";
  lookup_name = (name: string): KAddr | undefined =>
    name === "datum" ? 0x2000 : this.symbols.find((symbol) => symbol.name === name)?.addr;
  lookup_address(addr: KAddr): SymbolRange | undefined {
    if (addr >= 0x2000 && addr < 0x2100) return { name: "datum", addr: 0x2000, module: undefined };
    return this.is_kernel_text(addr) ? this.symbols.findLast((symbol) => symbol.addr <= addr) : undefined;
  }

  /** Calls the function at `entry` in a frame of its own, as the gate of a kernel would; returns a0. */
  call(entry: KAddr): number {
    const outer = this.frame;
    this.frame = this.newFrame();
    this.frame.update_pc(entry);
    this.frame.setReturnAddress(EXIT);
    for (let budget = 200; this.frame.pc() !== EXIT; budget--) {
      if (budget === 0) throw new Error("the call did not return");
      const trap = this.isa.step(this);
      if (trap !== undefined) this.#handle(trap);
    }
    const result = this.frame.registerLow(A0);
    this.frame = outer;
    return result;
  }

  #handle(trap: NonNullable<Trap>): void {
    const { frame, manager } = this;
    if (typeof trap === "object") return this.runBody(trap.host);
    this.log.push(`${trap} ${this.where(trap === "break" ? frame.break_address() : frame.pc())}`);
    if (trap === "fault") {
      const isOwned = kprobe_fault_handler(manager, frame);
      this.log.push(`${isOwned ? "fixed up" : "plain"} ${this.where(frame.pc())}`);
      frame.update_pc(EXIT);
      return;
    }
    const handler = trap === "break" ? kprobe_handler_from_break : kprobe_handler_from_debug;
    const handled: Handled | undefined = handler(manager, frame);
    if (handled === undefined) throw new Error(`nobody owns the trap: ${this.log.at(-1)}`);
    if (handled.hostCall !== undefined) this.runBody(handled.hostCall);
  }

  runBody(index: number): void {
    this.log.push(`body ${index}${this.manager.kprobe_running() ? " (probe running)" : ""}`);
    this.body(index);
    this.frame.setReturnValue(this.frame.returnValueLow() + 10, 0);
  }

  /** "f+4", or "slot+4". */
  where(addr: KAddr): string {
    if (addr >= 0x3000) return `slot+${addr & 7}`;
    const range = this.lookup_address(addr);
    return range === undefined ? `0x${addr.toString(16)}` : `${range.name}+${addr - range.addr}`;
  }
}

export const EXIT = 0x0ff0;

const littleEndian = (bits: number, length: number): number[] =>
  Array.from({ length }, (_, i) => (bits >>> (8 * i)) & 0xff);

/** addi a0,a0,n; jal x0,n; ret; custom-0; lb x0,0(x0) and the compressed forms; anything else is a bug of the test. */
function stepRiscv(machine: FakeMachine): Trap {
  const { frame, memory } = machine;
  const at = frame.pc();
  const bits = memory[at]! | (memory[at + 1]! << 8) | (memory[at + 2]! << 16) | (memory[at + 3]! << 24);
  const half = bits & 0xffff;
  const length = (bits & 3) === 3 ? 4 : 2;
  if (bits === 0x0010_0073 || half === 0x9002) return "break";
  if (bits === 0x0003 || half === 0x4100) return "fault";
  frame.update_pc(at + length);
  if (bits === 0x0015_0513 || half === 0x0505) frame.setReturnValue(frame.returnValueLow() + 1, 0);
  else if (bits === 0x0080_006f) frame.update_pc(at + 8);
  else if (half === 0xa011) frame.update_pc(at + 4);
  else if (bits === 0x0000_8067 || half === 0x8082) frame.update_pc(frame.returnAddress());
  else if (hostCallIndex(bits) >= 0) return { host: hostCallIndex(bits) };
  else throw new Error(`the fake processor does not know 0x${bits.toString(16)} at ${machine.where(at)}`);
  return undefined;
}

const riscvFull: Isa = {
  name: "riscv64",
  arch: riscv64,
  inc: littleEndian(0x0015_0513, 4),
  skip: littleEndian(0x0080_006f, 4),
  ret: littleEndian(0x0000_8067, 4),
  host: (index) => littleEndian(encodeHostCall(index), 4),
  refused: littleEndian(0x0000_100f, 4),
  wild: littleEndian(0x0000_0003, 4),
  step: stepRiscv,
};

const riscvCompressed: Isa = {
  ...riscvFull,
  name: "riscv64 with compressed instructions",
  inc: littleEndian(0x0505, 2),
  skip: littleEndian(0xa011, 2),
  ret: littleEndian(0x8082, 2),
  refused: littleEndian(0x9002, 2),
  wild: littleEndian(0x4100, 2),
};

const TOY = { inc: 1, skip: 2, ret: 3, host: 4, refused: 5, wild: 6, break: 0xcc } as const;
const toy = (opcode: number, operand = 0): number[] => [opcode, operand, 0, 0];

const toyArch: KprobeArch = {
  instructionBytesMax: 4,
  alignmentBytes: 1,
  hasSingleStep: true,
  // A breakpoint is one byte; where the instruction under it ends cannot be told from the text.
  instructionLength: (code) => (code[0] === TOY.break ? 1 : code.length < 4 ? 0 : 4),
  breakpoint: () => Uint8Array.of(TOY.break),
  prepare(instruction) {
    switch (instruction[0]) {
      case TOY.refused:
        return EINVAL;
      case TOY.host:
        return { kind: "hostCall", index: instruction[1]! };
      case TOY.skip:
        return { kind: "simulate", simulate: (args, addr) => args.update_pc(addr + 8) };
      case TOY.ret:
        return { kind: "simulate", simulate: (args) => args.update_pc(args.returnAddress()) };
      default:
        return { kind: "step" };
    }
  },
};

function stepToy(machine: FakeMachine): Trap {
  const { frame, memory } = machine;
  const at = frame.pc();
  const [opcode, operand] = [memory[at], memory[at + 1]!];
  if (opcode === TOY.wild) return "fault";
  frame.update_pc(opcode === TOY.break ? at + 1 : at + 4);
  if (opcode === TOY.break) return "break";
  if (opcode === TOY.inc) frame.setReturnValue(frame.returnValueLow() + 1, 0);
  else if (opcode === TOY.skip) frame.update_pc(at + 8);
  else if (opcode === TOY.ret) frame.update_pc(frame.returnAddress());
  else if (opcode === TOY.host) return { host: operand };
  else throw new Error(`the toy processor does not know ${opcode} at ${machine.where(at)}`);
  return frame.isStepping ? "debug" : undefined;
}

const toyIsa: Isa = {
  name: "a toy with a single-step flag",
  arch: toyArch,
  inc: toy(TOY.inc),
  skip: toy(TOY.skip),
  ret: toy(TOY.ret),
  host: (index) => toy(TOY.host, index),
  refused: toy(TOY.refused),
  wild: toy(TOY.wild),
  step: stepToy,
};

export const ISAS: readonly Isa[] = [riscvFull, riscvCompressed, toyIsa];
