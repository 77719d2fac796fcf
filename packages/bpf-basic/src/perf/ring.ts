/**
 * The perf ring buffer in Linux's wire format: a header page (`perf_event_mmap_page`) and 2^n data pages behind it, contiguous
 * in linear memory, which readers map. Answers to kernel/events/ring_buffer.c.
 *
 * `begin(bytes)` makes room for one record (and a LOST record before it, when some were lost), `put…` write it, `end` shows
 * it to readers by moving `data_head`. Nothing sleeps or allocates. A record may wrap; its start is a multiple of 8. In
 * overwrite mode (a mapping without PROT_WRITE) `data_tail` is not looked at and nothing is ever lost.
 */
import {
  type KAddr,
  type LinearMemory,
  PAGE_SIZE,
  PERF_RECORD,
  perf_event_mmap_page,
  type ViewOf,
} from "@alien-ts/abi";
import type { MemoryOps } from "../ports.ts";

const LOST_RECORD_BYTES = 24;

export interface RingOptions {
  /** A power of two, or 0: a header page alone. */
  readonly dataPages: number;
  readonly isOverwrite: boolean;
  /** Bytes before a wakeup; 0 for half the ring. */
  readonly watermarkBytes: number;
}

export class PerfRing {
  /** The header page. */
  readonly base: KAddr;
  readonly dataPages: number;
  readonly page: ViewOf<typeof perf_event_mmap_page>;
  isPaused = false;
  readonly #ports: MemoryOps;
  readonly #m: LinearMemory;
  readonly #data: KAddr;
  readonly #mask: number;
  readonly #isOverwrite: boolean;
  readonly #watermarkBytes: number;
  readonly #tailAddr: KAddr;
  #references = 1;
  #head = 0;
  /** Where the record being written goes on. */
  #cursor = 0;
  #lost = 0;
  #wakeupAt = 0;
  #eventsSinceWakeup = 0;
  #mustWake = false;
  #hasWoken = false;

  private constructor(ports: MemoryOps, base: KAddr, options: RingOptions) {
    this.#ports = ports;
    this.#m = ports.memory;
    this.base = base;
    this.dataPages = options.dataPages;
    this.#data = base + PAGE_SIZE;
    const sizeBytes = options.dataPages * PAGE_SIZE;
    this.#mask = sizeBytes - 1;
    this.#isOverwrite = options.isOverwrite;
    this.#watermarkBytes = Math.min(sizeBytes, options.watermarkBytes) || sizeBytes / 2;
    this.#tailAddr = base + ports.layout.offset(perf_event_mmap_page, "data_tail");
    this.page = new (ports.layout.view(perf_event_mmap_page))(ports.memory, base);
    this.page.capabilities = 2; // cap_bit0_is_deprecated
    this.page.size = ports.layout.offset(perf_event_mmap_page, "__reserved");
    this.page.data_offset = PAGE_SIZE;
    this.page.data_size = sizeBytes;
  }

  /** Undefined when there is no memory. */
  static create(ports: MemoryOps, options: RingOptions): PerfRing | undefined {
    const base = ports.allocPages(1 + options.dataPages);
    return base === 0 ? undefined : new PerfRing(ports, base, options);
  }

  get(): void {
    this.#references += 1;
  }
  put(): void {
    this.#references -= 1;
    if (this.#references === 0) this.#ports.freePages(this.base, 1 + this.dataPages);
  }

  /** A record could not be written. */
  countLost(): void {
    this.#lost += 1;
  }

  /** How many records were lost since the last LOST record. */
  get pendingLost(): number {
    return this.#lost;
  }

  /**
   * Room for a record of `sizeBytes`, a multiple of 8, after a LOST record of `idBytes` more when one is due. False when there is
   * none: the record is counted as lost.
   */
  begin(sizeBytes: number, idBytes: number): boolean {
    const needed = sizeBytes + (this.#lost > 0 ? LOST_RECORD_BYTES + idBytes : 0);
    if (this.isPaused || !this.#hasSpace(needed)) {
      this.#lost += 1;
      return false;
    }
    this.#cursor = this.#head;
    this.#head += needed;
    if (this.#head - this.#wakeupAt > this.#watermarkBytes) {
      this.#wakeupAt += this.#watermarkBytes;
      this.#mustWake = true;
    }
    return true;
  }

  /** The due LOST record of an event, without its sample id. */
  putLost(eventId: number, idBytes: number): void {
    this.putHeader(PERF_RECORD.LOST, 0, LOST_RECORD_BYTES + idBytes);
    this.putU64(eventId);
    this.putU64(this.#lost);
    this.#lost = 0;
  }

  putHeader(type: number, misc: number, sizeBytes: number): void {
    this.putU32(type);
    this.putU32(misc | (sizeBytes << 16));
  }

  putU32(value: number): void {
    this.#m.dv.setUint32(this.#data + (this.#cursor & this.#mask), value, true);
    this.#cursor += 4;
  }

  /** A number below 2^53. */
  putU64(value: number): void {
    this.putU32(value >>> 0);
    this.putU32(Math.floor(value / 0x1_0000_0000));
  }

  putBytes(from: KAddr, sizeBytes: number): void {
    const at = this.#cursor & this.#mask;
    const first = Math.min(sizeBytes, this.#mask + 1 - at);
    this.#m.u8.copyWithin(this.#data + at, from, from + first);
    this.#m.u8.copyWithin(this.#data, from + first, from + sizeBytes);
    this.#cursor += sizeBytes;
  }

  putZeros(sizeBytes: number): void {
    for (let i = 0; i < sizeBytes; i++) this.#m.u8[this.#data + ((this.#cursor + i) & this.#mask)] = 0;
    this.#cursor += sizeBytes;
  }

  /** One sample was written; `wakeupEvents` is 0 where only the watermark counts. True where readers are to be woken. */
  end(wakeupEvents: number): boolean {
    this.page.data_head = this.#head;
    if (wakeupEvents > 0) {
      this.#eventsSinceWakeup += 1;
      if (this.#eventsSinceWakeup >= wakeupEvents) {
        this.#eventsSinceWakeup -= wakeupEvents;
        this.#mustWake = true;
      }
    }
    if (!this.#mustWake) return false;
    this.#mustWake = false;
    this.#hasWoken = true;
    return true;
  }

  /**
   * Whether poll(2) reports data: after a wakeup, until the reader has consumed everything. Differs from Linux: there the first
   * poll takes the readiness away, so that an event between two polls of epoll can be missed.
   */
  get isReadable(): boolean {
    if (this.#hasWoken && !this.#isOverwrite && this.#m.u32[this.#tailAddr >> 2]! === this.#head >>> 0) {
      this.#hasWoken = false;
    }
    return this.#hasWoken;
  }

  /** `CIRC_SPACE`: one byte stays free. The reader may have written anything to data_tail. */
  #hasSpace(needed: number): boolean {
    if (needed > this.#mask) return false;
    if (this.#isOverwrite) return true;
    const used = (this.#head - this.#m.u32[this.#tailAddr >> 2]!) & this.#mask;
    return this.#mask - used >= needed;
  }
}
