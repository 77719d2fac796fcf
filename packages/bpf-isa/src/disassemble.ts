/**
 * Instructions as text, in the kernel's syntax (kernel/bpf/disasm.c): what verifier logs and `bpftool prog dump` print.
 *
 * `disassemble` never fails: what is no instruction is printed as the kernel prints it (`BUG_…`, or the class's name).
 */
import { CLASS, NOSPEC } from "./constants.ts";
import { wideConstant } from "./instruction.ts";
import type { Insn } from "./instruction.ts";
import { identify, rowsOfOpcode } from "./opcodes.ts";
import type { AccessBytes, OpcodeRow, PseudoSource } from "./opcodes.ts";
import { ALU, ATOMIC, JUMP } from "./operations.ts";
import type { AtomicOp, Bits } from "./operations.ts";

export interface DisassembleOptions {
  /** Name of a helper ("bpf_map_lookup_elem"); undefined prints "unknown". */
  readonly helperName?: (id: number) => string | undefined;
  /** Name of a kernel function by BTF id; undefined prints "kernel-function". */
  readonly kfuncName?: (btfId: number, moduleOffset: number) => string | undefined;
  /** Text for the constant of a wide load; undefined prints it in hexadecimal. */
  readonly constantName?: (insn: Insn, value: bigint) => string | undefined;
  /**
   * Prints what the kernel's text leaves out, so that `assemble` gives the same instructions: what a wide load stands for
   * (`map_fd[3]`), and the module offset of a kernel function (`kernel-function#7@2`).
   */
  readonly isExact?: boolean;
  /** Starts with the opcode: `(b7) r0 = 0`. */
  readonly withOpcode?: boolean;
}

const CLASS_NAMES = ["ld", "ldx", "st", "stx", "alu", "jmp", "jmp32", "alu64"] as const;

/** The text of the slot `insn`; `next` is the slot after it, needed for the high word of a wide load. */
export function disassemble(insn: Insn, next?: Insn, options: DisassembleOptions = {}): string {
  const row = identify(insn);
  if (row === undefined) return unknownText(insn);
  const body = text(row, insn, next, options);
  return options.withOpcode === true ? `(${hex2(insn.opcode)}) ${body}` : body;
}

/** A line per instruction, `index: (op) text`, second slots of wide loads left out. */
export function disassembleProgram(insns: readonly Insn[], options: DisassembleOptions = {}): string[] {
  const lines: string[] = [];
  for (let index = 0; index < insns.length; index++) {
    const insn = insns[index]!;
    const opcode = options.withOpcode === false ? "" : `(${hex2(insn.opcode)}) `;
    const body = disassemble(insn, insns[index + 1], { ...options, withOpcode: false });
    lines.push(`${index}: ${identify(insn) === undefined ? "" : opcode}${body}`);
    if (identify(insn)?.kind === "wide") index += 1;
  }
  return lines;
}

function text(row: OpcodeRow, insn: Insn, next: Insn | undefined, options: DisassembleOptions): string {
  const { dst, src, off, imm } = insn;
  switch (row.kind) {
    case "alu": {
      const operand = row.source === "reg" ? register(row.bits, src) : String(imm);
      return `${register(row.bits, dst)} ${ALU[row.op].symbol} ${operand}`;
    }
    case "neg":
      return `${register(row.bits, dst)} = -${register(row.bits, dst)}`;
    case "movsx":
      return `${register(row.bits, dst)} = (s${row.from})${register(row.bits, src)}`;
    case "end":
      return `r${dst} = ${row.order === "swap" ? "bswap" : row.order}${row.width} r${dst}`;
    case "jump": {
      const operand = row.source === "reg" ? register(row.bits, src) : `0x${(imm >>> 0).toString(16)}`;
      return `if ${register(row.bits, dst)} ${JUMP[row.op].symbol} ${operand} goto pc${plus(off)}`;
    }
    case "goto":
      return row.field === "off" ? `goto pc${plus(off)}` : `gotol pc${plus(imm)}`;
    case "may_goto":
      return src === 0 ? `may_goto pc${plus(off)}` : conditionText(insn);
    case "call":
      return callText(row.target, insn, options);
    case "exit":
      return "exit";
    default:
      return memoryText(row, insn, next, options);
  }
}

function memoryText(row: OpcodeRow, insn: Insn, next: Insn | undefined, options: DisassembleOptions): string {
  const { dst, src, off, imm } = insn;
  switch (row.kind) {
    case "load":
      return `r${dst} = *(${row.isSigned ? "s" : "u"}${row.size * 8} *)(r${src} ${plus(off)})`;
    case "store":
      return `${place(row.size, dst, off)} = ${row.source === "reg" ? `r${src}` : imm}`;
    case "atomic":
      return atomicText(row.op, row.size, insn);
    case "load_acquire":
      return `r${dst} = load_acquire(${pointer(row.size, src, off)})`;
    case "store_release":
      return `store_release(${pointer(row.size, dst, off)}, r${src})`;
    case "packet":
      return `r0 = *(u${row.size * 8} *)skb[${row.mode === "abs" ? imm : `r${src} + ${imm}`}]`;
    case "wide": {
      const value = wideConstant(insn, next ?? { opcode: 0, dst: 0, src: 0, off: 0, imm: 0 });
      if (options.isExact === true && row.pseudo !== "NONE")
        return `r${dst} = ${pseudoText(row.pseudo, value)}`;
      return `r${dst} = ${options.constantName?.(insn, value) ?? `0x${value.toString(16)}`}`;
    }
    default:
      return row.name;
  }
}

