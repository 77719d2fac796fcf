/** Perf rings, ring buffers and logs: bytes laid out as the kernel does, read by the library. */
import { describe, expect, it } from "vitest";
import { PAGE_SIZE, utf8Encode } from "@alien-ts/abi";
import {
  EbpfLogger,
  MapData,
  parseLogRecord,
  PerfEventArray,
  RingBuf,
  Runtime,
  serialise,
} from "../index.ts";
import type { LogRecord } from "../index.ts";
import { FakeKernel } from "../../test/fake-bpf.ts";

const DATA_HEAD = 1024;

function perfArray(kernel: FakeKernel): PerfEventArray {
  const fd = kernel.openFd("map");
  kernel.maps.set(fd, {
    type: 4,
    keySize: 4,
    valueSize: 4,
    maxEntries: 2,
    flags: 0,
    name: "EVENTS",
    btf: [],
    entries: new Map(),
    isFrozen: false,
  });
  const definition = { name: "EVENTS", type: 4, keySize: 4, valueSize: 4, maxEntries: 2, flags: 0 };
  return new PerfEventArray(new MapData(serialise(kernel), fd, definition));
}

/** What a kernel does with a perf ring. */
class Ring {
  readonly #kernel: FakeKernel;
  readonly #base: number;
  readonly #bytes: number;

  constructor(kernel: FakeKernel, fd: number, pages: number) {
    this.#kernel = kernel;
    this.#base = kernel.mappings.get(`${fd}+0`)!;
    this.#bytes = pages * PAGE_SIZE;
  }

  sample(data: Uint8Array): void {
    const size = Math.ceil((12 + data.length) / 8) * 8;
    const record = new Uint8Array(size);
    new DataView(record.buffer).setUint32(0, 9, true);
    new DataView(record.buffer).setUint16(6, size, true);
    new DataView(record.buffer).setUint32(8, size - 12, true);
    record.set(data, 12);
    this.#write(record);
  }

  lost(count: number): void {
    const record = new Uint8Array(24);
    new DataView(record.buffer).setUint32(0, 2, true);
    new DataView(record.buffer).setUint16(6, 24, true);
    new DataView(record.buffer).setUint32(16, count, true);
    this.#write(record);
  }

