/** Programs of functions, hooks, tracepoints and operations of the kernel: what they are attached to, are given and may return. */
import { testPairs } from "../../test/judge.ts";

const OPTION = `r1 = *(u64 *)(r1 +0)
r2 = 1
r3 = 2
*(u64 *)(r10 -8) = 0
r4 = r10
r4 += -8
r5 = 8
call bpf_setsockopt
r0 = 1
exit`;
const OPEN = { section: "lsm", to: "bpf_lsm_file_open" } as const;
const READ = { section: "fentry", to: "vfs_read" } as const;
const TASK = { section: "iter", to: "bpf_iter_task" } as const;
const RESET = { section: "tp_btf", to: "tcp_send_reset" } as const;
const returns = (result: string): { readonly code: string } => ({ code: `r0 = ${result}\nexit` });
const KERNEL = `
  struct pair { u64 a; u64 b; }; struct big { u64 word[3]; };
  int two_words(struct pair p, int last); int three_words(struct big b); struct pair gives_pair(void);
  int many(u64 a, u64 b, u64 c, u64 d, u64 e, u64 f, u64 g, u64 h, u64 i, u64 j, u64 k, u64 l, u64 m);
  int bpf_iter_none(void); int gone(void);
`;

testPairs({ section: "fentry", code: "" }, [
  {
    rule: "an id is one of the kernel's types",
    accepted: READ,
    rejected: { ...READ, to: 9999 },
    errno: "EINVAL",
    message: "attach_btf_id 9999 is invalid",
  },
  {
    rule: "functions are traced",
    accepted: READ,
    rejected: { ...READ, to: 1 },
    errno: "EINVAL",
    message: "attach_btf_id 1 is not a function",
  },
  {
    rule: "tracepoints are named",
    accepted: RESET,
    rejected: { section: "tp_btf", to: "vfs_read" },
    errno: "EINVAL",
    message: "attach_btf_id ##vfs_read is not a typedef",
  },
  {
    rule: "by types of theirs",
    accepted: RESET,
    rejected: { section: "tp_btf", to: "pid_t" },
    errno: "EINVAL",
    message: "attach_btf_id ##pid_t points to wrong type name pid_t",
  },
  {
    rule: "what programs need themselves is not traced",
    accepted: READ,
    rejected: { ...READ, to: "migrate_disable" },
    errno: "EINVAL",
    message: "Attaching tracing programs to function 'migrate_disable' is rejected.",
  },
  {
    rule: "functions that never return have no end",
    accepted: { section: "fentry", to: "do_exit" },
    rejected: { section: "fexit", to: "do_exit" },
    errno: "EINVAL",
    message: "Attaching fexit/fmod_ret to __noreturn function 'do_exit' is rejected.",
  },
  {
    rule: "results of hooks and system calls may be changed",
    accepted: { section: "fmod_ret", to: "security_file_open" },
    rejected: { section: "fmod_ret", to: "vfs_read" },
    errno: "EINVAL",
    message: "vfs_read() is not modifiable",
  },
  {
    rule: "programs of system calls may sleep",
    accepted: { ...READ, to: "__x64_sys_read", isSleepable: true },
    rejected: { ...READ, isSleepable: true },
    errno: "EINVAL",
    message: "vfs_read is not sleepable",
  },
  {
    rule: "programs of some hooks may sleep",
    accepted: { ...OPEN, isSleepable: true },
    rejected: { section: "lsm", to: "bpf_lsm_task_free", isSleepable: true },
    errno: "EINVAL",
    message: "bpf_lsm_task_free is not sleepable",
  },
  {
    rule: "hooks are the kernel's",
    accepted: OPEN,
    rejected: { ...OPEN, license: "MIT" },
    errno: "EINVAL",
    message: "LSM programs must have a GPL compatible license",
  },
  {
    rule: "some hooks are not for programs",
    accepted: OPEN,
    rejected: { ...OPEN, to: "bpf_lsm_ismaclabel" },
    errno: "EINVAL",
    message: "attach_btf_id ##bpf_lsm_ismaclabel points to disabled hook bpf_lsm_ismaclabel",
  },
  {
    rule: "programs of hooks are at hooks",
    accepted: OPEN,
    rejected: { ...OPEN, to: "vfs_read" },
    errno: "EINVAL",
    message: "attach_btf_id ##vfs_read points to wrong type name vfs_read",
  },
  {
    rule: "a hook gives zero or an error",
    accepted: { ...OPEN, ...returns("-4095") },
    rejected: { ...OPEN, ...returns("1") },
    errno: "EINVAL",
    message: "At program exit the register R0 has smin=1 smax=1 should have been in [-4095, 0]",
  },
  {
    rule: "or yes and no",
    accepted: { section: "lsm", to: "bpf_lsm_inode_xattr_skipcap", ...returns("1") },
    rejected: { section: "lsm", to: "bpf_lsm_inode_xattr_skipcap", ...returns("-1") },
    errno: "EINVAL",
    message: "At program exit the register R0 has smin=-1 smax=-1 should have been in [0, 1]",
  },
  {
    rule: "a hook that gives nothing has no result to set",
    accepted: { section: "lsm", to: "bpf_lsm_task_free", code: "r1 = r1\nexit" },
    rejected: { ...OPEN, code: "r1 = r1\nexit" },
    errno: "EACCES",
    message: "R0 !read_ok",
  },
  {
    rule: "programs of control groups decide, but not for hooks that give nothing",
    accepted: { section: "lsm_cgroup", to: "bpf_lsm_file_open", ...returns("0") },
    rejected: { section: "lsm_cgroup", to: "bpf_lsm_sock_graft", ...returns("0") },
    errno: "EINVAL",
    message: "Note, BPF_LSM_CGROUP that attach to void LSM hooks can't modify return value!",
  },
  {
    rule: "options of sockets are for hooks that have one",
    accepted: { section: "lsm_cgroup", to: "bpf_lsm_sock_graft", code: OPTION },
    rejected: { section: "lsm_cgroup", to: "bpf_lsm_file_open", code: OPTION },
    errno: "EINVAL",
    message: "program of this type cannot use helper bpf_setsockopt#49",
  },
  {
    rule: "entries give zero",
    accepted: READ,
    rejected: { ...READ, ...returns("1") },
    errno: "EINVAL",
    message: "At program exit the register R0 has smin=1 smax=1 should have been in [0, 0]",
  },
  {
    rule: "changed results are any",
    accepted: { section: "fmod_ret", to: "security_file_open", ...returns("7") },
    rejected: { ...READ, ...returns("7") },
    errno: "EINVAL",
    message: "At program exit the register R0 has smin=7 smax=7 should have been in [0, 0]",
  },
  {
    rule: "arguments are words",
    accepted: { ...READ, code: "r1 = *(u64 *)(r1 +8)" },
    rejected: { ...READ, code: "r1 = *(u64 *)(r1 +4)" },
    errno: "EACCES",
    message: "invalid bpf_context access off=4 size=8",
  },
  {
    rule: "results are seen at the end",
    accepted: { section: "fexit", to: "vfs_read", code: "r1 = *(u64 *)(r1 +16)" },
    rejected: { ...READ, code: "r1 = *(u64 *)(r1 +16)" },
    errno: "EACCES",
    message: "invalid bpf_context access off=16 size=8",
  },
  {
    rule: "where there is one",
    accepted: { section: "fexit", to: "vfs_read", code: "r1 = *(u64 *)(r1 +16)" },
    rejected: { section: "fexit", to: "schedule_tail", code: "r1 = *(u64 *)(r1 +8)" },
    errno: "EACCES",
    message: "invalid bpf_context access off=8 size=8",
  },
  {
    rule: "arguments of tracepoints may be NULL, as their names say",
    accepted: {
      ...RESET,
      code: "r2 = *(u64 *)(r1 +8)\nif r2 == 0x0 goto out\nr2 = *(u32 *)(r2 +@sk_buff.len)",
    },
    rejected: { ...RESET, code: "r2 = *(u64 *)(r1 +8)\nr2 = *(u32 *)(r2 +@sk_buff.len)" },
    errno: "EACCES",
    message: "R2 invalid mem access 'trusted_ptr_or_null_'",
  },
]);

