import { readFileSync } from "node:fs";
import { asm, encode, program } from "@alien-ts/bpf-isa";
import {
  buildElf,
  EM_BPF,
  EM_RISCV,
  ET_REL,
  isElfError,
  parseElf,
  SHF_ALLOC,
  SHF_EXECINSTR,
  STT_FUNC,
} from "@alien-ts/elf";
import { expect, test } from "vitest";
import { assembleText } from "./asm/command.ts";
import { disassembleBytes, disassembleObject } from "./disasm.ts";
import { formatHex } from "./vm/hex.ts";

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
    "; section kprobe/vfs_read\non_read:\n  0: (b7) r0 = 7\n  1: (95) exit\n",
  );
});

test("the listing of an object with source lines and labels assembles to its programs", () => {
  const bytes = readFileSync(new URL("../fixtures/first_steps.bpf.o", import.meta.url));
  const elf = parseElf(bytes);
  if (isElfError(elf)) throw elf;
  const sections = elf.sections();
  if (isElfError(sections)) throw sections;
  const programs = sections.filter(({ flags, size }) => (flags & SHF_EXECINSTR) !== 0 && size > 0);
  expect(assembleText(disassembleObject(bytes), "x")).toEqual(
    Uint8Array.from(programs.flatMap(({ data }) => [...data])),
  );
});

test("an object for another machine is refused", () => {
  expect(() => disassembleObject(object(EM_RISCV))).toThrow("e_machine is 243, expected 247 (BPF)");
});

test("a file that is no ELF is refused with what was expected", () => {
  expect(() => disassembleObject(Uint8Array.of(1, 2, 3))).toThrow(/^elf: at offset 0: expected/);
});

test("bytes and their hexadecimal are listed, and assemble to the same bytes", () => {
  const bytes = encode(
    program(asm.mapFd(1, 7), asm.callKfunc(5, 2), asm.storeImm(4, 10, -4, 9), asm.call(1), asm.exit()),
  );
  const text = disassembleBytes(bytes);
  expect(text).toBe(
    "0: (18) r1 = map_fd[7]\n2: (85) call kernel-function#5@2\n3: (62) *(u32 *)(r10 -4) = 9\n4: (85) call bpf_map_lookup_elem#1\n5: (95) exit\n",
  );
  expect(disassembleBytes(new Uint8Array(Buffer.from(formatHex(bytes))))).toBe(text);
  expect(assembleText(text, "x")).toEqual(bytes);
});

test("a line that is no instruction is named by file and number", () => {
  expect(assembleText("exit\nfrobnicate", "p.s")).toBe("p.s:2: not an instruction: frobnicate");
});

test("nothing to disassemble is refused", () => {
  expect(() => disassembleBytes(new Uint8Array(0))).toThrow("expected instructions, found nothing");
});
