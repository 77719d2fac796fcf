/**
 * The random suite of system calls: any number with any arguments, from programs on a whole machine. None throws on the host,
 * hangs (every program can be killed) or leaves memory behind.
 *
 * Every run is a program of its own, in a jail on a tmpfs that goes with it; some dozens share a machine. An interval timer ends
 * calls that block, and init kills a program that takes a second of virtual time.
 */
import { CLONE, MAP, MNT_DETACH, NR, PROT, SIG } from "@alien-ts/abi";
import { type AsyncFuzzSuite, type FuzzOptions, type FuzzReport, Prng, type Reach } from "@alien-ts/testkit";
import { setImmediate } from "node:timers/promises";
import type { Kernel } from "../src/core/kernel.ts";
import type { SyscallResult, SyscallRow } from "../src/core/syscall.ts";
import { difference } from "../src/mm/allocation-faults.ts";
import { reapDeadTasks } from "../src/task/exit.ts";
import { WaitQueue, waitEvent } from "../src/sched/wait.ts";
import { SYSCALLS } from "../src/syscalls/table.ts";
import { bootPrograms, type TestTask } from "../src/testing-programs.ts";
import type { Cx } from "../src/core/cx.ts";
import type { Blocking } from "../src/core/row.ts";
import { TASK } from "../src/core/task.ts";

/** Plants a bug into a fresh kernel. */
type Bug = (kernel: Kernel) => void;
type Body = (
  cx: Cx,
  real: () => SyscallResult | Blocking<SyscallResult>,
) => SyscallResult | Blocking<SyscallResult>;

const replace =
  (nr: number, body: Body): Bug =>
  ({ syscallTable }) => {
    const row = syscallTable[nr]!;
    const gate = Object.assign((cx: Cx, regs: number) => body(cx, () => row.gate(cx, regs)), {
      row: row.row,
    });
    syscallTable[nr] = { ...row, gate } satisfies SyscallRow;
  };

const BUGS: Readonly<Record<string, Bug>> = {
  "a call throws on the host": replace(NR.getcwd, () => {
    throw new TypeError("a planted bug");
  }),
  "a call leaves memory behind": replace(NR.dup, (cx, real) => {
    cx.kernel.kmalloc.kmalloc(32, "leak");
    return real();
  }),
  "a call sleeps and cannot be killed": replace(NR.sched_yield, function* (cx) {
    yield* waitEvent(cx, new WaitQueue(), () => false, { state: TASK.UNINTERRUPTIBLE });
    return 0;
  } as Body),
};

export const syscallFuzz: AsyncFuzzSuite = {
  name: "syscalls",
  run: (options) => runAll(options, () => {}),
  mutations: new Map(Object.entries(BUGS).map(([name, bug]) => [name, (options) => runAll(options, bug)])),
};

const MACHINE_RUNS = 40;
const CALLS = 60;

async function runAll({ runs, seed }: FuzzOptions, bug: Bug): Promise<FuzzReport> {
  const failures: string[] = [];
  const branches = new Map<string, number>();
  const reach: Reach = (branch) => void branches.set(branch, (branches.get(branch) ?? 0) + 1);
  for (let first = 0; first < runs && failures.length === 0; first += MACHINE_RUNS) {
    const count = Math.min(MACHINE_RUNS, runs - first);
    failures.push(...(await runOneMachine({ runs: count, seed: seed + first }, bug, reach)));
  }
  return { runs, seed, failures, branches };
}

/** What a machine's programs share with its init. */
interface Machine {
  seed: number;
  /** When the program that runs must have ended. */
  deadlineNs: number;
  /** The last calls of the program that runs. */
  trace: string[];
  readonly failures: string[];
  readonly reach: Reach;
}

