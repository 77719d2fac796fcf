/** Pointers to kernel objects in map values: how they are reached, what is put into them. */
import { testPairs } from "../../test/judge.ts";

const TYPES = `
  struct task_struct { int pid; };
  struct kept { struct task_struct *__tag(kptr) task; u64 more; };
  struct seen { struct task_struct *__tag(kptr_untrusted) task; u64 more; };
  struct numbers { u64 number[2]; };
  struct each { struct numbers *__tag(percpu_kptr) numbers; u64 more; };
  struct shared { struct numbers *__tag(uptr) user; };
  int main(void *ctx);
`;
const SEEN = "r6 = *(u64 *)(r1 +0)\nr7 = 5\nr1 = value seen\n…";
const MOVED = "r1 = value seen\nr2 = *(u32 *)(r1 +8)\n…\nr1 += r2\nr0 = *(u64 *)(r1 +0)";
const FILL = "r1 = value seen\n…\nr2 = 8\nr3 = 0\ncall bpf_probe_read_kernel#113";
const EXCHANGE = `
r1 = value …
r2 = 0
call bpf_kptr_xchg#194
if r0 == 0x0 goto out
r1 = r0
call @bpf_task_release`;
const STORAGE = `
r2 = *(u64 *)(r1 +0)
r1 = map storage
r3 = 0
r4 = 0
call bpf_task_storage_get#156
if r0 == 0x0 goto out
…`;

testPairs(
  {
    section: "tp_btf",
    to: "task_newtask",
    types: TYPES,
    maps: {
      storage: { type: 29, value: "shared", maxEntries: 0, flags: 1 },
      plain: { type: 2, valueSize: 16 },
    },
  },
  [
    {
      rule: "what a member points to is put into it",
      code: SEEN,
      accepted: "*(u64 *)(r1 +0) = r6",
      rejected: "*(u64 *)(r1 +0) = r7",
      message: "invalid kptr access, R7 type=scalar expected=ptr_task_struct or untrusted_ptr_task_struct",
      errno: "EACCES",
    },
    {
      rule: "it is known which member is read",
      code: MOVED,
      accepted: "r2 = 8",
      rejected: "r2 &= 8",
      message: "kptr access cannot have variable offset",
      errno: "EACCES",
    },
    {
      rule: "a pointer is read from its beginning",
      code: SEEN,
      accepted: "r0 = *(u64 *)(r1 +0)",
      rejected: "r0 = *(u64 *)(r1 +4)",
      message: "kptr access misaligned expected=0 off=4",
      errno: "EACCES",
    },
    {
      rule: "a pointer is read whole",
      code: SEEN,
      accepted: "r0 = *(u64 *)(r1 +0)",
      rejected: "r0 = *(u32 *)(r1 +0)",
      message: "kptr access size must be BPF_DW",
      errno: "EACCES",
    },
    {
      rule: "pointers are loaded and stored, not counted with",
      code: SEEN,
      accepted: "lock *(u64 *)(r1 +8) += r7",
      rejected: "lock *(u64 *)(r1 +0) += r7",
      message: "kptr in map can only be accessed using BPF_MEM instruction mode",
      errno: "EACCES",
    },
    {
      rule: "helpers do not write over pointers",
      code: FILL,
      accepted: "r1 += 8",
      rejected: "r1 += 0",
      message: "kptr cannot be accessed indirectly by helper",
      errno: "EACCES",
    },
    {
      rule: "pointers are exchanged in values that have types",
      code: EXCHANGE,
      accepted: "kept",
      rejected: "plain",
      message: "map 'map' has to have BTF in order to use bpf_kptr_xchg",
      errno: "EINVAL",
    },
    {
      rule: "pointers that hold what they point to are exchanged",
      code: EXCHANGE,
      accepted: "kept",
      rejected: "seen",
      message: "off=0 kptr isn't referenced kptr",
      errno: "EACCES",
    },
    {
      rule: "pointers are exchanged where one is",
      code: EXCHANGE,
      accepted: "kept",
      rejected: "kept+8",
      message: "off=8 doesn't point to kptr",
      errno: "EACCES",
    },
    {
      rule: "pointers to what each processor has are read whole",
      code: "r1 = value each\n…",
      accepted: "r0 = *(u64 *)(r1 +0)",
      rejected: "r0 = *(u32 *)(r1 +0)",
      message: "percpu_kptr access size must be BPF_DW",
      errno: "EACCES",
    },
    {
      rule: "pointers to what the user shares are read whole",
      code: STORAGE,
      accepted: "r1 = *(u64 *)(r0 +0)",
      rejected: "r1 = *(u32 *)(r0 +0)",
      message: "uptr access size must be BPF_DW",
      errno: "EACCES",
    },
    {
      rule: "what the user shares is not replaced",
      code: STORAGE,
      accepted: "r1 = *(u64 *)(r0 +0)",
      rejected: "*(u64 *)(r0 +0) = 0",
      message: "store to uptr disallowed",
      errno: "EACCES",
    },
  ],
);
