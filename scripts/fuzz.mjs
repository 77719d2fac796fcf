/**
 * `npm run fuzz -- SUITE [--runs N] [--seed S] [--branches]`: runs a random suite for as long as one likes; `--list` names the
 * suites. `--planted` runs it once for each of the bugs that it plants into the source, until it finds the bug, at most N times. A suite is an export of the shape `FuzzSuite` (packages/testkit) in a file `*fuzz*.ts` of a package, in src/ or test/.
 *
 * Exit status: 0 no failure, 1 failures, 2 a bad command line.
 */
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { ensureInstalled } from "./support/install.mjs";
import { ROOT } from "./support/root.mjs";

const DEFAULT_RUNS = 10_000;
/** Runs between looks at whether a planted bug was found. */
const PLANTED_STEP = 10;
/** Planted bugs that the list names of a suite. */
const MOST_NAMED = 10;
const USAGE = `usage: npm run fuzz -- SUITE [--runs N] [--seed S] [--branches] [--planted]
       npm run fuzz -- --list
`;

/** @typedef {import("../packages/testkit/src/fuzz.ts").FuzzSuite | import("../packages/testkit/src/fuzz.ts").AsyncFuzzSuite} FuzzSuite */
/** @typedef {import("../packages/testkit/src/fuzz.ts").PlantedBug} PlantedBug */

/** @param {string} message @returns {never} */
function refuse(message) {
  process.stderr.write(`fuzz: ${message}\n${USAGE}`);
  process.exit(2);
}

/** @param {readonly string[]} args */
function parse(args) {
  const options = {
    suite: "",
    runs: DEFAULT_RUNS,
    seed: 1,
    isList: false,
    showBranches: false,
    isPlanted: false,
  };
  const number = (/** @type {string} */ name, /** @type {string | undefined} */ text) =>
    /^\d{1,15}$/.test(text ?? "") ? Number(text) : refuse(`${name} ${text ?? ""}: expected a whole number`);
  for (let i = 0; i < args.length; i++) {
    const arg = String(args[i]);
    if (arg === "--runs") options.runs = number(arg, args[++i]);
    else if (arg === "--seed") options.seed = number(arg, args[++i]);
    else if (arg === "--list") options.isList = true;
    else if (arg === "--branches") options.showBranches = true;
    else if (arg === "--planted") options.isPlanted = true;
    else if (arg === "--help") {
      process.stdout.write(USAGE);
      process.exit(0);
    } else if (arg.startsWith("-")) refuse(`unknown option ${arg}`);
    else if (options.suite === "") options.suite = arg;
    else refuse(`unexpected argument ${arg}`);
  }
  if (options.suite === "" && !options.isList) refuse("no suite is named");
  return options;
}

/** Files that may have suites. @returns {string[]} */
function suiteFiles() {
  return readdirSync(join(ROOT, "packages"))
    .flatMap((name) => [`packages/${name}/src`, `packages/${name}/test`])
    .flatMap((folder) => list(folder).map((name) => `${folder}/${name}`))
    .filter(
      (path) =>
        /fuzz[^/]*\.ts$/.test(path) && !path.endsWith(".test.ts") && !path.startsWith("packages/testkit/"),
    )
    .sort();
}

/** @param {string} folder @returns {string[]} */
function list(folder) {
  try {
    return readdirSync(join(ROOT, folder), { recursive: true, encoding: "utf8" });
  } catch {
    return [];
  }
}

