/** What the tests of this package share: seeded random tables, a naive reference, the fixture. */
import { readFileSync } from "node:fs";
import type { KernelSymbol, SymbolHit } from "../src/index.ts";
import { sortSymbols } from "../src/index.ts";

/** Mulberry32: numbers in [0, below). */
export function randomFrom(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let word = Math.imul(state ^ (state >>> 15), state | 1);
    word ^= word + Math.imul(word ^ (word >>> 7), word | 61);
    return Math.floor((((word ^ (word >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}

const WORDS = [
  "vfs",
  "read",
  "__x64_sys_",
  "_",
  ".",
  "$",
  "cold",
  "é",
  "地",
  "😀",
  "~",
  "\x7f",
  "\x01",
  " ",
  "0",
  "ext4_",
  "A",
];

/** A table with aliases, duplicates, names of any bytes, and some that are long. */
export function randomSymbols(seed: number, count: number): KernelSymbol[] {
  const random = randomFrom(seed);
  const symbols: KernelSymbol[] = [];
  let address = random(2) === 0 ? 0 : random(2 ** 31);
  for (let i = 0; i < count; i++) {
    if (random(4) > 0) address += [1, 8, 64, 4096, 2 ** 20][random(5)]! * random(3);
    const parts = random(40) === 0 ? 100 + random(200) : 1 + random(5);
    let name = "";
    for (let part = 0; part < parts; part++) name += WORDS[random(WORDS.length)]!;
    const isDuplicate = symbols.length > 0 && random(8) === 0;
    if (isDuplicate) name = symbols[random(symbols.length)]!.name;
    symbols.push({ name, address, type: "TtRrDdBbAWw"[random(11)]! });
  }
  return symbols;
}

/** Lookups by walking over all symbols. */
export class LinearTable {
  readonly symbols: readonly KernelSymbol[];
  readonly #end: number;
  constructor(symbols: readonly KernelSymbol[], end: number) {
    this.symbols = sortSymbols(symbols);
    this.#end = end;
  }
  lookupNames(name: string): number[] {
    return this.symbols.filter((symbol) => symbol.name === name).map(({ address }) => address);
  }
  lookupAddress(address: number): SymbolHit | undefined {
    const start = this.symbols.findLast((symbol) => symbol.address <= address)?.address;
    if (start === undefined) return undefined;
    const limit = this.symbols.find((symbol) => symbol.address > address)?.address ?? this.#end;
    if (address >= limit && address > start) return undefined;
    const { name, type } = this.symbols.find((symbol) => symbol.address === start)!;
    return { name, address: start, size: limit - start, offset: address - start, type };
  }
}

/** Real kernel symbols: each line has the distance to the symbol before (hexadecimal), type and name. */
export function fixtureSymbols(): KernelSymbol[] {
  const text = readFileSync(new URL("../fixtures/linux-symbols.txt", import.meta.url), "utf8");
  let address = 0x20_0000;
  return text
    .trimEnd()
    .split("\n")
    .map((line) => {
      const [distance, type, name] = line.split(" ");
      address += Number.parseInt(distance!, 16);
      return { name: name!, address, type: type! };
    });
}
