/**
 * The numbers of the instruction encoding (RFC 9669 section 3, include/uapi/linux/bpf.h) and the machine's limits.
 *
 * Names are Linux's without the `BPF_` prefix; what an instruction *means* stands in `operations.ts` and `opcodes.ts`.
 */

/** Low three bits of an opcode. */
export const CLASS = { LD: 0, LDX: 1, ST: 2, STX: 3, ALU: 4, JMP: 5, JMP32: 6, ALU64: 7 } as const;

/** Bit 3 of an arithmetic or jump opcode: the second operand is the immediate (K) or the source register (X). */
export const SOURCE = { K: 0x00, X: 0x08 } as const;

/** Bits 3 and 4 of a load or store opcode. */
export const SIZE = { W: 0x00, H: 0x08, B: 0x10, DW: 0x18 } as const;

/** Bits 5 to 7 of a load or store opcode. */
export const MODE = { IMM: 0x00, ABS: 0x20, IND: 0x40, MEM: 0x60, MEMSX: 0x80, ATOMIC: 0xc0 } as const;

/** Source register of a wide load (`BPF_PSEUDO_*`): what its 64-bit immediate stands for. */
export const PSEUDO = {
  NONE: 0,
  MAP_FD: 1,
  MAP_VALUE: 2,
  BTF_ID: 3,
  FUNC: 4,
  MAP_IDX: 5,
  MAP_IDX_VALUE: 6,
} as const;

/** Source register of a call: whom it calls. */
export const CALL = { HELPER: 0, LOCAL: 1, KFUNC: 2 } as const;

/** Opcode of a barrier against mispredicted paths, which only the kernel puts into programs (`BPF_ST | BPF_NOSPEC`). */
export const NOSPEC = 0xc2;

/** Registers by role: r0 result, r1–r5 arguments, r6–r9 saved by the callee, r10 read-only frame pointer. */
export const REG = { R0: 0, R1: 1, R2: 2, R3: 3, R4: 4, R5: 5, R6: 6, R7: 7, R8: 8, R9: 9, R10: 10 } as const;

/** Number of registers (`MAX_BPF_REG`). */
export const REGISTERS = 11;

/** Bytes of one instruction slot; a wide load takes two. */
export const INSN_BYTES = 8;

/** Bytes of one stack frame (`MAX_BPF_STACK`). */
export const FRAME_BYTES = 512;

/** Frames of nested BPF-to-BPF calls, the main program's included (`MAX_CALL_FRAMES`). */
export const MAX_FRAMES = 8;

/** Tail calls that one run may make (`MAX_TAIL_CALL_CNT`). */
export const MAX_TAIL_CALLS = 33;

/** Turns that the `may_goto` of one frame allows before it jumps (`BPF_MAX_LOOPS`). */
export const MAX_MAY_GOTO = 8 * 1024 * 1024;

/** Instructions that a privileged program may have, and that the verifier processes (`BPF_COMPLEXITY_LIMIT_INSNS`). */
export const MAX_INSNS = 1_000_000;

/** Instructions that an unprivileged program may have (`BPF_MAXINSNS`). */
export const MAX_INSNS_UNPRIVILEGED = 4096;
