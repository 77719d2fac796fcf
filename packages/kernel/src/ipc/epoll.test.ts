/** epoll, eventfd, timerfd, signalfd, pidfd: what waits and what wakes it. */
import {
  EAGAIN,
  EEXIST,
  EINTR,
  EINVAL,
  ELOOP,
  ENOENT,
  EPERM,
  EPOLL,
  NR,
  O,
  POLL,
  SIG,
  SI,
} from "@alien-ts/abi";
import { Prng } from "@alien-ts/testkit";
import { describe, expect, test } from "vitest";
import type { Blocking } from "../core/row.ts";
import type { Kernel } from "../core/kernel.ts";
import { sendToProcess, siginfo } from "../task/signal.ts";
import { ipcKernel, leaksOf, type Program, runProgram, startProgram } from "../testing-program.ts";

const ET = EPOLL.ET;

function* eventfd(p: Program, count = 0, flags: number = O.NONBLOCK): Blocking<number> {
  return yield* p.call(NR.eventfd2, count, flags);
}

function* add(
  p: Program,
  ep: number,
  fd: number,
  events: number,
  data = fd,
  op: number = EPOLL.CTL_ADD,
): Blocking<number> {
  return yield* p.call(NR.epoll_ctl, ep, op, fd, p.words(events >>> 0, 0, data, 0));
}

/** Events as [data, events]. */
function* wait(p: Program, ep: number, timeout: number, max = 8): Blocking<number | [number, number][]> {
  const buffer = p.room(16 * max);
  const count = yield* p.call(NR.epoll_pwait, ep, buffer, max, timeout, 0, 0);
  if (count < 0) return count;
  return Array.from({ length: count }, (_, i): [number, number] => [
    p.word(buffer + 16 * i + 8),
    p.word(buffer + 16 * i),
  ]);
}

const one = (p: Program): number => p.put([1, 0, 0, 0, 0, 0, 0, 0]);