testPairs({ section: "fentry", kernel: KERNEL, code: "" }, [
  {
    rule: "iterators are there",
    accepted: TASK,
    rejected: { ...TASK, to: "bpf_iter_none" },
    errno: "EINVAL",
    message: "",
  },
  {
    rule: "what is traced is there",
    accepted: READ,
    rejected: { ...READ, to: "gone", env: { symbol: () => undefined } },
    errno: "ENOENT",
    message: "The address of function gone cannot be found",
  },
  {
    rule: "at most 12 arguments are passed on",
    accepted: READ,
    rejected: { ...READ, to: "many" },
    errno: "EINVAL",
    message: "The function many has 13 arguments. Too many.",
  },
  {
    rule: "structures of up to two words are passed on",
    accepted: { ...READ, to: "two_words" },
    rejected: { ...READ, to: "three_words" },
    errno: "EINVAL",
    message: "The function three_words arg0 type STRUCT is unsupported.",
  },
  {
    rule: "numbers and pointers are returned",
    accepted: READ,
    rejected: { ...READ, to: "gives_pair" },
    errno: "EINVAL",
    message: "The function gives_pair return type STRUCT is unsupported.",
  },
  {
    rule: "structures take as many as they need",
    accepted: { ...READ, to: "two_words", code: "r1 = *(u32 *)(r1 +16)" },
    rejected: { ...READ, to: "two_words", code: "r1 = *(u32 *)(r1 +24)" },
    errno: "EACCES",
    message: "invalid bpf_context access off=24 size=4",
  },
]);

