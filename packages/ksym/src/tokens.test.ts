import { expect, test } from "vitest";
import { fixtureSymbols, randomFrom } from "../test/support.ts";
import { compressNames } from "./tokens.ts";

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);

function expand(tokens: readonly Uint8Array[], codes: Uint8Array): string {
  return new TextDecoder().decode(Uint8Array.from([...codes].flatMap((code) => [...tokens[code]!])));
}

for (const [what, names, codes] of [
  ["a name alone is not shortened", ["abc"], [3]],
  ["a repeated name becomes one code", ["read_iter", "read_iter"], [1, 1]],
  ["a run of one character is paired without overlap", ["aaaa", "aaaa"], [1, 1]],
  ["no pair crosses the edge of a name", ["ab", "ca", "bd", "ca"], [2, 1, 2, 1]],
] as const) {
  test(`${what}`, () => {
    const compressed = compressNames(names.map(bytesOf));
    expect(compressed.names.map((name) => expand(compressed.tokens, name))).toEqual(names);
    expect(compressed.names.map((name) => name.length)).toEqual(codes);
  });
}

test("no token is longer than 255 bytes", () => {
  const compressed = compressNames([bytesOf("x".repeat(100_000))]);
  expect(Math.max(...compressed.tokens.map((token) => token.length))).toBeLessThanOrEqual(255);
  expect(expand(compressed.tokens, compressed.names[0]!)).toBe("x".repeat(100_000));
});

/** Counts all pairs anew in each round, as a definition of what the incremental count must equal. */
function compressNaively(names: readonly Uint8Array[]): number {
  let lines = names.map((name) => [...name]);
  const used = new Set(lines.flat());
  for (let code = 255; code >= 0; code--) {
    if (used.has(code)) continue;
    const counts = new Map<number, number>();
    for (const line of lines) {
      for (let i = 0; i + 1 < line.length; i++) {
        const pair = line[i]! | (line[i + 1]! << 8);
        counts.set(pair, (counts.get(pair) ?? 0) + 1);
      }
    }
    const best = [...counts].reduce(
      (a, b) => (b[1] > a[1] || (b[1] === a[1] && b[0] < a[0]) ? b : a),
      [-1, 1],
    );
    if (best[0] < 0) break;
    lines = lines.map((line) => replace(line, best[0], code));
  }
  return lines.reduce((sum, line) => sum + line.length, 0);
}

function replace(line: number[], pair: number, code: number): number[] {
  const out: number[] = [];
  for (let i = 0; i < line.length; i++) {
    if ((line[i]! | ((line[i + 1] ?? 256) << 8)) === pair) {
      out.push(code);
      i += 1;
    } else out.push(line[i]!);
  }
  return out;
}

test("the incremental count compresses random names exactly as a count per round (seed 21)", () => {
  const random = randomFrom(21);
  const names = Array.from({ length: 300 }, () => {
    // Neighbours differ, so that no pair overlaps itself and the order of replacing cannot matter.
    const characters = Array.from({ length: 1 + random(30) }, (_, i) => "acegbdfh"[(i % 2) * 4 + random(4)]!);
    return bytesOf(characters.join(""));
  });
  const total = compressNames(names).names.reduce((sum, name) => sum + name.length, 0);
  expect(total).toBe(compressNaively(names));
});

test("the names of the fixture are compressed as well as by a count per round, within 1 %", () => {
  const names = fixtureSymbols()
    .slice(0, 1500)
    .map(({ name }) => bytesOf(name));
  const total = compressNames(names).names.reduce((sum, name) => sum + name.length, 0);
  expect(total / compressNaively(names)).toBeLessThan(1.01);
});
