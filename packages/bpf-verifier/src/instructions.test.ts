/** Instructions as they are encoded: fields that mean nothing are zero, and there are no others than those that are known. */
import { asm, program } from "@alien-ts/bpf-isa";
import type { Insn } from "@alien-ts/bpf-isa";
import { testPairs } from "../test/judge.ts";
import type { Program } from "../test/judge.ts";

type Parts = readonly (Insn | readonly Insn[])[];

/** A program of these instructions, and an exit. */
const of = (...parts: Parts): Partial<Program> => ({
  env: { insns: program(asm.movImm(0, 0), ...parts, asm.movImm(0, 0), asm.exit()) },
});
const exact = (...parts: Parts): Partial<Program> => ({ env: { insns: program(...parts) } });
const raw = (opcode: number, fields: Partial<Insn> = {}): Insn => ({
  opcode,
  dst: 0,
  src: 0,
  off: 0,
  imm: 0,
  ...fields,
});

const STORE = asm.storeImm(8, 10, -8, 1);
const LOAD = asm.load(8, 1, 10, -8);
const ADD = asm.aluImm("add", 0, 1);
const [WIDE, SECOND] = [raw(0x18, { dst: 1 }), raw(0)];

const FIELDS: readonly (readonly [rule: string, accepted: Parts, rejected: Parts, message: string])[] = [
  ["opcodes are known", [ADD], [raw(0x58)], "unknown opcode 58"],
  ["registers are r0 to r10", [asm.movReg(1, 10)], [asm.movReg(1, 12)], "R12 is invalid"],
  ["sums have no offset", [ADD], [{ ...ADD, off: 3 }], "BPF_ALU uses reserved fields"],
  ["moves have one operand", [raw(0xbf)], [raw(0xbf, { imm: 5 })], "BPF_MOV uses reserved fields"],
  ["negations have no operand", [raw(0x87)], [raw(0x87, { imm: 5 })], "BPF_NEG uses reserved fields"],
  [
    "bytes of 16, 32 and 64 bits are swapped",
    [raw(0xdc, { imm: 16 })],
    [raw(0xdc, { imm: 24 })],
    "BPF_END uses reserved fields",
  ],
  ["loads have no constant", [STORE, LOAD], [STORE, { ...LOAD, imm: 1 }], "BPF_LDX uses reserved fields"],
  [
    "stores of a register have no constant",
    [asm.storeReg(8, 10, -8, 0)],
    [{ ...asm.storeReg(8, 10, -8, 0), imm: 1 }],
    "BPF_STX uses reserved fields",
  ],
  ["stores of a constant have no register", [STORE], [{ ...STORE, src: 1 }], "BPF_ST uses reserved fields"],
  [
    "atomic operations are known",
    [STORE, raw(0xdb, { dst: 10, off: -8, imm: 0x40 })],
    [STORE, raw(0xdb, { dst: 10, off: -8, imm: 0x20 })],
    "BPF_ATOMIC uses invalid atomic opcode 20",
  ],
  [
    "atomic operations are on 4 or 8 bytes",
    [STORE, raw(0xc3, { dst: 10, off: -8 })],
    [STORE, raw(0xd3, { dst: 10, off: -8 })],
    "invalid atomic operand size",
  ],
  ["jumps have no constant", [raw(0x05)], [raw(0x05, { imm: 1 })], "BPF_JA uses reserved fields"],
  [
    "comparisons with a constant have one register",
    [raw(0x15)],
    [raw(0x15, { src: 1 })],
    "BPF_JMP/JMP32 uses reserved fields",
  ],
  ["calls have no destination", [asm.call(5)], [{ ...asm.call(5), dst: 1 }], "BPF_CALL uses reserved fields"],
  [
    "constants of 64 bits have no offset",
    [WIDE, SECOND],
    [{ ...WIDE, off: 1 }, SECOND],
    "BPF_LD_IMM64 uses reserved fields",
  ],
  [
    "the second half of a constant is nothing else",
    [WIDE, SECOND],
    [WIDE, asm.movImm(0, 0)],
    "invalid bpf_ld_imm64 insn",
  ],
  [
    "constants stand for what is known",
    [WIDE, SECOND],
    [{ ...WIDE, src: 9 }, SECOND],
    "unrecognized bpf_ld_imm64 insn",
  ],
  ["jumps stay in the program", [asm.goto(0), ADD], [asm.goto(5)], "jump out of range from insn 1 to 7"],
  [
    "jumps do not go into constants",
    [asm.jumpImm("jeq", 0, 0, 2), WIDE, SECOND],
    [asm.jumpImm("jeq", 0, 0, 1), WIDE, SECOND],
    "jump into the middle of ldimm64 insn 2",
  ],
];

testPairs({ section: "socket" }, [
  ...FIELDS.map(([rule, accepted, rejected, message]) => ({
    rule,
    accepted: of(...accepted),
    rejected: of(...rejected),
    message,
    errno: "EINVAL",
  })),
  {
    rule: "exits have no operand",
    accepted: exact(asm.movImm(0, 0), asm.exit()),
    rejected: exact(asm.movImm(0, 0), { ...asm.exit(), imm: 1 }),
    message: "BPF_EXIT uses reserved fields",
    errno: "EINVAL",
  },
  {
    rule: "functions end in an exit or a jump",
    accepted: exact(asm.movImm(0, 0), asm.exit()),
    rejected: exact(asm.movImm(0, 0), asm.exit(), asm.movImm(0, 0)),
    message: "last insn is not an exit or jmp",
    errno: "EINVAL",
  },
  {
    rule: "every instruction is reached from the first",
    accepted: exact(asm.movImm(0, 0), asm.goto(0), asm.exit()),
    rejected: exact(asm.movImm(0, 0), asm.goto(1), asm.exit(), asm.exit()),
    message: "unreachable insn 2",
    errno: "EINVAL",
  },
  {
    rule: "packets are loaded the old way by programs that filter and classify",
    accepted: exact(asm.movReg(6, 1), asm.packetAbs(1, 0), asm.exit()),
    rejected: { ...exact(asm.movReg(6, 1), asm.packetAbs(1, 0), asm.exit()), section: "kprobe" },
    message: "BPF_LD_[ABS|IND] instructions not allowed for this program type",
    errno: "EINVAL",
  },
]);
