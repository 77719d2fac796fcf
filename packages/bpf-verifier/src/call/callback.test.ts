/** Functions of a program that helpers call back: which may be, what they are given, what they may do. */
import { testPairs } from "../../test/judge.ts";

const VISIT = `
r1 = map array
r2 = function visit
r3 = 0
r4 = 0
call bpf_for_each_map_elem#164
r0 = 0
exit
visit: …
r0 = 0
exit`;
const FUNCTIONS = "int main(void *ctx); int visit(void *map, void *key, void *value, void *ctx);";

testPairs({ section: "tc", types: FUNCTIONS }, [
  {
    rule: "the elements of maps that can be gone through are",
    code: VISIT.replace("map array", "map …").replace("visit: …", "visit:"),
    accepted: "array",
    rejected: "programs",
    message: "callback function not allowed for map",
    errno: "ENOTSUPP",
  },
  {
    rule: "functions that are called back are static: what they are given is known",
    code: VISIT.replace("…", ""),
    accepted: {},
    rejected: { types: FUNCTIONS.replace("int visit", "global int visit") },
    message: "callback function not static",
    errno: "EINVAL",
  },
  {
    rule: "keys are read to their end",
    code: VISIT,
    accepted: "r0 = *(u32 *)(r2 +0)",
    rejected: "r0 = *(u32 *)(r2 +4)",
    message:
      "invalid access to map key, key_size=4 off=4 size=4\nR2 min value is outside of the allowed memory range",
    errno: "EACCES",
  },
  {
    rule: "keys are not written",
    code: VISIT,
    accepted: "*(u32 *)(r3 +0) = 1",
    rejected: "*(u32 *)(r2 +0) = 1",
    message: "write to change key R2 not allowed",
    errno: "EACCES",
  },
]);

testPairs({ section: "tc" }, [
  {
    rule: "functions that are called back have types",
    code: VISIT.replace("…", ""),
    accepted: { types: FUNCTIONS },
    rejected: {},
    message: "missing btf func_info",
    errno: "EINVAL",
  },
]);

const LOOP = `
r7 = r10
r1 = 2
…
r2 = function turn
r3 = 0
r4 = 0
call bpf_loop#181
r0 = 0
exit
turn: r0 = 0
exit`;
const DRAIN = `
r1 = map samples
r2 = function sample
r3 = 0
r4 = 0
call bpf_user_ringbuf_drain#209
r0 = 0
exit
sample: r2 = 0
r3 = 8
…
r0 = 0
exit`;

testPairs(
  {
    section: "tc",
    types: "int main(void *ctx); int turn(u64 index, void *ctx); int sample(void *dynptr, void *ctx);",
    maps: { samples: { type: 31, keySize: 0, valueSize: 0, maxEntries: 4096 } },
  },
  [
    {
      rule: "turns are counted by a number",
      code: LOOP,
      accepted: "r1 = 3",
      rejected: "r1 = r7",
      message: "verifier bug: backtracking misuse",
      errno: "EFAULT",
    },
    {
      rule: "samples are read, and given back by those who called",
      code: DRAIN,
      accepted: "call bpf_dynptr_data#203",
      rejected: "call bpf_ringbuf_discard_dynptr#200",
      message: "cannot release unowned const bpf_dynptr",
      errno: "EINVAL",
    },
  ],
);

const LESS = `
r1 = #node
r2 = 0
call @bpf_obj_new_impl
if r0 == 0x0 goto out
r6 = r0
r1 = value trees
r1 += 16
call bpf_spin_lock#93
r1 = value trees
r2 = r6
r2 += 8
r3 = function less
r4 = 0
r5 = 0
call @bpf_rbtree_add_impl
r1 = value trees
r1 += 16
call bpf_spin_unlock#94
out: r0 = 0
exit
less: r1 = value trees
r1 += 16
…
r0 = 0
exit`;

testPairs(
  {
    section: "tc",
    types: `
      struct bpf_spin_lock { u32 val; };
      struct bpf_rb_root { u64 opaque[2]; }; struct bpf_rb_node { u64 opaque[4]; };
      struct node { u64 key; struct bpf_rb_node link; };
      struct trees { struct bpf_rb_root root __contains(node, link); struct bpf_spin_lock lock; };
      int main(void *ctx); int less(void *a, void *b);
    `,
  },
  [
    {
      rule: "nodes are compared under the lock of their tree",
      code: LESS,
      accepted: "r1 = 0",
      rejected: "call bpf_spin_unlock#94",
      message: "can't spin_{lock,unlock} in rbtree cb",
      errno: "EACCES",
    },
  ],
);

const INNER = `
*(u32 *)(r10 -4) = 0
r2 = r10
r2 += -4
r1 = map outer
call bpf_map_lookup_elem#1
if r0 == 0x0 goto out
`;
const TIMER = `
${INNER}r6 = r0
${INNER}r7 = r0
r2 = r10
r2 += -4
r1 = r6
call bpf_map_lookup_elem#1
if r0 == 0x0 goto out
r1 = r0
r2 = …
r3 = 0
call bpf_timer_init#169`;

testPairs(
  {
    section: "tc",
    types:
      "struct bpf_timer { u64 opaque[2]; }; struct alarm { struct bpf_timer timer; }; int main(void *ctx);",
    maps: { outer: { type: 12, inner: { type: 2, value: "alarm" } } },
  },
  [
    {
      rule: "a timer is made with the map that it lies in, and no other of its shape",
      code: TIMER,
      accepted: "r6",
      rejected: "r7",
      message: "timer pointer in R1 map_uid=1 doesn't match map pointer in R2 map_uid=2",
      errno: "EINVAL",
    },
  ],
);
