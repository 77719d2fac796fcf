/** Functions of the kernel by what they take and give. */
import { testPairs } from "../../../test/judge.ts";

const SLICE = `
r2 = 0
r3 = r10
r3 += -16
call @bpf_dynptr_from_skb
r1 = 1
call @bpf_task_from_pid
if r0 == 0x0 goto out
r6 = r0
r7 = r10
r7 += -24
r1 = r10
r1 += -16
r2 = 0
r3 = …
r4 = 8
call @bpf_dynptr_slice
r1 = r6
call @bpf_task_release`;
const WRITE = `
r2 = 0
r3 = r10
r3 += -16
call @bpf_dynptr_from_skb
r1 = r10
r1 += -16
r2 = 0
r3 = r10
r3 += -24
r4 = 8
call @bpf_dynptr_slice_rdwr`;
const KERNEL = `
  struct hidden; struct hidden *bpf_hidden(void); struct task_struct *bpf_shown(void);
  struct bpf_ctx_convert { u64 BPF_PROG_TYPE_RAW_TRACEPOINT_kern; };
  void *bpf_dynptr_slice_rdwr(const struct bpf_dynptr *p, u32 offset, void *buffer__opt, u32 buffer__szk);
`;

testPairs({ section: "tc", kernel: KERNEL, kfuncs: { bpf_hidden: [], bpf_shown: [] } }, [
  {
    rule: "memory is no structure of the kernel",
    code: SLICE,
    accepted: "r7",
    rejected: "r6",
    message: "kernel function bpf_dynptr_slice args#2 pointer type UNKNOWN  is not supported",
    errno: "EINVAL",
  },
  {
    rule: "what a function points to has a size",
    accepted: "call @bpf_shown",
    rejected: "call @bpf_hidden",
    message: "kernel function bpf_hidden returns pointer type FWD hidden is not supported",
    errno: "EINVAL",
  },
  {
    rule: "slices of packets are written by programs that write packets",
    code: WRITE,
    accepted: {},
    rejected: { section: "cgroup_skb/egress" },
    message: "the prog does not allow writes to packet data",
    errno: "EINVAL",
  },
  {
    rule: "contexts are the kernel's where it has a structure for them",
    code: "call @bpf_cast_to_kern_ctx",
    accepted: {},
    rejected: { section: "raw_tp" },
    message: "kern ctx type id 2 is not a struct",
    errno: "EINVAL",
  },
]);
