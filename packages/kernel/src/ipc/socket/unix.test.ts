/** Local sockets: pairs, messages, connections, ancillary data. */
import {
  AF,
  EAFNOSUPPORT,
  EAGAIN,
  ECONNREFUSED,
  ECONNRESET,
  EINVAL,
  ENOTCONN,
  ENOTSOCK,
  EPIPE,
  IOCTL,
  MSG,
  NR,
  POLL,
  SHUT,
  SOCK,
} from "@alien-ts/abi";
import { describe, expect, test } from "vitest";
import type { Blocking } from "../../core/row.ts";
import { ipcKernel, leaksOf, type Program, runProgram, startProgram } from "../../testing-program.ts";
import { SO, SOL_SOCKET } from "./structs.ts";

function* pair(p: Program, type: number = SOCK.STREAM): Blocking<[number, number]> {
  const fds = p.room(8);
  expect(yield* p.call(NR.socketpair, AF.UNIX, type, 0, fds)).toBe(0);
  return [p.word(fds), p.word(fds + 4)];
}

const send = (p: Program, fd: number, data: readonly number[], flags = 0): Blocking<number> =>
  p.call(NR.sendto, fd, p.put(data), data.length, flags, 0, 0);

function* receive(
  p: Program,
  fd: number,
  size: number,
  flags: number = MSG.DONTWAIT,
): Blocking<number | number[]> {
  const buffer = p.room(size);
  const count = yield* p.call(NR.recvfrom, fd, buffer, size, flags, 0, 0);
  return count < 0 ? count : [...p.read(buffer, count)];
}

function* events(p: Program, fd: number): Blocking<number> {
  const entry = p.words(fd, POLL.IN | POLL.OUT | POLL.RDHUP);
  yield* p.call(NR.ppoll, entry, 1, p.put(new Uint8Array(16)), 0, 0);
  return p.word(entry + 4) >>> 16;
}

/** A msghdr with one buffer and control data. */
function messageOf(p: Program, buffer: number, size: number, control: number, controlSize: number): number {
  const vector = p.words(buffer, Math.floor(buffer / 2 ** 32), size, 0);
  const words = (value: number): [number, number] => [value | 0, Math.floor(value / 2 ** 32)];
  return p.words(0, 0, 0, 0, ...words(vector), 1, 0, ...words(control), controlSize, 0, 0, 0);
}

const sockaddr = (name: string): number[] => [AF.UNIX, 0, ...[...name].map((c) => c.charCodeAt(0))];

