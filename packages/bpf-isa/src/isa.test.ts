import { Prng } from "@alien-ts/testkit";
import { describe, expect, test } from "vitest";
import { asm, insn, program } from "./build.ts";
import { disassemble, disassembleProgram } from "./disassemble.ts";
import { decode, encode, wideConstant } from "./instruction.ts";
import type { Insn } from "./instruction.ts";
import { OPCODES, identify, isKnownOpcode, reservedField } from "./opcodes.ts";
import { ALU, JUMP, signExtend, swapBytes } from "./operations.ts";
import type { AluOp, Bits, JumpOp } from "./operations.ts";

const SEED = 9669;

describe("encoding", () => {
  test(`any bytes come back (seed ${SEED})`, () => {
    const bytes = new Prng(SEED).bytes(8 * 5000);
    expect(encode(decode(bytes))).toEqual(bytes);
  });

  test("fields stand where struct bpf_insn has them", () => {
    const bytes = Uint8Array.of(0x7b, 0xa3, 0xf8, 0xff, 1, 0, 0, 0x80);
    expect(decode(bytes)).toEqual([{ opcode: 0x7b, dst: 3, src: 10, off: -8, imm: -0x7fff_ffff }]);
  });

  test("a length that is no multiple of 8 is a mistake", () => {
    expect(() => decode(new Uint8Array(12))).toThrow("program of 12 bytes is not a multiple of 8");
  });

  test("a wide constant is two words", () => {
    const [first, second] = asm.wide64(1, 0xfedc_ba98_7654_3210n) as [Insn, Insn];
    expect(wideConstant(first, second)).toBe(0xfedc_ba98_7654_3210n);
  });
});

describe("rows", () => {
  test("names are unique", () => {
    expect(new Set(OPCODES.map(({ name }) => name)).size).toBe(OPCODES.length);
  });

  test.each(OPCODES)("$name is found by its own fields, and none of them is reserved", (row) => {
    const slot = insn(row.name);
    expect(identify(slot)?.name).toBe(row.name);
    expect(reservedField(row, slot)).toBeUndefined();
  });

  // RFC 9669 appendix: opcodes per class, counted with all subtypes.
  test("the number of instructions per kind", () => {
    const counts: Record<string, number> = {};
    for (const { kind } of OPCODES) counts[kind] = (counts[kind] ?? 0) + 1;
    expect(counts).toEqual({
      alu: 56,
      neg: 2,
      movsx: 5,
      end: 9,
      jump: 44,
      goto: 2,
      may_goto: 1,
      call: 4,
      exit: 1,
      load: 7,
      store: 8,
      atomic: 20,
      load_acquire: 4,
      store_release: 4,
      packet: 6,
      wide: 7,
    });
  });

  test.each([0x00, 0x8f, 0x06 | 0x08, 0x58, 0x99, 0xe6, 0xff])("opcode %i is no instruction", (opcode) => {
    expect(isKnownOpcode(opcode)).toBe(false);
  });

  test("a field that an instruction does not use is reserved", () => {
    const slot = { ...asm.movReg(1, 2), imm: 5 };
    expect(reservedField(identify(slot)!, slot)).toBe("imm");
  });
});

describe("semantics", () => {
  const min64 = 1n << 63n;
  const ones = (1n << 64n) - 1n;
  const alu: readonly [AluOp, Bits, bigint, bigint, bigint][] = [
    ["add", 64, ones, 1n, 0n],
    ["sub", 32, 0n, 1n, 0xffff_ffffn],
    ["mul", 64, 1n << 63n, 3n, 1n << 63n],
    ["div", 64, 7n, 0n, 0n],
    ["mod", 64, 7n, 0n, 7n],
    ["sdiv", 64, min64, ones, min64],
    ["sdiv", 32, 0xffff_fff9n, 2n, 0xffff_fffdn],
    ["smod", 64, min64, ones, 0n],
    ["smod", 64, BigInt.asUintN(64, -13n), 3n, ones],
    ["lsh", 32, 1n, 33n, 2n],
    ["rsh", 64, min64, 127n, 1n],
    ["arsh", 64, min64, 63n, ones],
    ["arsh", 32, 0x8000_0000n, 1n, 0xc000_0000n],
  ];
  test.each(alu)("%s%i of %i and %i is %i", (op, bits, a, b, result) => {
    expect(ALU[op].apply(bits, a, b)).toBe(result);
  });

  const jumps: readonly [JumpOp, Bits, bigint, bigint, boolean][] = [
    ["jgt", 64, ones, 0n, true],
    ["jsgt", 64, ones, 0n, false],
    ["jslt", 32, 0x8000_0000n, 0n, true],
    ["jset", 64, 6n, 1n, false],
    ["jle", 64, 5n, 5n, true],
  ];
  test.each(jumps)("%s%i of %i and %i is %s", (op, bits, a, b, isTaken) => {
    expect(JUMP[op].test(bits, a, b)).toBe(isTaken);
  });

  test("bytes are swapped, signs extended", () => {
    expect(swapBytes(32, 0x1122_3344_5566_7788n)).toBe(0x8877_6655n);
    expect(signExtend(64, 8, 0x180n)).toBe(0xffff_ffff_ffff_ff80n);
    expect(signExtend(32, 16, 0xffff_8000n)).toBe(0xffff_8000n);
  });
});

