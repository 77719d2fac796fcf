/** Images as another reader of ELF sees them. */
import { type ElfError, PT_LOAD, PT_NOTE, isElfError, parseElf, parseNotes } from "@alien-ts/elf";
import { expect, test } from "vitest";
import { FUNCTION_BYTES, type Program, TEXT_BASE } from "./host/program.ts";
import { buildImage, imageFiles } from "./image.ts";
import { fromBytes } from "./libc/text.ts";

const program: Program = { name: "demo", path: "/bin/demo", main: () => 0, functions: ["work"] };

function must<T>(value: T | ElfError): T {
  if (isElfError(value)) throw value;
  return value;
}

test("an image is an executable whose entry is main, with a symbol per function", () => {
  const elf = must(parseElf(buildImage(program)));
  expect(elf.header.entry).toBe(TEXT_BASE);
  const symbols = must(elf.symbols()).filter(({ name }) => name !== "");
  expect(symbols.map(({ name, value }) => [name, value])).toEqual([
    ["main", TEXT_BASE],
    ["work", TEXT_BASE + FUNCTION_BYTES],
    ["__alien_slots", TEXT_BASE + 2 * FUNCTION_BYTES],
  ]);
});

test("the first segment is the text, and PT_NOTE leads to the program's name", () => {
  const elf = must(parseElf(buildImage(program)));
  const segments = must(elf.segments());
  expect(segments.map(({ type }) => type)).toEqual([PT_LOAD, PT_NOTE]);
  expect(segments[0]!.vaddr).toBe(TEXT_BASE);
  const [note] = must(parseNotes(segments[1]!.data, { littleEndian: true, align: 4, fileOffset: 0 }));
  expect([note!.name, note!.type, fromBytes(note!.desc)]).toEqual(["alien", 1, "demo".padEnd(32, "\0")]);
});

test("a name that has no room in the note is refused", () => {
  const name = "n".repeat(32);
  expect(() => buildImage({ ...program, name })).toThrow(
    `program name "${name}" is longer than the 31 bytes`,
  );
});

test("parents of the root file system come before their children", () => {
  const seen = new Set([""]);
  for (const { path } of imageFiles([program])) {
    expect(seen).toContain(path.slice(0, path.lastIndexOf("/")));
    seen.add(path);
  }
});
