/** Constants of 64 bits that stand for something of the kernel, and instructions that are written wrongly. */
import { asm, program } from "@alien-ts/bpf-isa";
import { testPairs } from "../test/judge.ts";
import type { MapInfo } from "./env.ts";

const ARRAY: MapInfo = {
  address: 0x10_0000,
  valuesAddress: 0x10_1000,
  type: 2,
  name: "array",
  keySize: 4,
  valueSize: 8,
  maxEntries: 1,
  flags: 0,
  inner: undefined,
  fields: [],
  isFrozen: false,
  constantAt: undefined,
  btf: undefined,
  btfValueType: 0,
};
const KERNEL = "struct rq { u32 nr_running; }; struct rq runqueues;";

testPairs({ section: "tc", kernel: KERNEL }, [
  {
    rule: "variables of the kernel are known by a number that stands for something",
    accepted: "r1 = kernel runqueues",
    rejected: "r1 = btf_id[1000000]",
    message: "ldimm64 insn specifies invalid btf_id 1000000.",
    errno: "ENOENT",
  },
  {
    rule: "variables and functions have addresses, types have not",
    accepted: "r1 = kernel runqueues",
    rejected: "r1 = btf_id[1]",
    message: "pseudo btf_id 1 in ldimm64 isn't KIND_VAR or KIND_FUNC",
    errno: "EINVAL",
  },
  {
    rule: "a module is an open file",
    accepted: "r1 = btf_id[##runqueues]",
    rejected: "r1 = btf_id[##runqueues][1000]",
    message: "invalid module BTF object FD specified.",
    errno: "EINVAL",
  },
  {
    rule: "what the kernel's types name is in the kernel",
    code: "r1 = kernel runqueues",
    accepted: {},
    rejected: { env: { symbol: () => undefined } },
    message: "ldimm64 failed to find the address for kernel symbol 'runqueues'.",
    errno: "ENOENT",
  },
  {
    rule: "variables are known where the kernel knows its types",
    code: "r1 = kernel runqueues",
    accepted: {},
    rejected: { env: { kernelBtf: undefined } },
    message: "kernel is missing BTF, make sure CONFIG_DEBUG_INFO_BTF=y is specified in Kconfig.",
    errno: "EINVAL",
  },
  {
    rule: "a jump that may be taken has a distance and nothing else",
    accepted: "may_goto out",
    rejected: {
      env: { insns: program({ ...asm.mayGoto(1), imm: 5 }, asm.movImm(0, 0), asm.movImm(0, 0), asm.exit()) },
    },
    message: "invalid may_goto imm 5",
    errno: "EINVAL",
  },
]);

testPairs({ section: "tc", maps: { hash: { type: 1, valueSize: 48 } } }, [
  {
    rule: "maps are open files",
    code: "…",
    accepted: "r1 = map array",
    rejected: "r1 = map_fd[1000]",
    message: "fd 1000 is not pointing to valid bpf_map",
    errno: "EBADF",
  },
  {
    rule: "files are named by their place where the loader passes a list",
    code: "r1 = map_idx[0]",
    accepted: { env: { fdArray: () => 0, map: () => ARRAY } },
    rejected: { env: { map: () => ARRAY } },
    message: "fd_idx without fd_array is invalid",
    errno: "EPROTO",
  },
  {
    rule: "places in values lie in the value",
    code: "r1 = value array+…",
    accepted: "47",
    rejected: "48",
    message: "invalid access to map value pointer, value_size=48 off=48",
    errno: "EINVAL",
  },
  {
    rule: "places in values are less than half a gigabyte away",
    code: "r1 = value array+…",
    accepted: "0",
    rejected: "536870912",
    message: "direct value offset of 536870912 is not allowed",
    errno: "EINVAL",
  },
  {
    rule: "values that are not always there have no addresses",
    code: "r1 = value …",
    accepted: "array",
    rejected: "hash",
    message: "no direct value access support for this map type",
    errno: "EINVAL",
  },
]);
