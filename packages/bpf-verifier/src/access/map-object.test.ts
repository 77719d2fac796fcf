/** What programs may read of a map itself, as pairs: one that is accepted and one that is refused, with the message of Linux 6.18. */
import { EBADF } from "@alien-ts/abi";
import { AssembleError, assemble } from "@alien-ts/bpf-isa";
import { expect, test } from "vitest";
import { declare } from "../../test/declare.ts";
import type { MapInfo, ProgramEnv } from "../env.ts";
import { linuxHelper } from "../linux/helpers.ts";
import { linuxProgramType } from "../linux/program-types.ts";
import { PRIVILEGED, privilegesOf } from "../privileges.ts";
import { verifyProgram } from "../verify-program.ts";

const KERNEL = declare(
  "struct bpf_map { u64 ops; u32 key_size; u32 max_entries; }; struct bpf_array { struct bpf_map map; };",
);
const ARRAY: MapInfo = {
  address: 0x10_0000,
  valuesAddress: undefined,
  name: "",
  flags: 0,
  inner: undefined,
  fields: [],
  isFrozen: false,
  constantAt: undefined,
  btf: undefined,
  btfValueType: 0,
  maxEntries: 1,
  type: 2,
  keySize: 4,
  valueSize: 8,
};

/** The program with `access` to the map that r1 points to; the last line of the log before the statistics, or "accepted". */
function outcome(access: string, type: number, extra: Partial<ProgramEnv>): string {
  const insns = assemble(`r1 = 0x4d\n${access}\nr0 = 0\nexit`);
  if (insns instanceof AssembleError) throw new Error(insns.message);
  const verdict = verifyProgram({
    insns: insns.map((insn, index) => (index === 0 ? { ...insn, src: 1, imm: 3 } : insn)),
    programType: linuxProgramType(1, 0)!,
    helper: linuxHelper,
    map: (fd) => (fd === 3 ? { ...ARRAY, type } : EBADF),
    addressHigh: 0xffff_8881,
    license: "GPL",
    privileges: PRIVILEGED,
    log: { level: 1 },
    kernelBtf: KERNEL,
    program: undefined,
    attach: undefined,
    isSleepable: false,
    isStrictAlignment: false,
    isAnyAlignment: false,
    isStateFrequent: false,
    hasFragments: false,
    ...extra,
  });
  return verdict.ok ? "accepted" : (verdict.log.trimEnd().split("\n").at(-2) ?? "");
}

const LOAD = "r2 = *(u32 *)(r1 +12)";
const NO_PERFMON = { privileges: privilegesOf({ hasCapBpf: true, hasCapPerfmon: false }) };

test.each([
  ["a field is read", LOAD, 2, {}, "accepted"],
  ["by a program under another licence", LOAD, 2, { license: "Proprietary" }, "accepted"],
  ["nothing before it", "r2 = *(u32 *)(r1 -4)", 2, {}, "R1 is bpf_array invalid negative access: off=-4"],
  ["nothing is written", "*(u32 *)(r1 +12) = 1", 2, {}, "only read from bpf_array is supported"],
  [
    "not by loaders that may not see pointers",
    LOAD,
    2,
    NO_PERFMON,
    "'struct bpf_array' access is allowed only to CAP_PERFMON and CAP_SYS_ADMIN",
  ],
  [
    "not of a map whose structure the kernel's types lack",
    LOAD,
    1,
    {},
    "map_ptr access not supported for map type 1",
  ],
])("%s", (_, access, type, extra, expected) => {
  expect(outcome(access, type, extra)).toBe(expected);
});
