import { Prng } from "@alien-ts/testkit";
import { expect, test } from "vitest";
import { AssembleError, assemble } from "./assemble.ts";
import { asm, insn, program } from "./build.ts";
import { disassembleProgram } from "./disassemble.ts";
import { OPCODES } from "./opcodes.ts";

const SEED = 17;

/** What the kernel's text does not say cannot come back: pseudo sources, and which kernel function. */
const ROUND_TRIP = OPCODES.filter(({ kind, name }) => name !== "call_kfunc" && kind !== "wide");

test.each(ROUND_TRIP)(`$name comes back from its text (seed ${SEED})`, (row) => {
  const random = new Prng(SEED);
  for (let i = 0; i < 50; i++) {
    const has = (field: "dst" | "src" | "off" | "imm"): boolean => row.operands.includes(field);
    const slot = insn(row.name, {
      ...(has("dst") ? { dst: random.below(11) } : {}),
      ...(has("src") ? { src: random.below(11) } : {}),
      ...(has("off") ? { off: random.i32() >> 16 } : {}),
      ...(has("imm") ? { imm: random.i32() } : {}),
    });
    expect(assemble(disassembleProgram([slot]).join("\n"))).toEqual([slot]);
  }
});

test("labels are found ahead and behind, wide loads count twice", () => {
  const text = `
    start:
      r1 = 0xfedcba9876543210   ; two slots
      if r1 s> 5 goto done
      call function
      goto start
    done:
      exit
    function:
      r0 = 7
      exit`;
  const expected = program(
    asm.wide64(1, 0xfedc_ba98_7654_3210n),
    asm.jumpImm("jsgt", 1, 5, 2),
    asm.callLocal(2),
    asm.goto(-5),
    asm.exit(),
    asm.movImm(0, 7),
    asm.exit(),
  );
  expect(assemble(text)).toEqual(expected);
});

test.each([
  ["r1 = r2\nfrobnicate", 2, "not an instruction: frobnicate"],
  ["goto nowhere", 1, "not an instruction: goto nowhere"],
  ["a:\na:", 2, "label a is defined twice"],
  ["r1 += w2", 1, "not an instruction: r1 += w2"],
  ["r11 = 0", 1, "not an instruction: r11 = 0"],
])("%j is an error in line %i", (text, line, message) => {
  expect(assemble(text)).toEqual(new AssembleError(line, message));
});
