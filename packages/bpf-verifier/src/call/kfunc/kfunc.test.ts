/**
 * Rules of kernel functions as pairs of programs: one that keeps the rule and one that breaks it, with the message. `@name` after
 * `call` stands for a kernel function, `&name` for a map or its value, `#name` for a type of the program.
 */
import { EBADF } from "@alien-ts/abi";
import { AssembleError, assemble } from "@alien-ts/bpf-isa";
import type { Insn } from "@alien-ts/bpf-isa";
import { expect, test } from "vitest";
import { declare } from "../../../test/declare.ts";
import type { MapInfo, ProgramEnv } from "../../env.ts";
import { attachTarget } from "../../linux/attach-target.ts";
import { linuxHelper } from "../../linux/helpers.ts";
import { linuxKfunc } from "../../linux/kfuncs.ts";
import { linuxProgramType } from "../../linux/program-types.ts";
import { valueFields } from "../../value-fields.ts";
import { verifyProgram } from "../../verify-program.ts";
import { PRIVILEGED } from "../../privileges.ts";

const KERNEL = declare(`
  struct bpf_map { u64 ops; };
  struct bpf_dynptr { u64 opaque[2]; };
  struct bpf_rb_root { u64 opaque[2]; }; struct bpf_rb_node { u64 opaque[4]; };
  struct bpf_list_head { u64 opaque[2]; }; struct bpf_list_node { u64 opaque[3]; };
  struct bpf_iter_num { u64 opaque[1]; }; struct bpf_iter_task { u64 opaque[3]; };
  struct bpf_res_spin_lock { u32 val; };
  struct __sk_buff { u32 len; }; struct sk_buff { u32 len; u64 data; };
  struct cgroup { u64 id; }; struct css_set { struct cgroup *dfl_cgrp; };
  struct task_struct { int pid; struct css_set *cgroups; struct task_struct *last_wakee; char comm[16]; };
  struct btf_task { struct task_struct *task; };
  void *bpf_obj_new_impl(u64 id__k, void *meta__ign);
  void bpf_obj_drop_impl(void *p__alloc, void *meta__ign);
  void *bpf_refcount_acquire_impl(void *p__refcounted_kptr, void *meta__ign);
  int bpf_list_push_front_impl(struct bpf_list_head *head, struct bpf_list_node *node, void *meta__ign, u64 off);
  struct bpf_list_node *bpf_list_pop_front(struct bpf_list_head *head);
  struct bpf_list_node *bpf_list_front(struct bpf_list_head *head);
  struct task_struct *bpf_task_acquire(struct task_struct *p);
  struct task_struct *bpf_task_from_pid(int pid);
  void bpf_task_release(struct task_struct *p);
  struct cgroup *bpf_cgroup_acquire(struct cgroup *p);
  void bpf_cgroup_release(struct cgroup *p);
  int bpf_dynptr_from_skb(struct __sk_buff *s, u64 flags, struct bpf_dynptr *p__uninit);
  void *bpf_dynptr_slice(const struct bpf_dynptr *p, u32 offset, void *buffer__opt, u32 buffer__szk);
  u32 bpf_dynptr_size(const struct bpf_dynptr *p);
  int bpf_dynptr_clone(const struct bpf_dynptr *p, struct bpf_dynptr *clone__uninit);
  int bpf_iter_task_new(struct bpf_iter_task *it, struct task_struct *task__nullable, u32 flags);
  struct task_struct *bpf_iter_task_next(struct bpf_iter_task *it);
  void bpf_iter_task_destroy(struct bpf_iter_task *it);
  void bpf_rcu_read_lock(void); void bpf_rcu_read_unlock(void);
  void bpf_local_irq_save(u64 *flags__irq_flag); void bpf_local_irq_restore(u64 *flags__irq_flag);
  int bpf_res_spin_lock(struct bpf_res_spin_lock *lock); void bpf_res_spin_unlock(struct bpf_res_spin_lock *lock);
  void bpf_throw(u64 cookie);
  void *bpf_rdonly_cast(const void *obj__ign, u32 id__k);
  void *bpf_cast_to_kern_ctx(void *obj);
  int bpf_map_sum_elem_count(const struct bpf_map *map__map);
  int bpf_copy_from_user_str(void *dst, u32 dst__sz, const void *unsafe__ign, u64 flags);
  void __bpf_trace_task(void *data, struct task_struct *task, struct bpf_map *map);
  typedef void btf_trace_task;
`);

