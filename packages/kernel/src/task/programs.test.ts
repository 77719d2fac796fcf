import {
  CLONE,
  ECHILD,
  EFAULT,
  EINTR,
  EINVAL,
  ENOSYS,
  Layout,
  NR,
  SA,
  SIG,
  SIG_SETMASK,
  UserFault,
  utf8Encode,
  S,
} from "@alien-ts/abi";
import { setImmediate } from "node:timers/promises";
import { difference } from "../mm/allocation-faults.ts";
import { describe, expect, test } from "vitest";
import { bootPrograms, runMachine, testImage, type TestProgram, type TestTask } from "../testing-programs.ts";
import type { BootOptions } from "../boot.ts";

async function run(
  programs: Record<string, TestProgram>,
  options: BootOptions = {},
): Promise<{ status: number | undefined; log: string }> {
  const { kernel, host } = bootPrograms(programs, options);
  const status = await runMachine(kernel, setImmediate);
  if (host.errors.length > 0) throw host.errors[0];
  const log = kernel.log
    .from(0)
    .map((line) => line.text)
    .join("\n");
  return { status, log };
}

const PROT_READ_WRITE = 3;
const MAP_PRIVATE_ANONYMOUS = 0x22;

const SPAWN = CLONE.VM | CLONE.VFORK | SIG.CHLD;
const CHILD = CLONE.VM | SIG.CHLD;
const THREAD = CLONE.VM | CLONE.THREAD | CLONE.SIGHAND | CLONE.FS | CLONE.FILES;

/** Waits for a child: [pid, status]. */
async function wait(task: TestTask, pid = -1, options = 0): Promise<[number, number]> {
  const status = task.alloc(8);
  const result = await task.call(NR.wait4, pid, status, options, 0);
  return [result, task.u32(status)];
}

