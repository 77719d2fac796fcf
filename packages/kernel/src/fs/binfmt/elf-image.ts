/**
 * The headers of an ELF executable, as exec checks them (Linux: fs/binfmt_elf.c, load_elf_binary; ELF gABI). Pure: from bytes to
 * plain data, or undefined where the kernel answers ENOEXEC.
 */
import {
  EHDR_SIZE,
  ET_DYN,
  ET_EXEC,
  PF_W,
  PF_X,
  PHDR_SIZE,
  PT_INTERP,
  PT_LOAD,
  PT_NOTE,
} from "@alien-ts/elf";
import { PAGE_SIZE } from "@alien-ts/abi";

export const PT_GNU_STACK = 0x6474_e551;
/** Program headers fit into this (ELF_MIN_ALIGN .. 64 KiB in Linux). */
const PHDRS_BYTES_MAX = 65_536;

export interface ElfHead {
  readonly isPositionIndependent: boolean;
  readonly entry: number;
  readonly phoff: number;
  readonly phnum: number;
}

export interface Segment {
  readonly type: number;
  readonly flags: number;
  readonly offset: number;
  readonly vaddr: number;
  readonly fileSize: number;
  readonly memSize: number;
  readonly align: number;
}

/** What exec needs of the program headers. */
export interface Segments {
  /** PT_LOAD, in ascending order of address. */
  readonly loads: readonly Segment[];
  readonly notes: readonly Segment[];
  readonly hasInterpreter: boolean;
  readonly hasExecutableStack: boolean;
}

export const isElf = (buf: Uint8Array): boolean =>
  buf[0] === 0x7f && buf[1] === 0x45 && buf[2] === 0x4c && buf[3] === 0x46;

/** The file header: ELF64, little-endian, for `machine`, executable. */
export function parseElfHead(buf: Uint8Array, machine: number): ElfHead | undefined {
  if (buf.length < EHDR_SIZE || !isElf(buf) || buf[4] !== 2 || buf[5] !== 1) return undefined;
  const view = new DataView(buf.buffer, buf.byteOffset, buf.byteLength);
  const type = view.getUint16(16, true);
  if ((type !== ET_EXEC && type !== ET_DYN) || view.getUint16(18, true) !== machine) return undefined;
  const phnum = view.getUint16(56, true);
  if (view.getUint16(54, true) !== PHDR_SIZE) return undefined;
  if (phnum < 1 || phnum * PHDR_SIZE > PHDRS_BYTES_MAX) return undefined;
  return { isPositionIndependent: type === ET_DYN, entry: word(view, 24), phoff: word(view, 32), phnum };
}

/** The program headers; `bytes` are those at `phoff`. */
export function parseSegments(bytes: Uint8Array, phnum: number): Segments | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const all: Segment[] = [];
  for (let at = 0; at < phnum * PHDR_SIZE; at += PHDR_SIZE)
    all.push({
      type: view.getUint32(at, true),
      flags: view.getUint32(at + 4, true),
      offset: word(view, at + 8),
      vaddr: word(view, at + 16),
      fileSize: word(view, at + 32),
      memSize: word(view, at + 40),
      align: word(view, at + 48),
    });
  const loads = all.filter((segment) => segment.type === PT_LOAD && segment.memSize > 0);
  if (loads.length === 0 || !loads.every(isSane) || !areApart(loads)) return undefined;
  return {
    loads,
    notes: all.filter((segment) => segment.type === PT_NOTE),
    hasInterpreter: all.some((segment) => segment.type === PT_INTERP),
    hasExecutableStack: all.some((s) => s.type === PT_GNU_STACK && (s.flags & PF_X) !== 0),
  };
}

/** Sizes that fit, and an address that lies in its page as the offset does. */
function isSane({ offset, vaddr, fileSize, memSize, flags }: Segment): boolean {
  if (fileSize > memSize || offset + fileSize > Number.MAX_SAFE_INTEGER) return false;
  if (vaddr % PAGE_SIZE !== offset % PAGE_SIZE || vaddr + memSize > 2 ** 47) return false;
  // Zeroed bytes behind the file's need a writable page when they share the last one.
  const endsInPage = (vaddr + fileSize) % PAGE_SIZE !== 0;
  return fileSize === memSize || (flags & PF_W) !== 0 || !endsInPage;
}

const pageStart = (addr: number): number => Math.floor(addr / PAGE_SIZE) * PAGE_SIZE;

/** Ascending, and no two in one page: the later one would replace the earlier one's bytes. */
function areApart(loads: readonly Segment[]): boolean {
  return loads.every((load, i) => {
    const before = loads[i - 1];
    return before === undefined || pageStart(load.vaddr) >= before.vaddr + before.memSize;
  });
}

/** 64 bits; beyond 2^53 rounded, and refused by what the number is used for. */
const word = (view: DataView, at: number): number =>
  view.getUint32(at + 4, true) * 2 ** 32 + view.getUint32(at, true);
