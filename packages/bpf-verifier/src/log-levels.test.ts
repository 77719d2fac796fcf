/** What is printed at which level, letter for letter as Linux 6.18 prints it. */
import { EBADF } from "@alien-ts/abi";
import { AssembleError, assemble } from "@alien-ts/bpf-isa";
import { expect, test } from "vitest";
import { declare } from "../test/declare.ts";
import type { ProgramBtf } from "./env.ts";
import { linuxHelper } from "./linux/helpers.ts";
import { linuxProgramType } from "./linux/program-types.ts";
import { PRIVILEGED } from "./privileges.ts";
import { verifyProgram } from "./verify-program.ts";

interface Told {
  /** Source lines, by instruction. */
  readonly lines?: Record<number, string>;
  /** Functions of the program, by their first instruction; declared in C. */
  readonly functions?: Record<string, number>;
  readonly types?: string;
  readonly license?: string;
}

function logOf(level: number, text: string, told: Told = {}): string {
  const insns = assemble(text.trim());
  if (insns instanceof AssembleError) throw new Error(`line ${insns.line}: ${insns.message}`);
  const btf = declare(told.types ?? "int main(void);");
  const functions = Object.entries(told.functions ?? {});
  const program: ProgramBtf = {
    btf,
    functions: functions.map(([name, insn]) => ({ insn, type: btf.find(name, "func")! })),
    lines: Object.entries(told.lines ?? {}).map(([insn, line], i) => ({
      insn: Number(insn),
      file: "p.c",
      text: line,
      line: i + 1,
    })),
  };
  return verifyProgram({
    insns,
    programType: linuxProgramType(1, 0)!,
    helper: (id) => linuxHelper(id, 1),
    map: () => EBADF,
    addressHigh: 0xffff_8881,
    license: told.license ?? "GPL",
    privileges: PRIVILEGED,
    log: { level },
    kernelBtf: undefined,
    program,
    attach: undefined,
    isSleepable: false,
    isStrictAlignment: false,
    isAnyAlignment: false,
    isStateFrequent: false,
    hasFragments: false,
  }).log.replace(/processed .*\n$/, "");
}

const BRANCH = `
r0 = *(u32 *)(r1 +0)
if r0 == 0x0 goto pc+2
r0 = 0
exit
r2 = r3
exit`;

test("at level 1 a path that is refused follows the jump that led to it", () => {
  expect(logOf(1, BRANCH)).toBe(`0: R1=ctx() R10=fp0
0: (61) r0 = *(u32 *)(r1 +0)          ; R0=scalar(smin=0,smax=umax=0xffffffff,var_off=(0x0; 0xffffffff)) R1=ctx()
1: (15) if r0 == 0x0 goto pc+2 4: R0=0 R1=ctx() R10=fp0
4: (bf) r2 = r3
R3 !read_ok
`);
});

const GLOBAL = { types: "int main(void); global int g(void);", functions: { main: 0, g: 3 } };

test("at level 1 the last global function that was found good is named", () => {
  const text = "call pc+2\nr0 = 0\nexit\nr0 = 0\nexit";
  expect(logOf(1, text, GLOBAL)).toBe("Func#1 ('g') is safe for any args that match its prototype\n");
});

test("at level 4 there are messages, but no instructions", () => {
  const text = "call pc+2\nr0 = r5\nexit\nr0 = 0\nexit";
  const statistics = "verification time 0 usec\nstack depth 0+0\n";
  expect(logOf(4, text, GLOBAL)).toBe(
    `Func#1 ('g') is global and assumed valid.\nR5 !read_ok\n${statistics}`,
  );
});

const context = "invalid bpf_context access off=4000 size=4";

test("a refused access to the context names its line where instructions are not printed", () => {
  const text = "r0 = *(u32 *)(r1 +4000)\nexit";
  const lines = { 0: "return ctx->nothing;" };
  expect(logOf(4, text, { lines })).toContain(`${context}\n; return ctx->nothing; @ p.c:1\n`);
  expect(logOf(1, text, { lines })).toMatch(new RegExp(`${context}\n$`));
});

test("a refused spill and fill name their line before", () => {
  const lines = { 0: "int kept = ctx;" };
  for (const [text, what] of [
    ["*(u32 *)(r10 -8) = r1\nr0 = 0\nexit", "spill"],
    ["*(u64 *)(r10 -8) = r1\nr0 = *(u32 *)(r10 -8)\nr0 = 0\nexit", "fill"],
  ] as const)
    expect(logOf(4, text, { lines })).toMatch(
      new RegExp(`^; int kept = ctx; @ p.c:1\ninvalid size of register ${what}\n`),
    );
});

test("the line at which a loop never ends is told", () => {
  const text = "r0 = 0\nr0 ^= 1\nif r0 < 2 goto pc-2\nexit";
  const log = logOf(2, text, { lines: { 0: "int i = 0;", 1: "for (;;)", 2: "if (i < 2)" } });
  expect(log).toContain("; for (;;) @ p.c:2\ninfinite loop detected at insn 1\n");
});
