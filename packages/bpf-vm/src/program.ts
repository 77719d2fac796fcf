/**
 * `prepare` turns instructions into what the interpreter runs: four words per slot and a pool of constants.
 *
 * The words of slot i stand at `code[4 * i …]`: operation, destination, source, extra (offset, jump target, …). Registers are
 * indices of a register file: register r has its low word at 2r and its high word at 2r + 1. Immediates live behind the
 * registers in the same file, so that an instruction with an immediate is one with a source register, and the interpreter has
 * half the cases. Operations are the RFC's opcode bytes in their register form; `VARIANT` gives those that share a byte with
 * another the bytes that immediates left free. Whatever cannot run is a `TRAP`, so that running needs no checks of its own:
 * a second slot of a wide load, a write of r10, a jump target outside, an unknown opcode, and the slot after the last.
 */
import {
  CALL,
  MAX_INSNS,
  PSEUDO,
  REG,
  REGISTERS,
  decode,
  identify,
  writtenRegister,
} from "@alien-ts/bpf-isa";
import type { Insn, OpcodeRow } from "@alien-ts/bpf-isa";
import type { KAddr } from "@alien-ts/abi";
import type { BpfMachine } from "./machine.ts";
import type { RunStatus } from "./run.ts";

/** Reads its arguments from the machine's registers and leaves its result in r0. */
export type Helper = (machine: BpfMachine) => void;

/** What `BpfMachine.run` needs of a program that the JIT compiled. */
export interface CompiledProgram {
  /** Where helpers find their arguments. */
  readonly registers: Int32Array;
  readonly isChecked: boolean;
  /** The WebAssembly module that it is part of, to be looked at. */
  readonly code: Uint8Array;
  /** The bottom of the frame that called the helper that runs. */
  readonly frame: KAddr;
  /** Callbacks that the run may still make. */
  readonly turnsLeft: number;
  /** Runs `repeats` times with r1 = `context` for `machine`, whose run has been started. */
  run(machine: BpfMachine, context: KAddr, repeats: number): RunStatus;
  /** Calls the function at `slot` with what the machine's registers hold; false where the run must end. */
  callFunction(machine: BpfMachine, slot: number): boolean;
}

export interface PrepareOptions {
  /** Helpers by id. */
  readonly helpers?: readonly (Helper | undefined)[];
  /** Whether the load at `slot` follows a pointer that may be bad (BTF pointers): it then reads 0 instead of faulting. */
  readonly isUntrusted?: (slot: number) => boolean;
  /** Kernel functions by BTF id and module offset. */
  readonly kfunc?: (btfId: number, moduleOffset: number) => Helper | undefined;
}

/** Words per slot of `BpfProgram.code`. */
export const STRIDE = 4;

/** Operations without an opcode byte of their own. */
export const VARIANT = {
  TRAP: 0x00,
  MOVSX8_64: 0x07,
  MOVSX16_64: 0x17,
  MOVSX32_64: 0x27,
  SDIV64: 0x37,
  SMOD64: 0x97,
  NEG64: 0x8f,
  SWAP32: 0xd7,
  SWAP64: 0xdf,
  MOVSX8_32: 0x04,
  MOVSX16_32: 0x14,
  SDIV32: 0x34,
  SMOD32: 0x94,
  NEG32: 0x8c,
  ZERO_EXTEND16: 0xd4,
  SWAP16: 0xdc,
  PACKET: 0x20,
  CALL_REGISTER: 0x86,
  CALL_LOCAL: 0x8d,
} as const;

const MOV64 = 0xbf;
const MOV32 = 0xbc;
const EXIT = 0x95;

const PLAIN_MODE = { load: 0x60, signedLoad: 0x80 } as const;
/** Bits of a load's mode that say that its pointer may be bad. Linux: BPF_PROBE_MEM, BPF_PROBE_MEMSX */
export const PROBE_MODE = { mask: 0xe0, load: 0x20, signedLoad: 0x40 } as const;

const probeOperation = (opcode: number): number =>
  (opcode & ~PROBE_MODE.mask) |
  ((opcode & PROBE_MODE.mask) === PLAIN_MODE.load ? PROBE_MODE.load : PROBE_MODE.signedLoad);