describe("epoll", () => {
  test("a level-triggered file is reported until it is read", () => {
    runProgram(ipcKernel(), function* (p) {
      const ep = yield* p.call(NR.epoll_create1, 0);
      const fd = yield* eventfd(p, 1);
      expect(yield* add(p, ep, fd, POLL.IN)).toBe(0);
      expect(yield* wait(p, ep, 0)).toEqual([[fd, POLL.IN]]);
      expect(yield* wait(p, ep, 0)).toEqual([[fd, POLL.IN]]);
      yield* p.call(NR.read, fd, p.room(8), 8);
      expect(yield* wait(p, ep, 0)).toEqual([]);
    });
  });

  test("an edge-triggered file is reported once per change", () => {
    runProgram(ipcKernel(), function* (p) {
      const ep = yield* p.call(NR.epoll_create1, 0);
      const fd = yield* eventfd(p, 1);
      yield* add(p, ep, fd, (POLL.IN | ET) >>> 0);
      expect(yield* wait(p, ep, 0)).toEqual([[fd, POLL.IN]]);
      expect(yield* wait(p, ep, 0)).toEqual([]);
      yield* p.call(NR.write, fd, one(p), 8);
      expect(yield* wait(p, ep, 0)).toEqual([[fd, POLL.IN]]);
      expect(yield* wait(p, ep, 0)).toEqual([]);
    });
  });

  test("a one-shot file is reported once, until it is armed again", () => {
    runProgram(ipcKernel(), function* (p) {
      const ep = yield* p.call(NR.epoll_create1, 0);
      const fd = yield* eventfd(p, 1);
      yield* add(p, ep, fd, POLL.IN | EPOLL.ONESHOT);
      expect(yield* wait(p, ep, 0)).toEqual([[fd, POLL.IN]]);
      expect(yield* wait(p, ep, 0)).toEqual([]);
      yield* add(p, ep, fd, POLL.IN | EPOLL.ONESHOT, 77, EPOLL.CTL_MOD);
      expect(yield* wait(p, ep, 0)).toEqual([[77, POLL.IN]]);
    });
  });

  test("files are reported in the order in which they became ready; the rest of a long list comes first next time", () => {
    runProgram(ipcKernel(), function* (p) {
      const ep = yield* p.call(NR.epoll_create1, 0);
      const fds: number[] = [];
      for (let i = 0; i < 3; i++) fds.push(yield* eventfd(p));
      for (const fd of fds) yield* add(p, ep, fd, (POLL.IN | ET) >>> 0);
      for (const i of [2, 0, 1]) yield* p.call(NR.write, fds[i]!, one(p), 8);
      expect(yield* wait(p, ep, 0, 2)).toEqual([fds[2], fds[0]].map((fd) => [fd, POLL.IN]));
      expect(yield* wait(p, ep, 0, 2)).toEqual([[fds[1], POLL.IN]]);
    });
  });

  test("epoll_wait sleeps until a writer makes a file ready, or the time is over", () => {
    const kernel = ipcKernel();
    runProgram(kernel, function* (p) {
      const ep = yield* p.call(NR.epoll_create1, 0);
      const fd = yield* eventfd(p);
      yield* add(p, ep, fd, POLL.IN);
      const before = kernel.clock.nowNs();
      expect(yield* wait(p, ep, 5)).toEqual([]);
      expect(kernel.clock.nowNs() - before).toBeGreaterThanOrEqual(5_000_000);
      startProgram(kernel, "writer", (writer) => writeOne(writer, fd), p);
      expect(yield* wait(p, ep, -1)).toEqual([[fd, POLL.IN]]);
    });
  });

  function* writeOne(writer: Program, fd: number): Blocking<void> {
    yield* writer.call(NR.write, fd, one(writer), 8);
  }

  test("a closed file is forgotten; a second close of a copy does it only with the last", () => {
    runProgram(ipcKernel(), function* (p) {
      const ep = yield* p.call(NR.epoll_create1, 0);
      const fd = yield* eventfd(p, 1);
      const copy = yield* p.call(NR.dup, fd);
      yield* add(p, ep, fd, POLL.IN);
      yield* p.call(NR.close, fd);
      expect(yield* wait(p, ep, 0)).toEqual([[fd, POLL.IN]]);
      yield* p.call(NR.close, copy);
      expect(yield* wait(p, ep, 0)).toEqual([]);
    });
  });

  test("bad requests get Linux's errors", () => {
    runProgram(ipcKernel(), function* (p) {
      const ep = yield* p.call(NR.epoll_create1, 0);
      const fd = yield* eventfd(p);
      const memory = yield* p.call(NR.memfd_create, p.put([109, 0]), 0);
      expect(yield* add(p, ep, memory, POLL.IN)).toBe(-EPERM.number);
      expect(yield* add(p, ep, ep, POLL.IN)).toBe(-EINVAL.number);
      expect(yield* add(p, fd, ep, POLL.IN)).toBe(-EINVAL.number);
      expect(yield* add(p, ep, fd, POLL.IN)).toBe(0);
      expect(yield* add(p, ep, fd, POLL.IN)).toBe(-EEXIST.number);
      expect(yield* p.call(NR.epoll_ctl, ep, EPOLL.CTL_DEL, fd, 0)).toBe(0);
      expect(yield* p.call(NR.epoll_ctl, ep, EPOLL.CTL_DEL, fd, 0)).toBe(-ENOENT.number);
      expect(yield* add(p, ep, fd, POLL.IN | EPOLL.EXCLUSIVE | EPOLL.ONESHOT)).toBe(-EINVAL.number);
      expect(yield* p.call(NR.epoll_pwait, ep, p.room(16), 0, 0, 0, 0)).toBe(-EINVAL.number);
    });
  });

  test("an epoll file is watched by another, but not in a circle nor too deep", () => {
    runProgram(ipcKernel(), function* (p) {
      const eps: number[] = [];
      for (let i = 0; i < 7; i++) eps.push(yield* p.call(NR.epoll_create1, 0));
      const fd = yield* eventfd(p, 1);
      yield* add(p, eps[0]!, fd, POLL.IN);
      for (let i = 1; i <= 4; i++) expect(yield* add(p, eps[i]!, eps[i - 1]!, POLL.IN)).toBe(0);
      expect(yield* add(p, eps[5]!, eps[4]!, POLL.IN)).toBe(-ELOOP.number);
      expect(yield* add(p, eps[0]!, eps[4]!, POLL.IN)).toBe(-ELOOP.number);
      expect(yield* wait(p, eps[4]!, 0)).toEqual([[eps[3], POLL.IN]]);
    });
  });

  test("a signal ends the wait with EINTR", () => {
    const kernel = ipcKernel();
    runProgram(kernel, function* (p) {
      const ep = yield* p.call(NR.epoll_create1, 0);
      // oxlint-disable-next-line require-yield -- a task that never sleeps
      startProgram(kernel, "killer", function* (killer) {
        sendToProcess(killer.cx, p.cx.task.process, siginfo(SIG.TERM, SI.USER));
      });
      expect(yield* wait(p, ep, -1)).toBe(-EINTR.number);
      forgetSignals(p);
    });
  });
});

