/** The random suite in its short form, and its mutation checks. */
import { missedMutations } from "@alien-ts/testkit";
import { expect, test } from "vitest";
import { elfFuzz } from "./elf-fuzz.ts";

const SEED = 4000;

test(`random files come back, and damaged ones are read or refused (seed ${SEED})`, () => {
  const report = elfFuzz.run({ runs: 1000, seed: SEED });
  expect(report.failures).toEqual([]);
  expect(report.branches.get("damage: read")).toBeGreaterThan(0);
  expect(report.branches.size).toBeGreaterThan(8);
});

test(`the suite finds every planted bug (seed ${SEED})`, async () => {
  expect(await missedMutations(elfFuzz, { runs: 300, seed: SEED })).toEqual([]);
});
