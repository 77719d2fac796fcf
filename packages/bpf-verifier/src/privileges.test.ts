/**
 * Rules for loaders without CAP_PERFMON, and without CAP_BPF too, as pairs of programs: one that keeps the rule and one that
 * breaks it, with the message of Linux 6.18.
 */
import { testPairs } from "../test/judge.ts";

const LOOKUP = `*(u64 *)(r10 -8) = 0
r2 = r10
r2 += -8
r1 = map hash
call bpf_map_lookup_elem`;
const VALUE = `r6 = r1\n${LOOKUP}\nif r0 != 0x0 goto pc+1\nexit`;
const ELEMENT = LOOKUP.replace("hash", "array").replace("u64", "u32");
const LOAD_BYTES = "r1 = r6\nr2 = 0\nr3 = r10\nr3 += -8\nr4 = 8\ncall bpf_skb_load_bytes";
const PROHIBITED = "pointer arithmetic with it prohibited for !root";
const MAPS = { others: { type: 3, maxEntries: 8 } };

testPairs({ section: "socket", lacks: "perfmon", maps: MAPS }, [
  {
    rule: "no address is returned",
    errno: "EACCES",
    accepted: `r0 = *(u32 *)(r1 +0)\nexit`,
    rejected: `r0 = r10\nexit`,
    message: "R0 leaks addr as return value",
  },
  {
    rule: "no address is stored in a map",
    errno: "EACCES",
    accepted: `${VALUE}\n*(u64 *)(r0 +0) = 1`,
    rejected: `${VALUE}\n*(u64 *)(r0 +0) = r10`,
    message: "R10 leaks addr into map",
  },
  {
    rule: "no helper is given what nobody wrote, beside a number in a part of a slot",
    errno: "EACCES",
    section: "tc",
    accepted: `${LOOKUP}`,
    rejected: `${LOOKUP.replace("u64", "u32")}`,
    message: "invalid read from stack R2 off -8+4 size 8",
  },
  {
    rule: "no address is stored in a context",
    errno: "EACCES",
    section: "tc",
    accepted: `r2 = 1\n*(u32 *)(r1 +8) = r2`,
    rejected: `*(u64 *)(r1 +48) = r1`,
    message: "R1 leaks addr into ctx",
  },
  {
    rule: "no address is added atomically",
    errno: "EACCES",
    accepted: `${VALUE}\nr1 = 1\nlock *(u64 *)(r0 +0) += r1`,
    rejected: `${VALUE}\nlock *(u64 *)(r0 +0) += r6`,
    message: "R6 leaks addr into mem",
  },
  {
    rule: "no address is an argument of any kind",
    errno: "EACCES",
    section: "tc",
    accepted: `r1 = 1\nr2 = 0\ncall bpf_redirect`,
    rejected: `r2 = 0\ncall bpf_redirect`,
    message: "R1 leaks addr into helper function",
  },
  {
    rule: "addresses are compared with NULL alone",
    errno: "EACCES",
    accepted: `${LOOKUP}\nif r0 == 0x0 goto pc+0`,
    rejected: `if r1 == 0x7 goto pc+0`,
    message: "R1 pointer comparison prohibited",
  },
  {
    rule: "addresses are not subtracted",
    errno: "EACCES",
    accepted: `r2 = 4\nr2 -= 1`,
    rejected: `r2 = r10\nr2 -= r10`,
    message: "R2 pointer -= pointer prohibited",
  },
  {
    rule: "addresses are not copied in part",
    errno: "EACCES",
    accepted: `r2 = 1\nw3 = w2`,
    rejected: `w3 = w1`,
    message: "R1 partial copy of pointer",
  },
  {
    rule: "addresses are not negated",
    errno: "EACCES",
    accepted: `r2 = 1\nr2 = -r2`,
    rejected: `r1 = -r1`,
    message: "R1 pointer arithmetic prohibited",
  },
  {
    rule: "what was never written is not read",
    errno: "EACCES",
    accepted: `*(u64 *)(r10 -8) = 1\nr2 = *(u64 *)(r10 -8)`,
    rejected: `*(u32 *)(r10 -8) = 1\nr2 = *(u64 *)(r10 -8)`,
    message: "invalid read from stack off -8+4 size 8",
  },
  {
    rule: "what is below all that was written is not read",
    errno: "EACCES",
    accepted: `*(u64 *)(r10 -16) = 1\nr2 = *(u64 *)(r10 -16)`,
    rejected: `*(u64 *)(r10 -8) = 1\nr2 = *(u64 *)(r10 -16)`,
    message: "invalid read from stack R10 off=-16 size=8",
  },
  {
    rule: "a spilled pointer is not overwritten in part",
    errno: "EACCES",
    accepted: `*(u64 *)(r10 -8) = r1\n*(u64 *)(r10 -8) = 0`,
    rejected: `*(u64 *)(r10 -8) = r1\n*(u32 *)(r10 -8) = 0`,
    message: "attempt to corrupt spilled pointer on stack",
  },
  {
    rule: "a helper fills no slot that holds a pointer, be it the whole of it",
    errno: "EACCES",
    accepted: `r6 = r1\n*(u64 *)(r10 -8) = 0\n${LOAD_BYTES}`,
    rejected: `r6 = r1\n*(u64 *)(r10 -8) = r6\n${LOAD_BYTES}`,
    message: "attempt to corrupt spilled pointer on stack",
  },
  {
    rule: "a spilled pointer is not exchanged for a number",
    errno: "EACCES",
    accepted: `*(u64 *)(r10 -8) = 0\nr2 = 1\nr2 = atomic64_fetch_add((u64 *)(r10 -8), r2)`,
    rejected: `*(u64 *)(r10 -8) = r1\nr2 = 1\nr2 = atomic64_fetch_add((u64 *)(r10 -8), r2)`,
    message: "leaking pointer from stack off -8",
  },
  {
    rule: "pointers stay on the stack",
    errno: "EACCES",
    accepted: `r2 = r10\nr2 += -512`,
    rejected: `r2 = r10\nr2 += -513`,
    message: "R2 stack pointer arithmetic goes out of range, prohibited for !root; off=-513",
  },
  {
    rule: "pointers to the stack are where everybody knows",
    errno: "EACCES",
    accepted: `r2 = r10\nr3 = -8\nr2 += r3`,
    rejected: `r3 = *(u32 *)(r1 +0)\nr3 &= 8\nr3 += -16\nr2 = r10\nr2 += r3`,
    message: "R2 variable stack access prohibited for !root, var_off=(0xfffffffffffffff0; 0x8) off=-16",
  },
  {
    rule: "pointers stay in their value",
    errno: "EACCES",
    accepted: `${VALUE}\nr0 += 47`,
    rejected: `${VALUE}\nr0 += 48`,
    message: "R0 pointer arithmetic of map value goes out of range, prohibited for !root",
  },
  {
    rule: "only what has a size is added to",
    errno: "EACCES",
    accepted: `${VALUE}\nr1 = *(u8 *)(r0 +0)\nr1 &= 7\nr0 += r1`,
    rejected: `r2 = *(u32 *)(r1 +0)\nr1 += r2`,
    message: `R1 has pointer with unsupported alu operation, ${PROHIBITED}`,
  },
  {
    rule: "what is added has one sign",
    errno: "EACCES",
    accepted: `${VALUE}\nr1 = *(u8 *)(r0 +0)\nr1 &= 7\nr0 += r1`,
    rejected: `${VALUE}\nr1 = *(s8 *)(r0 +0)\nr0 += r1`,
    message: `R1 has unknown scalar with mixed signed bounds, ${PROHIBITED}`,
  },
  {
    rule: "a sum is one of pointers or one of numbers",
    errno: "EACCES",
    accepted: `${VALUE}\nr1 = *(u8 *)(r0 +0)\nr1 &= 1\nr2 = *(u8 *)(r0 +1)\nif r2 == 0x0 goto pc+1\nr0 += 4\nr0 += r1`,
    rejected: `${VALUE}\nr1 = *(u8 *)(r0 +0)\nr1 &= 1\nr2 = *(u8 *)(r0 +1)\nif r2 == 0x0 goto pc+1\nr0 = 4\nr0 += r1`,
    message: `R0 tried to add from different maps, paths or scalars, ${PROHIBITED}`,
  },
  {
    rule: "helpers of CAP_PERFMON are for those who have it",
    errno: "EINVAL",
    accepted: `call bpf_get_prandom_u32`,
    rejected: `call bpf_get_current_task`,
    message: "program of this type cannot use helper bpf_get_current_task#35",
  },
  {
    rule: "a tail call has one map",
    errno: "EINVAL",
    accepted: `r2 = map programs\nr3 = 1\ncall bpf_tail_call`,
    rejected: `r6 = r1\nr0 = *(u32 *)(r1 +0)\nr2 = map programs\nif r0 == 0x0 goto pc+2\nr2 = map others\nr1 = r6\nr3 = 1\ncall bpf_tail_call`,
    message: "tail_call abusing map_ptr",
  },
  {
    rule: "arenas are for those who may do everything",
    errno: "EPERM",
    accepted: `r1 = map hash`,
    rejected: `r1 = map arena`,
    message: "CAP_BPF and CAP_PERFMON are required to use arena",
  },
  {
    rule: "packets that moved leave nothing behind",
    errno: "EACCES",
    section: "tc",
    accepted: `r6 = *(u32 *)(r1 +76)\nr2 = 0\ncall bpf_skb_pull_data`,
    rejected: `r6 = *(u32 *)(r1 +76)\nr2 = 0\ncall bpf_skb_pull_data\nr0 = r6`,
    message: "R6 !read_ok",
  },
]);

