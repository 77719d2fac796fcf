/** The executor on a fake system with virtual time: order, timers, epoll, signals, cancellation, and nothing leaked. */
import { describe, expect, it } from "vitest";
import { SIG } from "@alien-ts/abi";
import { Elapsed, Runtime } from "./runtime.ts";
import { Aborted } from "./task.ts";
import { FakeSys } from "../../test/fake-sys.ts";

interface Bench {
  readonly sys: FakeSys;
  readonly rt: Runtime;
  readonly seen: string[];
}

/** Runs `main` in a fresh runtime, and checks that nothing is left over. */
async function run<T>(
  main: (bench: Bench) => Promise<T>,
  set: (sys: FakeSys) => void = () => {},
): Promise<T> {
  const sys = new FakeSys();
  set(sys);
  const rt = await Runtime.open(sys);
  const result = await rt.blockOn(() => main({ sys, rt, seen: [] }));
  await rt.close();
  expect([sys.blocks.size, sys.fds.size]).toEqual([0, 0]);
  return result;
}

/** `await`s through `depth` async functions. */
async function nested(depth: number, work: () => PromiseLike<unknown>): Promise<void> {
  if (depth === 0) await work();
  else await nested(depth - 1, work);
}

const randomHops = (seed: number): (() => number) => {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return (state >>> 16) % 7;
  };
};

describe("tasks", () => {
  it("run one at a time, in the order in which they were spawned and woken", () =>
    run(async ({ rt, seen }) => {
      const worker = (name: string) => async () => {
        for (let step = 0; step < 3; step++) {
          seen.push(`${name}${step}`);
          await rt.yieldNow();
        }
      };
      const handles = ["a", "b", "c"].map((name) => rt.spawn(worker(name)));
      for (const handle of handles) await handle;
      expect(seen).toEqual(["a0", "b0", "c0", "a1", "b1", "c1", "a2", "b2", "c2"]);
    }));

  it.each([0, 1, 7, 40])("keep their order when one nests %d async functions deep", (depth) =>
    run(async ({ rt, seen }) => {
      const worker = (name: string, nesting: number) => async () => {
        for (let step = 0; step < 3; step++) {
          await nested(nesting, () => rt.yieldNow());
          seen.push(`${name}${step}`);
        }
      };
      const handles = [rt.spawn(worker("a", depth)), rt.spawn(worker("b", 0)), rt.spawn(worker("c", 3))];
      await Promise.all(handles);
      expect(seen).toEqual(["a0", "b0", "c0", "a1", "b1", "c1", "a2", "b2", "c2"]);
    }),
  );

  it("keep their order when system calls are preempted", () =>
    run(
      async ({ rt, seen }) => {
        const worker = (name: string) => async () => {
          for (let step = 0; step < 3; step++) {
            await rt.now();
            seen.push(`${name}${step}`);
            await rt.yieldNow();
          }
        };
        await Promise.all([rt.spawn(worker("a")), rt.spawn(worker("b"))]);
        expect(seen).toEqual(["a0", "b0", "a1", "b1", "a2", "b2"]);
      },
      (sys) => {
        sys.delayHops = randomHops(5);
      },
    ));

  it("give their result to whoever joins, several times, and their error too", () =>
    run(async ({ rt }) => {
      const good = rt.spawn(async () => 42);
      const bad = rt.spawn(async () => {
        throw new Error("no");
      });
      expect([await good, await good]).toEqual([42, 42]);
      await expect(Promise.resolve(bad)).rejects.toThrow("no");
    }));

  it("that are aborted run their finally blocks, and their handle fails", () =>
    run(async ({ rt, seen }) => {
      const handle = rt.spawn(async () => {
        try {
          await rt.sleep(1000);
          seen.push("slept");
        } finally {
          seen.push("cleaned");
        }
      });
      await rt.yieldNow();
      handle.abort();
      await expect(Promise.resolve(handle)).rejects.toBeInstanceOf(Aborted);
      expect(seen).toEqual(["cleaned"]);
    }));

  it("that are aborted before they run never do", () =>
    run(async ({ rt, seen }) => {
      const handle = rt.spawn(async () => void seen.push("ran"));
      handle.abort();
      await expect(Promise.resolve(handle)).rejects.toBeInstanceOf(Aborted);
      expect(seen).toEqual([]);
    }));

  it("that still run when the runtime closes are aborted", async () => {
    const sys = new FakeSys();
    const rt = await Runtime.open(sys);
    const seen: string[] = [];
    await rt.blockOn(async () => {
      rt.spawn(async () => {
        try {
          for await (const _ of rt.interval(10)) seen.push("tick");
        } finally {
          await rt.now();
          seen.push("released");
        }
      });
      await rt.sleep(15);
    });
    await rt.close();
    expect(seen).toEqual(["tick", "tick", "released"]);
    expect([sys.blocks.size, sys.fds.size]).toEqual([0, 0]);
  });

  it("that fail unheard are reported", async () => {
    const heard: unknown[] = [];
    const rt = await Runtime.open(new FakeSys(), { onTaskError: (error) => heard.push(error) });
    await rt.blockOn(async () => {
      rt.spawn(async () => {
        throw new Error("unheard");
      });
      const handle = rt.spawn(async () => {
        await rt.yieldNow();
        throw new Error("heard");
      });
      await expect(Promise.resolve(handle)).rejects.toThrow("heard");
    });
    expect(heard.map(String)).toEqual(["Error: unheard"]);
  });

  it("may wait for system calls side by side: the calls take turns", () =>
    run(
      async ({ rt }) => {
        const times = await Promise.all([rt.now(), rt.now(), nested(5, () => rt.now()), rt.sleep(1)]);
        expect(times.length).toBe(4);
      },
      (sys) => {
        sys.delayHops = randomHops(9);
      },
    ));

  it("pass on the error of main", async () => {
    await expect(
      run(async () => {
        throw new Error("main failed");
      }),
    ).rejects.toThrow("main failed");
  });
});

