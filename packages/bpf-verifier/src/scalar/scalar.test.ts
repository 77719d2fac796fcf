/** What is known of numbers is true: random ranges against the reference semantics, and single cases by hand. */
import { missedMutations } from "@alien-ts/testkit";
import { describe, expect, test } from "vitest";
import { fuzzSuite } from "./fuzz.ts";
import { fits } from "./random-range.ts";
import { decide, refine } from "./refine.ts";
import { signExtend64, zeroExtend } from "./extend.ts";
import { SCALAR_UNKNOWN, scalarConst } from "./scalar.ts";
import { tnumRange } from "./tnum.ts";
import { applyAlu } from "./transfer.ts";

const SEED = 20_251_121;

// Pure arithmetic, but much of it: on a machine that is busy the usual five seconds were too short.
describe(`random operations, seed ${SEED}`, { timeout: 60_000 }, () => {
  test("every result fits what was computed of its range", () => {
    expect(fuzzSuite.run({ runs: 15_000, seed: SEED }).failures).toEqual([]);
  });

  test("the suite finds every view of every operation that is off by one", async () => {
    expect(fuzzSuite.mutations.size).toBeGreaterThan(500);
    expect(await missedMutations(fuzzSuite, { runs: 5000, seed: SEED })).toEqual([]);
  });
});

test("a mask bounds an unknown number", () => {
  const masked = applyAlu("and", 64, SCALAR_UNKNOWN, scalarConst(0xffn));
  expect([masked.umin, masked.umax, masked.smin, masked.smax]).toEqual([0n, 255n, 0n, 255n]);
});

test("a signed lower bound makes an unsigned upper bound signed too", () => {
  const [below] = refine("jle", 64, SCALAR_UNKNOWN, scalarConst(7n));
  expect([below.smin, below.smax]).toEqual([0n, 7n]);
  const [above] = refine("jsge", 64, SCALAR_UNKNOWN, scalarConst(0n));
  expect(above.umax).toBe(0x7fff_ffff_ffff_ffffn);
});

test("bits that are not set leave no bounds behind but those of the bits", () => {
  const [small] = refine(
    "jsle",
    64,
    applyAlu("and", 64, SCALAR_UNKNOWN, scalarConst(0xffn)),
    scalarConst(100n),
  );
  const [cleared] = refine("jnset", 64, small, scalarConst(0x10n));
  expect([cleared.umin, cleared.umax]).toEqual([0n, 0x6fn]);
  const [signed] = refine("jsle", 64, SCALAR_UNKNOWN, scalarConst(100n));
  expect(refine("jnset", 32, signed, scalarConst(1n))[0].smax).toBe(0x7fff_ffff_ffff_fffen);
});

test("where bounds contradict known bits, as on a path that nothing takes, the bits win", () => {
  const high = applyAlu("and", 64, SCALAR_UNKNOWN, scalarConst(0x1f00_0000n));
  const [above] = refine("jge", 64, high, scalarConst(1n));
  const [none] = refine("jle", 64, above, scalarConst(0xfn));
  expect([none.isConst, none.smin, none.smax, none.umin, none.umax]).toEqual([true, 0n, 0n, 0n, 0n]);
});

test("comparisons of disjoint ranges are decided", () => {
  const small = applyAlu("and", 64, SCALAR_UNKNOWN, scalarConst(7n));
  expect(decide("jlt", 64, small, scalarConst(8n))).toBe(true);
  expect(decide("jeq", 64, small, scalarConst(8n))).toBe(false);
  expect(decide("jgt", 64, small, scalarConst(3n))).toBeUndefined();
});

test("divisions tell nothing", () => {
  expect(applyAlu("div", 64, scalarConst(8n), scalarConst(2n))).toBe(SCALAR_UNKNOWN);
});

test("extensions keep what fits", () => {
  const byte = zeroExtend(SCALAR_UNKNOWN, 1);
  expect([byte.umax, byte.s32max]).toEqual([255n, 255]);
  expect(signExtend64(scalarConst(0x80n), 1).constant).toBe(-128n);
  expect(fits(signExtend64(SCALAR_UNKNOWN, 2), 0xffff_ffff_ffff_8000n)).toBe(true);
});

test("bits of ranges contain the range, those of sums and products contain theirs", () => {
  expect(tnumRange(16n, 23n)).toEqual({ value: 16n, mask: 7n });
  const [low] = refine("jle", 64, SCALAR_UNKNOWN, scalarConst(23n));
  const [range] = refine("jge", 64, low, scalarConst(16n));
  expect(range.tnum).toEqual({ value: 16n, mask: 7n });
  expect(applyAlu("add", 64, range, range).contains(scalarConst(41n))).toBe(true);
  expect(applyAlu("mul", 64, range, range).contains(scalarConst(17n * 23n))).toBe(true);
});
