/**
 * ELF64 writer, low level: headers, sections and segments at the file offsets that they name.
 *
 * `writeElf(imageOf(file))` gives the file's bytes again, but for bytes that belong to no part. To lay out a new image, use
 * `buildElf`. Offsets that overlap are the caller's business: later parts overwrite earlier ones.
 */
import { EHDR_SIZE, PHDR_SIZE, SHDR_SIZE, SHN_LORESERVE, SHN_XINDEX, SHT_NOBITS } from "./constants.ts";
import { isElfError } from "./error.ts";
import type { ElfError } from "./error.ts";
import type { ElfHeader, ElfSection, ElfSegment } from "./image.ts";
import type { ElfFile } from "./reader.ts";

export interface ElfImage {
  readonly header: ElfHeader;
  readonly sections: readonly ElfSection[];
  readonly segments: readonly ElfSegment[];
}

/** All parts of a parsed file. */
export function imageOf(file: ElfFile): ElfImage | ElfError {
  const sections = file.sections();
  if (isElfError(sections)) return sections;
  const segments = file.segments();
  if (isElfError(segments)) return segments;
  return { header: file.header, sections, segments };
}

export function writeElf(image: ElfImage): Uint8Array {
  const out = new Uint8Array(fileSize(image));
  const put = new Writer(out, image.header.littleEndian);
  for (const segment of image.segments) out.set(segment.data, segment.offset);
  for (const section of image.sections)
    if (section.type !== SHT_NOBITS && section.index !== 0) out.set(section.data, section.offset);
  writeHeader(put, image);
  image.segments.forEach((segment, index) =>
    writeSegment(put, image.header.programHeaderOffset + index * PHDR_SIZE, segment),
  );
  image.sections.forEach((section, index) =>
    writeSection(put, image.header.sectionHeaderOffset + index * SHDR_SIZE, section),
  );
  return out;
}

function fileSize(image: ElfImage): number {
  let end = EHDR_SIZE;
  const reach = (offset: number, length: number): void => {
    end = Math.max(end, offset + length);
  };
  for (const segment of image.segments) reach(segment.offset, segment.data.length);
  for (const section of image.sections)
    if (section.data.length > 0) reach(section.offset, section.data.length);
  if (image.segments.length > 0) reach(image.header.programHeaderOffset, image.segments.length * PHDR_SIZE);
  if (image.sections.length > 0) reach(image.header.sectionHeaderOffset, image.sections.length * SHDR_SIZE);
  return end;
}

function writeHeader(put: Writer, { header, sections, segments }: ElfImage): void {
  put.bytes.set([0x7f, 0x45, 0x4c, 0x46, 2, header.littleEndian ? 1 : 2, 1, header.osAbi], 0);
  put.u16(16, header.type);
  put.u16(18, header.machine);
  put.u32(20, 1);
  put.u64(24, header.entry);
  put.u64(32, header.programHeaderOffset);
  put.u64(40, header.sectionHeaderOffset);
  put.u32(48, header.flags);
  put.u16(52, EHDR_SIZE);
  put.u16(54, segments.length > 0 ? PHDR_SIZE : 0);
  put.u16(56, segments.length);
  put.u16(58, SHDR_SIZE);
  // gABI: larger counts stand in the null section, which the caller's sections include.
  put.u16(60, sections.length >= SHN_LORESERVE ? 0 : sections.length);
  put.u16(62, header.nameSection >= SHN_LORESERVE ? SHN_XINDEX : header.nameSection);
}

function writeSegment(put: Writer, at: number, segment: ElfSegment): void {
  put.u32(at, segment.type);
  put.u32(at + 4, segment.flags);
  put.u64(at + 8, segment.offset);
  put.u64(at + 16, segment.vaddr);
  put.u64(at + 24, segment.paddr);
  put.u64(at + 32, segment.fileSize);
  put.u64(at + 40, segment.memSize);
  put.u64(at + 48, segment.align);
}

function writeSection(put: Writer, at: number, section: ElfSection): void {
  put.u32(at, section.nameOffset);
  put.u32(at + 4, section.type);
  put.u64(at + 8, section.flags);
  put.u64(at + 16, section.addr);
  put.u64(at + 24, section.offset);
  put.u64(at + 32, section.size);
  put.u32(at + 40, section.link);
  put.u32(at + 44, section.info);
  put.u64(at + 48, section.align);
  put.u64(at + 56, section.entrySize);
}

/** Words in the image's byte order. */
export class Writer {
  readonly bytes: Uint8Array;
  readonly #view: DataView;
  readonly #littleEndian: boolean;

  constructor(bytes: Uint8Array, littleEndian: boolean) {
    this.bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#littleEndian = littleEndian;
  }

  u8(at: number, value: number): void {
    this.#view.setUint8(at, value);
  }

  u16(at: number, value: number): void {
    this.#view.setUint16(at, value, this.#littleEndian);
  }

  u32(at: number, value: number): void {
    this.#view.setUint32(at, value, this.#littleEndian);
  }

  /** A non-negative value below 2^53, or a negative one above -2^53 in two's complement. */
  u64(at: number, value: number): void {
    const high = Math.floor(value / 0x1_0000_0000);
    this.u32(at + (this.#littleEndian ? 0 : 4), value - high * 0x1_0000_0000);
    this.u32(at + (this.#littleEndian ? 4 : 0), high);
  }
}
