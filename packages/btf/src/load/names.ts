/** Which names identifiers and sections may have. Linux: __btf_name_valid(), btf_name_valid_section(); ctype of Latin-1. */
import type { Blob } from "./blob.ts";

/** KSYM_NAME_LEN */
const MOST = 512;

const isAlpha = (c: number): boolean =>
  (c >= 0x41 && c <= 0x5a) || (c >= 0x61 && c <= 0x7a) || (c >= 0xc0 && c !== 0xd7 && c !== 0xf7);
const isDigit = (c: number): boolean => c >= 0x30 && c <= 0x39;
const isPrintable = (c: number): boolean => (c >= 0x20 && c <= 0x7e) || c >= 0xa0;

export function isIdentifier(blob: Blob, offset: number): boolean {
  const name = blob.nameBytes(offset);
  if (name.length === 0 || name.length >= MOST) return false;
  return name.every((c, i) => isAlpha(c) || c === 0x5f || c === 0x2e || (i > 0 && isDigit(c)));
}

export function isSectionName(blob: Blob, offset: number): boolean {
  const name = blob.nameBytes(offset);
  return name.length > 0 && name.length < MOST && name.every(isPrintable);
}
