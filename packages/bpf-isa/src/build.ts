/**
 * Functions that make instructions: `program(asm.movImm(0, 1), asm.exit())`.
 *
 * Each function is one instruction of RFC 9669; opcodes come from the rows of `opcodes.ts`. Offsets are in slots, relative to
 * the next instruction. Nothing is checked: tests need wrong programs too.
 */
import { PSEUDO } from "./constants.ts";
import type { Insn } from "./instruction.ts";
import { LOAD_ACQUIRE, STORE_RELEASE, opcodeByName } from "./opcodes.ts";
import type { AccessBytes, PseudoSource } from "./opcodes.ts";
import { ATOMIC } from "./operations.ts";
import type { AluOp, AtomicOp, Bits, JumpOp } from "./operations.ts";

/** The slots of a program whose parts are instructions and, for wide loads, pairs of slots. */
export function program(...parts: readonly (Insn | readonly Insn[])[]): Insn[] {
  return parts.flat() as Insn[];
}

/** An instruction by the name of its row, with the fields that are not 0; the row's fixed fields are filled in. */
export function insn(name: string, fields: Partial<Omit<Insn, "opcode">> = {}): Insn {
  const row = opcodeByName(name);
  if (row === undefined) throw new RangeError(`no instruction is called ${name}`);
  return { opcode: row.opcode, dst: 0, src: 0, off: 0, imm: 0, ...row.when, ...fields };
}

const SUFFIX = { 1: "b", 2: "h", 4: "w", 8: "dw" } as const;

export const asm = {
  aluImm: (op: AluOp, dst: number, imm: number, bits: Bits = 64): Insn =>
    insn(`${op}${bits}_imm`, { dst, imm }),
  aluReg: (op: AluOp, dst: number, src: number, bits: Bits = 64): Insn =>
    insn(`${op}${bits}_reg`, { dst, src }),
  movImm: (dst: number, imm: number): Insn => insn("mov64_imm", { dst, imm }),
  movReg: (dst: number, src: number): Insn => insn("mov64_reg", { dst, src }),
  neg: (dst: number, bits: Bits = 64): Insn => insn(`neg${bits}`, { dst }),
  movsx: (from: 8 | 16 | 32, dst: number, src: number, bits: Bits = 64): Insn =>
    insn(`movsx${from}_${bits}`, { dst, src }),
  le: (width: 16 | 32 | 64, dst: number): Insn => insn(`le${width}`, { dst }),
  be: (width: 16 | 32 | 64, dst: number): Insn => insn(`be${width}`, { dst }),
  bswap: (width: 16 | 32 | 64, dst: number): Insn => insn(`bswap${width}`, { dst }),
  jumpImm: (op: JumpOp, dst: number, imm: number, off: number, bits: Bits = 64): Insn =>
    insn(`${op}${bits}_imm`, { dst, imm, off }),
  jumpReg: (op: JumpOp, dst: number, src: number, off: number, bits: Bits = 64): Insn =>
    insn(`${op}${bits}_reg`, { dst, src, off }),
  goto: (off: number): Insn => insn("goto", { off }),
  gotol: (imm: number): Insn => insn("gotol", { imm }),
  mayGoto: (off: number): Insn => insn("may_goto", { off }),
  call: (helper: number): Insn => insn("call_helper", { imm: helper }),
  /** Calls the function at this instruction's index + 1 + `delta`. */
  callLocal: (delta: number): Insn => insn("call_local", { imm: delta }),
  callKfunc: (btfId: number, off = 0): Insn => insn("call_kfunc", { imm: btfId, off }),
  callRegister: (dst: number): Insn => insn("callx", { dst }),
  exit: (): Insn => insn("exit"),
  load: (size: AccessBytes, dst: number, src: number, off = 0): Insn =>
    insn(`ldx${SUFFIX[size]}`, { dst, src, off }),
  loadSigned: (size: 1 | 2 | 4, dst: number, src: number, off = 0): Insn =>
    insn(`ldxs${SUFFIX[size]}`, { dst, src, off }),
  storeImm: (size: AccessBytes, dst: number, off: number, imm: number): Insn =>
    insn(`st${SUFFIX[size]}`, { dst, off, imm }),
  storeReg: (size: AccessBytes, dst: number, off: number, src: number): Insn =>
    insn(`stx${SUFFIX[size]}`, { dst, off, src }),
  atomic: (op: AtomicOp, size: 4 | 8, dst: number, off: number, src: number): Insn =>
    insn(`atomic_${op}${size * 8}`, { dst, src, off, imm: ATOMIC[op].imm }),
  loadAcquire: (size: AccessBytes, dst: number, src: number, off = 0): Insn =>
    insn(`load_acquire_${SUFFIX[size]}`, { dst, src, off, imm: LOAD_ACQUIRE }),
  storeRelease: (size: AccessBytes, dst: number, off: number, src: number): Insn =>
    insn(`store_release_${SUFFIX[size]}`, { dst, src, off, imm: STORE_RELEASE }),
  packetAbs: (size: 1 | 2 | 4, imm: number): Insn => insn(`ldabs${SUFFIX[size]}`, { imm }),
  packetInd: (size: 1 | 2 | 4, src: number, imm: number): Insn => insn(`ldind${SUFFIX[size]}`, { src, imm }),
  /** A 64-bit constant from its words: two slots. */
  wide: (dst: number, low: number, high = 0, pseudo: PseudoSource = "NONE"): readonly Insn[] => [
    { opcode: 0x18, dst, src: PSEUDO[pseudo], off: 0, imm: low | 0 },
    { opcode: 0, dst: 0, src: 0, off: 0, imm: high | 0 },
  ],
  wide64: (dst: number, value: bigint): readonly Insn[] =>
    asm.wide(dst, Number(BigInt.asIntN(32, value)), Number(BigInt.asIntN(32, value >> 32n))),
  mapFd: (dst: number, fd: number): readonly Insn[] => asm.wide(dst, fd, 0, "MAP_FD"),
  mapValue: (dst: number, fd: number, offset: number): readonly Insn[] =>
    asm.wide(dst, fd, offset, "MAP_VALUE"),
  /** The address of the function `delta` slots after the next instruction's. */
  functionAddress: (dst: number, delta: number): readonly Insn[] => asm.wide(dst, delta, 0, "FUNC"),
} as const;
