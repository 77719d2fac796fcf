/**
 * The linker: gives sections and symbols their addresses, and writes the image.
 *
 * Interface: `link(options)` → `LinkedImage`. It knows no architecture: a symbol brings its bytes, or a function that emits
 * them once all addresses are known. Addresses are low words; the high word appears in `systemMap()` alone.
 *
 * Invariants: the same description gives the same image; symbols lie in the order of the description; what is wrong with a
 * description (a bug of its author) is thrown as `LinkError`. The linker fills gaps with zeros, which no architecture here
 * executes as an instruction that goes on.
 */
import { formatSystemMap } from "./format.ts";
import type { KernelSymbol } from "./symbol.ts";
import { assertSymbol, nameBytes, sortSymbols } from "./symbol.ts";

/** Address of the symbol called `name`; throws LinkError where there is none. */
export type Resolve = (name: string) => number;

export interface SymbolSpec {
  readonly name: string;
  /** nm(1)'s letter; upper case is global. One of the section's `types`, or A, W, V. */
  readonly type: string;
  /** Power of two; 1 where not given. */
  readonly align?: number;
  /** Bytes; may be left out with `bytes`. */
  readonly size?: number;
  /** Contents. */
  readonly bytes?: Uint8Array;
  /** Makes the contents, exactly `size` bytes, when every address is known. Not together with `bytes`. */
  readonly emit?: (address: number, resolve: Resolve) => Uint8Array;
  /** More names for the same bytes. */
  readonly aliases?: readonly string[];
}

export interface SectionSpec {
  readonly name: string;
  /** Power of two. */
  readonly align: number;
  /** Letters that its symbols may have, the letter of linker-defined symbols first: "Tt". */
  readonly types: string;
  readonly symbols: readonly SymbolSpec[];
  /** Whether it has no contents in the image, like .bss; false where not given. */
  readonly isZeroed?: boolean;
  /** Linker-defined symbols at its start and end; those of `LINUX_BOUNDARIES` where not given. */
  readonly start?: readonly string[];
  readonly end?: readonly string[];
}

export interface LinkOptions {
  /** Low word of the first section's lowest possible address. */
  readonly base: number;
  /** High word of all addresses. */
  readonly baseHi: number;
  /** In the order of the image. */
  readonly sections: readonly SectionSpec[];
}

export interface LinkedSymbol extends KernelSymbol {
  readonly size: number;
  readonly section: string;
}

export interface LinkedSection {
  readonly name: string;
  readonly address: number;
  readonly size: number;
  /** View of the image; undefined for a section without contents. */
  readonly bytes: Uint8Array | undefined;
}

/** Linux's names for section boundaries (include/asm-generic/sections.h). `_end` ends the image. */
export const LINUX_BOUNDARIES: Readonly<
  Record<string, { start: readonly string[]; end: readonly string[] }>
> = {
  ".text": { start: ["_text", "_stext"], end: ["_etext"] },
  ".rodata": { start: ["__start_rodata"], end: ["__end_rodata"] },
  ".data": { start: ["_sdata"], end: ["_edata"] },
  ".bss": { start: ["__bss_start"], end: ["__bss_stop"] },
  ".data..percpu": { start: ["__per_cpu_start"], end: ["__per_cpu_end"] },
};

/** A description that cannot be linked. */
export class LinkError extends Error {
  override readonly name = "LinkError";
}

export class LinkedImage {
  readonly base: number;
  readonly baseHi: number;
  /** Bytes from the base to the end, sections without contents included. */
  readonly size: number;
  /** The image from the base to the end of the last section with contents. */
  readonly bytes: Uint8Array;
  readonly sections: readonly LinkedSection[];
  /** By address; of aliases the best name first (`compareSymbols`). */
  readonly symbols: readonly LinkedSymbol[];
  readonly #addresses: ReadonlyMap<string, number>;

  /** Made by `link`. */
  constructor(
    options: LinkOptions,
    parts: Pick<LinkedImage, "size" | "bytes" | "sections" | "symbols"> & {
      addresses: ReadonlyMap<string, number>;
    },
  ) {
    this.base = options.base;
    this.baseHi = options.baseHi;
    this.size = parts.size;
    this.bytes = parts.bytes;
    this.sections = parts.sections;
    this.symbols = parts.symbols;
    this.#addresses = parts.addresses;
  }

  /** Address of the symbol called `name`: the global one, else the lowest. Throws LinkError where there is none. */
  addressOf(name: string): number {
    const address = this.#addresses.get(name);
    if (address === undefined) throw new LinkError(`undefined symbol ${name}`);
    return address;
  }

  hasSymbol(name: string): boolean {
    return this.#addresses.has(name);
  }

  /** The section called `name`. Throws LinkError where there is none. */
  section(name: string): LinkedSection {
    const found = this.sections.find((section) => section.name === name);
    if (found === undefined) throw new LinkError(`no section ${name}`);
    return found;
  }

  /** What `nm -n` prints. */
  systemMap(): string {
    return formatSystemMap(this.symbols, this.baseHi);
  }
}

/** Links an image. Throws LinkError for a description that cannot be linked. */
export function link(options: LinkOptions): LinkedImage {
  const layout = layOut(options);
  const addresses = resolveNames(layout.symbols);
  const bytes = new Uint8Array(layout.contentsEnd - options.base);
  for (const { spec, address, size } of layout.placed) {
    const contents = contentsOf(spec, address, size, addresses);
    if (contents !== undefined) bytes.set(contents, address - options.base);
  }
  const sections = layout.sections.map(({ name, address, size, isZeroed }) => ({
    name,
    address,
    size,
    bytes: isZeroed ? undefined : bytes.subarray(address - options.base, address - options.base + size),
  }));
  return new LinkedImage(options, {
    size: layout.end - options.base,
    bytes,
    sections,
    symbols: layout.symbols,
    addresses,
  });
}

