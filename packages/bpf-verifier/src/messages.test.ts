/**
 * Every message of the verifier has a pair of programs, one that is accepted and one that is refused with it. Those that have none are
 * listed in `test/messages-without-test.txt`: the list must shrink, so that a message that is added needs a pair.
 */
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const SOURCE = fileURLToPath(new URL(".", import.meta.url));
const LIST = fileURLToPath(new URL("../test/messages-without-test.txt", import.meta.url));
const OWN = "messages.test.ts";

const files = readdirSync(SOURCE, { recursive: true, encoding: "utf8" }).filter((name) =>
  name.endsWith(".ts"),
);
const textOf = (name: string): string => readFileSync(join(SOURCE, name), "utf8");
const isTest = (name: string): boolean => name.endsWith(".test.ts");

const STRING = /"((?:[^"\\]|\\.)*)"|`((?:[^`\\]|\\.)*)`/g;
const unescaped = (text: string): string => text.replaceAll("\\n", "\n").replaceAll("\\`", "`");
/** What a refusal is made from: a string, or a template with its holes. */
const REFUSAL =
  /(?:reject|Reject|reserved|refuse\w*)\(\s*(?:[\w.!]+,\s*)?("(?:[^"\\]|\\.)*"|`(?:[^`\\]|\\.)*`)/g;
const HOLE = /\$\{(?:[^{}]|\{[^{}]*\})*\}/;

function messages(): string[] {
  const isOurs = (name: string): boolean => !isTest(name) && !/^report|fuzz/.test(name);
  const found = files
    .filter(isOurs)
    .flatMap((name) => [...textOf(name).matchAll(REFUSAL)].map(([, text]) => text!));
  return [...new Set(found)].map((text) => unescaped(text.slice(1, -1))).filter((text) => text !== "");
}

const escaped = (text: string): string => text.replaceAll(/[$()*+.?[\\\]^{|}]/g, "\\$&");
const patternOf = (message: string): RegExp => new RegExp(message.split(HOLE).map(escaped).join(".*"), "s");

/** What stands in files of pairs (test/judge.ts), in which a program that is accepted is beside each that is refused. */
function expectations(name: string): string[] {
  const text = textOf(name);
  if (!text.includes("testPairs(")) return [];
  return [...text.matchAll(STRING)].map(([, plain, template]) => unescaped(plain ?? template ?? ""));
}

test("every message has a pair of programs, but for those of the list", async () => {
  const expected = files.filter((name) => isTest(name) && name !== OWN).flatMap(expectations);
  const lacking = messages().filter((message) => {
    const pattern = patternOf(message);
    return !expected.some((text) => pattern.test(text));
  });
  const list = lacking.map((message) => message.replaceAll("\n", "\\n")).sort();
  await expect(`${list.join("\n")}\n`).toMatchFileSnapshot(LIST);
});
