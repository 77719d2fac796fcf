/** Output to a host that takes little, is busy, is full, or is gone. */
import { expect, test } from "vitest";
import { refusedOutput, writeAll } from "./output.ts";

/** A host whose writes take so many bytes, or fail with this code. */
function write(answers: readonly (number | string)[]): {
  code: string | undefined;
  taken: number;
  steps: number;
} {
  const left = [...answers];
  let taken = 0;
  let steps = 0;
  const refusal = writeAll(1, new Uint8Array(10), {
    write: (_fd, bytes, at) => {
      expect([at, bytes.length]).toEqual([taken, 10]);
      const answer = left.shift() ?? 10;
      if (typeof answer === "string") throw Object.assign(new Error(answer), { code: answer });
      const count = Math.min(answer, bytes.length - at);
      taken += count;
      return count;
    },
    step: () => {
      steps += 1;
    },
  });
  return { code: refusal?.code, taken, steps };
}

test.each([
  ["is written at once", [], { code: undefined, taken: 10, steps: 1 }],
  ["is written in parts", [3, 3, 3], { code: undefined, taken: 10, steps: 4 }],
  ["waits for a slow reader", [3, "EAGAIN", "EAGAIN", 7], { code: undefined, taken: 10, steps: 4 }],
  ["ends where the disk is full", [4, "ENOSPC"], { code: "ENOSPC", taken: 4, steps: 1 }],
  ["ends where the reader is gone", ["EPIPE"], { code: "EPIPE", taken: 0, steps: 0 }],
] as const)("output %s", (_what, answers, expected) => {
  expect(write(answers)).toEqual(expected);
});

test.each([
  ["EPIPE", { status: 141, text: "" }],
  ["EBADF", { status: 141, text: "" }],
  ["ENOSPC", { status: 1, text: "alien: write error: no room\n" }],
  ["EIO", { status: 1, text: "alien: write error: no room\n" }],
])("after %s the command ends with its status", (code, expected) => {
  expect(refusedOutput(Object.assign(new Error("no room"), { code }))).toEqual(expected);
});
