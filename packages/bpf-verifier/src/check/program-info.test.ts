/** Records of functions and lines, right and wrong, with Linux's messages; and the statistics of the log. */
import { EBADF } from "@alien-ts/abi";
import { asm, program } from "@alien-ts/bpf-isa";
import { BtfBuilder, BtfError, parseBtf } from "@alien-ts/btf";
import { expect, test } from "vitest";
import { linuxHelper } from "../linux/helpers.ts";
import { linuxProgramType } from "../linux/program-types.ts";
import { verifyProgram } from "../verify-program.ts";
import { PRIVILEGED } from "../privileges.ts";

const builder = new BtfBuilder();
const flags = { isSigned: true, isChar: false, isBool: false };
const int = builder.add({ kind: "int", name: "int", size: 4, bits: 32, offset: 0, ...flags });
const prototype = builder.add({ kind: "func_proto", name: "", type: int, params: [] });
const FUNC = builder.add({ kind: "func", name: "f", linkage: "static", type: prototype });
const parsed = parseBtf(builder.build());
if (parsed instanceof BtfError) throw parsed;
const btf = parsed;

// Three functions: at 0, 4 and 6.
const CODE = program(
  asm.callLocal(3),
  asm.callLocal(4),
  asm.movImm(0, 0),
  asm.exit(),
  asm.movImm(0, 1),
  asm.exit(),
  asm.movImm(0, 2),
  asm.exit(),
);

function verify(
  functions: readonly (readonly [number, number])[],
  lines: readonly number[],
  level = 1,
): readonly [boolean, string] {
  const { ok, log } = verifyProgram({
    insns: CODE,
    programType: linuxProgramType(1, 0)!,
    helper: linuxHelper,
    map: () => EBADF,
    addressHigh: 0xffff_8881,
    license: "GPL",
    privileges: PRIVILEGED,
    log: { level },
    kernelBtf: undefined,
    program: {
      btf,
      functions: functions.map(([insn, type]) => ({ insn, type })),
      lines: lines.map((insn) => ({ insn, file: "a.c", text: "x = 1;", line: insn + 1 })),
    },
    attach: undefined,
    isSleepable: false,
    isStrictAlignment: false,
    isAnyAlignment: false,
    isStateFrequent: false,
    hasFragments: false,
  });
  return [ok, log.replace(/processed .*\n$/, "").trimEnd()];
}

const GOOD = [
  [0, FUNC],
  [4, FUNC],
  [6, FUNC],
] as const;

test("records where functions begin are right", () => {
  expect(verify(GOOD, [0, 2, 4, 6])[0]).toBe(true);
  expect(verify(GOOD, [])[0]).toBe(true);
});

test.each([
  [[[1, FUNC]], [], "nonzero insn_off 1 for the first func info record"],
  [
    [
      [0, FUNC],
      [4, FUNC],
      [4, FUNC],
    ],
    [],
    "same or smaller insn offset (4) than previous func info record (4)",
  ],
  [
    [
      [0, FUNC],
      [4, 1],
    ],
    [],
    "invalid type id 1 in func info",
  ],
  [
    [
      [0, FUNC],
      [4, FUNC],
    ],
    [],
    "number of funcs in func_info doesn't match number of subprogs",
  ],
  [
    [
      [0, FUNC],
      [3, FUNC],
      [6, FUNC],
    ],
    [],
    "func_info BTF section doesn't match subprog layout in BPF program",
  ],
  [GOOD, [0, 4, 4, 6], "Invalid line_info[2].insn_off:4 (prev_offset:4 prog->len:8)"],
  [GOOD, [0, 4, 6, 8], "Invalid line_info[3].insn_off:8 (prev_offset:6 prog->len:8)"],
  [GOOD, [0, 5, 6], "missing bpf_line_info for func#1"],
  [GOOD, [0, 4], "missing bpf_line_info for 1 funcs starting from func#2"],
] as const)("functions %j and lines %j: %s", (functions, lines, message) => {
  expect(verify(functions, lines)).toEqual([false, message]);
});

test("level 4 has the stack of each function, and no instructions", () => {
  expect(verify(GOOD, [], 4)).toEqual([true, "verification time 0 usec\nstack depth 0+0+0"]);
});
