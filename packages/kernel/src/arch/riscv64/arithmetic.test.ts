/** The 64-bit arithmetic on random operands of every length, against BigInt. */
import { expect, test } from "vitest";
import {
  divideSigned64,
  divideUnsigned64,
  lessSigned,
  lessUnsigned,
  mul64,
  mulHighSigned64,
  mulHighSignedUnsigned64,
  mulHighUnsigned64,
} from "./arithmetic.ts";

const SEED = 0x5eed_0001;
const RUNS = 20_000;

/** xorshift32 */
function randomWords(seed: number): () => number {
  let state = seed;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state;
  };
}

const next = randomWords(SEED);
/** 64 random bits, shifted right so that every length is as likely. */
const operand = (): bigint => {
  const bits = (BigInt(next() >>> 0) << 32n) | BigInt(next() >>> 0);
  return BigInt.asIntN(64, BigInt.asIntN(64, bits) >> BigInt(next() & 63));
};
const low = (value: bigint): number => Number(BigInt.asIntN(32, value));
const high = (value: bigint): number => Number(BigInt.asIntN(32, value >> 32n));
const unsigned = (value: bigint): bigint => BigInt.asUintN(64, value);
const out = new Int32Array(4);
const pair = (at: number): bigint => (BigInt(out[at + 1]!) << 32n) | BigInt(out[at]! >>> 0);

type Operation = (al: number, ah: number, bl: number, bh: number) => bigint | boolean;
const into =
  (
    operation: (out: Int32Array, at: number, al: number, ah: number, bl: number, bh: number) => void,
  ): Operation =>
  (...words) => (operation(out, 0, ...words), pair(0));
const divided =
  (divide: typeof divideSigned64, at: number): Operation =>
  (...words) => (divide(out, ...words), pair(at));

const ROWS: readonly [string, Operation, (a: bigint, b: bigint) => bigint | boolean][] = [
  ["the low product", into(mul64), (a, b) => a * b],
  ["the high product, signed", into(mulHighSigned64), (a, b) => (a * b) >> 64n],
  ["the high product, mixed", into(mulHighSignedUnsigned64), (a, b) => (a * unsigned(b)) >> 64n],
  ["the high product, unsigned", into(mulHighUnsigned64), (a, b) => (unsigned(a) * unsigned(b)) >> 64n],
  ["the signed quotient", divided(divideSigned64, 0), (a, b) => (b === 0n ? -1n : a / b)],
  ["the signed remainder", divided(divideSigned64, 2), (a, b) => (b === 0n ? a : a % b)],
  [
    "the unsigned quotient",
    divided(divideUnsigned64, 0),
    (a, b) => (b === 0n ? -1n : unsigned(a) / unsigned(b)),
  ],
  [
    "the unsigned remainder",
    divided(divideUnsigned64, 2),
    (a, b) => (b === 0n ? a : unsigned(a) % unsigned(b)),
  ],
  ["signed order", lessSigned, (a, b) => a < b],
  ["unsigned order", lessUnsigned, (a, b) => unsigned(a) < unsigned(b)],
];

test.each(ROWS)(`%s is BigInt's (seed ${SEED})`, (_, operation, reference) => {
  const wrong: string[] = [];
  for (let run = 0; run < RUNS; run++) {
    const [a, b] = [operand(), operand()];
    const expected = reference(a, b);
    const actual = operation(low(a), high(a), low(b), high(b));
    if (actual !== (typeof expected === "bigint" ? BigInt.asIntN(64, expected) : expected))
      wrong.push(`${a}, ${b}`);
  }
  expect(wrong.slice(0, 5)).toEqual([]);
});