/** The load that `operation` is where its pointer is good; undefined for what is no such load. */
export function probedLoad(operation: number): number | undefined {
  if ((operation & 7) !== 1) return undefined;
  const rest = operation & ~PROBE_MODE.mask;
  switch (operation & PROBE_MODE.mask) {
    case PROBE_MODE.load:
      return rest | PLAIN_MODE.load;
    case PROBE_MODE.signedLoad:
      return rest | PLAIN_MODE.signedLoad;
    default:
      return undefined;
  }
}

/** What a TRAP is there for; the machine reports it. */
export const TRAP = { badInstruction: 0, unknownHelper: 1 } as const;

export class BpfProgram {
  readonly insns: readonly Insn[];
  readonly code: Int32Array;
  /** What a fresh register file holds: zeros for the registers, then the constants that source words name. */
  readonly constants: Int32Array;
  readonly helpers: readonly (Helper | undefined)[];
  /** The program in WebAssembly, which runs instead of `code`; see `Jit.compile`. */
  compiled: CompiledProgram | null = null;
  /** Where the interpreter's core has a copy of the code, as long as `generation` is the core's. */
  base = 0;
  generation = 0;
  /** What the call instructions call, by their source word. */
  readonly calls: readonly Helper[];

  constructor(insns: readonly Insn[], builder: Builder, options: PrepareOptions) {
    this.insns = insns;
    this.code = builder.code;
    this.calls = builder.calls;
    this.helpers = options.helpers ?? [];
    this.constants = Int32Array.from(builder.file);
  }
}

/**
 * The program made of `insns`; anything that cannot run is found when it is reached. Throws RangeError for more instructions than
 * Linux allows.
 */
export function prepare(insns: Uint8Array | readonly Insn[], options: PrepareOptions = {}): BpfProgram {
  const slots = insns instanceof Uint8Array ? decode(insns) : insns;
  if (slots.length > MAX_INSNS) {
    throw new RangeError(`program of ${slots.length} instructions: expected at most ${MAX_INSNS}`);
  }
  const builder = new Builder(slots, options);
  builder.build();
  return new BpfProgram(slots, builder, options);
}

class Builder {
  readonly code: Int32Array;
  readonly file: number[] = Array.from({ length: REGISTERS * 2 }, () => 0);
  readonly calls: Helper[] = [];
  private readonly insns: readonly Insn[];
  private readonly options: PrepareOptions;
  private readonly constants = new Map<string, number>();

  constructor(insns: readonly Insn[], options: PrepareOptions) {
    this.insns = insns;
    this.options = options;
    // Two slots more: running off the end meets a TRAP, which is all zeros; a load outside the packet goes to the exit.
    this.code = new Int32Array((insns.length + 2) * STRIDE);
    this.emit(insns.length + 1, EXIT, 0, 0, 0);
  }

  build(): void {
    for (let slot = 0; slot < this.insns.length; slot++) {
      const insn = this.insns[slot]!;
      const row = identify(insn);
      const hasRegisters = insn.dst < REGISTERS && (insn.src < REGISTERS || row?.kind === "wide");
      if (row === undefined || !hasRegisters || writtenRegister(row, insn) === REG.R10) continue;
      this.emitRow(slot, row, insn);
    }
  }

  private emitRow(slot: number, row: OpcodeRow, insn: Insn): void {
    const { dst, src, off, imm } = insn;
    switch (row.kind) {
      case "alu": {
        const operation = aluOperation(row);
        return this.emit(
          slot,
          operation,
          dst,
          row.source === "reg" ? 2 * src : this.constant(imm, imm >> 31),
          0,
        );
      }
      case "neg":
        return this.emit(slot, row.bits === 64 ? VARIANT.NEG64 : VARIANT.NEG32, dst, 0, 0);
      case "movsx":
        return this.emit(slot, movsxOperation(row), dst, 2 * src, 0);
      case "end":
        return this.emit(slot, endOperation(row), dst, 2 * dst, 0);
      case "jump": {
        const operand = row.source === "reg" ? 2 * src : this.constant(imm, imm >> 31);
        return this.emit(slot, row.opcode | 8, dst, operand, this.target(slot + 1 + off));
      }
      case "goto":
        return this.emit(slot, 0x05, 0, 0, this.target(slot + 1 + (row.field === "off" ? off : imm)));
      case "may_goto":
        return this.emit(slot, row.opcode, 0, 0, this.target(slot + 1 + off));
      case "call":
        return this.emitCall(slot, row, insn);
      case "exit":
        return this.emit(slot, row.opcode, 0, 0, 0);
      case "wide":
        return this.emitWide(slot, row, insn);
      case "load": {
        const isUntrusted = this.options.isUntrusted?.(slot) === true;
        return this.emit(slot, isUntrusted ? probeOperation(row.opcode) : row.opcode, dst, 2 * src, off);
      }
      case "store":
        return this.emit(
          slot,
          row.opcode | 1,
          dst,
          row.source === "reg" ? 2 * src : this.constant(imm, imm >> 31),
          off,
        );
      case "atomic":
      case "load_acquire":
      case "store_release":
        // The operation is an immediate here: it shares a word with the source.
        return this.emit(slot, row.opcode, dst, (2 * src) | (imm << 8), off);
      case "packet": {
        const index = row.mode === "ind" ? 2 * src : this.constant(0, 0);
        this.emit(slot, VARIANT.PACKET, 0, index, imm);
        this.code[slot * STRIDE + 1] = row.size;
        return;
      }
    }
  }

