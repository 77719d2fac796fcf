import { expect, test } from "vitest";
import { Kallsyms, SymbolTable, encodeKallsyms, linkUntilStable } from "../src/index.ts";

test("the example of the README gives what it says", () => {
  const { image, table } = linkUntilStable({
    base: 0x200000,
    baseHi: 0xffffffd6,
    sections: [
      {
        name: ".text",
        align: 4096,
        types: "Tt",
        symbols: [{ name: "vfs_read", type: "T", bytes: new Uint8Array(20) }],
      },
      {
        name: ".rodata",
        align: 4096,
        types: "Rr",
        symbols: [{ name: "kallsyms", type: "R", align: 8, size: 0 }],
      },
    ],
    tableSymbol: "kallsyms",
    makeTable: (linked, atLeast) =>
      encodeKallsyms(linked.symbols, { baseHi: linked.baseHi, end: linked.base + linked.size, atLeast }),
  });
  expect(image.systemMap()).toMatch(/^ffffffd600200000 T vfs_read\n/);
  const symbols = new SymbolTable(new Kallsyms(table));
  expect(symbols.lookupName("vfs_read")).toBe(0x200000);
  expect(symbols.lookupAddress(0x200004)).toEqual({
    name: "vfs_read",
    address: 0x200000,
    size: 20,
    offset: 4,
    type: "T",
    module: undefined,
  });
});
