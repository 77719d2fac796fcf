/** Loads of the fields of a map itself: `struct bpf_map` inside the structure of its type. Linux: check_ptr_to_map_access(). */
import { EACCES, ENOTSUPP, EPERM } from "@alien-ts/abi";
import type { Analysis } from "../analysis.ts";
import { pointer } from "../state/register.ts";
import type { Register } from "../state/register.ts";
import { reject } from "../verdict.ts";
import type { Reject } from "../verdict.ts";
import { accessMember } from "./btf-pointer.ts";
import type { BtfAccess } from "./btf-pointer.ts";

/** Names of the structures by `enum bpf_map_type`; `bpf_map` for the others. */
const STRUCTURES: Record<number, string> = {
  1: "bpf_htab",
  2: "bpf_array",
  3: "bpf_array",
  4: "bpf_array",
  5: "bpf_htab",
  6: "bpf_array",
  7: "bpf_stack_map",
  8: "bpf_array",
  9: "bpf_htab",
  10: "bpf_htab",
  11: "lpm_trie",
  12: "bpf_array",
  13: "bpf_htab",
  14: "bpf_dtab",
  15: "bpf_stab",
  16: "bpf_cpu_map",
  17: "xsk_map",
  18: "bpf_shtab",
  19: "bpf_cgroup_storage_map",
  20: "reuseport_array",
  21: "bpf_cgroup_storage_map",
  22: "bpf_queue_stack",
  23: "bpf_queue_stack",
  24: "bpf_local_storage_map",
  25: "bpf_dtab",
  27: "bpf_ringbuf_map",
  28: "bpf_local_storage_map",
  29: "bpf_local_storage_map",
  30: "bpf_bloom_filter",
  31: "bpf_ringbuf_map",
  32: "bpf_local_storage_map",
  33: "bpf_arena",
};

export function accessMapObject(
  analysis: Analysis,
  register: Register,
  access: BtfAccess,
): Register | Reject {
  const { kernelBtf } = analysis.env;
  const { number, off } = access;
  const type = register.map?.type ?? 0;
  const name = STRUCTURES[type] ?? "bpf_map";
  const id = kernelBtf?.find(name, "struct");
  if (kernelBtf === undefined || id === undefined)
    return reject(ENOTSUPP, `map_ptr access not supported for map type ${type}`);
  if (!analysis.env.privileges.mayLeakPointers)
    return reject(EPERM, `'struct ${name}' access is allowed only to CAP_PERFMON and CAP_SYS_ADMIN`);
  if (off < 0) return reject(EACCES, `R${number} is ${name} invalid negative access: off=${off}`);
  if (access.isWrite) return reject(EACCES, `only read from ${name} is supported`);
  return accessMember(analysis, pointer("ptr_", { btf: kernelBtf, btfId: id }), access);
}
