/** Programs of functions, hooks, tracepoints and operations of the kernel: what they are attached to, are given and may return. */
import { EBADF } from "@alien-ts/abi";
import { AssembleError, assemble } from "@alien-ts/bpf-isa";
import { expect, test } from "vitest";
import { declare } from "../../test/declare.ts";
import { attachTarget } from "../linux/attach-target.ts";
import { linuxHelper } from "../linux/helpers.ts";
import { linuxProgramType } from "../linux/program-types.ts";
import { PRIVILEGED } from "../privileges.ts";
import { verifyProgram } from "../verify-program.ts";

const KERNEL = declare(`
  struct sock_common { int state; }; struct sock { struct sock_common common; }; struct tcp_sock { struct sock inet; int more; };
  struct pair { u64 a; u64 b; }; struct big { u64 word[3]; };
  struct file { int flags; }; struct task_struct { int pid; }; struct sk_buff { int len; }; struct bpf_iter_meta { u64 seq; };
  int vfs_read(struct file *file, u64 count); void schedule_tail(struct task_struct *prev);
  int two_words(struct pair p, int last); int three_words(struct big b); struct pair gives_pair(void);
  int many(u64 a, u64 b, u64 c, u64 d, u64 e, u64 f, u64 g, u64 h, u64 i, u64 j, u64 k, u64 l, u64 m);
  int security_file_open(struct file *file); void do_exit(u64 code); void migrate_disable(void); int __x64_sys_read(u64 regs);
  int bpf_lsm_file_open(struct file *file); void bpf_lsm_task_free(struct task_struct *task); int bpf_lsm_ismaclabel(u64 name);
  int bpf_lsm_inode_xattr_skipcap(u64 name); void bpf_lsm_bprm_committed_creds(u64 bprm);
  void bpf_lsm_sock_graft(struct sock *sk); int gone(void);
  int bpf_iter_task(struct bpf_iter_meta *meta, struct task_struct *task); int bpf_iter_none(void);
  void __bpf_trace_tcp_send_reset(void *data, struct sock *sk, struct sk_buff *skb__nullable);
  typedef void btf_trace_tcp_send_reset; typedef int other;
`);

/** Attach types: tp_btf, fentry, fexit, fmod_ret, lsm, iter, lsm_cgroup. */
const AT = { tp: 23, fentry: 24, fexit: 25, modify: 26, lsm: 27, iter: 28, cgroup: 43 } as const;

interface Load {
  readonly at: keyof typeof AT;
  readonly to: string | number;
  readonly text?: string;
  readonly isSleepable?: boolean;
  readonly license?: string;
}

/** The last line of the log, or "" where there is none. */
function messageOf({ at, to, text = "r0 = 0", isSleepable = false, license = "GPL" }: Load): string {
  const type = at === "lsm" || at === "cgroup" ? 29 : 26;
  const insns = assemble(`${text}\nexit`);
  if (insns instanceof AssembleError) throw new Error(`${insns.line}: ${insns.message}`);
  const kind = at === "tp" && to !== "vfs_read" ? "typedef" : "func";
  const id = typeof to === "number" ? to : KERNEL.find(to, kind)!;
  const attach = attachTarget(KERNEL, { type, attachType: AT[at] }, id);
  const verdict = verifyProgram({
    insns,
    programType: linuxProgramType(type, AT[at], attach.name)!,
    helper: (number) => linuxHelper(number, type),
    map: () => EBADF,
    addressHigh: 0xffff_8881,
    license,
    privileges: PRIVILEGED,
    log: { level: 1 },
    kernelBtf: KERNEL,
    symbol: (name) => (name === "gone" ? undefined : 0x1000),
    program: undefined,
    attach,
    isSleepable,
    isStrictAlignment: false,
    isAnyAlignment: false,
    isStateFrequent: false,
    hasFragments: false,
  });
  if (verdict.ok) return "accepted";
  return (
    verdict.log
      .replace(/processed .*\n$/, "")
      .trimEnd()
      .split("\n")
      .at(-1) ?? ""
  );
}

