/**
 * `npm run check`: everything that a machine can check, a line per step with its time. All steps run; the exit status is 0
 * when all pass.
 *
 * Interface: `runChecks`. A step is a command of node_modules; its output is shown when it fails.
 */
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { ensureInstalled } from "./support/install.mjs";
import { ROOT } from "./support/root.mjs";
import { run } from "./support/run.mjs";

/** Where vitest leaves its counts. */
const REPORT = join(ROOT, "build", "vitest.json");

/**
 * @typedef {object} Step
 * @property {string} name
 * @property {string} command
 * @property {readonly string[]} args
 * @property {string} what
 */

/** @type {readonly Step[]} */
const STEPS = [
  { name: "boundaries", command: "turbo", args: ["boundaries"], what: "imports between packages point down" },
  { name: "lint", command: "oxlint", args: [], what: "oxlint's rules" },
  { name: "format", command: "oxfmt", args: ["--check"], what: "oxfmt's format" },
  { name: "types", command: "tsc", args: ["-b"], what: "sources, tests and scripts type-check" },
  {
    name: "tests",
    command: "vitest",
    args: ["run", "--reporter=default", "--reporter=json", `--outputFile.json=${REPORT}`],
    what: "tests of all packages, and of the code's own rules",
  },
  {
    name: "unused",
    command: "knip",
    args: ["--no-progress", "--no-config-hints"],
    what: "no unused file, export or dependency",
  },
];

/**
 * @typedef {object} Outcome
 * @property {number} passed tests and steps that passed
 * @property {number} failed
 */

/** Runs all steps and prints a line for each. @returns {Outcome} */
export function runChecks() {
  mkdirSync(join(ROOT, "build"), { recursive: true });
  rmSync(REPORT, { force: true });
  const failures = [];
  for (const step of STEPS) {
    const start = process.hrtime.bigint();
    const { status, output } = run(step.command, step.args);
    const seconds = Number(process.hrtime.bigint() - start) / 1e9;
    if (status !== 0) {
      failures.push(step.name);
      process.stdout.write(`${output.trimEnd()}\n`);
    }
    const verdict = status === 0 ? "ok  " : "FAIL";
    process.stdout.write(
      `${verdict} ${step.name.padEnd(11)} ${seconds.toFixed(1).padStart(6)} s  ${step.what}\n`,
    );
  }
  if (failures.length > 0) process.stdout.write(`failed: ${failures.join(", ")}\n`);
  const tests = testCounts();
  // The step "tests" counts as its tests; a step that failed without a failed test (a file that does not load) as one.
  const otherFailures = failures.filter((name) => name !== "tests" || tests.failed === 0).length;
  const otherPasses = STEPS.length - failures.length - (failures.includes("tests") ? 0 : 1);
  return { passed: tests.passed + otherPasses, failed: tests.failed + otherFailures };
}

/** @returns {Outcome} */
function testCounts() {
  try {
    const { numPassedTests, numFailedTests } = JSON.parse(readFileSync(REPORT, "utf8"));
    return { passed: numPassedTests, failed: numFailedTests };
  } catch {
    return { passed: 0, failed: 0 };
  }
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  ensureInstalled(ROOT);
  process.exitCode = runChecks().failed === 0 ? 0 : 1;
}
