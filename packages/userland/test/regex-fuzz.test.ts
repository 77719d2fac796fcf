/** The random suite in its short form, and its mutation checks. */
import { missedMutations } from "@alien-ts/testkit";
import { expect, test } from "vitest";
import { regexFuzz } from "./regex-fuzz.ts";

const SEED = 7000;

test(`matches are the leftmost and longest (seed ${SEED})`, () => {
  const report = regexFuzz.run({ runs: 3000, seed: SEED });
  expect(report.failures).toEqual([]);
  expect([...report.branches.keys()]).toEqual(
    expect.arrayContaining(["match", "no match", "Unmatched ( or \\(", "Invalid range end"]),
  );
});

test(`the suite finds every planted bug (seed ${SEED})`, async () => {
  expect(await missedMutations(regexFuzz, { runs: 2000, seed: SEED })).toEqual([]);
});