  private emitCall(slot: number, row: OpcodeRow & { readonly kind: "call" }, insn: Insn): void {
    if (row.target === "register") return this.emit(slot, VARIANT.CALL_REGISTER, insn.dst, 0, 0);
    if (insn.src === CALL.LOCAL) {
      return this.emit(slot, VARIANT.CALL_LOCAL, 0, 0, this.target(slot + 1 + insn.imm));
    }
    const helper =
      row.target === "helper" ? this.options.helpers?.[insn.imm] : this.options.kfunc?.(insn.imm, insn.off);
    if (helper === undefined) return this.emit(slot, VARIANT.TRAP, 0, 0, TRAP.unknownHelper);
    this.emit(slot, row.opcode, 0, this.calls.length, 0);
    this.calls.push(helper);
  }

  /** Pseudo sources other than functions are resolved before a program is prepared; those left trap. */
  private emitWide(slot: number, row: OpcodeRow & { readonly kind: "wide" }, insn: Insn): void {
    const second = this.insns[slot + 1];
    const isFunction = insn.src === PSEUDO.FUNC;
    if (second?.opcode !== 0 || (row.pseudo !== "NONE" && !isFunction)) return;
    const constant = isFunction ? this.constant(slot + 1 + insn.imm, 0) : this.constant(insn.imm, second.imm);
    this.emit(slot, row.opcode, insn.dst, constant, 0);
  }

  private emit(slot: number, operation: number, dst: number, source: number, extra: number): void {
    const { code } = this;
    const at = slot * STRIDE;
    code[at] = operation;
    code[at + 1] = 2 * dst;
    code[at + 2] = source;
    code[at + 3] = extra;
  }

  /** Code index of a slot; the TRAP after the last one stands for all slots outside. */
  private target(slot: number): number {
    return (slot >= 0 && slot < this.insns.length ? slot : this.insns.length) * STRIDE;
  }

  /** Register-file index of a constant. */
  private constant(low: number, high: number): number {
    const key = `${low},${high}`;
    const known = this.constants.get(key);
    if (known !== undefined) return known;
    const index = this.file.length;
    this.file.push(low, high);
    this.constants.set(key, index);
    return index;
  }
}

function aluOperation(row: OpcodeRow & { readonly kind: "alu" }): number {
  if (row.op === "sdiv") return row.bits === 64 ? VARIANT.SDIV64 : VARIANT.SDIV32;
  if (row.op === "smod") return row.bits === 64 ? VARIANT.SMOD64 : VARIANT.SMOD32;
  return row.opcode | 8;
}

function movsxOperation({ bits, from }: OpcodeRow & { readonly kind: "movsx" }): number {
  if (bits === 32) return from === 8 ? VARIANT.MOVSX8_32 : VARIANT.MOVSX16_32;
  return { 8: VARIANT.MOVSX8_64, 16: VARIANT.MOVSX16_64, 32: VARIANT.MOVSX32_64 }[from];
}

/** Linear memory is little endian: to little endian only truncates. */
function endOperation({ order, width }: OpcodeRow & { readonly kind: "end" }): number {
  if (order === "le") return { 16: VARIANT.ZERO_EXTEND16, 32: MOV32, 64: MOV64 }[width];
  return { 16: VARIANT.SWAP16, 32: VARIANT.SWAP32, 64: VARIANT.SWAP64 }[width];
}
