import { expect, test } from "vitest";
import { LinearTable, fixtureSymbols, randomFrom, randomSymbols } from "../test/support.ts";
import type { KernelSymbol } from "./index.ts";
import { CorruptKallsyms, Kallsyms, encodeKallsyms, sortSymbols } from "./index.ts";

const decode = (blob: Uint8Array): KernelSymbol[] => [...new Kallsyms(blob)];

for (const [seed, count] of [
  [1, 0],
  [2, 1],
  [3, 2],
  [4, 63],
  [5, 64],
  [6, 65],
  [7, 500],
  [8, 3000],
] as const) {
  test(`${count} random symbols come back from the blob as they were (seed ${seed})`, () => {
    const symbols = randomSymbols(seed, count);
    expect(decode(encodeKallsyms(symbols))).toEqual(sortSymbols(symbols));
  });

  test(`lookups in ${count} random symbols equal a linear search (seed ${seed})`, () => {
    const symbols = randomSymbols(seed, count);
    const last = sortSymbols(symbols).at(-1)?.address ?? 0;
    const end = last + (seed % 2) * 24;
    const table = new Kallsyms(encodeKallsyms(symbols, { end, baseHi: 0xffff_ffd6 }));
    const reference = new LinearTable(symbols, end);
    const random = randomFrom(seed);
    expect([table.size, table.end, table.baseHi]).toEqual([count, end, 0xffff_ffd6]);
    const names = new Set(["", "a", "\0", "\ud800", "zzz", "\u{10ffff}", ...symbols.map(({ name }) => name)]);
    for (const name of [...names].slice(0, 400)) {
      for (const key of [name, `${name}x`]) {
        expect(table.lookupNames(key)).toEqual(reference.lookupNames(key));
        expect(table.lookupName(key)).toBe(reference.lookupNames(key)[0]);
      }
    }
    const near = symbols
      .slice(0, 300)
      .flatMap(({ address }) => [address - 1, address, address + 1, address + random(5000)]);
    for (const address of [0, -1, end - 1, end, end + 1, 2 ** 32 - 1, ...near]) {
      expect(table.lookupAddress(address), `address ${address}`).toEqual(reference.lookupAddress(address));
    }
  });
}

test("aliases and duplicates are kept, and an address inside an alias gives the first of them", () => {
  const symbols = [
    { name: "__do_sys_read", address: 64, type: "t" },
    { name: "sys_read", address: 64, type: "T" },
    { name: "ksys_read", address: 64, type: "T" },
    { name: "show", address: 96, type: "t" },
    { name: "show", address: 128, type: "t" },
  ];
  const table = new Kallsyms(encodeKallsyms(symbols, { end: 160 }));
  expect([...table].map(({ name }) => name)).toEqual([
    "sys_read",
    "ksys_read",
    "__do_sys_read",
    "show",
    "show",
  ]);
  expect(table.lookupAddress(70)).toEqual({ name: "sys_read", address: 64, size: 32, offset: 6, type: "T" });
  expect(table.lookupNames("show")).toEqual([96, 128]);
  expect(table.lookupName("__do_sys_read")).toBe(64);
});

test("200 aliases of one address, more than a block holds, all lead to the first", () => {
  const symbols = Array.from({ length: 200 }, (_, i) => ({ name: `alias${i}`, address: 4096, type: "T" }));
  const table = new Kallsyms(
    encodeKallsyms([{ name: "before", address: 0, type: "T" }, ...symbols], { end: 8192 }),
  );
  expect(table.lookupAddress(5000)).toMatchObject({ name: "alias0", size: 4096, offset: 904 });
});

test("names of 127, 128, 512 and 20000 bytes that do not compress well come back", () => {
  const random = randomFrom(11);
  const symbols = [127, 128, 512, 20000].map((length, i) => {
    const characters = Array.from({ length }, () => String.fromCharCode(33 + random(90)));
    return { name: characters.join(""), address: i, type: "t" };
  });
  expect(decode(encodeKallsyms(symbols))).toEqual(symbols);
});

test("a lookup between two steps of an iteration does not disturb it", () => {
  const symbols = sortSymbols(randomSymbols(12, 200));
  const table = new Kallsyms(encodeKallsyms(symbols));
  const seen: KernelSymbol[] = [];
  for (const symbol of table) {
    seen.push(symbol);
    table.lookupName("vfs");
  }
  expect(seen).toEqual(symbols);
  expect(symbols.map((_, i) => table.symbolAt(i))).toEqual(symbols);
  for (const index of [-1, 200, 0.5]) expect(() => table.symbolAt(index)).toThrow(RangeError);
});

test("the same symbols give the same bytes, and a blob lies anywhere in a larger buffer", () => {
  const symbols = randomSymbols(13, 300);
  const blob = encodeKallsyms(symbols);
  expect(encodeKallsyms(symbols)).toEqual(blob);
  const larger = new Uint8Array(blob.length + 10);
  larger.set(blob, 3);
  expect(decode(larger.subarray(3, 3 + blob.length))).toEqual(sortSymbols(symbols));
});

test("a blob is padded to the length that a repeated link asks for", () => {
  const symbols = randomSymbols(14, 10);
  const length = encodeKallsyms(symbols).length;
  const padded = encodeKallsyms(symbols, { atLeast: length + 1000 });
  expect([padded.length, length % 64]).toEqual([length + 1000, 0]);
  expect(decode(padded)).toEqual(sortSymbols(symbols));
  expect(encodeKallsyms(symbols, { atLeast: 5 }).length).toBe(length);
});

