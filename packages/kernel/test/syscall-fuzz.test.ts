/** The random suite in its short form, and its mutation checks. */
import { missedMutations } from "@alien-ts/testkit";
import { expect, test } from "vitest";
import { syscallFuzz } from "./syscall-fuzz.ts";

const SEED = 8000;

test(
  `random calls throw nothing, end and leave nothing behind (seed ${SEED})`,
  { timeout: 60_000 },
  async () => {
    const report = await syscallFuzz.run({ runs: 40, seed: SEED });
    expect(report.failures).toEqual([]);
    expect(report.branches.size).toBeGreaterThan(300);
  },
);

test(`the suite finds every planted bug (seed ${SEED})`, { timeout: 60_000 }, async () => {
  expect(await missedMutations(syscallFuzz, { runs: 40, seed: SEED })).toEqual([]);
});
