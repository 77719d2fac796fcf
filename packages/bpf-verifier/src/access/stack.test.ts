/** The stack where offsets vary, where helpers read and write it, and where it holds what is not bytes. */
import { testPairs } from "../../test/judge.ts";
import { PRIVILEGED } from "../privileges.ts";

const DYNPTR = `
r1 = value array
r2 = 48
r3 = 0
r4 = r10
r4 += -16
call bpf_dynptr_from_mem#197
`;
const OUTPUT =
  "r6 = r1\n…\nr1 = r6\nr2 = map events\nr3 = 0\nr4 = r10\nr4 += -16\nr5 = 8\ncall bpf_perf_event_output#25";
const READ = `${DYNPTR}
r1 = r10
r1 += …
r2 = 16
r3 = r10
r3 += -16
r4 = 0
r5 = 0
call bpf_dynptr_read#201`;
const VARIABLE = `
*(u64 *)(r10 -8) = 0
*(u64 *)(r10 -16) = 0
r6 = r1
r2 = *(u32 *)(r1 +0)
…
r3 = r10
r3 += -16
r3 += r2`;

testPairs({ section: "tc" }, [
  {
    rule: "helpers do not see what dynptrs are made of",
    code: OUTPUT,
    accepted: "*(u64 *)(r10 -16) = 0",
    rejected: DYNPTR,
    message: "invalid read from stack R4 off -16+0 size 8",
    errno: "EACCES",
  },
  {
    rule: "helpers do not write over dynptrs",
    code: READ,
    accepted: "-32",
    rejected: "-24",
    message: "potential write to dynptr at off=-16 disallowed",
    errno: "EACCES",
  },
  {
    rule: "what is counted with on the stack is at a place that is known",
    code: `${VARIABLE}\nr4 = 1\nlock *(u64 *)(r3 +0) += r4`,
    accepted: "r2 = 8",
    rejected: "r2 &= 8",
    message:
      "variable offset stack pointer cannot be passed into helper function; var_off=(0x0; 0x8) off=-16 size=8",
    errno: "EACCES",
  },
]);

/** On a machine that need not fear what is executed beyond mispredicted jumps. */
const WITHOUT_PERFMON = { ...PRIVILEGED, mayLeakPointers: false };

testPairs({ section: "tc" }, [
  {
    rule: "who must not see addresses does not write over one that is kept",
    code: `${VARIABLE}\n*(u64 *)(r3 +0) = 1`,
    env: { privileges: WITHOUT_PERFMON },
    accepted: "r2 &= 8",
    rejected: "*(u64 *)(r10 -8) = r6\nr2 &= 8",
    message: "spilled ptr in range of var-offset stack write; insn 9, ptr off: -8",
    errno: "EINVAL",
    isUnended: true,
  },
  {
    rule: "who must not read what was never written does not write beside it",
    code: "r2 = *(u32 *)(r1 +0)\n…\n*(u64 *)(r10 -8) = 0\nr2 &= 8\nr3 = r10\nr3 += -16\nr3 += r2\n*(u64 *)(r3 +0) = 1",
    env: { privileges: { ...PRIVILEGED, mayReadUninitialised: false } },
    accepted: "*(u64 *)(r10 -16) = 0",
    rejected: "r4 = 0",
    message: "uninit stack in range of var-offset write prohibited for !root; insn 7, off: -16",
    errno: "EINVAL",
    isUnended: true,
  },
]);
