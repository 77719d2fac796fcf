/**
 * Reads the output of `nm -n`: one symbol per line, `ffffffd600200000 T vfs_read`, in the order of addresses.
 *
 * Interface: `parseNm`, `NmError`. Every line counts: one that is no symbol is an error that names the line, since a symbol
 * lost here would be a symbol lost in the kernel. An empty listing is an empty table (the first pass of a link starts so).
 */
import type { KernelSymbol } from "@alien-ts/ksym";

export interface NmListing {
  readonly symbols: KernelSymbol[];
  /** High word of all addresses; 0 for an empty listing. */
  readonly baseHi: number;
}

/** A line that is no symbol. */
export class NmError extends Error {
  override readonly name = "NmError";
  /** Counted from 1. */
  readonly line: number;
  constructor(line: number, expected: string, found: string) {
    super(`line ${line}: expected ${expected}, found ${JSON.stringify(shorten(found))}`);
    this.line = line;
  }
}

/** @throws NmError */
export function parseNm(text: string): NmListing {
  const lines = text.split("\n");
  if (lines.at(-1) === "") lines.pop();
  const symbols: KernelSymbol[] = [];
  let baseHi: string | undefined;
  let previous = 0;
  lines.forEach((found, i) => {
    const fields = /^([0-9a-f]{8})([0-9a-f]{8}) ([A-Za-z]) ([^\0\r]+)$/.exec(found);
    if (fields === null) throw new NmError(i + 1, "16 hexadecimal digits, a type letter and a name", found);
    const [, high, low, type, name] = fields as unknown as [string, string, string, string, string];
    baseHi ??= high;
    if (high !== baseHi) throw new NmError(i + 1, `an address that starts with ${baseHi}`, found);
    const address = Number.parseInt(low, 16);
    if (address < previous) throw new NmError(i + 1, "addresses in ascending order (nm -n)", found);
    previous = address;
    symbols.push({ name, address, type });
  });
  return { symbols, baseHi: Number.parseInt(baseHi ?? "0", 16) };
}

const SHOWN = 80;

const shorten = (text: string): string => (text.length > SHOWN ? `${text.slice(0, SHOWN)}…` : text);
