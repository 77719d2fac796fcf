/** Locks of map values: where they are, what may be done while one is held, which programs may have them. */
import { testPairs } from "../../test/judge.ts";

const TYPES = `
  struct bpf_spin_lock { u32 val; }; struct bpf_timer { u64 opaque[2]; }; struct bpf_wq { u64 opaque[2]; };
  struct bpf_rb_root { u64 opaque[2]; }; struct bpf_rb_node { u64 opaque[4]; };
  struct node { u64 key; struct bpf_rb_node link; };
  struct locked { struct bpf_spin_lock lock; u32 more; u64 words[2]; };
  struct timed { struct bpf_timer timer; }; struct working { struct bpf_wq work; };
  struct trees { struct bpf_rb_root root __contains(node, link); struct bpf_spin_lock lock; };
  int main(void *ctx);
`;
const LOOKUP = `
*(u32 *)(r10 -4) = 0
r2 = r10
r2 += -4
r1 = map locks
call bpf_map_lookup_elem
if r0 == 0x0 goto out`;
const LOCK = "call bpf_spin_lock";
const TWO = `
${LOOKUP}
r7 = r0
${LOOKUP}
r6 = r0
r1 = r6
${LOCK}
r1 = …
call bpf_spin_unlock`;
const PLACE = `
r1 = value …
${LOCK}
r1 = value locked
call bpf_spin_unlock`;
const HELD = "r1 = value locked\ncall bpf_spin_lock\n…\nr1 = value locked\ncall bpf_spin_unlock";
const USED = "r1 = map …";

testPairs(
  { section: "tc", types: TYPES, maps: { locks: { type: 1, value: "locked" }, plain: { type: 2 } } },
  [
    {
      rule: "no functions are called while a lock is held",
      code: HELD,
      accepted: "r0 = 1",
      rejected: "call bpf_get_prandom_u32",
      message: "function calls are not allowed while holding a lock",
      errno: "EINVAL",
    },
    {
      rule: "locks are given back",
      code: "r1 = value locked\ncall bpf_spin_lock\n…",
      accepted: "r1 = value locked\ncall bpf_spin_unlock",
      rejected: "r1 = value locked",
      message: "BPF_EXIT instruction in main prog cannot be used inside bpf_spin_lock-ed region",
      errno: "EINVAL",
    },
    {
      rule: "the lock that is held is given back",
      code: TWO,
      accepted: "r6",
      rejected: "r7",
      message: "bpf_spin_unlock of different lock",
      errno: "EINVAL",
    },
    {
      rule: "only what is held is given back",
      code: "r1 = value locked\n…\nr1 = value locked\ncall bpf_spin_unlock",
      accepted: "call bpf_spin_lock",
      rejected: "r0 = 0",
      message: "bpf_spin_unlock without taking a lock",
      errno: "EINVAL",
    },
    {
      rule: "it is known where a lock is",
      code: "r0 = value locked\nr6 = *(u32 *)(r0 +8)\n…\nr0 += r6\nr1 = r0\ncall bpf_spin_lock\nr1 = value locked\ncall bpf_spin_unlock",
      accepted: "r6 = 0",
      rejected: "r6 &= 4",
      message: "R1 doesn't have constant offset. bpf_spin_lock has to be at the constant offset",
      errno: "EINVAL",
    },
    {
      rule: "locks are in values that have types",
      code: PLACE,
      accepted: "locked",
      rejected: "plain",
      message: "map 'map' has to have BTF in order to use bpf_spin_lock",
      errno: "EINVAL",
    },
    {
      rule: "locks are in values that have one",
      code: PLACE,
      accepted: "locked",
      rejected: "timed",
      message: "map 'timed' has no valid bpf_spin_lock",
      errno: "EINVAL",
    },
    {
      rule: "a lock is taken where it is",
      code: PLACE,
      accepted: "locked",
      rejected: "locked+4",
      message: "off 4 doesn't point to 'struct bpf_spin_lock' that is at 0",
      errno: "EINVAL",
    },
    {
      rule: "locks are not read",
      code: "r1 = value locked\n…",
      accepted: "r0 = *(u32 *)(r1 +4)",
      rejected: "r0 = *(u32 *)(r1 +0)",
      message: "bpf_spin_lock cannot be accessed directly by load/store",
      errno: "EACCES",
    },
    {
      rule: "socket filters have no locks",
      section: "socket",
      code: USED,
      accepted: "array",
      rejected: "locked",
      message: "socket filter progs cannot use bpf_spin_lock yet",
      errno: "EINVAL",
    },
    ...(
      [
        ["locks", "locked", "tracing progs cannot use bpf_spin_lock yet"],
        ["timers", "timed", "tracing progs cannot use bpf_timer yet"],
        ["work that is done later", "working", "tracing progs cannot use bpf_wq yet"],
        ["trees", "trees", "tracing progs cannot use bpf_{list_head,rb_root} yet"],
      ] as const
    ).map(([what, map, message]) => ({
      rule: `programs that trace have no ${what}`,
      section: "kprobe" as const,
      code: USED,
      accepted: "array",
      rejected: map,
      message,
      errno: "EINVAL",
    })),
  ],
);
