/** Rules of kernel functions: objects, lists, dynptrs, iterators, sections, and what they are trusted with. */
import { testPairs } from "../../../test/judge.ts";

const TYPES = `
  struct bpf_spin_lock { u32 val; }; struct bpf_res_spin_lock { u32 val; }; struct bpf_refcount { u32 val; };
  struct bpf_list_head { u64 opaque[2]; }; struct bpf_list_node { u64 opaque[3]; };
  struct node { u64 key; struct bpf_list_node link; };
  struct counted { u64 key; struct bpf_refcount count; };
  struct other { u64 key; u64 more; struct bpf_list_node link; };
  struct task_struct { int pid; };
  struct lists { struct bpf_list_head head __contains(node, link); struct bpf_spin_lock lock; };
  struct locks { u64 a; struct bpf_res_spin_lock lock; };
  struct kept { struct task_struct *__tag(kptr) task; };
`;
const NEW = (type: string): string =>
  `r1 = #${type}\nr2 = 0\ncall @bpf_obj_new_impl\nif r0 == 0x0 goto out\nr6 = r0`;
const body = (...parts: readonly string[]): string => parts.join("\n");
const DROP = "r1 = r6\nr2 = 0\ncall @bpf_obj_drop_impl";
const LOCK = "r1 = value lists\nr1 += 16\ncall bpf_spin_lock";
const UNLOCK = "r1 = value lists\nr1 += 16\ncall bpf_spin_unlock";
const PUSH = "r1 = value lists\nr2 = r6\nr2 += 8\nr3 = 0\nr4 = 0\ncall @bpf_list_push_front_impl";
const ARGUMENT = "r6 = *(u64 *)(r1 +0)";
const ACQUIRE = "call @bpf_task_acquire\nif r0 == 0x0 goto out\nr1 = r0\ncall @bpf_task_release";
const FROM_PID = "r1 = 1\ncall @bpf_task_from_pid\nif r0 == 0x0 goto out\nr6 = r0";
const RELEASE = "r1 = r6\ncall @bpf_task_release";
const DYNPTR = "r2 = 0\nr3 = r10\nr3 += -16\ncall @bpf_dynptr_from_skb";
const SLICE = "r1 = r10\nr1 += -16\nr2 = 0\nr3 = r10\nr3 += -24\nr4 = 8\ncall @bpf_dynptr_slice";
const ITERATOR = "r1 = r10\nr1 += -24";
const FLAGS = "r1 = r10\nr1 += -8";

