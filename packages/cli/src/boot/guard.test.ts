import { PENDING, type ProgramHost, type TrapPort } from "@alien-ts/abi";
import { expect, test } from "vitest";
import { guardedHost } from "./guard.ts";

/** A port whose traps do `trap`, as a program of the guarded host sees it; and the bugs that were reported. */
function guarded(trap: () => number): { port: TrapPort; started: TrapPort; bugs: unknown[] } {
  const bugs: unknown[] = [];
  const seen: TrapPort[] = [];
  const host: ProgramHost = {
    has: () => true,
    start: (_, port) => void seen.push(port),
    startThread: (_, port) => void seen.push(port),
    exited: () => {},
  };
  const port = { trap, memory: {}, sp: 0, onResume: () => {} } as unknown as TrapPort;
  guardedHost(host, (error) => void bugs.push(error)).start({ program: "p", path: "/p", base: 0 }, port);
  return { port, started: seen[0]!, bugs };
}

test("a system call gives its result", () => {
  const { started, bugs } = guarded(() => 7);
  expect([started.trap(1), bugs]).toEqual([7, []]);
});

test("a kernel bug in a system call is reported, and the program does not see it", () => {
  const bug = new TypeError("x is undefined");
  const { started, bugs } = guarded(() => {
    throw bug;
  });
  expect([started.trap(1), bugs]).toEqual([PENDING, [bug]]);
});

test("the host gets the port itself, by which it knows its task", () => {
  const { port, started } = guarded(() => 0);
  expect(started).toBe(port);
});
