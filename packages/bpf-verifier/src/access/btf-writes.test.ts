/** The few members of kernel structures that programs write: operations of structures, entries of connection tracking. */
import { testPairs } from "../../test/judge.ts";

const OPERATIONS = `
  struct tcp_sock { u64 reserved; u32 snd_cwnd; u32 snd_cwnd_cnt; u32 snd_ssthresh; };
  struct tcp_congestion_ops { u32 (*ssthresh)(struct tcp_sock *sk); u64 (*get_info)(struct tcp_sock *sk); };
  struct bpf_struct_ops_tcp_congestion_ops { struct tcp_congestion_ops data; };
  struct bpf_dummy_ops_state { int val; };
  struct bpf_dummy_ops { int (*test_1)(struct bpf_dummy_ops_state *cb); };
  struct bpf_struct_ops_bpf_dummy_ops { struct bpf_dummy_ops data; };
  int bpf_dummy_ops__test_1(struct bpf_dummy_ops_state *cb__nullable);
`;
const CONGESTION = "r2 = *(u64 *)(r1 +0)\n…";
const STATE = `
r6 = *(u64 *)(r1 +0)
if r6 == 0x0 goto out
r1 = 1
call @bpf_task_from_pid
if r0 == 0x0 goto out
r7 = r0
*(u32 *)(… +0) = 1
r1 = r7
call @bpf_task_release`;

testPairs({ section: "struct_ops", to: "tcp_congestion_ops.ssthresh", kernel: OPERATIONS }, [
  {
    rule: "operations are those that programs may be",
    code: "",
    accepted: { to: "tcp_congestion_ops.ssthresh" },
    rejected: { to: "tcp_congestion_ops.get_info" },
    message: "attach to unsupported member get_info of struct tcp_congestion_ops",
    errno: "ENOTSUPP",
  },
  {
    rule: "operations are of structures that can be made of programs",
    code: "",
    accepted: { to: "tcp_congestion_ops.ssthresh" },
    rejected: { to: "bpf_map.ops" },
    message: "attach_btf_id 1 is not a supported struct",
    errno: "ENOTSUPP",
  },
  {
    rule: "operations are under the kernel's licence",
    code: "",
    accepted: { license: "GPL" },
    rejected: { license: "MIT" },
    message: "struct ops programs must have a GPL compatible license",
    errno: "EINVAL",
  },
  {
    rule: "members are written from their beginning",
    code: CONGESTION,
    accepted: "*(u32 *)(r2 +8) = 1",
    rejected: "*(u32 *)(r2 +0) = 1",
    message: "no write support to tcp_sock at off 0",
    errno: "EACCES",
  },
  {
    rule: "members are written no further than their end",
    code: CONGESTION,
    accepted: "*(u32 *)(r2 +8) = 1",
    rejected: "*(u64 *)(r2 +8) = 1",
    message: "write access at off 8 with size 8 beyond the member of tcp_sock ended at 12",
    errno: "EACCES",
  },
]);

testPairs({ section: "struct_ops", to: "bpf_dummy_ops.test_1", kernel: OPERATIONS }, [
  {
    rule: "an operation that is there for tests writes its state",
    code: STATE,
    accepted: "r6",
    rejected: "r7",
    message: "only access to bpf_dummy_ops_state is supported",
    errno: "EACCES",
  },
  {
    rule: "the state ends where its structure does",
    code: "r2 = *(u64 *)(r1 +0)\nif r2 == 0x0 goto out\n…",
    accepted: "*(u32 *)(r2 +0) = 1",
    rejected: "*(u32 *)(r2 +4) = 1",
    message: "write access at off 4 with size 4",
    errno: "EACCES",
  },
]);
