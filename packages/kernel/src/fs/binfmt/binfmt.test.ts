import { utf8Encode } from "@alien-ts/abi";
import { PHDR_SIZE } from "@alien-ts/elf";
import { Prng } from "@alien-ts/testkit";
import { describe, expect, test } from "vitest";
import { testImage } from "../../testing-programs.ts";
import { parseElfHead, parseSegments } from "./elf-image.ts";
import { parseScriptLine } from "./script.ts";

const RISCV = 243;

/** The first 256 bytes of a file, as execve sees them. */
function head(text: string): Uint8Array {
  const bytes = new Uint8Array(256);
  bytes.set(utf8Encode(text).subarray(0, 256));
  return bytes;
}

describe("the first line of a script", () => {
  test.each([
    ["#!/bin/sh\n", "/bin/sh", undefined],
    ["#!/bin/sh", "/bin/sh", undefined],
    ["#! \t/bin/sh \t-e  x \t\nrest", "/bin/sh", "-e  x"],
    [`#!/bin/sh ${"x".repeat(300)}`, "/bin/sh", "x".repeat(246)],
  ])("%j names its interpreter", (text, interpreter, argument) => {
    expect(parseScriptLine(head(text))).toEqual({ interpreter, argument });
  });

  test.each(["", "#", "##!/bin/sh\n", "#!", "#!\n", "#!  \t \n", `#!/${"x".repeat(300)}`, "hello"])(
    "%j is refused",
    (text) => {
      expect(parseScriptLine(head(text))).toBe(undefined);
    },
  );
});

describe("the headers of an executable", () => {
  const image = testImage("demo");
  const phoff = parseElfHead(image, RISCV)!.phoff;

  const parse = (bytes: Uint8Array) => {
    const parsed = parseElfHead(bytes, RISCV);
    if (parsed === undefined || parsed.phoff + parsed.phnum * PHDR_SIZE > bytes.length) return undefined;
    return parseSegments(bytes.subarray(parsed.phoff, parsed.phoff + parsed.phnum * PHDR_SIZE), parsed.phnum);
  };

  test("give the segments", () => {
    expect(parse(image)?.loads.map(({ vaddr }) => vaddr)).toEqual([0x1_0000]);
  });

  const word = (offset: number, value: number): Uint8Array => {
    const bytes = image.slice();
    new DataView(bytes.buffer).setBigUint64(offset, BigInt(value), true);
    return bytes;
  };
  const half = (offset: number, value: number): Uint8Array => {
    const bytes = image.slice();
    new DataView(bytes.buffer).setUint16(offset, value, true);
    return bytes;
  };

  test.each([
    ["another magic number", half(0, 0)],
    ["32 bits", half(4, 0x0101)],
    ["another machine", half(18, 62)],
    ["an object file", half(16, 1)],
    ["program headers of another size", half(54, 32)],
    ["no program header", half(56, 0)],
    ["a file size above the memory size", word(phoff + 32, 2 ** 40)],
    ["an address that does not fit its offset", word(phoff + 16, 0x1_0008)],
    ["an address above user space", word(phoff + 16, 2 ** 50)],
  ])("with %s are refused", (_, bytes) => {
    expect(parse(bytes)).toBe(undefined);
  });

  test("never throw, whatever is in them", () => {
    const random = new Prng(20_261_121);
    for (let run = 0; run < 3000; run++) {
      const bytes = image.slice(0, 64 + random.below(image.length - 64));
      for (let i = 0; i < 4; i++) bytes[random.below(Math.min(bytes.length, 256))] = random.below(256);
      expect(() => parse(bytes), `seed ${random.seed}, run ${run}`).not.toThrow();
    }
  });
});
