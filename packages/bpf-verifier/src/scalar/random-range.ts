/** Random ranges with members of theirs, for tests: `randomRange`, `randomConstant`, and `fits`, which says what a member is. */
import { ALU, JUMP } from "@alien-ts/bpf-isa";
import type { Bits, JumpOp } from "@alien-ts/bpf-isa";
import type { Prng } from "@alien-ts/testkit";
import { refine } from "./refine.ts";
import { SCALAR_UNKNOWN, scalarConst } from "./scalar.ts";
import type { Bounds, Scalar } from "./scalar.ts";
import type { Tnum } from "./tnum.ts";
import { applyAlu } from "./transfer.ts";

export interface Range {
  readonly scalar: Scalar;
  readonly members: readonly bigint[];
}

/** All that a scalar says. */
export type Views = Bounds & { readonly tnum: Tnum };

export const truncated = (bits: Bits, value: bigint): bigint => BigInt.asUintN(bits, value);

/** Whether the unsigned 64-bit `value` is in every view. */
export function fits(scalar: Views, value: bigint): boolean {
  const signed = BigInt.asIntN(64, value);
  const low = Number(value & 0xffff_ffffn);
  return (
    (value & ~scalar.tnum.mask) === scalar.tnum.value &&
    value >= scalar.umin &&
    value <= scalar.umax &&
    signed >= scalar.smin &&
    signed <= scalar.smax &&
    low >= scalar.u32min &&
    low <= scalar.u32max &&
    (low | 0) >= scalar.s32min &&
    (low | 0) <= scalar.s32max
  );
}

export const describe = (scalar: Views): string =>
  `[${scalar.umin}, ${scalar.umax}] s[${scalar.smin}, ${scalar.smax}] u32[${scalar.u32min}, ${scalar.u32max}] ` +
  `s32[${scalar.s32min}, ${scalar.s32max}] bits (${scalar.tnum.value}; ${scalar.tnum.mask})`;

const MEMBERS = 4;
const JUMP_OPS = Object.keys(JUMP) as JumpOp[];
const EDGES = [
  0n,
  1n,
  2n,
  31n,
  32n,
  63n,
  64n,
  0x7fn,
  0x80n,
  0xffn,
  0x7fff_ffffn,
  0x8000_0000n,
  0xffff_ffffn,
  0x1_0000_0000n,
  0x7fff_ffff_ffff_ffffn,
  0x8000_0000_0000_0000n,
  0xffff_ffff_0000_0000n,
  0xffff_ffff_ffff_ffffn,
];

function randomValue(random: Prng): bigint {
  if (random.oneIn(2)) return random.pick(EDGES);
  const value = random.oneIn(2) ? BigInt(random.below(256)) : random.u64();
  return BigInt.asUintN(64, random.oneIn(3) ? BigInt.asIntN(32, value) : value >> BigInt(random.below(64)));
}

export function randomConstant(random: Prng): Range {
  const value = random.oneIn(2) ? BigInt(random.below(70)) : randomValue(random);
  return { scalar: scalarConst(value), members: [value] };
}

/** A range that has been through some jumps and masks, as in programs: members that went along, and its ends. */
export function randomRange(random: Prng): Range {
  let scalar = SCALAR_UNKNOWN;
  let members = Array.from({ length: MEMBERS * 3 }, () => randomValue(random));
  for (let step = random.below(5); step > 0; step--) {
    const limit = randomValue(random);
    if (random.oneIn(3)) {
      const op = random.pick(["and", "or", "rsh", "add"] as const);
      const by = op === "rsh" ? limit & 63n : limit;
      scalar = applyAlu(op, 64, scalar, scalarConst(by));
      members = members.map((x) => ALU[op].apply(64, x, by));
      continue;
    }
    const bits: Bits = random.oneIn(2) ? 64 : 32;
    const op = random.pick(JUMP_OPS);
    const kept = members.filter((x) => JUMP[op].test(bits, truncated(bits, x), truncated(bits, limit)));
    if (kept.length === 0) continue;
    [scalar] = refine(op, bits, scalar, scalarConst(limit));
    members = kept;
  }
  return { scalar, members: [...new Set([...members.slice(0, MEMBERS), ...ends(scalar)])] };
}

/** The ends of all views that are members: there, a bound that is one too narrow shows. */
function ends(scalar: Scalar): bigint[] {
  const { tnum, umin, umax, smin, smax, u32min, u32max, s32min, s32max } = scalar;
  const high = umin & 0xffff_ffff_0000_0000n;
  const lows = [u32min, u32max, s32min, s32max].map((low) => high | BigInt(low >>> 0));
  return [umin, umax, smin, smax, tnum.value, tnum.value | tnum.mask, ...lows]
    .map((value) => BigInt.asUintN(64, value))
    .filter((value) => fits(scalar, value));
}