describe("execve", () => {
  test("gives the program its arguments, environment and auxiliary vector", async () => {
    const seen: unknown[] = [];
    await run({
      init: async (task) => {
        const pid = await task.clone(SPAWN, async (child) => {
          await child.execve("/bin/show", ["show", "one", ""], ["A=1", "B="]);
          return 127;
        });
        seen.push(await wait(task), pid);
      },
      show: async (task) => {
        const { argv, envp, auxv } = task.start();
        const { memory } = task.port;
        const path = String.fromCharCode(...memory.readCString(auxv.get(31)!));
        seen.push(argv, envp, auxv.get(6), auxv.get(9), auxv.get(23), path, task.port.sp % 16);
        return 3;
      },
    });
    expect(seen).toEqual([
      ["show", "one", ""],
      ["A=1", "B="],
      4096,
      0x10000,
      0,
      "/bin/show",
      0,
      [3, 0x300],
      3,
    ]);
  });

  test("runs scripts by their interpreter, with one argument, nested", async () => {
    const seen: string[][] = [];
    const script = (path: string, text: string) => ({ path, mode: S.IFREG | 0o755, bytes: utf8Encode(text) });
    await run(
      {
        init: async (task) => {
          await task.clone(SPAWN, async (child) => {
            await child.execve("/bin/outer", ["outer", "x"]);
          });
          await wait(task);
        },
        show: async (task) => {
          seen.push(task.start().argv);
        },
      },
      {
        files: [script("/bin/inner", "#! /bin/show  a b \n"), script("/bin/outer", "#!/bin/inner -c\nrest")],
      },
    );
    expect(seen).toEqual([["/bin/show", "a b", "/bin/inner", "-c", "/bin/outer", "x"]]);
  });

  test("refuses what is no program, with Linux's errno", async () => {
    const results: Record<string, number> = {};
    const file = (path: string, mode: number, bytes: Uint8Array) => ({ path, mode: S.IFREG | mode, bytes });
    const truncated = testImage("show").subarray(0, 80);
    const loop = utf8Encode("#!/etc/loop\n");
    const files = [
      file("/etc/text", 0o755, utf8Encode("hello")),
      file("/etc/noexec", 0o644, testImage("show")),
      file("/etc/nonote", 0o755, testImage("show", { hasNote: false })),
      file("/etc/unknown", 0o755, testImage("nothing")),
      file("/etc/cut", 0o755, truncated),
      file("/etc/empty", 0o755, new Uint8Array(0)),
      file("/etc/loop", 0o755, loop),
      file("/etc/lost", 0o755, utf8Encode("#!/none\n")),
      file("/etc/long", 0o755, utf8Encode(`#!/${"x".repeat(300)}`)),
    ];
    const { log } = await run(
      {
        init: async (task) => {
          for (const path of [
            "/etc/text",
            "/etc/noexec",
            "/etc/nonote",
            "/etc/unknown",
            "/etc/cut",
            "/etc/empty",
            "/etc/loop",
            "/etc/lost",
            "/etc/long",
            "/etc",
            "/none",
            "",
          ])
            results[path] = await task.execve(path);
          const busy = await task.call(NR.openat, -100, task.string("/bin/show"), 1, 0);
          results["busy"] = await task.execve("/bin/show");
          await task.call(NR.close, busy);
          results["running"] = await task.call(NR.openat, -100, task.string("/sbin/init"), 1, 0);
          results["big"] = await task.execve("/bin/show", ["x".repeat(131_072)]);
          results["fault"] = await task.call(NR.execve, task.string("/bin/show"), 8, 0);
        },
        show: async () => 0,
      },
      { files },
    );
    expect(results).toEqual({
      "/etc/text": -8,
      "/etc/noexec": -13,
      "/etc/nonote": -8,
      "/etc/unknown": -8,
      "/etc/cut": -8,
      "/etc/empty": -8,
      "/etc/loop": -40,
      "/etc/lost": -2,
      "/etc/long": -8,
      "/etc": -13,
      "/none": -2,
      "": -2,
      busy: -26,
      running: -26,
      big: -7,
      fault: -14,
    });
    expect(log).toContain("exec: /etc/nonote is machine code");
  });

  test("keeps descriptors but those that close on exec, ignored signals, and the mask", async () => {
    const seen: number[] = [];
    await run({
      init: async (task) => {
        await task.clone(SPAWN, async (child) => {
          await child.call(NR.openat, -100, child.string("/tmp"), 0, 0);
          await child.call(NR.openat, -100, child.string("/tmp"), 0x80000, 0);
          await child.action(SIG.USR1, async () => 0);
          await child.action(SIG.USR2, null);
          await child.call(NR.rt_sigprocmask, SIG_SETMASK, child.words(1 << 11), 0, 8);
          await child.execve("/bin/show");
        });
        await wait(task);
      },
      show: async (task) => {
        for (const fd of [3, 4]) seen.push(await task.call(NR.fcntl, fd, 1));
        const old = task.alloc(32);
        for (const signo of [SIG.USR1, SIG.USR2]) {
          await task.call(NR.rt_sigaction, signo, 0, old, 8);
          seen.push(task.port.memory.readU64(old));
        }
        await task.call(NR.rt_sigprocmask, 0, 0, old, 8);
        seen.push(task.port.memory.readU64(old));
      },
    });
    expect(seen.slice(0, 1).concat(seen.slice(1))).toEqual([seen[0], seen[1], 0, 1, 1 << 11]);
    expect(seen.slice(0, 2).includes(-9)).toBe(true);
  });
});

