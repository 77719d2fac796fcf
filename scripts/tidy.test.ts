/** The house rules on every tracked file; and that each rule finds what it is there for. */
import { execFileSync } from "node:child_process";
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { ROOT } from "./support/root.mjs";
import { RULES, type SourceFile, sourceText } from "./support/tidy.ts";

const BINARY = /\.(o|bin|png|ico|wasm)$/;

/** What git tracks, and what it would if it were added. */
const tracked: readonly string[] = execFileSync("git", ["ls-files", "-co", "--exclude-standard"], {
  cwd: ROOT,
  encoding: "utf8",
  maxBuffer: 1 << 26,
})
  .split("\n")
  .filter((path) => statSync(join(ROOT, path), { throwIfNoEntry: false })?.isFile() === true);

const files: readonly SourceFile[] = tracked
  .filter((path) => !BINARY.test(path))
  .map((path) => ({ path, text: readFileSync(join(ROOT, path), "utf8") }));

for (const rule of RULES) {
  test(rule.name, () => expect(rule.check(files)).toEqual([]));
}

test("no object names the folder that it was compiled in", () => {
  const named = tracked
    .filter((path) => path.endsWith(".o"))
    .map(
      (path) => [path, readFileSync(join(ROOT, path), "latin1").match(/\0\/[\w.-]+\/[\w./-]*/)?.[0]] as const,
    );
  expect(named.length).toBeGreaterThan(0);
  expect(named.filter(([, folder]) => folder !== undefined)).toEqual([]);
});

const kernel = "packages/kernel/src";
const word = (...parts: string[]): string => parts.join("");

/** A violation per line: the rule that finds it, the file that has it. */
const VIOLATIONS: readonly (readonly [
  what: string,
  rule: RegExp,
  ...files: (readonly [string, string])[],
])[] = [
  ["a file without a header", /opens by/, ["packages/elf/src/a.ts", "export const a = 1;"]],
  ["the host's time", /banned/, ["packages/elf/src/a.ts", "const a = Date.now();"]],
  ["unseeded randomness, in a test too", /banned/, ["packages/elf/src/a.test.ts", "Math.random()"]],
  ["a host timer", /banned/, [`${kernel}/mm/a.ts`, "setTimeout(f, 1);"]],
  ["output to the host's console", /banned/, ["packages/userland/src/a.ts", 'console.log("x");']],
  ["an async function in an engine", /banned/, ["packages/bpf-vm/src/a.ts", "export async function f() {}"]],
  ["a promise in the kernel", /banned/, [`${kernel}/mm/a.ts`, "let p: Promise<void>;"]],
  ["a way around types", /banned/, ["packages/cli/src/a.ts", "f(x as any);"]],
  ["a Node module in a library", /module of Node/, ["packages/elf/src/a.ts", 'import { a } from "node:fs";']],
  ["a BigInt in a hot file", /hot files/, ["packages/bpf-vm/src/interpreter.ts", "const a = 1n;"]],
  ["an upward import", /point down/, [`${kernel}/mm/a.ts`, 'import { b } from "../vfs/b.ts";']],
  [
    "an upward import of a type",
    /point down/,
    [`${kernel}/mm/a.ts`, 'import type { B } from "../vfs/b.ts";'],
  ],
  ["an upward re-export", /point down/, [`${kernel}/core/a.ts`, 'export { b } from "../boot.ts";']],
  ["a folder that is no layer", /point down/, [`${kernel}/utils/a.ts`, ""]],
  [
    "an import out of the package",
    /stay inside/,
    ["packages/elf/src/a.ts", 'import { b } from "../../abi/src/b.ts";'],
  ],
  ["a long file", /line 700/, ["packages/elf/src/a.ts", "\n".repeat(701)]],
  ["a row in a file that is not listed", /every row/, [`${kernel}/mm/a.ts`, "export const f = kernelFn("]],
  [
    "a row that is not exported",
    /every row/,
    [`${kernel}/mm/a.ts`, "const f = sleepingFn("],
    [`${kernel}/text.ts`, 'import * as a from "./mm/a.ts";'],
  ],
  [
    "a structure in a file that is not listed",
    /every structure/,
    [`${kernel}/mm/a.ts`, 'export const a = struct("a", {'],
  ],
  [
    "a structure that is not exported",
    /every structure/,
    [`${kernel}/mm/a.ts`, 'const a = struct("a", {'],
    [`${kernel}/types.ts`, 'import * as a from "./mm/a.ts";'],
  ],
  ["a package without a README", /README/, ["packages/elf/package.json", "{}"]],
  [
    "a long README",
    /README/,
    ["packages/elf/package.json", "{}"],
    ["packages/elf/README.md", "\n".repeat(81)],
  ],
  ["a focused test", /focused/, ["packages/elf/src/a.test.ts", word("test", '.only("x", f);')]],
  [
    "a test skipped without a reason",
    /focused/,
    ["packages/elf/src/a.test.ts", word("test", '.skip("x", f);')],
  ],
  ["a note without an issue", /work that is left/, ["packages/elf/src/a.ts", word("// TO", "DO: more")]],
  ["a path of a machine", /machine/, ["README.md", word("cd /wo", "rk/main")]],
  ["a download address", /machine/, ["package-lock.json", word('"resol', 'ved": "https://x/y.tgz"')]],
];

for (const [what, name, ...planted] of VIOLATIONS) {
  test(`${what} is found`, () => {
    const rule = RULES.find((candidate) => name.test(candidate.name));
    expect(rule?.check(planted.map(([path, text]) => ({ path, text })))).toHaveLength(1);
  });
}

for (const [what, text, expected] of [
  ["comments", "a; // b\n/* c\n d */ e;", "a;     \n    \n      e;"],
  ["strings", "f(\"a'b\", 'c');", "f(     ,    );"],
  ["template strings", "f(`a\n${b}`);", "f(  \n     );"],
  ["regular expressions", 'x = /[/"]/.test(y) / 2;', "x =       .test(y) / 2;"],
] as const) {
  test(`${what} are no code`, () => expect(sourceText(text)).toBe(expected));
}
