import { expect, test } from "vitest";
import { fuzzSuite, jitFuzzSuite } from "./fuzz.ts";

const SEED = 20_251_121;

test(`random programs give on the interpreter what the reference gives (seed ${SEED})`, () => {
  const report = fuzzSuite.run({ runs: 3000, seed: SEED });
  expect(report.failures).toEqual([]);
  expect(report.branches.size).toBeGreaterThan(300);
});

test(`random programs give on the JIT what the reference gives (seed ${SEED})`, { timeout: 60_000 }, () => {
  const report = jitFuzzSuite.run({ runs: 2500, seed: SEED + 1 });
  expect(report.failures).toEqual([]);
  expect(report.branches.size).toBeGreaterThan(300);
});

test.each([...fuzzSuite.mutations, ...jitFuzzSuite.mutations])(
  `the suite finds that %s (seed ${SEED})`,
  (_, runMutated) => {
    expect(runMutated({ runs: 2000, seed: SEED }).failures.length).toBeGreaterThan(0);
  },
);