describe("clone and wait", () => {
  test("vfork's parent goes on when the child has exec'd; fork is not there", async () => {
    const order: string[] = [];
    const results: number[] = [];
    await run({
      init: async (task) => {
        results.push(
          await task.call(NR.clone, SIG.CHLD, 0),
          await task.call(NR.clone, CLONE.VM | SIG.CHLD, 0),
        );
        await task.clone(SPAWN, async (child) => {
          order.push("child");
          await child.call(NR.clock_nanosleep, 1, 0, child.words(0, 1000), 0);
          await child.execve("/bin/show");
        });
        order.push("parent");
        await wait(task);
      },
      show: async () => {
        order.push("show");
      },
    });
    expect(results).toEqual([-ENOSYS.number, -ENOSYS.number]);
    expect(order[0]).toBe("child");
    expect(order).toContain("show");
  });

  test("wait4 sleeps for a child, finds none after the last, and reports its signal", async () => {
    const seen: unknown[] = [];
    await run({
      init: async (task) => {
        const pid = await task.clone(CHILD, async (child) => {
          await child.call(NR.kill, await child.call(NR.getpid), SIG.TERM);
        });
        const [waited, status] = await wait(task);
        seen.push(waited === pid, status, (await wait(task))[0]);
      },
    });
    expect(seen).toEqual([true, SIG.TERM, -ECHILD.number]);
  });

  test("a group's exit status is that of exit_group, not that of a leader that ended before", async () => {
    const seen: unknown[] = [];
    await run({
      init: async (task) => {
        await task.clone(SPAWN, async (child) => void (await child.execve("/bin/group")));
        seen.push((await wait(task))[1]);
      },
      group: async (task) => {
        await task.clone(THREAD, async (thread) => {
          await thread.call(NR.clock_nanosleep, 1, 0, thread.words(1, 0), 0);
          await thread.call(NR.exit_group, 3);
        });
        await task.call(NR.exit, 1);
      },
    });
    expect(seen).toEqual([0x300]);
  });

  test("a clone whose pidfd cannot be told leaves neither a child nor a descriptor", async () => {
    const seen: unknown[] = [];
    await run({
      init: async (task) => {
        const lowest = await task.call(NR.dup, 0);
        await task.call(NR.close, lowest);
        seen.push(await task.clone(CHILD | CLONE.PIDFD, async () => {}, 8));
        seen.push((await task.call(NR.dup, 0)) - lowest, (await wait(task))[0]);
      },
    });
    expect(seen).toEqual([-EFAULT.number, 0, -ECHILD.number]);
  });

  test("orphans go to init", async () => {
    const seen: unknown[] = [];
    await run({
      init: async (task) => {
        const pid = await task.clone(CHILD, async (child) => {
          await child.clone(CHILD, async (grandchild) => {
            await grandchild.call(NR.rt_sigtimedwait, grandchild.words(0), 0, grandchild.words(1, 0), 8);
            return Number((await grandchild.call(NR.getppid)) === 1);
          });
        });
        seen.push((await wait(task, pid))[1], await wait(task));
      },
    });
    expect(seen).toEqual([0, [4, 0x100]]);
  });
});

describe("signals", () => {
  const interrupted = async (flags: number): Promise<number[]> => {
    const results: number[] = [];
    await run({
      init: async (task) => {
        const fds = task.alloc(8);
        await task.call(NR.pipe2, fds, 0);
        await task.action(SIG.USR1, async () => void results.push(0), flags);
        const pid = await task.call(NR.getpid);
        const writer = task.u32(fds + 4);
        await task.clone(CHILD, async (child) => {
          await child.call(NR.rt_sigtimedwait, child.words(0), 0, child.words(0, 1e6), 8);
          await child.call(NR.kill, pid, SIG.USR1);
          await child.call(NR.rt_sigtimedwait, child.words(0), 0, child.words(0, 1e6), 8);
          await child.call(NR.write, writer, child.string("x"), 1);
        });
        results.push(await task.call(NR.read, task.u32(fds), task.alloc(16), 1));
        await wait(task);
      },
    });
    return results;
  };

  test("a handler interrupts a blocking call, which restarts with SA_RESTART", async () => {
    expect(await interrupted(0)).toEqual([0, -EINTR.number]);
    expect(await interrupted(SA.RESTART)).toEqual([0, 1]);
  });

  test("SIGSTOP and SIGCONT are reported to the parent; SIGKILL ends a stopped task", async () => {
    const seen: number[] = [];
    await run({
      init: async (task) => {
        const pid = await task.clone(CHILD, async (child) => {
          for (;;) await child.call(NR.rt_sigtimedwait, child.words(0), 0, child.words(5, 0), 8);
        });
        await task.call(NR.kill, pid, SIG.STOP);
        seen.push((await wait(task, pid, 2))[1]);
        await task.call(NR.kill, pid, SIG.CONT);
        seen.push((await wait(task, pid, 8))[1]);
        await task.call(NR.kill, pid, SIG.STOP);
        seen.push((await wait(task, pid, 2))[1]);
        await task.call(NR.kill, pid, SIG.KILL);
        seen.push((await wait(task, pid))[1]);
      },
    });
    expect(seen).toEqual([0x137f, 0xffff, 0x137f, 9]);
  });
});

