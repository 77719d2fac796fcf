/** What becomes of accepted programs: what runs, where it comes from, and what is said of it. */
import { EBADF } from "@alien-ts/abi";
import { AssembleError, assemble, disassemble } from "@alien-ts/bpf-isa";
import type { Insn } from "@alien-ts/bpf-isa";
import { describe, expect, test } from "vitest";
import type { ContextRow, ProgramEnv } from "../env.ts";
import { linuxHelper } from "../linux/helpers.ts";
import { linuxProgramType } from "../linux/program-types.ts";
import { verifyProgram } from "../verify-program.ts";
import { relocate, type Xlated } from "./rewrite.ts";
import { PRIVILEGED, UNPRIVILEGED } from "../privileges.ts";

const KPROBE = linuxProgramType(2, 0)!;

function insnsOf(text: string): Insn[] {
  const insns = assemble(text);
  if (insns instanceof AssembleError) throw new Error(`line ${insns.line}: ${insns.message}`);
  return insns;
}

function rewritten(text: string, extra: Partial<ProgramEnv> = {}): Xlated {
  const verdict = verifyProgram({
    insns: insnsOf(text),
    programType: KPROBE,
    helper: linuxHelper,
    map: () => EBADF,
    addressHigh: 0xffff_8881,
    license: "GPL",
    privileges: PRIVILEGED,
    log: { level: 1 },
    kernelBtf: undefined,
    program: undefined,
    attach: undefined,
    isSleepable: false,
    isStrictAlignment: false,
    isAnyAlignment: false,
    isStateFrequent: false,
    hasFragments: false,
    ...extra,
  });
  if (!verdict.ok) throw new Error(verdict.log);
  return verdict.xlated;
}

const textOf = ({ insns }: Pick<Xlated, "insns">): string =>
  insns.map((insn, i) => disassemble(insn, insns[i + 1])).join("\n");
const same = (text: string): string => textOf({ insns: insnsOf(text) });

// What comes out is what Linux 6.18 gives back for each (BPF_OBJ_GET_INFO_BY_FD).
const PROGRAMS: readonly [string, string, string][] = [
  [
    "a live program stays",
    "r0 = 0\nif r1 == 0x0 goto +1\nr0 = 1\nexit",
    "r0 = 0\nif r1 == 0x0 goto +1\nr0 = 1\nexit",
  ],
  [
    "a jump that is always taken goes, with what it jumps over",
    "r0 = 0\nif r0 == 0x0 goto +2\nr0 = 1\nr0 = 2\nexit",
    "r0 = 0\nexit",
  ],
  [
    "a jump that is never taken goes, with where it leads",
    "r0 = 5\nif r0 == 0x0 goto +1\nexit\nr0 = 7\nexit",
    "r0 = 5\nexit",
  ],
  [
    "jumps over dead code are shortened",
    "r0 = 0\nr2 = 3\nif r1 == 0x0 goto +3\nif r2 == 0x3 goto +1\nr0 = 1\nr0 = 2\nexit",
    "r0 = 0\nr2 = 3\nif r1 == 0x0 goto +1\nr0 = 2\nexit",
  ],
  ["a jump to what follows goes", "r0 = 0\ngoto +0\nexit", "r0 = 0\nexit"],
  ["a wide load goes whole", "r0 = 0\nif r0 == 0x0 goto +2\nr3 = 0x1122334455667788\nexit", "r0 = 0\nexit"],
  [
    "a call goes on to lead to its function",
    "r6 = 0\nif r6 == 0x0 goto +1\nr6 = 1\ncall pc+1\nexit\nr0 = 0\nexit",
    "r6 = 0\ncall pc+1\nexit\nr0 = 0\nexit",
  ],
  [
    "a loop goes on to turn",
    "r0 = 3\nr2 = 0\nif r2 == 0x0 goto +1\nr2 = 9\nr0 += -1\nif r0 != 0x0 goto -4\nexit",
    "r0 = 3\nr2 = 0\nr0 += -1\nif r0 != 0x0 goto -2\nexit",
  ],
];

test.each(PROGRAMS)("%s", (_, given, expected) => {
  const xlated = rewritten(given);
  expect(textOf(xlated)).toBe(same(expected));
  expect(xlated.origin.length).toBe(xlated.insns.length);
});

test("of the unprivileged, dead code becomes loops and nothing moves", () => {
  const programType = linuxProgramType(1, 0)!;
  const given = "r0 = 0\nif r0 == 0x0 goto +1\nr0 = 1\nexit";
  const xlated = rewritten(given, { programType, privileges: UNPRIVILEGED });
  expect(textOf(xlated)).toBe(same("r0 = 0\nif r0 == 0x0 goto +1\ngoto -1\nexit"));
});

describe("records of lines", () => {
  // r0 = 0; if …; r0 = 1 (dead); r0 += 2; exit
  const xlated = rewritten("r0 = 0\nif r0 == 0x0 goto +1\nr0 = 1\nr0 += 2\nexit");
  test.each([
    [
      "stay with their instruction",
      [0, 3, 4],
      [
        [0, 0],
        [3, 1],
        [4, 2],
      ],
    ],
    [
      "go to what follows what was removed",
      [0, 1, 2],
      [
        [0, 0],
        [2, 1],
      ],
    ],
    [
      "give way to the record that what follows has",
      [0, 2, 3],
      [
        [0, 0],
        [3, 1],
      ],
    ],
  ])("%s", (_, given, expected) => {
    const records = given.map((insn) => ({ insn, name: insn }));
    expect(relocate(records, xlated).map(({ name, insn }) => [name, insn])).toEqual(expected);
  });
});

describe("contexts that lie otherwise in the kernel's memory", () => {
  const row = (fields: Partial<ContextRow>): ContextRow => ({
    from: 0,
    to: 16,
    stride: 4,
    reads: [1, 2, 4],
    writes: [4],
    narrowBytes: 4,
    memory: { offset: 64, bytes: 8 },
    ...fields,
  });
  const programType = { ...KPROBE, context: { name: "demo", rows: [row({})], isFlat: false } };
  test.each([
    ["a field", "r0 = *(u32 *)(r1 +4)\nexit", "r0 = *(u64 *)(r1 +72)\nexit"],
    [
      "the first byte of a field",
      "r0 = *(u8 *)(r1 +8)\nexit",
      "r0 = *(u64 *)(r1 +80)\nr0 <<= 56\nr0 >>= 56\nexit",
    ],
    [
      "a later part of a field",
      "r0 = *(u16 *)(r1 +2)\nexit",
      "r0 = *(u64 *)(r1 +64)\nr0 >>= 16\nr0 <<= 48\nr0 >>= 48\nexit",
    ],
    ["a store", "r0 = 0\n*(u32 *)(r1 +12) = r0\nexit", "r0 = 0\n*(u64 *)(r1 +88) = r0\nexit"],
    [
      "a jump over a load that became several",
      "r0 = 0\nif r1 == 0x0 goto +1\nr0 = *(u8 *)(r1 +0)\nexit",
      "r0 = 0\nif r1 == 0x0 goto +3\nr0 = *(u64 *)(r1 +64)\nr0 <<= 56\nr0 >>= 56\nexit",
    ],
  ])("%s", (_, given, expected) => {
    expect(textOf(rewritten(given, { programType }))).toBe(same(expected));
  });
});
