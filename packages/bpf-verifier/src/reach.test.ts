/** Pointers that are moved and compared, limits of a walk, helpers that not every program may call. */
import { testPairs } from "../test/judge.ts";

const JUMPS = `
call bpf_get_prandom_u32
r1 = 0
next: r1 += 1
…
goto next
out: r0 = 0
exit`;

testPairs({ section: "tc", maps: { operations: { type: 26, maxEntries: 1 } } }, [
  {
    rule: "an instruction loads from one kind of memory",
    code: "*(u64 *)(r10 -8) = 0\nr2 = r1\nr3 = *(u32 *)(r1 +0)\nif r3 == 0x0 goto load\n…\nload: r0 = *(u32 *)(r2 +0)",
    accepted: "r2 = r1",
    rejected: "r2 = r10\nr2 += -8",
    message: "same insn cannot be used with different pointers",
    errno: "EINVAL",
  },
  {
    rule: "addresses are not counted with in half",
    accepted: "r1 += 8",
    rejected: "w1 += 8",
    message: "R1 32-bit pointer arithmetic prohibited",
    errno: "EACCES",
  },
  {
    rule: "addresses are not subtracted from numbers",
    code: "r2 = 8\n…",
    accepted: "r1 -= r2",
    rejected: "r2 -= r1",
    message: "R2 tried to subtract pointer from scalar",
    errno: "EACCES",
  },
  {
    rule: "addresses are moved by less than half a gigabyte",
    code: "r1 = r10\nr1 += 536870911\n…",
    accepted: "r1 += -536870911",
    rejected: "r1 += 536870911",
    message: "fp pointer offset 1073741822 is not allowed",
    errno: "EINVAL",
  },
  {
    rule: "it is known what of a context is read",
    code: "r2 = *(u32 *)(r1 +0)\n…\nr1 += r2\nr0 = *(u32 *)(r1 +0)",
    accepted: "r2 = 0",
    rejected: "r2 &= 4",
    message: "variable ctx access var_off=(0x0; 0x4) disallowed",
    errno: "EACCES",
  },
  {
    rule: "contexts are passed from their beginning",
    code: "r1 += …\ncall bpf_get_hash_recalc",
    accepted: "0",
    rejected: "-4",
    message: "negative offset ctx ptr R1 off=-4 disallowed",
    errno: "EACCES",
  },
  {
    rule: "paths that are still to be walked are at most 8192",
    code: JUMPS,
    accepted: "if r0 == r1 goto out\nif r1 == 0x40 goto out",
    rejected: "if r0 == r1 goto out",
    message: "The sequence of 8193 jumps is too complex.",
    errno: "EFAULT",
  },
  {
    rule: "operations that are made of programs are no maps to them",
    code: "r1 = map …",
    accepted: "array",
    rejected: "operations",
    message: "bpf_struct_ops map cannot be used in prog",
    errno: "EINVAL",
  },
  {
    rule: "tail calls go through maps of programs",
    code: "r2 = map …\nr3 = 0\ncall bpf_tail_call",
    accepted: "programs",
    rejected: "array",
    message: "expected prog array map for tail call",
    errno: "EINVAL",
    isUnended: true,
  },
  {
    rule: "helpers that sleep are for programs that may",
    section: "kprobe",
    code: "r1 = r10\nr1 += -8\nr2 = 8\nr3 = 0\ncall bpf_copy_from_user",
    accepted: { isSleepable: true },
    rejected: {},
    message: "helper call might sleep in a non-sleepable prog",
    errno: "EINVAL",
  },
]);