describe("the end of tasks", () => {
  const BLOCKED: Record<string, (task: TestTask) => Promise<unknown>> = {
    nanosleep: (task) => task.call(NR.nanosleep, task.words(100, 0), 0),
    read: async (task) => {
      const fds = task.alloc(8);
      await task.call(NR.pipe2, fds, 0);
      return task.call(NR.read, task.u32(fds), task.alloc(16), 1);
    },
    ppoll: (task) => task.call(NR.ppoll, 0, 0, task.words(100, 0), 0, 8),
    futex: (task) => task.call(NR.futex, task.alloc(16), 0, 0, task.words(100, 0), 0, 0),
    sigsuspend: (task) => task.call(NR.rt_sigsuspend, task.words(0), 8),
    wait: async (task) => {
      await task.clone(CHILD, async (child) => {
        await child.call(NR.nanosleep, child.words(1, 0), 0);
      });
      return task.call(NR.wait4, -1, 0, 0, 0);
    },
    vfork: (task) =>
      task.clone(SPAWN, async (child) => {
        await child.call(NR.nanosleep, child.words(1, 0), 0);
      }),
    timers: async (task) => {
      await task.call(NR.setitimer, 0, task.words(50, 0, 50, 0), 0);
      await task.call(NR.timer_create, 1, 0, task.alloc(16));
      return task.call(NR.rt_sigsuspend, task.words(0), 8);
    },
  };

  test.each(Object.keys(BLOCKED))("SIGKILL of a task in %s frees all that it held", async (name) => {
    const seen: unknown[] = [];
    let lost: unknown;
    const { kernel, host } = bootPrograms({
      init: async (task) => {
        const once = (): Promise<void> =>
          task.scoped(async () => {
            const pid = await task.clone(SPAWN, async (child) => void (await child.execve("/bin/blocked")));
            await task.call(NR.nanosleep, task.words(0, 1_000_000), 0);
            seen.push(await task.call(NR.kill, pid, SIG.KILL), (await wait(task, pid))[1]);
            await task.call(NR.nanosleep, task.words(2, 0), 0);
            while ((await wait(task, -1, 1))[0] > 0);
          });
        await once();
        const before = kernel.kmalloc.snapshot();
        await once();
        lost = [...difference(before, kernel.kmalloc.snapshot()).keys()];
      },
      blocked: (task) => BLOCKED[name]!(task) as Promise<void>,
    });
    expect(await runMachine(kernel, setImmediate)).toBe(0);
    expect(host.errors).toEqual([]);
    expect(seen).toEqual([0, 9, 0, 9]);
    expect(lost).toEqual([]);
    expect([kernel.sched.timers.nextNs, host.tasks.size]).toEqual([undefined, 0]);
  });

  test("a second trap while one is outstanding throws", async () => {
    let error: unknown;
    await run({
      init: async (task) => {
        await task.clone(CHILD, async () => 0);
        const sleeping = wait(task);
        try {
          task.port.trap(NR.getpid);
        } catch (thrown) {
          error = thrown;
        }
        await sleeping;
      },
    });
    expect(String(error)).toContain("a second system call while one is outstanding");
  });

  test("a task that waits on the host is warned of, stops no other, and can be killed", async () => {
    const seen: unknown[] = [];
    const { log } = await run({
      init: async (task) => {
        const pid = await task.clone(CHILD, () => new Promise<number>(() => {}));
        const late = await task.clone(CHILD, async (child) => {
          await setImmediate();
          await setImmediate();
          return (await child.call(NR.getpid)) > 0 ? 5 : 6;
        });
        seen.push((await wait(task, late))[1]);
        await task.call(NR.kill, pid, SIG.TERM);
        seen.push((await wait(task, pid))[1]);
      },
    });
    expect(seen).toEqual([0x500, SIG.TERM]);
    expect(log).toContain("waits on something that is not this kernel");
  });

  test("exec by a thread ends the others and takes the leader's pid over", async () => {
    const seen: unknown[] = [];
    await run({
      init: async (task) => {
        const pid = await task.clone(SPAWN, async (child) => void (await child.execve("/bin/threads")));
        seen.push(pid, await wait(task));
      },
      threads: async (task) => {
        await task.clone(THREAD, async (thread) => void (await thread.execve("/bin/last")));
        await task.call(NR.rt_sigsuspend, task.words(0), 8);
      },
      last: async (task) => {
        seen.push(await task.call(NR.getpid), await task.call(NR.gettid));
        return 4;
      },
    });
    expect(seen).toEqual([3, 3, 3, [3, 0x400]]);
  });
});

