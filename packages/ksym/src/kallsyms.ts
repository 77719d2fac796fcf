/**
 * Reads kallsyms blobs where they lie: `new Kallsyms(blob)`.
 *
 * Nothing is unpacked or copied but the name that is asked for. Symbols are numbered from 0 in the order of their addresses;
 * both lookups are binary searches, followed by a walk through one block of at most 64 symbols.
 *
 * Invariants: the constructor reads every record once and refuses a blob that any method could stumble over, so the methods
 * need no checks; a blob must not change while its reader is in use.
 */
import { cString, utf8Decode } from "@alien-ts/abi";
import {
  BLOCK_BYTES,
  BLOCK_SYMBOLS,
  COUNT_MAX,
  CorruptKallsyms,
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
import type { KernelSymbol, SymbolHit } from "./symbol.ts";
import { nameBytes } from "./symbol.ts";
import { TOKENS, TOKEN_BYTES_MAX } from "./tokens.ts";

/** Where the parts of a blob start, in bytes. */
export interface KallsymsParts {
  readonly tokens: number;
  readonly blocks: number;
  readonly names: number;
  readonly order: number;
  readonly padding: number;
}

export class Kallsyms implements Iterable<KernelSymbol> {
  /** Symbols in the table. */
  readonly size: number;
  /** Low word of the first symbol's address. */
  readonly base: number;
  /** High word of all addresses, as they were linked. */
  readonly baseHi: number;
  /** Low word of the address where the last symbol ends. */
  readonly end: number;
  readonly parts: KallsymsParts;

  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #orderBits: number;
  /** Where the expansion of each code starts in the blob, and where the last one ends. */
  readonly #tokenStarts: Uint32Array;
  /** Longest expansion of a name, type letter included. */
  readonly #expanded: Uint8Array;

  // The record that was read last.
  #address = 0;
  #codesAt = 0;
  #codes = 0;
  #after = 0;

  /** @throws CorruptKallsyms */
  constructor(blob: Uint8Array) {
    this.#view = viewOf(blob);
    checkHeader(blob, this.#view);
    const word = (at: number): number => this.#view.getUint32(at, true);
    this.#bytes = blob;
    this.size = word(HEADER.count);
    this.base = word(HEADER.base);
    this.baseHi = word(HEADER.baseHi);
    this.end = word(HEADER.end);
    this.#orderBits = orderBits(this.size);
    this.parts = {
      tokens: HEADER_BYTES,
      blocks: word(HEADER.blocks),
      names: word(HEADER.names),
      order: word(HEADER.order),
      padding: word(HEADER.order) + orderBytes(this.size),
    };
    checkParts(this.parts, this.size, blob.length);
    this.#tokenStarts = checkedTokens(this.#view, this.parts.blocks);
    this.#expanded = new Uint8Array(this.#checkRecords());
    this.#checkOrder();
  }

  /** Address of the symbol called `name`; of several, the lowest. */
  lookupName(name: string): number | undefined {
    const key = keyOf(name);
    if (key === undefined) return undefined;
    const position = this.#firstPosition(key);
    return position < this.size && this.#compareAt(position, key) === 0 ? this.#address : undefined;
  }

  /** Addresses of all symbols called `name`, ascending. */
  lookupNames(name: string): number[] {
    const key = keyOf(name);
    const addresses: number[] = [];
    if (key === undefined) return addresses;
    for (let position = this.#firstPosition(key); position < this.size; position++) {
      if (this.#compareAt(position, key) !== 0) break;
      addresses.push(this.#address);
    }
    return addresses;
  }

  /**
   * The symbol that `address` (low word) lies in; of aliases the first, wherever in the symbol the address is.
   *
   * Linux: kernel/kallsyms.c, get_symbol_pos().
   */
  lookupAddress(address: number): SymbolHit | undefined {
    if (this.size === 0 || address < this.base || address > this.end) return undefined;
    const next = this.#firstIndexAbove(address);
    const limit = next < this.size ? this.#addressAt(next) : this.end;
    const start = this.#addressAt(next - 1);
    if (address >= limit && address > start) return undefined;
    const { name, type } = this.symbolAt(start === 0 ? 0 : this.#firstIndexAbove(start - 1));
    return { name, address: start, size: limit - start, offset: address - start, type };
  }

  /** The symbol numbered `index`. Throws RangeError outside 0 … size − 1. */
  symbolAt(index: number): KernelSymbol {
    if (!Number.isInteger(index) || index < 0 || index >= this.size) {
      throw new RangeError(`symbol ${index} of a table of ${this.size}`);
    }
    this.#seek(index);
    return this.#current();
  }

  /** All symbols by ascending address, in one walk. */
  *[Symbol.iterator](): Generator<KernelSymbol, void> {
    let at = this.parts.names;
    let address = this.base;
    for (let index = 0; index < this.size; index++) {
      // Other lookups may come between two steps: the walk keeps its own place.
      if (index % BLOCK_SYMBOLS === 0) address = this.#blockAddress(index / BLOCK_SYMBOLS);
      this.#read(at, address);
      at = this.#after;
      address = this.#address;
      yield this.#current();
    }
  }

  /** The expansions of the 256 codes, as text. */
  tokens(): string[] {
    return Array.from({ length: TOKENS }, (_, code) => {
      const start = this.#tokenStarts[code]!;
      return utf8Decode(this.#bytes.subarray(start, this.#tokenStarts[code + 1]!));
    });
  }

  /** Bytes of the record of symbol `index`: [from, to) in the blob. */
  recordAt(index: number): { from: number; to: number } {
    const from = this.#placeOf(index);
    this.#seek(index);
    return { from, to: this.#after };
  }

  #placeOf(index: number): number {
    if (index % BLOCK_SYMBOLS === 0) return this.#blockPlace(index / BLOCK_SYMBOLS);
    this.#seek(index - 1);
    return this.#after;
  }

  #blockAddress(block: number): number {
    return this.base + this.#view.getUint32(this.parts.blocks + block * BLOCK_BYTES, true);
  }

  #blockPlace(block: number): number {
    return this.parts.names + this.#view.getUint32(this.parts.blocks + block * BLOCK_BYTES + 4, true);
  }

  /** Reads the record at `at`, whose predecessor has the address `before`. */
  #read(at: number, before: number): void {
    const bytes = this.#bytes;
    let place = at;
    let scale = 1;
    let byte = bytes[place++]!;
    let delta = byte & 0x7f;
    for (; byte >= 0x80; delta += (byte & 0x7f) * scale) {
      scale *= 0x80;
      byte = bytes[place++]!;
    }
    byte = bytes[place++]!;
    let codes = byte & 0x7f;
    for (scale = 1; byte >= 0x80; codes += (byte & 0x7f) * scale) {
      scale *= 0x80;
      byte = bytes[place++]!;
    }
    this.#address = before + delta;
    this.#codesAt = place;
    this.#codes = codes;
    this.#after = place + codes;
  }

  #seek(index: number): void {
    const block = Math.floor(index / BLOCK_SYMBOLS);
    this.#read(this.#blockPlace(block), this.#blockAddress(block));
    for (let i = block * BLOCK_SYMBOLS; i < index; i++) this.#read(this.#after, this.#address);
  }

  #addressAt(index: number): number {
    this.#seek(index);
    return this.#address;
  }

  /** Number of the first symbol above `address`; `size` where there is none. */
  #firstIndexAbove(address: number): number {
    let low = 0;
    let high = blockCount(this.size);
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#blockAddress(middle) <= address) low = middle + 1;
      else high = middle;
    }
    if (low === 0) return 0;
    const stop = Math.min(low * BLOCK_SYMBOLS, this.size);
    let index = (low - 1) * BLOCK_SYMBOLS;
    this.#seek(index);
    while (this.#address <= address) {
      index += 1;
      if (index === stop) break;
      this.#read(this.#after, this.#address);
    }
    return index;
  }

  /** First position in the order of names whose name is not below `key`. */
  #firstPosition(key: Uint8Array): number {
    let low = 0;
    let high = this.size;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#compareAt(middle, key) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #indexAt(position: number): number {
    const bit = position * this.#orderBits;
    const word = this.#view.getUint32(this.parts.order + Math.floor(bit / 8), true);
    return (word >>> (bit & 7)) & ((1 << this.#orderBits) - 1);
  }

  /** Compares the name at `position` with `key` byte by byte; stays at that symbol. */
  #compareAt(position: number, key: Uint8Array): number {
    this.#seek(this.#indexAt(position));
    const length = this.#expand();
    const common = Math.min(length - 1, key.length);
    for (let i = 0; i < common; i++) {
      const difference = this.#expanded[i + 1]! - key[i]!;
      if (difference !== 0) return difference;
    }
    return length - 1 - key.length;
  }

  /** Expands the current record into `#expanded`; answers the length. */
  #expand(): number {
    const bytes = this.#bytes;
    const starts = this.#tokenStarts;
    const expanded = this.#expanded;
    let length = 0;
    const end = this.#codesAt + this.#codes;
    for (let place = this.#codesAt; place < end; place++) {
      const code = bytes[place]!;
      const stop = starts[code + 1]!;
      for (let at = starts[code]!; at < stop; at++) expanded[length++] = bytes[at]!;
    }
    return length;
  }

  #current(): KernelSymbol {
    const length = this.#expand();
    const name = utf8Decode(this.#expanded.subarray(1, length));
    return { name, address: this.#address, type: String.fromCharCode(this.#expanded[0]!) };
  }

  /** Walks all records; answers the longest expansion. */
  #checkRecords(): number {
    const { names, order } = this.parts;
    let longest = 0;
    let at = names;
    let address = this.base;
    for (let index = 0; index < this.size; index++) {
      if (index % BLOCK_SYMBOLS === 0) {
        const block = index / BLOCK_SYMBOLS;
        if (this.#blockPlace(block) !== at)
          throw new CorruptKallsyms(`block ${block} does not start at its first name`);
        if (this.#blockAddress(block) < address)
          throw new CorruptKallsyms(`block ${block} is not in the order of addresses`);
        address = this.#blockAddress(block);
      }
      this.#read(at, address);
      // Reading past the end yields undefined, and so NaN or 0: neither passes.
      if (!(this.#after <= order)) throw new CorruptKallsyms(`name ${index} runs past the end of the names`);
      if (!(this.#address <= this.end))
        throw new CorruptKallsyms(`symbol ${index} lies behind the end of the image`);
      longest = Math.max(longest, this.#checkedLength(index));
      at = this.#after;
      address = this.#address;
    }
    if (at !== order) throw new CorruptKallsyms(`names end at byte ${at}, expected ${order}`);
    return longest;
  }

  #checkedLength(index: number): number {
    const starts = this.#tokenStarts;
    const end = this.#codesAt + this.#codes;
    let length = 0;
    for (let place = this.#codesAt; place < end; place++) {
      const code = this.#bytes[place]!;
      const bytes = starts[code + 1]! - starts[code]!;
      if (bytes === 0) throw new CorruptKallsyms(`name ${index} uses the undefined token ${code}`);
      length += bytes;
    }
    if (length < 2) throw new CorruptKallsyms(`name ${index} is empty`);
    return length;
  }

  #checkOrder(): void {
    const seen = new Uint8Array(this.size);
    for (let position = 0; position < this.size; position++) {
      const index = this.#indexAt(position);
      if (index >= this.size || seen[index] === 1)
        throw new CorruptKallsyms(`position ${position} of the order names symbol ${index}`);
      seen[index] = 1;
    }
  }
}

/** The bytes to search for, or undefined where no table can hold the name. */
function keyOf(name: string): Uint8Array | undefined {
  try {
    return nameBytes(name);
  } catch {
    return undefined;
  }
}

function checkHeader(blob: Uint8Array, view: DataView): void {
  if (blob.length < HEADER_BYTES + TOKEN_INDEX_BYTES) {
    throw new CorruptKallsyms(`${blob.length} bytes, expected at least ${HEADER_BYTES + TOKEN_INDEX_BYTES}`);
  }
  const word = (at: number): number => view.getUint32(at, true);
  if (word(HEADER.magic) !== MAGIC) {
    throw new CorruptKallsyms(`starts with ${JSON.stringify(cString(blob.subarray(0, 4)))}, expected "KSYM"`);
  }
  if (word(HEADER.version) !== VERSION)
    throw new CorruptKallsyms(`version ${word(HEADER.version)}, expected ${VERSION}`);
  if (word(HEADER.length) !== blob.length) {
    throw new CorruptKallsyms(`${blob.length} bytes, expected ${word(HEADER.length)}`);
  }
  const sum = checksum(blob, HEADER.checksum + 4);
  if (word(HEADER.checksum) !== sum) {
    throw new CorruptKallsyms(`checksum ${sum.toString(16)}, expected ${word(HEADER.checksum).toString(16)}`);
  }
}

function checkParts(parts: KallsymsParts, count: number, length: number): void {
  if (count >= COUNT_MAX) throw new CorruptKallsyms(`${count} symbols, expected at most ${COUNT_MAX - 1}`);
  const { tokens, blocks, names, order, padding } = parts;
  const isOrdered =
    tokens + TOKEN_INDEX_BYTES <= blocks && blocks <= names && names <= order && padding <= length;
  if (!isOrdered)
    throw new CorruptKallsyms(`parts at ${blocks}, ${names}, ${order} do not fit ${length} bytes`);
  const expected = blockCount(count) * BLOCK_BYTES;
  if (names - blocks !== expected)
    throw new CorruptKallsyms(`${names - blocks} bytes of blocks, expected ${expected}`);
}

function checkedTokens(view: DataView, stop: number): Uint32Array {
  const text = HEADER_BYTES + TOKEN_INDEX_BYTES;
  const starts = new Uint32Array(TOKENS + 1);
  let previous = 0;
  for (let code = 0; code <= TOKENS; code++) {
    const at = view.getUint16(HEADER_BYTES + code * 2, true);
    if (at < previous || at - previous > TOKEN_BYTES_MAX || at > stop - text) {
      throw new CorruptKallsyms(`token ${code} starts at byte ${at}, expected ${previous} to ${stop - text}`);
    }
    starts[code] = text + at;
    previous = at;
  }
  return starts;
}
