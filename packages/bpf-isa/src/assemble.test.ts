import { Prng } from "@alien-ts/testkit";
import { expect, test } from "vitest";
import { AssembleError, assemble } from "./assemble.ts";
import { asm, insn, program } from "./build.ts";
import { disassembleProgram } from "./disassemble.ts";
import { OPCODES } from "./opcodes.ts";

const SEED = 17;

test.each(OPCODES)(`$name comes back from its text (seed ${SEED})`, (row) => {
  const random = new Prng(SEED);
  for (let i = 0; i < 50; i++) {
    const has = (field: "dst" | "src" | "off" | "imm"): boolean => row.operands.includes(field);
    const slot = insn(row.name, {
      ...(has("dst") ? { dst: random.below(11) } : {}),
      ...(has("src") ? { src: random.below(11) } : {}),
      ...(has("off") ? { off: random.i32() >> 16 } : {}),
      ...(has("imm") ? { imm: random.i32() } : {}),
    });
    const second = { opcode: 0, dst: 0, src: 0, off: 0, imm: random.i32() };
    const insns = row.kind === "wide" ? [slot, second] : [slot];
    expect(assemble(disassembleProgram(insns, { isExact: true }).join("\n"))).toEqual(insns);
  }
});

test.each([
  ["mov32 r0, 1", asm.aluImm("mov", 0, 1, 32)],
  ["add r1, r2", asm.aluReg("add", 1, 2)],
  ["sdiv32 r1, -1", asm.aluImm("sdiv", 1, -1, 32)],
  ["arsh %r1, 0x1f", asm.aluImm("arsh", 1, 31)],
  ["neg32 r3", asm.neg(3, 32)],
  ["movsx864 r1, r2", asm.movsx(8, 1, 2)],
  ["movsx1632 r1, r2", asm.movsx(16, 1, 2, 32)],
  ["be16 r1", asm.be(16, 1)],
  ["swap64 r1", asm.bswap(64, 1)],
  ["jsgt32 r1, r2, +3", asm.jumpReg("jsgt", 1, 2, 3, 32)],
  ["jset r1, 0x8, -2", asm.jumpImm("jset", 1, 8, -2)],
  ["ja +1", asm.goto(1)],
  ["ja32 -4", asm.gotol(-4)],
  ["lddw r2, 0x1122334455667788", asm.wide64(2, 0x1122_3344_5566_7788n)],
  ["ldxdw r0, [r1+8]", asm.load(8, 0, 1, 8)],
  ["ldxsh r0, [r1 - 2]", asm.loadSigned(2, 0, 1, -2)],
  ["ldxb r0, [r1]", asm.load(1, 0, 1)],
  ["stw [r10-4], 7", asm.storeImm(4, 10, -4, 7)],
  ["stxdw [r10-0x8], r2", asm.storeReg(8, 10, -8, 2)],
  ["lock fetch_add32 [r1+4], r2", asm.atomic("fetch_add", 4, 1, 4, 2)],
  ["lock cmpxchg [r1], r2", asm.atomic("cmpxchg", 8, 1, 0, 2)],
  ["ldabsh 12", asm.packetAbs(2, 12)],
  ["ldindw r3, -4", asm.packetInd(4, 3, -4)],
  ["call 5", asm.call(5)],
  ["call 0x10", asm.call(16)],
  ["add r1, 0xffffffff", asm.aluImm("add", 1, -1)],
  ["call local +2", asm.callLocal(2)],
  ["callx r2", asm.callRegister(2)],
  ["exit", asm.exit()],
] as const)("the mnemonic %s", (text, parts) => {
  expect(assemble(text)).toEqual(program(parts));
});

test("labels are found ahead and behind, wide loads count twice", () => {
  const text = `
    start:
      r1 = 0xfedcba9876543210   ; two slots
      if r1 s> 5 goto done
      call function
      goto start
    done:
      exit
    function:
      r0 = 7
      exit`;
  const expected = program(
    asm.wide64(1, 0xfedc_ba98_7654_3210n),
    asm.jumpImm("jsgt", 1, 5, 2),
    asm.callLocal(2),
    asm.goto(-5),
    asm.exit(),
    asm.movImm(0, 7),
    asm.exit(),
  );
  expect(assemble(text)).toEqual(expected);
});

test("a label may have an instruction on its line, and names as compilers give them; lines may end as on Windows", () => {
  const text =
    "_ZN3foo17h$LT$u8$GT$.llvm.7E: r0 = 0xffffffff ; any\r\n(05) goto _ZN3foo17h$LT$u8$GT$.llvm.7E\r\n";
  expect(assemble(text)).toEqual(program(asm.wide64(0, 0xffff_ffffn), asm.goto(-3)));
});

test.each([
  ["r1 = r2\nfrobnicate", 2, "not an instruction: frobnicate"],
  ["goto nowhere", 1, "label nowhere is not defined"],
  ["exit\nno label:", 2, "not an instruction: no label:"],
  ["1x:", 1, "not an instruction: 1x:"],
  ["goto +32768", 1, "offset 32768 is not in -32768..32767"],
  [`goto far\n${"exit\n".repeat(32768)}far: exit`, 1, "offset 32768 is not in -32768..32767"],
  ["r0 = *(u64 *)(r1 +65544)", 1, "offset 65544 is not in -32768..32767"],
  ["ldxdw r0, [r1-0x8001]", 1, "offset -32769 is not in -32768..32767"],
  ["r0 += 0x100000000", 1, "immediate 4294967296 does not fit 32 bits"],
  ["mov r0, -2147483649", 1, "immediate -2147483649 does not fit 32 bits"],
  ["r0 = 0x10000000000000000", 1, "not an instruction: r0 = 0x10000000000000000"],
  ["r0 = map_fd[0x100000000]", 1, "not an instruction: r0 = map_fd[0x100000000]"],
  ["a:\na:", 2, "label a is defined twice"],
  ["r1 += w2", 1, "not an instruction: r1 += w2"],
  ["r11 = 0", 1, "not an instruction: r11 = 0"],
])("%j is an error in line %i", (text, line, message) => {
  expect(assemble(text)).toEqual(new AssembleError(line, message));
});