describe("init", () => {
  const failure = async (options: BootOptions): Promise<string> => {
    const { kernel, host } = bootPrograms({ init: async () => 1, other: async () => 9 }, options);
    try {
      const status = await runMachine(kernel, setImmediate);
      return String(host.errors[0] ?? `status ${status}`);
    } catch (error) {
      return String(error);
    }
  };

  test.each([
    [
      { init: ["/sbin/init"] },
      "KernelBug: Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100",
    ],
    [{ init: ["/sbin/init", "-c", "x"] }, "status 1"],
    [{ commandLine: "init=/bin/other -- --once" }, "status 9"],
    [
      { commandLine: "init=/none" },
      "KernelBug: Kernel panic - not syncing: Requested init /none failed (error -2).",
    ],
    [{ init: ["/none", "-c"] }, "status 1"],
  ])("boots with %j", async (options, expected) => {
    expect(await failure(options)).toBe(expected);
  });

  test("without any program panics with Linux's text", async () => {
    const { kernel } = bootPrograms({});
    kernel.programHost = { has: () => false, start() {}, startThread() {}, exited() {} };
    await expect(runMachine(kernel, setImmediate)).rejects.toThrow("No working init found.");
  });

  describe("when memory runs out", () => {
    /** Maps and writes memory until it is killed. */
    const eat = async (task: TestTask): Promise<number> => {
      const size = 1024 * 1024;
      for (;;) {
        const start = await task.call(NR.mmap, 0, size, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0);
        try {
          for (let at = start; at < start + size; at += 4096) task.port.memory.writeU32(at, 1);
        } catch (error) {
          if (!(error instanceof UserFault)) throw error;
          // A program is unwound by the fault; its next trap, at the latest, does not return.
          await task.call(NR.getpid);
        }
      }
    };
    const start = (task: TestTask, path: string): Promise<number> =>
      task.clone(CLONE.VFORK | CLONE.VM | SIG.CHLD, async (child) => {
        await child.execve(path, [path], []);
        return 127;
      });
    const memory = (): ArrayBuffer => new ArrayBuffer(16 * 1024 * 1024);

    test("the process that asks is killed when it is the largest, and the machine goes on", async () => {
      const results: unknown[] = [];
      const { log } = await run(
        {
          init: async (task) => {
            results.push((await wait(task, await start(task, "/bin/eater")))[1]);
            task.port.memory.writeU32(task.alloc(64 * 1024), 1);
          },
          eater: eat,
        },
        { memory: memory() },
      );
      expect(results).toEqual([SIG.KILL]);
      expect(log).toMatch(
        /eater invoked oom-killer: [^]*Out of memory: Killed process 3 \(eater\) total-vm:/,
      );
    });

    test("init is spared, and has the memory of what was killed at once", async () => {
      const seen: unknown[] = [];
      const { log } = await run(
        {
          init: async (task) => {
            const pid = await start(task, "/bin/holder");
            const pages = 3000;
            const at = await task.call(
              NR.mmap,
              0,
              pages * 4096,
              PROT_READ_WRITE,
              MAP_PRIVATE_ANONYMOUS,
              -1,
              0,
            );
            // The holder takes half of memory, then init more than what is left.
            await task.call(NR.rt_sigtimedwait, task.words(0), 0, task.words(1, 0), 8);
            for (let page = 0; page < pages; page++) task.port.memory.writeU32(at + page * 4096, page);
            for (const page of [0, pages - 1]) seen.push(task.port.memory.readU32(at + page * 4096));
            seen.push((await wait(task, pid))[1]);
          },
          holder: async (task) => {
            const pages = 1500;
            const at = await task.call(
              NR.mmap,
              0,
              pages * 4096,
              PROT_READ_WRITE,
              MAP_PRIVATE_ANONYMOUS,
              -1,
              0,
            );
            for (let page = 0; page < pages; page++) task.port.memory.writeU32(at + page * 4096, 1);
            await task.call(NR.rt_sigtimedwait, task.words(0), 0, task.words(100, 0), 8);
            return 0;
          },
        },
        { memory: memory() },
      );
      expect(seen).toEqual([0, 2999, SIG.KILL]);
      expect(log).toMatch(/init invoked oom-killer: [^]*Out of memory: Killed process 3 \(holder\)/);
    });

    test("init that eats all of it ends the machine with a panic", async () => {
      const { kernel, host } = bootPrograms({ init: eat }, { memory: memory() });
      const ended = runMachine(kernel, setImmediate).then(
        () => String(host.errors[0]),
        (error: unknown) => String(error),
      );
      expect(await ended).toBe("KernelBug: Kernel panic - not syncing: System is deadlocked on memory");
    });
  });

  test("clone3 starts a child on the stack that its structure names, and refuses what it does not know", async () => {
    const results: number[] = [];
    await run({
      init: async (task) => {
        const size = 128 * 1024 - 16;
        const stack = task.alloc(size + 16);
        task.port.memory.writeU64(
          stack + size,
          task.addressOf(async () => 7),
        );
        const flags = CLONE.VM | CLONE.VFORK;
        const args = task.words(flags, 0, 0, 0, SIG.CHLD, stack, size, 0, 0, 0, 0);
        const pid = await task.call(NR.clone3, args, 88);
        const [child, status] = await wait(task);
        results.push(child - pid, status >> 8);
        results.push(await task.call(NR.clone3, args, 8), await task.call(NR.clone3, 0, 88));
        results.push(
          await task.call(NR.clone3, task.words(flags | SIG.CHLD, 0, 0, 0, 0, stack, size, 0), 64),
        );
      },
    });
    expect(results).toEqual([0, 7, -EINVAL.number, -EFAULT.number, -EINVAL.number]);
  });

  test("kernel threads are deaf to every signal, SIGKILL too", async () => {
    const answers: number[] = [];
    await run({
      init: async (task) => {
        for (const signo of [SIG.INT, SIG.TERM, SIG.STOP, SIG.KILL]) {
          await task.call(NR.kill, 2, signo);
          await task.call(NR.kill, -1, signo);
          await task.call(NR.nanosleep, task.words(0, 1_000_000), 0);
          answers.push(await task.call(NR.kill, 2, 0));
        }
      },
    });
    expect(answers).toEqual([0, 0, 0, 0]);
  });

  test("reboot stops the machine with the status in its last argument", async () => {
    const halt =
      (status: number, magic = 0x28121969): TestProgram =>
      async (task) =>
        (await task.call(NR.reboot, 0xfee1dead, magic, 0x4321fedc, status)) === -22 ? 77 : 78;
    expect((await run({ init: halt(42) })).status).toBe(42);
    expect((await run({ init: halt(42, 1) })).status).toBe(77);
  });
});

