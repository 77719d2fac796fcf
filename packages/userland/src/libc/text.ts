/**
 * Text in userland is in the C locale: a string holds one byte per character (code 0 … 255), so that any byte survives
 * the way from a file to an argument, a variable, a pattern and back. UTF-8 passes through unchanged.
 *
 * `toBytes` and `fromBytes` convert; `widthOf` counts the columns that a byte string takes on a UTF-8 terminal.
 */
import { utf8Encode } from "@alien-ts/abi";

const CHUNK = 8192;

/** The string with one character per byte. */
export function fromBytes(bytes: Uint8Array): string {
  if (bytes.length <= CHUNK) return String.fromCharCode(...bytes);
  const parts: string[] = [];
  for (let at = 0; at < bytes.length; at += CHUNK) {
    parts.push(String.fromCharCode(...bytes.subarray(at, at + CHUNK)));
  }
  return parts.join("");
}

/** The bytes of a byte string. Text with other characters (a literal of an app) is encoded as UTF-8. */
export function toBytes(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code > 0xff) return utf8Encode(text);
    bytes[i] = code;
  }
  return bytes;
}

const isContinuation = (code: number): boolean => (code & 0xc0) === 0x80;

/** Columns on a UTF-8 terminal: every byte but the continuation bytes of a sequence. */
export function widthOf(text: string): number {
  let width = 0;
  for (let i = 0; i < text.length; i++) if (!isContinuation(text.charCodeAt(i))) width += 1;
  return width;
}

/** The lines of a text without their newlines; a missing last newline is no line of its own. */
export function linesOf(text: string): string[] {
  if (text === "") return [];
  const lines = text.split("\n");
  if (lines.at(-1) === "") lines.pop();
  return lines;
}

/** `a` and `b` in byte order, as strcmp(3). */
export const compareBytes = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

export const basename = (path: string): string => {
  const trimmed = path.replace(/\/+$/, "");
  return trimmed === "" ? (path === "" ? "" : "/") : trimmed.slice(trimmed.lastIndexOf("/") + 1);
};

export const dirname = (path: string): string => {
  const trimmed = path.replace(/\/+$/, "");
  const slash = trimmed.lastIndexOf("/");
  if (slash < 0) return trimmed === "" && path !== "" ? "/" : ".";
  return trimmed.slice(0, slash).replace(/\/+$/, "") || "/";
};

/** `directory/name`, without doubling a slash. */
export const joinPath = (directory: string, name: string): string =>
  directory === "" ? name : directory.endsWith("/") ? directory + name : `${directory}/${name}`;
