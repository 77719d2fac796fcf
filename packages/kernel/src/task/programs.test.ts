import { CLONE, ENOEXEC, ENOSYS, NR, SIG } from "@alien-ts/abi";
import { expect, test } from "vitest";
import { bootPrograms, runMachine, type TestProgram } from "../testing-programs.ts";

async function run(
  programs: Record<string, TestProgram>,
): Promise<{ status: number | undefined; log: string }> {
  const { kernel, host } = bootPrograms(programs);
  const status = await runMachine(kernel);
  if (host.errors.length > 0) throw host.errors[0];
  const log = kernel.log
    .from(0)
    .map((line) => line.text)
    .join("\n");
  return { status, log };
}

test("init's exit status is the machine's", async () => {
  expect((await run({ init: async () => 7 })).status).toBe(7);
});
