/** Execution of every RV64IM instruction against BigInt semantics, and the events a run ends with. */
import { LinearMemory } from "@alien-ts/abi";
import { describe, expect, test } from "vitest";
import { KernelSpace } from "./address-space.ts";
import { Riscv64Cpu } from "./cpu.ts";
import * as asm from "./encode.ts";
import { CAUSE, CONTEXT_BYTES, PT_REGS_BYTES, PT_REGS_WORDS, REG } from "./pt-regs.ts";

const X = asm.X;
const CONTEXT = 0x2_0000;
const TEXT = 0x3_0000;
const TEXT_END = 0x3_2000;
const DATA = 0x4_0000;
const SIZE = 0x10_0000;
const NOWHERE = { pc: 0, sp: 0 };

const mem = new LinearMemory(new ArrayBuffer(SIZE));
const cpu = new Riscv64Cpu(mem, new KernelSpace(mem, (addr) => addr >= TEXT && addr < TEXT_END));
const words = new BigInt64Array(mem.buffer);
const address = (addr: number): bigint => BigInt.asIntN(64, mem.toU64(addr));
const get = (word: number): bigint => words[CONTEXT / 8 + word]!;
const set = (word: number, value: bigint): void => void (words[CONTEXT / 8 + word] = value);

/** Writes code at `at` and points a context of zeros there. */
function prepare(code: readonly number[], at = TEXT): void {
  const bytes = asm.assemble(code);
  mem.u8.set(bytes, at);
  cpu.invalidate(at, bytes.length);
  words.fill(0n, CONTEXT / 8, (CONTEXT + CONTEXT_BYTES) / 8);
  set(REG.epc, address(at));
}
const run = (budget = 1, stop = NOWHERE) => cpu.run(CONTEXT, stop, budget);

const rType = (opcode: number, funct7: number, funct3: number): number =>
  ((funct7 << 25) | (X.a2 << 20) | (X.a1 << 15) | (funct3 << 12) | (X.a0 << 7) | opcode) >>> 0;
const iType = (opcode: number, funct3: number, imm: number): number =>
  (((imm & 0xfff) << 20) | (X.a1 << 15) | (funct3 << 12) | (X.a0 << 7) | opcode) >>> 0;

const MIN = -(2n ** 63n);
const VALUES: readonly bigint[] = [
  0n,
  1n,
  2n,
  3n,
  7n,
  10n,
  31n,
  32n,
  33n,
  63n,
  64n,
  0xffffn,
  0x1_0000n,
  2n ** 31n - 1n,
  2n ** 31n,
  2n ** 32n - 1n,
  2n ** 32n,
  2n ** 32n + 1n,
  2n ** 53n - 1n,
  2n ** 53n,
  2n ** 53n + 1n,
  0x1234_5678_9abc_def0n,
  0x5555_5555_5555_5555n,
  2n ** 62n,
  2n ** 63n - 1n,
].flatMap((value) => [value, -value, ~value]);
const SWEEP: readonly bigint[] = [...new Set([...VALUES, MIN, MIN + 1n])];

type Binary = (a: bigint, b: bigint) => bigint;
const s64 = (v: bigint): bigint => BigInt.asIntN(64, v);
const u64 = (v: bigint): bigint => BigInt.asUintN(64, v);
const s32 = (v: bigint): bigint => BigInt.asIntN(32, v);
const u32 = (v: bigint): bigint => BigInt.asUintN(32, v);

