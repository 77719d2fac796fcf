/** Every allocation of every call that makes files of this folder may fail: the call answers an error, and nothing leaks. */
import { AF, EPOLL, NR, O, POLL, SOCK } from "@alien-ts/abi";
import { expect, test } from "vitest";
import type { Blocking } from "../core/row.ts";
import { ipcKernel, leaksOf, type Program, runProgram } from "../testing-program.ts";

/** Prepares in `before`; the allocations of `call` fail one after the other. */
interface Case {
  readonly name: string;
  readonly call: (p: Program, scratch: number) => Blocking<number>;
}

const CASES: readonly Case[] = [
  { name: "pipe2", call: (p, at) => p.call(NR.pipe2, at, 0) },
  { name: "eventfd2", call: (p) => p.call(NR.eventfd2, 0, 0) },
  { name: "timerfd_create", call: (p) => p.call(NR.timerfd_create, 1, 0) },
  { name: "signalfd4", call: (p, at) => p.call(NR.signalfd4, -1, at, 8, 0) },
  { name: "pidfd_open", call: (p) => p.call(NR.pidfd_open, p.cx.task.pid, 0) },
  { name: "epoll_create1", call: (p) => p.call(NR.epoll_create1, 0) },
  { name: "socket", call: (p) => p.call(NR.socket, AF.UNIX, SOCK.STREAM, 0) },
  { name: "socketpair", call: (p, at) => p.call(NR.socketpair, AF.UNIX, SOCK.DGRAM, 0, at) },
  {
    name: "epoll_ctl",
    call: function* (p, at) {
      const ep = yield* p.call(NR.epoll_create1, 0);
      const fd = yield* p.call(NR.eventfd2, 0, 0);
      if (ep < 0 || fd < 0) return Math.min(ep, fd);
      return yield* p.call(NR.epoll_ctl, ep, EPOLL.CTL_ADD, fd, at);
    },
  },
  {
    name: "a write to a pipe",
    call: function* (p, at) {
      const made = yield* p.call(NR.pipe2, at, O.NONBLOCK);
      return made < 0 ? made : yield* p.call(NR.write, p.word(at + 4), at, 100);
    },
  },
  {
    name: "poll and select",
    call: function* (p, at) {
      p.write(at, new Uint8Array(64));
      const polled = yield* p.call(NR.ppoll, at, 1, at + 16, 0, 0);
      return polled < 0 ? polled : yield* p.call(NR.pselect6, 1, at + 16, 0, 0, at + 32, 0);
    },
  },
  {
    name: "a connection",
    call: function* (p, at) {
      p.write(at, Uint8Array.of(AF.UNIX, 0, 0, 65));
      const server = yield* p.call(NR.socket, AF.UNIX, SOCK.STREAM, 0);
      const client = yield* p.call(NR.socket, AF.UNIX, SOCK.STREAM, 0);
      if (server < 0 || client < 0) return Math.min(server, client);
      yield* p.call(NR.bind, server, at, 4);
      yield* p.call(NR.listen, server, 1);
      const connected = yield* p.call(NR.connect, client, at, 4);
      return connected < 0 ? connected : yield* p.call(NR.accept4, server, 0, 0, 0);
    },
  },
];

test.each(CASES)("$name", ({ call }) => {
  const kernel = ipcKernel();
  const { faults } = kernel.pages;
  let failures = 0;
  for (let n = 1; n < 60; n++) {
    let result = 0;
    let failed: string | undefined;
    const leaks = leaksOf(kernel, () =>
      runProgram(kernel, function* (p) {
        const scratch = p.put(new Uint8Array(256).fill(POLL.IN));
        faults.failAfter(n);
        result = yield* call(p, scratch);
        failed = faults.failedTag;
        faults.failAfter(0);
      }),
    );
    expect(leaks, `allocation ${n} (${failed}) failed`).toEqual(new Map());
    if (failed === undefined) break;
    failures += 1;
    expect(result, `allocation ${n} (${failed}) failed`).toBeLessThan(0);
  }
  expect(failures).toBeGreaterThan(0);
});
