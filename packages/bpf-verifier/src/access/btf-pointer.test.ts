/** What is read through pointers to structures of the kernel, and through those to sockets and buffers. */
import { testPairs } from "../../test/judge.ts";

const TASK = "r1 = *(u64 *)(r1 +0)";
const RANDOM = "call bpf_get_prandom_u32\nr0 &= 8";

testPairs({ section: "tp_btf", to: "task_newtask" }, [
  {
    rule: "structures of the kernel are for programs under the GPL",
    code: `${TASK}\n…`,
    license: "MIT",
    accepted: "",
    rejected: "r0 = *(u32 *)(r1 +@task_struct.pid)",
    errno: "EINVAL",
    message: "Cannot access kernel 'struct task_struct' from non-GPL compatible program",
  },
  {
    rule: "nothing is read before a structure",
    code: `${TASK}\n…`,
    accepted: "r0 = *(u32 *)(r1 +0)",
    rejected: "r0 = *(u32 *)(r1 -8)",
    errno: "EACCES",
    message: "R1 is ptr_task_struct invalid negative access: off=-8",
  },
  {
    rule: "members are at places that are known",
    code: `${TASK}\nr6 = r1\n${RANDOM}\n…\nr0 = *(u32 *)(r6 +0)`,
    accepted: "",
    rejected: "r6 += r0",
    errno: "EACCES",
    message: "R6 is ptr_task_struct invalid variable offset: off=0, var_off=(0x0; 0x8)",
  },
  {
    rule: "each processor's memory is asked for first",
    code: "r1 = kernel gdt_page\nr2 = 0\n…\nif r0 == 0x0 goto out\nr0 = *(u64 *)(r0 +0)",
    accepted: "call bpf_per_cpu_ptr",
    rejected: "r0 = r1",
    errno: "EACCES",
    message: "R0 is ptr_gdt_page access percpu memory: off=0",
  },
  {
    rule: "memory of a process is not read directly",
    kernel:
      "struct request { struct file *__tag(user) theirs; struct file *ours; }; void __bpf_trace_ask(void *d, struct request *r); typedef void btf_trace_ask;",
    to: "ask",
    code: `${TASK}\n…\nr0 = *(u32 *)(r1 +0)`,
    accepted: "r1 = *(u64 *)(r1 +8)",
    rejected: "r1 = *(u64 *)(r1 +0)",
    errno: "EACCES",
    message: "R1 is ptr_file access user memory: off=0",
  },
  {
    rule: "structures end where the kernel's types say",
    code: "…",
    to: "sched_process_exec",
    accepted: "r1 = *(u64 *)(r1 +16)\nr0 = *(u64 *)(r1 +0)",
    rejected: "r1 = *(u64 *)(r1 +16)\nr0 = *(u64 *)(r1 +32000)",
    errno: "EACCES",
    message: "access beyond struct linux_binprm at off 32000 size 8",
  },
  {
    rule: "members are read up to their end",
    kernel:
      "struct request { u32 kind; u32 id; u64 n; }; void __bpf_trace_ask(void *d, struct request *r); typedef void btf_trace_ask;",
    to: "ask",
    code: `${TASK}\n…`,
    accepted: "r0 = *(u32 *)(r1 +4)",
    rejected: "r0 = *(u64 *)(r1 +4)",
    errno: "EACCES",
    message: "access beyond the end of member id (mend:8) in struct request with off 4 size 8",
  },
  {
    rule: "what is trusted may be no structure, but is not read then",
    types: "int main(void *ctx); global int f(int *p __arg(trusted) __arg(nullable));",
    code: "r1 = 0\ncall f\nr0 = 0\nexit\nf: r0 = 0\nif r1 == 0x0 goto end\n…\nend: r0 = 0\nexit",
    accepted: "",
    rejected: "r0 = *(u32 *)(r1 +0)",
    errno: "EINVAL",
    message: "Type 'int' is not a struct",
  },
]);

