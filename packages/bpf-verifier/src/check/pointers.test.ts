/** What is computed with pointers, where an instruction says so: also by loaders that must not see them. */
import { testPairs } from "../../test/judge.ts";

const RANDOM = "call bpf_get_prandom_u32";
const found = (map: string): string =>
  `*(u64 *)(r10 -8) = 0\nr2 = r10\nr2 += -8\nr1 = map ${map}\ncall bpf_map_lookup_elem\nif r0 == 0x0 goto out`;

testPairs({ section: "socket" }, [
  {
    rule: "nothing is subtracted from the frame pointer",
    code: "r1 = r10\n…",
    accepted: "r1 += -8",
    rejected: "r1 -= 8",
    errno: "EACCES",
    message: "R1 subtraction from stack pointer prohibited",
  },
  {
    rule: "addresses are not stored by an exchange",
    lacks: "perfmon",
    code: `${found("hash")}\nr7 = r0\n…\nr1 = 0\nr0 = atomic64_cmpxchg((u64 *)(r7 +0), r0, r1)`,
    accepted: "r0 = 0",
    rejected: "r0 = r10",
    errno: "EACCES",
    message: "R0 leaks addr into mem",
  },
  {
    rule: "addresses are not cut",
    lacks: "perfmon",
    code: "…\nr1 = (s8) r1",
    accepted: "r1 = 5",
    rejected: "",
    errno: "EACCES",
    message: "R1 sign-extension part of pointer",
  },
  {
    rule: "pointers are not moved out of what they point to",
    lacks: "perfmon",
    code: "r2 = 8\nr1 = r10\n…\nr1 += r2",
    accepted: "r1 += -504",
    rejected: "r1 += -512",
    errno: "EACCES",
    message: "R1 tried to add beyond pointer bounds, pointer arithmetic with it prohibited for !root",
  },
  {
    rule: "memory that is passed is at a place that is known",
    lacks: "perfmon",
    section: "tc",
    code: `*(u64 *)(r10 -16) = 0\n*(u64 *)(r10 -8) = 0\n${RANDOM}\nr0 &= 4\nr2 = r10\n…\nr1 = map hash\ncall bpf_map_lookup_elem`,
    accepted: "r2 += -8",
    rejected: "r2 += -16\nr2 += r0",
    errno: "EACCES",
    message: "R2 variable stack access prohibited for !root, var_off=(0x0; 0x4) off=-16",
  },
  {
    rule: "casts are between the two address spaces of arenas",
    code: "r2 = map arena\nr1 = 0\n…",
    section: "tc",
    accepted: { code: "r1 = r1", fields: { 3: { off: 1, imm: 1 } } },
    rejected: { code: "r1 = r1", fields: { 3: { off: 1, imm: 2 } } },
    errno: "EINVAL",
    message: "addr_space_cast insn can only convert between address space 1 and 0",
  },
  {
    rule: "and of programs that have an arena",
    section: "tc",
    code: "…\nr1 = 0\nr1 = r1",
    fields: { 3: { off: 1, imm: 1 } },
    accepted: "r2 = map arena",
    rejected: "r2 = map hash",
    errno: "EINVAL",
    message: "addr_space_cast insn can only be used in a program that has an associated arena",
  },
  {
    rule: "loads from packets have no target",
    code: "r6 = r1\nr0 = *(u8 *)skb[0]",
    accepted: {},
    rejected: { fields: { 1: { dst: 1 } } },
    errno: "EINVAL",
    message: "BPF_LD_[ABS|IND] uses reserved fields",
  },
  {
    rule: "values are read up to their end, wherever one begins",
    code: `${found("hash")}\nr1 = *(u64 *)(r0 +0)\nr1 &= 31\nr0 += r1\n…`,
    accepted: "r0 = *(u8 *)(r0 +16)",
    rejected: "r0 = *(u8 *)(r0 +17)",
    errno: "EACCES",
    message:
      "invalid access to map value, value_size=48 off=48 size=1\nR0 max value is outside of the allowed memory range",
  },
  {
    rule: "functions that are called back return numbers",
    types: "struct word { u64 data; };",
    code: "r1 = 4\nr2 = function turn\nr3 = 0\nr4 = 0\ncall bpf_loop\nr0 = 0\nexit\nturn: …\nexit",
    accepted: "r0 = 0",
    rejected: "r0 = map hash",
    errno: "EACCES",
    message: "R0 not a scalar value",
  },
]);
