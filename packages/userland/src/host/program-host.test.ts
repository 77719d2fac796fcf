/** How programs meet the trap gate: promises, handlers, faults, exceptions. */
import { NR, SIG } from "@alien-ts/abi";
import { expect, test } from "vitest";
import { openProcess, type Process } from "../libc/process.ts";
import { kill, setSignal } from "../libc/signals.ts";
import { execve, startChild, waitFor } from "../libc/children.ts";
import { sleepFor } from "../libc/time.ts";
import { run, type Run } from "../testing/run.ts";
import type { Program } from "./program.ts";

/** Runs one function as a program. */
function runMain(
  main: (process: Process) => number | Promise<number>,
  programs: readonly Program[] = [],
): Promise<Run> {
  const program: Program = { name: "t", path: "/bin/t", main: (task) => main(openProcess(task)) };
  return run(["/bin/t"], { programs: [program, ...programs] });
}

test("a call that ends at once gives a number, and one that sleeps a promise", async () => {
  const kinds: boolean[] = [];
  const { status } = await runMain(async (process) => {
    const pid = process.trap(NR.getpid);
    kinds.push(typeof pid === "number");
    await startChild(process, () => 3);
    const waiting = process.trap(NR.wait4, -1, 0, 0, 0);
    kinds.push(typeof waiting === "number");
    return waiting;
  });
  expect(kinds).toEqual([true, false]);
  expect(status).toBe(2);
});

test("a second call while one is outstanding throws, and the process dies of SIGABRT", async () => {
  const { status, stderr } = await runMain(async (process) => {
    await startChild(process, () => 0);
    await Promise.all([process.call("wait4", -1), process.call("wait4", -1)]);
    return 0;
  });
  expect(stderr).toContain("a second system call while one is outstanding: await the first");
  expect(status).toBe(128 + SIG.ABRT);
});

test("a signal handler runs before the interrupted call returns, and may make calls itself", async () => {
  const order: string[] = [];
  const { status } = await runMain(async (process) => {
    await setSignal(process, SIG.USR1, async (signal) => {
      order.push(`handler ${signal}`);
      await process.trap(NR.getppid);
      order.push("handler ends");
    });
    await kill(process, await process.trap(NR.getpid), SIG.USR1);
    order.push("main");
    return 0;
  });
  expect(order).toEqual([`handler ${SIG.USR1}`, "handler ends", "main"]);
  expect(status).toBe(0);
});

test("a handler interrupts a call that sleeps", async () => {
  let interrupted = 0;
  await runMain(async (process) => {
    await setSignal(process, SIG.USR1, () => {});
    const pid = await process.trap(NR.getpid);
    await startChild(process, async (child) => {
      await kill(child, pid, SIG.USR1);
      await sleepFor(child, 1);
      return 0;
    });
    interrupted = await process.trap(NR.wait4, -1, 0, 0, 0);
    return 0;
  });
  expect(interrupted).toBe(-4);
});

test("an uncaught exception prints its stack and ends the process by SIGABRT", async () => {
  const { status, stderr } = await runMain(() => {
    throw new Error("broken");
  });
  expect(stderr).toMatch(/^Error: broken\n +at /);
  expect(status).toBe(134);
});

test("an access to an unmapped address ends the process by SIGSEGV", async () => {
  const { status, stderr } = await runMain((process) => process.memory.readU32(0));
  expect(status).toBe(139);
  expect(stderr).toBe("");
});

test("what main returns is the exit status, and its last output is written", async () => {
  const { status, stdout } = await runMain(async (process) => {
    await process.stdout.write("tail");
    await process.exit(300);
    return 1;
  });
  expect([status, stdout]).toEqual([300 & 0xff, "tail"]);
});

test("a child shares memory, but not descriptors or environment", async () => {
  const { stdout } = await runMain(async (process) => {
    const word = await process.malloc(16);
    process.memory.writeU32(word, 1);
    const pid = await startChild(process, async (child) => {
      child.memory.writeU32(word, 2);
      child.env.set("X", "child");
      await child.trap(NR.close, 1);
      return 7;
    });
    const status = await waitFor(process, pid);
    await process.stdout.write(`${status} ${process.memory.readU32(word)} ${process.env.get("X") ?? "-"}`);
    return process.exit(0);
  });
  expect(stdout).toBe("7 2 -");
});

test("execve leaves the code of the old image where it is", async () => {
  let continued = false;
  const other: Program = {
    name: "other",
    path: "/bin/other",
    main: async (task) => {
      const process = openProcess(task);
      await process.stdout.write(`${process.argv.join(",")} ${process.env.get("A") ?? ""}`);
      return process.exit(5);
    },
  };
  const result = await runMain(
    async (process) => {
      await execve(process, "/bin/other", ["other", "b c"], new Map([["A", "1"]]));
      continued = true;
      return 0;
    },
    [other],
  );
  expect([result.stdout, result.status, continued]).toEqual(["other,b c 1", 5, false]);
});
