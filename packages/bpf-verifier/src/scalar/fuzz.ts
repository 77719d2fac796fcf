/**
 * Soundness of numbers: whatever an instruction computes from numbers that fit, or a jump lets through, fits what the verifier
 * says. Run by `npm run fuzz -- verifier-scalars --runs N --seed S`.
 *
 * A run is one operation on two random ranges, tried on several members of each; the branch "samples" counts the trials, of which
 * 1,000,000 runs have 10,000,000 and more. The yardstick are the reference semantics of `bpf-isa`. The mutations plant a bug each,
 * which the suite must find.
 */
import { ALU, JUMP, swapBytes } from "@alien-ts/bpf-isa";
import type { AluOp, Bits, JumpOp } from "@alien-ts/bpf-isa";
import { type FuzzOptions, type FuzzReport, type FuzzSuite, Prng } from "@alien-ts/testkit";
import { decide, negated, refine } from "./refine.ts";
import {
  SCALAR_UNKNOWN,
  ScalarDraft,
  scalarConst,
  signExtend32,
  signExtend64,
  zeroExtend,
} from "./scalar.ts";
import type { Scalar } from "./scalar.ts";
import { tnumSwapBytes } from "./tnum.ts";
import { applyAlu, applyNegate } from "./transfer.ts";

interface Subject {
  readonly applyAlu: typeof applyAlu;
  readonly refine: typeof refine;
}

export const fuzzSuite: FuzzSuite = {
  name: "verifier-scalars",
  run: (options) => check({ applyAlu, refine }, options),
  mutations: new Map([
    [
      "additions never wrap",
      (options) =>
        check(
          { refine, applyAlu: (op, bits, a, b) => (op === "add" ? bareSum(a, b) : applyAlu(op, bits, a, b)) },
          options,
        ),
    ],
    [
      "less-or-equal is taken for less",
      (options) =>
        check(
          { applyAlu, refine: (op, bits, a, b) => refine(op === "jle" ? "jlt" : op, bits, a, b) },
          options,
        ),
    ],
  ]),
};

function bareSum(a: Scalar, b: Scalar): Scalar {
  const draft = new ScalarDraft(applyAlu("add", 64, a, b));
  draft.setUnsigned(a.umin + b.umin, draft.freeze().umax);
  return draft.freeze();
}

const MOST_FAILURES = 5;
const MEMBERS = 4;
const ALU_OPS = Object.keys(ALU) as AluOp[];
const JUMP_OPS = Object.keys(JUMP) as JumpOp[];

function check(subject: Subject, { runs, seed }: FuzzOptions): FuzzReport {
  const random = new Prng(seed);
  const failures: string[] = [];
  const branches = new Map<string, number>();
  for (let run = 0; run < runs && failures.length < MOST_FAILURES; run++) {
    const bits: Bits = random.oneIn(2) ? 64 : 32;
    const a = randomRange(random);
    const b = random.oneIn(3) ? randomConstant(random) : randomRange(random);
    const kind = random.below(3);
    const found =
      kind === 0
        ? checkAlu(subject, random, { bits, a, b, branches })
        : kind === 1
          ? checkJump(subject, random, { bits, a, b, branches })
          : checkExtension(random, a, branches);
    if (found !== undefined) failures.push(`run ${run}: ${found}`);
  }
  return { runs, seed, failures, branches };
}

interface Range {
  readonly scalar: Scalar;
  readonly members: readonly bigint[];
}

interface Trial {
  readonly bits: Bits;
  readonly a: Range;
  readonly b: Range;
  readonly branches: Map<string, number>;
}

const count = (branches: Map<string, number>, name: string, times = 1): void => {
  branches.set(name, (branches.get(name) ?? 0) + times);
};

const truncated = (bits: Bits, value: bigint): bigint => BigInt.asUintN(bits, value);

function checkAlu(subject: Subject, random: Prng, { bits, a, b, branches }: Trial): string | undefined {
  const op = random.pick(ALU_OPS);
  if (op === "mov") return checkNegation(bits, a, branches);
  if (op === "sdiv" || op === "smod") return undefined;
  const result = subject.applyAlu(op, bits, a.scalar, b.scalar);
  count(branches, `${op}${bits}: ${result === SCALAR_UNKNOWN ? "unknown" : "known"}`);
  count(branches, "samples", a.members.length * b.members.length);
  for (const x of a.members) {
    for (const y of b.members) {
      const value = ALU[op].apply(bits, truncated(bits, x), truncated(bits, y));
      if (!fits(result, value)) return `${x} ${op}${bits} ${y} gives ${value}, outside ${describe(result)}`;
    }
  }
  return undefined;
}