describe("local socket pairs", () => {
  test("a stream has no message boundaries", () => {
    runProgram(ipcKernel(), function* (p) {
      const [a, b] = yield* pair(p);
      yield* send(p, a, [1, 2]);
      yield* send(p, a, [3, 4]);
      expect(yield* receive(p, b, 3)).toEqual([1, 2, 3]);
      expect(yield* receive(p, b, 3, MSG.DONTWAIT | MSG.PEEK)).toEqual([4]);
      expect(yield* receive(p, b, 3)).toEqual([4]);
      expect(yield* receive(p, b, 3)).toBe(-EAGAIN.number);
    });
  });

  test.each([
    ["datagrams", SOCK.DGRAM],
    ["sequenced packets", SOCK.SEQPACKET],
  ])("%s keep their boundaries, and what does not fit is lost", (_name, type) => {
    runProgram(ipcKernel(), function* (p) {
      const [a, b] = yield* pair(p, type);
      yield* send(p, a, [1, 2, 3]);
      yield* send(p, a, [4]);
      expect(yield* receive(p, b, 2)).toEqual([1, 2]);
      expect(yield* receive(p, b, 2)).toEqual([4]);
    });
  });

  test("a receive sleeps until the other end sends, and gives 0 when it is closed", () => {
    const kernel = ipcKernel();
    runProgram(kernel, function* (p) {
      const [a, b] = yield* pair(p);
      startProgram(
        kernel,
        "sender",
        function* (s) {
          yield* send(s, a, [9]);
          yield* s.call(NR.close, a);
        },
        p,
      );
      expect(yield* receive(p, b, 4, 0)).toEqual([9]);
      expect(yield* receive(p, b, 4, 0)).toEqual([]);
      expect(yield* events(p, b)).toBe(POLL.IN | POLL.OUT | POLL.HUP | POLL.RDHUP);
    });
  });

  test("closing with unread data resets the other end", () => {
    runProgram(ipcKernel(), function* (p) {
      const [a, b] = yield* pair(p);
      yield* send(p, a, [1]);
      yield* p.call(NR.close, b);
      expect(yield* receive(p, a, 1)).toBe(-ECONNRESET.number);
      expect(yield* send(p, a, [1], MSG.NOSIGNAL)).toBe(-EPIPE.number);
      expect(p.cx.task.pending.mask).toBe(0n);
    });
  });

  test("a full buffer is EAGAIN, and a read makes it writable again", () => {
    runProgram(ipcKernel(), function* (p) {
      const [a, b] = yield* pair(p, SOCK.STREAM | SOCK.NONBLOCK);
      const block = p.room(32_768);
      let sent = 0;
      for (;;) {
        const count = yield* p.call(NR.write, a, block, 32_768);
        if (count < 0) {
          expect(count).toBe(-EAGAIN.number);
          break;
        }
        sent += count;
      }
      expect((yield* events(p, a)) & POLL.OUT).toBe(0);
      let got = 0;
      for (let count = 1; count > 0; got += Math.max(count, 0))
        count = yield* p.call(NR.read, b, block, 32_768);
      expect(got).toBe(sent);
      expect((yield* events(p, a)) & POLL.OUT).toBe(POLL.OUT);
    });
  });

  test("shutdown of writing is end-of-file over there, and EPIPE here", () => {
    runProgram(ipcKernel(), function* (p) {
      const [a, b] = yield* pair(p);
      expect(yield* p.call(NR.shutdown, a, SHUT.WR)).toBe(0);
      expect(yield* receive(p, b, 1)).toEqual([]);
      expect(yield* events(p, b)).toBe(POLL.IN | POLL.OUT | POLL.RDHUP);
      expect(yield* send(p, a, [1], MSG.NOSIGNAL)).toBe(-EPIPE.number);
      expect(yield* send(p, b, [1])).toBe(1);
      expect(yield* p.call(NR.shutdown, a, 7)).toBe(-EINVAL.number);
    });
  });

  test("FIONREAD counts what waits, SO_TYPE and SO_PEERCRED say what it is", () => {
    runProgram(ipcKernel(), function* (p) {
      const [a, b] = yield* pair(p);
      yield* send(p, a, [1, 2, 3]);
      const at = p.room(16);
      const length = p.words(12);
      yield* p.call(NR.ioctl, b, IOCTL.FIONREAD, at);
      expect(p.word(at)).toBe(3);
      yield* p.call(NR.getsockopt, b, SOL_SOCKET, SO.TYPE, at, length);
      expect([p.word(at), p.word(length)]).toEqual([SOCK.STREAM, 4]);
      yield* p.call(NR.getsockopt, b, SOL_SOCKET, SO.PEERCRED, at, p.words(12));
      expect(p.word(at)).toBe(p.cx.task.tgid);
    });
  });

  test("other families and other files are refused", () => {
    runProgram(ipcKernel(), function* (p) {
      expect(yield* p.call(NR.socket, AF.INET, SOCK.STREAM, 0)).toBe(-EAFNOSUPPORT.number);
      const fd = yield* p.call(NR.eventfd2, 0, 0);
      expect(yield* send(p, fd, [1])).toBe(-ENOTSOCK.number);
      const alone = yield* p.call(NR.socket, AF.UNIX, SOCK.STREAM, 0);
      expect(yield* send(p, alone, [1])).toBe(-ENOTCONN.number);
    });
  });
});