describe("time", () => {
  it("sleeps in epoll_pwait, to the millisecond that is not too early", () =>
    run(async ({ sys, rt }) => {
      const before = sys.nowNs;
      await rt.sleep(5);
      expect(sys.nowNs - before).toBeGreaterThanOrEqual(5e6);
      expect(sys.nowNs - before).toBeLessThan(7e6);
    }));

  it("wakes sleepers by deadline, ties in the order in which they went to sleep", () =>
    run(async ({ rt, seen }) => {
      const sleeper = (name: string, ms: number) => async () => {
        await rt.sleep(ms);
        seen.push(name);
      };
      await Promise.all(
        [
          ["late", 30],
          ["a", 10],
          ["b", 10],
          ["early", 1],
        ].map(([name, ms]) => rt.spawn(sleeper(String(name), Number(ms)))),
      );
      expect(seen).toEqual(["early", "a", "b", "late"]);
    }));

  it("ticks at once and then every period", () =>
    run(async ({ rt, sys }) => {
      const start = sys.nowNs;
      const ticks: number[] = [];
      for await (const _ of rt.interval(10)) {
        ticks.push(Math.floor((sys.nowNs - start) / 1e7));
        if (ticks.length === 4) break;
      }
      expect(ticks).toEqual([0, 1, 2, 3]);
    }));

  it("makes one epoll_pwait per turn", () =>
    run(async ({ sys, rt }) => {
      sys.log.length = 0;
      await rt.yieldNow();
      expect(sys.log).toEqual(["epoll_pwait"]);
    }));

  it("jumps to the next timer when the clock is paused", async () => {
    const sys = new FakeSys();
    const rt = await Runtime.open(sys, { startPaused: true });
    const start = sys.nowNs;
    await rt.blockOn(async () => {
      const before = await rt.now();
      await rt.sleep(3_600_000);
      expect((await rt.now()) - before).toBeGreaterThanOrEqual(3_600_000);
    });
    expect(sys.nowNs).toBe(start);
  });

  it("moves by hand, and fires on the way", async () => {
    const sys = new FakeSys();
    const rt = await Runtime.open(sys, { startPaused: true });
    await rt.blockOn(async () => {
      const seen: string[] = [];
      void rt.spawn(async () => {
        await rt.sleep(10);
        seen.push("first");
        await rt.sleep(10);
        seen.push("second");
      });
      await rt.yieldNow();
      await rt.advance(15);
      expect(seen).toEqual(["first"]);
      await rt.advance(15);
      expect(seen).toEqual(["first", "second"]);
    });
  });
});