function atomicText(op: AtomicOp, size: AccessBytes, { dst, src, off }: Insn): string {
  const { fetches, symbol } = ATOMIC[op];
  if (!fetches) return `lock ${place(size, dst, off)} ${symbol} r${src}`;
  const name = `atomic${size === 8 ? "64" : ""}_${symbol}`;
  if (op === "cmpxchg") return `r0 = ${name}(${pointer(size, dst, off)}, r0, r${src})`;
  return `r${src} = ${name}(${pointer(size, dst, off)}, r${src})`;
}

function callText(target: string, { dst, off, imm }: Insn, options: DisassembleOptions): string {
  if (target === "local") return `call pc${plus(imm)}`;
  if (target === "register") return `callx r${dst}`;
  const name =
    target === "helper"
      ? (options.helperName?.(imm) ?? "unknown")
      : (options.kfuncName?.(imm, off) ?? "kernel-function");
  const module = options.isExact === true && target === "kfunc" && off !== 0 ? `@${off}` : "";
  return `call ${name}#${imm}${module}`;
}

/** `map_value[3][16]`: the pseudo source, and the two words of the constant, signed; the second is left out where it is 0. */
function pseudoText(pseudo: PseudoSource, value: bigint): string {
  const words = [BigInt.asIntN(32, value), BigInt.asIntN(32, value >> 32n)];
  const high = words[1] === 0n ? "" : `[${words[1]}]`;
  return `${pseudo.toLowerCase()}[${words[0]}]${high}`;
}

/** Instructions that do not exist: the kernel prints them by their opcode alone, whatever the fields that make them impossible. */
function unknownText(insn: Insn): string {
  const { opcode } = insn;
  const code = hex2(opcode);
  const body = impossibleText(insn);
  if (body !== undefined) return `(${code}) ${body}`;
  switch (opcode & 7) {
    case CLASS.LD:
      return opcode === 0x18 ? `(${code}) r${insn.dst} = pseudo ${insn.src}` : `BUG_ld_${code}`;
    case CLASS.LDX:
      return `BUG_ldx_${code}`;
    case CLASS.ST:
      return opcode === NOSPEC ? `(${code}) nospec` : `BUG_st_${code}`;
    case CLASS.STX:
      return `BUG_${code}`;
    case CLASS.ALU:
    case CLASS.ALU64:
      return `BUG_alu_${code}`;
    default:
      return opcode === 0x85 ? `(${code}) call unknown#${insn.imm}` : `(${code}) ${CLASS_NAMES[opcode & 7]}`;
  }
}

/** Arithmetic, jumps and atomics with fields that no such instruction has. */
function impossibleText(insn: Insn): string | undefined {
  const { opcode, dst, src, off, imm } = insn;
  const row = (rowsOfOpcode(opcode) as readonly (OpcodeRow | undefined)[])[0];
  switch (row?.kind) {
    case "end":
      return `r${dst} = ${row.order === "swap" ? "bswap" : row.order}${imm} r${dst}`;
    case "alu": {
      if (opcode === 0xbf && off === 1)
        return `r${dst} = addr_space_cast(r${src}, ${imm >>> 16}, ${imm & 0xffff})`;
      if (opcode === 0xbf && off === -1) return `r${dst} = &(void __percpu *)(r${src})`;
      const from = opcode !== 0xbc || off !== 32 ? "" : "(s32)";
      const operand = row.source === "reg" ? `${from}${register(row.bits, src)}` : String(imm);
      return `${register(row.bits, dst)} ${ALU[row.op].symbol} ${operand}`;
    }
    case "load_acquire":
    case "store_release": {
      const op = Object.entries(ATOMIC).find(([, known]) => known.imm === imm)?.[0];
      return op === undefined ? undefined : atomicText(op as AtomicOp, row.size, insn);
    }
    default:
      return undefined;
  }
}

/** The jump that only `may_goto` is of: one without a name. */
const conditionText = ({ dst, off, imm }: Insn): string =>
  `if r${dst} (null) 0x${(imm >>> 0).toString(16)} goto pc${plus(off)}`;

const register = (bits: Bits, number: number): string => `${bits === 32 ? "w" : "r"}${number}`;
const plus = (value: number): string => (value < 0 ? String(value) : `+${value}`);
const hex2 = (value: number): string => value.toString(16).padStart(2, "0");
const pointer = (size: AccessBytes, base: number, off: number): string =>
  `(u${size * 8} *)(r${base} ${plus(off)})`;
const place = (size: AccessBytes, base: number, off: number): string => `*${pointer(size, base, off)}`;
