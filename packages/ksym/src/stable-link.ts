/**
 * The link of an image that contains the table of its own symbols, and the check that the two agree.
 *
 * Interface: `linkUntilStable`, `checkKallsyms`, `InconsistentKallsyms`. The table lies in .rodata, so its size moves what
 * follows: the link is repeated until the table made of an image is the one that is linked in.
 *
 * Linux: scripts/link-vmlinux.sh, "Inconsistent kallsyms data".
 */
import { formatAddress } from "./format.ts";
import { Kallsyms } from "./kallsyms.ts";
import type { LinkOptions, LinkedImage, SectionSpec, SymbolSpec } from "./link.ts";
import { LinkError, link } from "./link.ts";
import type { KernelSymbol } from "./symbol.ts";

/** Links at most, as in Linux: the second has the table's final size, the third its final addresses. */
export const LINK_PASSES = 3;

export interface StableLinkOptions extends LinkOptions {
  /** Name of the symbol, in one of the sections, whose contents become the table. */
  readonly tableSymbol: string;
  /**
   * Makes the table of an image. `atLeast` is the length of the table that is linked in: a table that needs no more must be
   * padded to it, so that addresses come to rest (`encodeKallsyms` takes it as an option).
   */
  readonly makeTable: (image: LinkedImage, atLeast: number) => Uint8Array;
}

export interface StableLink {
  readonly image: LinkedImage;
  readonly table: Uint8Array;
  /** Links that were needed. */
  readonly passes: number;
}

export interface SymbolDifferences {
  /** In the image, but not in the table. */
  readonly added: readonly KernelSymbol[];
  /** In the table, but not in the image. */
  readonly removed: readonly KernelSymbol[];
  /** In both, at another address. */
  readonly moved: readonly { readonly from: KernelSymbol; readonly to: KernelSymbol }[];
}

/** The table of symbols is not that of the image. */
export class InconsistentKallsyms extends Error {
  override readonly name = "InconsistentKallsyms";
  readonly differences: SymbolDifferences;
  constructor(differences: SymbolDifferences, what: string = describe(differences)) {
    super(`inconsistent kallsyms data: ${what}`);
    this.differences = differences;
  }
}

/** Links until the table agrees with the image. Throws InconsistentKallsyms where three links do not suffice. */
export function linkUntilStable(options: StableLinkOptions): StableLink {
  let table = new Uint8Array(0);
  let tabled: readonly KernelSymbol[] = [];
  let linked: readonly KernelSymbol[] = [];
  for (let passes = 1; passes <= LINK_PASSES; passes++) {
    const image = link({ ...options, sections: withTable(options.sections, options.tableSymbol, table) });
    const next = Uint8Array.from(options.makeTable(image, table.length));
    if (areEqual(next, table)) return { image, table, passes };
    tabled = linked;
    linked = image.symbols;
    table = next;
  }
  throw new InconsistentKallsyms(differencesOf(tabled, linked));
}

/**
 * Throws InconsistentKallsyms unless `blob` is the table of exactly these symbols, CorruptKallsyms if it cannot be read.
 *
 * @param baseHi high word of the symbols' addresses; the table's is compared with it where given.
 */
export function checkKallsyms(blob: Uint8Array, symbols: readonly KernelSymbol[], baseHi?: number): void {
  const table = new Kallsyms(blob);
  const differences = differencesOf([...table], symbols);
  const { added, removed, moved } = differences;
  if (added.length + removed.length + moved.length > 0) throw new InconsistentKallsyms(differences);
  if (baseHi !== undefined && baseHi !== table.baseHi) {
    const [is, says] = [baseHi, table.baseHi].map((word) => formatAddress(0, word).slice(0, 8));
    throw new InconsistentKallsyms(
      differences,
      `the high word of addresses is ${is}, the table says ${says}`,
    );
  }
}

function withTable(sections: readonly SectionSpec[], name: string, bytes: Uint8Array): SectionSpec[] {
  const holders = sections.filter(({ symbols }) => symbols.some((symbol) => symbol.name === name));
  if (holders.length !== 1)
    throw new LinkError(`table symbol ${name} is in ${holders.length} sections, expected 1`);
  return sections.map((section) => {
    if (section !== holders[0]) return section;
    const symbols = section.symbols.map((symbol): SymbolSpec => {
      if (symbol.name !== name) return symbol;
      const { emit: _, ...table } = symbol;
      return { ...table, bytes, size: bytes.length };
    });
    return { ...section, symbols };
  });
}

/** What differs between the symbols of a table and those of an image; order does not matter. */
function differencesOf(table: readonly KernelSymbol[], image: readonly KernelSymbol[]): SymbolDifferences {
  const onlyTable = subtract(table, image);
  const onlyImage = subtract(image, table);
  const candidates = new Map<string, KernelSymbol[]>();
  for (const symbol of onlyTable) {
    const key = `${symbol.type} ${symbol.name}`;
    candidates.set(key, [...(candidates.get(key) ?? []), symbol]);
  }
  const added: KernelSymbol[] = [];
  const moved: { from: KernelSymbol; to: KernelSymbol }[] = [];
  for (const to of onlyImage) {
    const from = candidates.get(`${to.type} ${to.name}`)?.shift();
    if (from === undefined) added.push(to);
    else moved.push({ from, to });
  }
  return { added, removed: [...candidates.values()].flat(), moved };
}

/** `symbols` without `others`, each as often as it occurs. */
function subtract(symbols: readonly KernelSymbol[], others: readonly KernelSymbol[]): KernelSymbol[] {
  const key = ({ address, type, name }: KernelSymbol): string => `${address} ${type} ${name}`;
  const counts = new Map<string, number>();
  for (const other of others) counts.set(key(other), (counts.get(key(other)) ?? 0) + 1);
  return symbols.filter((symbol) => {
    const count = counts.get(key(symbol)) ?? 0;
    counts.set(key(symbol), count - 1);
    return count <= 0;
  });
}

const LISTED = 8;

function describe({ added, removed, moved }: SymbolDifferences): string {
  const lines = [
    ...added.map(({ type, name }) => `${type} ${name} is not in the table`),
    ...removed.map(({ type, name }) => `${type} ${name} is not in the image`),
    ...moved.map(({ from, to }) => `${to.type} ${to.name} is at ${low(to)}, the table says ${low(from)}`),
  ];
  if (lines.length === 0) return "the table changes though the symbols do not";
  const more = lines.length > LISTED ? `; and ${lines.length - LISTED} more` : "";
  return lines.slice(0, LISTED).join("; ") + more;
}

const low = ({ address }: KernelSymbol): string => formatAddress(address, 0).slice(8);

function areEqual(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
