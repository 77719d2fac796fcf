import { expect, test } from "vitest";
import { fixtureSymbols, randomFrom } from "../test/support.ts";
import type { LinkedImage, SectionSpec, StableLink, StableLinkOptions, SymbolSpec } from "./index.ts";
import { InconsistentKallsyms, Kallsyms, checkKallsyms, encodeKallsyms, linkUntilStable } from "./index.ts";

const makeTable = (image: LinkedImage, atLeast: number): Uint8Array =>
  encodeKallsyms(image.symbols, { baseHi: image.baseHi, end: image.base + image.size, atLeast });

/** An image whose table lies before strings, data and bss. */
function kernel(functions: number, random: (below: number) => number): SectionSpec[] {
  const names = fixtureSymbols().map(({ name }) => name);
  const start = random(names.length - functions);
  const text = names
    .slice(start, start + functions)
    .map((name): SymbolSpec => ({ name, type: "t", align: 2, size: 20 + 2 * random(30) }));
  return [
    { name: ".text", align: 4096, types: "Tt", symbols: text },
    {
      name: ".rodata",
      align: 4096,
      types: "Rr",
      symbols: [
        { name: "kallsyms", type: "R", align: 8, size: 0 },
        { name: "strings", type: "r", align: 1 << random(8), size: random(5000) },
      ],
    },
    {
      name: ".data",
      align: 1 << random(13),
      types: "Dd",
      symbols: [{ name: "init_task", type: "D", size: 2000 }],
    },
    {
      name: ".bss",
      align: 1 << random(13),
      types: "Bb",
      isZeroed: true,
      symbols: [{ name: "zero", type: "B", size: 4096 }],
    },
  ];
}

const linkKernel = (sections: SectionSpec[], make = makeTable): StableLink => {
  const options: StableLinkOptions = {
    base: 0x20_0000,
    baseHi: 0xffff_ffd6,
    sections,
    tableSymbol: "kallsyms",
    makeTable: make,
  };
  return linkUntilStable(options);
};

for (let seed = 1; seed <= 12; seed++) {
  test(`a kernel of ${seed * 40} functions is stable after three links (seed ${seed})`, () => {
    const { image, table, passes } = linkKernel(kernel(seed * 40, randomFrom(seed)));
    expect(passes).toBe(3);
    const at = image.addressOf("kallsyms") - image.base;
    expect(image.bytes.subarray(at, at + table.length)).toEqual(table);
    expect([...new Kallsyms(table)]).toEqual(
      image.symbols.map(({ name, address, type }) => ({ name, address, type })),
    );
    expect(() => checkKallsyms(table, image.symbols)).not.toThrow();
  });
}

test("a table that never settles fails, and the error says which symbols move", () => {
  let length = 0;
  const growing = (): Uint8Array => new Uint8Array((length += 5000));
  const linking = (): unknown => linkKernel(kernel(10, randomFrom(1)), growing);
  expect(linking).toThrow(InconsistentKallsyms);
  expect(linking).toThrow(
    /^inconsistent kallsyms data: r strings is at [0-9a-f]{8}, the table says [0-9a-f]{8}; /,
  );
});

test("a table that changes though the symbols do not fails", () => {
  let content = 0;
  const restless = (): Uint8Array => Uint8Array.of(content++);
  expect(() => linkKernel(kernel(10, randomFrom(1)), restless)).toThrow(
    "the table changes though the symbols do not",
  );
});

test("a table symbol that no section has cannot be linked", () => {
  const sections = kernel(10, randomFrom(1)).filter(({ name }) => name !== ".rodata");
  expect(() => linkKernel(sections)).toThrow("table symbol kallsyms is in 0 sections");
});

test("a row added between the passes fails with inconsistent kallsyms data, and is named", () => {
  const sections = kernel(20, randomFrom(2));
  const { table } = linkKernel(sections);
  const [text, ...others] = sections as [SectionSpec, ...SectionSpec[]];
  const row: SymbolSpec = { name: "sys_added", type: "T", size: 8 };
  const { image } = linkKernel([{ ...text, symbols: [...text.symbols, row] }, ...others]);
  const checking = (): void => checkKallsyms(table, image.symbols);
  expect(checking).toThrow(InconsistentKallsyms);
  expect(checking).toThrow("inconsistent kallsyms data: T sys_added is not in the table");
});

const [a, b] = [
  { name: "a", address: 0, type: "T" },
  { name: "b", address: 8, type: "t" },
];
for (const [what, symbols, message] of [
  ["a symbol less", [a], "t b is not in the image"],
  ["a symbol that moved", [a, { ...b, address: 12 }], "t b is at 0000000c, the table says 00000008"],
  ["another type", [a, { ...b, type: "T" }], "T b is not in the table; t b is not in the image"],
  ["a duplicate more", [a, b, b], "t b is not in the table"],
  [
    "ten symbols more",
    [a, b, ...Array.from({ length: 10 }, (_, i) => ({ ...a, name: `n${i}` }))],
    "; and 2 more",
  ],
] as const) {
  test(`the check of a table fails for ${what}`, () => {
    expect(() => checkKallsyms(encodeKallsyms([a, b]), symbols)).toThrow(`inconsistent kallsyms data: `);
    expect(() => checkKallsyms(encodeKallsyms([a, b]), symbols)).toThrow(message);
  });
}

test("the check of a table does not mind the order of the symbols", () => {
  expect(() => checkKallsyms(encodeKallsyms([a, b]), [b, a])).not.toThrow();
});
