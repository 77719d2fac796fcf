/** Bounds-checked access to the bytes of an image in its byte order. Every failure is an `ElfError` value. */
import { utf8Decode } from "@alien-ts/abi";
import { ElfError } from "./error.ts";

const TWO_32 = 0x1_0000_0000;

export class Cursor {
  readonly bytes: Uint8Array;
  readonly littleEndian: boolean;
  readonly #view: DataView;

  constructor(bytes: Uint8Array, littleEndian: boolean) {
    this.bytes = bytes;
    this.littleEndian = littleEndian;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Undefined when [offset, offset + length) lies inside the image. */
  check(offset: number, length: number, what: string): ElfError | undefined {
    if (offset >= 0 && length >= 0 && offset + length <= this.bytes.length) return undefined;
    return new ElfError(offset, `${what} of ${length} bytes`, `an image of ${this.bytes.length} bytes`);
  }

  // The readers below trust that the caller has checked the range.

  u8(offset: number): number {
    return this.#view.getUint8(offset);
  }

  u16(offset: number): number {
    return this.#view.getUint16(offset, this.littleEndian);
  }

  u32(offset: number): number {
    return this.#view.getUint32(offset, this.littleEndian);
  }

  /** An unsigned 64-bit word; values of 2^53 and more come out inexact, and `isExact` tells them. */
  u64(offset: number): number {
    const low = this.u32(this.littleEndian ? offset : offset + 4);
    const high = this.u32(this.littleEndian ? offset + 4 : offset);
    return high * TWO_32 + low;
  }

  /** A signed 64-bit word. */
  s64(offset: number): number {
    const low = this.u32(this.littleEndian ? offset : offset + 4);
    const high = this.u32(this.littleEndian ? offset + 4 : offset) | 0;
    return high * TWO_32 + low;
  }
}

export const isExact = (value: number): boolean => Number.isSafeInteger(value);

/** The NUL-terminated string at `at` of a string table, or undefined when it does not end inside the table. */
export function tableString(table: Uint8Array, at: number): string | undefined {
  if (at === 0 && table.length === 0) return "";
  if (at >= table.length) return undefined;
  const end = table.indexOf(0, at);
  return end < 0 ? undefined : utf8Decode(table.subarray(at, end));
}
