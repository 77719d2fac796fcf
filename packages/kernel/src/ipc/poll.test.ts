/** poll, select, FIFOs; the calls that tokio's runtime makes, in its order. */
import {
  AF,
  CLOCK,
  EAGAIN,
  EBADF,
  ECANCELED,
  EINVAL,
  ENXIO,
  EPOLL,
  ERESTARTNOHAND,
  F,
  MSG,
  NR,
  O,
  POLL,
  S,
  SIG,
  SI,
  SOCK,
  TFD,
  utf8Encode,
} from "@alien-ts/abi";
import { describe, expect, test } from "vitest";
import type { Blocking } from "../core/row.ts";
import { sendToProcess, siginfo } from "../task/signal.ts";
import { do_mknodat } from "../vfs/namei-ops.ts";
import { getname_kernel } from "../vfs/filename.ts";
import { ipcKernel, leaksOf, type Program, runProgram, startProgram } from "../testing-program.ts";
import { timerfd_clock_was_set } from "./timerfd.ts";

const one = (p: Program): number => p.put([1, 0, 0, 0, 0, 0, 0, 0]);
const none = (p: Program): number => p.put(new Uint8Array(16));

describe("poll and select", () => {
  test("poll reports each file's events; bad descriptors are NVAL, negative ones are skipped", () => {
    runProgram(ipcKernel(), function* (p) {
      const fd = yield* p.call(NR.eventfd2, 1, 0);
      const events = POLL.IN | POLL.OUT;
      const fds = p.words(fd, events, 99, events, 0xffff_ffff, events);
      expect(yield* p.call(NR.ppoll, fds, 3, 0, 0, 0)).toBe(2);
      expect([4, 12, 20].map((at) => p.word(fds + at) >>> 16)).toEqual([events, POLL.NVAL, 0]);
    });
  });

  test("poll sleeps until one of the files is ready, and the rest of the time is written back", () => {
    const kernel = ipcKernel();
    runProgram(kernel, function* (p) {
      const fds = [yield* p.call(NR.eventfd2, 0, 0), yield* p.call(NR.eventfd2, 0, 0)];
      startProgram(
        kernel,
        "writer",
        function* (w) {
          yield* w.call(NR.ppoll, 0, 0, w.words(0, 0, 2_000_000, 0), 0, 0);
          yield* w.call(NR.write, fds[1]!, one(w), 8);
        },
        p,
      );
      const time = p.words(1, 0, 0, 0);
      expect(yield* p.call(NR.ppoll, p.words(fds[0]!, POLL.IN, fds[1]!, POLL.IN), 2, time, 0, 0)).toBe(1);
      expect(p.word(time)).toBe(0);
      expect(p.word(time + 8)).toBeLessThan(999_000_000);
      expect(p.word(time + 8)).toBeGreaterThan(990_000_000);
    });
  });

  test("a signal ends ppoll with ERESTARTNOHAND, under the mask of the call", () => {
    const kernel = ipcKernel();
    runProgram(kernel, function* (p) {
      const { task } = p.cx;
      task.blocked = 1n << BigInt(SIG.USR1 - 1);
      sendToProcess(p.cx, task.process, siginfo(SIG.USR1, SI.USER));
      expect(yield* p.call(NR.ppoll, 0, 0, p.words(0, 0, 1_000_000, 0), 0, 0)).toBe(0);
      expect(yield* p.call(NR.ppoll, 0, 0, 0, p.words(0, 0), 8)).toBe(-ERESTARTNOHAND.number);
      expect(task.savedBlocked).toBe(1n << BigInt(SIG.USR1 - 1));
      expect(yield* p.call(NR.ppoll, 0, 0, 0, p.words(0, 0), 4)).toBe(-EINVAL.number);
      task.process.pending.mask = 0n;
      task.process.pending.queue.length = 0;
      task.hasPendingSignal = false;
    });
  });

  test("select gives the ready descriptors of its sets, and EBADF for a closed one", () => {
    runProgram(ipcKernel(), function* (p) {
      const ready = yield* p.call(NR.eventfd2, 1, 0);
      const empty = yield* p.call(NR.eventfd2, 0, 0);
      const both = (1 << ready) | (1 << empty);
      const [reads, writes] = [p.words(both, 0), p.words(both, 0)];
      expect(yield* p.call(NR.pselect6, 8, reads, writes, 0, none(p), 0)).toBe(3);
      expect([p.word(reads), p.word(writes)]).toEqual([1 << ready, both]);
      expect(yield* p.call(NR.pselect6, 64, p.words(1 << 20, 0), 0, 0, none(p), 0)).toBe(-EBADF.number);
      expect(yield* p.call(NR.pselect6, -1, 0, 0, 0, none(p), 0)).toBe(-EINVAL.number);
    });
  });
});

