import { expect, test } from "vitest";
import { fuzzSuite } from "./fuzz.ts";

const SEED = 20_251_121;

test(`random programs give on the interpreter what the reference gives (seed ${SEED})`, () => {
  const report = fuzzSuite.run({ runs: 3000, seed: SEED });
  expect(report.failures).toEqual([]);
  expect(report.branches).toBeGreaterThan(300);
});

test(`a planted bug is found (seed ${SEED})`, () => {
  expect(fuzzSuite.mutate({ runs: 3000, seed: SEED }).failures.length).toBeGreaterThan(0);
});
