/** What programs may read of a map itself. */
import { testPairs } from "../../test/judge.ts";

const LOAD = "r2 = *(u32 *)(r1 +@bpf_map.max_entries)";

testPairs({ section: "socket", code: "r1 = map array\n…" }, [
  {
    rule: "nothing is before a map",
    accepted: LOAD,
    rejected: "r2 = *(u32 *)(r1 -4)",
    errno: "EACCES",
    message: "R1 is bpf_array invalid negative access: off=-4",
  },
  {
    rule: "maps are read by programs of any licence, not written",
    license: "MIT",
    accepted: LOAD,
    rejected: "*(u32 *)(r1 +@bpf_map.max_entries) = 1",
    errno: "EACCES",
    message: "only read from bpf_array is supported",
  },
  {
    rule: "maps are read for those who may see addresses",
    lacks: "perfmon",
    accepted: "",
    rejected: LOAD,
    errno: "EPERM",
    message: "'struct bpf_array' access is allowed only to CAP_PERFMON and CAP_SYS_ADMIN",
  },
  {
    rule: "maps are read whose structure the kernel tells of",
    code: `…\n${LOAD}`,
    accepted: "r1 = map array",
    rejected: "r1 = map hash",
    errno: "ENOTSUPP",
    message: "map_ptr access not supported for map type 1",
  },
  {
    rule: "maps of all types are structures of their own",
    code: `r1 = map …\n${LOAD}`,
    kernel: "struct bpf_ringbuf_map { struct bpf_map map; };",
    accepted: "ringbuf",
    rejected: { code: "filter", maps: { filter: { type: 30, keySize: 0 } } },
    errno: "ENOTSUPP",
    message: "map_ptr access not supported for map type 30",
  },
]);
