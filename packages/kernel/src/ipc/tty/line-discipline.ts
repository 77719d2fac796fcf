/**
 * N_TTY, the line discipline: what a terminal makes of typed bytes (Linux: drivers/tty/n_tty.c).
 *
 * `receive` takes the device's input: edits the line, echoes, raises signals, controls the flow. `take` gives what a read may
 * have now; `hasInput` says whether that is anything. It neither sleeps nor knows files: tty.ts does the waiting.
 *
 * Input lies in a ring of 4096 bytes. `readTail` ≤ `canonHead` ≤ `readHead`: complete lines (canonical mode) end at
 * `canonHead`; `lineEnds` marks the last byte of each; an end-of-file is a marked NUL that no read sees.
 */
import { IFLAG, LFLAG, SIG, VCC } from "@alien-ts/abi";
import { isContinuation, isControl, OutputProcessor } from "./output.ts";
import type { Termios } from "./structs.ts";

/** N_TTY_BUF_SIZE */
export const N_TTY_BUF_SIZE = 4096;
const MASK = N_TTY_BUF_SIZE - 1;
/** _POSIX_VDISABLE: a control character with this value is off. */
const DISABLED = 0;

const NL = 0x0a;
const CR = 0x0d;
const TAB = 0x09;
const BS = 0x08;
const SPACE = 0x20;
const CARET = 0x5e;
const BYTE_MAX = 0xff;

/** What the discipline asks of its terminal. */
export interface LineDisciplinePort {
  /** ISIG: `signal` for the foreground process group. */
  signal(signal: number): void;
  /** IXON: output stops or goes on. */
  setStopped(stopped: boolean): void;
  isStopped(): boolean;
  /** Gives echoes to the device now. */
  flush(): void;
}

type EraseKind = "character" | "word" | "line";

export class LineDiscipline {
  readonly termios: Termios;
  readonly output: OutputProcessor;
  readonly #port: LineDisciplinePort;
  readonly #buffer = new Uint8Array(N_TTY_BUF_SIZE);
  readonly #lineEnds = new Uint8Array(N_TTY_BUF_SIZE);
  #readHead = 0;
  #canonHead = 0;
  #readTail = 0;
  /** The next byte is taken literally (VLNEXT). */
  #literal = false;
  /** Input that found no room: it comes in when a read makes some. */
  #backlog: number[] = [];

  constructor(termios: Termios, port: LineDisciplinePort) {
    this.termios = termios;
    this.#port = port;
    this.output = new OutputProcessor(termios, () => this.#input(IFLAG.IUTF8));
  }

  /** Bytes typed. Echoes are in `output` afterwards. */
  receive(bytes: Uint8Array): void {
    for (const byte of bytes) this.#backlog.push(byte);
    this.#drain();
  }

  get isCanonical(): boolean {
    return this.#local(LFLAG.ICANON);
  }

  /** Whether a read finds something. `atLeast` counts in raw mode only. */
  hasInput(atLeast = 1): boolean {
    if (this.isCanonical) return this.#canonHead !== this.#readTail;
    return this.#readHead - this.#readTail >= atLeast;
  }

  /** Bytes held: what a flow-controlled writer looks at. */
  get held(): number {
    return this.#readHead - this.#readTail + this.#backlog.length;
  }

  /** Bytes that a read would get: FIONREAD. */
  get available(): number {
    if (!this.isCanonical) return this.#readHead - this.#readTail;
    let count = 0;
    for (let at = this.#readTail; at !== this.#canonHead; at++)
      if (this.#lineEnds[at & MASK] === 0 || this.#buffer[at & MASK] !== DISABLED) count += 1;
    return count;
  }

  /**
   * Takes up to `limit` bytes: at most the rest of one line in canonical mode. Empty with input present is end-of-file. The
   * room that this makes is filled from input that waited.
   */
  take(limit: number): Uint8Array {
    const taken = this.isCanonical ? this.#takeLine(limit) : this.#takeRaw(limit);
    this.#drain();
    return taken;
  }

  /** Forgets all input: TCFLSH, signals without NOFLSH. */
  flushInput(): void {
    this.#readTail = this.#readHead;
    this.#canonHead = this.#readHead;
    this.#lineEnds.fill(0);
    this.#backlog = [];
    this.#literal = false;
  }

  /** The settings changed from `oldLocal` (c_lflag). Linux: n_tty_set_termios(). */
  termiosChanged(oldLocal: number): void {
    if (((oldLocal ^ this.termios.c_lflag) & LFLAG.ICANON) !== 0) {
      this.#lineEnds.fill(0);
      if (!this.isCanonical || this.#readHead === this.#readTail) this.#canonHead = this.#readTail;
      else {
        this.#lineEnds[(this.#readHead - 1) & MASK] = 1;
        this.#canonHead = this.#readHead;
      }
      this.#literal = false;
    }
    this.#drain();
  }

  #input(flag: number): boolean {
    return (this.termios.c_iflag & flag) !== 0;
  }
  #local(flag: number): boolean {
    return (this.termios.c_lflag & flag) !== 0;
  }
  #is(byte: number, index: number): boolean {
    const wanted = this.termios.c_cc[index]!;
    return wanted !== DISABLED && byte === wanted;
  }

  #takeRaw(limit: number): Uint8Array {
    const length = Math.min(limit, this.#readHead - this.#readTail);
    const taken = new Uint8Array(length);
    for (let i = 0; i < length; i++) taken[i] = this.#buffer[(this.#readTail + i) & MASK]!;
    this.#readTail += length;
    return taken;
  }

  /** Linux: canon_copy_from_read_buf(). */
  #takeLine(limit: number): Uint8Array {
    const taken: number[] = [];
    while (this.#readTail !== this.#canonHead) {
      const at = this.#readTail & MASK;
      const byte = this.#buffer[at]!;
      const isEnd = this.#lineEnds[at] !== 0;
      if (isEnd && byte === DISABLED) {
        this.#lineEnds[at] = 0;
        this.#readTail += 1;
        break;
      }
      if (taken.length === limit) break;
      this.#lineEnds[at] = 0;
      this.#readTail += 1;
      taken.push(byte);
      if (isEnd) break;
    }
    return Uint8Array.from(taken);
  }

