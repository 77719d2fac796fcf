/**
 * Output processing of a terminal: what OPOST and its flags make of written bytes, and of echoes (Linux:
 * drivers/tty/n_tty.c, do_output_char). It knows the cursor's column, which tabs and erasing need.
 *
 * Bytes are collected in `bytes`; whoever drives the line discipline takes them (`takeOutput`) and gives them to the device.
 */
import { OFLAG } from "@alien-ts/abi";
import type { Termios } from "./structs.ts";

/** Output flags that abi does not name (include/uapi/asm-generic/termbits.h). */
const TABDLY = 0x1800;
const XTABS = 0x1800;

const NL = 0x0a;
const CR = 0x0d;
const TAB = 0x09;
const BS = 0x08;
const SPACE = 0x20;

export const isControl = (byte: number): boolean => byte < 0x20 || byte === 0x7f;
/** A later byte of a UTF-8 sequence: takes no column of its own. */
export const isContinuation = (byte: number): boolean => (byte & 0xc0) === 0x80;

export class OutputProcessor {
  readonly #termios: Termios;
  /** Whether IUTF8 is set is asked of this, since it is an input flag. */
  readonly #isUtf8: () => boolean;
  #bytes: number[] = [];
  column = 0;
  /** Column where the current input line begins. */
  canonColumn = 0;

  constructor(termios: Termios, isUtf8: () => boolean) {
    this.#termios = termios;
    this.#isUtf8 = isUtf8;
  }

  /** Writes one byte as OPOST says, or as it is. */
  put(byte: number): void {
    if ((this.#termios.c_oflag & OFLAG.OPOST) === 0) this.raw(byte);
    else this.#process(byte);
  }

  /** Writes one byte as it is. */
  raw(byte: number): void {
    this.#bytes.push(byte);
  }

  get isEmpty(): boolean {
    return this.#bytes.length === 0;
  }

  /** What was written since the last call. */
  takeOutput(): Uint8Array {
    const taken = Uint8Array.from(this.#bytes);
    this.#bytes = [];
    return taken;
  }

  discard(): void {
    this.#bytes = [];
  }

  #process(byte: number): void {
    const flags = this.#termios.c_oflag;
    switch (byte) {
      case NL:
        this.#newline(flags);
        return;
      case CR:
        this.#carriageReturn(flags);
        return;
      case TAB:
        this.#tab(flags);
        return;
      case BS:
        if (this.column > 0) this.column -= 1;
        this.raw(byte);
        return;
      default:
        if (isControl(byte)) {
          this.raw(byte);
          return;
        }
        if (!(this.#isUtf8() && isContinuation(byte))) this.column += 1;
        this.raw((flags & OFLAG.OLCUC) !== 0 && byte >= 0x61 && byte <= 0x7a ? byte - 0x20 : byte);
    }
  }

  #newline(flags: number): void {
    if ((flags & OFLAG.ONLRET) !== 0) this.column = 0;
    if ((flags & OFLAG.ONLCR) !== 0) {
      this.column = 0;
      this.raw(CR);
    }
    this.canonColumn = this.column;
    this.raw(NL);
  }

  #carriageReturn(flags: number): void {
    if ((flags & OFLAG.ONOCR) !== 0 && this.column === 0) return;
    const isNewline = (flags & OFLAG.OCRNL) !== 0;
    if (!isNewline || (flags & OFLAG.ONLRET) !== 0) {
      this.column = 0;
      this.canonColumn = 0;
    }
    this.raw(isNewline ? NL : CR);
  }

  #tab(flags: number): void {
    const spaces = 8 - (this.column & 7);
    this.column += spaces;
    if ((flags & TABDLY) !== XTABS) this.raw(TAB);
    else for (let i = 0; i < spaces; i++) this.raw(SPACE);
  }
}