/** Operations of congestion control. */
const THRESHOLD = { section: "struct_ops", to: "tcp_congestion_ops.ssthresh" } as const;

testPairs({ section: "fentry", code: "" }, [
  {
    rule: "programs of functions replace none",
    accepted: READ,
    rejected: { section: "freplace", to: "vfs_read" },
    errno: "EINVAL",
    message: "Cannot replace kernel functions",
  },
  {
    rule: "programs of the system call sleep",
    accepted: { section: "syscall" },
    rejected: { section: "syscall", isSleepable: false },
    errno: "EINVAL",
    message: "Syscall programs can only be sleepable",
  },
  {
    rule: "programs that see packets do not",
    accepted: { section: "kprobe", isSleepable: true },
    rejected: { section: "tc", isSleepable: true },
    errno: "EINVAL",
    message: "Only fentry/fexit/fmod_ret, lsm, iter, uprobe, and struct_ops programs can be sleepable",
  },
  {
    rule: "programs of tracepoints say of which",
    section: "tp_btf",
    accepted: { to: "task_newtask" },
    rejected: {},
    errno: "EINVAL",
    message: "Tracing programs must provide btf_id",
  },
  {
    rule: "operations are functions",
    accepted: THRESHOLD,
    rejected: { ...THRESHOLD, to: "tcp_congestion_ops.flags" },
    errno: "EINVAL",
    message: "attach to invalid member flags(@idx 2) of struct tcp_congestion_ops",
  },
  {
    rule: "operations are members of their structure",
    accepted: THRESHOLD,
    rejected: { ...THRESHOLD, to: "tcp_congestion_ops.99" },
    errno: "EINVAL",
    message: "attach to invalid member idx 99 of struct tcp_congestion_ops",
  },
  {
    rule: "operations that may not sleep do not",
    section: "struct_ops",
    to: "bpf_dummy_ops.test_1",
    accepted: {},
    rejected: { isSleepable: true },
    errno: "EINVAL",
    message: "attach to unsupported member test_1 of struct bpf_dummy_ops",
  },
  {
    rule: "operations are of a structure",
    accepted: THRESHOLD,
    rejected: { section: "struct_ops" },
    errno: "ENOTSUPP",
    message: "",
  },
  {
    rule: "tracepoints have arguments",
    section: "tp_btf",
    kernel: "typedef void btf_trace_lonely;",
    accepted: { to: "task_newtask" },
    rejected: { to: "lonely" },
    errno: "EINVAL",
    message: "",
  },
]);
