import { CLOCK, Layout, NR, SIG } from "@alien-ts/abi";
import { clockGetTime, tool } from "@alien-ts/userland";
import { describe, expect, test } from "vitest";
import { bootTestKernel } from "./boot-test-kernel.ts";

const greet = tool({
  name: "greet",
  usage: "greet NAME",
  options: "",
  main: async (process, { operands }) => {
    await process.stdout.write(`hello, ${operands[0] ?? "nobody"}\n`);
    return operands.length;
  },
});

describe("a test machine", () => {
  test("runs commands, and gives their output and status", async () => {
    await using machine = await bootTestKernel();
    expect(await machine.run("echo hello | wc -c")).toEqual({ stdout: "6\n", stderr: "", status: 0 });
    expect(await machine.run("echo out; echo err >&2; exit 3")).toEqual({
      stdout: "out\n",
      stderr: "err\n",
      status: 3,
    });
    expect(
      await machine.run("cat; pwd; echo $X", { stdin: "in\n", cwd: "/tmp", env: { X: "y" } }),
    ).toMatchObject({
      stdout: "in\n/tmp\ny\n",
    });
    expect((await machine.run("kill -9 $$")).status).toBe(128 + SIG.KILL);
  });

  test("has the programs and files of the test", async () => {
    await using machine = await bootTestKernel({
      programs: [greet],
      files: { "/srv/": "", "/srv/name": "world" },
    });
    expect(await machine.run("greet $(cat /srv/name)")).toEqual({
      stdout: "hello, world\n",
      stderr: "",
      status: 1,
    });
    await machine.writeFile("/tmp/note", "ü\n");
    expect((await machine.run("cat /tmp/note")).stdout).toBe("ü\n");
    expect(await machine.readFile("/tmp/note")).toBe("ü\n");
  });

  test("runs functions of the test in processes", async () => {
    await using machine = await bootTestKernel();
    const pids = [
      await machine.inProcess(async (p) => p.trap(NR.getpid)),
      await machine.inProcess(async (p) => p.trap(NR.getpid)),
    ];
    expect(pids[1]).toBeGreaterThan(pids[0]!);
    await expect(machine.readFile("/none")).rejects.toThrow("No such file or directory");
  });

  test("lets time pass when told to, and stands still in between", async () => {
    await using machine = await bootTestKernel();
    const loop = await machine.spawn("while true; do echo tick; sleep 1; done");
    await machine.advance(3500);
    expect(loop.stdout).toBe("tick\n".repeat(4));
    const { nowMs } = machine;
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect([machine.nowMs, loop.stdout]).toEqual([nowMs, "tick\n".repeat(4)]);
    await loop.kill();
    expect((await loop.wait()).status).toBe(128 + SIG.TERM);
    const before = await machine.inProcess((p) => clockGetTime(p, CLOCK.MONOTONIC));
    await machine.run("sleep 100");
    const after = await machine.inProcess((p) => clockGetTime(p, CLOCK.MONOTONIC));
    expect(after.seconds - before.seconds).toBe(100);
  });

  test("runs commands side by side", async () => {
    await using machine = await bootTestKernel({ cpus: 4 });
    const results = await Promise.all([3, 1, 2].map((n) => machine.run(`sleep ${n}; date +%s`)));
    const times = results.map(({ stdout }) => Number(stdout));
    expect(times.map((time) => time - times[1]!)).toEqual([2, 0, 1]);
  });

  test("shows function calls, returns and trace events", async () => {
    await using machine = await bootTestKernel();
    const opened: string[] = [];
    const reads: bigint[] = [];
    const execs: string[] = [];
    {
      using _open = machine.probe("do_sys_openat2", (hit) => opened.push(`${hit.comm} ${hit.string(1)}`));
      using _read = machine.probeReturn("ksys_read", (hit) => reads.push(hit.returnValue));
      using _exec = machine.traceEvent("sched:sched_process_exec", (text) => execs.push(text));
      await machine.run("cat /etc/hostname");
    }
    expect(opened).toContain("cat /etc/hostname");
    expect(reads).toContain(6n);
    expect(execs.map((text) => text.replace(/ .*/, ""))).toEqual(["filename=/bin/sh", "filename=/bin/cat"]);
    const count = opened.length;
    await machine.run("cat /etc/hostname");
    expect(opened.length).toBe(count);
    expect(() => machine.probe("no_such_function", () => {})).toThrow("cannot probe no_such_function");
  });

  test("traces by its own tracefs", async () => {
    await using machine = await bootTestKernel();
    const { stdout, stderr } = await machine.run(
      "cd /sys/kernel/tracing; echo 1 > events/sched/sched_process_exit/enable; true | cat; (exit 3); /bin/true; cat trace",
    );
    expect(stderr).toBe("");
    expect(stdout).toContain("sched_process_exit: comm=true pid=");
  });

  test("repeats with the same seed, and not with another", async () => {
    const run = async (seed: number): Promise<string> => {
      await using machine = await bootTestKernel({ seed });
      const { stdout } = await machine.run(
        "ps; head -c 8 /dev/urandom | hexdump -C; (sleep 0.1; echo a) & echo b; wait",
      );
      return `${stdout} ${machine.nowMs}`;
    };
    const first = await run(1);
    expect(await run(1)).toBe(first);
    expect(await run(2)).not.toBe(first);
  });

  test("does the same on every layout", async () => {
    const seen = new Set<string>();
    for (const layout of [Layout.natural(), Layout.shuffled(1), Layout.shuffled(2), Layout.shuffled(3)]) {
      await using machine = await bootTestKernel({ layout });
      const { stdout, stderr } = await machine.run(
        "ps; ls -l /bin | wc -l; cat /proc/self/stat | cut -d' ' -f1-8; sleep 1 & wait",
      );
      seen.add(`${stdout}${stderr}${machine.nowMs}`);
    }
    expect([...seen]).toHaveLength(1);
  });

  test("says what is wrong when nothing can end a wait", async () => {
    await using machine = await bootTestKernel();
    await expect(machine.run("read line < /dev/ptmx")).rejects.toThrow(
      "every task sleeps, and nothing will wake one",
    );
    await expect(machine.run("true")).rejects.toThrow("every task sleeps");
  });

  test("gives up a command that takes too long in kernel time", async () => {
    await using machine = await bootTestKernel();
    await expect(machine.run("while true; do sleep 1; done", { limitMs: 5000 })).rejects.toThrow(
      "takes more than 5000 ms of kernel time",
    );
    expect((await machine.run("echo ok")).stdout).toBe("ok\n");
  });

  test("rejects what is outstanding when it stops", async () => {
    const machine = await bootTestKernel();
    await expect(machine.run("poweroff -f; sleep 1000")).rejects.toThrow("the machine has stopped");
    machine.close();
    await expect(machine.run("true")).rejects.toThrow("the machine has stopped");
  });

  test("is one of several in a process", async () => {
    await using a = await bootTestKernel({ release: "6.18.0-a" });
    await using b = await bootTestKernel({ release: "6.18.0-b" });
    const [x, y] = await Promise.all([a.run("uname -r"), b.run("uname -r")]);
    expect([x.stdout, y.stdout]).toEqual(["6.18.0-a\n", "6.18.0-b\n"]);
  });
});
