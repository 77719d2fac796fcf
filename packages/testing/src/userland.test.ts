/** The shell's and the tools' cases on real kernels: layouts and numbers of CPUs change the machine, never what a program prints. */
import { Layout } from "@alien-ts/abi";
import { SHELL_CASES } from "@alien-ts/userland/testing/shell-cases";
import { TOOL_CASES, TOOL_FILES } from "@alien-ts/userland/testing/tool-cases";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { bootTestKernel, type TestKernel } from "./index.ts";

const VARIANTS = [
  { name: "natural layout, 2 CPUs", layout: Layout.natural(), cpus: 2, seed: 1 },
  { name: "shuffled layout 1, 1 CPU", layout: Layout.shuffled(1), cpus: 1, seed: 2 },
  { name: "shuffled layout 2, 2 CPUs", layout: Layout.shuffled(2), cpus: 2, seed: 3 },
  { name: "shuffled layout 3, 4 CPUs", layout: Layout.shuffled(3), cpus: 4, seed: 4 },
] as const;

/** The cases work in the root directory, and expect a fresh one. */
const CLEAN_ROOT = `for file in /*; do
  case $file in
    /bin|/dev|/etc|/lib|/proc|/root|/run|/sbin|/sys|/tmp|/usr|/var|/pristine) ;;
    *) rm -rf "$file" ;;
  esac
done
mkdir /x`;

describe.each(VARIANTS)("$name", ({ layout, cpus, seed }) => {
  let machine: TestKernel;
  beforeAll(async () => {
    machine = await bootTestKernel({ layout, cpus, seed });
    for (const [path, text] of Object.entries(TOOL_FILES)) {
      const place = path.replace(/^\/w/, "/pristine");
      if (path.endsWith("/")) await machine.run(`mkdir ${place}`);
      else await machine.writeFile(place, text);
    }
  });
  afterAll(() => machine.close());

  test.each(Object.entries(SHELL_CASES))(
    "sh: %s",
    async (_name, { script, stdout = "", status = 0, stderr = "", stdin = "" }) => {
      await machine.run(CLEAN_ROOT);
      const result = await machine.run(script, { stdin, cwd: "/" });
      expect(result.stdout).toBe(stdout);
      const isExpected = typeof stderr === "string" ? result.stderr === stderr : stderr.test(result.stderr);
      expect(isExpected ? "as expected" : result.stderr).toBe("as expected");
      expect(result.status).toBe(status);
    },
  );

  test.each(TOOL_CASES.map((each) => ({ name: each[0], each })))("$name", async ({ each }) => {
    const [script, stdout, status = 0, stderr = /^$/] = each;
    await machine.run("rm -rf /w && cp -pr /pristine /w");
    const result = await machine.run(script, { cwd: "/w" });
    expect(result.stdout).toBe(stdout);
    expect(result.stderr).toMatch(stderr);
    expect(result.status).toBe(status);
  });
});
