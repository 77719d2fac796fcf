/**
 * Loops: what is needed after one turn is needed in all states of the loop, and a loop that turns for ever is refused. Programs
 * have labels; `call @name` is a kernel function, `r2 = &label` the address of a function of the program.
 */
import { EBADF } from "@alien-ts/abi";
import { AssembleError, assemble } from "@alien-ts/bpf-isa";
import type { Insn } from "@alien-ts/bpf-isa";
import { expect, test } from "vitest";
import { declare } from "../../test/declare.ts";
import { linuxHelper } from "../linux/helpers.ts";
import { linuxKfunc } from "../linux/kfuncs.ts";
import { linuxProgramType } from "../linux/program-types.ts";
import { PRIVILEGED } from "../privileges.ts";
import { verifyProgram } from "../verify-program.ts";
import type { Verdict } from "../verdict.ts";

const KERNEL = declare(`
  struct bpf_iter_num { u64 opaque[1]; };
  int bpf_iter_num_new(struct bpf_iter_num *it, int start, int end);
  int *bpf_iter_num_next(struct bpf_iter_num *it);
  void bpf_iter_num_destroy(struct bpf_iter_num *it);
`);
const PROGRAM = declare("struct ctx { u32 a; }; int main(struct ctx *c); int turn(u32 index, void *data);");
const KFUNC = 0x4b00_0000;
const ADDRESS = 0x4641_0000;

/** Slots of the labels, and the lines without them. */
function labels(text: string): {
  readonly lines: readonly string[];
  readonly at: ReadonlyMap<string, number>;
} {
  const at = new Map<string, number>();
  const lines: string[] = [];
  let slot = 0;
  for (const line of text.trim().split("\n")) {
    if (line.endsWith(":")) {
      at.set(line.slice(0, -1), slot);
      continue;
    }
    lines.push(line);
    slot += line.includes("&") ? 2 : 1;
  }
  return { lines, at };
}

function programOf(text: string): Insn[] {
  const { lines, at } = labels(text);
  let slot = 0;
  const resolved = lines.map((line) => {
    slot += line.includes("&") ? 2 : 1;
    return line
      .replace(/goto (\w+)$/, (_, name: string) => {
        const distance = at.get(name)! - slot;
        return `goto pc${distance < 0 ? "" : "+"}${distance}`;
      })
      .replace(/&(\w+)/, (_, name: string) => `0x${(ADDRESS + at.get(name)! - slot + 1).toString(16)}`)
      .replace(/call @(\w+)/, (_, name: string) => `call a#${KFUNC + KERNEL.find(name, "func")!}`);
  });
  const insns = assemble(resolved.join("\n"));
  if (insns instanceof AssembleError) throw new Error(`line ${insns.line}: ${insns.message}`);
  return insns.map((insn) => {
    if (insn.opcode === 0x85 && insn.imm >= KFUNC) return { ...insn, src: 2, imm: insn.imm - KFUNC };
    return insn.opcode === 0x18 ? { ...insn, src: 4, imm: insn.imm - ADDRESS } : insn;
  });
}

function verify(text: string): Verdict {
  const { at } = labels(text);
  const record = (insn: number, name: string): { readonly insn: number; readonly type: number } => ({
    insn,
    type: PROGRAM.find(name, "func")!,
  });
  const functions = text.includes("&turn") ? [record(0, "main"), record(at.get("turn")!, "turn")] : [];
  return verifyProgram({
    insns: programOf(text),
    programType: linuxProgramType(3, 0)!,
    helper: linuxHelper,
    kfunc: (id) => KERNEL.type(id)?.name,
    kfuncRules: linuxKfunc,
    map: () => EBADF,
    addressHigh: 0xffff_8881,
    license: "GPL",
    privileges: PRIVILEGED,
    log: { level: 2 },
    kernelBtf: KERNEL,
    program: { btf: PROGRAM, functions, lines: [] },
    attach: undefined,
    isSleepable: false,
    isStrictAlignment: false,
    isAnyAlignment: false,
    isStateFrequent: false,
    hasFragments: false,
  });
}

/** Each turn may clear one of two numbers. After the loop a load is bad where both are `end`. */
const iterated = (end: number): string => `
*(u64 *)(r10 -16) = 1
*(u64 *)(r10 -24) = 1
r1 = r10
r1 += -8
r2 = 0
r3 = 10
call @bpf_iter_num_new
turn:
r1 = r10
r1 += -8
call @bpf_iter_num_next
if r0 == 0x0 goto done
call bpf_get_prandom_u32#7
if r0 == 0x1 goto first
if r0 == 0x2 goto second
goto turn
first:
*(u64 *)(r10 -16) = 0
goto turn
second:
*(u64 *)(r10 -24) = 0
goto turn
done:
r1 = r10
r1 += -8
call @bpf_iter_num_destroy
r0 = 0
r1 = *(u64 *)(r10 -16)
if r1 != ${end} goto out
r1 = *(u64 *)(r10 -24)
if r1 != ${end} goto out
r0 = *(u64 *)(r10 -1024)
out:
exit`;

