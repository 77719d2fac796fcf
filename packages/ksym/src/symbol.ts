/**
 * A symbol of the kernel image, and the order in which tables list symbols.
 *
 * Interface: `KernelSymbol`, `compareSymbols`, `sortSymbols`, `nameBytes`. Addresses are low words (`KAddr`), 0 … 2^32 − 1;
 * the high word is a property of a whole table, never of a symbol. A type is one letter as nm(1) prints it: upper case for
 * a global symbol, lower case for a local one.
 */
import { utf8Encode } from "@alien-ts/abi";

export interface KernelSymbol {
  readonly name: string;
  /** Low word of the address. */
  readonly address: number;
  /** nm(1)'s letter: T text, R read-only data, D data, B bss, A absolute; lower case if local. */
  readonly type: string;
}

/** What stands at an address: the symbol, and where in it. */
export interface SymbolHit extends KernelSymbol {
  /** Bytes up to the next symbol with another address. */
  readonly size: number;
  /** Bytes from `address` to the address asked for. */
  readonly offset: number;
}

/**
 * Orders by address; of symbols at one address the best name for people comes first, so that a lookup by address finds it.
 *
 * Linux: scripts/kallsyms.c, compare_symbols(): strong before weak, real before linker-provided, fewer leading underscores
 * first. Equal otherwise: the caller's order stays, since sorting is stable.
 */
export function compareSymbols(a: KernelSymbol, b: KernelSymbol): number {
  return (
    a.address - b.address ||
    Number(isWeak(a.type)) - Number(isWeak(b.type)) ||
    Number(isLinkerProvided(a.name)) - Number(isLinkerProvided(b.name)) ||
    leadingUnderscores(a.name) - leadingUnderscores(b.name)
  );
}

/** A sorted copy; see `compareSymbols`. */
export function sortSymbols<S extends KernelSymbol>(symbols: readonly S[]): S[] {
  return [...symbols].sort(compareSymbols);
}

/** The bytes of a symbol's name. Throws where no table could give the name back: empty, NUL inside, half a surrogate pair. */
export function nameBytes(name: string): Uint8Array {
  if (name === "") throw new RangeError("symbol name is empty, expected at least one byte");
  if (name.includes("\0")) throw new RangeError(`symbol name ${JSON.stringify(name)} contains NUL`);
  if (/\p{Surrogate}/u.test(name)) {
    throw new RangeError(
      `symbol name ${JSON.stringify(name)} is no UTF-8 text: it contains half a surrogate pair`,
    );
  }
  return utf8Encode(name);
}

/** Throws unless `symbol` fits a table: address of 32 bits, type of one ASCII letter. */
export function assertSymbol(symbol: KernelSymbol): void {
  const { address, type, name } = symbol;
  if (!Number.isInteger(address) || address < 0 || address > 0xffff_ffff) {
    throw new RangeError(`address ${address} of ${name} is not a low word (0 to 0xffffffff)`);
  }
  if (!/^[A-Za-z]$/.test(type)) {
    throw new RangeError(`type ${JSON.stringify(type)} of ${name} is not one letter`);
  }
}

/** Byte-wise order of two byte strings, as strcmp(3). */
export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const difference = a[i]! - b[i]!;
    if (difference !== 0) return difference;
  }
  return a.length - b.length;
}

const isWeak = (type: string): boolean => type === "w" || type === "W" || type === "v" || type === "V";

/** Linux: scripts/kallsyms.c, may_be_linker_script_provide_symbol(). */
const isLinkerProvided = (name: string): boolean =>
  name.length >= 8 && /^__(?:start_|stop_|end_|.*_start$|.*_end$)/s.test(name);

function leadingUnderscores(name: string): number {
  let count = 0;
  while (name.charCodeAt(count) === 0x5f) count++;
  return count;
}
