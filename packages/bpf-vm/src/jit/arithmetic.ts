/**
 * Arithmetic and comparisons of prepared code as WebAssembly. Interface: `emitArithmetic`, `emitCondition`.
 *
 * Most operations are one WebAssembly instruction with the same meaning, shifts included; divisions need the cases where
 * WebAssembly traps. 32-bit operations work on wrapped values and zero the high word by extending.
 */
import { OP } from "@alien-ts/wasm-encoder";
import { STRIDE, VARIANT } from "../program.ts";
import type { Emitter } from "./emitter.ts";

const BINARY_64: ReadonlyMap<number, number> = new Map([
  [0x0f, OP.i64_add],
  [0x1f, OP.i64_sub],
  [0x2f, OP.i64_mul],
  [0x4f, OP.i64_or],
  [0x5f, OP.i64_and],
  [0x6f, OP.i64_shl],
  [0x7f, OP.i64_shr_u],
  [0xaf, OP.i64_xor],
  [0xcf, OP.i64_shr_s],
]);

const BINARY_32: ReadonlyMap<number, number> = new Map([
  [0x0c, OP.i32_add],
  [0x1c, OP.i32_sub],
  [0x2c, OP.i32_mul],
  [0x4c, OP.i32_or],
  [0x5c, OP.i32_and],
  [0x6c, OP.i32_shl],
  [0x7c, OP.i32_shr_u],
  [0xac, OP.i32_xor],
  [0xcc, OP.i32_shr_s],
]);

interface Division {
  readonly bits: 32 | 64;
  readonly op: number;
  readonly isModulo: boolean;
  readonly isSigned: boolean;
}

const DIVISIONS: ReadonlyMap<number, Division> = new Map([
  [0x3f, { bits: 64, op: OP.i64_div_u, isModulo: false, isSigned: false }],
  [0x9f, { bits: 64, op: OP.i64_rem_u, isModulo: true, isSigned: false }],
  [VARIANT.SDIV64, { bits: 64, op: OP.i64_div_s, isModulo: false, isSigned: true }],
  [VARIANT.SMOD64, { bits: 64, op: OP.i64_rem_s, isModulo: true, isSigned: true }],
  [0x3c, { bits: 32, op: OP.i32_div_u, isModulo: false, isSigned: false }],
  [0x9c, { bits: 32, op: OP.i32_rem_u, isModulo: true, isSigned: false }],
  [VARIANT.SDIV32, { bits: 32, op: OP.i32_div_s, isModulo: false, isSigned: true }],
  [VARIANT.SMOD32, { bits: 32, op: OP.i32_rem_s, isModulo: true, isSigned: true }],
]);

/** Extensions, as the operations between reading the source and writing the destination. */
const UNARY: ReadonlyMap<number, readonly number[]> = new Map([
  [VARIANT.MOVSX8_64, [OP.i64_extend8_s]],
  [VARIANT.MOVSX16_64, [OP.i64_extend16_s]],
  [VARIANT.MOVSX32_64, [OP.i64_extend32_s]],
  [VARIANT.MOVSX8_32, [OP.i32_wrap_i64, OP.i32_extend8_s, OP.i64_extend_i32_u]],
  [VARIANT.MOVSX16_32, [OP.i32_wrap_i64, OP.i32_extend16_s, OP.i64_extend_i32_u]],
]);

const MOV_64 = 0xbf;
const MOV_32 = 0xbc;
const ADD_64 = 0x0f;
const SHIFT_LEFT_64 = 0x6f;
const SHIFT_RIGHT_64 = 0x7f;
const SHIFT_RIGHT_SIGNED_64 = 0xcf;

/** A frame offset beyond this is no address in a stack. */
const MOST_FRAME_OFFSET = 1 << 20;

