/** What global functions take: what their types may say, and what callers must pass. */
import { testPairs } from "../../test/judge.ts";

/** Calls the function `f`, which has these parameters, with what is in the registers. */
const takes = (parameters: string, types = ""): { readonly types: string } => ({
  types: `${types} int main(void *ctx); global int f(${parameters});`,
});
const CALLS = "…\ncall f\nr0 = 0\nexit\nf: r0 = 0\nexit";
/** Passes memory. */
const STACK = CALLS.replace("…", "r1 = r10\nr1 += -16");
const NOT_CALLED = "\nCaller passes invalid args into func#1 ('f')";
const PAIR = "struct pair { u64 a; u64 b; };";
const TASK = "struct task_struct { int pid; };";

testPairs({ section: "tc", code: CALLS.replace("…", "r1 = r1") }, [
  {
    rule: "global functions have five parameters at most",
    code: CALLS.replace("…", "r1 = 1\nr2 = 2\nr3 = 3\nr4 = 4\nr5 = 5"),
    accepted: takes("u64 a, u64 b, u64 c, u64 d, u64 e"),
    rejected: takes("u64 a, u64 b, u64 c, u64 d, u64 e, u64 g"),
    errno: "EINVAL",
    message: `Global function f() with 6 > 5 args. Buggy compiler.${NOT_CALLED}`,
  },
  {
    rule: "structures are passed by their address",
    code: STACK,
    accepted: takes("struct pair *p", PAIR),
    rejected: takes("struct pair p", PAIR),
    errno: "EINVAL",
    message: `Arg#0 type STRUCT in f() is not supported yet.${NOT_CALLED}`,
  },
  {
    rule: "tags of parameters are those that are known",
    code: STACK,
    accepted: takes("struct pair *p __arg(nonnull)", PAIR),
    rejected: takes("struct pair *p __arg(present)", PAIR),
    errno: "EOPNOTSUPP",
    message: `arg#0 has unsupported set of tags${NOT_CALLED}`,
  },
  {
    rule: "pointers have tags, numbers have none",
    accepted: takes("void *p __arg(ctx)"),
    rejected: takes("u64 p __arg(ctx)"),
    errno: "EINVAL",
    message: `arg#0 has pointer tag, but is not a pointer type${NOT_CALLED}`,
  },
  {
    rule: "a context is nothing else",
    accepted: takes("void *p __arg(ctx)"),
    rejected: takes("void *p __arg(ctx) __arg(nonnull)"),
    errno: "EINVAL",
    message: `arg#0 has invalid combination of tags${NOT_CALLED}`,
  },
  {
    rule: "a pointer into an arena is nothing else",
    code: CALLS.replace("…", "r1 = 0"),
    accepted: takes("void *p __arg(arena)"),
    rejected: takes("void *p __arg(arena) __arg(nonnull)"),
    errno: "EINVAL",
    message: `arg#0 arena cannot be combined with any other tags${NOT_CALLED}`,
  },
  {
    rule: "what is not trusted is nothing else",
    accepted: takes("u64 *p __arg(untrusted)"),
    rejected: takes("u64 *p __arg(untrusted) __arg(nonnull)"),
    errno: "EINVAL",
    message: `arg#0 untrusted cannot be combined with any other tags${NOT_CALLED}`,
  },
  {
    rule: "memory has a size",
    code: STACK,
    accepted: takes("struct pair *p", PAIR),
    rejected: takes("struct pair *p", "struct pair;"),
    errno: "EINVAL",
    message: `arg#0 reference type('FWD pair') size cannot be determined: -22${NOT_CALLED}`,
  },
  {
    rule: "objects of the kernel are known by name",
    accepted: takes("struct task_struct *p __arg(untrusted)", TASK),
    rejected: takes("int (*p)(void) __arg(untrusted)"),
    errno: "EINVAL",
    message: `arg#0 reference type('FUNC_PROTO (anon)') candidate matching error: -22${NOT_CALLED}`,
  },
  {
    rule: "objects of the kernel are the kernel's",
    accepted: takes("struct task_struct *p __arg(untrusted)", TASK),
    rejected: takes("struct pair *p __arg(untrusted)", PAIR),
    errno: "ENOENT",
    message: `arg#0 reference type('STRUCT pair') has no matches${NOT_CALLED}`,
  },
  {
    rule: "a name is of one structure of the kernel",
    accepted: takes("struct task_struct *p __arg(untrusted)", TASK),
    rejected: takes("struct dma_chan *p __arg(untrusted)", "struct dma_chan { int id; };"),
    errno: "ESRCH",
    message: `arg#0 reference type('STRUCT dma_chan') is ambiguous${NOT_CALLED}`,
  },
  {
    rule: "objects of the kernel are structures whose members it knows",
    accepted: takes("struct task_struct *p __arg(untrusted)", TASK),
    rejected: takes("struct kernel_symbol *p __arg(untrusted)", "struct kernel_symbol;"),
    errno: "EINVAL",
    message: `arg#0 has type FWD '(anon)', but only struct or primitive types are allowed${NOT_CALLED}`,
  },
  {
    rule: "a context is that of the program",
    accepted: takes("struct __sk_buff *p __arg(ctx)", "struct __sk_buff { u32 len; };"),
    rejected: takes("struct pair *p __arg(ctx)", PAIR),
    errno: "EINVAL",
    message: `arg#0 should be \`struct __sk_buff *\`${NOT_CALLED}`,
  },
  {
    rule: "a context has a name",
    accepted: takes("void *p __arg(ctx)"),
    rejected: takes("int (*p)(void) __arg(ctx)"),
    errno: "EINVAL",
    message: `arg#0 type doesn't have a name${NOT_CALLED}`,
  },
  {
    rule: "contexts that have no structure are anything",
    section: "tp_btf",
    to: "task_newtask",
    accepted: takes("void *p __arg(ctx)"),
    rejected: takes("struct pair *p __arg(ctx)", PAIR),
    errno: "EINVAL",
    message: `arg#0 should be void pointer${NOT_CALLED}`,
  },
]);

