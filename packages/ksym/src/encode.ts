/**
 * Writes kallsyms blobs: `encodeKallsyms(symbols, options)`.
 *
 * Every symbol is kept, aliases (one address, several names) and duplicates (one name, several addresses) too. The same
 * symbols give the same bytes. The layout is in `blob-format.ts`, the choice of tokens in `tokens.ts`.
 */
import {
  BLOCK_BYTES,
  BLOCK_SYMBOLS,
  COUNT_MAX,
  HEADER,
  HEADER_BYTES,
  MAGIC,
  TOKEN_INDEX_BYTES,
  VERSION,
  blockCount,
  checksum,
  orderBits,
  orderBytes,
  viewOf,
} from "./blob-format.ts";
import type { KernelSymbol } from "./symbol.ts";
import { assertSymbol, compareBytes, nameBytes, sortSymbols } from "./symbol.ts";
import { TOKENS, compressNames } from "./tokens.ts";

export interface EncodeOptions {
  /** High word of every address; 0 where not given. */
  readonly baseHi?: number;
  /** Low word of the address where the last symbol ends; its own address where not given. */
  readonly end?: number;
  /**
   * Bytes that the blob must have at least, padded with zeros. A link that repeats gives the length of the table that it
   * linked in: the differences of a few addresses grow when the table moves them, and the length must stay.
   */
  readonly atLeast?: number;
}

/** Room for addresses that move from one link to the next: a section boundary costs at most 3 bytes more. */
const SLACK_BYTES = 64;

/** The blob of `symbols`, which may be in any order. Throws RangeError for an address, type or name that no table can hold. */
export function encodeKallsyms(symbols: readonly KernelSymbol[], options: EncodeOptions = {}): Uint8Array {
  if (symbols.length >= COUNT_MAX)
    throw new RangeError(`${symbols.length} symbols, expected at most ${COUNT_MAX - 1}`);
  for (const symbol of symbols) assertSymbol(symbol);
  const sorted = sortSymbols(symbols);
  const base = sorted[0]?.address ?? 0;
  const last = sorted.at(-1)?.address ?? 0;
  const end = options.end ?? last;
  if (end < last || end > 2 ** 32 - 1)
    throw new RangeError(`end ${end} is not between the last address ${last} and 2^32 - 1`);

  const plain = sorted.map((symbol) => nameBytes(symbol.name));
  const compressed = compressNames(plain.map((name, i) => withType(sorted[i]!.type, name)));
  const tokens = encodeTokens(compressed.tokens);
  const { blocks, names } = encodeNames(sorted, compressed.names, base);
  const order = encodeOrder(plain);

  const blocksAt = alignUp(HEADER_BYTES + tokens.length, 4);
  const namesAt = blocksAt + blocks.length;
  const orderAt = namesAt + names.length;
  const used = orderAt + order.length;
  const blob = new Uint8Array(
    used <= (options.atLeast ?? 0) ? options.atLeast! : alignUp(used + SLACK_BYTES, 64),
  );
  blob.set(tokens, HEADER_BYTES);
  blob.set(blocks, blocksAt);
  blob.set(names, namesAt);
  blob.set(order, orderAt);
  const view = viewOf(blob);
  const header: Record<keyof typeof HEADER, number> = {
    magic: MAGIC,
    version: VERSION,
    length: blob.length,
    checksum: 0,
    count: sorted.length,
    base,
    baseHi: options.baseHi ?? 0,
    end,
    blocks: blocksAt,
    names: namesAt,
    order: orderAt,
  };
  for (const [field, at] of Object.entries(HEADER))
    view.setUint32(at, header[field as keyof typeof HEADER], true);
  view.setUint32(HEADER.checksum, checksum(blob, HEADER.checksum + 4), true);
  return blob;
}

function withType(type: string, name: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(name.length + 1);
  bytes[0] = type.charCodeAt(0);
  bytes.set(name, 1);
  return bytes;
}

function encodeTokens(tokens: readonly Uint8Array[]): Uint8Array {
  const textBytes = tokens.reduce((sum, token) => sum + token.length, 0);
  const bytes = new Uint8Array(TOKEN_INDEX_BYTES + textBytes);
  const view = viewOf(bytes);
  let at = 0;
  for (let code = 0; code < TOKENS; code++) {
    view.setUint16(code * 2, at, true);
    bytes.set(tokens[code]!, TOKEN_INDEX_BYTES + at);
    at += tokens[code]!.length;
  }
  view.setUint16(TOKENS * 2, at, true);
  return bytes;
}

function encodeNames(
  symbols: readonly KernelSymbol[],
  names: readonly Uint8Array[],
  base: number,
): { blocks: Uint8Array; names: Uint8Array } {
  const blocks = new Uint8Array(blockCount(symbols.length) * BLOCK_BYTES);
  const blockView = viewOf(blocks);
  const stream: number[] = [];
  let previous = 0;
  symbols.forEach(({ address }, i) => {
    if (i % BLOCK_SYMBOLS === 0) {
      blockView.setUint32((i / BLOCK_SYMBOLS) * BLOCK_BYTES, address - base, true);
      blockView.setUint32((i / BLOCK_SYMBOLS) * BLOCK_BYTES + 4, stream.length, true);
      previous = address;
    }
    pushVarint(stream, address - previous);
    pushVarint(stream, names[i]!.length);
    for (const code of names[i]!) stream.push(code);
    previous = address;
  });
  return { blocks, names: Uint8Array.from(stream) };
}

function encodeOrder(names: readonly Uint8Array[]): Uint8Array {
  const order = Array.from(names, (_, index) => index);
  order.sort((a, b) => compareBytes(names[a]!, names[b]!) || a - b);
  const bits = orderBits(names.length);
  const bytes = new Uint8Array(orderBytes(names.length));
  const view = viewOf(bytes);
  order.forEach((index, i) => {
    const bit = i * bits;
    const at = bit >>> 3;
    view.setUint32(at, view.getUint32(at, true) | (index << (bit & 7)), true);
  });
  return bytes;
}

function pushVarint(out: number[], value: number): void {
  let rest = value;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) out.push((rest % 0x80) | 0x80);
  out.push(rest);
}

const alignUp = (value: number, align: number): number => Math.ceil(value / align) * align;
