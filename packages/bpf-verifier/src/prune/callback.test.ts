/** A helper that has called back as often as it will is no pattern for one that has not begun. */
import { EBADF } from "@alien-ts/abi";
import { asm, program } from "@alien-ts/bpf-isa";
import type { Insn } from "@alien-ts/bpf-isa";
import { expect, test } from "vitest";
import { programBtf } from "../../test/random-types.ts";
import { linuxHelper } from "../linux/helpers.ts";
import { linuxProgramType } from "../linux/program-types.ts";
import { PRIVILEGED } from "../privileges.ts";
import { verifyProgram } from "../verify-program.ts";

const LOOP = 181;
const RANDOM = 7;

/**
 * bpf_loop() is asked for one turn until its callback has been called, which puts a random number and 1 into fp-16 and fp-8. Then
 * fp-16 becomes 77, and the loop is asked once more; the callback does `then` with what it finds there.
 */
function classifier(then: readonly Insn[]): Insn[] {
  const callback = program(
    asm.movReg(6, 2),
    asm.load(8, 7, 6, 0),
    asm.jumpImm("jne", 7, 77, then.length),
    ...then,
    asm.call(RANDOM),
    asm.storeReg(8, 6, 0, 0),
    asm.storeImm(8, 6, 8, 1),
    asm.movImm(0, 0),
    asm.exit(),
  );
  const head = program(asm.storeImm(8, 10, -16, 0), asm.storeImm(8, 10, -8, 0));
  const call = (toCallback: number): Insn[] =>
    program(
      asm.mayGoto(12),
      asm.movImm(1, 1),
      asm.functionAddress(2, toCallback),
      asm.movReg(3, 10),
      asm.aluImm("add", 3, -16),
      asm.movImm(4, 0),
      asm.call(LOOP),
      asm.load(8, 1, 10, -8),
      asm.jumpImm("jne", 1, 1, 3),
      asm.storeImm(8, 10, -16, 77),
      asm.storeImm(8, 10, -8, 1),
      asm.goto(-13),
    );
  const tail = program(asm.movImm(0, 0), asm.exit());
  const main = [...head, ...call(0), ...tail];
  return [...head, ...call(main.length - 5), ...tail, ...callback];
}

function verdict(insns: readonly Insn[]): ReturnType<typeof verifyProgram> {
  return verifyProgram({
    insns,
    programType: linuxProgramType(3, 0)!,
    helper: linuxHelper,
    map: () => EBADF,
    addressHigh: 0xffff_8881,
    license: "GPL",
    privileges: PRIVILEGED,
    log: { level: 2 },
    kernelBtf: undefined,
    program: programBtf(
      "sched_cls",
      new Map([[insns.findIndex(({ dst, src }) => dst === 6 && src === 2), "loop callback"]]),
    ),
    attach: undefined,
    isSleepable: false,
    isStrictAlignment: false,
    isAnyAlignment: false,
    isStateFrequent: false,
    hasFragments: false,
  });
}

test("a callback is walked with what its second caller has on the stack", () => {
  expect(verdict(classifier([asm.movImm(0, 0)])).ok).toBe(true);
  const bad = verdict(classifier([asm.load(8, 0, 7, 0)]));
  expect(bad.log).toContain("R7 invalid mem access 'scalar'");
  expect(bad.ok).toBe(false);
});