/** @param {PlantedBug} [planted] @returns {Promise<FuzzSuite[]>} */
async function loadSuites(planted) {
  const { build } = await import("esbuild");
  mkdirSync(join(ROOT, "build"), { recursive: true });
  const folder = mkdtempSync(join(ROOT, "build", "fuzz-"));
  const files = suiteFiles();
  const imports = files.map((path, i) => `import * as m${i} from "./${path}";`);
  try {
    await build({
      stdin: {
        contents: `${imports.join("\n")}\nexport const modules = [${files.map((_, i) => `m${i}`).join(", ")}];`,
        resolveDir: ROOT,
      },
      outfile: join(folder, "suites.mjs"),
      bundle: true,
      format: "esm",
      platform: "node",
      target: "node20",
      conditions: ["@alien-ts/source"],
      sourcemap: "inline",
      logLevel: "warning",
      plugins: planted === undefined ? [] : [planting(planted)],
    });
    const { modules } = await import(pathToFileURL(join(folder, "suites.mjs")).href);
    return modules.flatMap((/** @type {object} */ module) => Object.values(module).filter(isSuite));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Whether what the bug replaces stands in its file, once. @param {PlantedBug} bug */
const hasPlace = ({ file, find }) => readFileSync(join(ROOT, file), "utf8").split(find).length === 2;

/** Builds one file with a bug. @param {PlantedBug} bug @returns {import("esbuild").Plugin} */
function planting({ file, find, replace }) {
  const path = join(ROOT, file);
  const contents = readFileSync(path, "utf8").replace(find, () => replace);
  return {
    name: "planted bug",
    setup: ({ onLoad }) =>
      onLoad({ filter: /\.ts$/ }, (args) => (args.path === path ? { contents, loader: "ts" } : undefined)),
  };
}

/** Runs the suite with each bug until it finds it. @param {FuzzSuite} suite @param {typeof options} options @returns {Promise<boolean>} */
async function findPlanted({ name, planted = [] }, { runs, seed }) {
  let areAllFound = true;
  for (const bug of planted) {
    const wrong = hasPlace(bug) ? (await loadSuites(bug)).find((suite) => suite.name === name) : undefined;
    let done = 0;
    let isFound = false;
    for (; wrong !== undefined && done < runs && !isFound; done += PLANTED_STEP)
      isFound = (await wrong.run({ runs: PLANTED_STEP, seed: seed + done })).failures.length !== 0;
    areAllFound &&= isFound;
    const outcome = isFound ? String(done) : wrong === undefined ? "no place" : "missed";
    process.stdout.write(`${outcome.padStart(8)}  ${bug.bug}\n`);
  }
  return areAllFound;
}

/** @param {unknown} value @returns {value is FuzzSuite} */
function isSuite(value) {
  const suite = /** @type {Partial<FuzzSuite> | null} */ (typeof value === "object" ? value : null);
  return typeof suite?.name === "string" && typeof suite.run === "function" && suite.mutations instanceof Map;
}

/** @param {import("../packages/testkit/src/fuzz.ts").FuzzReport} report @param {string} name @param {boolean} showBranches */
function print({ runs, seed, failures, branches }, name, showBranches) {
  const rows = [
    ["suite", name],
    ["runs", runs],
    ["seed", seed],
    ["failures", failures.length],
    ["branches reached", branches.size],
  ];
  for (const [key, value] of rows) process.stdout.write(`${String(key).padEnd(17)} ${value}\n`);
  if (showBranches)
    for (const [branch, count] of [...branches].sort())
      process.stdout.write(`  ${String(count).padStart(10)}  ${branch}\n`);
  for (const failure of failures) process.stdout.write(`\nfailure: ${failure}\n`);
}

const options = parse(process.argv.slice(2));
ensureInstalled(ROOT);
const suites = await loadSuites();
if (options.isList) {
  for (const { name, mutations } of suites) {
    const names = [...mutations.keys()];
    const rest = names.length > MOST_NAMED ? `; and ${names.length - MOST_NAMED} more` : "";
    process.stdout.write(`${name.padEnd(17)} finds: ${names.slice(0, MOST_NAMED).join("; ")}${rest}\n`);
  }
} else {
  const suite = suites.find(({ name }) => name === options.suite);
  if (suite === undefined)
    refuse(`no suite is called ${options.suite}; there are ${suites.map(({ name }) => name).join(", ")}`);
  if (options.isPlanted) process.exitCode = (await findPlanted(suite, options)) ? 0 : 1;
  else {
    const report = await suite.run({ runs: options.runs, seed: options.seed });
    print(report, suite.name, options.showBranches);
    process.exitCode = report.failures.length === 0 ? 0 : 1;
  }
}
