import { gzipSync } from "node:zlib";
import { expect, test } from "vitest";
import { linesOf } from "./lines.ts";

async function* chunksOf(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

/** The lines of `bytes` that arrive by `size`, and the failure after them. */
async function read(bytes: Uint8Array, size: number, longest?: number) {
  const lines: (string | undefined)[] = [];
  try {
    for await (const group of linesOf(chunksOf(bytes, size), longest)) lines.push(...group);
  } catch (error) {
    return { lines, error: (error as Error).message };
  }
  return { lines };
}

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);

test.each([1, 2, 3, 100])(
  "lines are the same however their bytes arrive (by %i), compressed or not",
  async (size) => {
    const bytes = bytesOf("\u{feff}one\r\n\n{\r\u2028}\nä€😀\r\r\nlast");
    const lines = ["one", "", "{\r\u2028}", "ä€😀\r", "last"];
    expect(await read(bytes, size)).toEqual({ lines });
    expect(await read(gzipSync(bytes), size)).toEqual({ lines });
  },
);

test.each(["", "\n", "one\n", "\r\n"])("%j has as many lines as it has ends of lines", async (text) => {
  expect((await read(bytesOf(text), 10)).lines.length).toBe(text.split("\n").length - 1);
});

test("what came before a cut in compressed lines is read before the cut is reported", async () => {
  const bytes = gzipSync(bytesOf("line\n".repeat(1000)));
  const { lines, error } = await read(bytes.subarray(0, -8), 100);
  expect({ count: lines.length, error }).toEqual({ count: 1000, error: "unexpected end of file" });
});

test("a line longer than the host can hold is replaced, and reading goes on after it", async () => {
  expect(await read(bytesOf("12345678\n123456789\n1"), 3, 8)).toEqual({
    lines: ["12345678", undefined, "1"],
  });
});
