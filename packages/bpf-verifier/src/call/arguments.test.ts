/** What helpers are passed, and in which programs they know where they are. */
import { testPairs } from "../../test/judge.ts";

const TYPES = `
  struct task_struct { int pid; };
  struct kept { u64 before; struct task_struct *__tag(kptr) task; };
  struct seen { struct task_struct *__tag(kptr_untrusted) task; };
  struct numbers { u64 a; u64 b; };
  struct bpf_timer { u64 opaque[2]; }; struct timed { struct bpf_timer timer; u64 more; };
`;
const MAPS = {
  strings: { type: 1, valueSize: 8, flags: 0x80, more: { isFrozen: true } },
  queue: { type: 22, keySize: 0, valueSize: 8 },
  timers: { type: 1, value: "timed" },
  text: { type: 2, holds: "task\0" },
  endless: { type: 2, holds: "task" },
  plain: { type: 2, valueSize: 16 },
};
const TASK = "r6 = *(u64 *)(r1 +0)";
const FRAME = "*(u64 *)(r10 -8) = 0\nr1 = r10\nr1 += -8";
const RELEASE = "if r0 == 0x0 goto out\nr1 = r0\ncall @bpf_task_release";
const RANDOM = "call bpf_get_prandom_u32\nr0 &= 1";

testPairs({ section: "tp_btf", to: "task_newtask", types: TYPES, maps: MAPS }, [
  {
    rule: "objects of the kernel are not written",
    code: `${TASK}\n…\nr2 = 4\nr3 = 0\ncall bpf_probe_read_kernel`,
    accepted: FRAME,
    rejected: "r1 = r6",
    errno: "EACCES",
    message: "bpf_probe_read_kernel() may write into memory pointed by R1 type=trusted_ptr_",
  },
  {
    rule: "objects that are passed are there",
    code: "r1 = 1\ncall @bpf_task_from_pid\n…\nr1 = value kept+8\nr2 = r0\ncall bpf_kptr_xchg\n" + RELEASE,
    accepted: "if r0 == 0x0 goto out",
    rejected: "",
    errno: "EACCES",
    message: "Possibly NULL pointer passed to helper arg2",
  },
  {
    rule: "pointers are exchanged at places that are known",
    code: `${RANDOM}\nr0 <<= 3\n…\nr2 = 0\ncall bpf_kptr_xchg\n${RELEASE}`,
    accepted: "r1 = value kept+8",
    rejected: "r1 = value kept\nr1 += r0",
    errno: "EINVAL",
    message: "R1 doesn't have constant offset. kptr has to be at the constant offset",
  },
  {
    rule: "values have pointers to exchange",
    code: `…\nr2 = 0\ncall bpf_kptr_xchg\n${RELEASE}`,
    accepted: "r1 = value kept+8",
    rejected: "r1 = value numbers+8",
    errno: "EINVAL",
    message: "R1 has no valid kptr",
  },
  {
    rule: "pointers are set to NULL by a store, to nothing else",
    code: "r1 = value seen\n…",
    accepted: "*(u64 *)(r1 +0) = 0",
    rejected: "*(u64 *)(r1 +0) = 8",
    errno: "EACCES",
    message: "BPF_ST imm must be 0 when storing to kptr at off=0",
  },
  {
    rule: "texts are in maps that do not change",
    code: `${FRAME}\nr2 = 8\n…\ncall bpf_strncmp`,
    accepted: "r3 = value text",
    rejected: "r3 = value plain",
    errno: "EACCES",
    message: "R3 does not point to a readonly map'",
  },
  {
    rule: "texts begin at a place that is known",
    code: `${RANDOM}\nr6 = r0\n${FRAME}\nr2 = 8\nr3 = value text\n…\ncall bpf_strncmp`,
    accepted: "r3 += 1",
    rejected: "r3 += r6",
    errno: "EACCES",
    message: "R3 is not a constant address'",
  },
  {
    rule: "texts end",
    code: `${FRAME}\nr2 = 8\n…\ncall bpf_strncmp`,
    accepted: "r3 = value text",
    rejected: "r3 = value endless",
    errno: "EINVAL",
    message: "string is not zero-terminated",
  },
  {
    rule: "dynptrs are made over values of maps",
    code: "…\nr2 = 8\nr3 = 0\nr4 = r10\nr4 += -24\ncall bpf_dynptr_from_mem",
    accepted: "r1 = value numbers",
    rejected: FRAME,
    errno: "EACCES",
    message: "Unsupported reg type fp for bpf_dynptr_from_mem data",
  },
  {
    rule: "programs of functions know where they are",
    code: "call bpf_get_func_ip",
    accepted: { section: "fentry", to: "vfs_read" },
    rejected: {},
    errno: "ENOTSUPP",
    message: "func bpf_get_func_ip#173 supported only for fentry/fexit/fmod_ret programs",
  },
  {
    rule: "so do those of probes, not those of tracepoints",
    code: "call bpf_get_func_ip",
    accepted: { section: "kprobe", to: undefined },
    rejected: { section: "tracepoint", to: undefined },
    errno: "ENOTSUPP",
    message: "func bpf_get_func_ip#173 not supported for program type 5",
  },
  {
    rule: "objects that are passed are of the type that is wanted",
    to: "sched_process_exec",
    code: "…\nr2 = r10\nr2 += -8\nr3 = 8\nr4 = 0\ncall bpf_get_task_stack",
    accepted: "r1 = *(u64 *)(r1 +0)",
    rejected: "r1 = *(u64 *)(r1 +16)",
    errno: "EACCES",
    message: "R1 is of type linux_binprm but task_struct is expected",
  },
  {
    rule: "pointers are exchanged for pointers to the same",
    to: "cgroup_mkdir",
    code: `r1 = *(u64 *)(r1 +0)\ncall @bpf_cgroup_acquire\nif r0 == 0x0 goto out\nr6 = r0\n…\nr1 = r6\ncall @bpf_cgroup_release`,
    accepted: "",
    rejected: "r1 = value kept+8\nr2 = r6\ncall bpf_kptr_xchg",
    errno: "EACCES",
    message: "invalid kptr access, R2 type=ptr_cgroup expected=ptr_task_struct",
  },
  {
    rule: "texts are in maps whose values can be addressed",
    code: `*(u32 *)(r10 -12) = 0\nr2 = r10\nr2 += -12\nr1 = map strings\ncall bpf_map_lookup_elem\nif r0 == 0x0 goto out\n${FRAME}\nr2 = 8\n…\ncall bpf_strncmp`,
    accepted: "r3 = value text",
    rejected: "r3 = r0",
    errno: "EACCES",
    message: "no direct value access support for this map type",
  },
  {
    rule: "texts begin in their map",
    code: `${FRAME}\nr2 = 8\nr3 = value text\n…\ncall bpf_strncmp`,
    accepted: "r3 += 4",
    rejected: "r3 += 100",
    errno: "EACCES",
    message:
      "invalid access to map value, value_size=5 off=100 size=-95\nR3 min value is outside of the allowed memory range",
  },
  {
    rule: "keys have a size",
    code: `${FRAME}\nr2 = r1\n…\ncall bpf_map_lookup_elem`,
    accepted: "r1 = map hash",
    rejected: "r1 = map queue",
    errno: "EACCES",
    message: "invalid zero-sized read",
  },
]);

