/**
 * The layers between packages are enforced: for every arrow that turbo.json forbids, a package with it is refused by
 * `turbo boundaries`, and one for every arrow that it allows is not. All in one small workspace, made in a temporary folder.
 */
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ROOT } from "./support/root.mjs";
import { binary } from "./support/run.mjs";

interface TurboJson {
  readonly boundaries: { readonly tags: Record<string, { dependencies: { allow: readonly string[] } }> };
}

const { tags } = (JSON.parse(readFileSync(join(ROOT, "turbo.json"), "utf8")) as TurboJson).boundaries;
const arrows = Object.keys(tags).flatMap((from) =>
  Object.keys(tags).map((to) => ({ from, to, isAllowed: tags[from]!.dependencies.allow.includes(to) })),
);
const arrowName = (from: string, to: string): string => `arrow-${from}-to-${to}`;

let workspace = "";
let output = "";
let status: number | null = null;

/** A package that imports `dependencies`. */
function writePackage(name: string, tag: string, dependencies: readonly string[]): void {
  const folder = join(workspace, "packages", name);
  mkdirSync(join(folder, "src"), { recursive: true });
  const manifest = {
    name,
    version: "0.0.0",
    type: "module",
    exports: "./src/index.ts",
    dependencies: Object.fromEntries(dependencies.map((dependency) => [dependency, "*"])),
  };
  writeFileSync(join(folder, "package.json"), JSON.stringify(manifest));
  writeFileSync(join(folder, "turbo.json"), JSON.stringify({ extends: ["//"], tags: [tag] }));
  const imports = dependencies.map((dependency) => `import "${dependency}";\n`).join("");
  writeFileSync(join(folder, "src/index.ts"), `${imports}export const name = "${name}";\n`);
}

beforeAll(() => {
  workspace = mkdtempSync(join(tmpdir(), "alien-boundaries-"));
  cpSync(join(ROOT, "turbo.json"), join(workspace, "turbo.json"));
  const manifest = {
    name: "fixtures",
    private: true,
    workspaces: ["packages/*"],
    packageManager: "npm@11.0.0",
  };
  writeFileSync(join(workspace, "package.json"), JSON.stringify(manifest));
  for (const tag of Object.keys(tags)) writePackage(`layer-${tag}`, tag, []);
  for (const { from, to } of arrows) writePackage(arrowName(from, to), from, [`layer-${to}`]);
  const run = spawnSync(binary("turbo"), ["boundaries"], {
    cwd: workspace,
    encoding: "utf8",
    env: { ...process.env, TURBO_TELEMETRY_DISABLED: "1", NO_COLOR: "1" },
  });
  ({ status } = run);
  // The report wraps lines, at hyphens too.
  output = `${run.stdout}${run.stderr}`.replaceAll(/\n\s*\|\s*/g, "");
});

afterAll(() => rmSync(workspace, { recursive: true, force: true }));

test("a workspace with forbidden arrows is refused", () => {
  expect({ status, folder: dirname(workspace) }).toEqual({ status: 1, folder: tmpdir() });
});

for (const { from, to, isAllowed } of arrows) {
  test(`${from} ${isAllowed ? "may" : "may not"} import ${to}`, () => {
    expect(new RegExp(`\\b${arrowName(from, to)}\\b`).test(output)).toBe(!isAllowed);
  });
}
