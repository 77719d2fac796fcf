/** Programs judged with the types of alien's own kernel; and that its rows say what Linux does. */
import { asm, encode, type Insn } from "@alien-ts/bpf-isa";
import { linuxKfunc } from "@alien-ts/bpf-verifier";
import { type Btf, parseBtf } from "@alien-ts/btf";
import { kernelBtf, kernelCoverage } from "@alien-ts/kernel";
import { expect, test } from "vitest";
import { verifyLine } from "./raw.ts";

const btf = parseBtf(kernelBtf()) as Btf;
const verdict = (line: object): Record<string, unknown> =>
  JSON.parse(
    verifyLine(JSON.stringify(line), { kernelBtf: btf, programBtf: new Map(), logLevel: 2 }),
  ) as Record<string, unknown>;
const hex = (...insns: readonly Insn[]): string => Buffer.from(encode(insns)).toString("hex");

test("a program on a tracepoint of alien's kernel knows what it is given", () => {
  const insns = hex(asm.load(8, 1, 1, 8), asm.load(4, 0, 1, 8), asm.exit());
  const { verdict: said, log } = verdict({
    insns,
    prog_type: 26,
    expected_attach_type: 23,
    attach_func: "sched_switch",
  });
  expect([said, log]).toEqual(["ACCEPT", expect.stringContaining("R1=trusted_ptr_task_struct()")]);
});

test("a function of alien's kernel may be called", () => {
  const insns = hex(asm.callKfunc(0), asm.callKfunc(0), asm.movImm(0, 0), asm.exit());
  const fixup_kfunc = [
    { insn: 0, kfunc: "bpf_rcu_read_lock" },
    { insn: 1, kfunc: "bpf_rcu_read_unlock" },
  ];
  expect(verdict({ insns, prog_type: 5, fixup_kfunc })).toMatchObject({ verdict: "ACCEPT" });
});

test("functions that programs may call have Linux's flags", () => {
  const rows = kernelCoverage().filter(({ kfunc }) => kfunc !== undefined);
  expect(rows.length).toBeGreaterThan(0);
  const differing = rows.filter(
    ({ name, kfunc = [] }) =>
      [...(linuxKfunc(name)?.flags ?? [])].toSorted().join() !== [...kfunc].toSorted().join(),
  );
  expect(differing).toEqual([]);
});
