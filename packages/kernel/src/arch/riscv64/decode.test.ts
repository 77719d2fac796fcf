/** Encodings against known bits, and every compressed encoding against an expander written from the listing's bit patterns. */
import { describe, expect, test } from "vitest";
import { decode } from "./decode.ts";
import * as asm from "./encode.ts";
import { type Instruction, Kind, Op } from "./instruction.ts";

const X = asm.X;

/** Bits as binutils assembles the text (riscv64, -march=rv64imac_zicsr_zifencei). */
const KNOWN: readonly [string, number, number][] = [
  ["addi sp,sp,-16", asm.addi(X.sp, X.sp, -16), 0xff01_0113],
  ["sd ra,8(sp)", asm.sd(X.ra, X.sp, 8), 0x0011_3423],
  ["ld ra,8(sp)", asm.ld(X.ra, X.sp, 8), 0x0081_3083],
  ["sw a0,-4(s0)", asm.sw(X.a0, X.s0, -4), 0xfea4_2e23],
  ["lw a0,-4(s0)", asm.lw(X.a0, X.s0, -4), 0xffc4_2503],
  ["ret", asm.ret(), 0x0000_8067],
  ["nop", asm.nop(), 0x0000_0013],
  ["lui a0,0x12345", asm.lui(X.a0, 0x12345), 0x1234_5537],
  ["lui a0,0x80000", asm.lui(X.a0, -0x80000), 0x8000_0537],
  ["auipc ra,0x1", asm.auipc(X.ra, 1), 0x0000_1097],
  ["jal ra,.-4", asm.jal(X.ra, -4), 0xffdf_f0ef],
  ["jal zero,.+2048", asm.jal(X.zero, 2048), 0x0010_006f],
  ["jalr ra,-1(a0)", asm.jalr(X.ra, X.a0, -1), 0xfff5_00e7],
  ["beq a0,a1,.+8", asm.beq(X.a0, X.a1, 8), 0x00b5_0463],
  ["bne a0,zero,.-2", asm.bne(X.a0, X.zero, -2), 0xfe05_1fe3],
  ["blt a0,a1,.+2048", asm.blt(X.a0, X.a1, 2048), 0x00b5_40e3],
  ["bge a0,a1,.-4096", asm.bge(X.a0, X.a1, -4096), 0x80b5_5063],
  ["bltu a0,a1,.+16", asm.bltu(X.a0, X.a1, 16), 0x00b5_6863],
  ["bgeu a0,a1,.+16", asm.bgeu(X.a0, X.a1, 16), 0x00b5_7863],
  ["add a0,a1,a2", asm.add(X.a0, X.a1, X.a2), 0x00c5_8533],
  ["sub a0,a1,a2", asm.sub(X.a0, X.a1, X.a2), 0x40c5_8533],
  ["fence.i", asm.fence_i(), 0x0000_100f],
  ["ecall", asm.ecall(), 0x0000_0073],
  ["ebreak", asm.ebreak(), 0x0010_0073],
  [".insn 4, 0x1b", asm.hostCall(0x12345), 0x1234_500b],
  ["c.nop", asm.c_nop(), 0x0001],
  ["c.ebreak", asm.c_ebreak(), 0x9002],
  ["c.addi sp,-16", asm.c_addi(X.sp, -16), 0x1141],
  ["c.addi sp,16", asm.c_addi(X.sp, 16), 0x0141],
  ["c.sdsp ra,8(sp)", asm.c_sdsp(X.ra, 8), 0xe406],
  ["c.sdsp s0,0(sp)", asm.c_sdsp(X.s0, 0), 0xe022],
  ["c.sdsp s0,504(sp)", asm.c_sdsp(X.s0, 504), 0xffa2],
  ["c.ldsp ra,8(sp)", asm.c_ldsp(X.ra, 8), 0x60a2],
  ["c.ldsp s0,0(sp)", asm.c_ldsp(X.s0, 0), 0x6402],
  ["c.ldsp s0,504(sp)", asm.c_ldsp(X.s0, 504), 0x747e],
  ["c.jr ra", asm.c_jr(X.ra), 0x8082],
  ["c.jalr a5", asm.c_jalr(X.a5), 0x9782],
  ["c.li a0,-1", asm.c_li(X.a0, -1), 0x557d],
  ["c.mv a0,a1", asm.c_mv(X.a0, X.a1), 0x852e],
  ["c.add a0,a1", asm.c_add(X.a0, X.a1), 0x952e],
  ["c.j .-2", asm.c_j(-2), 0xbffd],
  ["c.j .+1364", asm.c_j(0x554), 0xab91],
  ["c.beqz a0,.+168", asm.c_beqz(X.a0, 0xa8), 0xc545],
  ["c.bnez s0,.-88", asm.c_bnez(X.s0, -0x58), 0xf445],
];

