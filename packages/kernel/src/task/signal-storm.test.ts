/**
 * Processes and threads that stop, continue, kill and interrupt each other at random: whatever happened, SIGKILL ends each of
 * them, its parent reaps it, and nothing of it stays.
 */
import { CLONE, NR, PAGE_SIZE, SA, SIG, SIG_BLOCK, SIG_UNBLOCK } from "@alien-ts/abi";
import { setImmediate } from "node:timers/promises";
import { expect, test } from "vitest";
import { Prng } from "../core/prng.ts";
import { bootPrograms, runMachine, type TestTask } from "../testing-programs.ts";

const CHILD = CLONE.VM | SIG.CHLD;
const THREAD = CLONE.VM | CLONE.THREAD | CLONE.SIGHAND | CLONE.FS | CLONE.FILES;
const SIGNALS = [SIG.STOP, SIG.CONT, SIG.CONT, SIG.TSTP, SIG.USR1, SIG.USR1, SIG.TERM, SIG.KILL, SIG.RTMIN];
const CHILDREN = 6;
const STEPS = 12;

/** A clone whose stack is a mapping of its own. */
async function clone(
  task: TestTask,
  flags: number,
  body: (task: TestTask) => Promise<void>,
): Promise<number> {
  const size = 64 * PAGE_SIZE;
  const sp = (await task.call(NR.mmap, 0, size, 3, 0x22, -1, 0)) + size - 16;
  task.port.memory.writeU64(sp, task.addressOf(body));
  task.port.memory.writeU64(sp + 8, 0);
  return task.call(NR.clone, flags, sp);
}

/** What a task of the storm does at a step. */
function actions(prng: Prng, pids: readonly number[]): ((task: TestTask) => Promise<unknown>)[] {
  return [
    (task) => task.call(NR.clock_nanosleep, 1, 0, task.words(0, prng.below(5000)), 0),
    (task) => task.call(NR.kill, pids[prng.below(pids.length)]!, SIGNALS[prng.below(SIGNALS.length)]!),
    (task) => {
      const how = prng.below(2) === 0 ? SIG_BLOCK : SIG_UNBLOCK;
      return task.call(NR.rt_sigprocmask, how, task.words(1 << (SIG.USR1 - 1)), 0, 8);
    },
    (task) => task.call(NR.sched_yield),
    (task) => task.call(NR.sched_setaffinity, 0, 8, task.words(1 + prng.below(3))),
    async (task) => {
      const fds = task.alloc(16);
      if ((await task.call(NR.pipe2, fds, 0)) !== 0) return;
      await task.call(NR.read, task.u32(fds), fds, 1);
    },
    (task) => task.call(NR.getpid),
  ];
}

test.each(Array.from({ length: 16 }, (_, i) => [i + 1, 1 + (i % 4)]))(
  "a storm of signals leaves nothing behind (seed %i, %i CPUs)",
  async (seed, cpus) => {
    const prng = new Prng(seed);
    const pids: number[] = [];
    const waited: number[] = [];
    const choices = actions(prng, pids);
    const live = async (task: TestTask, mayClone: boolean): Promise<void> => {
      await task.action(SIG.USR1, async () => {}, prng.below(2) === 0 ? SA.RESTART : 0);
      await task.action(SIG.RTMIN, async (own) => void (await own.call(NR.getpid)), SA.RESTART);
      if (mayClone && prng.below(2) === 0) await clone(task, THREAD, (own) => live(own, false));
      for (let i = 0; i < STEPS; i++) await choices[prng.below(choices.length)]!(task);
    };
    const tasks = (): unknown[] =>
      ["task_struct", "pages:thread stack", "cred"].map((tag) => kernel.kmalloc.snapshot().get(tag)?.objects);
    const counts: unknown[] = [];
    const { kernel, host } = bootPrograms(
      {
        init: async (task) => {
          counts.push(tasks());
          for (let i = 0; i < CHILDREN; i++) pids.push(await clone(task, CHILD, (own) => live(own, true)));
          await task.call(NR.clock_nanosleep, 1, 0, task.words(0, 200_000), 0);
          for (const pid of pids) await task.call(NR.kill, pid, SIG.KILL);
          for (let i = 0; i < CHILDREN; i++) waited.push(await task.call(NR.wait4, -1, 0, 0, 0));
          await task.call(NR.getpid);
          counts.push(tasks());
        },
      },
      { cpus, seed },
    );
    await runMachine(kernel, setImmediate);
    if (host.errors.length > 0) throw host.errors[0];
    expect(waited.toSorted((a, b) => a - b)).toEqual(pids.toSorted((a, b) => a - b));
    expect(counts[1]).toEqual(counts[0]);
  },
);