testPairs({ section: "tp_btf", to: "task_newtask" }, [
  {
    rule: "structures of the kernel are not written",
    code: `${TASK}\n…`,
    accepted: "r0 = *(u32 *)(r1 +@task_struct.pid)",
    rejected: "*(u32 *)(r1 +@task_struct.pid) = 0",
    errno: "EACCES",
    message: "only read is supported",
  },
  {
    rule: "arguments that are pointers are to structures",
    to: "csd_function",
    accepted: "r0 = *(u64 *)(r1 +8)",
    rejected: "r0 = *(u64 *)(r1 +0)",
    errno: "EACCES",
    message:
      "func 'csd_function' arg0 type FUNC_PROTO is not a struct\ninvalid bpf_context access off=0 size=8",
  },
  {
    rule: "structures of the kernel are for loaders that may see addresses",
    section: "tc",
    to: undefined,
    code: "r1 = 0\nr2 = ##task_struct\ncall @bpf_rdonly_cast\nr0 = *(u32 *)(r0 +@task_struct.pid)",
    accepted: {},
    rejected: { lacks: "perfmon" },
    errno: "EPERM",
    message: "'struct task_struct' access is allowed only to CAP_PERFMON and CAP_SYS_ADMIN",
  },
]);

const SOCKET = "r1 = *(u64 *)(r1 +168)\nif r1 == 0x0 goto out";

testPairs({ section: "tc" }, [
  {
    rule: "sockets have the members that programs may see",
    code: `${SOCKET}\n…`,
    accepted: "r0 = *(u32 *)(r1 +4)",
    rejected: "r0 = *(u32 *)(r1 +8)",
    errno: "EACCES",
    message: "R1 invalid sock_common access off=8 size=4",
  },
  {
    rule: "pointers to sockets are not moved",
    code: `${SOCKET}\n…`,
    accepted: "",
    rejected: "r1 += 4",
    errno: "EACCES",
    message: "R1 pointer arithmetic on sock_common prohibited",
  },
  {
    rule: "sockets that are given back were had",
    code: `${SOCKET}\n…`,
    accepted: "",
    rejected: "call bpf_sk_release",
    errno: "EINVAL",
    message: "R1 must be referenced when passed to release function",
  },
  {
    rule: "nothing is read before a tracepoint's buffer",
    section: "raw_tp.w",
    code: "r1 = *(u64 *)(r1 +0)\n…",
    accepted: "r0 = *(u64 *)(r1 +0)",
    rejected: "r0 = *(u64 *)(r1 -8)",
    errno: "EACCES",
    message: "R1 invalid tracepoint buffer access: off=-8, size=8",
  },
  {
    rule: "a tracepoint's buffer is read at places that are known",
    section: "raw_tp.w",
    code: `r6 = *(u64 *)(r1 +0)\n${RANDOM}\n…\nr0 = *(u64 *)(r6 +0)`,
    accepted: "",
    rejected: "r6 += r0",
    errno: "EACCES",
    message: "R6 invalid variable buffer offset: off=0, var_off=(0x0; 0x8)",
  },
]);

const PACKET = "r6 = *(u32 *)(r1 +76)\nr3 = *(u32 *)(r1 +80)";

testPairs({ section: "tc" }, [
  {
    rule: "nothing is read before a packet",
    code: `call bpf_get_prandom_u32\nr0 &= 7\nr7 = r0\n${PACKET}\n…\nr6 += r7\nr4 = r6\nr4 += 8\nif r4 > r3 goto out\nr0 = *(u8 *)(r6 +0)`
      .replace("call", "r9 = r1\ncall")
      .replace("r6 = *(u32 *)(r1", "r1 = r9\nr6 = *(u32 *)(r1"),
    accepted: "",
    rejected: "r7 += -4",
    errno: "EACCES",
    message: "R6 min value is negative, either use unsigned index or do a if (index >=0) check.",
  },
  {
    rule: "nothing is read behind a packet",
    code: `${PACKET}\nr6 += 14\n…\nr0 = *(u8 *)(r6 -1)`,
    accepted: "if r6 > r3 goto out",
    rejected: "if r6 <= r3 goto out",
    errno: "EINVAL",
    message: "R6 offset is outside of the packet",
  },
]);

testPairs({ section: "fentry", kernel: "int twice(u64 n, u64 m); int wide(u128 n, u64 m);" }, [
  {
    rule: "numbers that are arguments fit a register",
    code: "r0 = *(u64 *)(r1 +0)\nr0 = 0\nexit",
    accepted: { to: "twice" },
    rejected: { to: "wide" },
    errno: "EACCES",
    message:
      "func 'wide' arg0 'u128' has type INT. Only pointer access is allowed\ninvalid bpf_context access off=0 size=8",
  },
]);
