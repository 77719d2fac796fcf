/** The shell's cases on the fake kernel. */
import { expect, test } from "vitest";
import { PROGRAMS } from "../programs.ts";
import { run } from "../testing/run.ts";
import { SHELL_CASES } from "../testing/shell-cases.ts";

test.each(Object.entries(SHELL_CASES))(
  "%s",
  async (_name, { script, stdout = "", status = 0, stderr = "", stdin = "" }) => {
    const result = await run(["/bin/sh", "-c", script, "sh"], {
      programs: PROGRAMS,
      stdin,
      files: { "/x/": "" },
    });
    expect(result.stdout).toBe(stdout);
    const isExpected = typeof stderr === "string" ? result.stderr === stderr : stderr.test(result.stderr);
    expect(isExpected ? "as expected" : result.stderr).toBe("as expected");
    expect(result.status).toBe(status);
  },
);
