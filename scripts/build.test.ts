/** The two-pass link: what it builds agrees with a link from source, and a kernel that changes between passes is refused. */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemMap } from "@alien-ts/kernel";
import { afterAll, beforeAll, expect, test } from "vitest";
import { build } from "./build.mjs";
import { ROOT } from "./support/root.mjs";

let out = "";
beforeAll(async () => {
  out = mkdtempSync(join(tmpdir(), "alien-build-"));
  await build({ root: ROOT, out: join(out, "whole") });
});
afterAll(() => rmSync(out, { recursive: true, force: true }));

const built = (name: string): string => readFileSync(join(out, "whole", name), "utf8");

test("the bundle's System.map is that of a link from source, byte for byte", () => {
  const bundled = spawnSync(process.execPath, [join(out, "whole/alien.mjs"), "system-map"], {
    encoding: "utf8",
  });
  expect(bundled.stdout.split("\n").length).toBeGreaterThan(100);
  expect(bundled.stdout).toBe(systemMap());
  expect(built("System.map")).toBe(systemMap());
});

test("the table is written as a listing in assembly that names every symbol", () => {
  const assembly = built("kallsyms.S");
  const names = built("System.map").trimEnd().split("\n");
  expect(names.filter((line) => !assembly.includes(`/* ${line} */`))).toEqual([]);
});

/** Runs the built command. */
const alien = (
  args: readonly string[],
  input = "",
): { status: number | null; stdout: string; stderr: string } =>
  spawnSync(process.execPath, [join(out, "whole/alien.mjs"), ...args], {
    encoding: "utf8",
    input,
    cwd: ROOT,
  });

for (const [what, args, input, expected] of [
  ["commands", ["boot", "-c", "echo out; exit 5"], "", { status: 5, stdout: "out\n" }],
  ["standard input", ["boot", "-c", "cat"], "in\n", { status: 0, stdout: "in\n" }],
  ["no output at all", ["boot", "--quiet", "-c", "true"], "", { status: 0, stdout: "", stderr: "" }],
  ["a bad option", ["boot", "--cpus", "0"], "", { status: 2, stdout: "" }],
  [
    "an unknown command",
    ["bot"],
    "",
    { status: 2, stdout: "", stderr: "alien: unknown command bot\nTry 'alien help' for more information.\n" },
  ],
  ["a file that is not there", ["disasm", "absent.o"], "", { status: 1, stdout: "" }],
] as const) {
  test(`the built command: ${what}`, () => expect(alien(args, input)).toMatchObject(expected));
}

test.each([
  ["info"],
  ["disasm", "packages/cli/fixtures/first_steps.bpf.o"],
  ["boot", "-c", "cat /proc/kallsyms"],
])("the built command ends as by SIGPIPE where nobody reads its output: %s", async (...args) => {
  const child = spawn(process.execPath, [join(out, "whole/alien.mjs"), ...args], { cwd: ROOT });
  child.stdout.destroy();
  let complaints = "";
  child.stderr.on("data", (text) => (complaints += String(text)));
  const [status] = (await once(child, "close")) as [number];
  expect({ status, isQuiet: !complaints.includes("at ") }).toEqual({ status: 141, isQuiet: true });
});

/** Transcripts of README.md: a command after "$", and what it prints. Numbers are anything: addresses move with the text. */
const TRANSCRIPTS = Array.from(
  readFileSync(join(ROOT, "README.md"), "utf8").matchAll(
    /^```\n\$ (?:npm run -s boot -- |npx alien )(.*)\n([^]*?)^```$/gm,
  ),
  ([line, command = "", output = ""]) =>
    [line.includes("$ npm") ? `boot ${command}` : command, output] as const,
);

test.each(TRANSCRIPTS)("the README's transcript is what happens: %s", (command, output) => {
  const args = Array.from(command.matchAll(/'([^']*)'|(\S+)/g), ([, quoted, word]) => quoted ?? word!);
  const withoutNumbers = (text: string): string => text.replace(/\b(?:ffffff[0-9a-f]{10}|\d+)\b/g, "N");
  expect(withoutNumbers(alien(args).stdout)).toBe(withoutNumbers(output));
});

test("the README has transcripts", () => expect(TRANSCRIPTS.length).toBeGreaterThan(2));

test("the kernel log of the built command goes to standard error", () => {
  expect(alien(["boot", "-c", "true"]).stderr).toMatch(/^\[ {4}0\.000000\] Linux version/);
});

test("a row that is added between the passes fails the build", () => {
  const script = join(ROOT, "scripts/fixtures/build-with-late-row.mjs");
  const run = spawnSync(process.execPath, [script, join(out, "late")], { encoding: "utf8" });
  expect(run.status).toBe(1);
  expect(run.stderr).toBe("inconsistent kallsyms data: T late_row is not in the table\n");
});
