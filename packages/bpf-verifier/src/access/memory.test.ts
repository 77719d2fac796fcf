/** Memory that is neither the stack nor a map: keys of a flow, packets, structures of the kernel. */
import { testPairs } from "../../test/judge.ts";

const KERNEL = "struct holey { u32 first; u64 second; }; struct holey *bpf_holey(void);";

testPairs({ section: "tc", kernel: KERNEL, kfuncs: { bpf_holey: [] } }, [
  {
    rule: "the keys of a flow have 56 bytes",
    section: "flow_dissector",
    code: "r1 = *(u64 *)(r1 +144)\n…",
    accepted: "r0 = *(u32 *)(r1 +52)",
    rejected: "r0 = *(u32 *)(r1 +56)",
    message: "invalid access to flow keys off=56 size=4",
    errno: "EACCES",
  },
  {
    rule: "packets begin at an odd half of a word, where that matters",
    code: "r2 = *(u32 *)(r1 +76)\nr3 = *(u32 *)(r1 +80)\nr4 = r2\nr4 += 8\nif r4 > r3 goto out\n…",
    env: { isStrictAlignment: true },
    accepted: "r0 = *(u32 *)(r2 +2)",
    rejected: "r0 = *(u32 *)(r2 +4)",
    message: "misaligned packet access off 2+0+0+4 size 4",
    errno: "EACCES",
  },
  {
    rule: "structures of the kernel are read where they have members",
    code: "call @bpf_holey\n…",
    accepted: "r0 = *(u32 *)(r0 +0)",
    rejected: "r0 = *(u32 *)(r0 +4)",
    message: "struct holey doesn't have field at offset 4",
    errno: "EINVAL",
  },
]);
