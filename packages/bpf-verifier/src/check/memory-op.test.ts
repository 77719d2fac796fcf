/** Loads that acquire, stores that release, and addresses of arenas. */
import { testPairs } from "../../test/judge.ts";

testPairs({ section: "tc" }, [
  {
    rule: "nothing is acquired from a context",
    code: "r2 = r10\n*(u64 *)(r2 -8) = 1\nr3 = load_acquire((u32 *)(…))",
    accepted: "r2 -8",
    rejected: "r1 +0",
    message: "BPF_ATOMIC loads from R1 ctx is not allowed",
    errno: "EACCES",
  },
  {
    rule: "what is acquired from a context is looked at before whether that may be",
    code: "*(u64 *)(r10 -8) = 1\nr3 = load_acquire((u64 *)(…))",
    accepted: "r10 -8",
    rejected: "r1 +4",
    message: "misaligned context access off 0+0+4 size 8",
    errno: "EACCES",
  },
  {
    rule: "nothing is released to a context",
    code: "r2 = 0\n*(u64 *)(r10 -8) = 1\nstore_release((u32 *)(…), r2)",
    accepted: "r10 -8",
    rejected: "r1 +8",
    message: "BPF_ATOMIC stores into R1 ctx is not allowed",
    errno: "EACCES",
  },
  {
    rule: "an address in an arena is a number until it is cast",
    code: "r1 = value …\n*(u64 *)(r1 +0) = 1",
    accepted: "array+8",
    rejected: "arena+8",
    message: "R1 invalid mem access 'scalar'",
    errno: "EACCES",
  },
]);