async function runOneMachine(
  { runs, seed }: FuzzOptions,
  bug: Bug,
  reach: Reach,
): Promise<readonly string[]> {
  const machine: Machine = { seed, deadlineNs: RUN_NS, trace: [], failures: [], reach };
  let isDone = false;
  const { kernel, host } = bootPrograms({
    init: async (task) => {
      await task.action(SIG.ALRM, async () => 0);
      await spawn(task, ["idle"]);
      await spawn(task, ["idle"]);
      bug(kernel);
      for (let i = 0; i < runs && machine.failures.length === 0; i++)
        await runProgram(task, kernel, machine, seed + i);
      isDone = true;
    },
    fuzz: (task) => fuzzProgram(task, machine),
    idle: async () => {},
  });
  const where = (): string => `seed ${machine.seed}, after ${machine.trace.join(", ")}`;
  try {
    await runUntilDone(kernel, machine);
  } catch (error) {
    return [`${where()}: ${error instanceof Error ? error.stack : String(error)}`];
  }
  for (const error of host.errors) machine.failures.push(`${where()}: ${String(error)}`);
  if (!isDone && machine.failures.length === 0) machine.failures.push(`${where()}: the program does not end`);
  return machine.failures;
}

/** Turns in a row without work: a program may still come back from something foreign. */
const IDLE_TURNS = 20;
/** What a program and its end may take, killed or not. */
const RUN_NS = 3_000_000_000;

/** Returns when the machine halts, sleeps for ever, or a program outlives its time. */
async function runUntilDone(kernel: Kernel, machine: Machine): Promise<void> {
  for (let idle = 0; idle < IDLE_TURNS && kernel.clock.nowNs() < machine.deadlineNs;) {
    const status = kernel.sched.turn();
    if (status.state === "halted") return;
    idle = status.state === "idle" && status.wakeInNs === undefined ? idle + 1 : 0;
    await setImmediate();
  }
}

async function runProgram(task: TestTask, kernel: Kernel, machine: Machine, seed: number): Promise<void> {
  machine.seed = seed;
  machine.trace = [];
  machine.deadlineNs = kernel.clock.nowNs() + RUN_NS;
  await settle(task, kernel);
  const before = kernel.kmalloc.snapshot();
  await task.scoped(async () => {
    const [tmpfs, jail] = [task.string("tmpfs"), task.string("/tmp")];
    await task.call(NR.mount, tmpfs, jail, tmpfs, 0, 0);
    await spawn(task, ["fuzz"]);
    // Programs mount over it, too.
    while ((await task.call(NR.umount2, jail, MNT_DETACH)) === 0);
  });
  await settle(task, kernel);
  const left = [...difference(before, kernel.kmalloc.snapshot())].map(
    ([tag, { objects }]) => `${objects} ${tag}`,
  );
  if (left.length > 0)
    machine.failures.push(
      `seed ${seed}: left behind: ${left.join(", ")}; calls: ${machine.trace.join(", ")}`,
    );
}

/** Until the CPU that ran the last program is idle: only then is that program's stack free. */
async function settle(task: TestTask, kernel: Kernel): Promise<void> {
  await task.scoped(() => task.call(NR.nanosleep, task.words(0, 1_000_000), 0));
  reapDeadTasks(kernel.bootCx);
}

/** Runs /bin/<name> to its end, which SIGKILL brings after a second. */
async function spawn(task: TestTask, args: readonly string[]): Promise<void> {
  await task.scoped(async () => {
    const pid = await task.clone(CLONE.VM | CLONE.VFORK | SIG.CHLD, async (child) => {
      await child.execve(`/bin/${args[0]}`, args);
    });
    await task.call(NR.setitimer, 0, task.words(0, 0, 1, 0), 0);
    for (let got = 0; got !== pid;) {
      got = await task.call(NR.wait4, pid, 0, 0, 0);
      if (got < 0) await task.call(NR.kill, pid, SIG.KILL);
    }
    await task.call(NR.setitimer, 0, task.words(0, 0, 0, 0), 0);
  });
}

/**
 * Calls that end the program or the machine, that go on elsewhere, that write to other programs, or whose effect stays on
 * purpose.
 */