function checkNegation(bits: Bits, a: Range, branches: Map<string, number>): string | undefined {
  count(branches, "samples", a.members.length);
  const result = applyNegate(bits, a.scalar);
  for (const x of a.members) {
    const value = truncated(bits, -x);
    if (!fits(result, value)) return `-${x} (${bits} bits) gives ${value}, outside ${describe(result)}`;
  }
  return undefined;
}

function checkJump(subject: Subject, random: Prng, { bits, a, b, branches }: Trial): string | undefined {
  const op = random.pick(JUMP_OPS);
  const decided = decide(op, bits, a.scalar, b.scalar);
  count(branches, `${op}${bits}: ${decided ?? "open"}`);
  count(branches, "samples", a.members.length * b.members.length);
  const taken = subject.refine(op, bits, a.scalar, b.scalar);
  const rest = subject.refine(negated(op), bits, a.scalar, b.scalar);
  for (const x of a.members) {
    for (const y of b.members) {
      const holds = JUMP[op].test(bits, truncated(bits, x), truncated(bits, y));
      if (decided !== undefined && decided !== holds)
        return `${x} ${op}${bits} ${y} is ${holds}, decided ${decided}`;
      if (decided !== undefined) continue;
      const [left, right] = holds ? taken : rest;
      if (!fits(left, x)) return `${x} ${op}${bits} ${y} is ${holds}, left outside ${describe(left)}`;
      if (!fits(right, y)) return `${x} ${op}${bits} ${y} is ${holds}, right outside ${describe(right)}`;
    }
  }
  return undefined;
}

function checkExtension(
  random: Prng,
  { scalar, members }: Range,
  branches: Map<string, number>,
): string | undefined {
  const bytes = random.pick([1, 2, 4]);
  const bits = bytes * 8;
  const low = signExtend32(scalar, Math.min(bytes, 2));
  low.zeroExtend32();
  const swapped = new ScalarDraft(SCALAR_UNKNOWN);
  swapped.setTnum(tnumSwapBytes(scalar.tnum, bytes));
  const results: readonly (readonly [string, Scalar, (x: bigint) => bigint])[] = [
    ["sign extended", signExtend64(scalar, bytes), (x) => BigInt.asUintN(64, BigInt.asIntN(bits, x))],
    ["zero extended", zeroExtend(scalar, bytes), (x) => BigInt.asUintN(bits, x)],
    [
      "sign extended to 32 bits",
      low.sync().freeze(),
      (x) => BigInt.asUintN(32, BigInt.asIntN(Math.min(bits, 16), x)),
    ],
    ...(bytes === 1
      ? []
      : ([
          [
            "turned",
            zeroExtend(swapped.sync().freeze(), bytes),
            (x: bigint) => swapBytes(bits as 16 | 32, BigInt.asUintN(bits, x)),
          ],
        ] as const)),
  ];
  count(branches, "samples", results.length * members.length);
  for (const [name, result, apply] of results) {
    for (const x of members) {
      if (!fits(result, apply(x)))
        return `${x}, ${name} from ${bytes} bytes, gives ${apply(x)}, outside ${describe(result)}`;
    }
  }
  return undefined;
}

/** Whether the unsigned 64-bit `value` is in every view. */
export function fits(scalar: Scalar, value: bigint): boolean {
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

const describe = (scalar: Scalar): string =>
  `[${scalar.umin}, ${scalar.umax}] s[${scalar.smin}, ${scalar.smax}] u32[${scalar.u32min}, ${scalar.u32max}] ` +
  `s32[${scalar.s32min}, ${scalar.s32max}] bits (${scalar.tnum.value}; ${scalar.tnum.mask})`;

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

function randomConstant(random: Prng): Range {
  const value = random.oneIn(2) ? BigInt(random.below(70)) : randomValue(random);
  return { scalar: scalarConst(value), members: [value] };
}

/** A range that has been through some jumps and masks, as in programs; its members went along. */
function randomRange(random: Prng): Range {
  let scalar = SCALAR_UNKNOWN;
  let members = Array.from({ length: MEMBERS * 3 }, () => randomValue(random));
  for (let step = random.below(4); step > 0; step--) {
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
  return { scalar, members: members.slice(0, MEMBERS) };
}
