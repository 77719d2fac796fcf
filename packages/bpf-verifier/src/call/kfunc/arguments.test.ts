/** What functions of the kernel are passed, by what their prototypes and the names of their parameters say. */
import { testPairs } from "../../../test/judge.ts";

const TYPES = `
  struct bpf_wq { u64 opaque[2]; }; struct timed { struct bpf_wq wq; }; struct other { struct bpf_wq wq; };
  struct word { u64 data; };
`;
const TEXT = { text: { type: 2, holds: "user.note\0" } };

testPairs({ section: "tc", types: TYPES }, [
  {
    rule: "functions have five parameters at most",
    code: "r1 = 1\nr2 = 2\nr3 = 3\nr4 = 4\nr5 = 5\ncall @sum",
    kfuncs: { sum: [] },
    accepted: { kernel: "int sum(u64 a, u64 b, u64 c, u64 d, u64 e);" },
    rejected: { kernel: "int sum(u64 a, u64 b, u64 c, u64 d, u64 e, u64 f);" },
    errno: "EINVAL",
    message: "Function sum has 6 > 5 args",
  },
  {
    rule: "arguments are of sizes that registers can hold, whether the call is reached or not",
    code: "r1 = 0\nif r1 == 0 goto out\ncall @sum\nout: r0 = 0\nexit",
    kfuncs: { sum: [] },
    accepted: { kernel: "int sum(u64 a);" },
    rejected: { kernel: "int sum(struct task_struct a);" },
    errno: "EINVAL",
    message: "The function sum arg0 type STRUCT is unsupported.",
  },
  {
    rule: "structures are passed by their address",
    code: "r1 = 0\ncall @sum",
    kfuncs: { sum: [] },
    accepted: { kernel: "int sum(u64 a);" },
    rejected: { kernel: "struct two { u64 a; u64 b; }; int sum(struct two a);" },
    errno: "EINVAL",
    message: "Unrecognized arg#0 type STRUCT",
  },
  {
    rule: "one parameter is the size of what is returned",
    code: "r1 = 8\nr2 = 8\ncall @take",
    kfuncs: { take: [] },
    accepted: { kernel: "int *take(u32 rdonly_buf_size, u32 more);" },
    rejected: { kernel: "int *take(u32 rdonly_buf_size, u32 rdwr_buf_size);" },
    errno: "EINVAL",
    message: "2 or more rdonly/rdwr_buf_size parameters for kfunc",
  },
  {
    rule: "which is known",
    code: "call bpf_get_prandom_u32\nr1 = r0\n…\ncall @take",
    kernel: "int *take(u32 rdonly_buf_size);",
    kfuncs: { take: [] },
    accepted: "r1 = 8",
    rejected: "",
    errno: "EINVAL",
    message: "R1 is not a const",
  },
  {
    rule: "numbers are passed for numbers",
    code: "…\nr2 = 0\ncall @bpf_task_from_pid\nif r0 == 0x0 goto out\nr1 = r0\ncall @bpf_task_release",
    section: "tp_btf",
    to: "task_newtask",
    accepted: "r1 = 1",
    rejected: "r1 = r10",
    errno: "EINVAL",
    message: "R1 is not a scalar",
  },
  {
    rule: "memory is not an object of the kernel",
    section: "tp_btf",
    to: "task_newtask",
    code: "r1 = *(u64 *)(r1 +0)\n…\ncall @bpf_task_acquire\nif r0 == 0x0 goto out\nr1 = r0\ncall @bpf_task_release",
    accepted: "",
    rejected: "r1 = r10",
    errno: "EINVAL",
    message: "arg#0 pointer type STRUCT task_struct must point to scalar, or struct with scalar",
  },
  {
    rule: "what is given back was had",
    section: "tp_btf",
    to: "task_newtask",
    code: "r1 = *(u64 *)(r1 +0)\n…\nr1 = r0\ncall @bpf_task_release",
    accepted: "call @bpf_task_acquire\nif r0 == 0x0 goto out",
    rejected: "r0 = *(u64 *)(r1 +@task_struct.last_wakee)",
    errno: "EINVAL",
    message: "R1 must be referenced or trusted",
  },
  {
    rule: "texts are in maps that do not change",
    section: "tp_btf",
    to: "cgroup_mkdir",
    maps: TEXT,
    code: `r6 = *(u64 *)(r1 +0)
r1 = value word
r2 = 8
r3 = 0
r4 = r10
r4 += -16
call bpf_dynptr_from_mem
r1 = r6
…
r3 = r10
r3 += -16
call @bpf_cgroup_read_xattr`,
    accepted: "r2 = value text",
    rejected: "r2 = r10",
    errno: "EINVAL",
    message: "arg#1 doesn't point to a const string",
  },
  {
    rule: "queues of work are in values of maps",
    code: "…\nr2 = map timed\nr3 = 0\ncall @bpf_wq_init",
    accepted: "r1 = value timed",
    rejected: "r1 = r10",
    errno: "EINVAL",
    message: "arg#0 doesn't point to a map value",
  },
  {
    rule: "and of the map that is passed",
    code: "*(u32 *)(r10 -4) = 0\nr2 = r10\nr2 += -4\nr1 = map timed\ncall bpf_map_lookup_elem\nif r0 == 0x0 goto out\nr1 = r0\n…\nr3 = 0\ncall @bpf_wq_init",
    accepted: "r2 = map timed",
    rejected: "r2 = map other",
    errno: "EINVAL",
    message: "workqueue pointer in R1 map_uid=0 doesn't match map pointer in R2 map_uid=0",
  },
  {
    rule: "a map is not memory",
    code: "…\nr1 = value timed\nr3 = 0\ncall @bpf_wq_init",
    accepted: "r2 = map timed",
    rejected: "r2 = r10",
    errno: "EINVAL",
    message: "pointer in R2 isn't map pointer",
  },
  {
    rule: "a map is not one of its values",
    code: "…\nr1 = value timed\nr3 = 0\ncall @bpf_wq_init",
    accepted: "r2 = map timed",
    rejected: "r2 = value timed",
    errno: "EINVAL",
    message: "arg#1 is map_value expected map_value or socket",
  },
  {
    rule: "what is cast to is one of the kernel's types",
    code: "r1 = 0\n…\ncall @bpf_rdonly_cast",
    accepted: "r2 = ##task_struct",
    rejected: "r2 = 99999999",
    errno: "EINVAL",
    message: "Unknown type ID 99999999 passed to kfunc bpf_rdonly_cast",
  },
  {
    rule: "iterators are on the stack",
    code: "…\nr2 = 0\nr3 = 1\ncall @bpf_iter_num_new\nr1 = r10\nr1 += -8\ncall @bpf_iter_num_destroy",
    accepted: "r1 = r10\nr1 += -8",
    rejected: "r1 = value word",
    errno: "EINVAL",
    message: "arg#0 expected pointer to an iterator on stack",
  },
  {
    rule: "dynptrs are on the stack",
    code: "r2 = 0\nr3 = r10\nr3 += -16\ncall @bpf_dynptr_from_skb\n…\ncall @bpf_dynptr_size",
    accepted: "r1 = r10\nr1 += -16",
    rejected: "r1 = value word",
    errno: "EINVAL",
    message: "arg#0 expected pointer to stack or const struct bpf_dynptr",
  },
  {
    rule: "what is read of a dynptr has a size that is known",
    code: `call bpf_get_prandom_u32
r7 = r0
r7 &= 7
r1 = r6
r2 = 0
r3 = r10
r3 += -16
call @bpf_dynptr_from_skb
r1 = r10
r1 += -16
r2 = 0
r3 = r10
r3 += -24
…
call @bpf_dynptr_slice`.replace(/^/, "r6 = r1\n"),
    accepted: "r4 = 8",
    rejected: "r4 = r7",
    errno: "EINVAL",
    message: "R4 must be a known constant",
  },
  {
    rule: "what may only be read is not written",
    code: `r2 = 0
r3 = r10
r3 += -16
call @bpf_dynptr_from_skb
r1 = r10
r1 += -16
r2 = 0
r3 = r10
r3 += -24
r4 = 8
call @bpf_dynptr_slice
if r0 == 0x0 goto out
r1 = r10
r1 += -16
r2 = 0
…
r4 = 8
call @bpf_dynptr_slice`,
    accepted: "r3 = r10\nr3 += -24",
    rejected: "r3 = r0",
    errno: "EACCES",
    message: "R3 cannot write into rdonly_mem\narg#2 arg#3 memory, len pair leads to invalid memory access",
  },
]);