const EXCLUDED: ReadonlySet<number> = new Set([
  NR.exit,
  NR.exit_group,
  NR.reboot,
  NR.rt_sigaction,
  NR.rt_sigreturn,
  NR.clone,
  NR.clone3,
  NR.shmget,
  NR.process_vm_writev,
  NR.prlimit64,
  NR.pivot_root,
]);
const ROWS = SYSCALLS.flat().filter(({ nr }) => !EXCLUDED.has(nr));

const PAGE = 4096;
const STRINGS = ["/", "a", "b", "a/b", "..", "", "a/../b", "tmpfs", "x".repeat(300), "user.k"];
const NUMBERS = [
  0,
  0,
  1,
  2,
  3,
  4,
  5,
  6,
  7,
  8,
  16,
  64,
  100,
  511,
  PAGE,
  0x8000,
  2 ** 31 - 1,
  2 ** 31,
  2 ** 32 - 1,
  -1,
  -2,
  -100,
  2 ** 52,
];

async function fuzzProgram(task: TestTask, machine: Machine): Promise<void> {
  const random = new Prng(machine.seed);
  const flags = MAP.PRIVATE | MAP.ANONYMOUS;
  const pages = await task.call(NR.mmap, 0, 4 * PAGE, PROT.READ | PROT.WRITE, flags, -1, 0);
  const pointers = fillMemory(task, random, pages);
  await task.call(NR.mprotect, pages + 2 * PAGE, PAGE, PROT.READ);
  await task.call(NR.munmap, pages + 3 * PAGE, PAGE);
  const root = task.string("/");
  await task.call(NR.chroot, task.string("/tmp"));
  await task.call(NR.chdir, root);
  await task.action(SIG.ALRM, async () => 0);
  const timer = task.words(0, 1000, 0, 1000);
  for (let i = 0; i < CALLS; i++) {
    await task.call(NR.setitimer, 0, timer, 0);
    const row = random.pick(ROWS);
    const nr = random.oneIn(40) ? random.below(2000) : row.nr;
    if (EXCLUDED.has(nr)) continue;
    const args = Array.from({ length: 6 }, (_, n) => argument(random, row.params[n]?.[1].c ?? "", pointers));
    machine.trace.push(
      `${nr === row.nr ? row.name : nr}(${args.slice(0, Math.max(1, row.params.length)).join(" ")})`,
    );
    const result = await task.call(nr, ...args);
    if (nr === row.nr)
      machine.reach(`${row.name}: ${result < 0 && result >= -4095 ? `errno ${-result}` : "done"}`);
  }
}

/** Strings, small numbers and pointers to them in the first two pages; addresses that are wrong in every way. */
function fillMemory(task: TestTask, random: Prng, pages: number): readonly number[] {
  const pointers: number[] = [];
  STRINGS.forEach((text, i) => {
    const at = pages + i * 320;
    task.port.memory.write(
      at,
      Uint8Array.from(`${text}\0`, (c) => c.charCodeAt(0)),
    );
    pointers.push(at);
  });
  for (let at = pages + PAGE; at < pages + 2 * PAGE; at += 8)
    task.port.memory.writeU64(at, random.oneIn(3) ? random.pick(pointers) : Math.abs(random.pick(NUMBERS)));
  for (let i = 0; i < 8; i++) pointers.push(pages + PAGE + 8 * random.below(400));
  return [
    ...pointers,
    0,
    pages + 2 * PAGE,
    pages + 2 * PAGE - 3,
    pages + 3 * PAGE,
    pages + 3 * PAGE - 3,
    2 ** 63,
  ];
}

function argument(random: Prng, c: string, pointers: readonly number[]): number {
  if (random.oneIn(20)) return random.u32() * (random.oneIn(2) ? 1 : 2 ** 20);
  return c.endsWith("*") !== random.oneIn(20) ? random.pick(pointers) : random.pick(NUMBERS);
}
