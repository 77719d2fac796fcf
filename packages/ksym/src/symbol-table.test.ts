import { expect, test } from "vitest";
import { LinearTable, randomSymbols } from "../test/support.ts";
import { Kallsyms, SymbolTable, encodeKallsyms, formatKallsymsLine } from "./index.ts";

const core = (): Kallsyms =>
  new Kallsyms(
    encodeKallsyms(
      [
        { name: "vfs_read", address: 0x20_0000, type: "T" },
        { name: "show", address: 0x20_0040, type: "t" },
      ],
      { end: 0x20_0080 },
    ),
  );

const ext4 = [
  { name: "show", address: 0x80_0010, type: "t" },
  { name: "ext4_read", address: 0x80_0000, type: "t" },
];

test("symbols of a module are found while it is loaded, with its name", () => {
  const table = new SymbolTable(core());
  expect(table.addModule("ext4", ext4, 0x80_0020)).toBe(true);
  expect([table.size, table.modules]).toEqual([4, ["ext4"]]);
  expect(table.lookupName("ext4_read")).toBe(0x80_0000);
  expect(table.lookupAddress(0x80_001f)).toEqual({
    name: "show",
    address: 0x80_0010,
    size: 16,
    offset: 15,
    type: "t",
    module: "ext4",
  });
  expect(table.lookupAddress(0x80_0020)).toBeUndefined();
  expect(table.lookupAddress(0x70_0000)).toBeUndefined();
  expect(table.lookupAddress(0x20_0041)).toMatchObject({ name: "show", offset: 1, module: undefined });
  expect(table.removeModule("ext4")).toBe(true);
  expect([table.lookupName("ext4_read"), table.lookupAddress(0x80_0000), table.size]).toEqual([
    undefined,
    undefined,
    2,
  ]);
  expect(table.removeModule("ext4")).toBe(false);
});

test("a name is looked for in the kernel first, then in the modules as they were loaded", () => {
  const table = new SymbolTable(core());
  table.addModule("ext4", ext4);
  table.addModule("xfs", [{ name: "show", address: 0x90_0000, type: "t" }]);
  expect(table.lookupNames("show")).toEqual([0x20_0040, 0x80_0010, 0x90_0000]);
  expect(table.lookupName("show")).toBe(0x20_0040);
  expect(table.lookupName("xfs:show")).toBe(0x90_0000);
  expect([table.lookupName("xfs:absent"), table.lookupName("absent:show")]).toEqual([undefined, undefined]);
});

test("a module of a name that is loaded is not added", () => {
  const table = new SymbolTable(core());
  table.addModule("ext4", ext4);
  expect(table.addModule("ext4", [])).toBe(false);
  expect(table.size).toBe(4);
});

test("a module's symbols that no table can hold are refused", () => {
  const table = new SymbolTable(core());
  expect(() => table.addModule("bad", [{ name: "", address: 0, type: "t" }])).toThrow("empty");
  expect(() => table.addModule("bad", ext4, 0x80_0000)).toThrow("lies before the last symbol");
  expect(table.modules).toEqual([]);
});

test("lookups in a module equal a linear search (seed 31)", () => {
  const symbols = randomSymbols(31, 400).map((symbol) => ({
    ...symbol,
    address: symbol.address + 0x80_0000,
  }));
  const end = Math.max(...symbols.map(({ address }) => address)) + 16;
  const table = new SymbolTable(core());
  table.addModule("m", symbols, end);
  const reference = new LinearTable(symbols, end);
  for (const { name, address } of symbols) {
    expect(table.lookupName(`m:${name}`)).toBe(reference.lookupNames(name)[0]);
    for (const near of [address, address + 1, address + 70]) {
      const hit = reference.lookupAddress(near);
      expect(table.lookupAddress(near)).toEqual(hit === undefined ? undefined : { ...hit, module: "m" });
    }
  }
});

for (const [what, showAddress, lines] of [
  [
    "shows addresses to the privileged",
    true,
    [
      "ffffffd600200000 T vfs_read",
      "ffffffd600200040 t show",
      "ffffffd600800000 t ext4_read\t[ext4]",
      "ffffffd600800010 t show\t[ext4]",
    ],
  ],
  [
    "hides addresses from others",
    false,
    [
      "0000000000000000 T vfs_read",
      "0000000000000000 t show",
      "0000000000000000 t ext4_read\t[ext4]",
      "0000000000000000 t show\t[ext4]",
    ],
  ],
] as const) {
  test(`/proc/kallsyms ${what}`, () => {
    const table = new SymbolTable(core());
    table.addModule("ext4", ext4);
    const text = [...table].map((symbol) => formatKallsymsLine(symbol, { showAddress, baseHi: 0xffff_ffd6 }));
    expect(text).toEqual(lines.map((line) => `${line}\n`));
  });
}
