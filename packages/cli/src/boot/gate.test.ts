import { PENDING, type ProgramHost, type TrapPort } from "@alien-ts/abi";
import { expect, test } from "vitest";
import { gatedHost } from "./gate.ts";

/** A port whose traps do `trap`, as a program of the gated host sees it; and the bugs that were reported. */
function gated(trap: () => number): { port: TrapPort; started: TrapPort; bugs: unknown[] } {
  const bugs: unknown[] = [];
  const seen: TrapPort[] = [];
  const host: ProgramHost = {
    has: () => true,
    start: (_, port) => void seen.push(port),
    startThread: (_, port) => void seen.push(port),
    exited: () => {},
  };
  const port = { trap, memory: {}, sp: 0, onResume: () => {} } as unknown as TrapPort;
  gatedHost(host, (error) => void bugs.push(error)).start({ program: "p", path: "/p", base: 0 }, port);
  return { port, started: seen[0]!, bugs };
}

test("a system call gives its result", () => {
  const { started, bugs } = gated(() => 7);
  expect([started.trap(1), bugs]).toEqual([7, []]);
});

test("a kernel bug in a system call is reported, and the program does not see it", () => {
  const bug = new TypeError("x is undefined");
  const { started, bugs } = gated(() => {
    throw bug;
  });
  expect([started.trap(1), bugs]).toEqual([PENDING, [bug]]);
});

test("the host gets the port itself, by which it knows its task", () => {
  const { port, started } = gated(() => 0);
  expect(started).toBe(port);
});

test("a program that never sleeps lets macrotasks run", async () => {
  const { port, started } = gated(() => 7);
  let isOver = false;
  setImmediate(() => {
    isOver = true;
  });
  let calls = 0;
  for (; !isOver && calls < 1e6; calls++) {
    const outcome = started.trap(1);
    const result = outcome === PENDING ? await new Promise((resolve) => (port.onResume = resolve)) : outcome;
    expect(result).toBe(7);
  }
  expect(isOver).toBe(true);
});
