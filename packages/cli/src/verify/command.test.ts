/** `alien verify --raw` with files that are broken somewhere. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { asm, encode, program } from "@alien-ts/bpf-isa";
import { kernelBtf } from "@alien-ts/kernel";
import { afterAll, expect, test, vi } from "vitest";
import { runVerify } from "./command.ts";

const directory = mkdtempSync(join(tmpdir(), "alien-verify-"));
afterAll(() => {
  rmSync(directory, { recursive: true });
});

const hex = Buffer.from(encode(program(asm.movImm(0, 0), asm.exit()))).toString("hex");
const line = JSON.stringify({ insns: hex, prog_type: 1 });

async function run(content: Uint8Array | string, programBtf?: string): Promise<[number, string[], string]> {
  const file = join(directory, "cases.jsonl");
  writeFileSync(file, content);
  const types = join(directory, "types.jsonl");
  if (programBtf !== undefined) writeFileSync(types, programBtf);
  let [out, complaints] = ["", ""];
  const stdout = vi
    .spyOn(process.stdout, "write")
    .mockImplementation((text) => ((out += String(text)), true));
  const stderr = vi
    .spyOn(process.stderr, "write")
    .mockImplementation((text) => ((complaints += String(text)), true));
  try {
    const status = await runVerify(
      {
        file,
        isRaw: true,
        program: undefined,
        isJson: false,
        isUnprivileged: false,
        programBtf: programBtf === undefined ? undefined : types,
        kernelBtf: undefined,
        logLevel: 0,
      },
      kernelBtf,
    );
    const verdicts = out.split("\n").filter((text) => text !== "");
    return [status, verdicts, complaints.replaceAll(directory, "")];
  } finally {
    stdout.mockRestore();
    stderr.mockRestore();
  }
}

test("every line has its answer, a broken one too", async () => {
  const [status, answers] = await run(`${line}\n{\n\n${line}\r\n${line}`);
  expect(status).toBe(0);
  expect(answers.map((answer) => Object.keys(JSON.parse(answer) as object)[0])).toEqual([
    "verdict",
    "error",
    "verdict",
    "verdict",
  ]);
});

test("of a compressed file that ends early, the lines that are there are answered", async () => {
  const whole = gzipSync(`${line}\n`.repeat(50_000));
  const [status, answers, complaints] = await run(whole.subarray(0, whole.length >> 3));
  expect(status).toBe(2);
  expect(answers.length).toBeGreaterThan(0);
  expect(complaints).toBe("alien verify: /cases.jsonl: unexpected end of file\n");
});

test.each([
  ["no JSON", "{", "line 1: "],
  ["no types", '{"name":"a"}', 'line 1: expected a "name" and types in "base64"'],
])("a file of types with %s is told, and its line", async (_, types, expected) => {
  const [status, answers, complaints] = await run(line, types);
  expect([status, answers]).toEqual([2, []]);
  expect(complaints).toContain(`alien verify: /types.jsonl: ${expected}`);
});
