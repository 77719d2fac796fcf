import { expect, test } from "vitest";
import { fixtureSymbols, randomSymbols } from "../test/support.ts";
import { CorruptKallsyms, encodeKallsyms, toAssembly, toModuleSource } from "./index.ts";

/** The few directives of GNU as that a listing uses. */
function assemble(listing: string): Uint8Array {
  const bytes: number[] = [];
  const put = (value: bigint, size: number): void => {
    for (let i = 0n; i < BigInt(size); i++) bytes.push(Number((value >> (8n * i)) & 0xffn));
  };
  const sizes: Record<string, number> = { byte: 1, short: 2, long: 4, quad: 8 };
  for (const line of listing.replaceAll(/\/\*.*?\*\//g, "").split("\n")) {
    const [, directive, operands] = /^\t\.(\w+) (.*?)\s*$/.exec(line) ?? [];
    if (directive === undefined || directive === "section" || directive === "globl") continue;
    if (directive === "ascii")
      for (const letter of JSON.parse(operands!) as string) put(BigInt(letter.charCodeAt(0)), 1);
    else if (directive === "zero") for (let i = Number(operands); i > 0; i--) bytes.push(0);
    else for (const operand of operands!.split(",")) put(BigInt(operand.trim()), sizes[directive]!);
  }
  return Uint8Array.from(bytes);
}

const tables = [0, 1, 2, 3, 100, 101, 102].map((count) =>
  encodeKallsyms(randomSymbols(41 + count, count), { baseHi: 0xffff_ffd6 }),
);

test("an assembled listing is the blob", () => {
  for (const blob of tables) expect(assemble(toAssembly(blob))).toEqual(blob);
  const fixture = encodeKallsyms(fixtureSymbols());
  expect(assemble(toAssembly(fixture))).toEqual(fixture);
});

test("an imported module exports the blob", async () => {
  for (const blob of tables) {
    const url = `data:text/javascript,${encodeURIComponent(toModuleSource(blob))}`;
    const module = (await import(/* @vite-ignore */ url)) as { kallsyms: Uint8Array };
    expect(module.kallsyms).toEqual(blob);
  }
});

test("a listing names each symbol and token", () => {
  const symbols = [
    { name: "vfs_read", address: 0x20_0000, type: "T" },
    { name: "vfs_read", address: 0x20_0040, type: "t" },
    { name: "end*/\n", address: 0x20_0044, type: "t" },
  ];
  const listing = toAssembly(encodeKallsyms(symbols, { baseHi: 0xffff_ffd6 }));
  expect(listing).toContain("/* ffffffd600200000 T vfs_read */\n");
  expect(listing).toContain("/* ffffffd600200040 t vfs_read */\n");
  expect(listing).toContain("/* ffffffd600200044 t end*\\/? */\n");
  expect(listing).toContain("kallsyms_relative_base:\n\t.quad 0xffffffd600200000\n");
  expect(listing).toMatch(/\t\.byte [0-9,]+\t\/\* \d+: vfs_read \*\/\n/);
});

test("a blob that cannot be read has no listing", () => {
  expect(() => toAssembly(new Uint8Array(1000))).toThrow(CorruptKallsyms);
});