function forgetSignals(p: Program): void {
  p.cx.task.process.pending.mask = 0n;
  p.cx.task.process.pending.queue.length = 0;
  p.cx.task.hasPendingSignal = false;
}

describe("eventfd", () => {
  test("reads take the counter, or 1 of a semaphore; an empty one is EAGAIN", () => {
    runProgram(ipcKernel(), function* (p) {
      const [counter, semaphore] = [yield* eventfd(p, 3), yield* eventfd(p, 2, O.NONBLOCK | 1)];
      const buffer = p.room(8);
      const read = function* (fd: number): Blocking<number> {
        const result = yield* p.call(NR.read, fd, buffer, 8);
        return result < 0 ? result : p.word(buffer);
      };
      expect([yield* read(counter), yield* read(counter)]).toEqual([3, -EAGAIN.number]);
      expect([yield* read(semaphore), yield* read(semaphore), yield* read(semaphore)]).toEqual([
        1,
        1,
        -EAGAIN.number,
      ]);
    });
  });

  test("a write that would overflow is EAGAIN; all ones is EINVAL", () => {
    runProgram(ipcKernel(), function* (p) {
      const fd = yield* eventfd(p, 1);
      const max = p.put([0xfe, 255, 255, 255, 255, 255, 255, 255]);
      expect(yield* p.call(NR.write, fd, max, 8)).toBe(-EAGAIN.number);
      expect(yield* p.call(NR.write, fd, p.put(new Uint8Array(8).fill(255)), 8)).toBe(-EINVAL.number);
      expect(yield* p.call(NR.write, fd, max, 7)).toBe(-EINVAL.number);
    });
  });
});

describe("timerfd, signalfd, pidfd", () => {
  test("a periodic timer counts the periods that passed", () => {
    const kernel = ipcKernel();
    runProgram(kernel, function* (p) {
      const fd = yield* p.call(NR.timerfd_create, 1, 0);
      const setting = p.words(0, 0, 10_000_000, 0, 0, 0, 10_000_000, 0);
      expect(yield* p.call(NR.timerfd_settime, fd, 0, setting, 0)).toBe(0);
      const buffer = p.room(8);
      expect(yield* p.call(NR.read, fd, buffer, 8)).toBe(8);
      expect(p.word(buffer)).toBe(1);
      kernel.clock.advanceTo(kernel.clock.nowNs() + 35_000_000);
      kernel.sched.runTimers();
      expect(yield* p.call(NR.read, fd, buffer, 8)).toBe(8);
      expect(p.word(buffer)).toBe(3);
    });
  });

  test("a pending signal is read from a signalfd", () => {
    runProgram(ipcKernel(), function* (p) {
      const mask = p.words(1 << (SIG.USR1 - 1), 0);
      p.cx.task.blocked = 1n << BigInt(SIG.USR1 - 1);
      const fd = yield* p.call(NR.signalfd4, -1, mask, 8, O.NONBLOCK);
      const buffer = p.room(128);
      expect(yield* p.call(NR.read, fd, buffer, 128)).toBe(-EAGAIN.number);
      sendToProcess(p.cx, p.cx.task.process, { ...siginfo(SIG.USR1, SI.USER), pid: 42 });
      expect(yield* p.call(NR.read, fd, buffer, 128)).toBe(128);
      expect([p.word(buffer), p.word(buffer + 12)]).toEqual([SIG.USR1, 42]);
    });
  });

  test("a pidfd becomes readable when its process ends", () => {
    const kernel = ipcKernel();
    runProgram(kernel, function* (p) {
      const child = startProgram(kernel, "child", function* (c) {
        yield* c.call(NR.epoll_pwait, yield* c.call(NR.epoll_create1, 0), c.room(16), 1, 20, 0, 0);
      });
      const fd = yield* p.call(NR.pidfd_open, child.pid, 0);
      const entry = p.words(fd, POLL.IN);
      expect(yield* p.call(NR.ppoll, entry, 1, p.put(new Uint8Array(16)), 0, 0)).toBe(0);
      expect(yield* p.call(NR.ppoll, entry, 1, 0, 0, 0)).toBe(1);
      expect((p.word(entry + 4) >>> 16) & POLL.IN).toBe(POLL.IN);
    });
  });
});

