import { expect, test } from "vitest";
import { asm, program } from "./build.ts";
import type { Insn } from "./instruction.ts";
import { runReference } from "./reference.ts";

/** Programs without memory; r0 or how they end. */
const CASES: readonly [string, readonly (Insn | readonly Insn[])[], object][] = [
  ["an exit gives r0", [asm.movImm(0, -1), asm.exit()], { kind: "done", r0: (1n << 64n) - 1n, executed: 2 }],
  [
    "32-bit results have no high word",
    [asm.movImm(0, -1), asm.aluImm("add", 0, 0, 32), asm.exit()],
    { r0: 0xffff_ffffn },
  ],
  [
    "immediates are sign-extended",
    [asm.movImm(0, 0), asm.aluImm("or", 0, -2), asm.exit()],
    { r0: (1n << 64n) - 2n },
  ],
  [
    "calls keep r6 to r9",
    [asm.movImm(6, 1), asm.callLocal(2), asm.movReg(0, 6), asm.exit(), asm.movImm(6, 2), asm.exit()],
    { r0: 1n },
  ],
  ["a helper gets five arguments", [asm.movImm(5, 40), asm.call(2), asm.exit()], { r0: 42n }],
  ["a packet load is big endian", [asm.packetAbs(2, 1), asm.exit()], { r0: 0x0203n }],
  [
    "a packet load outside returns 0",
    [asm.movImm(0, 7), asm.packetAbs(4, 1), asm.movImm(0, 9), asm.exit()],
    { kind: "done", r0: 0n, executed: 2 },
  ],
  [
    "a load that the port refuses is a fault",
    [asm.movImm(0, 0), asm.load(8, 0, 1), asm.exit()],
    { kind: "fault", pc: 1, executed: 1 },
  ],
  ["an endless loop ends with the fuel", [asm.goto(-1)], { kind: "fuel", executed: 50 }],
];

test.each(CASES)("%s", (_, parts, expected) => {
  const result = runReference(program(...parts), {
    memory: { load: () => undefined, store: () => false },
    r1: 0n,
    stackTop: 0x1000n,
    fuel: 50,
    callHelper: (id, args) => BigInt(id) + args[4]!,
    packet: Uint8Array.of(1, 2, 3, 4),
  });
  expect(result).toMatchObject(expected);
});
