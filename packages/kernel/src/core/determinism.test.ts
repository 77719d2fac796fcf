/**
 * One seed, one run: a digest over every trap, context switch, trap of kernel text, timer and console byte, with their order,
 * arguments, results and times, is equal when a run is repeated, and another when only the seed differs.
 *
 * Two workloads: kernel threads that sleep, wake each other, set timers and hit probes; and user programs that clone, exec,
 * talk through pipes, sleep, send signals and write to the console.
 */
import { setImmediate } from "node:timers/promises";
import { CLONE, isErr, Layout, NR, s32, SIG, utf8Encode } from "@alien-ts/abi";
import { KprobeBuilder } from "@alien-ts/kprobe";
import { Sha256 } from "@alien-ts/testkit";
import { describe, expect, test } from "vitest";
import type { BootOptions } from "../boot.ts";
import { condResched, sleepUntil, waitEvent, WaitQueue, wakeUp, wakeUpAll } from "../sched/wait.ts";
import { bootPrograms, runMachine, type TestProgram, type TestTask } from "../testing-programs.ts";
import { settle, startTask, testKernel } from "../testing.ts";
import { plantKprobe, removeKprobe } from "../trace/kprobes.ts";
import type { Cx } from "./cx.ts";
import type { Kernel } from "./kernel.ts";
import type { Observer } from "./observer.ts";
import { type Blocking, kernelFn, sleepingFn } from "./row.ts";

/** Kinds of events in the digest. */
const EVENT = { trap: 1, contextSwitch: 2, textTrap: 3, timer: 4, console: 5 } as const;

/** Puts every event of a run into a digest. */
class HashingObserver implements Observer {
  readonly #hash = new Sha256();
  /** How many of each kind there were: a run without any proves nothing. */
  readonly counts = { trap: 0, contextSwitch: 0, textTrap: 0, timer: 0, console: 0 };

  trap(cx: Cx, nr: number, args: readonly number[], result: number): void {
    this.#add("trap", cx.task.pid, cx.cpu.id, nr, ...args, result, cx.kernel.clock.nowNs());
  }
  contextSwitch(cpu: number, prev: number, next: number, nowNs: number): void {
    this.#add("contextSwitch", cpu, prev, next, nowNs);
  }
  textTrap(cx: Cx, pc: number, cause: "break" | "debug"): void {
    // A slot out of line lies where memory was free, which depends on the sizes of structs.
    const at = cx.kernel.text.isKernelText(pc) ? pc : 0;
    this.#add("textTrap", cx.task.pid, cx.cpu.id, at, cause === "break" ? 0 : 1, cx.kernel.clock.nowNs());
  }
  timer(nowNs: number): void {
    this.#add("timer", nowNs);
  }
  console(bytes: Uint8Array): void {
    this.#add("console", bytes.length);
    this.#hash.update(bytes);
  }

  digest(): string {
    return this.#hash.hex();
  }

  #add(kind: keyof typeof EVENT, ...values: readonly number[]): void {
    this.counts[kind] += 1;
    this.#hash.numbers(EVENT[kind], ...values);
  }
}

interface Outcome {
  readonly digest: string;
  readonly counts: HashingObserver["counts"];
}

type Workload = (options: BootOptions) => Promise<Outcome>;

const layouts = [Layout.natural(), Layout.shuffled(11), Layout.shuffled(12), Layout.shuffled(13)];
const machines = [1, 2, 4].flatMap((cpus) =>
  layouts.map((layout) => ({ cpus, layout: layout.name, options: { cpus, layout } })),
);

function checkWorkload(name: string, work: Workload, seen: readonly (keyof typeof EVENT)[]): void {
  describe(name, () => {
    test.each(machines)("repeats with $cpus CPUs in layout $layout", async ({ options }) => {
      const first = await work({ ...options, seed: 42 });
      const again = await work({ ...options, seed: 42 });
      expect(again).toEqual(first);
      expect(seen.filter((kind) => first.counts[kind] === 0)).toEqual([]);
    });

    test.each([2, 4])("is another run with another seed on %i CPUs", async (cpus) => {
      const digests = new Set<string>();
      for (const seed of [1, 2, 3, 4]) digests.add((await work({ cpus, seed })).digest);
      expect(digests.size).toBe(4);
    });

    test("is not changed by the layout", async () => {
      const digests = new Set<string>();
      for (const layout of layouts) digests.add((await work({ cpus: 2, seed: 5, layout })).digest);
      expect(digests.size).toBe(1);
    });
  });
}

// Kernel threads.

const double = kernelFn("test_double", [["value", s32]], s32, (_, value) => value * 2);
const wait = sleepingFn("test_wait_for", [["value", s32]], s32, function* (cx, value) {
  const slept = yield* sleepUntil(cx, cx.kernel.clock.nowNs() + value * 1000);
  return isErr(slept) ? slept : value;
});
const rows = { double, wait };

const THREADS = 6;
const ROUNDS = 8;

/** Each thread passes a token on, sleeps for a random time, and calls probed rows. */
function* tokenRing(
  cx: Cx,
  own: number,
  ring: { holder: number; readonly queue: WaitQueue },
): Blocking<void> {
  for (let round = 0; round < ROUNDS; round++) {
    yield* waitEvent(cx, ring.queue, () => ring.holder === own);
    double(cx, round);
    yield* wait(cx, 1 + cx.kernel.prng.below(50));
    ring.holder = (own + 1) % THREADS;
    wakeUpAll(cx, ring.queue);
    yield* condResched(cx);
  }
}

