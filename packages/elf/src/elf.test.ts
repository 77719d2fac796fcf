/** Round trips over built images in both byte orders, and damaged ones: a result or an ElfError. */
import { describe, expect, it } from "vitest";
import { buildElf, imageOf, isElfError, parseElf, writeElf, writeNotes } from "./index.ts";
import * as C from "./constants.ts";
import type { ElfError } from "./error.ts";
import type { ElfSpec } from "./builder.ts";
import type { ElfFile } from "./reader.ts";

const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values);

const executable = (littleEndian: boolean): ElfSpec => ({
  machine: C.EM_RISCV,
  type: C.ET_EXEC,
  littleEndian,
  entry: 0x1_0004,
  sections: [
    {
      name: ".text",
      data: bytes(1, 2, 3, 4, 5, 6, 7, 8),
      addr: 0x1_0000,
      flags: C.SHF_ALLOC | C.SHF_EXECINSTR,
      align: 4,
    },
    { name: ".bss", type: C.SHT_NOBITS, size: 64, addr: 0x1_0008, flags: C.SHF_ALLOC | C.SHF_WRITE },
    {
      name: ".note.alien",
      type: C.SHT_NOTE,
      data: writeNotes([{ name: "alien", type: 1, desc: bytes(0x6c, 0x73) }], littleEndian),
      align: 4,
    },
  ],
  symbols: [
    { name: "main", value: 0x1_0004, size: 4, type: C.STT_FUNC, section: ".text" },
    { name: "local", value: 0x1_0000, binding: C.STB_LOCAL, section: ".text" },
    { name: "limit", value: 7, section: "ABS" },
  ],
  relocations: [{ section: ".text", offset: 4, type: 2, symbol: "main", addend: -8 }],
  segments: [
    { type: C.PT_LOAD, flags: C.PF_R | C.PF_X, sections: [".text", ".bss"] },
    { type: C.PT_NOTE, flags: C.PF_R, sections: [".note.alien"], align: 4 },
  ],
});

function parsed(image: Uint8Array): ElfFile {
  const file = parseElf(image);
  if (isElfError(file)) throw file;
  return file;
}

function ok<T>(value: T): Exclude<T, ElfError> {
  if (isElfError(value)) throw value;
  return value as Exclude<T, ElfError>;
}

describe.each([
  ["little endian", true],
  ["big endian", false],
])("a %s image", (_, littleEndian) => {
  const image = buildElf(executable(littleEndian));
  const file = parsed(image);

  it("gives back its header, sections and segments", () => {
    expect(file.header).toMatchObject({ littleEndian, machine: C.EM_RISCV, entry: 0x1_0004 });
    expect(ok(file.sections()).map((section) => section.name)).toEqual([
      "",
      ".text",
      ".bss",
      ".note.alien",
      ".symtab",
      ".strtab",
      ".rela.text",
      ".shstrtab",
    ]);
    const [load, note] = ok(file.segments());
    expect(load).toMatchObject({ vaddr: 0x1_0000, fileSize: 8, memSize: 72, flags: 5 });
    expect(load!.offset % 4096).toBe(0);
    expect(Array.from(load!.data)).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    expect(ok(file.notes(note!))).toMatchObject([{ name: "alien", type: 1 }]);
  });

  it("lists local symbols before global ones, and relocations with their addends", () => {
    expect(ok(file.symbols()).map(({ name, value, section }) => [name, value, section])).toEqual([
      ["", 0, 0],
      ["local", 0x1_0000, 1],
      ["main", 0x1_0004, 1],
      ["limit", 7, C.SHN_ABS],
    ]);
    const rela = ok(file.section(".rela.text"))!;
    expect(ok(file.relocations(rela))).toEqual([{ offset: 4, type: 2, symbol: 2, addend: -8 }]);
  });

  it("is written back byte for byte", () => {
    expect(writeElf(ok(imageOf(file)))).toEqual(image);
  });

  it("shares its memory with the sections", () => {
    expect(ok(file.section(".text"))!.data.buffer).toBe(image.buffer);
  });
});

describe("malformed input", () => {
  it.each([
    ["nothing", bytes(), 0, /header of 64 bytes/],
    ["a script", Uint8Array.from({ length: 64 }, () => 0x23), 0, /magic/],
    ["a 32-bit image", patched(4, 1), 4, /class 2/],
    ["an unknown encoding", patched(5, 3), 5, /encoding/],
    ["an entry of 2^63", patched(31, 0x80), 24, /2\^53/],
  ])("%s is refused with the offset and what was expected", (_, input, offset, message) => {
    const error = parseElf(input);
    expect(isElfError(error) && [error.offset, error.message]).toEqual([
      offset,
      expect.stringMatching(message),
    ]);
  });

  it("a section table outside the file is an error of sections() only", () => {
    const file = parsed(patched(40, 0xff, 0xff, 0xff));
    expect(isElfError(file.sections())).toBe(true);
    expect(isElfError(file.segments())).toBe(false);
  });
});

function patched(at: number, ...values: number[]): Uint8Array {
  const image = buildElf(executable(true));
  image.set(values, at);
  return image;
}