/** Emits the arithmetic instruction at `slot`; whether it is one. */
export function emitArithmetic(e: Emitter, code: Int32Array, slot: number): boolean {
  const at = slot * STRIDE;
  const operation = code[at]!;
  const d = code[at + 1]! >> 1;
  const s = code[at + 2]!;
  const binary = BINARY_64.get(operation);
  if (binary !== undefined) {
    const frame = operation === ADD_64 ? sumInFrame(e, d, s) : undefined;
    e.get(d).source(s).op(binary).set(d);
    if (frame !== undefined) e.learnFrame(d, frame);
    return true;
  }
  const narrow = BINARY_32.get(operation);
  if (narrow !== undefined) {
    e.get32(d).source32(s).op(narrow).set32(d);
    return true;
  }
  if (operation === MOV_64) {
    if (s >> 1 !== d) e.source(s).set(d);
    e.learnMove(d, s);
    return true;
  }
  if (operation === MOV_32) {
    e.source32(s).set32(d);
    return true;
  }
  const unary = UNARY.get(operation);
  if (unary !== undefined) {
    e.source(s);
    for (const op of unary) e.op(op);
    e.set(d);
    return true;
  }
  const division = DIVISIONS.get(operation);
  if (division !== undefined) {
    emitDivision(e, division, d, s);
    return true;
  }
  return emitSwap(e, operation, d);
}

/** Where the frame pointer plus a constant goes, if that is what `d += s` makes. */
function sumInFrame(e: Emitter, d: number, s: number): number | undefined {
  const offset = e.frameOffset(d);
  const constant = e.constantOf(s);
  if (offset === undefined || constant === undefined || constant.high !== constant.low >> 31)
    return undefined;
  const sum = offset + constant.low;
  return Math.abs(sum) < MOST_FRAME_OFFSET ? sum : undefined;
}

/** `d <<= 32; d >>= 32` as one extension, which V8 does not find itself; whether the instruction pair is one. */
export function emitExtension(e: Emitter, code: Int32Array, slot: number): boolean {
  const at = slot * STRIDE;
  const d = code[at + 1]!;
  if (code[at] !== SHIFT_LEFT_64 || code[at + 5] !== d || code[at + 2] !== code[at + 6]) return false;
  const after = code[at + 4]!;
  const isSigned = after === SHIFT_RIGHT_SIGNED_64;
  if (!isSigned && after !== SHIFT_RIGHT_64) return false;
  if (e.constantOf(code[at + 2]!)?.low !== 32) return false;
  e.get(d >> 1);
  if (isSigned) e.op(OP.i64_extend32_s).set(d >> 1);
  else e.op(OP.i32_wrap_i64).set32(d >> 1);
  return true;
}

function emitDivision(e: Emitter, { bits, op, isModulo, isSigned }: Division, d: number, s: number): void {
  const is64 = bits === 64;
  const a = (): Emitter => (is64 ? e.get(d) : e.get32(d));
  const b = (): Emitter => (is64 ? e.source(s) : e.source32(s));
  const set = (): Emitter => (is64 ? e.set(d) : e.set32(d));
  const type = is64 ? 0x7e : 0x7f;
  const zero = (): Emitter => (is64 ? e.i64(0, 0) : e.i32(0));
  const constant = e.constantOf(s);
  // Only a signed division by -1 overflows; its remainder is 0 in WebAssembly too.
  const divide = (): void => {
    if (!isSigned || isModulo || (constant !== undefined && constant.low !== -1)) {
      a();
      b().op(op);
      return;
    }
    b();
    (is64 ? e.i64(-1, -1) : e.i32(-1)).op(is64 ? OP.i64_eq : OP.i32_eq).open(OP.if, type);
    zero();
    a()
      .op(is64 ? OP.i64_sub : OP.i32_sub)
      .op(OP.else);
    a();
    b().op(op).close();
  };
  if (constant !== undefined && constant.low !== 0) {
    divide();
  } else {
    b()
      .op(is64 ? OP.i64_eqz : OP.i32_eqz)
      .open(OP.if, type);
    if (isModulo) a();
    else zero();
    e.op(OP.else);
    divide();
    e.close();
  }
  set();
}