describe("select and timeout", () => {
  it("gives the first branch, and cancels the timers of the others", () =>
    run(async ({ rt, sys }) => {
      const before = sys.nowNs;
      const first = await rt.select({ slow: rt.sleep(1e6), fast: rt.sleep(2) });
      expect(first).toEqual({ name: "fast", value: undefined });
      await rt.sleep(1);
      expect(sys.nowNs - before).toBeLessThan(10e6);
    }));

  it("cancels a signal that it does not wait for any more", () =>
    run(async ({ rt }) => {
      const first = await rt.select({ interrupt: rt.signal.ctrlC(), time: rt.sleep(1) });
      expect(first.name).toBe("time");
      // Longer than an executor would wait that took the task for one that still waits for the signal.
      await nested(5000, () => Promise.resolve());
      expect(await rt.now()).toBeGreaterThan(0);
    }));

  it.each([10, 100, 1000])("lets the task go on that still waits for something else (%d hops)", (depth) =>
    run(async ({ rt }) => {
      const older = rt.future<void>();
      const first = await rt.select({ older: (async () => older)(), time: rt.sleep(1) });
      expect(first.name).toBe("time");
      await nested(depth, () => Promise.resolve());
      expect(await rt.now()).toBeGreaterThan(0);
      older.complete();
    }),
  );

  it("throws Elapsed when the work is not done in time", () =>
    run(async ({ rt }) => {
      await expect(rt.timeout(5, rt.sleep(10))).rejects.toBeInstanceOf(Elapsed);
      expect(
        await rt.timeout(
          5,
          rt.spawn(async () => "done"),
        ),
      ).toBe("done");
    }));
});

describe("descriptors", () => {
  it("wake a task when they become readable, and stay ready until cleared", () =>
    run(async ({ rt, sys }) => {
      const fd = sys.openFd("socket");
      sys.at(20, () => sys.feed(fd, "hello"));
      {
        await using watched = await rt.asyncFd(fd);
        const buffer = sys.alloc(16);
        const count = await watched.io("readable", () => rt.sys.trap(63, fd, buffer, 16));
        expect(count).toBe(5);
        sys.free(buffer);
        await watched.readable();
        watched.clearReady("readable");
        await expect(rt.timeout(3, watched.readable())).rejects.toBeInstanceOf(Elapsed);
      }
      sys.fds.delete(fd);
    }));

  it("report what epoll_ctl refuses", () =>
    run(async ({ rt, sys }) => {
      sys.overrides.set("epoll_ctl", () => -1);
      await expect(rt.asyncFd(7)).rejects.toThrow(
        "epoll_ctl syscall returned Operation not permitted (os error 1, EPERM)",
      );
      sys.overrides.delete("epoll_ctl");
    }));
});

describe("signals", () => {
  it.each([0, 3])("ctrlC completes at the next SIGINT (traps take %d hops)", (hops) =>
    run(
      async ({ rt, sys, seen }) => {
        sys.at(50, () => sys.raise(SIG.INT));
        void rt.spawn(async () => {
          for await (const _ of rt.interval(20)) seen.push("tick");
        });
        await rt.signal.ctrlC();
        expect(seen).toEqual(["tick", "tick", "tick"]);
      },
      (sys) => {
        sys.delayHops = () => hops;
      },
    ),
  );

  it("open the runtime as tokio does: epoll, eventfd, socket pair", async () => {
    const sys = new FakeSys();
    await Runtime.open(sys);
    expect(sys.log).toEqual(["epoll_create1", "eventfd2", "epoll_ctl", "socketpair", "epoll_ctl"]);
  });
});
