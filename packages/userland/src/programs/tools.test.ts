/** What the tools print: a script per case, on the fake kernel, with a few files. */
import { expect, test } from "vitest";
import { PROGRAMS } from "../programs.ts";
import { run } from "../testing/run.ts";
import { TOOL_CASES, TOOL_FILES } from "../testing/tool-cases.ts";

test.each(TOOL_CASES.map((each) => ({ name: each[0], each })))("$name", async ({ each }) => {
  const [script, stdout, status = 0, stderr = /^$/] = each;
  const result = await run(["/bin/sh", "-c", `cd /w; ${script}`, "sh"], {
    programs: PROGRAMS,
    files: { ...TOOL_FILES, "/dev/zero": "\0".repeat(4096) },
  });
  expect(result.stderr).toMatch(stderr);
  expect(result.stdout).toBe(stdout);
  expect(result.status).toBe(status);
});
