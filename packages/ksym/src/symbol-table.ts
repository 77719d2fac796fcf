/**
 * All symbols of a running kernel: its own table, and those of the modules that are loaded.
 *
 * Interface: `SymbolTable`. The kernel's table never changes; modules come and go. Where a name is in several, the kernel's
 * comes first, then the modules in the order of loading; `module:name` asks one module (Linux: module_kallsyms_lookup_name).
 */
import type { Kallsyms } from "./kallsyms.ts";
import type { KernelSymbol, SymbolHit } from "./symbol.ts";
import { assertSymbol, nameBytes, sortSymbols } from "./symbol.ts";

/** A symbol with the module it belongs to; undefined for the kernel itself. */
export interface ModuleSymbol extends KernelSymbol {
  readonly module: string | undefined;
}

export interface ModuleSymbolHit extends SymbolHit {
  readonly module: string | undefined;
}

export class SymbolTable implements Iterable<ModuleSymbol> {
  readonly core: Kallsyms;
  readonly #modules = new Map<string, ModuleTable>();

  constructor(core: Kallsyms) {
    this.core = core;
  }

  /** Symbols of the kernel and of all modules. */
  get size(): number {
    let size = this.core.size;
    for (const table of this.#modules.values()) size += table.symbols.length;
    return size;
  }

  /** Names of the loaded modules, in the order of loading. */
  get modules(): string[] {
    return [...this.#modules.keys()];
  }

  /**
   * Adds the symbols of a module, in any order; answers false, and changes nothing, where a module of that name is there.
   *
   * @param end low word of the address behind the module, which bounds its last symbol.
   */
  addModule(name: string, symbols: readonly KernelSymbol[], end?: number): boolean {
    if (this.#modules.has(name)) return false;
    this.#modules.set(name, new ModuleTable(symbols, end));
    return true;
  }

  /** Forgets a module; answers whether it was there. */
  removeModule(name: string): boolean {
    return this.#modules.delete(name);
  }

  /** Address of the first symbol called `name`, or `module:name`. */
  lookupName(name: string): number | undefined {
    const inCore = this.core.lookupName(name);
    if (inCore !== undefined) return inCore;
    const colon = name.indexOf(":");
    const named = colon < 0 ? undefined : this.#modules.get(name.slice(0, colon));
    if (named !== undefined) return named.lookupNames(name.slice(colon + 1))[0];
    for (const table of this.#modules.values()) {
      const address = table.lookupNames(name)[0];
      if (address !== undefined) return address;
    }
    return undefined;
  }

  /** Addresses of all symbols called `name`: the kernel's, ascending, then each module's. */
  lookupNames(name: string): number[] {
    const addresses = this.core.lookupNames(name);
    for (const table of this.#modules.values()) addresses.push(...table.lookupNames(name));
    return addresses;
  }

  /** The symbol that `address` lies in; see `Kallsyms.lookupAddress`. */
  lookupAddress(address: number): ModuleSymbolHit | undefined {
    for (const [module, table] of this.#modules) {
      if (!table.contains(address)) continue;
      const hit = table.lookupAddress(address);
      return hit === undefined ? undefined : { ...hit, module };
    }
    const hit = this.core.lookupAddress(address);
    return hit === undefined ? undefined : { ...hit, module: undefined };
  }

  /** The kernel's symbols by address, then each module's, as `/proc/kallsyms` lists them. */
  *[Symbol.iterator](): Generator<ModuleSymbol, void> {
    for (const { name, address, type } of this.core) yield { name, address, type, module: undefined };
    for (const [module, table] of this.#modules) {
      for (const { name, address, type } of table.symbols) yield { name, address, type, module };
    }
  }
}

/** The symbols of one module: few, so that plain sorted arrays do. */
class ModuleTable {
  readonly symbols: readonly KernelSymbol[];
  readonly #end: number;
  /** Addresses by name, ascending. */
  readonly #byName = new Map<string, number[]>();

  constructor(symbols: readonly KernelSymbol[], end: number | undefined) {
    for (const symbol of symbols) {
      assertSymbol(symbol);
      nameBytes(symbol.name);
    }
    this.symbols = sortSymbols(symbols);
    const last = this.symbols.at(-1)?.address ?? 0;
    this.#end = end ?? last;
    if (this.#end < last) throw new RangeError(`end ${this.#end} lies before the last symbol at ${last}`);
    for (const { name, address } of this.symbols) {
      const addresses = this.#byName.get(name);
      if (addresses === undefined) this.#byName.set(name, [address]);
      else addresses.push(address);
    }
  }

  contains(address: number): boolean {
    const first = this.symbols[0]?.address;
    if (first === undefined || address < first) return false;
    return address < this.#end || address === this.symbols.at(-1)?.address;
  }

  lookupNames(name: string): readonly number[] {
    return this.#byName.get(name) ?? [];
  }

  lookupAddress(address: number): SymbolHit | undefined {
    const next = this.#firstIndexAbove(address);
    const start = this.symbols[next - 1]?.address;
    if (start === undefined) return undefined;
    const limit = this.symbols[next]?.address ?? this.#end;
    const { name, type } = this.symbols[this.#firstIndexAbove(start - 1)]!;
    return { name, address: start, size: limit - start, offset: address - start, type };
  }

  #firstIndexAbove(address: number): number {
    let low = 0;
    let high = this.symbols.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.symbols[middle]!.address <= address) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