describe("the assembler", () => {
  test.each(KNOWN)("encodes %s", (_, encoded, bits) => {
    expect(encoded.toString(16)).toBe(bits.toString(16));
  });

  test.each([
    ["addi by 2048", () => asm.addi(X.a0, X.a0, 2048)],
    ["an odd branch", () => asm.beq(X.a0, X.a1, 3)],
    ["a far c.j", () => asm.c_j(2048)],
    ["an unaligned c.sdsp", () => asm.c_sdsp(X.ra, 4)],
    ["c.beqz of a register it cannot name", () => asm.c_beqz(X.ra, 2)],
    ["a host call beyond 20 bits", () => asm.hostCall(1 << 20)],
    ["a negative host call", () => asm.hostCall(-1)],
  ])("refuses %s", (_, encode) => {
    expect(encode).toThrow(RangeError);
  });

  test("joins compressed and full instructions", () => {
    expect([...asm.assemble([asm.c_nop(), asm.ebreak()])]).toEqual([0x01, 0x00, 0x73, 0x00, 0x10, 0x00]);
  });
});

/** Kinds of 32-bit encodings that lie beside the valid ones. */
const RESERVED: readonly [string, number, number][] = [
  ["load with funct3 7", 0x0000_7003, Kind.illegal],
  ["store with funct3 4", 0x0000_4023, Kind.illegal],
  ["branch with funct3 2", 0x0000_2063, Kind.illegal],
  ["jalr with funct3 1", 0x0000_1067, Kind.illegal],
  ["slli with funct6 1", 0x0400_1013, Kind.illegal],
  ["srli with funct6 1", 0x0400_5013, Kind.illegal],
  ["slliw by 32", 0x0200_101b, Kind.illegal],
  ["sraiw by 32", 0x4200_501b, Kind.illegal],
  ["op-imm-32 with funct3 2", 0x0000_201b, Kind.illegal],
  ["op with funct7 2", 0x0400_0033, Kind.illegal],
  ["sub's funct7 with sll", 0x4000_1033, Kind.illegal],
  ["mulhw, which is none", 0x0200_103b, Kind.illegal],
  ["fence with funct3 2", 0x0000_200f, Kind.illegal],
  ["custom-1", 0x0000_002b, Kind.illegal],
  ["a 48-bit instruction", 0x0000_001f, Kind.illegal],
  ["csrrw", 0x3400_1073, Kind.unsupported],
  ["sret", 0x1020_0073, Kind.unsupported],
  ["wfi", 0x1050_0073, Kind.unsupported],
  ["amoadd.w", 0x0000_202f, Kind.unsupported],
  ["fadd.d", 0x0200_0053, Kind.unsupported],
  ["fld", 0x0000_3007, Kind.unsupported],
  ["fence rw,rw", 0x0330_000f, Kind.fence],
];

test.each(RESERVED)("decoding %s", (_, bits, kind) => {
  expect(decode(bits | 0).kind).toBe(kind);
});

/** What execution looks at: a register that the kind does not read may be anything. */
const meaning = ({ kind, op, rd, rs1, rs2, imm }: Instruction): string => {
  const isStoreOrBranch = kind === Kind.store || kind === Kind.branch;
  const readsTwo = isStoreOrBranch || kind === Kind.alu;
  const readsOne = readsTwo || kind === Kind.aluImm || kind === Kind.load || kind === Kind.jalr;
  const writes =
    kind !== Kind.illegal && kind !== Kind.unsupported && kind !== Kind.ebreak && !isStoreOrBranch;
  return JSON.stringify([kind, op, writes && rd, readsOne && rs1, readsTwo && rs2, imm]);
};

/** Bits of `half` gathered from the listing's notation: "5:4|9:6|2|3" from bit 12 downwards. */
function scattered(half: number, top: number, pattern: string): number {
  let at = top;
  let value = 0;
  for (const part of pattern.split("|")) {
    const [from, to = from] = part.split(":").map(Number);
    for (let bit = from!; bit >= to!; bit--, at--) value |= ((half >> at) & 1) << bit;
  }
  return value;
}
const extend = (value: number, bits: number): number => (value << (32 - bits)) >> (32 - bits);

const i = (opcode: number, f3: number, rd: number, rs1: number, imm: number): number =>
  ((imm & 0xfff) << 20) | (rs1 << 15) | (f3 << 12) | (rd << 7) | opcode;
const s = (f3: number, rs2: number, rs1: number, imm: number): number =>
  ((imm >> 5) << 25) | (rs2 << 20) | (rs1 << 15) | (f3 << 12) | ((imm & 31) << 7) | 0x23;
const r = (opcode: number, f7: number, f3: number, rd: number, rs1: number, rs2: number): number =>
  (f7 << 25) | (rs2 << 20) | (rs1 << 15) | (f3 << 12) | (rd << 7) | opcode;

type Expansion = number | "illegal" | "unsupported";

