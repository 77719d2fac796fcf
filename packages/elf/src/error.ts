/**
 * What a malformed image gives: a value that says where, and what was expected there.
 *
 * It is an `Error` so that a library for people may throw it or use it as a `cause`; this package only ever returns it.
 */

export class ElfError extends Error {
  /** File offset of the offending bytes. */
  readonly offset: number;
  /** What a well-formed image has there. */
  readonly expected: string;

  constructor(offset: number, expected: string, found: string) {
    super(`elf: at offset ${offset}: expected ${expected}, found ${found}`);
    this.name = "ElfError";
    this.offset = offset;
    this.expected = expected;
  }
}

export const isElfError = (value: unknown): value is ElfError => value instanceof ElfError;
