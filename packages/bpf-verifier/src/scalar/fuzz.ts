/**
 * Soundness of numbers: whatever an instruction computes from numbers that fit, or a jump lets through, fits what the verifier
 * says. Run by `npm run fuzz -- verifier-scalars --runs N --seed S`.
 *
 * A run is one operation on two random ranges, tried on members of each, their ends among them; the branch "samples" counts the
 * trials, of which 500,000 runs have 10,000,000 and more. The yardstick are the reference semantics of `bpf-isa`. The mutations make
 * one view of one operation's result one too narrow, which the suite must find for each.
 */
import { ALU, JUMP, swapBytes } from "@alien-ts/bpf-isa";
import type { AluOp, Bits, JumpOp } from "@alien-ts/bpf-isa";
import { type FuzzOptions, type FuzzReport, type FuzzSuite, Prng } from "@alien-ts/testkit";
import { describe, fits, randomConstant, randomRange, truncated } from "./random-range.ts";
import type { Range, Views } from "./random-range.ts";
import { decide, negated, refine, refineSame } from "./refine.ts";
import { signExtend32, signExtend64, zeroExtend } from "./extend.ts";
import { SCALAR_UNKNOWN, ScalarDraft, scalarConst } from "./scalar.ts";
import type { Scalar } from "./scalar.ts";
import { tnumSwapBytes } from "./tnum.ts";
import { addConstant, addConstant32, applyAlu, applyNegate } from "./transfer.ts";

type View = keyof Views;

/** A bug: one view of what an operation gives is one too narrow. */
interface Bug {
  readonly op: AluOp | JumpOp;
  readonly bits: Bits;
  readonly view: View;
  /** Of a jump: which of the numbers it compares. */
  readonly side: 0 | 1;
}

const ALU_OPS = (Object.keys(ALU) as AluOp[]).filter((op) => op !== "mov" && op !== "sdiv" && op !== "smod");
const JUMP_OPS = Object.keys(JUMP) as JumpOp[];
const VIEWS: readonly View[] = [
  "umin",
  "umax",
  "smin",
  "smax",
  "u32min",
  "u32max",
  "s32min",
  "s32max",
  "tnum",
];

/** Operations whose results are known; of a division nothing is, so that nothing can be too narrow. */
const KNOWN_OPS = ALU_OPS.filter((op) => op !== "div" && op !== "mod");

export const fuzzSuite: FuzzSuite = {
  name: "verifier-scalars",
  run: (options) => check(options, undefined),
  mutations: new Map([...bugs()].map(([name, bug]) => [name, (options: FuzzOptions) => check(options, bug)])),
};

function* bugs(): Iterable<[string, Bug]> {
  for (const bits of [64, 32] as const) {
    for (const view of VIEWS) {
      for (const op of KNOWN_OPS)
        yield [`the ${view} of ${op}${bits} is off by one`, { op, bits, view, side: 0 }];
      for (const op of JUMP_OPS) {
        yield [`the ${view} of ${op}${bits} is off by one`, { op, bits, view, side: 0 }];
        yield [`the ${view} of ${op}${bits} is off by one on the right`, { op, bits, view, side: 1 }];
      }
    }
  }
}

/** What a wrong verifier says where it should say `scalar`. */
function narrowed(scalar: Scalar, bug: Bug | undefined): Views {
  if (bug === undefined || scalar.isConst) return scalar;
  const { view } = bug;
  const { tnum } = scalar;
  const bit = tnum.mask & -tnum.mask;
  const value =
    view === "tnum"
      ? { value: tnum.value, mask: tnum.mask & ~bit }
      : typeof scalar[view] === "bigint"
        ? scalar[view] + (view.endsWith("min") ? 1n : -1n)
        : scalar[view] + (view.endsWith("min") ? 1 : -1);
  return Object.create(scalar, { [view]: { value } }) as Views;
}

const MOST_FAILURES = 5;

function check({ runs, seed }: FuzzOptions, bug: Bug | undefined): FuzzReport {
  const random = new Prng(seed);
  const failures: string[] = [];
  const branches = new Map<string, number>();
  const most = bug === undefined ? MOST_FAILURES : 1;
  for (let run = 0; run < runs && failures.length < most; run++) {
    const bits: Bits = bug?.bits ?? (random.oneIn(2) ? 64 : 32);
    const a = randomRange(random);
    const b = random.oneIn(3) ? randomConstant(random) : randomRange(random);
    const found = checkOne(random, { bits, a, b, branches, bug });
    if (found !== undefined) failures.push(`run ${run}: ${found}`);
  }
  return { runs, seed, failures, branches };
}

interface Trial {
  readonly bits: Bits;
  readonly a: Range;
  readonly b: Range;
  readonly branches: Map<string, number>;
  readonly bug: Bug | undefined;
}