/** The listing of the C chapter for RV64, as a table from (quadrant, funct3). */
function expansion(h: number): Expansion {
  const rd = (h >> 7) & 31;
  const rs2 = (h >> 2) & 31;
  const low7 = 8 + ((h >> 7) & 7);
  const low2 = 8 + ((h >> 2) & 7);
  const imm = extend((scattered(h, 12, "5") | scattered(h, 6, "4:0")) & 63, 6);
  const word = scattered(h, 12, "5:3") | scattered(h, 6, "2|6");
  const double = scattered(h, 12, "5:3") | scattered(h, 6, "7:6");
  const j = extend(scattered(h, 12, "11|4|9:8|10|6|7|3:1|5"), 12);
  const b = extend(scattered(h, 12, "8|4:3") | scattered(h, 6, "7:6|2:1|5"), 9);
  const spn = scattered(h, 12, "5:4|9:6|2|3");
  const sp16 = extend(scattered(h, 12, "9") | scattered(h, 6, "4|6|8:7|5"), 10);
  const lwsp = scattered(h, 12, "5") | scattered(h, 6, "4:2|7:6");
  const ldsp = scattered(h, 12, "5") | scattered(h, 6, "4:3|8:6");
  const rows: Record<string, Expansion> = {
    "0/0": spn === 0 ? "illegal" : i(0x13, 0, low2, 2, spn),
    "0/1": "unsupported",
    "0/2": i(0x03, 2, low2, low7, word),
    "0/3": i(0x03, 3, low2, low7, double),
    "0/4": "illegal",
    "0/5": "unsupported",
    "0/6": s(2, low2, low7, word),
    "0/7": s(3, low2, low7, double),
    "1/0": i(0x13, 0, rd, rd, imm),
    "1/1": rd === 0 ? "illegal" : i(0x1b, 0, rd, rd, imm),
    "1/2": i(0x13, 0, rd, 0, imm),
    "1/3": imm === 0 ? "illegal" : rd === 2 ? i(0x13, 0, 2, 2, sp16) : (imm << 12) | (rd << 7) | 0x37,
    "1/4": miscAlu(h, low7, low2, imm),
    "1/5": asm.jal(0, j),
    "1/6": asm.beq(low7, 0, b),
    "1/7": asm.bne(low7, 0, b),
    "2/0": i(0x13, 1, rd, rd, imm & 63),
    "2/1": "unsupported",
    "2/2": rd === 0 ? "illegal" : i(0x03, 2, rd, 2, lwsp),
    "2/3": rd === 0 ? "illegal" : i(0x03, 3, rd, 2, ldsp),
    "2/4": jumps(h, rd, rs2),
    "2/5": "unsupported",
    "2/6": s(2, rs2, 2, scattered(h, 12, "5:2|7:6")),
    "2/7": s(3, rs2, 2, scattered(h, 12, "5:3|8:6")),
  };
  return rows[`${h & 3}/${h >> 13}`]!;
}

function miscAlu(h: number, rd: number, rs2: number, imm: number): Expansion {
  const which = (h >> 10) & 3;
  if (which < 2) return i(0x13, 5, rd, rd, (which << 10) | (imm & 63));
  if (which === 2) return i(0x13, 7, rd, rd, imm);
  const [opcode, f7, f3] = [
    [0x33, 0x20, 0],
    [0x33, 0, 4],
    [0x33, 0, 6],
    [0x33, 0, 7],
    [0x3b, 0x20, 0],
    [0x3b, 0, 0],
  ][((h >> 12) & 1) * 4 + ((h >> 5) & 3)] ?? [0, 0, 0];
  return opcode === 0 ? "illegal" : r(opcode!, f7!, f3!, rd, rd, rs2);
}

function jumps(h: number, rd: number, rs2: number): Expansion {
  const bit12 = (h >> 12) & 1;
  if (rs2 !== 0) return r(0x33, 0, 0, rd, bit12 * rd, rs2);
  if (rd !== 0) return i(0x67, 0, bit12, rd, 0);
  return bit12 === 1 ? asm.ebreak() : "illegal";
}

test("each of the 49,152 compressed encodings decodes as its expansion does, with length 2", () => {
  const wrong: string[] = [];
  const seen = new Set<number>();
  for (let half = 0; half < 0x1_0000; half++) {
    if ((half & 3) === 3) continue;
    const expected = expansion(half);
    const actual = decode(half);
    const reference =
      typeof expected === "number"
        ? meaning(decode(expected))
        : meaning({ ...actual, kind: Kind[expected], op: Op.none, imm: 0 });
    if (meaning(actual) !== reference || actual.length !== 2 || actual.bits !== half)
      wrong.push(`${half.toString(16)}: ${meaning(actual)}, expected ${reference}`);
    seen.add(actual.kind);
  }
  expect(wrong.slice(0, 10)).toEqual([]);
  expect(seen).toContain(Kind.ebreak);
});