  /** Takes waiting input while there is room for it. A canonical line without an end keeps one place for its end. */
  #drain(): void {
    let done = 0;
    while (done < this.#backlog.length) {
      const room = N_TTY_BUF_SIZE - (this.#readHead - this.#readTail) - 1;
      if (room <= 0) {
        const isLongLine = this.isCanonical && this.#canonHead === this.#readTail;
        if (!isLongLine) break;
        if (room < 0) this.#readHead -= 1;
      }
      this.#receiveByte(this.#backlog[done]!);
      done += 1;
    }
    this.#backlog.splice(0, done);
  }

  #receiveByte(typed: number): void {
    let byte = typed;
    if (this.#input(IFLAG.ISTRIP)) byte &= 0x7f;
    if (this.#input(IFLAG.IUCLC) && this.#local(LFLAG.IEXTEN) && byte >= 0x41 && byte <= 0x5a) byte += 0x20;
    if (this.#literal) {
      this.#literal = false;
      this.#receiveOrdinary(byte);
      return;
    }
    if (this.#flowControl(byte) || this.#signalCharacter(byte)) return;
    if (this.#port.isStopped() && this.#input(IFLAG.IXANY) && this.#input(IFLAG.IXON))
      this.#port.setStopped(false);
    if (byte === CR) {
      if (this.#input(IFLAG.IGNCR)) return;
      if (this.#input(IFLAG.ICRNL)) byte = NL;
    } else if (byte === NL && this.#input(IFLAG.INLCR)) byte = CR;
    if (this.isCanonical && this.#editingCharacter(byte)) return;
    this.#receiveOrdinary(byte);
  }

  /** IXON. */
  #flowControl(byte: number): boolean {
    if (!this.#input(IFLAG.IXON)) return false;
    if (this.#is(byte, VCC.START)) {
      this.#port.setStopped(false);
      return true;
    }
    if (!this.#is(byte, VCC.STOP)) return false;
    this.#port.setStopped(true);
    return true;
  }

  /** ISIG. Linux: n_tty_receive_signal_char(), isig(). */
  #signalCharacter(byte: number): boolean {
    if (!this.#local(LFLAG.ISIG)) return false;
    const signal = this.#is(byte, VCC.INTR)
      ? SIG.INT
      : this.#is(byte, VCC.QUIT)
        ? SIG.QUIT
        : this.#is(byte, VCC.SUSP)
          ? SIG.TSTP
          : undefined;
    if (signal === undefined) return false;
    this.#port.signal(signal);
    if (!this.#local(LFLAG.NOFLSH)) {
      const waiting = this.#backlog;
      this.output.discard();
      this.flushInput();
      this.#backlog = waiting;
    }
    if (this.#input(IFLAG.IXON)) this.#port.setStopped(false);
    if (this.#local(LFLAG.ECHO)) this.#echo(byte);
    this.#port.flush();
    return true;
  }

  /** ICANON: characters that edit or end the line. */
  #editingCharacter(byte: number): boolean {
    const isExtended = this.#local(LFLAG.IEXTEN);
    if (this.#is(byte, VCC.ERASE)) this.#erase("character");
    else if (this.#is(byte, VCC.KILL)) this.#erase("line");
    else if (isExtended && this.#is(byte, VCC.WERASE)) this.#erase("word");
    else if (isExtended && this.#is(byte, VCC.LNEXT)) this.#startLiteral();
    else if (isExtended && this.#local(LFLAG.ECHO) && this.#is(byte, VCC.REPRINT)) this.#reprint(byte);
    else if (byte === NL) {
      if (this.#local(LFLAG.ECHO) || this.#local(LFLAG.ECHONL)) this.output.put(NL);
      this.#endLine(NL);
    } else if (this.#is(byte, VCC.EOF)) this.#endLine(DISABLED);
    else if (this.#is(byte, VCC.EOL) || (isExtended && this.#is(byte, VCC.EOL2))) {
      if (this.#local(LFLAG.ECHO)) {
        this.#markLineStart();
        this.#echo(byte);
      }
      if (byte === BYTE_MAX && this.#input(IFLAG.PARMRK)) this.#store(byte);
      this.#endLine(byte);
    } else return false;
    return true;
  }

  #receiveOrdinary(byte: number): void {
    if (this.#local(LFLAG.ECHO)) {
      if (byte === NL) this.output.put(NL);
      else {
        this.#markLineStart();
        this.#echo(byte);
      }
    }
    if (byte === BYTE_MAX && this.#input(IFLAG.PARMRK)) this.#store(byte);
    this.#store(byte);
  }

  #store(byte: number): void {
    this.#buffer[this.#readHead & MASK] = byte;
    this.#lineEnds[this.#readHead & MASK] = 0;
    this.#readHead += 1;
  }

  #endLine(byte: number): void {
    this.#store(byte);
    this.#lineEnds[(this.#readHead - 1) & MASK] = 1;
    this.#canonHead = this.#readHead;
  }

  #markLineStart(): void {
    if (this.#canonHead === this.#readHead) this.output.canonColumn = this.output.column;
  }

  /** Linux: echo_char(): a control character as ^X where ECHOCTL is set. */
  #echo(byte: number): void {
    if (!this.#local(LFLAG.ECHOCTL) || !isControl(byte) || byte === TAB) {
      this.output.put(byte);
      return;
    }
    this.output.raw(CARET);
    this.output.raw(byte ^ 0x40);
    this.output.column += 2;
  }

  #startLiteral(): void {
    this.#literal = true;
    if (!this.#local(LFLAG.ECHO) || !this.#local(LFLAG.ECHOCTL)) return;
    this.output.raw(CARET);
    this.output.raw(BS);
  }

  #reprint(byte: number): void {
    this.#echo(byte);
    this.output.put(NL);
    for (let at = this.#canonHead; at !== this.#readHead; at++) this.#echo(this.#buffer[at & MASK]!);
  }

  /** Linux: eraser(). */
  #erase(kind: EraseKind): void {
    if (this.#readHead === this.#canonHead) return;
    const echoes = this.#local(LFLAG.ECHO);
    const showsKill = this.#local(LFLAG.ECHOK) && this.#local(LFLAG.ECHOKE) && this.#local(LFLAG.ECHOE);
    if (kind === "line" && !(echoes && showsKill)) {
      this.#readHead = this.#canonHead;
      if (!echoes) return;
      this.#echo(this.termios.c_cc[VCC.KILL]!);
      if (this.#local(LFLAG.ECHOK)) this.output.put(NL);
      return;
    }
    let seenWord = false;
    while (this.#readHead !== this.#canonHead) {
      const start = this.#characterBefore(this.#readHead);
      const byte = this.#buffer[start & MASK]!;
      if (this.#input(IFLAG.IUTF8) && isContinuation(byte)) break;
      if (kind === "word") {
        if (isWordByte(byte)) seenWord = true;
        else if (seenWord) break;
      }
      this.#readHead = start;
      if (echoes) this.#echoErased(byte, kind);
      if (kind === "character") break;
    }
  }

  /** Index of the first byte of the character that ends before `end`. */
  #characterBefore(end: number): number {
    let at = end - 1;
    while (this.#input(IFLAG.IUTF8) && isContinuation(this.#buffer[at & MASK]!) && at !== this.#canonHead)
      at -= 1;
    return at;
  }

  #echoErased(byte: number, kind: EraseKind): void {
    if (kind === "character" && !this.#local(LFLAG.ECHOE)) {
      this.#echo(this.termios.c_cc[VCC.ERASE]!);
      return;
    }
    if (byte === TAB) {
      this.#eraseTab();
      return;
    }
    const isShownAsTwo = isControl(byte) && this.#local(LFLAG.ECHOCTL);
    if (isShownAsTwo) this.#wipe();
    if (!isControl(byte) || isShownAsTwo) this.#wipe();
  }

  #wipe(): void {
    for (const byte of [BS, SPACE, BS]) this.output.raw(byte);
    if (this.output.column > 0) this.output.column -= 1;
  }

  /** Goes back over the columns that an erased tab took. */
  #eraseTab(): void {
    let columns = 0;
    let afterTab = false;
    for (let at = this.#readHead; at !== this.#canonHead;) {
      at -= 1;
      const byte = this.#buffer[at & MASK]!;
      if (byte === TAB) {
        afterTab = true;
        break;
      }
      if (isControl(byte)) columns += this.#local(LFLAG.ECHOCTL) ? 2 : 0;
      else if (!(this.#input(IFLAG.IUTF8) && isContinuation(byte))) columns += 1;
    }
    if (!afterTab) columns += this.output.canonColumn;
    for (let i = 8 - (columns & 7); i > 0; i--) {
      this.output.raw(BS);
      if (this.output.column > 0) this.output.column -= 1;
    }
  }
}

const isWordByte = (byte: number): boolean =>
  (byte >= 0x30 && byte <= 0x39) ||
  (byte >= 0x41 && byte <= 0x5a) ||
  (byte >= 0x61 && byte <= 0x7a) ||
  byte === 0x5f;
