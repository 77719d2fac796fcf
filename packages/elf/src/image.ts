/**
 * The parts of an ELF64 image as plain data: what the reader gives and the writer takes.
 *
 * 64-bit fields are `number`s; an image with a value of 2^53 or more is refused by the reader, so every number is exact.
 */

export interface ElfHeader {
  /** Byte order of the whole image. */
  readonly littleEndian: boolean;
  readonly osAbi: number;
  /** ET_REL, ET_EXEC, … */
  readonly type: number;
  /** EM_BPF, EM_RISCV, … */
  readonly machine: number;
  readonly entry: number;
  readonly flags: number;
  /** File offset of the program headers; 0 when there are none. */
  readonly programHeaderOffset: number;
  /** File offset of the section headers; 0 when there are none. */
  readonly sectionHeaderOffset: number;
  /** Section that holds the sections' names. */
  readonly nameSection: number;
}

export interface ElfSection {
  readonly index: number;
  readonly name: string;
  /** Offset of the name in the name section. */
  readonly nameOffset: number;
  readonly type: number;
  readonly flags: number;
  readonly addr: number;
  readonly offset: number;
  /** Size in memory; `data` is empty for SHT_NOBITS. */
  readonly size: number;
  readonly link: number;
  readonly info: number;
  readonly align: number;
  readonly entrySize: number;
  /** A view of the image, not a copy. */
  readonly data: Uint8Array;
}

export interface ElfSegment {
  readonly type: number;
  readonly flags: number;
  readonly offset: number;
  readonly vaddr: number;
  readonly paddr: number;
  readonly fileSize: number;
  readonly memSize: number;
  readonly align: number;
  /** The `fileSize` bytes at `offset`: a view of the image, not a copy. */
  readonly data: Uint8Array;
}

export interface ElfSymbol {
  readonly index: number;
  readonly name: string;
  readonly value: number;
  readonly size: number;
  /** STT_FUNC, … */
  readonly type: number;
  /** STB_LOCAL, … */
  readonly binding: number;
  /** st_other: the visibility. */
  readonly other: number;
  /** Section index, or SHN_UNDEF, SHN_ABS, … */
  readonly section: number;
}

export interface ElfRelocation {
  /** Byte offset in the section that the relocations are for. */
  readonly offset: number;
  readonly type: number;
  /** Index in the symbol table. */
  readonly symbol: number;
  /** 0 in SHT_REL, where the addend lies in the relocated field. */
  readonly addend: number;
}

export interface ElfNote {
  readonly name: string;
  readonly type: number;
  readonly desc: Uint8Array;
}
