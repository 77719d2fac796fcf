/**
 * Buffered streams over a descriptor: stdio(3) without its FILE.
 *
 * A stream that writes is line-buffered on a terminal and fully buffered otherwise (standard error is unbuffered). A read
 * that is cut short by a signal is repeated. What is written to a closed pipe ends the process by SIGPIPE before `write`
 * returns; where SIGPIPE is ignored it throws EPIPE, once.
 */
import { EINTR, ENOMEM, NR, type UAddr } from "@alien-ts/abi";
import { SystemError, check, errnoOf, failed } from "./errors.ts";
import type { Process } from "./process.ts";
import { isTerminal } from "./terminal.ts";
import { fromBytes, toBytes } from "./text.ts";

export type Buffering = "line" | "full" | "none";

/** Bytes read at a time, and written when a full buffer is flushed. */
export const BUFFER_BYTES = 16_384;

/** The longest text that one call gives: the host's strings end not far above. Longer ones are ENOMEM. */
export const MAX_TEXT_BYTES = 2 ** 28;

/** Blocks from this size on are not buffered. */
const DIRECT_BYTES = 2048;

const NEWLINE = 10;
const EMPTY = new Uint8Array(0);

export class Stream {
  readonly fd: number;
  readonly #process: Process;
  #mode: Buffering | undefined;
  #buffer: UAddr = 0;
  #pending: string[] = [];
  #pendingLength = 0;
  #input: Uint8Array = EMPTY;
  #at = 0;
  /** The name in messages: the path that was opened. */
  readonly name: string;

  constructor(process: Process, fd: number, mode?: Buffering, name = "-") {
    this.#process = process;
    this.fd = fd;
    this.#mode = mode;
    this.name = name;
  }

  /** Chooses the buffering, as setvbuf(3). */
  setBuffering(mode: Buffering): void {
    this.#mode = mode;
  }

  /** Writes text, one byte per character. */
  async write(text: string): Promise<void> {
    if (text === "") return;
    this.#mode ??= (await isTerminal(this.#process, this.fd)) ? "line" : "full";
    this.#pending.push(text);
    this.#pendingLength += text.length;
    if (this.#mode === "none" || this.#pendingLength >= BUFFER_BYTES) return this.flush();
    if (this.#mode === "line" && text.includes("\n")) return this.flush();
  }

  /** A large block goes past the buffer, without becoming text. */
  async writeBytes(bytes: Uint8Array): Promise<void> {
    if (bytes.length < DIRECT_BYTES) return this.write(fromBytes(bytes));
    await this.flush();
    await this.#writeAll(bytes);
  }

  async writeLine(text: string): Promise<void> {
    return this.write(`${text}\n`);
  }

  async flush(): Promise<void> {
    if (this.#pendingLength === 0) return;
    const text = this.#pending.join("");
    this.#pending = [];
    this.#pendingLength = 0;
    await this.#writeAll(toBytes(text));
  }

  /** Drops what is buffered: a forked child must not write its parent's text again. */
  discard(): void {
    this.#pending = [];
    this.#pendingLength = 0;
    this.#input = EMPTY;
    this.#at = 0;
  }

  /** Whether the next read may wait: nothing is left of what was read. */
  get isDrained(): boolean {
    return this.#at === this.#input.length;
  }

  /** At least one byte and at most `limit`; none at the end of the file. */
  async readBytes(limit: number = BUFFER_BYTES): Promise<Uint8Array> {
    if (this.#at === this.#input.length) await this.#refill();
    const bytes = this.#input.subarray(this.#at, this.#at + limit);
    this.#at += bytes.length;
    return bytes;
  }

  /** The next line with its newline; a last line may lack it. Undefined at the end of the file. */
  async readLine(terminator: number = NEWLINE): Promise<string | undefined> {
    let line = "";
    for (;;) {
      if (this.#at === this.#input.length) await this.#refill();
      if (this.#at === this.#input.length) return line === "" ? undefined : line;
      const end = this.#input.indexOf(terminator, this.#at);
      const stop = end < 0 ? this.#input.length : end + 1;
      line += fromBytes(this.#input.subarray(this.#at, stop));
      this.#at = stop;
      if (end >= 0) return line;
      this.#checkLength(line.length);
    }
  }

  /** All that is left. */
  async readAll(): Promise<string> {
    const parts: string[] = [];
    let length = 0;
    for (let bytes = await this.readBytes(); bytes.length > 0; bytes = await this.readBytes()) {
      parts.push(fromBytes(bytes));
      length += bytes.length;
      this.#checkLength(length);
    }
    return parts.join("");
  }

  #checkLength(length: number): void {
    if (length > MAX_TEXT_BYTES) throw new SystemError("read", ENOMEM, this.name);
  }

  /** Gives the buffer back: the process ends, or the stream is closed. */
  async release(): Promise<void> {
    await this.#process.free(this.#buffer);
    this.#buffer = 0;
  }

  /** Flushes, and closes the descriptor. */
  async close(): Promise<void> {
    await this.flush();
    await this.release();
    check(await this.#process.trap(NR.close, this.fd), "close", this.name);
  }

  async #refill(): Promise<void> {
    const process = this.#process;
    if (this.#buffer === 0) this.#buffer = await process.malloc(BUFFER_BYTES);
    let got: number;
    do got = await process.trap(NR.read, this.fd, this.#buffer, BUFFER_BYTES);
    while (got === -EINTR.number);
    if (failed(got)) throw new SystemError("read", errnoOf(got), this.name);
    this.#input = process.memory.read(this.#buffer, got);
    this.#at = 0;
  }

  async #writeAll(bytes: Uint8Array): Promise<void> {
    const process = this.#process;
    if (this.#buffer === 0) this.#buffer = await process.malloc(BUFFER_BYTES);
    for (let at = 0; at < bytes.length;) {
      const chunk = bytes.subarray(at, at + BUFFER_BYTES);
      process.memory.write(this.#buffer, chunk);
      const put = await process.trap(NR.write, this.fd, this.#buffer, chunk.length);
      if (put === -EINTR.number) continue;
      if (failed(put)) throw new SystemError("write", errnoOf(put), "write error");
      at += put;
    }
  }
}
