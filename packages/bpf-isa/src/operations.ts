/**
 * What instructions compute: one row per operation, with its encoding, its spelling and its reference semantics.
 *
 * The semantics are pure and written in `bigint`, straight from RFC 9669 sections 4 and 5: they are the yardstick for the
 * interpreter, the JIT and the verifier's transfer functions, and no engine runs on them. Operands and results are unsigned
 * integers of the operation's width. `opcodes.ts` multiplies these rows by width and operand form.
 */

export type Bits = 32 | 64;

/** Smallest `-mcpu` version of LLVM's BPF target that emits it. */
export type IsaVersion = 1 | 2 | 3 | 4;

export interface AluOperation {
  /** High four bits of the opcode. */
  readonly code: number;
  /** Offset field that tells signed from unsigned division. */
  readonly off: 0 | 1;
  /** The kernel's spelling. */
  readonly symbol: string;
  readonly version: IsaVersion;
  readonly isDivMul: boolean;
  readonly apply: (bits: Bits, a: bigint, b: bigint) => bigint;
}

export interface JumpOperation {
  readonly code: number;
  readonly symbol: string;
  readonly version: IsaVersion;
  readonly test: (bits: Bits, a: bigint, b: bigint) => boolean;
}

export interface AtomicOperation {
  /** The immediate: operation, and 1 for "fetch". */
  readonly imm: number;
  /** Spelling of the plain form ("+=") or name of the fetching form ("fetch_add"). */
  readonly symbol: string;
  readonly version: IsaVersion;
  /** Whether the old value comes back: in the source register, or in r0 for cmpxchg. */
  readonly fetches: boolean;
  /** The value stored, from the old value, the source register and r0. */
  readonly apply: (bits: Bits, old: bigint, source: bigint, r0: bigint) => bigint;
}

const wrap = (bits: Bits, value: bigint): bigint => BigInt.asUintN(bits, value);
const signed = (bits: Bits, value: bigint): bigint => BigInt.asIntN(bits, value);
const shift = (bits: Bits, by: bigint): bigint => by & BigInt(bits - 1);

/** RFC 9669 section 4.1: division by zero gives 0, modulo by zero leaves the dividend, shifts are masked. */
export const ALU = {
  add: alu(0x00, "+=", (bits, a, b) => wrap(bits, a + b)),
  sub: alu(0x10, "-=", (bits, a, b) => wrap(bits, a - b)),
  mul: alu(0x20, "*=", (bits, a, b) => wrap(bits, a * b), { isDivMul: true }),
  div: alu(0x30, "/=", (_, a, b) => (b === 0n ? 0n : a / b), { isDivMul: true }),
  sdiv: alu(0x30, "s/=", (bits, a, b) => (b === 0n ? 0n : wrap(bits, signed(bits, a) / signed(bits, b))), {
    isDivMul: true,
    off: 1,
    version: 4,
  }),
  or: alu(0x40, "|=", (_, a, b) => a | b),
  and: alu(0x50, "&=", (_, a, b) => a & b),
  lsh: alu(0x60, "<<=", (bits, a, b) => wrap(bits, a << shift(bits, b))),
  rsh: alu(0x70, ">>=", (bits, a, b) => a >> shift(bits, b)),
  mod: alu(0x90, "%=", (_, a, b) => (b === 0n ? a : a % b), { isDivMul: true }),
  smod: alu(0x90, "s%=", (bits, a, b) => (b === 0n ? a : wrap(bits, signed(bits, a) % signed(bits, b))), {
    isDivMul: true,
    off: 1,
    version: 4,
  }),
  xor: alu(0xa0, "^=", (_, a, b) => a ^ b),
  mov: alu(0xb0, "=", (_, __, b) => b),
  arsh: alu(0xc0, "s>>=", (bits, a, b) => wrap(bits, signed(bits, a) >> shift(bits, b))),
} as const satisfies Record<string, AluOperation>;

/** RFC 9669 section 4.3. */
export const JUMP = {
  jeq: jump(0x10, "==", 1, (_, a, b) => a === b),
  jgt: jump(0x20, ">", 1, (_, a, b) => a > b),
  jge: jump(0x30, ">=", 1, (_, a, b) => a >= b),
  jset: jump(0x40, "&", 1, (_, a, b) => (a & b) !== 0n),
  jne: jump(0x50, "!=", 1, (_, a, b) => a !== b),
  jsgt: jump(0x60, "s>", 1, (bits, a, b) => signed(bits, a) > signed(bits, b)),
  jsge: jump(0x70, "s>=", 1, (bits, a, b) => signed(bits, a) >= signed(bits, b)),
  jlt: jump(0xa0, "<", 2, (_, a, b) => a < b),
  jle: jump(0xb0, "<=", 2, (_, a, b) => a <= b),
  jslt: jump(0xc0, "s<", 2, (bits, a, b) => signed(bits, a) < signed(bits, b)),
  jsle: jump(0xd0, "s<=", 2, (bits, a, b) => signed(bits, a) <= signed(bits, b)),
} as const satisfies Record<string, JumpOperation>;

/** RFC 9669 section 5.3. */
export const ATOMIC = {
  add: atomic(0x00, "+=", ALU.add.apply),
  or: atomic(0x40, "|=", ALU.or.apply),
  and: atomic(0x50, "&=", ALU.and.apply),
  xor: atomic(0xa0, "^=", ALU.xor.apply),
  fetch_add: atomic(0x01, "fetch_add", ALU.add.apply),
  fetch_or: atomic(0x41, "fetch_or", ALU.or.apply),
  fetch_and: atomic(0x51, "fetch_and", ALU.and.apply),
  fetch_xor: atomic(0xa1, "fetch_xor", ALU.xor.apply),
  xchg: atomic(0xe1, "xchg", (_, __, source) => source),
  cmpxchg: atomic(0xf1, "cmpxchg", (_, old, source, r0) => (old === r0 ? source : old)),
} as const satisfies Record<string, AtomicOperation>;

export type AluOp = keyof typeof ALU;
export type JumpOp = keyof typeof JUMP;
export type AtomicOp = keyof typeof ATOMIC;

/** Two's complement negation. */
export const negate = (bits: Bits, value: bigint): bigint => wrap(bits, -value);

/** The low `from` bits of `value` as a signed number, in `bits` bits. */
export const signExtend = (bits: Bits, from: number, value: bigint): bigint =>
  wrap(bits, BigInt.asIntN(from, value));

/** The low `width` bits of `value` with the order of their bytes reversed; the rest is zero. */
export function swapBytes(width: 16 | 32 | 64, value: bigint): bigint {
  let swapped = 0n;
  for (let at = 0; at < width; at += 8) swapped = (swapped << 8n) | ((value >> BigInt(at)) & 0xffn);
  return swapped;
}

function alu(
  code: number,
  symbol: string,
  apply: AluOperation["apply"],
  extra: Partial<Pick<AluOperation, "off" | "version" | "isDivMul">> = {},
): AluOperation {
  return { code, symbol, apply, off: 0, version: 1, isDivMul: false, ...extra };
}

function jump(code: number, symbol: string, version: IsaVersion, test: JumpOperation["test"]): JumpOperation {
  return { code, symbol, version, test };
}

function atomic(imm: number, symbol: string, apply: AtomicOperation["apply"]): AtomicOperation {
  const fetches = (imm & 1) === 1;
  return { imm, symbol, apply, fetches, version: 3 };
}