testPairs({ section: "tc", types: TYPES, maps: MAPS }, [
  {
    rule: "timers are at places that are known",
    code: `${RANDOM}\nr0 <<= 3\nr1 = value timed\n…\nr2 = map timed\nr3 = 1\ncall bpf_timer_init`,
    accepted: "",
    rejected: "r1 += r0",
    errno: "EINVAL",
    message: "R1 doesn't have constant offset. bpf_timer has to be at the constant offset",
  },
  {
    rule: "timers are in maps whose types are known",
    code: "…\nr3 = 1\ncall bpf_timer_init",
    accepted: "r1 = value timed\nr2 = map timed",
    rejected: "r1 = value plain\nr2 = map plain",
    errno: "EINVAL",
    message: "map 'map' has to have BTF in order to use bpf_timer",
  },
  {
    rule: "timers are in values that have one",
    code: "…\nr3 = 1\ncall bpf_timer_init",
    accepted: "r1 = value timed\nr2 = map timed",
    rejected: "r1 = value numbers\nr2 = map numbers",
    errno: "EINVAL",
    message: "map 'numbers' has no valid bpf_timer",
  },
  {
    rule: "timers are where their values have them",
    code: "r1 = value timed\n…\nr2 = map timed\nr3 = 1\ncall bpf_timer_init",
    accepted: "",
    rejected: "r1 += 8",
    errno: "EINVAL",
    message: "off 8 doesn't point to 'struct bpf_timer' that is at 0",
  },
]);

testPairs({ section: "tc" }, [
  {
    rule: "an element whose index is a number of the stack, or half of one, is there if the number is in bounds",
    code: "r2 = r10\n*(u64 *)(r2 -8) = …\nr2 += -4\nr1 = map array\ncall bpf_map_lookup_elem\nr3 = *(u8 *)(r0 +0)",
    accepted: "0",
    rejected: "1",
    errno: "EACCES",
    message: "R0 invalid mem access 'map_value_or_null'",
  },
]);

testPairs({ section: "kprobe", license: "MIT" }, [
  {
    rule: "programs at many probes may ask where they are whatever their license is",
    code: "call bpf_get_func_ip",
    accepted: { section: "kprobe.multi" },
    rejected: { section: "kprobe" },
    errno: "EINVAL",
    message: "cannot call GPL-restricted function from non-GPL compatible program",
  },
]);
