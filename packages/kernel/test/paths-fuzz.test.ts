/** The random suite in its short form, and its mutation checks. */
import { missedMutations } from "@alien-ts/testkit";
import { expect, test } from "vitest";
import { pathsFuzz } from "./paths-fuzz.ts";

const SEED = 7000;

test(`random names behave as a naive tree does, and leave nothing behind (seed ${SEED})`, () => {
  const report = pathsFuzz.run({ runs: 12, seed: SEED });
  expect(report.failures).toEqual([]);
  expect([...report.branches.keys()]).toEqual(
    expect.arrayContaining([
      "mkdir: EEXIST",
      "write: EISDIR",
      "read: done",
      "unlink: ENOTDIR",
      "rmdir: ENOTEMPTY",
      "link: EPERM",
      "rename: EINVAL",
      "rename: done",
    ]),
  );
});

test(`the suite finds every planted bug (seed ${SEED})`, async () => {
  expect(await missedMutations(pathsFuzz, { runs: 5, seed: SEED })).toEqual([]);
});