const REGISTER_OPS: readonly [string, number, Binary][] = [
  ["add", rType(0x33, 0, 0), (a, b) => a + b],
  ["sub", rType(0x33, 0x20, 0), (a, b) => a - b],
  ["sll", rType(0x33, 0, 1), (a, b) => a << (b & 63n)],
  ["slt", rType(0x33, 0, 2), (a, b) => (a < b ? 1n : 0n)],
  ["sltu", rType(0x33, 0, 3), (a, b) => (u64(a) < u64(b) ? 1n : 0n)],
  ["xor", rType(0x33, 0, 4), (a, b) => a ^ b],
  ["srl", rType(0x33, 0, 5), (a, b) => u64(a) >> (b & 63n)],
  ["sra", rType(0x33, 0x20, 5), (a, b) => a >> (b & 63n)],
  ["or", rType(0x33, 0, 6), (a, b) => a | b],
  ["and", rType(0x33, 0, 7), (a, b) => a & b],
  ["addw", rType(0x3b, 0, 0), (a, b) => s32(a + b)],
  ["subw", rType(0x3b, 0x20, 0), (a, b) => s32(a - b)],
  ["sllw", rType(0x3b, 0, 1), (a, b) => s32(a << (b & 31n))],
  ["srlw", rType(0x3b, 0, 5), (a, b) => s32(u32(a) >> (b & 31n))],
  ["sraw", rType(0x3b, 0x20, 5), (a, b) => s32(a) >> (b & 31n)],
  ["mul", rType(0x33, 1, 0), (a, b) => a * b],
  ["mulh", rType(0x33, 1, 1), (a, b) => (a * b) >> 64n],
  ["mulhsu", rType(0x33, 1, 2), (a, b) => (a * u64(b)) >> 64n],
  ["mulhu", rType(0x33, 1, 3), (a, b) => (u64(a) * u64(b)) >> 64n],
  ["div", rType(0x33, 1, 4), (a, b) => (b === 0n ? -1n : a / b)],
  ["divu", rType(0x33, 1, 5), (a, b) => (b === 0n ? -1n : u64(a) / u64(b))],
  ["rem", rType(0x33, 1, 6), (a, b) => (b === 0n ? a : a % b)],
  ["remu", rType(0x33, 1, 7), (a, b) => (b === 0n ? a : u64(a) % u64(b))],
  ["mulw", rType(0x3b, 1, 0), (a, b) => s32(a * b)],
  ["divw", rType(0x3b, 1, 4), (a, b) => s32(s32(b) === 0n ? -1n : s32(a) / s32(b))],
  ["divuw", rType(0x3b, 1, 5), (a, b) => s32(u32(b) === 0n ? -1n : u32(a) / u32(b))],
  ["remw", rType(0x3b, 1, 6), (a, b) => s32(s32(b) === 0n ? a : s32(a) % s32(b))],
  ["remuw", rType(0x3b, 1, 7), (a, b) => s32(u32(b) === 0n ? a : u32(a) % u32(b))],
];

/** Executes the prepared instruction for every pair and returns the pairs with a wrong result. */
function wrongPairs(reference: Binary, bs: readonly bigint[]): string[] {
  const wrong: string[] = [];
  for (const a of SWEEP)
    for (const b of bs) {
      set(REG.a1, s64(a));
      set(REG.a2, s64(b));
      set(REG.epc, address(TEXT));
      run();
      const expected = s64(reference(s64(a), s64(b)));
      if (get(REG.a0) !== expected) wrong.push(`${a}, ${b}: ${get(REG.a0)}, expected ${expected}`);
    }
  return wrong;
}

describe("register operations", () => {
  test.each(REGISTER_OPS)(
    "%s gives the reference's result on every pair of the sweep",
    (_, bits, reference) => {
      prepare([bits]);
      expect(wrongPairs(reference, SWEEP)).toEqual([]);
    },
  );

  test.each(REGISTER_OPS)("%s to x0 changes nothing, and x0 reads as zero", (_, bits, reference) => {
    prepare([bits & ~(31 << 7), bits & ~(31 << 15)]);
    set(REG.a1, -5n);
    set(REG.a2, 7n);
    run(2);
    expect(get(REG.a0)).toBe(s64(reference(0n, 7n)));
    expect(get(REG.epc)).toBe(address(TEXT + 8));
  });
});

const IMMEDIATES = [-2048, -2047, -1, 0, 1, 5, 2046, 2047];
const IMMEDIATE_OPS: readonly [string, number, number, Binary][] = [
  ["addi", 0x13, 0, (a, b) => a + b],
  ["slti", 0x13, 2, (a, b) => (a < b ? 1n : 0n)],
  ["sltiu", 0x13, 3, (a, b) => (u64(a) < u64(b) ? 1n : 0n)],
  ["xori", 0x13, 4, (a, b) => a ^ b],
  ["ori", 0x13, 6, (a, b) => a | b],
  ["andi", 0x13, 7, (a, b) => a & b],
  ["addiw", 0x1b, 0, (a, b) => s32(a + b)],
];
const SHIFT_OPS: readonly [string, number, number, number, number, Binary][] = [
  ["slli", 0x13, 1, 0, 64, (a, b) => a << b],
  ["srli", 0x13, 5, 0, 64, (a, b) => u64(a) >> b],
  ["srai", 0x13, 5, 0x400, 64, (a, b) => a >> b],
  ["slliw", 0x1b, 1, 0, 32, (a, b) => s32(a << b)],
  ["srliw", 0x1b, 5, 0, 32, (a, b) => s32(u32(a) >> b)],
  ["sraiw", 0x1b, 5, 0x400, 32, (a, b) => s32(a) >> b],
];

