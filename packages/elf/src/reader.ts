/**
 * ELF64 reader: `parseElf(bytes)` checks the file header only; each table is parsed when asked for, and kept.
 *
 * Authority: the System V gABI. Invariants: nothing is copied (section and segment data are views of the image); every
 * offset is checked before it is followed, so any input gives a result or an `ElfError`, in time linear in its size.
 */
import { Cursor, isExact, tableString } from "./cursor.ts";
import {
  EHDR_SIZE,
  PHDR_SIZE,
  REL_SIZE,
  RELA_SIZE,
  SHDR_SIZE,
  SHN_XINDEX,
  SHT_DYNSYM,
  SHT_NOBITS,
  SHT_REL,
  SHT_RELA,
  SHT_STRTAB,
  SHT_SYMTAB,
  SYM_SIZE,
} from "./constants.ts";
import { ElfError, isElfError } from "./error.ts";
import type { ElfHeader, ElfNote, ElfRelocation, ElfSection, ElfSegment, ElfSymbol } from "./image.ts";
import { parseNotes } from "./notes.ts";

type Parsed<T> = T | ElfError;

/** Checks the identification and the file header. */
export function parseElf(bytes: Uint8Array): Parsed<ElfFile> {
  if (bytes.length < EHDR_SIZE)
    return new ElfError(0, `a header of ${EHDR_SIZE} bytes`, `${bytes.length} bytes`);
  if (bytes[0] !== 0x7f || bytes[1] !== 0x45 || bytes[2] !== 0x4c || bytes[3] !== 0x46)
    return new ElfError(0, "the magic number 7f 45 4c 46", hex(bytes.subarray(0, 4)));
  if (bytes[4] !== 2) return new ElfError(4, "class 2 (ELF64)", `class ${bytes[4]}`);
  if (bytes[5] !== 1 && bytes[5] !== 2) return new ElfError(5, "data encoding 1 or 2", `${bytes[5]}`);
  if (bytes[6] !== 1) return new ElfError(6, "version 1", `version ${bytes[6]}`);
  const cursor = new Cursor(bytes, bytes[5] === 1);
  const header: ElfHeader = {
    littleEndian: cursor.littleEndian,
    osAbi: cursor.u8(7),
    type: cursor.u16(16),
    machine: cursor.u16(18),
    entry: cursor.u64(24),
    flags: cursor.u32(48),
    programHeaderOffset: cursor.u64(32),
    sectionHeaderOffset: cursor.u64(40),
    nameSection: cursor.u16(62),
  };
  if (cursor.u32(20) !== 1) return new ElfError(20, "version 1", `version ${cursor.u32(20)}`);
  for (const at of [24, 32, 40]) if (!isExact(cursor.u64(at))) return tooLarge(at);
  return new ElfFile(cursor, header);
}

export class ElfFile {
  readonly bytes: Uint8Array;
  readonly header: ElfHeader;
  readonly #cursor: Cursor;
  #sections: Parsed<readonly ElfSection[]> | undefined;
  #segments: Parsed<readonly ElfSegment[]> | undefined;
  #symbols: Parsed<readonly ElfSymbol[]> | undefined;
  #dynamicSymbols: Parsed<readonly ElfSymbol[]> | undefined;

  /** Made by `parseElf`, which has checked the header. */
  constructor(cursor: Cursor, header: ElfHeader) {
    this.bytes = cursor.bytes;
    this.header = header;
    this.#cursor = cursor;
  }

