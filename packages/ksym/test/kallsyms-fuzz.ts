/**
 * The random suite of kallsyms blobs: tables come back as they were, lookups equal a walk over all symbols, and a damaged blob,
 * whose checksum was made right again, is read or refused as corrupt, and nothing else.
 */
import { type Prng, type Reach, subjectSuite } from "@alien-ts/testkit";
import { checksum, HEADER, viewOf } from "../src/blob-format.ts";
import type { EncodeOptions, KernelSymbol, SymbolHit } from "../src/index.ts";
import { CorruptKallsyms, encodeKallsyms, Kallsyms, sortSymbols } from "../src/index.ts";
import { LinearTable, randomSymbols } from "./support.ts";

interface Table extends Iterable<KernelSymbol> {
  lookupNames(name: string): number[];
  lookupAddress(address: number): SymbolHit | undefined;
}

interface Subject {
  encode(symbols: readonly KernelSymbol[], options: EncodeOptions): Uint8Array;
  open(blob: Uint8Array): Table;
}

const ksym: Subject = { encode: encodeKallsyms, open: (blob) => new Kallsyms(blob) };

/** A subject whose tables have some methods replaced. */
const withTables = (change: (table: Table) => Partial<Table>): Subject => ({
  encode: encodeKallsyms,
  open: (blob) => {
    const table = new Kallsyms(blob);
    return {
      [Symbol.iterator]: () => table[Symbol.iterator](),
      lookupNames: (name) => table.lookupNames(name),
      lookupAddress: (address) => table.lookupAddress(address),
      ...change(table),
    };
  },
});

const BUGS: Readonly<Record<string, Subject>> = {
  "the last symbol is lost": {
    ...ksym,
    encode: (symbols, options) => encodeKallsyms(symbols.slice(0, -1), options),
  },
  "duplicates are merged": withTables((table) => ({
    lookupNames: (name) => table.lookupNames(name).slice(0, 1),
  })),
  "a symbol ends one byte early": withTables((table) => ({
    lookupAddress: (address) => {
      const hit = table.lookupAddress(address);
      return hit !== undefined && hit.size > 0 && hit.offset === hit.size - 1 ? undefined : hit;
    },
  })),
  "a blob that ends early is not refused as corrupt": {
    ...ksym,
    open: (blob) => {
      viewOf(blob).getUint32(viewOf(blob).getUint32(HEADER.order, true), true);
      return new Kallsyms(blob);
    },
  },
};

export const kallsymsFuzz = subjectSuite("kallsyms", ksym, BUGS, (subject, random, reach) => {
  const symbols = randomSymbols(random.u32(), random.below(200));
  const end = (sortSymbols(symbols).at(-1)?.address ?? 0) + random.below(3) * 8;
  const blob = subject.encode(symbols, { end });
  return (
    compare(subject.open(blob), symbols, end, random, reach) ?? damage(subject, blob.slice(), random, reach)
  );
});

function compare(
  table: Table,
  symbols: readonly KernelSymbol[],
  end: number,
  random: Prng,
  reach: Reach,
): string | undefined {
  const reference = new LinearTable(symbols, end);
  const same = (what: string, got: unknown, expected: unknown): string | undefined =>
    JSON.stringify(got) === JSON.stringify(expected)
      ? undefined
      : `${what} gives ${JSON.stringify(got)}, expected ${JSON.stringify(expected)}`;
  let problem = same("decoding", [...table], reference.symbols);
  for (let i = 0; i < 20 && problem === undefined && symbols.length > 0; i++) {
    const { name, address } = random.pick(symbols);
    const names = reference.lookupNames(name);
    const at = address + random.pick([-1, 0, 1, 7, random.below(5000)]);
    const hit = reference.lookupAddress(at);
    reach(`name: ${names.length > 1 ? "several" : "one"}`);
    reach(`address: ${hit === undefined ? "none" : hit.offset === 0 ? "start" : "inside"}`);
    problem =
      same(`lookupNames ${JSON.stringify(name)}`, table.lookupNames(name), names) ??
      same(`lookupAddress ${at}`, table.lookupAddress(at), hit);
  }
  return problem;
}

/** What a reader may do with any bytes: give symbols, or say that they are corrupt. */
function damage(subject: Subject, whole: Uint8Array, random: Prng, reach: Reach): string | undefined {
  const blob = random.oneIn(4) ? whole.slice(0, random.below(whole.length)) : whole;
  for (let i = random.below(6); i >= 0 && blob.length > 0; i--)
    blob[random.below(blob.length)] = random.u32();
  if (blob.length > HEADER.checksum + 4 && !random.oneIn(8)) {
    viewOf(blob).setUint32(HEADER.length, blob.length, true);
    viewOf(blob).setUint32(HEADER.checksum, checksum(blob, HEADER.checksum + 4), true);
  }
  try {
    const table = subject.open(blob);
    for (const { name, address } of table) {
      table.lookupNames(name);
      table.lookupAddress(address);
    }
    reach("damage: read");
  } catch (error) {
    if (!(error instanceof CorruptKallsyms)) return `a damaged blob gives ${String(error)}`;
    reach(`damage: ${error.message.replace(/\d+|"[^"]*"|checksum.*/g, "#")}`);
  }
  return undefined;
}