describe("immediate operations", () => {
  test.each(IMMEDIATE_OPS)("%s sign-extends its immediate", (_, opcode, funct3, reference) => {
    for (const imm of IMMEDIATES) {
      prepare([iType(opcode, funct3, imm)]);
      expect(wrongPairs(reference, [BigInt(imm)])).toEqual([]);
    }
  });

  test.each(SHIFT_OPS)("%s shifts by every count", (_, opcode, funct3, flag, counts, reference) => {
    for (let count = 0; count < counts; count++) {
      prepare([iType(opcode, funct3, flag | count)]);
      expect(wrongPairs(reference, [BigInt(count)])).toEqual([]);
    }
  });

  test.each([0, 1, -1, 0x7_ffff, -0x8_0000])("lui and auipc of %i", (imm) => {
    prepare([asm.lui(X.a0, imm), asm.auipc(X.a1, imm)]);
    run(2);
    expect(get(REG.a0)).toBe(BigInt(imm) << 12n);
    expect(get(REG.a1)).toBe(s64(address(TEXT + 4) + (BigInt(imm) << 12n)));
  });
});

const STORED = 0xf1e2_d3c4_b5a6_9788n;
const LOADS: readonly [string, number, bigint][] = [
  ["lb", 0, BigInt.asIntN(8, STORED)],
  ["lh", 1, BigInt.asIntN(16, STORED)],
  ["lw", 2, s32(STORED)],
  ["ld", 3, s64(STORED)],
  ["lbu", 4, BigInt.asUintN(8, STORED)],
  ["lhu", 5, BigInt.asUintN(16, STORED)],
  ["lwu", 6, u32(STORED)],
];
const STORES: readonly [string, number, number][] = [
  ["sb", 0, 1],
  ["sh", 1, 2],
  ["sw", 2, 4],
  ["sd", 3, 8],
];
const storeA2 = (funct3: number): number => ((X.a2 << 20) | (X.a1 << 15) | (funct3 << 12) | 0x23) >>> 0;

describe("loads and stores", () => {
  test.each(LOADS)("%s extends as it should, at every alignment", (_, funct3, expected) => {
    for (let shift = 0; shift < 8; shift++) {
      mem.dv.setBigUint64(DATA + shift, STORED, true);
      prepare([iType(0x03, funct3, -2048)]);
      set(REG.a1, address(DATA + shift + 2048));
      run();
      expect(get(REG.a0)).toBe(expected);
    }
  });

  test.each(STORES)("%s writes its bytes and no more", (_, funct3, sizeBytes) => {
    for (let shift = 0; shift < 8; shift++) {
      mem.u8.fill(0xee, DATA, DATA + 24);
      prepare([storeA2(funct3)]);
      set(REG.a1, address(DATA + shift));
      set(REG.a2, s64(STORED));
      run();
      const expected = new Uint8Array(24).fill(0xee);
      for (let i = 0; i < sizeBytes; i++) expected[shift + i] = Number((STORED >> BigInt(8 * i)) & 0xffn);
      expect(mem.u8.slice(DATA, DATA + 24)).toEqual(expected);
    }
  });

  const BAD: readonly [string, bigint][] = [
    ["NULL", 0n],
    ["the guarded first 64 KiB", s64((BigInt(mem.baseHi) << 32n) | 0xffffn)],
    ["a user address", 0x4_0000n],
    ["one byte past the memory", address(SIZE - 7)],
    ["the high word below the direct map's", address(DATA) - 2n ** 32n],
    ["the high word above the direct map's", address(DATA) + 2n ** 32n],
  ];
  test.each(BAD)("an access to %s faults with its address, at the instruction", (_, target) => {
    for (const [code, kind, cause] of [
      [asm.ld(X.a0, X.a1, 8), "loadFault", CAUSE.loadPageFault],
      [asm.sd(X.a0, X.a1, 8), "storeFault", CAUSE.storePageFault],
    ] as const) {
      prepare([asm.nop(), code]);
      set(REG.a0, 77n);
      set(REG.a1, s64(target - 8n));
      expect(run(10).kind).toBe(kind);
      expect([get(REG.epc), get(REG.badaddr), get(REG.cause), get(REG.a0)]).toEqual([
        address(TEXT + 4),
        target,
        BigInt(cause),
        77n,
      ]);
    }
  });
});

const BRANCHES: readonly [string, typeof asm.beq, (a: bigint, b: bigint) => boolean][] = [
  ["beq", asm.beq, (a, b) => a === b],
  ["bne", asm.bne, (a, b) => a !== b],
  ["blt", asm.blt, (a, b) => a < b],
  ["bge", asm.bge, (a, b) => a >= b],
  ["bltu", asm.bltu, (a, b) => u64(a) < u64(b)],
  ["bgeu", asm.bgeu, (a, b) => u64(a) >= u64(b)],
];

