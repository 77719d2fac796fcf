/** Pipes: what readers and writers see, and a model of one. */
import { EAGAIN, EPIPE, F, NR, O, POLL } from "@alien-ts/abi";
import { Prng } from "@alien-ts/testkit";
import { describe, expect, test } from "vitest";
import type { Blocking } from "../core/row.ts";
import { ipcKernel, leaksOf, type Program, runProgram, startProgram } from "../testing-program.ts";

function* pipe(p: Program, flags = 0): Blocking<{ read: number; write: number }> {
  const fds = p.room(8);
  expect(yield* p.call(NR.pipe2, fds, flags)).toBe(0);
  return { read: p.word(fds), write: p.word(fds + 4) };
}

function* poll(p: Program, fd: number, events: number): Blocking<number> {
  const entry = p.words(fd, events);
  yield* p.call(NR.ppoll, entry, 1, p.put(new Uint8Array(16)), 0, 0);
  return p.word(entry + 4) >>> 16;
}

describe("pipes", () => {
  test("read on an empty pipe sleeps until a write", () => {
    const kernel = ipcKernel();
    const events: string[] = [];
    runProgram(kernel, function* (p) {
      const ends = yield* pipe(p);
      startProgram(
        kernel,
        "writer",
        function* (writer) {
          events.push("write");
          yield* writer.call(NR.write, ends.write, writer.put([104, 105]), 2);
        },
        p,
      );
      events.push("read");
      const buffer = p.room(8);
      const count = yield* p.call(NR.read, ends.read, buffer, 8);
      events.push(p.text(buffer, count));
    });
    expect(events).toEqual(["read", "write", "hi"]);
  });

  test("reads of a closed pipe return what is left, then 0", () => {
    runProgram(ipcKernel(), function* (p) {
      const ends = yield* pipe(p);
      yield* p.call(NR.write, ends.write, p.put([1, 2, 3]), 3);
      yield* p.call(NR.close, ends.write);
      const buffer = p.room(8);
      expect(yield* p.call(NR.read, ends.read, buffer, 8)).toBe(3);
      expect(yield* p.call(NR.read, ends.read, buffer, 8)).toBe(0);
      expect(yield* poll(p, ends.read, POLL.IN)).toBe(POLL.HUP);
    });
  });

  test("a write without readers is EPIPE with SIGPIPE pending", () => {
    runProgram(ipcKernel(), function* (p) {
      const ends = yield* pipe(p);
      yield* p.call(NR.close, ends.read);
      expect(yield* poll(p, ends.write, POLL.OUT)).toBe(POLL.OUT | POLL.ERR);
      expect(yield* p.call(NR.write, ends.write, p.room(1), 1)).toBe(-EPIPE.number);
      expect(p.cx.task.pending.mask).toBe(1n << 12n);
      p.cx.task.pending.mask = 0n;
      p.cx.task.hasPendingSignal = false;
    });
  });

  test("a pipe holds 64 KiB, and a page-sized write fits whole or not at all", () => {
    runProgram(ipcKernel(), function* (p) {
      const ends = yield* pipe(p, O.NONBLOCK);
      const data = p.room(65_536);
      expect(yield* p.call(NR.write, ends.write, data, 65_535)).toBe(65_535);
      expect(yield* p.call(NR.write, ends.write, data, 4096)).toBe(-EAGAIN.number);
      expect(yield* p.call(NR.write, ends.write, data, 1)).toBe(1);
      expect(yield* p.call(NR.write, ends.write, data, 1)).toBe(-EAGAIN.number);
      expect(yield* poll(p, ends.write, POLL.OUT)).toBe(0);
      expect(yield* p.call(NR.read, ends.read, data, 4095)).toBe(4095);
      expect(yield* p.call(NR.write, ends.write, data, 4096)).toBe(-EAGAIN.number);
      expect(yield* p.call(NR.read, ends.read, data, 1)).toBe(1);
      expect(yield* p.call(NR.write, ends.write, data, 4096)).toBe(4096);
    });
  });

  test("packets keep their boundaries, and the rest of a packet is dropped", () => {
    runProgram(ipcKernel(), function* (p) {
      const ends = yield* pipe(p, O.DIRECT);
      const buffer = p.room(64);
      yield* p.call(NR.write, ends.write, p.put([1, 2, 3]), 3);
      yield* p.call(NR.write, ends.write, p.put([4, 5]), 2);
      expect(yield* p.call(NR.read, ends.read, buffer, 2)).toBe(2);
      expect(yield* p.call(NR.read, ends.read, buffer, 64)).toBe(2);
      expect([...p.read(buffer, 2)]).toEqual([4, 5]);
    });
  });

  test("F_SETPIPE_SZ rounds up to a power of two of pages, and refuses to lose data", () => {
    runProgram(ipcKernel(), function* (p) {
      const ends = yield* pipe(p);
      expect(yield* p.call(NR.fcntl, ends.read, F.GETPIPE_SZ, 0)).toBe(65_536);
      yield* p.call(NR.write, ends.write, p.room(10_000), 10_000);
      expect(yield* p.call(NR.fcntl, ends.write, F.SETPIPE_SZ, 4096)).toBe(-16);
      expect(yield* p.call(NR.fcntl, ends.write, F.SETPIPE_SZ, 20_000)).toBe(32_768);
      expect(yield* p.call(NR.read, ends.read, p.room(10_000), 10_000)).toBe(10_000);
    });
  });

  test("random reads and writes give the bytes in order, and nothing is left allocated", () => {
    const kernel = ipcKernel();
    const seed = 20_251;
    const leaks = leaksOf(kernel, () =>
      runProgram(kernel, function* (p) {
        const random = new Prng(seed);
        const ends = yield* pipe(p, O.NONBLOCK);
        const buffer = p.room(9000);
        let next = 0;
        const model: number[] = [];
        for (let step = 0; step < 400; step++) {
          const size = 1 + random.below(random.below(4) === 0 ? 9000 : 300);
          if (random.below(2) === 0) {
            const data = Uint8Array.from({ length: size }, (_, i) => (next + i) & 0xff);
            p.write(buffer, data);
            const written = yield* p.call(NR.write, ends.write, buffer, size);
            if (written < 0) expect(written, `seed ${seed}`).toBe(-EAGAIN.number);
            else {
              if (size <= 4096) expect(written, `seed ${seed}: a short write is atomic`).toBe(size);
              model.push(...data.subarray(0, written));
              next += written;
            }
          } else {
            const count = yield* p.call(NR.read, ends.read, buffer, size);
            if (model.length === 0) expect(count, `seed ${seed}`).toBe(-EAGAIN.number);
            else {
              expect(count, `seed ${seed}`).toBe(Math.min(size, model.length));
              expect([...p.read(buffer, count)], `seed ${seed}`).toEqual(model.splice(0, count));
            }
          }
        }
      }),
    );
    expect(leaks).toEqual(new Map());
  });
});
