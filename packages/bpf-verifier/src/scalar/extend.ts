/** Parts of numbers: the low bytes, extended by zeroes or by the sign. Linux: coerce_reg_to_size() and its like. */
import { SCALAR_UNKNOWN, ScalarDraft, scalarConst } from "./scalar.ts";
import type { Scalar } from "./scalar.ts";
import { tnumRange } from "./tnum.ts";
import { lowOf } from "./words.ts";

/** The scalar with only its low `bytes` bytes kept, zero extended. Linux: coerce_reg_to_size() */
export function zeroExtend(scalar: Scalar, bytes: number): Scalar {
  if (bytes >= 8) return scalar;
  const draft = new ScalarDraft(scalar);
  const mask = bytes === 4 ? -1 : (1 << (bytes * 8)) - 1;
  draft.valueHigh = 0;
  draft.valueLow &= mask;
  draft.maskHigh = 0;
  draft.maskLow &= mask;
  const isSameAbove =
    draft.uminHigh === draft.umaxHigh && (draft.uminLow & ~mask) === (draft.umaxLow & ~mask);
  draft.uminHigh = 0;
  draft.umaxHigh = 0;
  draft.uminLow = isSameAbove ? draft.uminLow & mask : 0;
  draft.umaxLow = isSameAbove ? draft.umaxLow & mask : mask;
  draft.sminHigh = 0;
  draft.sminLow = draft.uminLow;
  draft.smaxHigh = 0;
  draft.smaxLow = draft.umaxLow;
  if (bytes < 4) draft.unbound32();
  return draft.sync().freeze();
}

/** Bounds of `size` bytes, sign extended, of which nothing else is known. */
function signedRange(bytes: number): Scalar {
  const max = (1n << BigInt(bytes * 8 - 1)) - 1n;
  const draft = new ScalarDraft(SCALAR_UNKNOWN);
  draft.setSigned(-max - 1n, max);
  draft.s32min = Number(-max - 1n);
  draft.s32max = Number(max);
  return draft.freeze();
}

/** The low `bytes` bytes, sign extended to 64 bits. Linux: coerce_reg_to_size_sx() */
export function signExtend64(scalar: Scalar, bytes: number): Scalar {
  const bits = bytes * 8;
  if (scalar.isConst) return scalarConst(BigInt.asIntN(bits, scalar.constant));
  if (scalar.smax >> BigInt(bits) !== scalar.smin >> BigInt(bits)) return signedRange(bytes);
  const max = BigInt.asIntN(bits, scalar.smax);
  const min = BigInt.asIntN(bits, scalar.smin);
  if (min >= 0n !== max >= 0n) return signedRange(bytes);
  const low = min < max ? min : max;
  const high = min < max ? max : min;
  const draft = new ScalarDraft(SCALAR_UNKNOWN);
  draft.setSigned(low, high);
  draft.setUnsigned(low, high);
  draft.setTnum(tnumRange(BigInt.asUintN(64, low), BigInt.asUintN(64, high)));
  draft.umin32 = draft.s32min = lowOf(low);
  draft.umax32 = draft.s32max = lowOf(high);
  return draft.freeze();
}

/** The low `bytes` bytes, sign extended to 32 bits; the high half is not looked at. Linux: coerce_subreg_to_size_sx() */
export function signExtend32(scalar: Scalar, bytes: number): ScalarDraft {
  const draft = new ScalarDraft(scalar);
  const bits = bytes * 8;
  const narrow = (x: number): number => (x << (32 - bits)) >> (32 - bits);
  if (scalar.isConst32) {
    draft.know32(narrow(scalar.valueLow));
    return draft;
  }
  draft.valueHigh = 0;
  draft.maskHigh = 0;
  const max = narrow(scalar.s32max);
  const min = narrow(scalar.s32min);
  if (scalar.s32max >> bits === scalar.s32min >> bits && min >= 0 === max >= 0) {
    draft.s32min = draft.umin32 = Math.min(min, max);
    draft.s32max = draft.umax32 = Math.max(min, max);
    const { value, mask } = tnumRange(BigInt(draft.umin32 >>> 0), BigInt(draft.umax32 >>> 0));
    draft.valueLow = lowOf(value);
    draft.maskLow = lowOf(mask);
    return draft;
  }
  const range = 2 ** (bits - 1);
  draft.s32min = -range;
  draft.s32max = range - 1;
  draft.unboundUnsigned32();
  draft.valueLow = 0;
  draft.maskLow = -1;
  return draft;
}
