/** The random suite in its short form, and its mutation checks. */
import { missedMutations } from "@alien-ts/testkit";
import { expect, test } from "vitest";
import { parserFuzz } from "./parser-fuzz.ts";

const SEED = 6000;

test(`random texts are commands or syntax errors (seed ${SEED})`, () => {
  const report = parserFuzz.run({ runs: 4000, seed: SEED });
  expect(report.failures).toEqual([]);
  const reached = ["parses", "IncompleteError", "SyntaxError", "arithmetic: number", "arithmetic: error"];
  const nodes = [
    "if",
    "while",
    "for",
    "case",
    "group",
    "subshell",
    "function",
    "parameter",
    "command",
    "arithmetic",
  ];
  expect([...report.branches.keys()]).toEqual(
    expect.arrayContaining([...reached, ...nodes.map((node) => `has ${node}`)]),
  );
});

test(`the suite finds every planted bug (seed ${SEED})`, async () => {
  expect(await missedMutations(parserFuzz, { runs: 2000, seed: SEED })).toEqual([]);
});