describe("FIFOs", () => {
  function fifo(p: Program): number {
    const name = getname_kernel(p.cx.kernel, "/fifo");
    expect(do_mknodat(p.cx, -100, name as never, S.IFIFO | 0o600, 0)).toBe(0);
    return path(p);
  }
  const path = (p: Program): number => p.put([...utf8Encode("/fifo"), 0]);

  test("opening to read sleeps until someone opens to write", () => {
    const kernel = ipcKernel();
    runProgram(kernel, function* (p) {
      const name = fifo(p);
      startProgram(kernel, "writer", function* (w) {
        const fd = yield* w.call(NR.openat, -100, path(w), O.WRONLY, 0);
        yield* w.call(NR.write, fd, w.put([5]), 1);
      });
      const fd = yield* p.call(NR.openat, -100, name, O.RDONLY, 0);
      const buffer = p.room(4);
      expect(yield* p.call(NR.read, fd, buffer, 4)).toBe(1);
      expect(yield* p.call(NR.read, fd, buffer, 4)).toBe(0);
    });
  });

  test("without waiting a reader gets an empty file that is not hung up, a lonely writer ENXIO", () => {
    const kernel = ipcKernel();
    runProgram(kernel, function* (p) {
      const name = fifo(p);
      expect(yield* p.call(NR.openat, -100, name, O.WRONLY | O.NONBLOCK, 0)).toBe(-ENXIO.number);
      const fd = yield* p.call(NR.openat, -100, name, O.RDONLY | O.NONBLOCK, 0);
      const entry = p.words(fd, POLL.IN);
      expect(yield* p.call(NR.ppoll, entry, 1, none(p), 0, 0)).toBe(0);
      const writer = yield* p.call(NR.openat, -100, name, O.WRONLY, 0);
      yield* p.call(NR.close, writer);
      expect(yield* p.call(NR.ppoll, entry, 1, none(p), 0, 0)).toBe(1);
      expect(p.word(entry + 4) >>> 16).toBe(POLL.HUP);
    });
  });
});

test("setting the real-time clock cancels a timer that asked for it", () => {
  const kernel = ipcKernel();
  runProgram(kernel, function* (p) {
    const fd = yield* p.call(NR.timerfd_create, CLOCK.REALTIME, TFD.NONBLOCK);
    const { sec } = kernel.clock.realTime();
    const flags = TFD.TIMER_ABSTIME | TFD.TIMER_CANCEL_ON_SET;
    const at = p.words(0, 0, 0, 0, sec + 100, 0, 0, 0);
    expect(yield* p.call(NR.timerfd_settime, fd, flags, at, 0)).toBe(0);
    kernel.clock.setRealTime({ sec: sec + 90, nsec: 0 });
    timerfd_clock_was_set(p.cx);
    const buffer = p.room(32);
    expect(yield* p.call(NR.read, fd, buffer, 8)).toBe(-ECANCELED.number);
    expect(yield* p.call(NR.timerfd_gettime, fd, buffer)).toBe(0);
    expect(p.word(buffer + 16)).toBeLessThanOrEqual(10);
    expect(p.word(buffer + 16)).toBeGreaterThanOrEqual(9);
  });
});

