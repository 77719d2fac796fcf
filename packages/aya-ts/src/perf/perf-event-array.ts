/**
 * Perf event arrays: per CPU, a ring that `bpf_perf_event_output` writes to. `open(cpu)` gives one ring, `readable(rt)` an async
 * iterable over those of all online CPUs (Aya's `AsyncPerfEventArray`).
 *
 * Authority: perf_event_open(2) on `perf_event_mmap_page`, aya `perf_buffer.rs`. Samples are copied out of the ring before
 * `data_tail` gives their space back.
 */
import { PAGE_SIZE, perf_event_mmap_page, PERF_EVENT_HEADER_SIZE, PERF_RECORD } from "@alien-ts/abi";
import { encodeValue, u32 } from "../codec.ts";
import { PerfBufferError, SyscallError } from "../errors.ts";
import type { PerfBufferErrorKind } from "../errors.ts";
import type { MapData } from "../maps/map-data.ts";
import type { AsyncFd } from "../rt/async-fd.ts";
import type { Runtime } from "../rt/runtime.ts";
import { closeFd } from "../sys/files.ts";
import { perfDisable, perfEnable, perfEventOpenBpfOutput } from "../sys/perf.ts";
import { fieldOffset } from "../sys/record.ts";
import type { Sys } from "../sys/sys.ts";
import { onlineCpus } from "../util.ts";
import { SharedPages } from "./shared-pages.ts";

const DEFAULT_PAGES = 2;
const HEAD_AT = fieldOffset(perf_event_mmap_page, "data_head");
const TAIL_AT = fieldOffset(perf_event_mmap_page, "data_tail");
/** struct { header; u64 id; u64 lost; } */
const LOST_COUNT_AT = PERF_EVENT_HEADER_SIZE + 8;

export type PerfEvent =
  | { readonly kind: "sample"; readonly cpu: number; readonly data: Uint8Array }
  | { readonly kind: "lost"; readonly cpu: number; readonly count: number };

export interface PerfEvents {
  readonly samples: readonly Uint8Array[];
  /** Samples that found no room. */
  readonly lost: number;
}

export class PerfEventArray {
  readonly map: MapData;

  constructor(map: MapData) {
    map.expectType("PERF_EVENT_ARRAY");
    this.map = map;
  }

  /** Opens the ring of a CPU and puts it into the map. @param pageCount data pages, a power of two. */
  async open(cpu: number, pageCount = DEFAULT_PAGES): Promise<PerfEventArrayBuffer> {
    const buffer = await PerfEventArrayBuffer.open(this.map.sys, cpu, pageCount);
    try {
      await this.map.update(encodeValue(u32, cpu), encodeValue(u32, buffer.fd));
    } catch (error) {
      await buffer.close();
      throw error;
    }
    return buffer;
  }

  /** The rings of all online CPUs. */
  async openAll(pageCount = DEFAULT_PAGES): Promise<PerfEventArrayBuffer[]> {
    const buffers: PerfEventArrayBuffer[] = [];
    for (const cpu of await onlineCpus(this.map.sys)) buffers.push(await this.open(cpu, pageCount));
    return buffers;
  }

  /**
   * Samples and losses of all online CPUs, as they come. Leaving the loop closes the rings. A CPU's events come in its order;
   * those of several CPUs are not sorted.
   */
  async *readable(rt: Runtime, pageCount = DEFAULT_PAGES): AsyncGenerator<PerfEvent, never> {
    const buffers = await this.openAll(pageCount);
    const watches: AsyncFd[] = [];
    try {
      for (const buffer of buffers) watches.push(await rt.asyncFd(buffer.fd, { readable: true }));
      for (;;) {
        for (const watch of watches) watch.clearReady("readable");
        let hasEvents = false;
        for (const buffer of buffers) {
          for (const event of buffer.drain()) {
            hasEvents = true;
            yield event;
          }
        }
        if (!hasEvents)
          await rt.select(Object.fromEntries(watches.map((watch) => [watch.fd, watch.readable()])));
      }
    } finally {
      for (const watch of watches) await watch.close();
      for (const buffer of buffers) await buffer.close();
    }
  }
}

export class PerfEventArrayBuffer {
  readonly cpu: number;
  /** The perf event: poll it for readability. */
  readonly fd: number;
  readonly #sys: Sys;
  readonly #pages: SharedPages;
  readonly #dataBytes: number;
  #isOpen = true;