describe("a tree of processes", () => {
  const VARIANTS: readonly BootOptions[] = [
    ...[1, 2, 3].map((seed) => ({ seed, layout: Layout.shuffled(seed) })),
    ...[1, 2, 4].map((cpus) => ({ cpus })),
  ];

  test.each(VARIANTS.map((options, i) => [i, options] as const))(
    "is the same in variant %i",
    async (_, options) => {
      const seen: unknown[] = [];
      const { status } = await run(
        {
          init: async (task) => {
            const fds = task.alloc(8);
            await task.call(NR.pipe2, fds, 0);
            const [reader, writer] = [task.u32(fds), task.u32(fds + 4)];
            for (let i = 0; i < 3; i++)
              await task.clone(SPAWN, async (child) => {
                await child.execve("/bin/writer", ["writer", String(writer), String(i)]);
              });
            await task.call(NR.close, writer);
            let sum = 0;
            const buffer = task.alloc(16);
            while ((await task.call(NR.read, reader, buffer, 1)) === 1)
              sum += task.port.memory.readU8(buffer);
            for (let i = 0; i < 3; i++) seen.push((await wait(task))[1] >> 8);
            return sum;
          },
          writer: async (task) => {
            const [, fd, digit] = task.start().argv.map(Number);
            await task.call(NR.nanosleep, task.words(0, 1000 * digit!), 0);
            await task.call(NR.write, fd!, task.bytes(new Uint8Array([digit! + 1])), 1);
            return digit!;
          },
        },
        options,
      );
      expect(status).toBe(6);
      expect(seen.toSorted()).toEqual([0, 1, 2]);
    },
  );
});
