/** The random suite in its short form, and its mutation checks. */
import { expect, test } from "vitest";
import { mmFuzz } from "./mm-fuzz.ts";

const SEED = 1000;

test(`random mappings agree with a model of single pages (seed ${SEED})`, () => {
  const report = mmFuzz.run({ runs: 40, seed: SEED });
  expect(report.failures).toEqual([]);
  expect([...report.branches.keys()]).toEqual(
    expect.arrayContaining([
      "mmap: done",
      "mprotect: ENOMEM",
      "mremap: EFAULT",
      "madvise: done",
      "fork: done",
      "store: EFAULT",
    ]),
  );
});

test.each([...mmFuzz.mutations])("the suite finds that %s", (_, runMutated) => {
  expect(runMutated({ runs: 20, seed: SEED }).failures.length).toBeGreaterThan(0);
});