const OPTION = `r1 = *(u64 *)(r1 +0)
r2 = 1
r3 = 2
*(u64 *)(r10 -8) = 0
r4 = r10
r4 += -8
r5 = 8
call bpf_setsockopt#49
r0 = 1`;
const OPEN = { at: "lsm", to: "bpf_lsm_file_open" } as const;
const READ = { at: "fentry", to: "vfs_read" } as const;
const TASK = { at: "iter", to: "bpf_iter_task" } as const;
const RESET = { at: "tp", to: "btf_trace_tcp_send_reset" } as const;
const returns = (text: string): { readonly text: string } => ({ text: `r0 = ${text}` });
const id = (name: string): number => KERNEL.find(name, "func")!;

test.each<[string, Load, Load, string]>([
  ["an id is one of the kernel's types", READ, { ...READ, to: 9999 }, "attach_btf_id 9999 is invalid"],
  ["functions are traced", READ, { ...READ, to: 1 }, "attach_btf_id 1 is not a function"],
  [
    "tracepoints are named",
    RESET,
    { at: "tp", to: "vfs_read" },
    `attach_btf_id ${id("vfs_read")} is not a typedef`,
  ],
  [
    "by types of theirs",
    RESET,
    { at: "tp", to: "other" },
    `attach_btf_id ${KERNEL.find("other", "typedef")!} points to wrong type name other`,
  ],
  ["iterators are there", TASK, { ...TASK, to: "bpf_iter_none" }, ""],
  ["what is traced is there", READ, { ...READ, to: "gone" }, "The address of function gone cannot be found"],
  [
    "at most 12 arguments are passed on",
    READ,
    { ...READ, to: "many" },
    "The function many has 13 arguments. Too many.",
  ],
  [
    "structures of up to two words are passed on",
    { ...READ, to: "two_words" },
    { ...READ, to: "three_words" },
    "The function three_words arg0 type STRUCT is unsupported.",
  ],
  [
    "numbers and pointers are returned",
    READ,
    { ...READ, to: "gives_pair" },
    "The function gives_pair return type STRUCT is unsupported.",
  ],
  [
    "what programs need themselves is not traced",
    READ,
    { ...READ, to: "migrate_disable" },
    "Attaching tracing programs to function 'migrate_disable' is rejected.",
  ],
  [
    "functions that never return have no end",
    { at: "fentry", to: "do_exit" },
    { at: "fexit", to: "do_exit" },
    "Attaching fexit/fmod_ret to __noreturn function 'do_exit' is rejected.",
  ],
  [
    "results of hooks and system calls may be changed",
    { at: "modify", to: "security_file_open" },
    { at: "modify", to: "vfs_read" },
    "vfs_read() is not modifiable",
  ],
  [
    "programs of system calls may sleep",
    { ...READ, to: "__x64_sys_read", isSleepable: true },
    { ...READ, isSleepable: true },
    "vfs_read is not sleepable",
  ],
  [
    "programs of some hooks may sleep",
    { ...OPEN, isSleepable: true },
    { at: "lsm", to: "bpf_lsm_task_free", isSleepable: true },
    "bpf_lsm_task_free is not sleepable",
  ],
  [
    "hooks are the kernel's",
    OPEN,
    { ...OPEN, license: "MIT" },
    "LSM programs must have a GPL compatible license",
  ],
  [
    "some hooks are not for programs",
    OPEN,
    { ...OPEN, to: "bpf_lsm_ismaclabel" },
    `attach_btf_id ${id("bpf_lsm_ismaclabel")} points to disabled hook bpf_lsm_ismaclabel`,
  ],
  [
    "programs of hooks are at hooks",
    OPEN,
    { ...OPEN, to: "vfs_read" },
    `attach_btf_id ${id("vfs_read")} points to wrong type name vfs_read`,
  ],
  [
    "a hook gives zero or an error",
    { ...OPEN, ...returns("-4095") },
    { ...OPEN, ...returns("1") },
    "At program exit the register R0 has smin=1 smax=1 should have been in [-4095, 0]",
  ],
  [
    "or yes and no",
    { at: "lsm", to: "bpf_lsm_inode_xattr_skipcap", ...returns("1") },
    { at: "lsm", to: "bpf_lsm_inode_xattr_skipcap", ...returns("-1") },
    "At program exit the register R0 has smin=-1 smax=-1 should have been in [0, 1]",
  ],
  [
    "a hook that gives nothing has no result to set",
    { at: "lsm", to: "bpf_lsm_task_free", text: "r1 = r1" },
    { ...OPEN, text: "r1 = r1" },
    "R0 !read_ok",
  ],
  [
    "programs of control groups decide, but not for hooks that give nothing",
    { at: "cgroup", to: "bpf_lsm_file_open", ...returns("0") },
    { at: "cgroup", to: "bpf_lsm_sock_graft", ...returns("0") },
    "Note, BPF_LSM_CGROUP that attach to void LSM hooks can't modify return value!",
  ],
  [
    "options of sockets are for hooks that have one",
    { at: "cgroup", to: "bpf_lsm_sock_graft", text: OPTION },
    { at: "cgroup", to: "bpf_lsm_file_open", text: OPTION },
    "program of this type cannot use helper bpf_setsockopt#49",
  ],
  [
    "entries give zero",
    READ,
    { ...READ, ...returns("1") },
    "At program exit the register R0 has smin=1 smax=1 should have been in [0, 0]",
  ],
  [
    "changed results are any",
    { at: "modify", to: "security_file_open", ...returns("7") },
    { ...READ, ...returns("7") },
    "At program exit the register R0 has smin=7 smax=7 should have been in [0, 0]",
  ],
  [
    "arguments are words",
    { ...READ, text: "r1 = *(u64 *)(r1 +8)\nr0 = 0" },
    { ...READ, text: "r1 = *(u64 *)(r1 +4)\nr0 = 0" },
    "invalid bpf_context access off=4 size=8",
  ],
  [
    "structures take as many as they need",
    { ...READ, to: "two_words", text: "r1 = *(u32 *)(r1 +16)\nr0 = 0" },
    { ...READ, to: "two_words", text: "r1 = *(u32 *)(r1 +24)\nr0 = 0" },
    "invalid bpf_context access off=24 size=4",
  ],
  [
    "results are seen at the end",
    { at: "fexit", to: "vfs_read", text: "r1 = *(u64 *)(r1 +16)\nr0 = 0" },
    { ...READ, text: "r1 = *(u64 *)(r1 +16)\nr0 = 0" },
    "invalid bpf_context access off=16 size=8",
  ],
  [
    "where there is one",
    { at: "fexit", to: "vfs_read", text: "r1 = *(u64 *)(r1 +16)\nr0 = 0" },
    { at: "fexit", to: "schedule_tail", text: "r1 = *(u64 *)(r1 +8)\nr0 = 0" },
    "invalid bpf_context access off=8 size=8",
  ],
  [
    "arguments of tracepoints may be NULL, as their names say",
    { ...RESET, text: "r2 = *(u64 *)(r1 +8)\nif r2 == 0x0 goto pc+1\nr2 = *(u32 *)(r2 +0)\nr0 = 0" },
    { ...RESET, text: "r2 = *(u64 *)(r1 +8)\nr2 = *(u32 *)(r2 +0)\nr0 = 0" },
    "R2 invalid mem access 'trusted_ptr_or_null_'",
  ],
])("%s", (_, kept, broken, message) => {
  expect(messageOf(kept)).toBe("accepted");
  expect(messageOf(broken)).toBe(message);
});
