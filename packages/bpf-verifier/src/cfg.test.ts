/** What a program is made of: functions of its own, functions of the kernel. */
import { testPairs } from "../test/judge.ts";

/** A main function that calls `count` others. */
function functions(count: number): string {
  const names = Array.from({ length: count }, (_, i) => `f${i}`);
  const calls = names.map((name) => `call ${name}`);
  return [...calls, "r0 = 0\nexit", ...names.map((name) => `${name}: r0 = 0\nexit`)].join("\n");
}

const CLOCK =
  "struct xdp_md { u32 data; }; int bpf_xdp_metadata_rx_timestamp(struct xdp_md *ctx, u64 *timestamp);";

testPairs({ section: "xdp" }, [
  {
    rule: "a program has at most 256 functions",
    accepted: functions(255),
    rejected: functions(256),
    message: "too many subprograms",
    errno: "E2BIG",
  },
  {
    rule: "functions of the kernel are for programs under its licence",
    code: "call @bpf_preempt_disable\ncall @bpf_preempt_enable",
    accepted: { license: "Dual MIT/GPL" },
    rejected: { license: "MIT" },
    message: "cannot call kernel function from non-GPL compatible program",
    errno: "EINVAL",
  },
  {
    rule: "what a device knows of a packet is for programs that are loaded for it",
    code: "r2 = r10\nr2 += -8\n…",
    accepted: "r2 = 64\ncall @bpf_xdp_pull_data",
    rejected: "call @bpf_xdp_metadata_rx_timestamp",
    kernel: `${CLOCK} int bpf_xdp_pull_data(struct xdp_md *x, u32 len);`,
    message: "metadata kfuncs require device-bound program",
    errno: "EINVAL",
  },
  {
    rule: "a function of a module is named by a place in a list of files",
    code: "if r1 == 0x0 goto out\n…",
    accepted: "call @bpf_preempt_disable\ncall @bpf_preempt_enable",
    rejected: "call kernel-function#1@1",
    message: "kfunc offset > 0 without fd_array is invalid\nfailed to find BTF for kernel function",
    errno: "EPROTO",
  },
  {
    rule: "a place in a list is counted from 0",
    accepted: "call @bpf_preempt_disable\ncall @bpf_preempt_enable",
    rejected: "call kernel-function#1@-1",
    message:
      "negative offset disallowed for kernel module function call\nfailed to find BTF for kernel function",
    errno: "EINVAL",
  },
  {
    rule: "functions that the kernel lacks are called where no path leads",
    code: "…\ncall kernel-function#0",
    accepted: "r1 = 0\nif r1 == 0x0 goto out",
    rejected: "r1 = 1\nif r1 == 0x0 goto out",
    message: "invalid kernel function call not eliminated in verifier pass",
    errno: "EINVAL",
  },
  {
    rule: "compilers mark what should not be reached",
    code: "…\ncall @__bpf_trap",
    accepted: "r1 = 0\nif r1 == 0x0 goto out",
    rejected: "r1 = 1\nif r1 == 0x0 goto out",
    message: "unexpected __bpf_trap() due to uninitialized variable?",
    errno: "EFAULT",
  },
  {
    rule: "calls go to an instruction of the program",
    code: "…\nr0 = 0\nexit\nr0 = 0\nexit",
    accepted: "call pc+2",
    rejected: "call pc+9",
    message: "call to invalid destination",
    errno: "EINVAL",
  },
  {
    rule: "functions of the kernel are known by a number that stands for one",
    code: "…\ncall @bpf_preempt_enable",
    accepted: "call @bpf_preempt_disable",
    rejected: "call kernel-function#1",
    message: "kernel btf_id 1 is not a function",
    errno: "EINVAL",
  },
  {
    rule: "functions of the kernel are known by its types",
    code: "call @bpf_preempt_disable\ncall @bpf_preempt_enable",
    accepted: {},
    rejected: { env: { kernelBtf: undefined } },
    message: "calling kernel function is not supported without CONFIG_DEBUG_INFO_BTF",
    errno: "ENOTSUPP",
  },
  {
    rule: "functions of modules are of open files of types",
    accepted: "call @bpf_preempt_disable\ncall @bpf_preempt_enable",
    rejected: { code: "call kernel-function#5@1", env: { fdArray: () => 7 } },
    message: "invalid module BTF fd specified\nfailed to find BTF for kernel function",
    errno: "EBADF",
  },
]);
