import { asm, encode, program } from "@alien-ts/bpf-isa";
import { buildElf, EM_BPF, EM_RISCV, ET_REL, SHF_ALLOC, SHF_EXECINSTR, STT_FUNC } from "@alien-ts/elf";
import { expect, test } from "vitest";
import { disassembleObject } from "./disasm.ts";

const object = (machine: number): Uint8Array =>
  buildElf({
    machine,
    type: ET_REL,
    sections: [
      {
        name: "kprobe/vfs_read",
        data: encode(program(asm.movImm(0, 7), asm.exit())),
        flags: SHF_ALLOC | SHF_EXECINSTR,
      },
      { name: "license", data: Uint8Array.of(0), flags: SHF_ALLOC },
    ],
    symbols: [{ name: "on_read", value: 0, size: 16, type: STT_FUNC, section: "kprobe/vfs_read" }],
  });

test("programs are listed by section and symbol, data is not", () => {
  expect(disassembleObject(object(EM_BPF))).toBe(
    "section kprobe/vfs_read\non_read:\n  0: (b7) r0 = 7\n  1: (95) exit\n",
  );
});

test("an object for another machine is refused", () => {
  expect(() => disassembleObject(object(EM_RISCV))).toThrow("e_machine is 243, expected 247 (BPF)");
});

test("a file that is no ELF is refused with what was expected", () => {
  expect(() => disassembleObject(Uint8Array.of(1, 2, 3))).toThrow(/^elf: at offset 0: expected/);
});