  private constructor(
    sys: Sys,
    ring: {
      readonly cpu: number;
      readonly fd: number;
      readonly pages: SharedPages;
      readonly dataBytes: number;
    },
  ) {
    this.#sys = sys;
    this.cpu = ring.cpu;
    this.fd = ring.fd;
    this.#pages = ring.pages;
    this.#dataBytes = ring.dataBytes;
  }

  static async open(sys: Sys, cpu: number, pageCount: number): Promise<PerfEventArrayBuffer> {
    if (!Number.isInteger(pageCount) || pageCount < 1 || (pageCount & (pageCount - 1)) !== 0)
      throw new PerfBufferError("InvalidPageCount", `page count ${pageCount} is not a power of two`);
    const fd = await perfEventOpenBpfOutput(sys, cpu);
    if (fd < 0) throw failed("OpenError", "perf_event_open", fd, cpu);
    const sizeBytes = (1 + pageCount) * PAGE_SIZE;
    const pages = await SharedPages.map(sys, { fd, sizeBytes, offset: 0, writable: true });
    if (typeof pages === "number") {
      await closeFd(sys, fd);
      throw failed("MMapError", "mmap", pages, cpu);
    }
    const buffer = new PerfEventArrayBuffer(sys, { cpu, fd, pages, dataBytes: pageCount * PAGE_SIZE });
    const enabled = await perfEnable(sys, fd);
    if (enabled < 0) {
      await buffer.close();
      throw failed("PerfEventEnableError", "PERF_EVENT_IOC_ENABLE", enabled, cpu);
    }
    return buffer;
  }

  /** Whether the ring holds records. */
  get isReadable(): boolean {
    return this.#pages.u64(HEAD_AT) !== this.#pages.u64(TAIL_AT);
  }

  /** Takes the records one by one; each gives its space back before the next is read. */
  *drain(): Generator<PerfEvent> {
    let tail = this.#pages.u64(TAIL_AT);
    while (tail !== this.#pages.u64(HEAD_AT)) {
      const { event, sizeBytes } = this.#record(tail);
      tail += sizeBytes;
      this.#pages.writeU64(TAIL_AT, tail);
      if (event !== undefined) yield event;
    }
  }

  /** All records that are there (Aya's `read_events`). */
  readEvents(): PerfEvents {
    const samples: Uint8Array[] = [];
    let lost = 0;
    for (const event of this.drain()) {
      if (event.kind === "sample") samples.push(event.data);
      else lost += event.count;
    }
    return { samples, lost };
  }

  forEach(visit: (event: PerfEvent) => void): void {
    for (const event of this.drain()) visit(event);
  }

  async close(): Promise<void> {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    await perfDisable(this.#sys, this.fd);
    await this.#pages.unmap();
    await closeFd(this.#sys, this.fd);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Headers never wrap: records are aligned to 8 and so is the ring. */
  #record(position: number): { readonly event: PerfEvent | undefined; readonly sizeBytes: number } {
    const at = PAGE_SIZE + (position % this.#dataBytes);
    const type = this.#pages.u32(at);
    // Zero would never end: a ring that says so is not written by a kernel.
    const sizeBytes = this.#pages.u16(at + 6) || PERF_EVENT_HEADER_SIZE;
    const { cpu } = this;
    if (type === PERF_RECORD.SAMPLE) {
      const length = this.#u32(position + PERF_EVENT_HEADER_SIZE);
      const data = this.#copy(position + PERF_EVENT_HEADER_SIZE + 4, Math.min(length, sizeBytes));
      return { event: { kind: "sample", cpu, data }, sizeBytes };
    }
    if (type === PERF_RECORD.LOST)
      return { event: { kind: "lost", cpu, count: this.#u32(position + LOST_COUNT_AT) }, sizeBytes };
    return { event: undefined, sizeBytes };
  }

  #u32(position: number): number {
    return this.#pages.u32(PAGE_SIZE + (position % this.#dataBytes));
  }

  /** Bytes that may wrap at the end of the ring. */
  #copy(position: number, length: number): Uint8Array {
    const start = position % this.#dataBytes;
    const first = Math.min(length, this.#dataBytes - start);
    const out = new Uint8Array(length);
    out.set(this.#pages.copy(PAGE_SIZE + start, first));
    if (first < length) out.set(this.#pages.copy(PAGE_SIZE, length - first), first);
    return out;
  }
}

function failed(kind: PerfBufferErrorKind, call: string, result: number, cpu: number): PerfBufferError {
  const cause = new SyscallError(call, -result);
  return new PerfBufferError(kind, `perf ring of CPU ${cpu}: ${cause.message}`, { cause });
}