testPairs({ section: "socket", lacks: "bpf" }, [
  {
    rule: "jumps lead forward",
    errno: "EINVAL",
    accepted: `r0 = 2\nif r0 != 0x0 goto pc+0`,
    rejected: `r0 = 2\nr0 += -1\nif r0 != 0x0 goto pc-2\nexit`,
    message: "back-edge from insn 2 to 1",
  },
  {
    rule: "jumps that may end loops are no exception, and what follows one is looked at first",
    errno: "EINVAL",
    accepted: `r0 = 2\nmay_goto pc+1\nr0 = 3`,
    rejected: `r0 = 2\nmay_goto pc-1\nif r0 > 0xa goto pc-2`,
    message: "back-edge from insn 2 to 1",
  },
  {
    rule: "a lookup in an array may fail, whatever the key",
    errno: "EACCES",
    accepted: `${ELEMENT}\nif r0 == 0x0 goto pc+1\nr0 = *(u8 *)(r0 +0)`,
    rejected: `${ELEMENT}\nr0 = *(u8 *)(r0 +0)`,
    message: "R0 invalid mem access 'map_value_or_null'",
  },
  {
    rule: "programs have one function",
    errno: "EPERM",
    accepted: "",
    rejected: `call pc+1\nexit`,
    message: "loading/calling other bpf or kernel functions are allowed for CAP_BPF and CAP_SYS_ADMIN",
  },
  {
    rule: "helpers of CAP_BPF are for those who have it",
    errno: "EINVAL",
    accepted: `call bpf_get_current_uid_gid`,
    rejected: `call bpf_jiffies64`,
    message: "program of this type cannot use helper bpf_jiffies64#118",
  },
  {
    rule: "packets of cgroups are not read directly",
    errno: "EACCES",
    section: "cgroup_skb/ingress",
    accepted: `r0 = *(u32 *)(r1 +0)`,
    rejected: `r0 = *(u32 *)(r1 +76)`,
    message: "invalid bpf_context access off=76 size=4",
  },
  {
    rule: "times of packets are not written",
    errno: "EACCES",
    section: "cgroup_skb/ingress",
    accepted: `r0 = *(u64 *)(r1 +152)`,
    rejected: `r0 = 0\n*(u64 *)(r1 +152) = r0`,
    message: "invalid bpf_context access off=152 size=8",
  },
]);
