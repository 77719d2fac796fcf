/**
 * The layout of a kallsyms blob, shared by its writer (`encode.ts`) and its reader (`kallsyms.ts`). All words little-endian.
 *
 *     header   11 words, see HEADER
 *     tokens   u16[257]: where each token starts in the token bytes, and where the last one ends; then the token bytes
 *     blocks   per 64 symbols: u32 address of the first, relative to the base; u32 its place in the names
 *     names    per symbol: varint(address − address of the one before, 0 for a block's first), varint(n), n codes
 *     order    symbol indices in the order of the names' bytes, then by index; each as few bits as the count needs
 *     padding  zeros
 *
 * The first character of a name's expansion is its type letter. Varints are ULEB128: a name of up to 127 codes has a length
 * of one byte, a longer one of two, as in scripts/kallsyms.c.
 *
 * Differs from Linux: addresses are differences in blocks and not one word each, and the order is packed in bits and not in
 * three bytes. With Linux's arrays the blob of the fixture would have 75 % of the bytes of its raw names; so it has 59 %.
 */

export const MAGIC = 0x4d59_534b; // "KSYM"
export const VERSION = 1;

/** Byte offsets of the header's words. */
export const HEADER = {
  magic: 0,
  version: 4,
  /** Bytes of the whole blob, padding included. */
  length: 8,
  /** `checksum` of everything after this word. */
  checksum: 12,
  count: 16,
  /** Low, then high word of the first symbol's address. */
  base: 20,
  baseHi: 24,
  /** Low word of the address where the last symbol ends. */
  end: 28,
  /** Where the parts start; tokens start at `HEADER_BYTES`. */
  blocks: 32,
  names: 36,
  order: 40,
} as const;

export const HEADER_BYTES = 44;
export const TOKEN_INDEX_BYTES = 257 * 2;
export const BLOCK_SYMBOLS = 64;
export const BLOCK_BYTES = 8;
/** An index is read as the 32 bits from its first byte: 24 bits, after up to 7 of the index before it. */
export const COUNT_MAX = 2 ** 24;
/** Zeros after the order, so that the last index can be read as 32 bits, too. */
export const ORDER_TAIL_BYTES = 4;

/** A blob that cannot be read: truncated, damaged, or no kallsyms blob. */
export class CorruptKallsyms extends Error {
  override readonly name = "CorruptKallsyms";
  constructor(what: string) {
    super(`corrupt kallsyms data: ${what}`);
  }
}

/** Bits of one index in a table of `count` symbols. */
export const orderBits = (count: number): number => Math.max(1, 32 - Math.clz32(Math.max(0, count - 1)));

export const orderBytes = (count: number): number =>
  Math.ceil((count * orderBits(count)) / 8) + ORDER_TAIL_BYTES;

export const blockCount = (count: number): number => Math.ceil(count / BLOCK_SYMBOLS);

/** FNV-1a over `bytes` from `start` on, as an unsigned word. */
export function checksum(bytes: Uint8Array, start: number): number {
  let hash = 0x811c_9dc5;
  for (let i = start; i < bytes.length; i++) hash = Math.imul(hash ^ bytes[i]!, 0x0100_0193);
  return hash >>> 0;
}

export const viewOf = (bytes: Uint8Array): DataView =>
  new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
