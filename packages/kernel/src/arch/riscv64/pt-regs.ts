/**
 * riscv64's `struct pt_regs` and the register context of the Cpu, which is one.
 *
 * A context is CONTEXT_BYTES of linear memory, 8-aligned: the 36 words of `pt_regs` (Linux: arch/riscv/include/asm/ptrace.h),
 * then a word that is always zero and a word that is only written. Word i of `pt_regs` is register x_i, with epc in x0's place;
 * predecoded instructions read x0 at the zero word and write it to the sink, so neither needs a branch.
 *
 * `pt_regs` is ABI (BPF programs see it as their context): its offsets are the same in every layout.
 */
import { abiStruct, named, nested, type StructDecl, u64n, ulong } from "@alien-ts/abi";

/** The words of `pt_regs`, by Linux's field names, in order. */
export const PT_REGS_WORDS = [
  "epc",
  "ra",
  "sp",
  "gp",
  "tp",
  "t0",
  "t1",
  "t2",
  "s0",
  "s1",
  "a0",
  "a1",
  "a2",
  "a3",
  "a4",
  "a5",
  "a6",
  "a7",
  "s2",
  "s3",
  "s4",
  "s5",
  "s6",
  "s7",
  "s8",
  "s9",
  "s10",
  "s11",
  "t3",
  "t4",
  "t5",
  "t6",
  "status",
  "badaddr",
  "cause",
  "orig_a0",
] as const;

export type PtRegsWord = (typeof PT_REGS_WORDS)[number];

const USER_REGISTERS = 32;
const words = (names: readonly string[]): Record<string, typeof ulong> =>
  Object.fromEntries(names.map((name) => [name, ulong]));

export const pt_regs: StructDecl = abiStruct("pt_regs", words(PT_REGS_WORDS));
/** The registers as debuggers and perf events see them; `bpf_user_pt_regs_t`. */
export const user_regs_struct: StructDecl = abiStruct("user_regs_struct", {
  pc: ulong,
  ...words(PT_REGS_WORDS.slice(1, USER_REGISTERS)),
});
/** What programs on perf events see. */
export const bpf_perf_event_data: StructDecl = abiStruct("bpf_perf_event_data", {
  regs: nested(user_regs_struct),
  sample_period: named("__u64", u64n),
  addr: named("__u64", u64n),
});

/** Index of the u64 word of each field: `REG.a0 * 8` is its byte offset. */
export const REG = {
  epc: 0,
  ra: 1,
  sp: 2,
  gp: 3,
  tp: 4,
  t0: 5,
  t1: 6,
  t2: 7,
  s0: 8,
  s1: 9,
  a0: 10,
  a1: 11,
  a2: 12,
  a3: 13,
  a4: 14,
  a5: 15,
  a6: 16,
  a7: 17,
  s2: 18,
  s3: 19,
  s4: 20,
  s5: 21,
  s6: 22,
  s7: 23,
  s8: 24,
  s9: 25,
  s10: 26,
  s11: 27,
  t3: 28,
  t4: 29,
  t5: 30,
  t6: 31,
  status: 32,
  badaddr: 33,
  cause: 34,
  orig_a0: 35,
} as const satisfies Record<PtRegsWord, number>;

export const PT_REGS_BYTES = PT_REGS_WORDS.length * 8;

/** Index of the word that is always zero. */
export const ZERO_WORD = 36;
/** Index of the word that writes to x0 go to. */
export const SINK_WORD = 37;

/** Bytes of a register context; a multiple of 16, so that a stack stays aligned. */
export const CONTEXT_BYTES = (SINK_WORD + 1) * 8;

/** scause values (RISC-V Privileged ISA, table "Supervisor cause register values after trap"). */
export const CAUSE = {
  fetchMisaligned: 0,
  illegalInstruction: 2,
  breakpoint: 3,
  ecallFromSupervisor: 9,
  fetchPageFault: 12,
  loadPageFault: 13,
  storePageFault: 15,
} as const;