const PROGRAM = declare(`
  struct bpf_spin_lock { u32 val; }; struct bpf_res_spin_lock { u32 val; }; struct bpf_refcount { u32 val; };
  struct bpf_list_head { u64 opaque[2]; }; struct bpf_list_node { u64 opaque[3]; };
  struct node { u64 key; struct bpf_list_node link; };
  struct counted { u64 key; struct bpf_refcount count; };
  struct other { u64 key; u64 more; struct bpf_list_node link; };
  struct task_struct { int pid; };
  struct lists { struct bpf_list_head head __contains(node, link); struct bpf_spin_lock lock; };
  struct locks { u64 a; struct bpf_res_spin_lock lock; };
  struct kept { struct task_struct *__tag(kptr) task; };
`);

const map = (address: number, valueType: string, size: number): MapInfo => ({
  address,
  valuesAddress: address + 0x1000,
  type: 2,
  name: valueType,
  keySize: 4,
  valueSize: size,
  maxEntries: 1,
  flags: 0,
  inner: undefined,
  fields: valueFields(PROGRAM, PROGRAM.find(valueType, "struct")!),
  isFrozen: false,
  constantAt: undefined,
  btf: PROGRAM,
  btfValueType: PROGRAM.find(valueType, "struct")!,
});
const MAPS: readonly MapInfo[] = [
  map(0x10_0000, "lists", 24),
  map(0x20_0000, "locks", 16),
  map(0x30_0000, "kept", 8),
];

const KFUNC = 0x4b00_0000;
const VALUE = 0x4d41_5000;
const MAP = 0x4d41_6000;

function programOf(text: string): Insn[] {
  const lines = text
    .replaceAll(/call @(\w+)/g, (_, name: string) => `call a#${KFUNC + KERNEL.find(name, "func")!}`)
    .replaceAll(/map &(\w+)/g, (_, name: string) => `0x${(MAP + index(name)).toString(16)}`)
    .replaceAll(/&(\w+)/g, (_, name: string) => `0x${(VALUE + index(name)).toString(16)}`)
    .replaceAll(/#(\w+)(?=\n|$)/g, (whole, name: string) => {
      const id = PROGRAM.find(name, "struct");
      return id === undefined ? whole : String(id);
    });
  const insns = assemble(lines);
  if (insns instanceof AssembleError) throw new Error(`line ${insns.line}: ${insns.message}\n${lines}`);
  return insns.map((insn) => {
    if (insn.opcode === 0x85 && insn.imm >= KFUNC) return { ...insn, src: 2, imm: insn.imm - KFUNC };
    const isMap = insn.opcode === 0x18 && insn.imm >= MAP && insn.imm < MAP + MAPS.length;
    if (isMap) return { ...insn, src: 1, imm: insn.imm - MAP };
    const isValue = insn.opcode === 0x18 && insn.imm >= VALUE && insn.imm < VALUE + MAPS.length;
    return isValue ? { ...insn, src: 2, imm: insn.imm - VALUE } : insn;
  });
}

const index = (name: string): number => MAPS.findIndex((candidate) => candidate.name === name);

/** Program type and attach type; the tracepoint's argument is a task. */
const TYPES: Record<string, readonly [number, number]> = {
  socket_filter: [1, 0],
  sched_cls: [3, 0],
  tp_btf: [26, 23],
  syscall: [31, 0],
};
const TASK = attachTarget(KERNEL, { type: 26, attachType: 23 }, KERNEL.find("btf_trace_task", "typedef")!);

function messageOf(type: string, text: string): string {
  const [number, attachType] = TYPES[type]!;
  const env: ProgramEnv = {
    insns: programOf(text),
    programType: linuxProgramType(number, attachType)!,
    helper: (id) => linuxHelper(id, number),
    kfunc: (id) => KERNEL.type(id)?.name,
    kfuncRules: linuxKfunc,
    map: (fd) => MAPS[fd] ?? EBADF,
    addressHigh: 0xffff_8881,
    license: "GPL",
    privileges: PRIVILEGED,
    log: { level: 1 },
    kernelBtf: KERNEL,
    program: { btf: PROGRAM, functions: [], lines: [] },
    attach: type === "tp_btf" ? TASK : undefined,
    isSleepable: type === "syscall",
    isStrictAlignment: false,
    isAnyAlignment: false,
    isStateFrequent: false,
    hasFragments: false,
  };
  const verdict = verifyProgram(env);
  return verdict.ok ? "accepted" : (verdict.log.trimEnd().split("\n").at(-2) ?? "");
}

