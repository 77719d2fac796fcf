/** Feature probes of helpers get Linux's answers, for every program type. */
import { BPF_PROG_TYPE, EBADF } from "@alien-ts/abi";
import { asm, program } from "@alien-ts/bpf-isa";
import { type Btf, BtfError, parseBtf, writeBtf } from "@alien-ts/btf";
import { type HelperProbe, helperProbes } from "@alien-ts/testkit";
import { expect, test } from "vitest";
import type { ProgramEnv } from "../env.ts";
import { verifyProgram } from "../verify-program.ts";
import { linuxHelper } from "./helpers.ts";
import { linuxProgramType } from "./program-types.ts";
import { PRIVILEGED } from "../privileges.ts";

/** A kernel's types, as far as a helper without arguments names one. */
function kernelTypes(): Btf {
  const btf = parseBtf(writeBtf([{ kind: "struct", name: "task_struct", size: 64, members: [] }]));
  if (btf instanceof BtfError) throw btf;
  return btf;
}
const KERNEL = kernelTypes();

function probe({ type, attachType, id }: HelperProbe): string {
  const env: ProgramEnv = {
    insns: program(asm.call(id), asm.exit()),
    programType: linuxProgramType(type, attachType)!,
    helper: (number) => linuxHelper(number, type),
    map: () => EBADF,
    addressHigh: 0xffff_8881,
    license: "GPL",
    privileges: PRIVILEGED,
    log: { level: 1 },
    kernelBtf: KERNEL,
    cpus: 2,
    program: undefined,
    attach: undefined,
    isSleepable: type === BPF_PROG_TYPE.SYSCALL,
    isStrictAlignment: false,
    isAnyAlignment: false,
    isStateFrequent: false,
    hasFragments: false,
  };
  const verdict = verifyProgram(env);
  return verdict.ok ? "ok" : verdict.errno.name;
}

test("each of 5356 probes is answered as Linux answers it", () => {
  expect(helperProbes.length).toBe(5356);
  const wrong = helperProbes.filter((row) => probe(row) !== row.answer);
  expect(wrong.map((row) => `${row.typeName} ${row.id}: ${row.answer}, not ${probe(row)}`)).toEqual([]);
});