test("after any history a level-triggered epoll reports exactly the files that poll reports", () => {
  const seed = 77;
  runProgram(ipcKernel(), function* (p) {
    const random = new Prng(seed);
    const ep = yield* p.call(NR.epoll_create1, 0);
    const fds: number[] = [];
    for (let i = 0; i < 6; i++) fds.push(yield* eventfd(p));
    const watched = new Map<number, number>();
    const word = one(p);
    const [buffer, entry, none] = [p.room(16 * 8), p.room(8), p.put(new Uint8Array(16))];
    const event = p.room(16);
    for (let step = 0; step < 300; step++) {
      const fd = fds[random.below(fds.length)]!;
      const events = [POLL.IN, POLL.OUT, POLL.IN | POLL.OUT, 0][random.below(4)]!;
      const isWatched = watched.has(fd);
      switch (random.below(5)) {
        case 0:
          yield* p.call(NR.write, fd, word, 8);
          break;
        case 1:
          yield* p.call(NR.read, fd, buffer, 8);
          break;
        case 2:
          p.write(event, new Uint8Array(Uint32Array.of(events, 0, fd, 0).buffer));
          yield* p.call(NR.epoll_ctl, ep, isWatched ? EPOLL.CTL_MOD : EPOLL.CTL_ADD, fd, event);
          watched.set(fd, events);
          break;
        case 3:
          yield* p.call(NR.epoll_ctl, ep, EPOLL.CTL_DEL, fd, 0);
          watched.delete(fd);
          break;
        default:
          break;
      }
      const expected: number[] = [];
      for (const [file, wanted] of watched) {
        p.write(entry, new Uint8Array(Uint32Array.of(file, wanted).buffer));
        if ((yield* p.call(NR.ppoll, entry, 1, none, 0, 0)) === 1) expected.push(file);
      }
      const count = yield* p.call(NR.epoll_pwait, ep, buffer, 8, 0, 0, 0);
      const got = Array.from({ length: count }, (_, i) => p.word(buffer + 16 * i + 8));
      expect(got.sort(), `seed ${seed}, step ${step}`).toEqual(expected.sort());
    }
  });
});

test("everything that waits gives its memory back", () => {
  const kernel: Kernel = ipcKernel();
  const leaks = leaksOf(kernel, () =>
    runProgram(kernel, function* (p) {
      const ep = yield* p.call(NR.epoll_create1, 0);
      const fds = [yield* eventfd(p, 1), yield* p.call(NR.timerfd_create, 1, 0), ep];
      for (const fd of fds) yield* add(p, ep, fd, POLL.IN);
      yield* wait(p, ep, 0);
      yield* p.call(NR.ppoll, p.words(fds[0]!, POLL.OUT), 1, 0, 0, 0);
    }),
  );
  expect(leaks).toEqual(new Map());
});
