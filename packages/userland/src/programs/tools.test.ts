/** What the tools print: a script per case, on the fake kernel, with a few files. */
import { expect, test } from "vitest";
import { PROGRAMS } from "../programs.ts";
import { run } from "../testing/run.ts";
import { TOOL_CASES, TOOL_FILES, type ToolCase } from "../testing/tool-cases.ts";

async function check(
  [script, stdout, status = 0, stderr = /^$/]: ToolCase,
  transferLimit?: number,
): Promise<void> {
  const result = await run(["/bin/sh", "-c", `cd /w; ${script}`, "sh"], {
    programs: PROGRAMS,
    files: { ...TOOL_FILES, "/dev/zero": "\0".repeat(4096) },
    ...(transferLimit !== undefined && { transferLimit }),
  });
  const seen = { ...result, kernel: undefined, stderr: stderr.test(result.stderr) ? stderr : result.stderr };
  expect(seen).toEqual({ kernel: undefined, stdout, status, stderr });
}

test.each(TOOL_CASES.map((each) => ({ name: each[0], each })))("$name", async ({ each }) => {
  await check(each);
  expect.assertions(1);
});

/** Every fifth case, without those that fill a pipe byte by byte. */
const SAMPLE = TOOL_CASES.filter((each, i) => i % 5 === 0 && !/yes|zero|99/.test(each[0]));

test.each(SAMPLE.map((each) => ({ name: each[0], each })))(
  "with short and interrupted transfers: $name",
  async ({ each }) => {
    await check(each, 5);
    expect.assertions(1);
  },
);
