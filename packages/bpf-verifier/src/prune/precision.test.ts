/** What is precise in a state that is found again is precise in all states of the path that found it. */
import { expect, test } from "vitest";
import { verdictOn } from "../../test/judge.ts";

/** Three paths reach the first `if r8`: with r7 up to 3, up to 1 (and another r9), and 256. r7 is an offset into the stack at the end. */
const PROGRAM = `
call bpf_get_prandom_u32#7
r6 = r0
call bpf_get_prandom_u32#7
r8 = r0
r7 = 256
r9 = -16
if r6 == 0x1 goto pc+7
r7 = r8
r7 &= 1
if r6 == 0x2 goto pc+4
r7 = r8
r7 &= 3
r9 = -8
if r8 == 0x0 goto pc+0
if r8 == 0x7 goto pc+0
r1 = r10
r1 += r9
*(u64 *)(r1 +0) = 0
r9 = 0
if r8 == 0x8 goto pc+0
r1 = r10
r1 += r7
r0 = *(u8 *)(r1 -16)
r0 = 0
exit`;

/** With states remembered wherever they may be. */
function verify(text: string): { readonly ok: boolean; readonly log: string } {
  return verdictOn({ section: "socket", code: text, env: { log: { level: 2 }, isStateFrequent: true } });
}

test("an offset that a path found good does not stand for one beyond the stack", () => {
  const { ok, log } = verify(PROGRAM);
  expect(log).toContain("frame 0: propagating r7");
  expect(ok).toBe(false);
  expect(log).toContain("invalid read from stack R1 off=240 size=1");
});

test("an offset that was fetched from the stack is as precise as what was stored there", () => {
  const { ok } = verify(`
call bpf_get_prandom_u32#7
r9 = r0
r9 &= 255
call bpf_get_prandom_u32#7
r7 = r0
if r7 == 0x0 goto pc+1
r9 &= 7
if r7 == 0x5 goto pc+0
*(u64 *)(r10 -64) = r9
r0 = 0
r0 = atomic64_cmpxchg((u64 *)(r10 -64), r0, r9)
r1 = r10
r1 += r0
*(u8 *)(r1 -16) = 0
r0 = 0
exit`);
  expect(ok).toBe(false);
});
