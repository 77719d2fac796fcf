/** The random suite in its short form, and its mutation checks. */
import { missedMutations } from "@alien-ts/testkit";
import { expect, test } from "vitest";
import { objectFuzz } from "./object-fuzz.ts";

const SEED = 4242;

test(`damaged objects give specs or typed errors (seed ${SEED})`, () => {
  const report = objectFuzz.run({ runs: 600, seed: SEED });
  expect(report.failures).toEqual([]);
  expect(report.branches.get("loads")).toBeGreaterThan(0);
  expect(report.branches.size).toBeGreaterThan(20);
});

test(`the suite finds every planted bug (seed ${SEED})`, async () => {
  expect(await missedMutations(objectFuzz, { runs: 300, seed: SEED })).toEqual([]);
});