const calledBack = (end: number): string => `
*(u64 *)(r10 -8) = 1
*(u64 *)(r10 -16) = 1
r1 = 2
r2 = &turn
r3 = r10
r3 += -16
r4 = 0
call bpf_loop#181
r0 = 0
r1 = *(u64 *)(r10 -8)
if r1 != ${end} goto out
r1 = *(u64 *)(r10 -16)
if r1 != ${end} goto out
r0 = *(u64 *)(r10 -1024)
out:
exit
turn:
r6 = r2
call bpf_get_prandom_u32#7
r1 = r0
r0 = 0
if r1 == 0x1 goto first
if r1 == 0x2 goto second
exit
first:
*(u64 *)(r6 +0) = 0
exit
second:
*(u64 *)(r6 +8) = 0
exit`;

const mayLoop = (end: number): string => `
*(u64 *)(r10 -8) = 1
*(u64 *)(r10 -16) = 1
turn:
may_goto out
call bpf_get_prandom_u32#7
if r0 == 0x1 goto first
if r0 == 0x2 goto second
goto turn
first:
*(u64 *)(r10 -8) = 0
goto turn
second:
*(u64 *)(r10 -16) = 0
goto turn
out:
r0 = 0
r1 = *(u64 *)(r10 -8)
if r1 != ${end} goto end
r1 = *(u64 *)(r10 -16)
if r1 != ${end} goto end
r0 = *(u64 *)(r10 -1024)
end:
exit`;

test.each([
  ["an iterator", iterated],
  ["a helper that calls back", calledBack],
  ["may_goto", mayLoop],
])("what two turns of a loop by %s do together is found", (_, loop) => {
  const bad = verify(loop(0));
  expect(bad.ok).toBe(false);
  expect(bad.log).toContain("invalid read from stack R10 off=-1024 size=8");
  expect(verify(loop(7)).ok).toBe(true);
});

test("loops have numbers, later ones lower, and a visit ends when all its paths did", () => {
  const { ok, log } = verify(`
r6 = 0
outer:
r7 = 0
inner:
r7 += 1
if r7 < 2 goto inner
r6 += 1
if r6 < 2 goto outer
again:
may_goto away
r1 = 1
goto again
away:
r0 = 0
exit`);
  expect(ok).toBe(true);
  expect(log).toContain(`Live regs before insn:
      0: .......... (b7) r6 = 0
  2   1: ......6... (b7) r7 = 0
  2   2: ......67.. (07) r7 += 1
  2   3: ......67.. (a5) if r7 < 0x2 goto pc-2
  2   4: ......6... (07) r6 += 1
  2   5: ......6... (a5) if r6 < 0x2 goto pc-5
  1   6: .......... (e5) may_goto pc+2
  1   7: .......... (b7) r1 = 1
  1   8: .......... (05) goto pc-3
      9: .......... (b7) r0 = 0
     10: 0......... (95) exit
`);
  expect(log).toContain(`8: (05) goto pc-3
SCC backedge (1)
6: safe
SCC exit (1)
SCC exit (2)
processed 21 insns (limit 1000000) max_states_per_insn 1 total_states 2 peak_states 3 mark_read 0
`);
});

test("a loop that never ends is refused where its state comes back", () => {
  const { ok, log } = verify(`
r6 = 0
turn:
r6 ^= 1
if r6 < 2 goto turn
r0 = 0
exit`);
  expect(ok).toBe(false);
  expect(log).toContain(`infinite loop detected at insn 1
cur state: R1=ctx() R6=1 R10=fp0
old state: R1=ctx() R6=P1 R10=fp0
processed 12 insns`);
});

test("a number that was tied to another a turn ago and is not now is unknown in the next turn", () => {
  const { ok, log } = verify(`
r7 = r10
call bpf_get_prandom_u32#7
r6 = r0
r1 = r10
r1 += -8
r2 = 0
r3 = 10
call @bpf_iter_num_new
turn:
r1 = r10
r1 += -8
call @bpf_iter_num_next
if r0 == 0x0 goto done
r6 += 1
if r6 != 0x2a goto other
r7 = 7
goto turn
other:
r1 = r7
goto turn
done:
r1 = r10
r1 += -8
call @bpf_iter_num_destroy
r0 = 0
exit`);
  expect(ok).toBe(true);
  // Two numbers 42 of which one is still tied to what it was made from are not the same: no turn counts on from 42.
  expect(log).toContain("R6=42");
  expect(log).not.toContain("R6=43");
});