const EXIT = "r0 = 0\nexit";
const NEW = (type: string): string =>
  `r1 = #${type}\nr2 = 0\ncall @bpf_obj_new_impl\nif r0 == 0x0 goto pc+LEAVE\nr6 = r0`;
/** Ends at a shared exit: `pc+LEAVE` of the first line goes there. */
function body(...parts: readonly string[]): string {
  const lines = [...parts, EXIT].join("\n").split("\n");
  const at = lines.length - 2;
  const slots = (upTo: number): number =>
    lines.slice(0, upTo).reduce((sum, line) => sum + (line.includes("&") ? 2 : 1), 0);
  return lines.map((line, i) => line.replace("LEAVE", String(slots(at) - slots(i) - 1))).join("\n");
}
const DROP = "r1 = r6\nr2 = 0\ncall @bpf_obj_drop_impl";
const LOCK = "r1 = &lists\nr1 += 16\ncall bpf_spin_lock#93";
const UNLOCK = "r1 = &lists\nr1 += 16\ncall bpf_spin_unlock#94";
const PUSH = "r1 = &lists\nr2 = r6\nr2 += 8\nr3 = 0\nr4 = 0\ncall @bpf_list_push_front_impl";
const ARGUMENT = "r6 = *(u64 *)(r1 +0)";
const ACQUIRE = "call @bpf_task_acquire\nif r0 == 0x0 goto pc+LEAVE\nr1 = r0\ncall @bpf_task_release";
const FROM_PID = "r1 = 1\ncall @bpf_task_from_pid\nif r0 == 0x0 goto pc+LEAVE\nr6 = r0";
const RELEASE = "r1 = r6\ncall @bpf_task_release";
const DYNPTR = "r2 = 0\nr3 = r10\nr3 += -16\ncall @bpf_dynptr_from_skb";
const SLICE = "r1 = r10\nr1 += -16\nr2 = 0\nr3 = r10\nr3 += -24\nr4 = 8\ncall @bpf_dynptr_slice";
const ITERATOR = "r1 = r10\nr1 += -24";
const FLAGS = "r1 = r10\nr1 += -8";
const TASK_TYPE = KERNEL.find("task_struct", "struct")!;