interface Layout {
  readonly sections: { name: string; address: number; size: number; isZeroed: boolean }[];
  readonly placed: { spec: SymbolSpec; address: number; size: number }[];
  symbols: LinkedSymbol[];
  end: number;
  /** End of the last section with contents. */
  contentsEnd: number;
}

/** First pass over the description: addresses, no contents. */
function layOut(options: LinkOptions): Layout {
  const layout: Layout = {
    sections: [],
    placed: [],
    symbols: [],
    end: options.base,
    contentsEnd: options.base,
  };
  for (const section of options.sections) layOutSection(layout, section);
  const last = options.sections.at(-1);
  if (last !== undefined) addBoundaries(layout, last, ["_end"]);
  if (layout.end > 0xffff_ffff)
    throw new LinkError(`image ends at ${layout.end}, beyond the low word of an address`);
  layout.symbols = sortSymbols(layout.symbols);
  for (const symbol of layout.symbols) checkSymbol(symbol);
  return layout;
}

function layOutSection(layout: Layout, section: SectionSpec): void {
  const boundaries = LINUX_BOUNDARIES[section.name];
  const isZeroed = section.isZeroed ?? false;
  const address = alignUp(layout.end, section.align, section.name);
  layout.end = address;
  addBoundaries(layout, section, section.start ?? boundaries?.start ?? []);
  for (const spec of section.symbols) layOutSymbol(layout, section, spec);
  addBoundaries(layout, section, section.end ?? boundaries?.end ?? []);
  layout.sections.push({ name: section.name, address, size: layout.end - address, isZeroed });
  if (!isZeroed) layout.contentsEnd = layout.end;
}

function layOutSymbol(layout: Layout, section: SectionSpec, spec: SymbolSpec): void {
  if (!(section.types + "AaWwVv").includes(spec.type)) {
    throw new LinkError(
      `type ${spec.type} of ${spec.name} is none of section ${section.name}, expected one of ${section.types}`,
    );
  }
  const align = spec.align ?? 1;
  if (align > section.align) {
    throw new LinkError(
      `alignment ${align} of ${spec.name} exceeds the ${section.align} of section ${section.name}`,
    );
  }
  if (section.isZeroed === true && (spec.bytes ?? spec.emit) !== undefined) {
    throw new LinkError(`${spec.name} has contents, but section ${section.name} is zeroed`);
  }
  const size = sizeOf(spec);
  const address = alignUp(layout.end, align, spec.name);
  layout.placed.push({ spec, address, size });
  for (const name of [spec.name, ...(spec.aliases ?? [])]) {
    layout.symbols.push({ name, address, type: spec.type, size, section: section.name });
  }
  layout.end = address + size;
}

function addBoundaries(layout: Layout, section: SectionSpec, names: readonly string[]): void {
  const type = section.types[0];
  if (type === undefined) throw new LinkError(`section ${section.name} has no type letters`);
  for (const name of names)
    layout.symbols.push({ name, address: layout.end, type, size: 0, section: section.name });
}

function sizeOf(spec: SymbolSpec): number {
  if (spec.bytes !== undefined && spec.emit !== undefined)
    throw new LinkError(`${spec.name} has both bytes and emit`);
  const size = spec.size ?? spec.bytes?.length;
  if (size === undefined || !Number.isInteger(size) || size < 0) {
    throw new LinkError(`size ${size} of ${spec.name} is not a number of bytes`);
  }
  return size;
}

function checkSymbol(symbol: LinkedSymbol): void {
  try {
    assertSymbol(symbol);
    nameBytes(symbol.name);
  } catch (cause) {
    throw new LinkError(`symbol in section ${symbol.section} cannot be linked`, { cause });
  }
}

/** Which address a name means. Local names may repeat, as those of two C files; a global one may not. */
function resolveNames(symbols: readonly LinkedSymbol[]): Map<string, number> {
  const addresses = new Map<string, number>();
  const globals = new Set<string>();
  for (const { name, type, address, section } of symbols) {
    if (!isGlobal(type)) continue;
    if (globals.has(name))
      throw new LinkError(`multiple definition of ${name} (again in section ${section})`);
    globals.add(name);
    addresses.set(name, address);
  }
  for (const { name, address } of symbols) if (!addresses.has(name)) addresses.set(name, address);
  return addresses;
}

/** Weak definitions (W, V) give way to a global one. */
const isGlobal = (type: string): boolean => type >= "A" && type <= "Z" && type !== "W" && type !== "V";

function contentsOf(
  spec: SymbolSpec,
  address: number,
  size: number,
  addresses: ReadonlyMap<string, number>,
): Uint8Array | undefined {
  const contents = spec.emit?.(address, (name) => resolve(addresses, name, spec.name)) ?? spec.bytes;
  if (contents !== undefined && contents.length !== size) {
    throw new LinkError(`${spec.name} has ${contents.length} bytes of contents, expected ${size}`);
  }
  return contents;
}

function resolve(addresses: ReadonlyMap<string, number>, name: string, user: string): number {
  const address = addresses.get(name);
  if (address === undefined) throw new LinkError(`undefined symbol ${name}, referenced by ${user}`);
  return address;
}

function alignUp(value: number, align: number, user: string): number {
  if (!Number.isInteger(align) || align <= 0 || align > 2 ** 30 || (align & (align - 1)) !== 0) {
    throw new LinkError(`alignment ${align} of ${user} is not a power of two`);
  }
  return Math.ceil(value / align) * align;
}
