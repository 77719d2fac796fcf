/** `alien verify FILE.bpf.o`: verdicts, reports, and what cannot be used. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { Problem } from "../options.ts";
import { parseVerifyArguments } from "./command.ts";
import { verifyObject } from "./object.ts";
import { verdictJson, verdictText } from "./text.ts";

const bytes = readFileSync(fileURLToPath(new URL("../../fixtures/first_steps.bpf.o", import.meta.url)));
const machine = { kernelBtf: undefined, logLevel: 0 };

test("every program of the object has its verdict, and a refused one the rule that it broke", () => {
  const verdicts = verifyObject(bytes, undefined, machine);
  expect(verdicts.map(({ program, isAccepted, report }) => [program, isAccepted, report?.rule])).toEqual([
    ["forgot_null_check", false, "null-check"],
    ["with_null_check", true, undefined],
    ["forgot_packet_end", false, "packet-bounds"],
    ["with_packet_end", true, undefined],
    ["forgot_bound", false, "bounds"],
    ["with_bound", true, undefined],
  ]);
});

test("a refusal says where it is, what is known, and how it came to it", () => {
  const [verdict] = verifyObject(bytes, "forgot_null_check", machine);
  expect(verdict?.report).toMatchObject({
    errno: "EACCES",
    message: "R0 invalid mem access 'map_value_or_null'",
    source: { file: "first_steps.bpf.c", line: 33, text: "*count += 1;" },
    registers: [{ name: "r0", state: "map_value_or_null(id=1,map=counts,ks=4,vs=8)" }],
    chain: [{ instruction: "call bpf_map_lookup_elem#1", source: { line: 31 } }],
  });
});

test("the text for people", async () => {
  const verdicts = verifyObject(bytes, undefined, machine);
  await expect(verdicts.map(verdictText).join("\n")).toMatchFileSnapshot("../../fixtures/first_steps.txt");
});

test("the line of JSON has the log where one is asked for", () => {
  const [verdict] = verifyObject(bytes, "forgot_bound", { ...machine, logLevel: 1 });
  const json = JSON.parse(verdictJson(verdict!)) as {
    verdict: string;
    log: string;
    report: { insn: number };
  };
  expect(json).toMatchObject({ program: "forgot_bound", verdict: "REJECT", report: { insn: 5 } });
  expect(json.log).toContain("R2 unbounded memory access");
});

test.each([
  ["no object", new Uint8Array(64), undefined, "expected the magic number"],
  ["a program that is not there", bytes, "nothing", "no program nothing; the object has forgot_null_check"],
])("%s cannot be used", (_, file, program, message) => {
  expect(() => verifyObject(file, program, machine)).toThrow(message);
});

test.each([
  [["a.o", "b.o"]],
  [["a.o", "--prog-btf", "b"]],
  [["--raw", "a", "--json"]],
  [["a.o", "--arch", "vax"]],
])("the arguments %j are refused", (args) => {
  expect(parseVerifyArguments(args)).toBeInstanceOf(Problem);
});
