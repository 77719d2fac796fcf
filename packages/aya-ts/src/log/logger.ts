/**
 * Reads what eBPF programs log (aya-log) from the map `AYA_LOGS`, a ring buffer or a perf event array, and hands the records
 * to a sink.
 *
 * `flush()` reads what is there; `run(rt)` reads as it comes, until its task is aborted. Records that do not parse are counted
 * in `malformed`, those that found no room in `lost`.
 */
import { BPF_MAP_TYPE } from "@alien-ts/abi";
import { MapError } from "../errors.ts";
import type { MapData } from "../maps/map-data.ts";
import { PerfEventArray } from "../perf/perf-event-array.ts";
import type { PerfEvent, PerfEventArrayBuffer } from "../perf/perf-event-array.ts";
import { RingBuf } from "../perf/ring-buf.ts";
import type { Runtime } from "../rt/runtime.ts";
import { parseLogRecord } from "./record.ts";
import type { LogRecord } from "./record.ts";

export const LOG_MAP = "AYA_LOGS";

export type LogSink = (record: LogRecord) => void;

type Source =
  | { readonly kind: "ring"; readonly ring: RingBuf }
  | { readonly kind: "perf"; readonly buffers: readonly PerfEventArrayBuffer[] };

interface MapHolder {
  map(name: string): MapData;
}

export class EbpfLogger {
  /** Records that are not in aya-log's format. */
  malformed = 0;
  /** Records that the ring of a perf event array had no room for. */
  lost = 0;
  readonly #source: Source;
  readonly #sink: LogSink;

  private constructor(source: Source, sink: LogSink) {
    this.#source = source;
    this.#sink = sink;
  }

  /** Throws `NotFound` when the object has no `AYA_LOGS`. */
  static init(ebpf: MapHolder, sink: LogSink): Promise<EbpfLogger> {
    return EbpfLogger.fromMap(ebpf.map(LOG_MAP), sink);
  }

  static async fromMap(map: MapData, sink: LogSink): Promise<EbpfLogger> {
    switch (map.definition.type) {
      case BPF_MAP_TYPE.RINGBUF:
        return new EbpfLogger({ kind: "ring", ring: await RingBuf.open(map) }, sink);
      case BPF_MAP_TYPE.PERF_EVENT_ARRAY:
        return new EbpfLogger({ kind: "perf", buffers: await new PerfEventArray(map).openAll() }, sink);
      default:
        throw new MapError(
          "InvalidMapType",
          `map ${map.name}: logs come through a ring buffer or a perf event array`,
        );
    }
  }

  /** Descriptors to poll. */
  get fds(): readonly number[] {
    return this.#source.kind === "ring" ? [this.#source.ring.fd] : this.#source.buffers.map(({ fd }) => fd);
  }

  /** Hands over the records that are there. */
  flush(): void {
    if (this.#source.kind === "ring") {
      const { ring } = this.#source;
      for (let record = ring.next(); record !== undefined; record = ring.next()) this.#record(record);
    } else {
      for (const buffer of this.#source.buffers) buffer.forEach((event) => this.#event(event));
    }
  }

  /** Flushes whenever there is something: `rt.spawn(() => logger.run(rt))`. */
  async run(rt: Runtime): Promise<never> {
    const watches = [];
    for (const fd of this.fds) watches.push(await rt.asyncFd(fd, { readable: true }));
    try {
      for (;;) {
        for (const watch of watches) watch.clearReady("readable");
        this.flush();
        await rt.select(Object.fromEntries(watches.map((watch) => [watch.fd, watch.readable()])));
      }
    } finally {
      for (const watch of watches) await watch.close();
    }
  }

  async close(): Promise<void> {
    if (this.#source.kind === "ring") await this.#source.ring.close();
    else for (const buffer of this.#source.buffers) await buffer.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #event(event: PerfEvent): void {
    if (event.kind === "lost") this.lost += event.count;
    else this.#record(event.data);
  }

  #record(bytes: Uint8Array): void {
    const record = parseLogRecord(bytes);
    if (record === undefined) this.malformed += 1;
    else this.#sink(record);
  }
}
