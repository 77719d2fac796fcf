/**
 * The verifier's log: collecting it, and fitting it into the buffer that the caller of `bpf(2)` gave.
 *
 * `VerifierLog` collects text; nothing is collected at level 0. `fitLog` cuts it as Linux does (kernel/bpf/log.c): the end is
 * kept, unless `LOG.FIXED` asks for the beginning; the buffer always ends with a NUL; `log_true_size` is what would have
 * been needed, and a load whose log did not fit fails with ENOSPC. What was printed and taken back (paths that were found good, at
 * level 1) counts too: Linux writes into the buffer as it goes.
 */
import { utf8Encode } from "@alien-ts/abi";

/** Bits of `log_level` (include/linux/bpf_verifier.h). */
export const LOG = { LEVEL1: 1, LEVEL2: 2, STATS: 4, FIXED: 8, MASK: 15 } as const;

const MOST_PIECES = 1024;

export interface LogOptions {
  /** `log_level`; 0 for none. */
  readonly level: number;
  /** Characters that are kept of the end; the whole log where undefined. */
  readonly keeps?: number;
  /** Size of the caller's buffer, through which the log moves; 0 or undefined for none. */
  readonly windowBytes?: number;
}

/** How the log grew: what has become of it in the caller's buffer depends on it. */
export interface LogExtent {
  /** Characters at its longest. */
  readonly longest: number;
  /** Characters at the front that the buffer no longer has. */
  readonly lost: number;
}

export class VerifierLog {
  readonly level: number;
  /** Pieces in order; many are joined to one, since the collector visits each. */
  private pieces: string[] = [];
  private joined: string[] = [];
  private readonly keeps: number;
  /** Characters that were dropped from the front. */
  private dropped = 0;
  private readonly window: number;
  /** Characters so far. */
  length = 0;
  private longest = 0;
  private lost = 0;

  constructor(options: LogOptions) {
    this.level = options.level;
    this.keeps = options.keeps ?? Number.POSITIVE_INFINITY;
    const isRolling = (this.level & LOG.FIXED) === 0 && options.windowBytes !== undefined;
    this.window = isRolling && options.windowBytes !== 0 ? options.windowBytes! : Number.POSITIVE_INFINITY;
  }

  /** Whether there is a log at all: messages are printed at every level. */
  get isNeeded(): boolean {
    return this.level !== 0;
  }

  /** Whether instructions are printed. */
  get isEnabled(): boolean {
    return (this.level & (LOG.LEVEL1 | LOG.LEVEL2)) !== 0;
  }

  /** Whether everything is kept, also of paths that were found good. */
  get isVerbose(): boolean {
    return (this.level & LOG.LEVEL2) !== 0;
  }

  write(text: string): void {
    if (this.level === 0 || text === "") return;
    // The last piece stays apart: its end is often taken back.
    if (this.pieces.length >= MOST_PIECES) this.join();
    this.pieces.push(text);
    this.length += text.length;
    this.longest = Math.max(this.longest, this.length);
    this.lost = Math.max(this.lost, this.length + 1 - this.window);
  }

  private join(): void {
    this.joined.push(this.pieces.join(""));
    this.pieces = [];
    if (this.length - this.dropped > 2 * this.keeps) this.drop();
  }

  /** Forgets the front, down to what is kept. */
  private drop(): void {
    let from = 0;
    while (this.length - this.dropped - this.joined[from]!.length >= this.keeps)
      this.dropped += this.joined[from++]!.length;
    this.joined = this.joined.slice(from);
  }

  line(text: string): void {
    this.write(`${text}\n`);
  }

  /** Forgets what was printed after `length` characters: at level 1 the instructions of a good path are not shown. */
  reset(length = 0): void {
    this.lost = Math.min(this.lost, length);
    while (this.length > length) {
      const piece = this.pieces.pop() ?? this.joined.pop();
      if (piece === undefined) {
        this.length = length;
        this.dropped = Math.min(this.dropped, length);
        return;
      }
      const excess = this.length - length;
      this.length -= Math.min(piece.length, excess);
      if (piece.length > excess) this.pieces.push(piece.slice(0, piece.length - excess));
    }
  }

  get extent(): LogExtent {
    return { longest: this.longest, lost: this.lost };
  }

  toString(): string {
    this.join();
    this.joined = [this.joined.join("")];
    return this.joined[0]!;
  }
}

/** Linux: bpf_verifier_log_attr_valid(). A buffer that is not NULL has a size and a level, and the other way round. */
export function isLogRequestValid(level: number, hasBuffer: boolean, sizeBytes: number): boolean {
  if (hasBuffer !== sizeBytes > 0) return false;
  if (hasBuffer && level === 0) return false;
  return (level & ~LOG.MASK) === 0 && sizeBytes <= 0x3fff_ffff;
}

export interface FittedLog {
  /** What goes into the buffer, NUL included. */
  readonly bytes: Uint8Array;
  /** `log_true_size`: bytes of the whole log and its NUL. */
  readonly trueSize: number;
  /** The load fails with ENOSPC. */
  readonly isTruncated: boolean;
}

/** Cuts `text` to a buffer of `sizeBytes`; 0 for no buffer. A log that was never written needs none. */
export function fitLog(text: string, sizeBytes: number, level: number, extent?: LogExtent): FittedLog {
  const whole = utf8Encode(text);
  const longest = Math.max(whole.length, extent?.longest ?? 0);
  const trueSize = longest === 0 ? 0 : longest + 1;
  if (sizeBytes === 0 || trueSize === 0) return { bytes: new Uint8Array(0), trueSize, isTruncated: false };
  const room = sizeBytes - 1;
  const isTruncated = trueSize > sizeBytes;
  const isFixed = (level & LOG.FIXED) !== 0;
  const lost = isFixed ? 0 : Math.max(whole.length - room, extent?.lost ?? 0, 0);
  const kept = whole.subarray(lost, lost + room);
  const bytes = new Uint8Array(kept.length + 1);
  bytes.set(kept);
  return { bytes, trueSize, isTruncated };
}
