/** Calls of helpers: what some of them ask of their arguments beside their kinds. */
import { testPairs } from "../../test/judge.ts";
import type { MapShape } from "../../test/program-text.ts";

const TEXT = new TextEncoder().encode("ab\0cd");
const text: MapShape = {
  type: 2,
  valueSize: TEXT.length,
  flags: 0x80,
  more: {
    isFrozen: true,
    constantAt: (offset, size) => (size === 1 ? BigInt(TEXT[offset] ?? 0) : undefined),
  },
};
const STORE = `
r6 = r1
r2 = *(u32 *)(r1 +76)
r3 = *(u32 *)(r1 +80)
r4 = r2
r4 += 8
if r4 > r3 goto out
*(u64 *)(r10 -8) = 0
r5 = r10
r5 += -8
r1 = r6
r3 = …
r2 = 0
r4 = 8
r5 = 0
call bpf_skb_store_bytes#9`;
const RESERVE = "r1 = map ringbuf\nr2 = 8\nr3 = 0\ncall bpf_ringbuf_reserve#131";
const DISCARD = (number: number): string => `r1 = r${number}\nr2 = 0\ncall bpf_ringbuf_discard#133`;
const RECORDS = `
*(u64 *)(r10 -8) = 0
r8 = r10
r8 += -8
${RESERVE}
if r0 == 0x0 goto out
r6 = r0
${RESERVE}
if r0 == 0x0 goto first
r7 = r0
r1 = map words
r2 = r6
r3 = …
r4 = 0
call bpf_map_update_elem#2
${DISCARD(7)}
first:
${DISCARD(6)}`;

testPairs(
  {
    section: "tc",
    maps: {
      words: { type: 1, keySize: 8, valueSize: 8 },
      text,
      storage: { type: 19, keySize: 16, valueSize: 8, maxEntries: 0 },
    },
  },
  [
    {
      rule: "the storage of a control group is asked for without flags",
      section: "cgroup_skb/egress",
      code: "…\nr1 = map storage\ncall bpf_get_local_storage#81\nr0 = *(u64 *)(r0 +0)",
      accepted: "r2 = 0",
      rejected: "r2 = 7",
      message: "get_local_storage() doesn't support non-zero flags",
      errno: "EINVAL",
    },
    {
      rule: "helpers that move a packet are not given what lies in it",
      code: STORE,
      accepted: "r5",
      rejected: "r2",
      message: "helper access to the packet is not allowed",
      errno: "EACCES",
    },
    {
      rule: "a call is about one object that must be given back",
      code: RECORDS,
      accepted: "r8",
      rejected: "r7",
      message: "more than one arg with ref_obj_id R3 4 2",
      errno: "EACCES",
      isUnended: true,
    },
    {
      rule: "texts end in the map that they are in",
      code: "r1 = r10\nr1 += -8\nr2 = 8\nr3 = value text+…\ncall bpf_strncmp#182",
      accepted: "0",
      rejected: "3",
      message: "string is not zero-terminated",
      errno: "EINVAL",
    },
    {
      rule: "helpers give structures that the kernel has",
      code: "r1 = *(u64 *)(r1 +168)\nif r1 == 0x0 goto out\ncall bpf_skc_to_tcp6_sock#136",
      accepted: { kernel: "struct tcp6_sock { u64 state; };" },
      rejected: {},
      message: "invalid return type 8 of func bpf_skc_to_tcp6_sock#136",
      errno: "EINVAL",
    },
    {
      rule: "helpers are those that this kernel has",
      code: "…",
      accepted: "r0 = 0",
      rejected: "call bpf_get_prandom_u32#7",
      env: { absentHelper: (id) => (id === 7 ? "chance is not told" : undefined) },
      message: "insn 0: unknown func bpf_get_prandom_u32#7: chance is not told",
      errno: "EINVAL",
    },
  ],
);
