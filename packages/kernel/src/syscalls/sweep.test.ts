import { CLONE, MAP, NR, PROT, SIG } from "@alien-ts/abi";
import { setImmediate } from "node:timers/promises";
import { expect, test } from "vitest";
import { NO_OBSERVER, type Observer } from "../core/observer.ts";
import { difference } from "../mm/allocation-faults.ts";
import { bootPrograms, runMachine, type TestTask } from "../testing-programs.ts";
import { SYSCALLS } from "./table.ts";

const PAGE = 4096;
const ROWS = SYSCALLS.flat();
/** Calls that end the task or the machine, or return elsewhere, when they succeed. */
const ENDS: ReadonlySet<number> = new Set([
  NR.exit,
  NR.exit_group,
  NR.reboot,
  NR.rt_sigreturn,
  NR.clone,
  NR.clone3,
]);

/** Rows that the sweep never sees return, and why. */
const UNSEEN: Readonly<Record<string, string>> = {
  clone3: "a child needs a function of its program: programs.test.ts calls it",
  exit: "does not return",
  exit_group: "does not return",
  reboot: "stops the machine: programs.test.ts calls it",
};

const anonymous = MAP.PRIVATE | MAP.ANONYMOUS;

/** Addresses that are wrong in every way. */
async function badPointers(task: TestTask): Promise<number[]> {
  const pages = await task.call(NR.mmap, 0, 3 * PAGE, PROT.READ | PROT.WRITE, anonymous, -1, 0);
  await task.call(NR.munmap, pages + PAGE, PAGE);
  await task.call(NR.mprotect, pages + 2 * PAGE, PAGE, PROT.READ);
  return [0, pages + PAGE, pages + 2 * PAGE, pages + PAGE - 3, 2 ** 64 - 2 ** 38, 2 ** 63];
}

const isPointer = (c: string): boolean => c.endsWith("*");

const NUMBERS = [0, 1, 8];
const counts = { calls: 0 };

/**
 * Every pointer argument of one call with every bad address; all others are a page of zeroes, or small numbers. A call without
 * pointers is made with small numbers.
 */
async function sweepCall(task: TestTask, nr: number): Promise<void> {
  const row = ROWS.find((known) => known.nr === nr)!;
  const bad = await badPointers(task);
  const good = await task.call(NR.mmap, 0, PAGE, PROT.READ | PROT.WRITE, anonymous, -1, 0);
  await task.action(SIG.ALRM, async () => 0, 0);
  await task.call(NR.setitimer, 0, task.words(0, 1000, 0, 1000), 0);
  for (const number of row.params.some(([, { c }]) => isPointer(c)) ? [] : NUMBERS) {
    await task.call(nr, ...row.params.map(() => number));
    counts.calls += 1;
  }
  for (const [position, [, kind]] of row.params.entries()) {
    if (!isPointer(kind.c)) continue;
    for (const address of bad)
      for (const number of NUMBERS)
        for (const others of [good, 0]) {
          const args = row.params.map(([, other], i) =>
            i === position ? address : isPointer(other.c) ? others : number,
          );
          await task.call(nr, ...args);
          counts.calls += 1;
        }
  }
}

test("every row is called, and no pointer argument of any throws, hangs or leaks", async () => {
  const leaks: string[] = [];
  const failures: string[] = [];
  let isDone = false;
  const called = new Set<number>();
  const observer: Observer = { ...NO_OBSERVER, trap: (_cx, nr) => void called.add(nr) };
  const { kernel, host } = bootPrograms(
    {
      init: async (task) => {
        const spawn = (nr: number): Promise<void> =>
          task.scoped(async () => {
            const pid = await task.clone(CLONE.VM | CLONE.VFORK | SIG.CHLD, async (child) => {
              await child.execve("/bin/sweep", ["sweep", String(nr)]);
            });
            const status = task.alloc(16);
            while ((await task.call(NR.wait4, pid, status, 0, 0)) !== pid);
            if (task.u32(status) !== 0) failures.push(`${nr}: ${task.u32(status)}`);
          });
        for (let i = 0; i < 3; i++) await spawn(NR.getpid);
        for (const { nr, name } of ROWS) {
          if (ENDS.has(nr)) continue;
          const before = kernel.kmalloc.snapshot();
          await spawn(nr);
          await task.call(NR.sched_yield);
          const lost = difference(before, kernel.kmalloc.snapshot());
          for (const [tag, usage] of lost) leaks.push(`${name}: ${tag} ${JSON.stringify(usage)}`);
        }
        isDone = true;
      },
      sweep: async (task) => {
        await sweepCall(task, Number(task.start().argv[1]));
      },
    },
    { observer },
  );
  await runMachine(kernel, setImmediate);

  expect(host.errors).toEqual([]);
  expect(isDone).toBe(true);
  expect(counts.calls).toBeGreaterThan(5000);
  expect(failures).toEqual([]);
  expect(kernel.sched.timers.nextNs).toBe(undefined);
  expect(leaks).toEqual([]);
  const unseen = ROWS.filter(({ nr }) => !called.has(nr)).map(({ name }) => name);
  expect(unseen.toSorted()).toEqual(Object.keys(UNSEEN).toSorted());
});