  /** All sections in table order, the null section included. */
  sections(): Parsed<readonly ElfSection[]> {
    return (this.#sections ??= readSections(this.#cursor, this.header));
  }

  /** The program headers. */
  segments(): Parsed<readonly ElfSegment[]> {
    return (this.#segments ??= readSegments(this.#cursor, this.header));
  }

  /** The symbols of `.symtab`, the null symbol included; empty when there is no such table. */
  symbols(): Parsed<readonly ElfSymbol[]> {
    return (this.#symbols ??= this.#readSymbols(SHT_SYMTAB));
  }

  /** The symbols of `.dynsym`. */
  dynamicSymbols(): Parsed<readonly ElfSymbol[]> {
    return (this.#dynamicSymbols ??= this.#readSymbols(SHT_DYNSYM));
  }

  /** The first section called `name`, or undefined. */
  section(name: string): Parsed<ElfSection | undefined> {
    const sections = this.sections();
    return isElfError(sections) ? sections : sections.find((section) => section.name === name);
  }

  /** Entries of a SHT_REL or SHT_RELA section; its `info` names the section that they are for. */
  relocations(section: ElfSection): Parsed<readonly ElfRelocation[]> {
    return readRelocations(this.#cursor, section);
  }

  /** Notes in the data of a SHT_NOTE section or a PT_NOTE segment. */
  notes(part: {
    readonly data: Uint8Array;
    readonly offset: number;
    readonly align: number;
  }): Parsed<ElfNote[]> {
    return parseNotes(part.data, {
      littleEndian: this.header.littleEndian,
      fileOffset: part.offset,
      align: part.align,
    });
  }

  #readSymbols(type: number): Parsed<readonly ElfSymbol[]> {
    const sections = this.sections();
    if (isElfError(sections)) return sections;
    const table = sections.find((section) => section.type === type);
    if (table === undefined) return [];
    const strings = sections[table.link];
    if (strings === undefined || strings.type !== SHT_STRTAB)
      return new ElfError(table.offset, `a string table linked to ${table.name}`, `section ${table.link}`);
    return readSymbols(this.#cursor, table, strings);
  }
}

function readSections(cursor: Cursor, header: ElfHeader): Parsed<ElfSection[]> {
  const at = header.sectionHeaderOffset;
  if (at === 0) return [];
  const entrySize = cursor.u16(58);
  if (entrySize !== SHDR_SIZE)
    return new ElfError(58, `section headers of ${SHDR_SIZE} bytes`, `${entrySize}`);
  const headRange = cursor.check(at, SHDR_SIZE, "section header");
  if (headRange !== undefined) return headRange;
  // gABI: counts that do not fit the header stand in the null section.
  const count = cursor.u16(60) === 0 ? cursor.u64(at + 32) : cursor.u16(60);
  const nameIndex = header.nameSection === SHN_XINDEX ? cursor.u32(at + 40) : header.nameSection;
  const range = cursor.check(at, count * SHDR_SIZE, `table of ${count} section headers`);
  if (range !== undefined) return range;
  const names = nameTable(cursor, at, count, nameIndex);
  if (isElfError(names)) return names;
  const sections: ElfSection[] = [];
  for (let index = 0; index < count; index++) {
    const section = readSection(cursor, at + index * SHDR_SIZE, index, names);
    if (isElfError(section)) return section;
    sections.push(section);
  }
  return sections;
}

function nameTable(cursor: Cursor, at: number, count: number, index: number): Parsed<Uint8Array> {
  if (index === 0) return new Uint8Array(1);
  if (index >= count) return new ElfError(62, `a name section below ${count}`, `${index}`);
  const header = at + index * SHDR_SIZE;
  const offset = cursor.u64(header + 24);
  const size = cursor.u64(header + 32);
  return cursor.check(offset, size, "section name table") ?? cursor.bytes.subarray(offset, offset + size);
}

function readSection(cursor: Cursor, at: number, index: number, names: Uint8Array): Parsed<ElfSection> {
  const nameOffset = cursor.u32(at);
  const name = tableString(names, nameOffset);
  if (name === undefined)
    return new ElfError(at, `a section name below offset ${names.length} that ends`, `offset ${nameOffset}`);
  for (const field of [8, 16, 24, 32, 48, 56])
    if (!isExact(cursor.u64(at + field))) return tooLarge(at + field);
  const type = cursor.u32(at + 4);
  const offset = cursor.u64(at + 24);
  const size = cursor.u64(at + 32);
  const hasData = type !== SHT_NOBITS && index !== 0;
  const range = hasData ? cursor.check(offset, size, `section ${name}`) : undefined;
  if (range !== undefined) return range;
  return {
    index,
    name,
    nameOffset,
    type,
    flags: cursor.u64(at + 8),
    addr: cursor.u64(at + 16),
    offset,
    size,
    link: cursor.u32(at + 40),
    info: cursor.u32(at + 44),
    align: cursor.u64(at + 48),
    entrySize: cursor.u64(at + 56),
    data: hasData ? cursor.bytes.subarray(offset, offset + size) : new Uint8Array(0),
  };
}

function readSegments(cursor: Cursor, header: ElfHeader): Parsed<ElfSegment[]> {
  const count = cursor.u16(56);
  if (header.programHeaderOffset === 0 || count === 0) return [];
  const entrySize = cursor.u16(54);
  if (entrySize !== PHDR_SIZE)
    return new ElfError(54, `program headers of ${PHDR_SIZE} bytes`, `${entrySize}`);
  const range = cursor.check(
    header.programHeaderOffset,
    count * PHDR_SIZE,
    `table of ${count} program headers`,
  );
  if (range !== undefined) return range;
  const segments: ElfSegment[] = [];
  for (let index = 0; index < count; index++) {
    const segment = readSegment(cursor, header.programHeaderOffset + index * PHDR_SIZE);
    if (isElfError(segment)) return segment;
    segments.push(segment);
  }
  return segments;
}

function readSegment(cursor: Cursor, at: number): Parsed<ElfSegment> {
  for (const field of [8, 16, 24, 32, 40, 48])
    if (!isExact(cursor.u64(at + field))) return tooLarge(at + field);
  const offset = cursor.u64(at + 8);
  const fileSize = cursor.u64(at + 32);
  const range = cursor.check(offset, fileSize, "segment");
  if (range !== undefined) return range;
  return {
    type: cursor.u32(at),
    flags: cursor.u32(at + 4),
    offset,
    vaddr: cursor.u64(at + 16),
    paddr: cursor.u64(at + 24),
    fileSize,
    memSize: cursor.u64(at + 40),
    align: cursor.u64(at + 48),
    data: cursor.bytes.subarray(offset, offset + fileSize),
  };
}

function readSymbols(cursor: Cursor, table: ElfSection, strings: ElfSection): Parsed<ElfSymbol[]> {
  if (table.size % SYM_SIZE !== 0)
    return new ElfError(table.offset, `a symbol table in units of ${SYM_SIZE} bytes`, `${table.size} bytes`);
  const symbols: ElfSymbol[] = [];
  for (let index = 0; index < table.size / SYM_SIZE; index++) {
    const at = table.offset + index * SYM_SIZE;
    const name = tableString(strings.data, cursor.u32(at));
    if (name === undefined)
      return new ElfError(at, `a symbol name inside ${strings.name}`, `offset ${cursor.u32(at)}`);
    if (!isExact(cursor.u64(at + 8)) || !isExact(cursor.u64(at + 16))) return tooLarge(at + 8);
    const info = cursor.u8(at + 4);
    symbols.push({
      index,
      name,
      value: cursor.u64(at + 8),
      size: cursor.u64(at + 16),
      type: info & 15,
      binding: info >> 4,
      other: cursor.u8(at + 5),
      section: cursor.u16(at + 6),
    });
  }
  return symbols;
}

function readRelocations(cursor: Cursor, section: ElfSection): Parsed<ElfRelocation[]> {
  if (section.type !== SHT_REL && section.type !== SHT_RELA)
    return new ElfError(section.offset, "a relocation section", `${section.name} of type ${section.type}`);
  const entry = section.type === SHT_RELA ? RELA_SIZE : REL_SIZE;
  if (section.size % entry !== 0)
    return new ElfError(section.offset, `relocations in units of ${entry} bytes`, `${section.size} bytes`);
  const out: ElfRelocation[] = [];
  for (let at = section.offset; at < section.offset + section.size; at += entry) {
    if (!isExact(cursor.u64(at))) return tooLarge(at);
    // r_info is one 64-bit word: symbol in the high half, type in the low.
    const isLittle = cursor.littleEndian;
    out.push({
      offset: cursor.u64(at),
      type: cursor.u32(at + (isLittle ? 8 : 12)),
      symbol: cursor.u32(at + (isLittle ? 12 : 8)),
      addend: entry === RELA_SIZE ? cursor.s64(at + 16) : 0,
    });
  }
  return out;
}

const tooLarge = (at: number): ElfError => new ElfError(at, "a value below 2^53", "a larger one");

const hex = (bytes: Uint8Array): string =>
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(" ");
