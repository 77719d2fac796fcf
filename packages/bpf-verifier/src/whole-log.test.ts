/** Whole logs of level 2, letter for letter as Linux 6.18 wrote them. */
import { expect, test } from "vitest";
import { verdictOn } from "../test/judge.ts";

/** With states remembered wherever they may be. */
function logOf(text: string): string {
  return verdictOn({ section: "socket", code: text, env: { log: { level: 2 }, isStateFrequent: true } }).log;
}

/** The function reads one slot of its caller's stack, and writes it on one of its paths. */
const CALL = `
*(u64 *)(r10 -8) = 1
*(u64 *)(r10 -16) = 2
r1 = r10
r1 += -16
call pc+3
r0 = *(u64 *)(r10 -8)
r0 = 0
exit
r0 = *(u64 *)(r1 +0)
if r0 == 0x7 goto pc+1
*(u64 *)(r1 +0) = 3
exit`;

test("what may still be read of the stack is told where a function ends and where a path ends", () => {
  expect(logOf(CALL)).toBe(`func#0 @0
func#1 @8
Live regs before insn:
      0: ..2345.... (7a) *(u64 *)(r10 -8) = 1
      1: ..2345.... (7a) *(u64 *)(r10 -16) = 2
      2: ..2345.... (bf) r1 = r10
      3: .12345.... (07) r1 += -16
      4: .12345.... (85) call pc+3
      5: .......... (79) r0 = *(u64 *)(r10 -8)
      6: .......... (b7) r0 = 0
      7: 0......... (95) exit
      8: .1........ (79) r0 = *(u64 *)(r1 +0)
      9: 01........ (15) if r0 == 0x7 goto pc+1
     10: 01........ (7a) *(u64 *)(r1 +0) = 3
     11: 0......... (95) exit
0: R1=ctx() R10=fp0
0: (7a) *(u64 *)(r10 -8) = 1          ; R10=fp0 fp-8=1
1: (7a) *(u64 *)(r10 -16) = 2         ; R10=fp0 fp-16=2
2: (bf) r1 = r10                      ; R1=fp0 R10=fp0
3: (07) r1 += -16                     ; R1=fp-16
4: (85) call pc+3
caller:
 R10=fp0 fp-8=1 fp-16=2
callee:
 frame1: R1=fp[0]-16 R10=fp0
8: frame1: R1=fp[0]-16 R10=fp0
8: (79) r0 = *(u64 *)(r1 +0)          ; frame1: R0=2 R1=fp[0]-16
9: (15) if r0 == 0x7 goto pc+1
mark_precise: frame1: last_idx 9 first_idx 9 subseq_idx -1 
mark_precise: frame1: parent state regs=r0 stack=:  frame1: R0=P2 R1=fp[0]-16 R10=fp0
mark_precise: frame0: parent state regs= stack=:  R10=fp0 fp-8=1 fp-16=2
mark_precise: frame1: last_idx 8 first_idx 8 subseq_idx 9 
mark_precise: frame1: regs=r0 stack= before 8: (79) r0 = *(u64 *)(r1 +0)
mark_precise: frame1: parent state regs= stack=:  frame1: R1=fp[0]-16 R10=fp0
mark_precise: frame0: parent state regs= stack=-16:  R10=fp0 fp-8=1 fp-16=P2
mark_precise: frame1: last_idx 4 first_idx 4 subseq_idx 8 
mark_precise: frame1: regs= stack= before 4: (85) call pc+3
mark_precise: frame0: parent state regs= stack=-16:  R1=fp-16 R10=fp0 fp-8=1 fp-16=P2
mark_precise: frame0: last_idx 3 first_idx 0 subseq_idx 4 
mark_precise: frame0: regs= stack=-16 before 3: (07) r1 += -16
mark_precise: frame0: regs= stack=-16 before 2: (bf) r1 = r10
mark_precise: frame0: regs= stack=-16 before 1: (7a) *(u64 *)(r10 -16) = 2
9: frame1: R0=2
10: (7a) *(u64 *)(r1 +0) = 3          ; frame1: R1=fp[0]-16
11: (95) exit
(4,8) frame 0 insn 10 +written -16 
(4,8) frame 0 insn 8 +live -16 
(4,8) live stack update done in 2 iterations
(0) frame 0 insn 4 +live -16 
(0) frame 0 insn 1 +written -16 
(0) frame 0 insn 0 +written -8,-16 
(0) live stack update done in 2 iterations
returning from callee:
 frame1: R0=2 R1=fp[0]-16 R10=fp0
to caller at 5:
 R0=2 R10=fp0 fp-8=1 fp-16=3

from 11 to 5: R0=2 R10=fp0 fp-8=1 fp-16=3
5: (79) r0 = *(u64 *)(r10 -8)         ; R0=1 R10=fp0 fp-8=1
6: (b7) r0 = 0                        ; R0=0
7: (95) exit
(0) frame 0 insn 5 +live -8 
(0) frame 0 insn 4 +live -8 
(0) frame 0 insn 1 +live -8 
(0) live stack update done in 2 iterations
processed 12 insns (limit 1000000) max_states_per_insn 0 total_states 5 peak_states 5 mark_read 0
`);
});
