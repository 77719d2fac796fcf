/**
 * Lays out a new ELF64 image from its parts: `buildElf({ machine, type, sections, symbols, … })`.
 *
 * The builder adds `.symtab`, `.strtab` and `.shstrtab`, sorts local symbols first (gABI), and gives every section a file
 * offset that agrees with its address modulo the page size, so that a PT_LOAD over sections can be mapped. A section is named
 * in symbols, relocations and segments by its name, and names must differ.
 */
import { utf8Encode } from "@alien-ts/abi";
import {
  EHDR_SIZE,
  PHDR_SIZE,
  RELA_SIZE,
  SHF_ALLOC,
  SHF_INFO_LINK,
  SHN_ABS,
  SHN_UNDEF,
  SHT_NOBITS,
  SHT_NULL,
  SHT_PROGBITS,
  SHT_RELA,
  SHT_STRTAB,
  SHT_SYMTAB,
  STB_GLOBAL,
  STB_LOCAL,
  STT_NOTYPE,
  SYM_SIZE,
} from "./constants.ts";
import type { ElfSection, ElfSegment } from "./image.ts";
import { Writer, writeElf } from "./writer.ts";

export interface SectionSpec {
  readonly name: string;
  readonly data?: Uint8Array;
  /** Size in memory of a SHT_NOBITS section. */
  readonly size?: number;
  /** SHT_PROGBITS when absent. */
  readonly type?: number;
  readonly flags?: number;
  readonly addr?: number;
  /** A power of two; 1 when absent. */
  readonly align?: number;
  readonly entrySize?: number;
}

export interface SymbolSpec {
  readonly name: string;
  readonly value: number;
  readonly size?: number;
  readonly type?: number;
  /** STB_GLOBAL when absent. */
  readonly binding?: number;
  /** Name of the section; "ABS" for SHN_ABS; absent for an undefined symbol. */
  readonly section?: string;
}

export interface RelocationSpec {
  readonly section: string;
  readonly offset: number;
  readonly type: number;
  readonly symbol: string;
  readonly addend?: number;
}

/** A program header over consecutive sections; its addresses and sizes are those of the sections. */
export interface SegmentSpec {
  readonly type: number;
  readonly flags: number;
  readonly sections: readonly string[];
  readonly align?: number;
}

export interface ElfSpec {
  readonly machine: number;
  readonly type: number;
  readonly littleEndian?: boolean;
  readonly osAbi?: number;
  readonly entry?: number;
  readonly flags?: number;
  readonly sections: readonly SectionSpec[];
  readonly symbols?: readonly SymbolSpec[];
  readonly relocations?: readonly RelocationSpec[];
  readonly segments?: readonly SegmentSpec[];
}

const PAGE = 4096;

export function buildElf(spec: ElfSpec): Uint8Array {
  const littleEndian = spec.littleEndian ?? true;
  const names = new StringTable();
  const all = [...spec.sections, ...tables(spec, littleEndian), { name: ".shstrtab", type: SHT_STRTAB }];
  for (const section of all) names.add(section.name);
  const segmentCount = spec.segments?.length ?? 0;
  let at = EHDR_SIZE + segmentCount * PHDR_SIZE;
  const sections: ElfSection[] = [nullSection()];
  for (const section of all) {
    const data = section.name === ".shstrtab" ? names.bytes() : section.data;
    const placed = place({ ...section, ...(data && { data }) }, at, sections.length, names);
    sections.push(placed);
    at = placed.offset + placed.data.length;
  }
  return writeElf({
    header: {
      littleEndian,
      osAbi: spec.osAbi ?? 0,
      type: spec.type,
      machine: spec.machine,
      entry: spec.entry ?? 0,
      flags: spec.flags ?? 0,
      programHeaderOffset: segmentCount > 0 ? EHDR_SIZE : 0,
      sectionHeaderOffset: Math.ceil(at / 8) * 8,
      nameSection: sections.length - 1,
    },
    sections,
    segments: (spec.segments ?? []).map((segment) => cover(segment, sections)),
  });
}

type FullSection = SectionSpec & { readonly link?: number; readonly info?: number };