testPairs({ section: "tc", types: TYPES }, [
  {
    rule: "of a lock and an object that are held at the end, the lock is told of",
    errno: "EINVAL",
    accepted: body(NEW("node"), LOCK, UNLOCK, DROP),
    rejected: body(NEW("node"), LOCK),
    message: "BPF_EXIT instruction in main prog cannot be used inside bpf_spin_lock-ed region",
  },
  {
    rule: "maps are what stands for maps",
    errno: "EINVAL",
    accepted: body("r1 = map lists", "call @bpf_map_sum_elem_count"),
    rejected: body("r1 = r10", "r1 += -8", "call @bpf_map_sum_elem_count"),
    message: "arg#0 pointer type STRUCT bpf_map must point to scalar, or struct with scalar",
  },
  {
    rule: "a pointer to the kernel's structure of a map stands for it too",
    errno: "EINVAL",
    section: "tp_btf",
    to: "task",
    accepted: body("r1 = *(u64 *)(r1 +8)", "call @bpf_map_sum_elem_count"),
    rejected: body(ARGUMENT, "r1 = r6", "call @bpf_map_sum_elem_count"),
    message:
      "kernel function bpf_map_sum_elem_count args#0 expected pointer to STRUCT bpf_map but R1 has a pointer to STRUCT task_struct",
  },
  {
    rule: "objects of the program are given back",
    errno: "EINVAL",
    accepted: body(NEW("node"), DROP),
    rejected: body(NEW("node")),
    message: "BPF_EXIT instruction in main prog would lead to reference leak",
  },
  {
    rule: "objects may be missing",
    errno: "EACCES",
    accepted: body(NEW("node"), "*(u64 *)(r6 +0) = 1", DROP),
    rejected: body("r1 = #node\nr2 = 0\ncall @bpf_obj_new_impl\n*(u64 *)(r0 +0) = 1"),
    message: "R0 invalid mem access 'ptr_or_null_'",
  },
  {
    rule: "an object that was given back is gone",
    errno: "EACCES",
    accepted: body(NEW("node"), "r7 = *(u64 *)(r6 +0)", DROP),
    rejected: body(NEW("node"), DROP, "r7 = *(u64 *)(r6 +0)"),
    message: "R6 invalid mem access 'scalar'",
  },
  {
    rule: "links are written by the kernel alone",
    errno: "EACCES",
    accepted: body(NEW("node"), "*(u64 *)(r6 +0) = 1", DROP),
    rejected: body(NEW("node"), "*(u64 *)(r6 +8) = 1", DROP),
    message: "direct access to bpf_list_node is disallowed",
  },
  {
    rule: "the type of an object is known",
    errno: "EINVAL",
    accepted: body(NEW("node"), DROP),
    rejected: body("r1 = *(u32 *)(r1 +0)\nr2 = 0\ncall @bpf_obj_new_impl"),
    message: "R1 must be a known constant",
  },
  {
    rule: "lists are changed under their lock",
    errno: "EINVAL",
    accepted: body(NEW("node"), LOCK, PUSH, UNLOCK),
    rejected: body(NEW("node"), PUSH),
    message: "bpf_spin_lock at off=16 must be held for bpf_list_head",
  },
  {
    rule: "a list has nodes of one type",
    errno: "EINVAL",
    accepted: body(NEW("node"), LOCK, PUSH, UNLOCK),
    rejected: body(NEW("other"), LOCK, PUSH.replace("r2 += 8", "r2 += 16"), UNLOCK),
    message:
      "operation on bpf_list_head expects arg#1 bpf_list_node at offset=8 in struct node, but arg is at offset=16 in struct other",
  },
  {
    rule: "what is in a list belongs to it",
    errno: "EINVAL",
    accepted: body(NEW("node"), LOCK, PUSH, "*(u64 *)(r6 +0) = 7", UNLOCK),
    rejected: body(NEW("node"), LOCK, PUSH, PUSH, UNLOCK),
    message: "arg#1 expected pointer to allocated object",
  },
  {
    rule: "without the lock others' nodes may be gone",
    errno: "EACCES",
    accepted: body(NEW("node"), LOCK, PUSH, "r7 = *(u64 *)(r6 +0)", UNLOCK),
    rejected: body(NEW("node"), LOCK, PUSH, UNLOCK, "r7 = *(u64 *)(r6 +0)"),
    message: "R6 invalid mem access 'scalar'",
  },
  {
    rule: "a node that was taken out is owned",
    errno: "EINVAL",
    accepted: body(
      LOCK,
      "r1 = value lists\ncall @bpf_list_pop_front\nr6 = r0",
      UNLOCK,
      "if r6 == 0x0 goto out\nr6 += -8",
      DROP,
    ),
    rejected: body(LOCK, "r1 = value lists\ncall @bpf_list_pop_front\nr6 = r0", UNLOCK),
    message: "BPF_EXIT instruction in main prog would lead to reference leak",
  },
  {
    rule: "objects are counted where they have a count",
    errno: "EINVAL",
    accepted: body(
      NEW("counted"),
      "r1 = r6\nr2 = 0\ncall @bpf_refcount_acquire_impl\nr7 = r0",
      DROP,
      "r1 = r7\nr2 = 0\ncall @bpf_obj_drop_impl",
    ),
    rejected: body(NEW("node"), "r1 = r6\nr2 = 0\ncall @bpf_refcount_acquire_impl"),
    message: "arg#0 doesn't point to a type with bpf_refcount field",
  },
  {
    rule: "tasks that were found are given back",
    errno: "EINVAL",
    section: "tp_btf",
    to: "task_newtask",
    accepted: body(FROM_PID, RELEASE),
    rejected: body(FROM_PID),
    message: "BPF_EXIT instruction in main prog would lead to reference leak",
  },
  {
    rule: "only trusted tasks are acquired",
    errno: "EINVAL",
    section: "tp_btf",
    to: "task_newtask",
    accepted: body(ARGUMENT, "r1 = r6", ACQUIRE),
    rejected: body(ARGUMENT, "r1 = *(u64 *)(r6 +@task_struct.last_wakee)", ACQUIRE),
    message: "R1 must be a rcu pointer",
  },
  {
    rule: "members that the kernel vouches for are as good",
    errno: "EINVAL",
    section: "tp_btf",
    to: "task_newtask",
    accepted: body(
      ARGUMENT,
      "r1 = *(u64 *)(r6 +@task_struct.cgroups)\nr1 = *(u64 *)(r1 +@css_set.dfl_cgrp)\ncall @bpf_cgroup_acquire\nif r0 == 0x0 goto out\nr1 = r0\ncall @bpf_cgroup_release",
    ),
    rejected: body(ARGUMENT, "r1 = r6\ncall @bpf_cgroup_acquire\nr1 = r0\ncall @bpf_cgroup_release"),
    message:
      "kernel function bpf_cgroup_acquire args#0 expected pointer to STRUCT cgroup but R1 has a pointer to STRUCT task_struct",
  },
  {
    rule: "only what was acquired is given back",
    errno: "EINVAL",
    section: "tp_btf",
    to: "task_newtask",
    accepted: body(FROM_PID, RELEASE),
    rejected: body(ARGUMENT, RELEASE),
    message: "release kernel function bpf_task_release expects refcounted PTR_TO_BTF_ID",
  },
  {
    rule: "NULL is passed where the name says so",
    errno: "EACCES",
    section: "tp_btf",
    to: "task_newtask",
    accepted: body(ARGUMENT, "r1 = r6", ACQUIRE),
    rejected: body("r1 = 0\ncall @bpf_task_acquire"),
    message: "Possibly NULL pointer passed to trusted arg0",
  },
  {
    rule: "arguments of tracepoints are known by type",
    errno: "EACCES",
    section: "tp_btf",
    to: "task_newtask",
    accepted: body(ARGUMENT, "r7 = *(u32 *)(r6 +@task_struct.pid)"),
    rejected: body("r7 = *(u64 *)(r1 +16)"),
    message: "invalid bpf_context access off=16 size=8",
  },
  {
    rule: "kernel structures are read by member",
    errno: "EACCES",
    section: "tp_btf",
    to: "task_newtask",
    accepted: body(ARGUMENT, "r7 = *(u64 *)(r6 +@task_struct.last_wakee)"),
    rejected: body(ARGUMENT, "r7 = *(u32 *)(r6 +@task_struct.last_wakee)"),
    message: "cannot access ptr member last_wakee with moff 16 in struct task_struct with off 16 size 4",
  },
  {
    rule: "kernel structures are not written",
    errno: "EACCES",
    section: "tp_btf",
    to: "task_newtask",
    accepted: body(ARGUMENT, "r7 = *(u32 *)(r6 +@task_struct.pid)"),
    rejected: body(ARGUMENT, "*(u32 *)(r6 +@task_struct.pid) = 1"),
    message: "only read is supported",
  },
  {
    rule: "pointers in map values are exchanged",
    errno: "EACCES",
    accepted: body(
      FROM_PID,
      "r1 = value kept\nr2 = r6\ncall bpf_kptr_xchg\nif r0 == 0x0 goto out\nr1 = r0\ncall @bpf_task_release",
    ),
    rejected: body(FROM_PID, "r1 = value kept\n*(u64 *)(r1 +0) = r6"),
    message: "store to referenced kptr disallowed",
  },
  {
    rule: "pointers in map values may be NULL",
    errno: "EACCES",
    accepted: body(
      "r1 = value kept\nr6 = *(u64 *)(r1 +0)\nif r6 == 0x0 goto out\nr7 = *(u32 *)(r6 +@task_struct.pid)",
    ),
    rejected: body("r1 = value kept\nr6 = *(u64 *)(r1 +0)\nr7 = *(u32 *)(r6 +@task_struct.pid)"),
    message: "R6 invalid mem access 'rcu_ptr_or_null_'",
  },
  {
    rule: "programs that sleep read them inside a section",
    errno: "EINVAL",
    section: "syscall",
    accepted: body(
      "call @bpf_rcu_read_lock\nr1 = value kept\nr6 = *(u64 *)(r1 +0)\ncall @bpf_rcu_read_unlock",
    ),
    rejected: body("r1 = value kept\nr1 = *(u64 *)(r1 +0)\nif r1 == 0x0 goto out", ACQUIRE),
    message: "R1 must be a rcu pointer",
  },
  {
    rule: "dynptrs are made before they are used",
    errno: "EINVAL",
    accepted: body(DYNPTR, "r1 = r10\nr1 += -16\ncall @bpf_dynptr_size"),
    rejected: body("r1 = r10\nr1 += -16\ncall @bpf_dynptr_size"),
    message: "Expected an initialized dynptr as arg #0",
  },
  {
    rule: "copies of dynptrs are dynptrs",
    errno: "EINVAL",
    accepted: body(
      DYNPTR,
      "r1 = r10\nr1 += -16\nr2 = r10\nr2 += -32\ncall @bpf_dynptr_clone\nr1 = r10\nr1 += -32\ncall @bpf_dynptr_size",
    ),
    rejected: body("r1 = r10\nr1 += -16\nr2 = r10\nr2 += -32\ncall @bpf_dynptr_clone"),
    message: "Expected an initialized dynptr as arg #0",
  },
  {
    rule: "slices end where they were asked to",
    errno: "EACCES",
    accepted: body(DYNPTR, SLICE, "if r0 == 0x0 goto out\nr7 = *(u64 *)(r0 +0)"),
    rejected: body(DYNPTR, SLICE, "if r0 == 0x0 goto out\nr7 = *(u64 *)(r0 +8)"),
    message: "R0 min value is outside of the allowed memory range",
  },
  {
    rule: "slices for reading are not written",
    errno: "EACCES",
    accepted: body(DYNPTR, SLICE, "if r0 == 0x0 goto out\nr7 = *(u64 *)(r0 +0)"),
    rejected: body(DYNPTR, SLICE, "if r0 == 0x0 goto out\n*(u64 *)(r0 +0) = 0"),
    message: "R0 cannot write into rdonly_mem",
  },
  {
    rule: "buffers are as large as their size says",
    errno: "EINVAL",
    accepted: body(DYNPTR, SLICE),
    rejected: body(DYNPTR, SLICE.replace("r3 += -24", "r3 += -4")),
    message: "arg#2 arg#3 memory, len pair leads to invalid memory access",
  },
  {
    rule: "iterators are destroyed",
    errno: "EINVAL",
    section: "tp_btf",
    to: "task_newtask",
    accepted: body(
      `${ITERATOR}\nr2 = 0\nr3 = 0\ncall @bpf_iter_task_new\n${ITERATOR}\ncall @bpf_iter_task_destroy`,
    ),
    rejected: body(`${ITERATOR}\nr2 = 0\nr3 = 0\ncall @bpf_iter_task_new`),
    message: "BPF_EXIT instruction in main prog would lead to reference leak",
  },
  {
    rule: "iterators over tasks are used inside a section",
    errno: "EACCES",
    section: "syscall",
    accepted: body(
      `call @bpf_rcu_read_lock\n${ITERATOR}\nr2 = 0\nr3 = 0\ncall @bpf_iter_task_new\n${ITERATOR}\ncall @bpf_iter_task_destroy\ncall @bpf_rcu_read_unlock`,
    ),
    rejected: body(`${ITERATOR}\nr2 = 0\nr3 = 0\ncall @bpf_iter_task_new`),
    message: "kernel func bpf_iter_task_new requires RCU critical section protection",
  },
  {
    rule: "interrupts are restored",
    errno: "EINVAL",
    accepted: body(`${FLAGS}\ncall @bpf_local_irq_save\n${FLAGS}\ncall @bpf_local_irq_restore`),
    rejected: body(`${FLAGS}\ncall @bpf_local_irq_save`),
    message: "BPF_EXIT instruction in main prog cannot be used inside bpf_local_irq_save-ed region",
  },
  {
    rule: "only saved flags are restored",
    errno: "EINVAL",
    accepted: body(`${FLAGS}\ncall @bpf_local_irq_save\n${FLAGS}\ncall @bpf_local_irq_restore`),
    rejected: body(`*(u64 *)(r10 -8) = 0\n${FLAGS}\ncall @bpf_local_irq_restore`),
    message: "expected an initialized irq flag as arg#0",
  },
  {
    rule: "resilient locks may not be had",
    errno: "EINVAL",
    accepted: body(
      "r1 = value locks\nr1 += 8\ncall @bpf_res_spin_lock\nif r0 != 0x0 goto out\nr1 = value locks\nr1 += 8\ncall @bpf_res_spin_unlock",
    ),
    rejected: body(
      "r1 = value locks\nr1 += 8\ncall @bpf_res_spin_lock\nr1 = value locks\nr1 += 8\ncall @bpf_res_spin_unlock",
    ),
    message: "bpf_res_spin_unlock without taking a lock",
  },
  {
    rule: "exceptions end the program as exits do",
    errno: "EINVAL",
    accepted: "r1 = 0\ncall @bpf_throw\nexit",
    rejected: body(FROM_PID, "r1 = 0\ncall @bpf_throw", RELEASE),
    message: "bpf_throw would lead to reference leak",
  },
  {
    rule: "contexts are cast to the kernel's",
    errno: "EINVAL",
    accepted: body("call @bpf_cast_to_kern_ctx\nr7 = *(u32 *)(r0 +@sk_buff.len)"),
    rejected: body("r1 = r10\ncall @bpf_cast_to_kern_ctx"),
    message: "arg#0 expected pointer to ctx, but got fp",
  },
  {
    rule: "what is cast for reading is not trusted",
    errno: "EINVAL",
    section: "tp_btf",
    to: "task_newtask",
    accepted: body(`r1 = 0\nr2 = ##task_struct\ncall @bpf_rdonly_cast\nr7 = *(u32 *)(r0 +@task_struct.pid)`),
    rejected: body(`r1 = 0\nr2 = ##task_struct\ncall @bpf_rdonly_cast\nr1 = r0\n${ACQUIRE}`),
    message: "R1 must be a rcu pointer",
  },
  {
    rule: "functions that sleep are for programs that may",
    errno: "EACCES",
    section: "syscall",
    accepted: body("r1 = r10\nr1 += -8\nr2 = 8\nr3 = 0\nr4 = 0\ncall @bpf_copy_from_user_str"),
    rejected: body(
      "call @bpf_rcu_read_lock\nr1 = r10\nr1 += -8\nr2 = 8\nr3 = 0\nr4 = 0\ncall @bpf_copy_from_user_str",
    ),
    message: "kernel func bpf_copy_from_user_str is sleepable within rcu_read_lock region",
  },
  {
    rule: "objects are not for socket filters",
    code: body(NEW("node"), DROP),
    accepted: {},
    rejected: { section: "socket" },
    errno: "EACCES",
    message: "calling kernel function bpf_obj_new_impl is not allowed",
  },
  {
    rule: "a program that may not sleep calls nothing that does",
    code: "r1 = r10\nr1 += -8\nr2 = 8\nr3 = 0\nr4 = 0\ncall @bpf_copy_from_user_str",
    accepted: { section: "syscall" },
    rejected: {},
    errno: "EACCES",
    message: "program must be sleepable to call sleepable kfunc bpf_copy_from_user_str",
  },
]);