  #write(record: Uint8Array): void {
    const { memory } = this.#kernel;
    const head = memory.readU64(this.#base + DATA_HEAD);
    record.forEach((byte, index) => {
      memory.bytes[this.#base + PAGE_SIZE + ((head + index) % this.#bytes)] = byte;
    });
    memory.writeU64(this.#base + DATA_HEAD, head + record.length);
  }
}

describe("a perf ring", () => {
  it("gives samples and losses in order, and its space back", async () => {
    const kernel = new FakeKernel();
    const buffer = await perfArray(kernel).open(1);
    const ring = new Ring(kernel, buffer.fd, 2);
    ring.sample(Uint8Array.of(1, 2, 3, 4));
    ring.lost(5);
    ring.sample(utf8Encode("abcd"));
    expect(buffer.isReadable).toBe(true);
    expect(buffer.readEvents()).toEqual({
      samples: [Uint8Array.of(1, 2, 3, 4), utf8Encode("abcd")],
      lost: 5,
    });
    expect(buffer.isReadable).toBe(false);
    expect(buffer.readEvents()).toEqual({ samples: [], lost: 0 });
    await buffer.close();
    expect(kernel.fds.size).toBe(1);
  });

  it("may wrap inside a sample", async () => {
    const kernel = new FakeKernel();
    const buffer = await perfArray(kernel).open(0, 1);
    const ring = new Ring(kernel, buffer.fd, 1);
    for (let round = 0; round < 20; round++) {
      const data = Uint8Array.from({ length: 1004 }, (_, index) => (index + round) & 0xff);
      ring.sample(data);
      expect(buffer.readEvents().samples, `round ${round}`).toEqual([data]);
    }
  });

  it.each([0, 3, 1.5])("refuses %d pages", async (pages) => {
    await expect(perfArray(new FakeKernel()).open(0, pages)).rejects.toMatchObject({
      kind: "InvalidPageCount",
    });
  });

  it("is opened, mapped, enabled and put into the map, in this order", async () => {
    const kernel = new FakeKernel();
    await perfArray(kernel).open(0);
    expect(kernel.log).toEqual(["perf_event_open", "mmap", "ioctl", "bpf MAP_UPDATE_ELEM"]);
    const attr = kernel.perfAttrs[0]!;
    expect([
      attr.getUint32(0, true),
      attr.getUint32(8, true),
      attr.getUint32(16, true),
      attr.getUint32(24, true),
      attr.getUint32(48, true),
    ]).toEqual([1, 10, 1, 0x400, 1]);
  });

  it("is read as events come, from all CPUs, and closed when the loop is left", async () => {
    const kernel = new FakeKernel();
    const rt = await Runtime.open(kernel);
    const before = kernel.fds.size;
    const events = perfArray(kernel);
    const seen: unknown[] = [];
    const emit = (cpu: number, run: (ring: Ring) => void): void => {
      const fd = Array.from(kernel.fds.entries()).filter(([, file]) => file.kind === "perf")[cpu]![0];
      run(new Ring(kernel, fd, 2));
      kernel.feed(fd, "!");
    };
    kernel.at(5, () => emit(1, (ring) => ring.sample(utf8Encode("late"))));
    kernel.at(9, () => emit(0, (ring) => (ring.sample(utf8Encode("last")), ring.lost(2))));
    await rt.blockOn(async () => {
      for await (const event of events.readable(rt)) {
        seen.push(
          event.kind === "lost" ? [event.cpu, event.count] : [event.cpu, String.fromCharCode(...event.data)],
        );
        if (event.kind === "lost") break;
      }
    });
    expect(seen).toEqual([
      [1, "late"],
      [0, "last"],
      [0, 2],
    ]);
    expect(kernel.fds.size).toBe(before + 1);
  });
});

describe("a ring buffer", () => {
  const BYTES = 4096;

  async function open(kernel: FakeKernel): Promise<{
    ring: RingBuf;
    put: (data: Uint8Array, flags?: number) => number;
    set: (at: number, header: number) => void;
  }> {
    const fd = kernel.openFd("map");
    const definition = { name: "RB", type: 27, keySize: 0, valueSize: 0, maxEntries: BYTES, flags: 0 };
    const ring = await RingBuf.open(new MapData(serialise(kernel), fd, definition));
    const producer = kernel.mappings.get(`${fd}+${PAGE_SIZE}`)!;
    const { memory } = kernel;
    const put = (data: Uint8Array, flags = 0): number => {
      const head = memory.readU64(producer);
      // Both mappings of the data show the same bytes.
      const bytes = new Uint8Array(8 + data.length);
      new DataView(bytes.buffer).setUint32(0, (data.length | flags) >>> 0, true);
      bytes.set(data, 8);
      bytes.forEach((byte, index) => {
        const at = (head + index) % BYTES;
        memory.bytes[producer + PAGE_SIZE + at] = byte;
        memory.bytes[producer + PAGE_SIZE + BYTES + at] = byte;
      });
      memory.writeU64(producer, head + Math.ceil(bytes.length / 8) * 8);
      return producer + PAGE_SIZE + (head % BYTES);
    };
    return { ring, put, set: (at, header) => memory.writeU32(at, header) };
  }

  it("gives complete records, skips discarded ones, and stops at one that is being written", async () => {
    const kernel = new FakeKernel();
    const { ring, put, set } = await open(kernel);
    put(utf8Encode("one"));
    put(utf8Encode("gone"), 0x4000_0000);
    put(utf8Encode("two"));
    const busy = put(utf8Encode("three"), 0x8000_0000);
    put(utf8Encode("four"));
    const next = (): string | undefined => {
      const bytes = ring.next();
      return bytes === undefined ? undefined : String.fromCharCode(...bytes);
    };
    expect([next(), next(), next()]).toEqual(["one", "two", undefined]);
    set(busy, 5);
    expect([next(), next(), next()]).toEqual(["three", "four", undefined]);
  });

  it("wraps without splitting a record", async () => {
    const { ring, put } = await open(new FakeKernel());
    for (let round = 0; round < 30; round++) {
      const data = Uint8Array.from({ length: 700 }, (_, index) => (index * 3 + round) & 0xff);
      put(data);
      expect(ring.next(), `round ${round}`).toEqual(data);
    }
  });
});

/** A record as the eBPF side writes it. */
function logRecord(
  level: number,
  args: readonly (readonly [kind: number, ...bytes: number[]])[],
): Uint8Array {
  const field = (kind: number, bytes: readonly number[]): number[] => [
    kind,
    bytes.length & 0xff,
    bytes.length >> 8,
    ...bytes,
  ];
  const text = (value: string): number[] => Array.from(utf8Encode(value));
  const body = [
    ...field(0, text("app")),
    ...field(1, [level]),
    ...field(2, text("app::probe")),
    ...field(3, text("src/main.rs")),
    ...field(4, [42, 0, 0, 0]),
    ...field(5, [args.length, 0, 0, 0]),
    ...args.flatMap(([kind, ...bytes]) => field(kind, bytes)),
  ];
  return Uint8Array.of(body.length & 0xff, body.length >> 8, ...body);
}

const DEFAULT = [0, 1] as const;
const string = (value: string): readonly [number, ...number[]] => [20, ...utf8Encode(value)];

describe("log records", () => {
  it("have a header and a message", () => {
    expect(parseLogRecord(logRecord(3, [DEFAULT, string("pid "), DEFAULT, [8, 57, 48, 0, 0]]))).toEqual({
      level: "info",
      target: "app",
      module: "app::probe",
      file: "src/main.rs",
      line: 42,
      message: "pid 12345",
    });
  });

  it.each<[string, number, readonly [number, ...number[]], string]>([
    ["i8", 1, [1, 0xff], "-1"],
    ["i64", 1, [4, 0, 0, 0, 0, 0, 0, 0, 0x80], "-9223372036854775808"],
    ["u64", 1, [9, 255, 255, 255, 255, 255, 255, 255, 255], "18446744073709551615"],
    ["i32 as hexadecimal", 2, [3, 0xfe, 0xff, 0xff, 0xff], "fffffffe"],
    ["u16 as upper-case hexadecimal", 3, [7, 0xef, 0xbe], "BEEF"],
    ["u32 as address", 4, [8, 1, 0, 168, 192], "192.168.0.1"],
    ["[u8; 4] as address", 4, [15, 10, 0, 0, 1], "10.0.0.1"],
    ["[u8; 16] as address", 4, [17, 0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], "fe80::1"],
    ["[u16; 8] as address", 4, [18, 1, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0], "2001::5"],
    ["hardware address", 5, [16, 1, 2, 0xab, 4, 5, 6], "01:02:ab:04:05:06"],
    ["hardware address, upper case", 6, [16, 1, 2, 0xab, 4, 5, 6], "01:02:AB:04:05:06"],
    ["bytes as hexadecimal", 2, [19, 0xde, 0xad], "dead"],
    ["bytes as string", 8, [19, 0x73, 0x68, 0, 0], "sh"],
    ["pointer", 7, [21, 0x40, 0, 0, 0, 0x80, 0xff, 0xff, 0xff], "0xffffff8000000040"],
    ["f64", 1, [12, 0, 0, 0, 0, 0, 0, 0xf8, 0x3f], "1.5"],
  ])("show %s", (_, hint, argument, expected) => {
    expect(parseLogRecord(logRecord(5, [[0, hint], argument]))?.message).toBe(expected);
  });

  it("that are malformed are none", () => {
    const good = logRecord(1, [DEFAULT, string("x")]);
    for (let length = 0; length < good.length; length++)
      expect(parseLogRecord(good.subarray(0, length))).toBeUndefined();
    expect(parseLogRecord(logRecord(9, []))).toBeUndefined();
    expect(parseLogRecord(logRecord(1, [[99, 1]]))).toBeUndefined();
  });

  it("come from a perf event array, padding and malformed ones and all", async () => {
    const kernel = new FakeKernel();
    const { map } = perfArray(kernel);
    const records: LogRecord[] = [];
    const logger = await EbpfLogger.init({ map: () => map }, (record) => records.push(record));
    const ring = new Ring(kernel, logger.fds[1]!, 2);
    ring.sample(logRecord(2, [DEFAULT, string("careful")]));
    ring.sample(Uint8Array.of(200, 0, 1));
    ring.lost(3);
    logger.flush();
    expect(records.map(({ level, message }) => [level, message])).toEqual([["warn", "careful"]]);
    expect([logger.malformed, logger.lost]).toEqual([1, 3]);
    await logger.close();
    expect(kernel.fds.size).toBe(1);
  });
});
