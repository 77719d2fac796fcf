/** The random suite in its short form, and its mutation checks. */
import { missedMutations } from "@alien-ts/testkit";
import { expect, test } from "vitest";
import { kallsymsFuzz } from "./kallsyms-fuzz.ts";

const SEED = 3000;

test(`random tables come back, and damaged ones are refused as corrupt (seed ${SEED})`, () => {
  const report = kallsymsFuzz.run({ runs: 60, seed: SEED });
  expect(report.failures).toEqual([]);
  expect([...report.branches.keys()]).toEqual(
    expect.arrayContaining(["name: several", "address: none", "address: start", "address: inside"]),
  );
  expect(report.branches.size).toBeGreaterThan(8);
});

test(`the suite finds every planted bug (seed ${SEED})`, async () => {
  expect(await missedMutations(kallsymsFuzz, { runs: 60, seed: SEED })).toEqual([]);
});
