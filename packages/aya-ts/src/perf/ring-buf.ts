/**
 * BPF_MAP_TYPE_RINGBUF, read through its mapped pages: a consumer page that we write, a producer page, and the data mapped twice,
 * so that no record wraps.
 *
 * Authority: Documentation/bpf/ringbuf.rst, kernel/bpf/ringbuf.c. `next` never waits: a record that is still being written
 * ends the walk, since records are taken in order.
 */
import { PAGE_SIZE } from "@alien-ts/abi";
import { PerfBufferError, SyscallError } from "../errors.ts";
import type { MapData } from "../maps/map-data.ts";
import type { Runtime } from "../rt/runtime.ts";
import { SharedPages } from "./shared-pages.ts";

const BUSY_BIT = 0x8000_0000;
const DISCARD_BIT = 0x4000_0000;
const HEADER_BYTES = 8;

export class RingBuf {
  readonly map: MapData;
  readonly #consumer: SharedPages;
  readonly #producer: SharedPages;
  readonly #dataBytes: number;

  private constructor(map: MapData, consumer: SharedPages, producer: SharedPages) {
    this.map = map;
    this.#consumer = consumer;
    this.#producer = producer;
    this.#dataBytes = map.definition.maxEntries;
  }

  static async open(map: MapData): Promise<RingBuf> {
    map.expectType("RINGBUF");
    const { fd, sys } = map;
    const sizeBytes = PAGE_SIZE + 2 * map.definition.maxEntries;
    const consumer = await SharedPages.map(sys, { fd, sizeBytes: PAGE_SIZE, offset: 0, writable: true });
    if (typeof consumer === "number") throw failed(map, consumer);
    const producer = await SharedPages.map(sys, { fd, sizeBytes, offset: PAGE_SIZE, writable: false });
    if (typeof producer !== "number") return new RingBuf(map, consumer, producer);
    await consumer.unmap();
    throw failed(map, producer);
  }

  /** Poll it for readability. */
  get fd(): number {
    return this.map.fd;
  }

  /** The next record's bytes, copied; undefined when there is none that is complete. */
  next(): Uint8Array | undefined {
    for (;;) {
      const position = this.#consumer.u64(0);
      if (position === this.#producer.u64(0)) return undefined;
      const at = PAGE_SIZE + (position % this.#dataBytes);
      const header = this.#producer.u32(at);
      if ((header & BUSY_BIT) !== 0) return undefined;
      const length = (header & ~(BUSY_BIT | DISCARD_BIT)) >>> 0;
      const isDiscarded = (header & DISCARD_BIT) !== 0;
      const data = isDiscarded ? undefined : this.#producer.copy(at + HEADER_BYTES, length);
      this.#consumer.writeU64(0, position + Math.ceil((length + HEADER_BYTES) / 8) * 8);
      if (data !== undefined) return data;
    }
  }

  /** Records as they come. */
  async *readable(rt: Runtime): AsyncGenerator<Uint8Array, never> {
    await using watch = await rt.asyncFd(this.fd, { readable: true });
    for (;;) {
      watch.clearReady("readable");
      let hasRecords = false;
      for (let record = this.next(); record !== undefined; record = this.next()) {
        hasRecords = true;
        yield record;
      }
      if (!hasRecords) await watch.readable();
    }
  }

  async close(): Promise<void> {
    await this.#consumer.unmap();
    await this.#producer.unmap();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

function failed(map: MapData, result: number): PerfBufferError {
  const cause = new SyscallError("mmap", -result);
  return new PerfBufferError("MMapError", `ring buffer ${map.name}: ${cause.message}`, { cause });
}
