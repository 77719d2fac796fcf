/**
 * A riscv64 assembler as functions, and the code of a kernel function row.
 *
 * Each function returns the instruction's bits as an unsigned number; `assemble` joins them to bytes, two for a compressed
 * instruction and four for the others (RISC-V Unprivileged ISA, chapters "RV32I", "RV64I" and "C"). An operand that does not
 * fit its field throws: only our own code can cause that. Compressed instructions take the registers that their format can
 * name; nothing is compressed behind the caller's back.
 *
 * `rowText` is what `kernelFn` rows own in `.text`: a prologue, the host call, an epilogue, `ret`.
 */
import { encodeHostCall, HOST_CALL_INDICES } from "@alien-ts/kprobe";

/** Register numbers by ABI name. */
export const X = {
  zero: 0,
  ra: 1,
  sp: 2,
  gp: 3,
  tp: 4,
  t0: 5,
  t1: 6,
  t2: 7,
  s0: 8,
  s1: 9,
  a0: 10,
  a1: 11,
  a2: 12,
  a3: 13,
  a4: 14,
  a5: 15,
  a6: 16,
  a7: 17,
} as const;

export interface RowTextOptions {
  /**
   * Uses compressed instructions, as gcc does for `-march=rv64gc`: the host call then lies at 2 mod 4 of a function that is
   * 4-aligned.
   */
  readonly compressed: boolean;
}

/** The code of a kernel function whose body is host call `index`. */
export function rowText(index: number, { compressed }: RowTextOptions): Uint8Array {
  return assemble(
    compressed
      ? [
          c_addi(X.sp, -16),
          c_sdsp(X.ra, 8),
          c_sdsp(X.s0, 0),
          hostCall(index),
          c_ldsp(X.s0, 0),
          c_ldsp(X.ra, 8),
          c_addi(X.sp, 16),
          c_jr(X.ra),
        ]
      : [
          addi(X.sp, X.sp, -16),
          sd(X.ra, X.sp, 8),
          hostCall(index),
          ld(X.ra, X.sp, 8),
          addi(X.sp, X.sp, 16),
          jalr(X.zero, X.ra, 0),
        ],
  );
}

/** Where the host call of `rowText` lies, in bytes from its start. */
export const hostCallOffset = ({ compressed }: RowTextOptions): number => (compressed ? 6 : 8);

/** Where execution goes on after the host call: the return address that a call made by the body leaves in `ra`. */
export const hostCallReturnOffset = (options: RowTextOptions): number => hostCallOffset(options) + 4;

/** Bytes of stack between a row's entry sp and the sp at its host call. */
export const ROW_FRAME_BYTES = 16;

/** Joins instructions to bytes: 2 for a compressed one, 4 for the others. */
export function assemble(instructions: readonly number[]): Uint8Array {
  const bytes: number[] = [];
  for (const bits of instructions) {
    bytes.push(bits & 0xff, (bits >>> 8) & 0xff);
    if ((bits & 3) === 3) bytes.push((bits >>> 16) & 0xff, bits >>> 24);
  }
  return Uint8Array.from(bytes);
}

export function hostCall(index: number): number {
  if (index >>> 0 >= HOST_CALL_INDICES || index < 0)
    throw new RangeError(`host call ${index} does not fit 20 bits`);
  return encodeHostCall(index);
}

// Formats. Immediates are checked against the range and the alignment that the format can hold.

const signed = (value: number, bits: number, align = 1): number => {
  const limit = 2 ** (bits - 1);
  if (value < -limit || value >= limit || value % align !== 0)
    throw new RangeError(`immediate ${value} is not a multiple of ${align} in ${bits} signed bits`);
  return value;
};
const unsigned = (value: number, bits: number, align = 1): number => {
  if (value < 0 || value >= 2 ** bits || value % align !== 0)
    throw new RangeError(`immediate ${value} is not a multiple of ${align} in ${bits} bits`);
  return value;
};

const rType = (
  funct7: number,
  rs2: number,
  rs1: number,
  funct3: number,
  rd: number,
  opcode: number,
): number => ((funct7 << 25) | (rs2 << 20) | (rs1 << 15) | (funct3 << 12) | (rd << 7) | opcode) >>> 0;
const iType = (imm: number, rs1: number, funct3: number, rd: number, opcode: number): number =>
  ((signed(imm, 12) << 20) | (rs1 << 15) | (funct3 << 12) | (rd << 7) | opcode) >>> 0;
const sType = (imm: number, rs2: number, rs1: number, funct3: number): number =>
  rType((signed(imm, 12) >> 5) & 0x7f, rs2, rs1, funct3, imm & 0x1f, 0x23);
const bType = (imm: number, rs2: number, rs1: number, funct3: number): number => {
  signed(imm, 13, 2);
  const high = ((imm >> 6) & 0x40) | ((imm >> 5) & 0x3f);
  return rType(high, rs2, rs1, funct3, (imm & 0x1e) | ((imm >> 11) & 1), 0x63);
};

