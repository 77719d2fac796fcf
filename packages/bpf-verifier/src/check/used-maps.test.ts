/** Maps that a program may use, by its type, and beside others. */
import { testPairs } from "../../test/judge.ts";

const MAPS = {
  trie: { type: 11, keySize: 8, valueSize: 8, flags: 1 },
  storage: { type: 19, keySize: 16, valueSize: 8, maxEntries: 0 },
  other: { type: 19, keySize: 16, valueSize: 16, maxEntries: 0 },
  each: { type: 21, keySize: 16, valueSize: 8, maxEntries: 0 },
  second: { type: 33, keySize: 0, valueSize: 0, flags: 0x400, maxEntries: 2 },
  unmapped: { type: 33, keySize: 0, valueSize: 0, flags: 0x400, more: { isMapped: false } },
};
const TYPES = "struct bpf_spin_lock { u32 val; }; struct locked { struct bpf_spin_lock lock; u32 more; };";

testPairs({ section: "tc", maps: MAPS }, [
  {
    rule: "programs that sleep use maps whose elements wait for them",
    code: "r1 = map trie",
    accepted: {},
    rejected: { section: "syscall" },
    errno: "EINVAL",
    message: "Sleepable programs can only use array, hash, ringbuf and local storage maps",
  },
  {
    rule: "a program has one storage of its control group of each kind",
    section: "cgroup_skb/ingress",
    code: "r1 = map storage\n…",
    accepted: "r1 = map each",
    rejected: "r1 = map other",
    errno: "EBUSY",
    message: "only one cgroup storage of each type is allowed",
  },
  {
    rule: "a program has one arena",
    code: "r1 = map arena\n…",
    accepted: "r1 = map arena",
    rejected: "r1 = map second",
    errno: "EBUSY",
    message: "Only one arena per program",
  },
  {
    rule: "an arena lies somewhere",
    accepted: "r1 = map arena",
    rejected: "r1 = map unmapped",
    errno: "EINVAL",
    message: "arena's user address must be set via map_extra or mmap()",
  },
  {
    rule: "programs that trace take no locks of values",
    types: TYPES,
    code: "r1 = map locked",
    accepted: {},
    rejected: { section: "kprobe" },
    errno: "EINVAL",
    message: "tracing progs cannot use bpf_spin_lock yet",
  },
]);
