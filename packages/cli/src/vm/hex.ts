/** Bytes in hexadecimal: spaces and newlines between them are ignored. Interface: `parseHex`, `formatHex`. */

/** Undefined where `text` is no pairs of hexadecimal digits. */
export function parseHex(text: string): Uint8Array | undefined {
  const digits = text.replace(/\s+/gu, "");
  if (digits.length % 2 !== 0 || !/^[0-9a-f]*$/iu.test(digits)) return undefined;
  return Uint8Array.from(Buffer.from(digits, "hex"));
}

/** A line per instruction. */
export function formatHex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex").replace(/.{16}/gu, "$&\n");
}