// Texts as kernel/bpf/disasm.c prints them.
const TEXTS: readonly [string, Insn | readonly Insn[]][] = [
  ["(b7) r0 = 0", asm.movImm(0, 0)],
  ["(b4) w7 = -1", asm.aluImm("mov", 7, -1, 32)],
  ["(bf) r6 = r10", asm.movReg(6, 10)],
  ["(bc) w2 = (s8)w1", asm.movsx(8, 2, 1, 32)],
  ["(bf) r2 = (s32)r1", asm.movsx(32, 2, 1)],
  ["(c7) r1 s>>= 32", asm.aluImm("arsh", 1, 32)],
  ["(3f) r1 s/= r2", asm.aluReg("sdiv", 1, 2)],
  ["(94) w1 s%= 3", asm.aluImm("smod", 1, 3, 32)],
  ["(84) w3 = -w3", asm.neg(3, 32)],
  ["(dc) r1 = be16 r1", asm.be(16, 1)],
  ["(d4) r1 = le64 r1", asm.le(64, 1)],
  ["(d7) r1 = bswap32 r1", asm.bswap(32, 1)],
  ["(79) r0 = *(u64 *)(r1 +8)", asm.load(8, 0, 1, 8)],
  ["(91) r0 = *(s8 *)(r10 -1)", asm.loadSigned(1, 0, 10, -1)],
  ["(62) *(u32 *)(r10 -4) = 7", asm.storeImm(4, 10, -4, 7)],
  ["(73) *(u8 *)(r1 +0) = r2", asm.storeReg(1, 1, 0, 2)],
  ["(db) lock *(u64 *)(r1 +0) += r2", asm.atomic("add", 8, 1, 0, 2)],
  ["(c3) r2 = atomic_fetch_or((u32 *)(r1 +4), r2)", asm.atomic("fetch_or", 4, 1, 4, 2)],
  ["(db) r2 = atomic64_xchg((u64 *)(r1 +0), r2)", asm.atomic("xchg", 8, 1, 0, 2)],
  ["(db) r0 = atomic64_cmpxchg((u64 *)(r1 -8), r0, r2)", asm.atomic("cmpxchg", 8, 1, -8, 2)],
  ["(d3) r2 = load_acquire((u8 *)(r1 +0))", asm.loadAcquire(1, 2, 1)],
  ["(cb) store_release((u16 *)(r1 +2), r2)", asm.storeRelease(2, 1, 2, 2)],
  ["(30) r0 = *(u8 *)skb[14]", asm.packetAbs(1, 14)],
  ["(48) r0 = *(u16 *)skb[r7 + 3]", asm.packetInd(2, 7, 3)],
  ["(18) r1 = 0xfedcba9876543210", asm.wide64(1, 0xfedc_ba98_7654_3210n)],
  ["(65) if r1 s> 0x5 goto pc+3", asm.jumpImm("jsgt", 1, 5, 3)],
  ["(1e) if w1 == w2 goto pc-2", asm.jumpReg("jeq", 1, 2, -2, 32)],
  ["(55) if r8 != 0xffffffff goto pc+1", asm.jumpImm("jne", 8, -1, 1)],
  ["(05) goto pc+0", asm.goto(0)],
  ["(06) gotol pc-7", asm.gotol(-7)],
  ["(e5) may_goto pc+2", asm.mayGoto(2)],
  ["(85) call bpf_map_lookup_elem#1", asm.call(1)],
  ["(85) call unknown#999", asm.call(999)],
  ["(85) call pc-3", asm.callLocal(-3)],
  ["(85) call bpf_rcu_read_lock#77", asm.callKfunc(77)],
  ["(85) call kernel-function#78", asm.callKfunc(78)],
  ["(95) exit", asm.exit()],
  ["(dc) r2 = be7 r2", { ...asm.be(16, 2), imm: 7 }],
  ["(d7) r2 = bswap-8 r2", { ...asm.bswap(16, 2), imm: -8 }],
  ["(3f) r1 /= r2", { ...asm.aluReg("div", 1, 2), off: 8 }],
  ["(bc) w1 = (s32)w2", { ...asm.movReg(1, 2), opcode: 0xbc, off: 32 }],
  ["(bf) r1 = &(void __percpu *)(r2)", { ...asm.movReg(1, 2), off: -1 }],
  ["(e5) if r3 (null) 0x1 goto pc+2", { ...asm.mayGoto(2), dst: 3, src: 1, imm: 1 }],
  ["(cb) r0 = atomic_cmpxchg((u16 *)(r1 +0), r0, r2)", { opcode: 0xcb, dst: 1, src: 2, off: 0, imm: 0xf1 }],
  ["(d3) lock *(u8 *)(r1 +0) += r2", { opcode: 0xd3, dst: 1, src: 2, off: 0, imm: 0 }],
  ["BUG_ld_58", { ...asm.exit(), opcode: 0x58 }],
  ["(e6) jmp32", { ...asm.exit(), opcode: 0xe6 }],
];

test.each(TEXTS)("%s", (text, parts) => {
  const [first, second] = program(parts);
  expect(
    disassemble(first!, second, {
      withOpcode: true,
      helperName: (id) => (id === 1 ? "bpf_map_lookup_elem" : undefined),
      kfuncName: (id) => (id === 77 ? "bpf_rcu_read_lock" : undefined),
    }),
  ).toBe(text);
});

test("a listing leaves out the second slots of wide loads", () => {
  expect(disassembleProgram(program(asm.wide(1, 5), asm.movImm(0, 0), asm.exit()))).toEqual([
    "0: (18) r1 = 0x5",
    "2: (b7) r0 = 0",
    "3: (95) exit",
  ]);
});