/** The symbol table, its strings and the relocation sections. */
function tables(spec: ElfSpec, littleEndian: boolean): FullSection[] {
  if (spec.symbols === undefined && spec.relocations === undefined) return [];
  const symbols = (spec.symbols ?? []).toSorted((a, b) => rank(a) - rank(b));
  const strings = new StringTable();
  const sectionIndex = new Map(spec.sections.map((section, index) => [section.name, index + 1]));
  const bytes = new Uint8Array((symbols.length + 1) * SYM_SIZE);
  const put = new Writer(bytes, littleEndian);
  symbols.forEach((symbol, index) => {
    const at = (index + 1) * SYM_SIZE;
    put.u32(at, strings.add(symbol.name));
    put.u8(at + 4, ((symbol.binding ?? STB_GLOBAL) << 4) | (symbol.type ?? STT_NOTYPE));
    put.u16(at + 6, indexOf(sectionIndex, symbol.section));
    put.u64(at + 8, symbol.value);
    put.u64(at + 16, symbol.size ?? 0);
  });
  const symtab = spec.sections.length + 1;
  const firstGlobal = symbols.filter((symbol) => rank(symbol) === 0).length + 1;
  const symbolIndex = new Map(symbols.map((symbol, index) => [symbol.name, index + 1]));
  const targets = new Set((spec.relocations ?? []).map((relocation) => relocation.section));
  return [
    {
      name: ".symtab",
      type: SHT_SYMTAB,
      data: bytes,
      align: 8,
      entrySize: SYM_SIZE,
      link: symtab + 1,
      info: firstGlobal,
    },
    { name: ".strtab", type: SHT_STRTAB, data: strings.bytes() },
    ...Array.from(targets, (target): FullSection => ({
      name: `.rela${target}`,
      type: SHT_RELA,
      flags: SHF_INFO_LINK,
      data: relocationBytes(
        (spec.relocations ?? []).filter((r) => r.section === target),
        symbolIndex,
        littleEndian,
      ),
      align: 8,
      entrySize: RELA_SIZE,
      link: symtab,
      info: indexOf(sectionIndex, target),
    })),
  ];
}

function relocationBytes(
  relocations: readonly RelocationSpec[],
  symbols: ReadonlyMap<string, number>,
  littleEndian: boolean,
): Uint8Array {
  const bytes = new Uint8Array(relocations.length * RELA_SIZE);
  const put = new Writer(bytes, littleEndian);
  relocations.forEach((relocation, index) => {
    const at = index * RELA_SIZE;
    put.u64(at, relocation.offset);
    put.u32(at + (littleEndian ? 8 : 12), relocation.type);
    put.u32(at + (littleEndian ? 12 : 8), indexOf(symbols, relocation.symbol));
    put.u64(at + 16, relocation.addend ?? 0);
  });
  return bytes;
}

function place(section: FullSection, at: number, index: number, names: StringTable): ElfSection {
  const align = section.align ?? 1;
  const flags = section.flags ?? 0;
  const addr = section.addr ?? 0;
  const isMapped = (flags & SHF_ALLOC) !== 0 && addr !== 0;
  // A loader maps pages: offset and address must agree modulo the page size.
  const offset = isMapped
    ? at + ((((addr - at) % PAGE) + PAGE) % PAGE)
    : align > 1
      ? Math.ceil(at / align) * align
      : at;
  const isNoBits = section.type === SHT_NOBITS;
  const data = isNoBits ? new Uint8Array(0) : (section.data ?? new Uint8Array(0));
  return {
    index,
    name: section.name,
    nameOffset: names.add(section.name),
    type: section.type ?? SHT_PROGBITS,
    flags,
    addr,
    offset,
    size: isNoBits ? (section.size ?? 0) : data.length,
    link: section.link ?? 0,
    info: section.info ?? 0,
    align,
    entrySize: section.entrySize ?? 0,
    data,
  };
}

function cover(spec: SegmentSpec, sections: readonly ElfSection[]): ElfSegment {
  const parts = spec.sections.map((name) => sections.find((section) => section.name === name));
  const first = parts[0];
  if (first === undefined || parts.includes(undefined))
    throw new Error(`segment names a section that is not there: ${spec.sections.join(", ")}`);
  const fileEnd = Math.max(...parts.map((part) => part!.offset + part!.data.length));
  const memEnd = Math.max(...parts.map((part) => part!.addr + part!.size));
  return {
    type: spec.type,
    flags: spec.flags,
    offset: first.offset,
    vaddr: first.addr,
    paddr: first.addr,
    fileSize: fileEnd - first.offset,
    memSize: memEnd - first.addr,
    align: spec.align ?? PAGE,
    data: new Uint8Array(0),
  };
}

const nullSection = (): ElfSection => place({ name: "", type: SHT_NULL, align: 0 }, 0, 0, new StringTable());

const rank = (symbol: SymbolSpec): number => (symbol.binding === STB_LOCAL ? 0 : 1);

function indexOf(indexes: ReadonlyMap<string, number>, name: string | undefined): number {
  if (name === undefined) return SHN_UNDEF;
  if (name === "ABS") return SHN_ABS;
  const index = indexes.get(name);
  if (index === undefined) throw new Error(`no section or symbol is called ${name}`);
  return index;
}

/** Strings joined by NUL, each once; offset 0 is the empty string. */
class StringTable {
  readonly #offsets = new Map<string, number>([["", 0]]);
  readonly #parts: Uint8Array[] = [new Uint8Array(1)];
  #size = 1;

  add(text: string): number {
    const known = this.#offsets.get(text);
    if (known !== undefined) return known;
    const bytes = utf8Encode(`${text}\0`);
    const at = this.#size;
    this.#offsets.set(text, at);
    this.#parts.push(bytes);
    this.#size += bytes.length;
    return at;
  }

  bytes(): Uint8Array {
    const out = new Uint8Array(this.#size);
    let at = 0;
    for (const part of this.#parts) {
      out.set(part, at);
      at += part.length;
    }
    return out;
  }
}
