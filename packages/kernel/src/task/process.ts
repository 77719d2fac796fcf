/**
 * Thread groups. A `Process` owns what the threads of a group share: identity, job control, limits, pending signals, times.
 * `SigHand` holds the signal actions, which CLONE_SIGHAND shares. `PidTable` numbers tasks and finds them.
 */
import { NSIG, RLIM_NLIMITS, RLIMIT } from "@alien-ts/abi";
import type { KernelLog } from "../core/printk.ts";
import type { Task } from "../core/task.ts";
import { WaitQueue } from "../sched/wait.ts";

declare module "../core/task.ts" {
  interface Task {
    process: Process;
  }
}
declare module "../core/kernel.ts" {
  interface Kernel {
    pids: PidTable;
  }
}

export interface ResourceLimit {
  /** Infinity is RLIM_INFINITY. */
  readonly soft: number;
  readonly hard: number;
}

const INFINITE: ResourceLimit = { soft: Number.POSITIVE_INFINITY, hard: Number.POSITIVE_INFINITY };

/** Linux's INIT_RLIMITS, with the RLIMIT_NOFILE and RLIMIT_NPROC of a small machine. */
export function initialLimits(): ResourceLimit[] {
  const limits = Array.from({ length: RLIM_NLIMITS }, () => INFINITE);
  limits[RLIMIT.STACK] = { soft: 8 * 1024 * 1024, hard: Number.POSITIVE_INFINITY };
  limits[RLIMIT.CORE] = { soft: 0, hard: Number.POSITIVE_INFINITY };
  limits[RLIMIT.NPROC] = { soft: 4096, hard: 4096 };
  limits[RLIMIT.NOFILE] = { soft: 1024, hard: 4096 };
  limits[RLIMIT.MEMLOCK] = { soft: 8 * 1024 * 1024, hard: 8 * 1024 * 1024 };
  limits[RLIMIT.SIGPENDING] = { soft: 4096, hard: 4096 };
  limits[RLIMIT.MSGQUEUE] = { soft: 819_200, hard: 819_200 };
  limits[RLIMIT.NICE] = { soft: 0, hard: 0 };
  limits[RLIMIT.RTPRIO] = { soft: 0, hard: 0 };
  return limits;
}

export interface SigAction {
  /** SIG_DFL, SIG_IGN or a user address. */
  readonly handler: number;
  readonly flags: number;
  readonly mask: bigint;
}

export const DEFAULT_ACTION: SigAction = { handler: 0, flags: 0, mask: 0n };

/** struct sighand_struct: index 0 is unused. */
export class SigHand {
  actions: SigAction[] = Array.from({ length: NSIG + 1 }, () => DEFAULT_ACTION);

  copy(): SigHand {
    const copy = new SigHand();
    copy.actions = [...this.actions];
    return copy;
  }
}

/** What a signal carries (siginfo_t). */
export interface SigInfo {
  readonly signo: number;
  readonly code: number;
  readonly errno: number;
  readonly pid: number;
  readonly uid: number;
  /** CLD_*: exit status or signal. */
  readonly status: number;
  /** Faults: the address. */
  readonly addr: number;
  /** sigqueue: sival; timers: the timer id. */
  readonly value: bigint;
}

/** struct sigpending: standard signals are kept once, real-time signals queue. */
export class SigPending {
  mask = 0n;
  readonly queue: SigInfo[] = [];
}

export interface CpuTimes {
  /** On a CPU, in the kernel or not. */
  runNs: number;
  userNs: number;
  systemNs: number;
  minorFaults: number;
  majorFaults: number;
  voluntarySwitches: number;
  involuntarySwitches: number;
}

const noTimes = (): CpuTimes => ({
  runNs: 0,
  userNs: 0,
  systemNs: 0,
  minorFaults: 0,
  majorFaults: 0,
  voluntarySwitches: 0,
  involuntarySwitches: 0,
});

export class Process {
  leader: Task;
  readonly threads = new Set<Task>();
  pgid: number;
  sid: number;
  limits: ResourceLimit[];
  readonly pending = new SigPending();
  /** Tasks that wait for children (wait4) sleep here. */
  readonly waitChild = new WaitQueue();
  /** Readiness of pidfds of this process. */
  readonly waitPidfd = new WaitQueue();
  /** Set when the whole group is to die: the status for wait. */
  groupExit: number | undefined;
  /** A thread that execs: the others die, the group does not. */
  execThread: Task | undefined;
  /** SIGSTOP took effect: the signal; cleared by SIGCONT. */
  stoppedBy = 0;
  /** The parent has been told of this stop (wait4 consumed it). */
  stopReported = false;
  continuedReported = true;
  isSubreaper = false;
  hasExeced = false;
  /** Times of threads that are gone, and of children that were waited for. */
  readonly deadThreads = noTimes();
  readonly waitedChildren = noTimes();
  maxRssPages = 0;
  childrenMaxRssPages = 0;
  /** How likely the OOM killer takes it: -1000 (never) to 1000; inherited by children. */
  oomScoreAdj = 0;
  /** The OOM killer killed it, and took its memory. */
  isOomVictim = false;

  constructor(leader: Task, pgid: number, sid: number, limits: readonly ResourceLimit[]) {
    this.leader = leader;
    this.pgid = pgid;
    this.sid = sid;
    this.limits = [...limits];
  }

  limit(resource: number): number {
    return this.limits[resource]!.soft;
  }

  get pid(): number {
    return this.leader.pid;
  }
}

/** Linux's default pid_max on a small machine. */
export const PID_MAX = 32_768;
const RESERVED_PIDS = 300;

export class PidTable {
  readonly #tasks = new Map<number, Task>();
  #last = 0;
  readonly log: KernelLog;

  constructor(log: KernelLog) {
    this.log = log;
  }

  /** The next free number, cyclically: low ones are not reused after a wrap. Undefined when all are taken. */
  allocate(): number | undefined {
    for (let tries = 0; tries < PID_MAX; tries++) {
      this.#last = this.#last + 1 >= PID_MAX ? RESERVED_PIDS : this.#last + 1;
      if (!this.#tasks.has(this.#last) && !this.#isGroupInUse(this.#last)) return this.#last;
    }
    return undefined;
  }

  /** A pid is not given again while it names a process group or session. */
  #isGroupInUse(pid: number): boolean {
    for (const task of this.#tasks.values())
      if (task.process.pgid === pid || task.process.sid === pid) return true;
    return false;
  }

  add(task: Task): void {
    this.#tasks.set(task.pid, task);
  }

  remove(task: Task): void {
    if (this.#tasks.get(task.pid) === task) this.#tasks.delete(task.pid);
  }

  /** Any thread, zombies included. */
  find(pid: number): Task | undefined {
    return this.#tasks.get(pid);
  }

  /** A thread group by its leader's pid. */
  process(pid: number): Process | undefined {
    const task = this.#tasks.get(pid);
    return task !== undefined && task.process.leader === task ? task.process : undefined;
  }

  /** All tasks, by pid. */
  tasks(): Task[] {
    return [...this.#tasks.values()].sort((a, b) => a.pid - b.pid);
  }

  /** All thread groups, by pid. */
  processes(): Process[] {
    return this.tasks()
      .filter((task) => task.process.leader === task)
      .map((task) => task.process);
  }

  group(pgid: number): Process[] {
    return this.processes().filter((process) => process.pgid === pgid);
  }

  session(sid: number): Process[] {
    return this.processes().filter((process) => process.sid === sid);
  }

  get lastPid(): number {
    return this.#last;
  }

  get count(): number {
    return this.#tasks.size;
  }
}