describe("ancillary data", () => {
  test("a file travels with a message, also when the sender closed it", () => {
    const kernel = ipcKernel();
    const leaks = leaksOf(kernel, () =>
      runProgram(kernel, function* (p) {
        const [a, b] = yield* pair(p);
        const event = yield* p.call(NR.eventfd2, 7, 0);
        const control = p.words(20, 0, SOL_SOCKET, 1, event, 0);
        expect(yield* p.call(NR.sendmsg, a, messageOf(p, p.put([5]), 1, control, 24), 0)).toBe(1);
        yield* p.call(NR.close, event);
        const room = p.room(64);
        const message = messageOf(p, p.room(4), 4, room, 64);
        expect(yield* p.call(NR.recvmsg, b, message, 0)).toBe(1);
        expect([p.word(room), p.word(room + 8), p.word(room + 12)]).toEqual([20, SOL_SOCKET, 1]);
        const value = p.room(8);
        expect(yield* p.call(NR.read, p.word(room + 16), value, 8)).toBe(8);
        expect(p.word(value)).toBe(7);
      }),
    );
    expect(leaks).toEqual(new Map());
  });

  test("a file that read(2) comes upon is closed", () => {
    const kernel = ipcKernel();
    const leaks = leaksOf(kernel, () =>
      runProgram(kernel, function* (p) {
        const [a, b] = yield* pair(p);
        const event = yield* p.call(NR.eventfd2, 7, 0);
        const control = p.words(20, 0, SOL_SOCKET, 1, event, 0);
        yield* p.call(NR.sendmsg, a, messageOf(p, p.put([5]), 1, control, 24), 0);
        expect(yield* p.call(NR.read, b, p.room(4), 4)).toBe(1);
      }),
    );
    expect(leaks).toEqual(new Map());
  });

  test("a file that nobody receives is closed with the socket", () => {
    const kernel = ipcKernel();
    const leaks = leaksOf(kernel, () =>
      runProgram(kernel, function* (p) {
        const [a] = yield* pair(p);
        const event = yield* p.call(NR.eventfd2, 7, 0);
        const control = p.words(20, 0, SOL_SOCKET, 1, event, 0);
        yield* p.call(NR.sendmsg, a, messageOf(p, p.put([5]), 1, control, 24), 0);
      }),
    );
    expect(leaks).toEqual(new Map());
  });
});

describe("connections", () => {
  test("a client connects to an abstract name, and the server accepts", () => {
    const kernel = ipcKernel();
    const leaks = leaksOf(kernel, () =>
      runProgram(kernel, function* (p) {
        const name = sockaddr("\0service");
        const address = p.put(name);
        const server = yield* p.call(NR.socket, AF.UNIX, SOCK.STREAM, 0);
        expect(yield* p.call(NR.bind, server, address, name.length)).toBe(0);
        const client = yield* p.call(NR.socket, AF.UNIX, SOCK.STREAM, 0);
        expect(yield* p.call(NR.connect, client, address, name.length)).toBe(-ECONNREFUSED.number);
        expect(yield* p.call(NR.listen, server, 4)).toBe(0);
        expect(yield* p.call(NR.connect, client, address, name.length)).toBe(0);
        const accepted = yield* p.call(NR.accept4, server, 0, 0, 0);
        yield* send(p, client, [1, 2]);
        expect(yield* receive(p, accepted, 8)).toEqual([1, 2]);
        const peer = p.room(32);
        const length = p.words(32);
        expect(yield* p.call(NR.getpeername, client, peer, length)).toBe(0);
        expect([...p.read(peer, p.word(length))]).toEqual(name);
      }),
    );
    expect(leaks).toEqual(new Map());
  });

  test("a name in the file system is a socket node", () => {
    runProgram(ipcKernel(), function* (p) {
      const name = sockaddr("/sock\0");
      const address = p.put(name);
      const server = yield* p.call(NR.socket, AF.UNIX, SOCK.DGRAM, 0);
      expect(yield* p.call(NR.bind, server, address, name.length)).toBe(0);
      const client = yield* p.call(NR.socket, AF.UNIX, SOCK.DGRAM, 0);
      expect(yield* p.call(NR.sendto, client, p.put([1]), 1, 0, address, name.length)).toBe(1);
      expect(yield* receive(p, server, 4)).toEqual([1]);
      const again = yield* p.call(NR.socket, AF.UNIX, SOCK.DGRAM, 0);
      expect(yield* p.call(NR.bind, again, address, name.length)).toBe(-98);
    });
  });

  test("accept sleeps until someone connects", () => {
    const kernel = ipcKernel();
    runProgram(kernel, function* (p) {
      const name = sockaddr("\0late");
      const server = yield* p.call(NR.socket, AF.UNIX, SOCK.SEQPACKET, 0);
      yield* p.call(NR.bind, server, p.put(name), name.length);
      yield* p.call(NR.listen, server, 1);
      startProgram(kernel, "client", function* (c) {
        const client = yield* c.call(NR.socket, AF.UNIX, SOCK.SEQPACKET, 0);
        yield* c.call(NR.connect, client, c.put(name), name.length);
        yield* send(c, client, [3]);
      });
      const accepted = yield* p.call(NR.accept, server, 0, 0);
      expect(accepted).toBeGreaterThan(0);
      expect(yield* receive(p, accepted, 8, 0)).toEqual([3]);
    });
  });
});
