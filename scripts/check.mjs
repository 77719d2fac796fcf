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

/** Where vitest leaves the counts of its runs. */
const REPORTS = join(ROOT, "build", "tests");

/**
 * @typedef {object} Step
 * @property {string} name
 * @property {string} command
 * @property {readonly string[]} args
 * @property {string} what
 * @property {string} [report] where it leaves counts of tests
 * @property {Readonly<Record<string, string>>} [environment]
 */

/** Kernels that the kernel's suite is run on once more: seed of the layout, number of CPUs. */
const VARIANTS = ["1,1", "2,2", "3,4"];

/** @param {string} name @param {string} what @param {readonly string[]} args @returns {Step} */
function testStep(name, what, args) {
  const report = join(REPORTS, `${name}.json`);
  const reporters = ["--reporter=default", "--reporter=json", `--outputFile.json=${report}`];
  return { name, what, command: "vitest", args: ["run", ...reporters, ...args], report };
}

/** @type {readonly Step[]} */
const STEPS = [
  { name: "boundaries", command: "turbo", args: ["boundaries"], what: "imports between packages point down" },
  { name: "lint", command: "oxlint", args: [], what: "oxlint's rules" },
  { name: "format", command: "oxfmt", args: ["--check"], what: "oxfmt's format" },
  { name: "types", command: "tsc", args: ["-b"], what: "sources, tests and scripts type-check" },
  testStep("tests", "tests of all packages, and of the code's own rules", []),
  ...VARIANTS.map((variant) => ({
    ...testStep(`kernel ${variant}`, "the kernel's tests again: seed of the layout, number of CPUs", [
      "--project=kernel",
    ]),
    environment: { ALIEN_VARIANT: variant },
  })),
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
  rmSync(REPORTS, { recursive: true, force: true });
  mkdirSync(REPORTS, { recursive: true });
  const total = { passed: 0, failed: 0 };
  const failures = [];
  for (const step of STEPS) {
    const start = process.hrtime.bigint();
    const { status, output } = run(step.command, step.args, step.environment);
    const seconds = Number(process.hrtime.bigint() - start) / 1e9;
    if (status !== 0) {
      failures.push(step.name);
      process.stdout.write(`${output.trimEnd()}\n`);
    }
    const { passed, failed } = outcomeOf(step, status);
    total.passed += passed;
    total.failed += failed;
    const verdict = status === 0 ? "ok  " : "FAIL";
    process.stdout.write(
      `${verdict} ${step.name.padEnd(11)} ${seconds.toFixed(1).padStart(6)} s  ${step.what}\n`,
    );
  }
  if (failures.length > 0) process.stdout.write(`failed: ${failures.join(", ")}\n`);
  return total;
}

/**
 * A step counts as its tests, or as one; so does a step of tests that failed without a failed test (a file that does not load).
 * @param {Step} step @param {number} status @returns {Outcome}
 */
function outcomeOf({ report }, status) {
  const tests = report === undefined ? { passed: status === 0 ? 1 : 0, failed: 0 } : testCounts(report);
  return status !== 0 && tests.failed === 0 ? { ...tests, failed: 1 } : tests;
}

/** @param {string} report @returns {Outcome} */
function testCounts(report) {
  try {
    const { numPassedTests, numFailedTests } = JSON.parse(readFileSync(report, "utf8"));
    return { passed: numPassedTests, failed: numFailedTests };
  } catch {
    return { passed: 0, failed: 0 };
  }
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  ensureInstalled(ROOT);
  process.exitCode = runChecks().failed === 0 ? 0 : 1;
}
