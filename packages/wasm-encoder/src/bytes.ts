/**
 * A growing byte buffer with the encodings of the binary format: LEB128 numbers, names, vectors (core spec, section 5.1–5.2).
 */
import { utf8Encode } from "@alien-ts/abi";

export class ByteWriter {
  private buffer: Uint8Array;
  private used = 0;

  constructor(firstBytes = 64) {
    this.buffer = new Uint8Array(firstBytes);
  }

  get length(): number {
    return this.used;
  }

  /** The bytes written so far; a view that later writes may leave behind. */
  bytes(): Uint8Array {
    return this.buffer.subarray(0, this.used);
  }

  u8(byte: number): this {
    this.reserve(1);
    this.buffer[this.used++] = byte;
    return this;
  }

  append(bytes: Uint8Array | readonly number[]): this {
    this.reserve(bytes.length);
    this.buffer.set(bytes, this.used);
    this.used += bytes.length;
    return this;
  }

  /** Unsigned LEB128 of an integer below 2^32. */
  u32(value: number): this {
    let rest = value >>> 0;
    while (rest >= 0x80) {
      this.u8((rest & 0x7f) | 0x80);
      rest >>>= 7;
    }
    return this.u8(rest);
  }

  /** Signed LEB128 of a 32-bit integer. */
  s32(value: number): this {
    let rest = value | 0;
    while (rest < -0x40 || rest > 0x3f) {
      this.u8((rest & 0x7f) | 0x80);
      rest >>= 7;
    }
    return this.u8(rest & 0x7f);
  }

  /** Signed LEB128 of the 64-bit integer with these words, without `bigint`. */
  s64(low: number, high: number): this {
    let restLow = low | 0;
    let restHigh = high | 0;
    while (restHigh !== restLow >> 31 || restLow < -0x40 || restLow > 0x3f) {
      this.u8((restLow & 0x7f) | 0x80);
      restLow = (restLow >>> 7) | (restHigh << 25);
      restHigh >>= 7;
    }
    return this.u8(restLow & 0x7f);
  }

  /** A length in bytes, then UTF-8. */
  name(text: string): this {
    const encoded = utf8Encode(text);
    return this.u32(encoded.length).append(encoded);
  }

  private reserve(more: number): void {
    const needed = this.used + more;
    if (needed <= this.buffer.length) return;
    const grown = new Uint8Array(Math.max(needed, this.buffer.length * 2));
    grown.set(this.bytes());
    this.buffer = grown;
  }
}
