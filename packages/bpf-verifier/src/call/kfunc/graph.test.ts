/** Lists, trees and objects of the program: what is put where, what is given back, and under which lock. */
import { testPairs } from "../../../test/judge.ts";

const TYPES = `
  struct bpf_spin_lock { u32 val; }; struct bpf_refcount { u32 val; };
  struct bpf_rb_root { u64 opaque[2]; }; struct bpf_rb_node { u64 opaque[4]; };
  struct bpf_list_head { u64 opaque[2]; }; struct bpf_list_node { u64 opaque[3]; };
  struct node { u64 key; struct bpf_rb_node link; struct bpf_rb_node other; };
  struct item { u64 key; struct bpf_list_node link; };
  struct counted { u64 key; struct bpf_refcount count; };
  struct plain { u64 key; };
  struct tree { struct bpf_rb_root root __contains(node, link); struct bpf_spin_lock lock; };
  struct list { struct bpf_list_head head __contains(item, link); struct bpf_spin_lock lock; };
`;
const lock = (map: string): string => `r1 = value ${map}+16\ncall bpf_spin_lock`;
const unlock = (map: string): string => `r1 = value ${map}+16\ncall bpf_spin_unlock`;
const create = (type: string): string =>
  `r1 = #${type}\nr2 = 0\ncall @bpf_obj_new_impl\nif r0 == 0x0 goto out\nr6 = r0`;
const DROP = "r1 = r6\nr2 = 0\ncall @bpf_obj_drop_impl";
/** Puts a node into the tree; `…` is in the comparison. */
const ADD = `${create("node")}
${lock("tree")}
r1 = value tree
r2 = r6
r2 += 8
r3 = function less
r4 = 0
r5 = 0
call @bpf_rbtree_add_impl
${unlock("tree")}
out: r0 = 0
exit
less: r6 = r1
…
r0 = 0
exit`;
const FIRST = `${lock("tree")}
r1 = value tree
call @bpf_rbtree_first
if r0 == 0x0 goto end
r1 = value tree
r2 = r0
…
call @bpf_rbtree_remove
if r0 == 0x0 goto end
r6 = r0
r6 += -8
${unlock("tree")}
${DROP}
goto out
end:
${unlock("tree")}
out: r0 = 0
exit`;
const PUSH = `${create("item")}
${lock("list")}
…
call @bpf_list_push_front_impl
${unlock("list")}`;
const PERCPU = create("plain").replace("obj_new", "percpu_obj_new");

/** Calls itself through `depth` functions, the last of which puts a node into the tree. */
function nested(depth: number): string {
  const calls = Array.from({ length: depth }, (_, i) => `f${i}: call f${i + 1}\nr0 = 0\nexit`).slice(0, -1);
  return `call f0\nr0 = 0\nexit\n${calls.join("\n")}\nf${depth - 1}: ${ADD.replace("…\n", "")}`;
}

testPairs({ section: "tc", types: TYPES }, [
  {
    rule: "what is taken out of a tree is one of its nodes",
    code: FIRST,
    accepted: "",
    rejected: "r2 = r10",
    errno: "EINVAL",
    message: "bpf_rbtree_remove can only take non-owning or refcounted bpf_rb_node pointer",
  },
  {
    rule: "nothing is taken out of a tree that is being compared",
    code: ADD,
    accepted: "",
    rejected: "r2 = r1\nr1 = value tree\ncall @bpf_rbtree_remove",
    errno: "EINVAL",
    message: "bpf_rbtree_remove not allowed in rbtree cb",
  },
  {
    rule: "a tree is where its root is",
    code: `${lock("tree")}\nr1 = value tree\n…\ncall @bpf_rbtree_first\n${unlock("tree")}`,
    accepted: "",
    rejected: "r1 += 8",
    errno: "EINVAL",
    message: "bpf_rb_root not found at offset=8",
  },
  {
    rule: "a node is in a tree by the member that the tree is of",
    code: ADD.replace("\n…", "").replace("r2 += 8", "…"),
    accepted: "r2 += 8",
    rejected: "r2 += 40",
    errno: "EINVAL",
    message: "arg#1 offset=40, but expected bpf_rb_node at offset=8 in struct node",
  },
  {
    rule: "nodes are compared by a function",
    code: ADD.replace("\n…", "").replace("r4 = 0", "…\nr4 = 0"),
    accepted: "",
    rejected: "r3 = 0",
    errno: "EINVAL",
    message: "arg2 expected pointer to func",
  },
  {
    rule: "comparisons take a frame",
    accepted: nested(6),
    rejected: nested(7),
    errno: "E2BIG",
    message:
      "the call stack of 9 frames is too deep\nkfunc bpf_rbtree_add_impl###bpf_rbtree_add_impl failed callback verification",
  },
  {
    rule: "lists are in values of maps and in objects",
    code: PUSH,
    accepted: "r1 = value list\nr2 = r6\nr2 += 8\nr3 = 0\nr4 = 0",
    rejected: "r1 = r10\nr2 = r6\nr2 += 8\nr3 = 0\nr4 = 0",
    errno: "EINVAL",
    message: "arg#0 expected pointer to map value or allocated object",
  },
  {
    rule: "objects of a processor each are given back as such",
    accepted: `${PERCPU}\n${DROP.replace("obj_drop", "percpu_obj_drop")}`,
    rejected: `${PERCPU}\n${DROP}`,
    errno: "EINVAL",
    message: "arg#0 expected for bpf_percpu_obj_drop_impl()",
  },
  {
    rule: "other objects are not",
    accepted: `${create("plain")}\n${DROP}`,
    rejected: `${create("plain")}\n${DROP.replace("obj_drop", "percpu_obj_drop")}`,
    errno: "EINVAL",
    message: "arg#0 expected for bpf_obj_drop_impl()",
  },
  {
    rule: "owners are counted of objects",
    code: `${create("counted")}\nr1 = r6\n…\nr2 = 0\ncall @bpf_refcount_acquire_impl\nr1 = r0\nr2 = 0\ncall @bpf_obj_drop_impl\n${DROP}`,
    accepted: "",
    rejected: "r1 = r10",
    errno: "EINVAL",
    message: "arg#0 is neither owning or non-owning ref",
  },
  {
    rule: "a tree is at a place that is known",
    code: `call bpf_get_prandom_u32\nr6 = r0\nr6 &= 8\n${lock("tree")}\nr1 = value tree\n…\ncall @bpf_rbtree_first\n${unlock("tree")}`,
    accepted: "",
    rejected: "r1 += r6",
    errno: "EINVAL",
    message: "R1 doesn't have constant offset. bpf_rb_root has to be at the constant offset",
  },
  {
    rule: "what is given back is an object",
    code: "…\nif r0 == 0x0 goto out\nr1 = r0\nr2 = 0\ncall @bpf_obj_drop_impl",
    accepted: "r1 = #plain\nr2 = 0\ncall @bpf_obj_new_impl",
    rejected: "r1 = 1\ncall @bpf_task_from_pid",
    errno: "EINVAL",
    message: "arg#0 expected pointer to allocated object",
  },
]);
