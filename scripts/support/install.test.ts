import { mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { missingPackages } from "./install.mjs";
import { sourceStamp } from "./stamp.mjs";

let root = "";
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "alien-scripts-"));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

function write(path: string, contents: unknown): void {
  mkdirSync(join(root, dirname(path)), { recursive: true });
  writeFileSync(join(root, path), typeof contents === "string" ? contents : JSON.stringify(contents));
}

interface Entry {
  readonly version?: string;
  readonly optional?: boolean;
  readonly link?: boolean;
}

/** A checkout whose lock file has `wanted`, and whose node_modules has `present`, each with its folder. */
function checkout(wanted: Record<string, Entry>, present: Record<string, Entry>): void {
  write("package-lock.json", { packages: { "": {}, ...wanted } });
  write("node_modules/.package-lock.json", { packages: present });
  for (const path of Object.keys(present)) write(`${path}/package.json`, "{}");
}

const a = "node_modules/a";

for (const [what, wanted, present, expected] of [
  ["nothing is missing where all is there", { [a]: { version: "1.0.0" } }, { [a]: { version: "1.0.0" } }, []],
  ["a package that is not there is missing", { [a]: { version: "1.0.0" } }, {}, [a]],
  ["another version is missing", { [a]: { version: "2.0.0" } }, { [a]: { version: "1.0.0" } }, [a]],
  ["a package for another platform is not", { [a]: { version: "1.0.0", optional: true } }, {}, []],
  ["a workspace that is not linked is missing", { "packages/w": {}, [a]: { link: true } }, {}, [a]],
] as const) {
  test(what, () => {
    checkout(wanted, present);
    expect(missingPackages(root)).toEqual(expected);
  });
}

test("a package whose folder was removed is missing", () => {
  checkout({ [a]: { version: "1.0.0" } }, { [a]: { version: "1.0.0" } });
  rmSync(join(root, a), { recursive: true });
  expect(missingPackages(root)).toEqual([a]);
});

test("a checkout that was never installed misses everything", () => {
  write("package-lock.json", { packages: { [a]: { version: "1.0.0" } } });
  expect(missingPackages(root)).toEqual([a]);
});

const SOURCE = "packages/p/src/deep/a.ts";

/** The smallest tree that has a stamp. */
function sources(): void {
  for (const path of ["package-lock.json", "scripts/build.mjs", "scripts/support/stamp.mjs", SOURCE])
    write(path, "1");
  write("packages/p/package.json", "{}");
}

for (const [what, change, isSame] of [
  ["is the same for the same sources", () => {}, true],
  ["changes with a source's size", () => write(SOURCE, "22"), false],
  ["changes with a source's time", () => utimesSync(join(root, SOURCE), 1, 1), false],
  ["changes with a new source", () => write("packages/p/src/b.ts", ""), false],
  ["changes with the lock file", () => write("package-lock.json", "22"), false],
  ["does not change with a test", () => write("packages/p/src/b.test.ts", ""), true],
  ["does not change with what was built", () => write("packages/p/dist/b.js", ""), true],
] as const) {
  test(`the stamp ${what}`, () => {
    sources();
    const before = sourceStamp(root);
    change();
    expect(sourceStamp(root) === before).toBe(isSame);
  });
}