function emitSwap(e: Emitter, operation: number, d: number): boolean {
  switch (operation) {
    case VARIANT.NEG64:
      e.i64(0, 0).get(d).op(OP.i64_sub).set(d);
      return true;
    case VARIANT.NEG32:
      e.i32(0).get32(d).op(OP.i32_sub).set32(d);
      return true;
    case VARIANT.ZERO_EXTEND16:
      e.get(d).i64(0xffff, 0).op(OP.i64_and).set(d);
      return true;
    case VARIANT.SWAP16:
      e.get32(d).i32(8).op(OP.i32_shl).i32(0xff00).op(OP.i32_and);
      e.get32(d).i32(8).op(OP.i32_shr_u).i32(0xff).op(OP.i32_and).op(OP.i32_or).set32(d);
      return true;
    case VARIANT.SWAP32:
      swapHalf(e, d);
      e.set32(d);
      return true;
    case VARIANT.SWAP64:
      swapHalves(e, d, 0x00ff_00ff, 8);
      swapHalves(e, d, 0x0000_ffff, 16);
      e.get(d).i64(32, 0).op(OP.i64_rotl).set(d);
      return true;
    default:
      return false;
  }
}

/** Bytes 1 and 3 rotated right, bytes 0 and 2 left. */
function swapHalf(e: Emitter, d: number): void {
  e.get32(d).i32(8).op(OP.i32_rotr).i32(0xff00_ff00).op(OP.i32_and);
  e.get32(d).i32(8).op(OP.i32_rotl).i32(0x00ff_00ff).op(OP.i32_and).op(OP.i32_or);
}

/** Exchanges neighbouring groups of `by` bits; `mask` selects the lower one of each pair. */
function swapHalves(e: Emitter, d: number, mask: number, by: number): void {
  e.get(d).i64(mask, mask).op(OP.i64_and).i64(by, 0).op(OP.i64_shl);
  e.get(d).i64(by, 0).op(OP.i64_shr_u).i64(mask, mask).op(OP.i64_and).op(OP.i64_or).set(d);
}

/** Comparisons by the high four bits of the jump's operation. */
const COMPARE_64: Readonly<Record<number, number>> = {
  0x10: OP.i64_eq,
  0x50: OP.i64_ne,
  0x20: OP.i64_gt_u,
  0x30: OP.i64_ge_u,
  0xa0: OP.i64_lt_u,
  0xb0: OP.i64_le_u,
  0x60: OP.i64_gt_s,
  0x70: OP.i64_ge_s,
  0xc0: OP.i64_lt_s,
  0xd0: OP.i64_le_s,
};

const COMPARE_32: Readonly<Record<number, number>> = {
  0x10: OP.i32_eq,
  0x50: OP.i32_ne,
  0x20: OP.i32_gt_u,
  0x30: OP.i32_ge_u,
  0xa0: OP.i32_lt_u,
  0xb0: OP.i32_le_u,
  0x60: OP.i32_gt_s,
  0x70: OP.i32_ge_s,
  0xc0: OP.i32_lt_s,
  0xd0: OP.i32_le_s,
};

const JUMP_SET = 0x40;

/** Pushes whether the conditional jump at `slot` is taken, as an i32. */
export function emitCondition(e: Emitter, code: Int32Array, slot: number): void {
  const at = slot * STRIDE;
  const operation = code[at]!;
  const d = code[at + 1]! >> 1;
  const s = code[at + 2]!;
  const compare = operation & 0xf0;
  if ((operation & 7) === 5) {
    const constant = e.constantOf(s);
    const isZero = constant !== undefined && constant.low === 0 && constant.high === 0;
    e.get(d);
    if (isZero && compare === 0x10) e.op(OP.i64_eqz);
    else if (compare === JUMP_SET) e.source(s).op(OP.i64_and).i64(0, 0).op(OP.i64_ne);
    else e.source(s).op(COMPARE_64[compare]!);
    return;
  }
  e.get32(d)
    .source32(s)
    .op(compare === JUMP_SET ? OP.i32_and : COMPARE_32[compare]!);
}