describe("jumps and branches", () => {
  test.each(BRANCHES)("%s is taken when it should, forwards and backwards", (_, branch, reference) => {
    for (const offset of [-4096, -2, 2, 4094]) {
      const at = TEXT + 0x1000;
      prepare([branch(X.a1, X.a2, offset)], at);
      const wrong: string[] = [];
      for (const a of SWEEP)
        for (const b of SWEEP.slice(0, 40)) {
          set(REG.a1, s64(a));
          set(REG.a2, s64(b));
          set(REG.epc, address(at));
          run();
          if (get(REG.epc) !== address(at + (reference(s64(a), s64(b)) ? offset : 4)))
            wrong.push(`${a}, ${b}`);
        }
      expect(wrong).toEqual([]);
    }
  });

  test.each([-0x10_0000, -2, 2, 4, 0xf_fffe])("jal by %i links the next instruction", (offset) => {
    prepare([asm.jal(X.ra, offset)]);
    const event = run(1);
    expect(get(REG.epc)).toBe(s64(address(TEXT) + BigInt(offset)));
    expect(get(REG.ra)).toBe(address(TEXT + 4));
    expect(event.kind).toBe(offset < -TEXT ? "fetchFault" : "budget");
  });

  test("jalr clears bit 0, and may link the register it jumps by", () => {
    prepare([asm.jalr(X.ra, X.ra, -1)]);
    set(REG.ra, address(TEXT + 0x102));
    run();
    expect([get(REG.epc), get(REG.ra)]).toEqual([address(TEXT + 0x100), address(TEXT + 4)]);
  });

  test.each([
    ["a jump to NULL", 0n, "fetchFault", CAUSE.fetchPageFault],
    ["a jump outside the text", address(DATA), "fetchFault", CAUSE.fetchPageFault],
    ["a jump to a user address", 0x3_0000n, "fetchFault", CAUSE.fetchPageFault],
  ] as const)("%s is a fetch fault there", (_, target, kind, cause) => {
    prepare([asm.jalr(X.zero, X.a0, 0)]);
    set(REG.a0, target);
    expect(run(5).kind).toBe(kind);
    expect([get(REG.epc), get(REG.badaddr), get(REG.cause)]).toEqual([target, target, BigInt(cause)]);
  });
});

describe("how a run ends", () => {
  test("a host call gives its index, with pc after it", () => {
    prepare([asm.hostCall(0xf_ffff)]);
    const event = run(5);
    expect([event.kind, event.index, get(REG.epc)]).toEqual(["hostCall", 0xf_ffff, address(TEXT + 4)]);
  });

  test.each([
    ["ebreak", asm.ebreak()],
    ["c.ebreak", asm.c_ebreak()],
  ])("%s leaves pc at itself, with cause 3", (_, code) => {
    prepare([asm.c_nop(), code]);
    expect(run(5).kind).toBe("breakpoint");
    expect([get(REG.epc), get(REG.cause)]).toEqual([address(TEXT + 2), 3n]);
  });

  test("ecall leaves pc at itself, with cause 9", () => {
    prepare([asm.ecall()]);
    expect(run(5).kind).toBe("ecall");
    expect([get(REG.epc), get(REG.cause)]).toEqual([address(TEXT), 9n]);
  });

  test.each([
    ["an illegal instruction", 0xffff_ffff, 0xffff_ffffn],
    ["the all-zero halfword", 0x0000, 0n],
    ["a CSR read", 0xc000_2573, 0xc000_2573n],
    ["an atomic", 0x1005_252f, 0x1005_252fn],
    ["a host call with an rd field", 0x8b, 0x8bn],
  ])("%s is an exception with the bits as badaddr", (_, bits, badaddr) => {
    prepare([bits]);
    expect(run(5).kind).toBe("illegal");
    expect([get(REG.epc), get(REG.cause), get(REG.badaddr)]).toEqual([address(TEXT), 2n, badaddr]);
  });

  test("an odd pc is misaligned", () => {
    prepare([]);
    set(REG.epc, address(TEXT + 1));
    expect(run(5).kind).toBe("misaligned");
    expect([get(REG.epc), get(REG.cause)]).toEqual([address(TEXT + 1), 0n]);
  });

  test("a context whose pc is outside the direct map faults before anything runs", () => {
    prepare([asm.nop()]);
    set(REG.epc, BigInt(TEXT));
    expect(run(5).kind).toBe("fetchFault");
    expect([get(REG.epc), get(REG.badaddr)]).toEqual([BigInt(TEXT), BigInt(TEXT)]);
  });

  test("the stop point needs both its pc and its sp", () => {
    prepare([asm.addi(X.sp, X.sp, 16), asm.jal(X.zero, -4)]);
    set(REG.sp, address(DATA));
    const event = run(100, { pc: TEXT, sp: DATA + 64 });
    expect([event.kind, get(REG.sp)]).toEqual(["stopped", address(DATA + 64)]);
  });

  test("a breakpoint at the stop point waits", () => {
    prepare([asm.nop(), asm.ebreak()]);
    set(REG.sp, address(DATA));
    expect(run(100, { pc: TEXT + 4, sp: DATA }).kind).toBe("stopped");
    expect(run(100).kind).toBe("breakpoint");
  });

  test("a budget of n executes n instructions", () => {
    prepare([asm.addi(X.a0, X.a0, 1), asm.jal(X.zero, -4)]);
    expect(run(7).kind).toBe("budget");
    expect([get(REG.a0), get(REG.epc)]).toEqual([4n, address(TEXT + 4)]);
  });
});

