/**
 * Examples are tests: every ```ts fence of a README type-checks as written, and runs. A fence that imports vitest runs as the
 * test that it is; any other is bundled and run to its end by a Node process of its own, whose output does not matter.
 *
 * Fences are written to a folder below build/, where the workspace's packages can be found, and are checked by one `tsc`.
 */
import { execFile } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { build } from "esbuild";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ROOT } from "./support/root.mjs";
import { run } from "./support/run.mjs";

interface Example {
  /** File and line, for people. */
  readonly where: string;
  readonly name: string;
  readonly text: string;
  readonly isTest: boolean;
}

const FENCE = /^```ts\n(.*?)^```$/gms;
const LIMIT_MS = 60_000;
const RUN_LIMIT_MS = 20_000;

function readmes(): string[] {
  const packages = ["packages", "tools", "examples"]
    .filter((folder) => existsSync(join(ROOT, folder)))
    .flatMap((folder) => readdirSync(join(ROOT, folder)).map((name) => `${folder}/${name}/README.md`));
  return ["README.md", ...packages].filter((path) => existsSync(join(ROOT, path)));
}

function examplesOf(path: string): Example[] {
  const text = readFileSync(join(ROOT, path), "utf8").replaceAll("\r\n", "\n");
  return Array.from(text.matchAll(FENCE), ({ 1: code = "", index }) => {
    const line = text.slice(0, index).split("\n").length;
    const name = `${path.replace(/\/?README\.md$/, "").replaceAll("/", "-") || "root"}-${line}`;
    return { where: `${path}:${line}`, name, text: code, isTest: /from "vitest"/.test(code) };
  });
}

const examples = readmes().flatMap((path) => examplesOf(path));
mkdirSync(join(ROOT, "build"), { recursive: true });
const folder = mkdtempSync(join(ROOT, "build", "readme-"));
const fileOf = ({ name }: Example): string => join(folder, `${name}.ts`);
// A fence without imports would be a script, whose names are those of all others.
for (const example of examples) writeFileSync(fileOf(example), `${example.text}\nexport {};\n`);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("every example type-checks as written", { timeout: LIMIT_MS }, () => {
  const compilerOptions = {
    composite: false,
    declaration: false,
    declarationMap: false,
    sourceMap: false,
    noEmit: true,
    allowImportingTsExtensions: true,
    noUnusedLocals: false,
    noUnusedParameters: false,
    lib: ["es2024", "esnext.disposable"],
    types: ["node"],
  };
  writeFileSync(
    join(folder, "tsconfig.json"),
    JSON.stringify({ extends: "../../tsconfig.base.json", compilerOptions, include: ["*.ts"] }),
  );
  const { status, output } = run("tsc", ["-p", folder, "--pretty", "false"]);
  const named = examples.reduce(
    (text, { name, where }) => text.replaceAll(new RegExp(`\\S*/${name}\\.ts`, "g"), where),
    output,
  );
  expect([status, named]).toEqual([0, ""]);
});

describe("examples run", () => {
  const programs = examples.filter(({ isTest }) => !isTest);

  beforeAll(async () => {
    await build({
      entryPoints: programs.map((example) => fileOf(example)),
      outdir: join(folder, "out"),
      outExtension: { ".js": ".mjs" },
      bundle: true,
      splitting: true,
      format: "esm",
      platform: "node",
      target: "node20",
      conditions: ["@alien-ts/source"],
      logLevel: "silent",
    });
  }, LIMIT_MS);

  test.each(programs.map(({ where, name }) => ({ where, name })))(
    "$where",
    { timeout: RUN_LIMIT_MS },
    async ({ name }) => {
      const limits = { timeout: RUN_LIMIT_MS, maxBuffer: 1 << 24 };
      const ran = await promisify(execFile)(process.execPath, [join(folder, "out", `${name}.mjs`)], limits);
      expect(ran.stderr).toBe("");
    },
  );
});

for (const example of examples.filter(({ isTest }) => isTest))
  describe(example.where, async () => {
    await import(pathToFileURL(fileOf(example)).href);
  });