testPairs({ section: "tc", code: CALLS }, [
  {
    rule: "numbers are passed for numbers",
    ...takes("u64 a"),
    accepted: "r1 = 1",
    rejected: "r1 = r10",
    errno: "EINVAL",
    message: `R1 is not a scalar${NOT_CALLED}`,
  },
  {
    rule: "the context is passed for the context",
    ...takes("struct __sk_buff *p", "struct __sk_buff { u32 len; };"),
    accepted: "r1 = r1",
    rejected: "r1 = r10",
    errno: "EINVAL",
    message: `arg#0 expects pointer to ctx${NOT_CALLED}`,
  },
  {
    rule: "addresses in arenas are numbers",
    ...takes("void *p __arg(arena)"),
    accepted: "r1 = 1",
    rejected: "r1 = r10",
    errno: "EINVAL",
    message: `R1 is not a pointer to arena or scalar.${NOT_CALLED}`,
  },
  {
    rule: "memory that is there is not what may be NULL",
    ...takes("u64 *p __arg(nonnull)"),
    code: `*(u64 *)(r10 -8) = 0\nr2 = r10\nr2 += -8\nr1 = map hash\ncall bpf_map_lookup_elem#1\n…\nr1 = r0\n${CALLS.slice(2)}`,
    accepted: "if r0 == 0x0 goto pc+3",
    rejected: "",
    errno: "EINVAL",
    message: `arg#0 is expected to be non-NULL${NOT_CALLED}`,
  },
  {
    rule: "objects of the kernel are of the type that is wanted",
    section: "tp_btf",
    to: "sched_process_exec",
    ...takes("struct task_struct *p __arg(trusted)", TASK),
    accepted: "r1 = *(u64 *)(r1 +0)",
    rejected: "r1 = *(u64 *)(r1 +16)",
    errno: "EACCES",
    message: `R1 is of type linux_binprm but task_struct is expected${NOT_CALLED}`,
  },
  {
    rule: "objects of the kernel are no memory of the program",
    ...takes("struct task_struct *p __arg(trusted)", TASK),
    section: "tp_btf",
    to: "task_newtask",
    accepted: "r1 = *(u64 *)(r1 +0)",
    rejected: "r1 = r10",
    errno: "EACCES",
    message: `R1 type=fp expected=ptr_, trusted_ptr_, rcu_ptr_${NOT_CALLED}`,
  },
  {
    rule: "global functions return numbers",
    ...takes("struct __sk_buff *p", "struct __sk_buff { u32 len; };"),
    code: CALLS.replace("…", "r1 = r1").replace("f: r0 = 0", "f: …"),
    accepted: "r0 = 0",
    rejected: "r0 = r1",
    errno: "EINVAL",
    message: "At subprogram exit the register R0 is not a scalar value (ctx)",
  },
  {
    rule: "a dynptr that is passed is not made anew",
    types:
      "struct word { u64 data; }; struct bpf_dynptr { u64 opaque[2]; }; int main(void *ctx); global int f(struct bpf_dynptr *p);",
    code: `r1 = value word
r2 = 8
r3 = 0
r4 = r10
r4 += -16
call bpf_dynptr_from_mem
r1 = r10
r1 += -16
call f
r0 = 0
exit
f: r6 = r1
r1 = value word
r2 = 8
r3 = 0
r4 = r10
r4 += -16
…
call bpf_dynptr_from_mem
r0 = 0
exit`,
    accepted: "",
    rejected: "r4 = r6",
    errno: "EINVAL",
    message: "Dynptr has to be an uninitialized dynptr",
  },
  {
    rule: "nothing is held where a global function is called that may throw",
    code: `call @bpf_rcu_read_lock
…
call @bpf_rcu_read_unlock
call f
r0 = 0
exit
f: r1 = 0
call @bpf_throw
exit`,
    types: "int main(void *ctx); global int f();",
    accepted: "",
    rejected: "call f",
    errno: "EINVAL",
    message: "bpf_throw cannot be used inside bpf_rcu_read_lock-ed region",
  },
  {
    rule: "what a global function throws is a result of the program",
    section: "cgroup_skb/ingress",
    code: "call f\nr0 = 0\nexit\nf: r1 = …\ncall @bpf_throw\nexit",
    types: "int main(void *ctx); global int f();",
    accepted: "1",
    rejected: "6",
    errno: "EINVAL",
    message: "At program exit the register R1 has smin=6 smax=6 should have been in [0, 1]",
  },
]);