test.each([
  ["called directly", 0],
  ["called through their text", 1],
])("tokio's runtime starts, sleeps, waits, and leaves nothing behind: functions are %s", (_how, armed) => {
  const kernel = ipcKernel();
  kernel.text.armed.fill(armed);
  const edge = (POLL.IN | POLL.RDHUP | EPOLL.ET) >>> 0;
  const leaks = leaksOf(kernel, () =>
    runProgram(kernel, function* (p) {
      const events = p.room(16 * 1024);
      const wait = (timeout: number): Blocking<number> =>
        p.call(NR.epoll_pwait, 3, events, 1024, timeout, 0, 0);
      const ctl = (ep: number, op: number, fd: number, data: number): Blocking<number> =>
        p.call(NR.epoll_ctl, ep, op, fd, p.words(edge, 0, data, 0));
      for (let fd = 0; fd < 3; fd++) expect(yield* p.call(NR.eventfd2, 0, 0)).toBe(fd);
      expect(yield* p.call(NR.epoll_create1, EPOLL.CLOEXEC)).toBe(3);
      expect(yield* p.call(NR.eventfd2, 0, O.CLOEXEC | O.NONBLOCK)).toBe(4);
      expect(yield* ctl(3, EPOLL.CTL_ADD, 4, 0)).toBe(0);
      expect(yield* p.call(NR.fcntl, 3, F.DUPFD_CLOEXEC, 3)).toBe(5);
      const pair = p.room(8);
      const type = SOCK.STREAM | SOCK.CLOEXEC | SOCK.NONBLOCK;
      expect(yield* p.call(NR.socketpair, AF.UNIX, type, 0, pair)).toBe(0);
      expect([p.word(pair), p.word(pair + 4)]).toEqual([6, 7]);
      expect(yield* p.call(NR.fcntl, 6, F.DUPFD_CLOEXEC, 3)).toBe(8);
      expect(yield* ctl(5, EPOLL.CTL_ADD, 8, 1)).toBe(0);
      expect(yield* wait(0)).toBe(0);
      // sleep(5 ms): the driver is unparked, and then waits.
      expect(yield* p.call(NR.write, 4, one(p), 8)).toBe(8);
      expect([yield* wait(6), yield* wait(6)]).toEqual([1, 0]);
      // AsyncFd
      expect(yield* p.call(NR.eventfd2, 0, O.CLOEXEC | O.NONBLOCK)).toBe(9);
      expect(yield* ctl(5, EPOLL.CTL_ADD, 9, 658_641_024)).toBe(0);
      expect(yield* p.call(NR.write, 9, one(p), 8)).toBe(8);
      expect(yield* wait(-1)).toBe(1);
      expect([p.word(events), p.word(events + 8)]).toEqual([POLL.IN, 658_641_024]);
      expect(yield* p.call(NR.epoll_ctl, 5, EPOLL.CTL_DEL, 9, 0)).toBe(0);
      expect(yield* p.call(NR.close, 9)).toBe(0);
      // ctrl_c: the handler writes to the socket pair.
      expect(yield* p.call(NR.sendto, 7, p.put([1]), 1, MSG.NOSIGNAL, 0, 0)).toBe(1);
      expect(yield* wait(-1)).toBe(1);
      expect([p.word(events), p.word(events + 8)]).toEqual([POLL.IN, 1]);
      const buffer = p.room(128);
      expect(yield* p.call(NR.recvfrom, 8, buffer, 128, 0, 0, 0)).toBe(1);
      expect(yield* p.call(NR.recvfrom, 8, buffer, 128, 0, 0, 0)).toBe(-EAGAIN.number);
    }),
  );
  expect(leaks).toEqual(new Map());
});