function* burner(cx: Cx, meeting: WaitQueue): Blocking<void> {
  for (let i = 0; i < 2 * ROUNDS; i++) {
    cx.kernel.clock.charge(1_000_000);
    wakeUp(cx, meeting);
    yield* condResched(cx);
    if (cx.kernel.prng.below(3) === 0)
      yield* waitEvent(cx, meeting, () => false, { deadlineNs: cx.kernel.clock.nowNs() + 5000 });
  }
}

const threads: Workload = (options) => {
  const observer = new HashingObserver();
  const kernel = testKernel({ ...options, text: [rows], observer });
  const probes = [double, wait].map(({ row }) => {
    const made = plantKprobe(
      kernel.bootCx,
      new KprobeBuilder().with_symbol(row.name).with_pre_handler(() => 0),
    );
    if (isErr(made)) throw new Error(made.name);
    return made;
  });
  const ring = { holder: 0, queue: new WaitQueue() };
  const meeting = new WaitQueue();
  for (let i = 0; i < THREADS; i++) startTask(kernel, `ring${i}`, (cx) => tokenRing(cx, i, ring));
  for (let i = 0; i < 3; i++) startTask(kernel, `burn${i}`, (cx) => burner(cx, meeting));
  settle(kernel);
  for (const probe of probes) removeKprobe(kernel.bootCx, probe);
  return Promise.resolve({ digest: observer.digest(), counts: observer.counts });
};

checkWorkload("a run of kernel threads", threads, ["contextSwitch", "textTrap", "timer"]);

// User programs.

const CHILD = CLONE.VM | SIG.CHLD;
const AT_FDCWD = -100;
const O_RDWR = 2;

async function print(task: TestTask, text: string): Promise<void> {
  const bytes = utf8Encode(text);
  await task.call(NR.write, 1, task.bytes(bytes), bytes.length);
}

async function nap(task: TestTask, ns: number): Promise<void> {
  await task.call(NR.nanosleep, task.words(0, ns), 0);
}

/** Writes numbers into a pipe, with pauses. */
const producer = (fd: number, pauseNs: number) => async (task: TestTask) => {
  const at = task.alloc(16);
  for (let i = 0; i < 10; i++) {
    task.port.memory.writeU64(at, i);
    await task.call(NR.write, fd, at, 8);
    if (i % 3 === 0) await nap(task, pauseNs);
    await task.call(NR.getpid);
  }
  return 0;
};

/** Takes what two producers wrote, in the order in which it comes, and prints it. */
const init: TestProgram = async (task) => {
  const fds = task.alloc(8);
  await task.call(NR.pipe2, fds, 0);
  const [from, into] = [task.u32(fds), task.u32(fds + 4)];
  const children = [
    await task.clone(CHILD, producer(into, 50_000)),
    await task.clone(CHILD, producer(into, 70_000)),
    await task.clone(CHILD, async (child) => {
      await child.execve("/bin/worker");
      return 127;
    }),
  ];
  const buffer = task.alloc(256);
  let left = 160;
  while (left > 0) {
    const got = await task.call(NR.read, from, buffer, 64);
    left -= got;
    await print(task, `${got} at ${task.port.memory.readU64(buffer)}\n`);
  }
  const noise = task.alloc(16);
  await task.call(NR.getrandom, noise, 8, 0);
  await print(task, `random ${task.port.memory.readU64(noise)}\n`);
  await task.call(NR.kill, children[2]!, SIG.TERM);
  for (const _ of children) {
    const status = task.alloc(8);
    const pid = await task.call(NR.wait4, -1, status, 0, 0);
    await print(task, `${pid} ended with ${task.u32(status)}\n`);
  }
  return 0;
};

/** Works on a file until it is killed. */
const worker: TestProgram = async (task) => {
  const fd = await task.call(NR.openat, AT_FDCWD, task.string("/tmp/work"), O_RDWR | 0o100, 0o644);
  const buffer = task.alloc(64);
  for (;;) {
    await task.call(NR.pwrite64, fd, buffer, 64, 0);
    await task.call(NR.pread64, fd, buffer, 64, 0);
    await nap(task, 30_000);
  }
};

const programs: Workload = async (options) => {
  const observer = new HashingObserver();
  const { kernel, host } = bootPrograms({ init, worker }, { ...options, observer });
  probeReads(kernel);
  expect(await runMachine(kernel, setImmediate)).toBe(0);
  if (host.errors.length > 0) throw host.errors[0];
  return { digest: observer.digest(), counts: observer.counts };
};

function probeReads(kernel: Kernel): void {
  for (const symbol of ["vfs_read", "vfs_write"]) {
    const made = plantKprobe(
      kernel.bootCx,
      new KprobeBuilder().with_symbol(symbol).with_pre_handler(() => 0),
    );
    if (isErr(made)) throw new Error(`${symbol}: ${made.name}`);
  }
}

checkWorkload("a run of user programs", programs, ["trap", "contextSwitch", "textTrap", "timer", "console"]);
