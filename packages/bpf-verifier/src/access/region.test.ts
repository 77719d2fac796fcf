/** Memory of a known size: values, packets, records, the stack; by loads and stores, and by helpers. */
import { testPairs } from "../../test/judge.ts";

const PACKET = "r2 = *(u32 *)(r1 +76)\nr3 = *(u32 *)(r1 +80)\nr4 = r2\nr4 += 14\nif r4 > r3 goto out\n…";
const INDEX = `
r0 = value words
r1 = *(u32 *)(r0 +0)
…
r0 += r1
r0 = *(u8 *)(r0 +0)`;
const RESERVE = "r1 = map ringbuf\n…\nr3 = 0\ncall bpf_ringbuf_reserve";
const RECORD = `
r1 = map ringbuf
r2 = 8
r3 = 0
call bpf_ringbuf_reserve
if r0 == 0x0 goto out
…
r1 = r0
r2 = 0
call bpf_ringbuf_submit`;
const dynptr = (at: string): string =>
  `r1 = map ringbuf\nr2 = 8\nr3 = 0\nr4 = r10\nr4 += ${at}\ncall bpf_ringbuf_reserve_dynptr`;
const SUBMIT = "r1 = r10\nr1 += -16\nr2 = 0\ncall bpf_ringbuf_submit_dynptr";
const READ = "r6 = *(u32 *)(r1 +0)\n…\nr1 = r10\nr1 += -16\nr2 = r6\nr3 = 0\ncall bpf_probe_read_kernel";
const PRINT = "r2 = *(u32 *)(r1 +0)\n…\n*(u64 *)(r10 -8) = 0\nr1 = r10\nr1 += -8\ncall bpf_trace_printk";
const CALLEE = "r1 = r10\nr1 += -8\ncall pc+2\nr0 = 0\nexit\n*(u64 *)(r1 +0) = …\nr0 = 0\nexit";

testPairs({ section: "tc", maps: { words: { type: 2, valueSize: 16 } } }, [
  {
    rule: "programs that only see packets do not write them",
    section: "lwt_in",
    code: PACKET,
    accepted: "r0 = *(u8 *)(r2 +0)",
    rejected: "*(u8 *)(r2 +0) = 1",
    message: "cannot write into packet",
    errno: "EACCES",
  },
  {
    rule: "packets end where was looked",
    code: PACKET,
    accepted: "r0 = *(u8 *)(r2 +13)",
    rejected: "r0 = *(u8 *)(r2 +14)",
    message:
      "invalid access to packet, off=14 size=1, R2(id=0,off=14,r=14)\nR2 offset is outside of the packet",
    errno: "EACCES",
  },
  {
    rule: "values have the size that their map says",
    code: "r0 = value words\n…",
    accepted: "r0 = *(u8 *)(r0 +15)",
    rejected: "r0 = *(u8 *)(r0 +16)",
    message:
      "invalid access to map value, value_size=16 off=16 size=1\nR0 min value is outside of the allowed memory range",
    errno: "EACCES",
  },
  {
    rule: "an index may be no more than the value has",
    code: INDEX,
    accepted: "r1 &= 15",
    rejected: "r1 &= 31",
    message:
      "invalid access to map value, value_size=16 off=31 size=1\nR0 max value is outside of the allowed memory range",
    errno: "EACCES",
  },
  {
    rule: "an index is not below the value",
    code: INDEX,
    accepted: "r1 &= 3",
    rejected: "r1 &= 3\nr1 -= 3",
    message: "R0 min value is negative, either use unsigned index or do a if (index >=0) check.",
    errno: "EACCES",
  },
  {
    rule: "maps that programs fill are not read by them",
    code: "r0 = value writeonly\n…",
    accepted: "*(u8 *)(r0 +0) = 1",
    rejected: "r0 = *(u8 *)(r0 +0)",
    message: "read from map forbidden, value_size=48 off=0 size=1",
    errno: "EACCES",
  },
  {
    rule: "records have the size that was reserved",
    code: RECORD,
    accepted: "*(u64 *)(r0 +0) = 1",
    rejected: "*(u64 *)(r0 +8) = 1",
    message:
      "invalid access to memory, mem_size=8 off=8 size=8\nR0 min value is outside of the allowed memory range",
    errno: "EACCES",
  },
  {
    rule: "records are given back at their beginning",
    code: RECORD,
    accepted: "r0 += 0",
    rejected: "r0 += 4",
    message: "R1 must have zero offset when passed to release func or trusted arg to kfunc",
    errno: "EINVAL",
  },
  {
    rule: "the size of a record is known",
    code: `r6 = *(u32 *)(r1 +0)\n${RESERVE}\nif r0 == 0x0 goto out\nr1 = r0\nr2 = 0\ncall bpf_ringbuf_submit`,
    accepted: "r2 = 8",
    rejected: "r2 = r6",
    message: "R2 is not a known constant'",
    errno: "EACCES",
  },
  {
    rule: "addresses are kept whole",
    accepted: "*(u64 *)(r10 -8) = r1",
    rejected: "*(u32 *)(r10 -8) = r1",
    message: "invalid size of register spill",
    errno: "EACCES",
  },
  {
    rule: "functions do not leave their stack to their caller",
    code: CALLEE,
    accepted: "1",
    rejected: "r10",
    message: "cannot spill pointers to stack into stack frame of the caller",
    errno: "EINVAL",
  },
  {
    rule: "an index into the stack is not any number",
    code: "r6 = *(u32 *)(r1 +0)\n…\nr1 = r10\nr1 += -8\nr1 += r6\n*(u8 *)(r1 +0) = 1",
    accepted: "r6 &= 7",
    rejected: "w6 = w6",
    message: "invalid unbounded variable-offset write to stack R1",
    errno: "EACCES",
  },
  {
    rule: "sizes are bounded above",
    code: READ,
    accepted: "r6 &= 15",
    rejected: "w6 = w6",
    message: "R2 unbounded memory access, use 'var &= const' or 'if (var < const)'",
    errno: "EACCES",
  },
  {
    rule: "memory that is read has a size",
    code: PRINT,
    accepted: "r2 &= 3\nr2 += 1",
    rejected: "r2 &= 7",
    message: "R2 invalid zero-sized read: u64=[0,7]",
    errno: "EACCES",
  },
  {
    rule: "a dynptr that must be given back is not written over",
    code: `${dynptr("-16")}\n…\n${SUBMIT}`,
    accepted: "*(u64 *)(r10 -24) = 0",
    rejected: "*(u64 *)(r10 -16) = 0",
    message: "cannot overwrite referenced dynptr",
    errno: "EINVAL",
  },
  {
    rule: "dynptrs lie at multiples of 8 bytes",
    code: `${dynptr("…")}\n${SUBMIT}`,
    accepted: "-16",
    rejected: "-12",
    message: "cannot pass in dynptr at an offset=-12\nDynptr has to be an uninitialized dynptr",
    errno: "EINVAL",
  },
  {
    rule: "dynptrs are given back where they begin",
    code: `${dynptr("…")}\n${SUBMIT}`,
    accepted: "-16",
    rejected: "-24",
    message: "Expected an initialized dynptr as arg #0",
    errno: "EINVAL",
  },
  {
    rule: "dynptrs that were made are given back",
    code: `…\n${SUBMIT}`,
    accepted: dynptr("-16"),
    rejected: "*(u64 *)(r10 -16) = 0\n*(u64 *)(r10 -8) = 0",
    message: "arg 1 is an unacquired reference",
    errno: "EINVAL",
  },
]);
