/** The random suite in its short form, and its mutation checks. */
import { missedMutations } from "@alien-ts/testkit";
import { expect, test } from "vitest";
import { kprobeFuzz } from "./kprobe-fuzz.ts";

const SEED = 5000;

test(`random sequences of probes and hits agree with a list of probes (seed ${SEED})`, () => {
  const report = kprobeFuzz.run({ runs: 300, seed: SEED });
  expect(report.failures).toEqual([]);
  expect([...report.branches.keys()]).toEqual(
    expect.arrayContaining([
      "race: armed",
      "remove: armed",
      "enable: disabled",
      "refuse: EILSEQ",
      "refuse: ENOENT",
    ]),
  );
});

test(`the suite finds every planted bug (seed ${SEED})`, async () => {
  expect(await missedMutations(kprobeFuzz, { runs: 50, seed: SEED })).toEqual([]);
});