/** Rule, program type, what keeps it, what breaks it, the message. */
const RULES: readonly (readonly [string, string, string, string, string])[] = [
  [
    "of a lock and an object that are held at the end, the lock is told of",
    "sched_cls",
    body(NEW("node"), LOCK, UNLOCK, DROP),
    body(NEW("node"), LOCK),
    "BPF_EXIT instruction in main prog cannot be used inside bpf_spin_lock-ed region",
  ],
  [
    "maps are what stands for maps",
    "sched_cls",
    body("r1 = map &lists", "call @bpf_map_sum_elem_count"),
    body("r1 = r10", "r1 += -8", "call @bpf_map_sum_elem_count"),
    "pointer in R1 isn't map pointer",
  ],
  [
    "a pointer to the kernel's structure of a map stands for it too",
    "tp_btf",
    body("r1 = *(u64 *)(r1 +8)", "call @bpf_map_sum_elem_count"),
    body(ARGUMENT, "r1 = r6", "call @bpf_map_sum_elem_count"),
    "kernel function bpf_map_sum_elem_count args#0 expected pointer to STRUCT bpf_map but R1 has a pointer to STRUCT task_struct",
  ],
  [
    "objects of the program are given back",
    "sched_cls",
    body(NEW("node"), DROP),
    body(NEW("node")),
    "BPF_EXIT instruction in main prog would lead to reference leak",
  ],
  [
    "objects may be missing",
    "sched_cls",
    body(NEW("node"), "*(u64 *)(r6 +0) = 1", DROP),
    body("r1 = #node\nr2 = 0\ncall @bpf_obj_new_impl\n*(u64 *)(r0 +0) = 1"),
    "R0 invalid mem access 'ptr_or_null_'",
  ],
  [
    "an object that was given back is gone",
    "sched_cls",
    body(NEW("node"), "r7 = *(u64 *)(r6 +0)", DROP),
    body(NEW("node"), DROP, "r7 = *(u64 *)(r6 +0)"),
    "R6 invalid mem access 'scalar'",
  ],
  [
    "links are written by the kernel alone",
    "sched_cls",
    body(NEW("node"), "*(u64 *)(r6 +0) = 1", DROP),
    body(NEW("node"), "*(u64 *)(r6 +8) = 1", DROP),
    "direct access to bpf_list_node is disallowed",
  ],
  [
    "the type of an object is known",
    "sched_cls",
    body(NEW("node"), DROP),
    body("r1 = *(u32 *)(r1 +0)\nr2 = 0\ncall @bpf_obj_new_impl"),
    "R1 must be a known constant",
  ],
  [
    "lists are changed under their lock",
    "sched_cls",
    body(NEW("node"), LOCK, PUSH, UNLOCK),
    body(NEW("node"), PUSH),
    "bpf_spin_lock at off=16 must be held for bpf_list_head",
  ],
  [
    "a list has nodes of one type",
    "sched_cls",
    body(NEW("node"), LOCK, PUSH, UNLOCK),
    body(NEW("other"), LOCK, PUSH.replace("r2 += 8", "r2 += 16"), UNLOCK),
    "operation on bpf_list_head expects arg#1 bpf_list_node at offset=8 in struct node, but arg is at offset=16 in struct other",
  ],
  [
    "what is in a list belongs to it",
    "sched_cls",
    body(NEW("node"), LOCK, PUSH, "*(u64 *)(r6 +0) = 7", UNLOCK),
    body(NEW("node"), LOCK, PUSH, PUSH, UNLOCK),
    "arg#1 expected pointer to allocated object",
  ],
  [
    "without the lock others' nodes may be gone",
    "sched_cls",
    body(NEW("node"), LOCK, PUSH, "r7 = *(u64 *)(r6 +0)", UNLOCK),
    body(NEW("node"), LOCK, PUSH, UNLOCK, "r7 = *(u64 *)(r6 +0)"),
    "R6 invalid mem access 'scalar'",
  ],
  [
    "a node that was taken out is owned",
    "sched_cls",
    body(
      LOCK,
      "r1 = &lists\ncall @bpf_list_pop_front\nr6 = r0",
      UNLOCK,
      "if r6 == 0x0 goto pc+LEAVE\nr6 += -8",
      DROP,
    ),
    body(LOCK, "r1 = &lists\ncall @bpf_list_pop_front\nr6 = r0", UNLOCK),
    "BPF_EXIT instruction in main prog would lead to reference leak",
  ],
  [
    "objects are counted where they have a count",
    "sched_cls",
    body(
      NEW("counted"),
      "r1 = r6\nr2 = 0\ncall @bpf_refcount_acquire_impl\nr7 = r0",
      DROP,
      "r1 = r7\nr2 = 0\ncall @bpf_obj_drop_impl",
    ),
    body(NEW("node"), "r1 = r6\nr2 = 0\ncall @bpf_refcount_acquire_impl"),
    "arg#0 doesn't point to a type with bpf_refcount field",
  ],
  [
    "tasks that were found are given back",
    "tp_btf",
    body(FROM_PID, RELEASE),
    body(FROM_PID),
    "BPF_EXIT instruction in main prog would lead to reference leak",
  ],
  [
    "only trusted tasks are acquired",
    "tp_btf",
    body(ARGUMENT, "r1 = r6", ACQUIRE),
    body(ARGUMENT, "r1 = *(u64 *)(r6 +16)", ACQUIRE),
    "R1 must be a rcu pointer",
  ],
  [
    "members that the kernel vouches for are as good",
    "tp_btf",
    body(
      ARGUMENT,
      "r1 = *(u64 *)(r6 +8)\nr1 = *(u64 *)(r1 +0)\ncall @bpf_cgroup_acquire\nif r0 == 0x0 goto pc+LEAVE\nr1 = r0\ncall @bpf_cgroup_release",
    ),
    body(ARGUMENT, "r1 = r6\ncall @bpf_cgroup_acquire\nr1 = r0\ncall @bpf_cgroup_release"),
    "kernel function bpf_cgroup_acquire args#0 expected pointer to STRUCT cgroup but R1 has a pointer to STRUCT task_struct",
  ],
  [
    "only what was acquired is given back",
    "tp_btf",
    body(FROM_PID, RELEASE),
    body(ARGUMENT, RELEASE),
    "release kernel function bpf_task_release expects refcounted PTR_TO_BTF_ID",
  ],
  [
    "NULL is passed where the name says so",
    "tp_btf",
    body(ARGUMENT, "r1 = r6", ACQUIRE),
    body("r1 = 0\ncall @bpf_task_acquire"),
    "Possibly NULL pointer passed to trusted arg0",
  ],
  [
    "arguments of tracepoints are known by type",
    "tp_btf",
    body(ARGUMENT, "r7 = *(u32 *)(r6 +0)"),
    body("r7 = *(u64 *)(r1 +16)"),
    "invalid bpf_context access off=16 size=8",
  ],
  [
    "kernel structures are read by member",
    "tp_btf",
    body(ARGUMENT, "r7 = *(u64 *)(r6 +16)"),
    body(ARGUMENT, "r7 = *(u32 *)(r6 +16)"),
    "cannot access ptr member last_wakee with moff 16 in struct task_struct with off 16 size 4",
  ],
  [
    "kernel structures are not written",
    "tp_btf",
    body(ARGUMENT, "r7 = *(u32 *)(r6 +0)"),
    body(ARGUMENT, "*(u32 *)(r6 +0) = 1"),
    "only read is supported",
  ],
  [
    "pointers in map values are exchanged",
    "sched_cls",
    body(
      FROM_PID,
      "r1 = &kept\nr2 = r6\ncall bpf_kptr_xchg#194\nif r0 == 0x0 goto pc+LEAVE\nr1 = r0\ncall @bpf_task_release",
    ),
    body(FROM_PID, "r1 = &kept\n*(u64 *)(r1 +0) = r6"),
    "store to referenced kptr disallowed",
  ],
  [
    "pointers in map values may be NULL",
    "sched_cls",
    body("r1 = &kept\nr6 = *(u64 *)(r1 +0)\nif r6 == 0x0 goto pc+LEAVE\nr7 = *(u32 *)(r6 +0)"),
    body("r1 = &kept\nr6 = *(u64 *)(r1 +0)\nr7 = *(u32 *)(r6 +0)"),
    "R6 invalid mem access 'rcu_ptr_or_null_'",
  ],
  [
    "programs that sleep read them inside a section",
    "syscall",
    body("call @bpf_rcu_read_lock\nr1 = &kept\nr6 = *(u64 *)(r1 +0)\ncall @bpf_rcu_read_unlock"),
    body("r1 = &kept\nr1 = *(u64 *)(r1 +0)\nif r1 == 0x0 goto pc+LEAVE", ACQUIRE),
    "R1 must be a rcu pointer",
  ],
  [
    "dynptrs are made before they are used",
    "sched_cls",
    body(DYNPTR, "r1 = r10\nr1 += -16\ncall @bpf_dynptr_size"),
    body("r1 = r10\nr1 += -16\ncall @bpf_dynptr_size"),
    "Expected an initialized dynptr as arg #0",
  ],
  [
    "copies of dynptrs are dynptrs",
    "sched_cls",
    body(
      DYNPTR,
      "r1 = r10\nr1 += -16\nr2 = r10\nr2 += -32\ncall @bpf_dynptr_clone\nr1 = r10\nr1 += -32\ncall @bpf_dynptr_size",
    ),
    body("r1 = r10\nr1 += -16\nr2 = r10\nr2 += -32\ncall @bpf_dynptr_clone"),
    "Expected an initialized dynptr as arg #0",
  ],
  [
    "slices end where they were asked to",
    "sched_cls",
    body(DYNPTR, SLICE, "if r0 == 0x0 goto pc+LEAVE\nr7 = *(u64 *)(r0 +0)"),
    body(DYNPTR, SLICE, "if r0 == 0x0 goto pc+LEAVE\nr7 = *(u64 *)(r0 +8)"),
    "R0 min value is outside of the allowed memory range",
  ],
  [
    "slices for reading are not written",
    "sched_cls",
    body(DYNPTR, SLICE, "if r0 == 0x0 goto pc+LEAVE\nr7 = *(u64 *)(r0 +0)"),
    body(DYNPTR, SLICE, "if r0 == 0x0 goto pc+LEAVE\n*(u64 *)(r0 +0) = 0"),
    "R0 cannot write into rdonly_mem",
  ],
  [
    "buffers are as large as their size says",
    "sched_cls",
    body(DYNPTR, SLICE),
    body(DYNPTR, SLICE.replace("r3 += -24", "r3 += -4")),
    "arg#2 arg#3 memory, len pair leads to invalid memory access",
  ],
  [
    "iterators are destroyed",
    "tp_btf",
    body(`${ITERATOR}\nr2 = 0\nr3 = 0\ncall @bpf_iter_task_new\n${ITERATOR}\ncall @bpf_iter_task_destroy`),
    body(`${ITERATOR}\nr2 = 0\nr3 = 0\ncall @bpf_iter_task_new`),
    "BPF_EXIT instruction in main prog would lead to reference leak",
  ],
  [
    "iterators over tasks are used inside a section",
    "syscall",
    body(
      `call @bpf_rcu_read_lock\n${ITERATOR}\nr2 = 0\nr3 = 0\ncall @bpf_iter_task_new\n${ITERATOR}\ncall @bpf_iter_task_destroy\ncall @bpf_rcu_read_unlock`,
    ),
    body(`${ITERATOR}\nr2 = 0\nr3 = 0\ncall @bpf_iter_task_new`),
    "kernel func bpf_iter_task_new requires RCU critical section protection",
  ],
  [
    "interrupts are restored",
    "sched_cls",
    body(`${FLAGS}\ncall @bpf_local_irq_save\n${FLAGS}\ncall @bpf_local_irq_restore`),
    body(`${FLAGS}\ncall @bpf_local_irq_save`),
    "BPF_EXIT instruction in main prog cannot be used inside bpf_local_irq_save-ed region",
  ],
  [
    "only saved flags are restored",
    "sched_cls",
    body(`${FLAGS}\ncall @bpf_local_irq_save\n${FLAGS}\ncall @bpf_local_irq_restore`),
    body(`*(u64 *)(r10 -8) = 0\n${FLAGS}\ncall @bpf_local_irq_restore`),
    "expected an initialized irq flag as arg#0",
  ],
  [
    "resilient locks may not be had",
    "sched_cls",
    body(
      "r1 = &locks\nr1 += 8\ncall @bpf_res_spin_lock\nif r0 != 0x0 goto pc+LEAVE\nr1 = &locks\nr1 += 8\ncall @bpf_res_spin_unlock",
    ),
    body("r1 = &locks\nr1 += 8\ncall @bpf_res_spin_lock\nr1 = &locks\nr1 += 8\ncall @bpf_res_spin_unlock"),
    "bpf_res_spin_unlock without taking a lock",
  ],
  [
    "exceptions end the program as exits do",
    "sched_cls",
    "r1 = 0\ncall @bpf_throw\nexit",
    body(FROM_PID, "r1 = 0\ncall @bpf_throw", RELEASE),
    "bpf_throw would lead to reference leak",
  ],
  [
    "contexts are cast to the kernel's",
    "sched_cls",
    body("call @bpf_cast_to_kern_ctx\nr7 = *(u32 *)(r0 +0)"),
    body("r1 = r10\ncall @bpf_cast_to_kern_ctx"),
    "arg#0 expected pointer to ctx, but got fp",
  ],
  [
    "what is cast for reading is not trusted",
    "tp_btf",
    body(`r1 = 0\nr2 = ${TASK_TYPE}\ncall @bpf_rdonly_cast\nr7 = *(u32 *)(r0 +0)`),
    body(`r1 = 0\nr2 = ${TASK_TYPE}\ncall @bpf_rdonly_cast\nr1 = r0\n${ACQUIRE}`),
    "R1 must be a rcu pointer",
  ],
  [
    "functions that sleep are for programs that may",
    "syscall",
    body("r1 = r10\nr1 += -8\nr2 = 8\nr3 = 0\nr4 = 0\ncall @bpf_copy_from_user_str"),
    body("call @bpf_rcu_read_lock\nr1 = r10\nr1 += -8\nr2 = 8\nr3 = 0\nr4 = 0\ncall @bpf_copy_from_user_str"),
    "kernel func bpf_copy_from_user_str is sleepable within rcu_read_lock region",
  ],
];

test.each(RULES)("%s (%s)", (_, type, kept, broken, message) => {
  expect(messageOf(type, kept)).toBe("accepted");
  expect(messageOf(type, broken)).toBe(message);
});

test("objects are not for socket filters", () => {
  expect(messageOf("socket_filter", body(NEW("node"), DROP))).toBe(
    "calling kernel function bpf_obj_new_impl is not allowed",
  );
});

test("a program that may not sleep calls nothing that does", () => {
  const call = "r1 = r10\nr1 += -8\nr2 = 8\nr3 = 0\nr4 = 0\ncall @bpf_copy_from_user_str";
  expect(messageOf("sched_cls", body(call))).toBe(
    "program must be sleepable to call sleepable kfunc bpf_copy_from_user_str",
  );
});