/** @param imm the upper 20 bits, signed, as an assembler's `lui rd, imm` takes them. */
export const lui = (rd: number, imm: number): number => ((signed(imm, 20) << 12) | (rd << 7) | 0x37) >>> 0;
export const auipc = (rd: number, imm: number): number => ((signed(imm, 20) << 12) | (rd << 7) | 0x17) >>> 0;
export const jal = (rd: number, offset: number): number => {
  signed(offset, 21, 2);
  const imm =
    ((offset & 0x10_0000) << 11) | ((offset & 0x7fe) << 20) | ((offset & 0x800) << 9) | (offset & 0xf_f000);
  return (imm | (rd << 7) | 0x6f) >>> 0;
};
export const jalr = (rd: number, rs1: number, imm: number): number => iType(imm, rs1, 0, rd, 0x67);
export const beq = (rs1: number, rs2: number, offset: number): number => bType(offset, rs2, rs1, 0);
export const bne = (rs1: number, rs2: number, offset: number): number => bType(offset, rs2, rs1, 1);
export const blt = (rs1: number, rs2: number, offset: number): number => bType(offset, rs2, rs1, 4);
export const bge = (rs1: number, rs2: number, offset: number): number => bType(offset, rs2, rs1, 5);
export const bltu = (rs1: number, rs2: number, offset: number): number => bType(offset, rs2, rs1, 6);
export const bgeu = (rs1: number, rs2: number, offset: number): number => bType(offset, rs2, rs1, 7);
export const lw = (rd: number, base: number, offset: number): number => iType(offset, base, 2, rd, 0x03);
export const ld = (rd: number, base: number, offset: number): number => iType(offset, base, 3, rd, 0x03);
export const sw = (source: number, base: number, offset: number): number => sType(offset, source, base, 2);
export const sd = (source: number, base: number, offset: number): number => sType(offset, source, base, 3);
export const addi = (rd: number, rs1: number, imm: number): number => iType(imm, rs1, 0, rd, 0x13);
export const add = (rd: number, rs1: number, rs2: number): number => rType(0, rs2, rs1, 0, rd, 0x33);
export const sub = (rd: number, rs1: number, rs2: number): number => rType(0x20, rs2, rs1, 0, rd, 0x33);
export const nop = (): number => addi(X.zero, X.zero, 0);
export const ret = (): number => jalr(X.zero, X.ra, 0);
export const fence_i = (): number => 0x0000_100f;
export const ecall = (): number => 0x0000_0073;
export const ebreak = (): number => 0x0010_0073;

// Compressed forms.

const ciType = (funct3: number, imm: number, rd: number, quadrant: number): number =>
  (funct3 << 13) | ((imm & 0x20) << 7) | (rd << 7) | ((imm & 0x1f) << 2) | quadrant;

export const c_nop = (): number => 0x0001;
export const c_ebreak = (): number => 0x9002;
export const c_addi = (rd: number, imm: number): number => ciType(0, signed(imm, 6), rd, 1);
export const c_li = (rd: number, imm: number): number => ciType(2, signed(imm, 6), rd, 1);
export const c_mv = (rd: number, rs2: number): number => 0x8002 | (rd << 7) | (rs2 << 2);
export const c_add = (rd: number, rs2: number): number => 0x9002 | (rd << 7) | (rs2 << 2);
export const c_jr = (rs1: number): number => 0x8002 | (rs1 << 7);
export const c_jalr = (rs1: number): number => 0x9002 | (rs1 << 7);
export const c_ldsp = (rd: number, offset: number): number => {
  unsigned(offset, 9, 8);
  return ciType(3, (offset & 0x38) | (offset >> 6), rd, 2);
};
export const c_sdsp = (source: number, offset: number): number => {
  unsigned(offset, 9, 8);
  return 0xe002 | ((offset & 0x38) << 7) | ((offset & 0x1c0) << 1) | (source << 2);
};
export const c_j = (offset: number): number => {
  const o = signed(offset, 12, 2);
  const imm =
    ((o & 0x800) << 1) |
    ((o & 0x10) << 7) |
    ((o & 0x300) << 1) |
    ((o & 0x400) >> 2) |
    ((o & 0x40) << 1) |
    ((o & 0x80) >> 1) |
    ((o & 0xe) << 2) |
    ((o & 0x20) >> 3);
  return 0xa001 | imm;
};
/** @param rs1 one of x8 … x15. */
export const c_beqz = (rs1: number, offset: number): number => cbType(0xc001, rs1, offset);
/** @param rs1 one of x8 … x15. */
export const c_bnez = (rs1: number, offset: number): number => cbType(0xe001, rs1, offset);

function cbType(base: number, rs1: number, offset: number): number {
  unsigned(rs1 - 8, 3);
  const o = signed(offset, 9, 2);
  const imm =
    ((o & 0x100) << 4) | ((o & 0x18) << 7) | ((o & 0xc0) >> 1) | ((o & 0x6) << 2) | ((o & 0x20) >> 3);
  return base | ((rs1 - 8) << 7) | imm;
}