function checkOne(random: Prng, trial: Trial): string | undefined {
  const { bug } = trial;
  if (bug !== undefined) return isAlu(bug.op) ? checkAlu(bug.op, trial) : checkJump(bug.op, trial);
  switch (random.below(8)) {
    case 0:
      return checkExtension(random, trial.a, trial.branches);
    case 1:
      return checkNegation(trial);
    case 2:
      return checkDistance(trial) ?? checkSame(random.pick(JUMP_OPS), trial) ?? checkContains(trial);
    case 3:
    case 4:
      return checkJump(random.pick(JUMP_OPS), trial);
    default:
      return checkAlu(random.pick(ALU_OPS), trial);
  }
}

const isAlu = (op: AluOp | JumpOp): op is AluOp => ALU_OPS.some((other) => other === op);

const count = (branches: Map<string, number>, name: string, times = 1): void => {
  branches.set(name, (branches.get(name) ?? 0) + times);
};

function checkAlu(op: AluOp, { bits, a, b, branches, bug }: Trial): string | undefined {
  const exact = applyAlu(op, bits, a.scalar, b.scalar);
  const result = narrowed(exact, bug);
  count(branches, `${op}${bits}: ${exact === SCALAR_UNKNOWN ? "unknown" : "known"}`);
  count(branches, "samples", a.members.length * b.members.length);
  for (const x of a.members) {
    for (const y of b.members) {
      const value = ALU[op].apply(bits, truncated(bits, x), truncated(bits, y));
      if (!fits(result, value)) return `${x} ${op}${bits} ${y} gives ${value}, outside ${describe(result)}`;
    }
  }
  return undefined;
}

function checkNegation({ bits, a, branches }: Trial): string | undefined {
  count(branches, "samples", a.members.length);
  const result = applyNegate(bits, a.scalar);
  for (const x of a.members) {
    const value = truncated(bits, -x);
    if (!fits(result, value)) return `-${x} (${bits} bits) gives ${value}, outside ${describe(result)}`;
  }
  return undefined;
}

function checkJump(op: JumpOp, { bits, a, b, branches, bug }: Trial): string | undefined {
  const decided = decide(op, bits, a.scalar, b.scalar);
  count(branches, `${op}${bits}: ${decided ?? "open"}`);
  count(branches, "samples", a.members.length * b.members.length);
  const wrong = (side: 0 | 1): Bug | undefined => (bug?.side === side ? bug : undefined);
  const pairOf = (which: typeof op | ReturnType<typeof negated>): readonly [Views, Views] => {
    const [left, right] = refine(which, bits, a.scalar, b.scalar);
    return [narrowed(left, wrong(0)), narrowed(right, wrong(1))];
  };
  const taken = pairOf(op);
  const rest = pairOf(negated(op));
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

/** A number at a constant distance from another. */
function checkDistance({ bits, a, b, branches }: Trial): string | undefined {
  const distance = b.members[0]! & 0xffff_ffffn;
  const isLow = bits === 32;
  const result = (isLow ? addConstant32 : addConstant)(a.scalar, scalarConst(distance));
  count(branches, "samples", a.members.length);
  for (const x of a.members) {
    const value = truncated(bits, x + distance);
    if (!fits(result, value)) return `${x} moved by ${distance} is ${value}, outside ${describe(result)}`;
  }
  return undefined;
}

/** A number that is compared with itself. */
function checkSame(op: JumpOp, { bits, a, branches }: Trial): string | undefined {
  const decided = decide(op, bits, a.scalar, a.scalar);
  count(branches, "samples", a.members.length);
  for (const x of a.members) {
    const low = truncated(bits, x);
    const holds = JUMP[op].test(bits, low, low);
    // Two registers with the same range need not be equal: only certainty would be wrong.
    if (decided !== undefined && decided !== holds && a.scalar.isConst)
      return `${x} ${op}${bits} itself is ${holds}, decided ${decided}`;
    const result = refineSame(holds ? op : negated(op), bits, a.scalar);
    if (!fits(result, x)) return `${x} ${op}${bits} itself is ${holds}, outside ${describe(result)}`;
  }
  return undefined;
}

/** What a range contains, its members' range does. */
function checkContains({ a, b, branches }: Trial): string | undefined {
  const isInside = a.scalar.contains(b.scalar);
  count(branches, `contains: ${isInside}`);
  count(branches, "samples", b.members.length);
  const bad = isInside ? b.members.find((y) => !fits(a.scalar, y)) : undefined;
  return bad === undefined
    ? undefined
    : `${describe(a.scalar)} contains ${describe(b.scalar)}, but not ${bad}`;
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
