/** Constants of 64 bits that stand for something of the kernel, and instructions that are written wrongly. */
import { testPairs } from "../test/judge.ts";
import { asm, program } from "@alien-ts/bpf-isa";

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