describe("code", () => {
  test("a 4-byte instruction may cross a page", () => {
    prepare([asm.addi(X.a0, X.zero, 42)], TEXT + 0x0ffe);
    run();
    expect([get(REG.a0), get(REG.epc)]).toEqual([42n, address(TEXT + 0x1002)]);
  });

  test("an instruction whose second half may not be fetched faults there", () => {
    mem.u8.set(asm.assemble([asm.nop()]), TEXT_END - 2);
    prepare([]);
    set(REG.epc, address(TEXT_END - 2));
    expect(run(5).kind).toBe("fetchFault");
    expect([get(REG.epc), get(REG.badaddr)]).toEqual([address(TEXT_END - 2), address(TEXT_END)]);
  });

  test("patched text is seen after invalidate, also in the upper half of an instruction", () => {
    prepare([asm.c_nop(), asm.addi(X.a0, X.zero, 1)]);
    run(2);
    mem.u8.set(asm.assemble([asm.addi(X.a0, X.zero, 2)]), TEXT + 2);
    set(REG.epc, address(TEXT));
    run(2);
    expect(get(REG.a0)).toBe(1n);
    cpu.invalidate(TEXT + 4, 2);
    set(REG.epc, address(TEXT));
    run(2);
    expect(get(REG.a0)).toBe(2n);
  });

  test("fence.i forgets what was predecoded", () => {
    prepare([asm.addi(X.a0, X.zero, 1), asm.fence_i(), asm.jal(X.zero, -8)]);
    run(2);
    mem.u8.set(asm.assemble([asm.addi(X.a0, X.zero, 2)]), TEXT);
    run(2);
    expect(get(REG.a0)).toBe(2n);
  });

  test("fence does nothing", () => {
    prepare([0x0ff0_000f]);
    expect(run(1).kind).toBe("budget");
    expect(get(REG.epc)).toBe(address(TEXT + 4));
  });
});

describe("row text", () => {
  test.each([{ compressed: false }, { compressed: true }])("of %o calls the body and returns", (options) => {
    const text = asm.rowText(1234, options);
    prepare([]);
    mem.u8.set(text, TEXT);
    cpu.invalidate(TEXT, text.length);
    const caller = { pc: TEXT + 0x800, sp: DATA + 0x100 };
    set(REG.ra, address(caller.pc));
    set(REG.sp, address(caller.sp));
    set(REG.s0, 99n);
    const event = cpu.run(CONTEXT, caller, 100);
    expect([event.kind, event.index]).toEqual(["hostCall", 1234]);
    expect(get(REG.epc)).toBe(address(TEXT + asm.hostCallReturnOffset(options)));
    expect(get(REG.sp)).toBe(address(caller.sp - asm.ROW_FRAME_BYTES));
    expect(asm.hostCallOffset(options) % 4).toBe(options.compressed ? 2 : 0);
    set(REG.ra, 0n);
    set(REG.a0, 5n);
    expect(cpu.run(CONTEXT, caller, 100).kind).toBe("stopped");
    expect([get(REG.a0), get(REG.s0)]).toEqual([5n, 99n]);
  });
});

test("the words of pt_regs are Linux's: 36, in register order, then the two scratch words", () => {
  expect(PT_REGS_WORDS.map((name) => REG[name])).toEqual([...PT_REGS_WORDS.keys()]);
  expect([PT_REGS_BYTES, CONTEXT_BYTES]).toEqual([288, 304]);
});
