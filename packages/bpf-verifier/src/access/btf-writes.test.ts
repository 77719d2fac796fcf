/** The few members of kernel structures that programs write: operations of structures, entries of connection tracking. */
import { testPairs } from "../../test/judge.ts";

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

testPairs({ section: "struct_ops", to: "tcp_congestion_ops.ssthresh" }, [
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
    message: "attach_btf_id ##bpf_map is not a supported struct",
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
    accepted: "*(u32 *)(r2 +@tcp_sock.snd_cwnd) = 1",
    rejected: "*(u32 *)(r2 +0) = 1",
    message: "no write support to tcp_sock at off 0",
    errno: "EACCES",
  },
  {
    rule: "members are written no further than their end",
    code: CONGESTION,
    accepted: "*(u32 *)(r2 +@tcp_sock.snd_cwnd) = 1",
    rejected: "*(u64 *)(r2 +@tcp_sock.snd_cwnd) = 1",
    message: "write access at off 4 with size 8 beyond the member of tcp_sock ended at 8",
    errno: "EACCES",
  },
]);

testPairs({ section: "struct_ops", to: "bpf_dummy_ops.test_1" }, [
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
  {
    rule: "operations of congestion control write their socket, and nothing else",
    to: "tcp_congestion_ops.ssthresh",
    code: "r6 = *(u64 *)(r1 +0)\nr1 = 1\ncall @bpf_task_from_pid\nif r0 == 0x0 goto out\nr7 = r0\n…\nr1 = r7\ncall @bpf_task_release",
    accepted: "*(u32 *)(r6 +@tcp_sock.snd_cwnd) = 1",
    rejected: "*(u32 *)(r7 +0) = 1",
    message: "only read is supported",
    errno: "EACCES",
  },
]);
