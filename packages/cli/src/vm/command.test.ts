import { asm, encode, type Insn, program } from "@alien-ts/bpf-isa";
import { describe, expect, test } from "vitest";
import { Problem } from "../options.ts";
import { parseVmArguments } from "./arguments.ts";
import { runVm } from "./command.ts";
import { formatHex } from "./hex.ts";

const hex = (...parts: readonly (Insn | readonly Insn[])[]): string => formatHex(encode(program(...parts)));

async function run(args: readonly string[], input: string) {
  const parsed = parseVmArguments(args);
  if (parsed instanceof Problem || parsed === "help") throw new Error("a bad command line");
  let out = "";
  let complaints = "";
  const status = await runVm(parsed, {
    readInput: async () => input,
    lines: async function* () {
      yield input.split("\n");
    },
    print: (text) => (out += text),
    complain: (text) => (complaints += text),
  });
  return { status, out, complaints };
}

const LOOP = [asm.goto(-1), asm.exit()];
const SUM = [
  asm.load(1, 0, 1, 0),
  asm.load(1, 3, 1, 2),
  asm.aluReg("add", 0, 3),
  asm.aluReg("add", 0, 2),
  asm.exit(),
];

describe.each(["--interpret", "--jit"])("alien vm %s", (engine) => {
  test.each([
    ["r0 is printed in hexadecimal, 64 bits wide", [asm.movImm(0, -2), asm.exit()], "", "fffffffffffffffe\n"],
    ["r1 is the memory, r2 its length", SUM, "01 02 ff", "103\n"],
    ["packet loads read the memory", [asm.packetAbs(2, 1), asm.exit()], "010203", "203\n"],
    ["a packet load outside ends the program with 0", [asm.packetAbs(4, 1), asm.exit()], "010203", "0\n"],
    ["an access of the stack", [asm.storeImm(8, 10, -8, 3), asm.load(8, 0, 10, -8), asm.exit()], "", "3\n"],
    ["helper 5 gives back its argument", [asm.movImm(1, 4), asm.call(5), asm.exit()], "", "4\n"],
    [
      "helper 5 ends the program for 0",
      [asm.movImm(1, 0), asm.call(5), asm.movImm(0, 9), asm.exit()],
      "",
      "0\n",
    ],
    ["helper 3 is a square root", [asm.movImm(1, 17), asm.call(3), asm.exit()], "", "4\n"],
    [
      "helper 0 gathers bytes",
      [[1, 2, 3, 4, 5].map((n) => asm.movImm(n, n)), asm.call(0), asm.exit()],
      "",
      "102030405\n",
    ],
    [
      "helper 4 compares strings",
      [asm.movReg(2, 1), asm.aluImm("add", 2, 2), asm.call(4), asm.exit()],
      "4100 4200",
      "ffffffffffffffff\n",
    ],
    [
      "helper 1 inverts bytes",
      [asm.movReg(6, 1), asm.movImm(2, 1), asm.call(1), asm.load(1, 0, 6), asm.exit()],
      "ff",
      "d5\n",
    ],
  ] as const)("%s", async (_, parts, memory, out) => {
    expect(await run([engine, memory], hex(...parts))).toEqual({ status: 0, out, complaints: "" });
  });

  test.each([
    ["an endless loop", LOOP, "the program was stopped: its budget of 5000 is spent"],
    ["a write outside", [asm.storeImm(1, 1, 0, 1)], "invalid write of 1 bytes at 0xffffffd600030000, insn 0"],
    [
      "an unknown instruction",
      [{ opcode: 255, dst: 0, src: 0, off: 0, imm: 0 }],
      "bad instruction at insn 0",
    ],
    ["an unknown helper", [asm.call(99), asm.exit()], "unknown helper at insn 0"],
  ] as const)("%s ends with status 1 and a reason", async (_, parts, reason) => {
    expect(await run([engine, "--fuel", "5000"], hex(...parts))).toEqual({
      status: 1,
      out: "",
      complaints: `alien vm: ${reason}\n`,
    });
  });

  test("a file of cases gives a line for each, and goes on after one that cannot be used", async () => {
    const good = JSON.stringify({ insns: hex(asm.load(1, 0, 1), asm.exit()), mem: "7f" });
    const lines = [good, "{", "", '{"insns":"xy"}', '{"insns":"95","mem":""}', '{"insns":""}', "3", good];
    const { status, out } = await run([engine, "--raw", "-"], lines.join("\n"));
    expect(status).toBe(0);
    expect(
      out
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line) as object),
    ).toEqual([
      { result: "0x7f" },
      { error: expect.stringContaining("not JSON") as string },
      { error: expect.stringContaining("not JSON") as string },
      { error: "insns: expected hexadecimal bytes" },
      { error: "program of 1 bytes is not a multiple of 8" },
      { error: "the program is empty" },
      { error: "expected an object" },
      { result: "0x7f" },
    ]);
  });
});

test("input that is not hexadecimal is refused", async () => {
  expect(await run([], "xyz")).toMatchObject({
    status: 1,
    complaints: expect.stringContaining("program") as string,
  });
  expect(await run(["0"], "95")).toMatchObject({
    status: 1,
    complaints: expect.stringContaining("memory") as string,
  });
});

test.each([
  [["--jit", "--interpret"], "--interpret and --jit: expected one of them"],
  [["--fuel", "0"], "--fuel 0: expected an integer from 1 to 2147483647"],
  [["00", "11"], "unexpected argument 11"],
  [["--raw", "f", "00"], "unexpected argument 00"],
  [["--fast"], "unknown option --fast"],
])("%j is a bad command line", (args, message) => {
  expect(parseVmArguments(args)).toEqual(new Problem(message));
});