const symbol = { name: "a", address: 0, type: "T" };
for (const [what, wrong, message] of [
  ["an empty name", { ...symbol, name: "" }, "symbol name is empty"],
  ["a NUL in a name", { ...symbol, name: "a\0b" }, "contains NUL"],
  ["half a surrogate pair", { ...symbol, name: "a\ud800" }, "no UTF-8 text"],
  ["an address beyond 32 bits", { ...symbol, address: 2 ** 32 }, "not a low word"],
  ["a negative address", { ...symbol, address: -1 }, "not a low word"],
  ["a type of two letters", { ...symbol, type: "TT" }, "not one letter"],
] as const) {
  test(`${what} is refused by the encoder`, () => {
    expect(() => encodeKallsyms([wrong])).toThrow(message);
  });
}

test("an end before the last symbol is refused by the encoder", () => {
  expect(() => encodeKallsyms([{ ...symbol, address: 8 }], { end: 7 })).toThrow("end 7");
});

/** FNV-1a, so that the structural checks behind the checksum are reached. */
function forgeChecksum(blob: Uint8Array): Uint8Array {
  let hash = 0x811c_9dc5;
  for (const byte of blob.subarray(16)) hash = Math.imul(hash ^ byte, 0x0100_0193);
  new DataView(blob.buffer, blob.byteOffset).setUint32(12, hash >>> 0, true);
  return blob;
}

test("every truncation and every flipped byte of a blob is refused", () => {
  const blob = encodeKallsyms(randomSymbols(15, 100));
  for (let length = 0; length < blob.length; length++) {
    expect(() => new Kallsyms(blob.slice(0, length))).toThrow(CorruptKallsyms);
  }
  for (let at = 0; at < blob.length; at++) {
    const damaged = blob.slice();
    damaged[at]! ^= 1 << (at % 8);
    expect(() => new Kallsyms(damaged), `byte ${at}`).toThrow(CorruptKallsyms);
  }
  expect(() => new Kallsyms(new TextEncoder().encode("ELF".repeat(500)))).toThrow('expected "KSYM"');
});

function openOrRefuse(blob: Uint8Array): Kallsyms | undefined {
  try {
    return new Kallsyms(blob);
  } catch (error) {
    if (error instanceof CorruptKallsyms) return undefined;
    throw error;
  }
}

test("a damaged blob with a right checksum is refused or answers every question (seed 16)", () => {
  const random = randomFrom(16);
  const blob = encodeKallsyms(randomSymbols(16, 150));
  let refused = 0;
  let answered = 0;
  const runs = 4000;
  for (let run = 0; run < runs; run++) {
    const damaged = blob.slice();
    for (let n = 1 + random(3); n > 0; n--) {
      const at = 16 + (random(2) === 0 ? random(28) : random(blob.length - 16));
      damaged[at] = random(256);
    }
    const table = openOrRefuse(forgeChecksum(damaged));
    if (table === undefined) {
      refused += 1;
      continue;
    }
    table.lookupNames("vfs");
    table.lookupAddress(random(2 ** 32));
    if ([...table].length === table.size) answered += 1;
  }
  expect(refused + answered).toBe(runs);
  expect(refused).toBeGreaterThan(runs / 4);
});

test("the whole blob of the fixture, addresses and name index included, has at most 60 % of the bytes of its raw names", () => {
  const symbols = fixtureSymbols();
  expect(symbols.length).toBeGreaterThan(5000);
  const blob = encodeKallsyms(symbols);
  // Raw: type letter, name and terminating NUL of each symbol, nothing for its address.
  const raw = symbols.reduce((sum, { name }) => sum + name.length + 2, 0);
  expect(blob.length / raw).toBeLessThanOrEqual(0.6);
  expect(decode(blob)).toEqual(sortSymbols(symbols));
});

test("the name data of the fixture (codes, lengths, tokens, blocks) has at most 52 % of the bytes of its raw names", () => {
  const symbols = sortSymbols(fixtureSymbols());
  const { parts } = new Kallsyms(encodeKallsyms(symbols));
  const raw = symbols.reduce((sum, { name }) => sum + name.length + 2, 0);
  const widths = symbols.map(({ address }, i) =>
    i % 64 === 0 ? 1 : widthOf(address - symbols[i - 1]!.address),
  );
  const addressBytes = widths.reduce((sum, width) => sum + width, 0);
  expect((parts.order - parts.tokens - addressBytes) / raw).toBeLessThanOrEqual(0.52);
});

const widthOf = (value: number): number => (value < 0x80 ? 1 : 1 + widthOf(Math.floor(value / 0x80)));

test("100,000 symbols are encoded, read and found", () => {
  const names = fixtureSymbols().map(({ name }) => name);
  const symbols = Array.from({ length: 100_000 }, (_, i) => {
    return { name: `${names[i % names.length]!}.${i}`, address: i * 16, type: "t" };
  });
  const table = new Kallsyms(encodeKallsyms(symbols, { end: 1_600_000 }));
  expect(table.size).toBe(100_000);
  for (let i = 0; i < 100_000; i += 997) {
    const { name, address } = symbols[i]!;
    expect(table.lookupName(name)).toBe(address);
    expect(table.lookupAddress(address + 15)).toMatchObject({ name, size: 16, offset: 15 });
  }
});
