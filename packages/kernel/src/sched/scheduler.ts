/**
 * The scheduler: N simulated CPUs in one host thread.
 *
 * Every CPU has a FIFO of runnable tasks. `run` picks a CPU and its next task from the kernel's seed, steps the task's
 * kernel work (a generator) and goes on until user code is on the host CPU, or nothing can run. Exactly one task's user code
 * is on the host at a time, the *hosted* one; it comes back by a trap. Preemption points are the end of a trap,
 * `condResched`, and sleeping.
 *
 * No promise and no host timer here: the app calls `turn`; a trap that blocks calls `run` itself.
 */
import { KERN } from "../core/printk.ts";
import type { Cpu } from "../core/cpu.ts";
import type { Cx } from "../core/cx.ts";
import { type Kernel, KernelBug } from "../core/kernel.ts";
import type { Prng } from "../core/prng.ts";
import type { Blocking } from "../core/row.ts";
import { TASK, type Task } from "../core/task.ts";
import { TimerQueue } from "./timers.ts";

declare module "../core/kernel.ts" {
  interface Kernel {
    sched: Scheduler;
  }
}
declare module "../core/cpu.ts" {
  interface Cpu {
    runqueue: Task[];
    /** Context switches. */
    switches: number;
    /** When the current task was put on the CPU. */
    sliceStartNs: number;
    idleNs: number;
  }
}
declare module "../core/task.ts" {
  interface Task {
    /** What the task does in the kernel when it is next on a CPU; undefined while it runs user code. */
    work: Blocking<void> | undefined;
    /** The CPU it ran on last. */
    lastCpu: Cpu;
    /** CPUs it may run on, by bit. */
    cpusMask: bigint;
    onRunqueue: boolean;
    hasPendingSignal: boolean;
    hasFatalSignal: boolean;
    /** User code that the app resumes: called when the task's kernel work is over and it goes back to user mode. */
    enterUser: (() => void) | undefined;
    /** Traps made, to see whether a hosted task still traps. */
    trapCount: number;
    /** Its user code waits on something that is not this kernel. */
    isForeign: boolean;
  }
}

/** Virtual costs, in nanoseconds: about those of a 1 GHz board. */
export const CONTEXT_SWITCH_NS = 1500;
export const INTERRUPT_NS = 800;

/** Linux's base slice (sysctl_sched_base_slice) on a small machine. */
const SLICE_NS = 3_000_000;
/** Traps that a hosted task may make before another CPU's task gets the host. */
const HOST_QUANTUM_TRAPS = 8;

export type TurnStatus =
  /** User code runs, or can run: call again at the next macrotask. */
  | { readonly state: "running" }
  /** All tasks sleep. `wakeInNs` until the next timer (host clock only), or undefined: only input can wake one. */
  | { readonly state: "idle"; readonly wakeInNs: number | undefined }
  | { readonly state: "halted"; readonly status: number };

export class Scheduler {
  readonly timers = new TimerQueue();
  readonly #kernel: Kernel;
  readonly #prng: Prng;
  /** The task whose user code is on the host CPU. */
  hosted: Task | undefined;
  #hostQuantum = HOST_QUANTUM_TRAPS;
  #seenTraps = 0;
  /** Set when the machine stopped; the exit status that the app reports. */
  halted: number | undefined;
  /** A task that waits on something foreign is an error instead of a warning (--strict-tasks). */
  strictTasks = false;

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
    this.#prng = kernel.prng.fork();
    for (const cpu of kernel.cpus) {
      cpu.runqueue = [];
      cpu.switches = 0;
      cpu.sliceStartNs = 0;
      cpu.idleNs = 0;
    }
  }

  /** Fields of a task that the scheduler owns; called where a task is made. */
  initTask(task: Task, cpu: Cpu): void {
    task.work = undefined;
    task.lastCpu = cpu;
    task.cpusMask = (1n << BigInt(this.#kernel.cpus.length)) - 1n;
    task.onRunqueue = false;
    task.hasPendingSignal = false;
    task.hasFatalSignal = false;
    task.enterUser = undefined;
    task.trapCount = 0;
    task.isForeign = false;
  }

  /** Makes `task` runnable on the CPU that suits it (select_task_rq): its last when idle, else an idle one, else the shortest queue. */
  activate(cx: Cx, task: Task): void {
    task.t.__state = TASK.RUNNING;
    if (task.onRunqueue || task.cx.cpu.current === task) return;
    this.#kernel.clock.charge(INTERRUPT_NS);
    const cpu = this.#selectCpu(task);
    if (cpu !== task.lastCpu) task.t.se.nr_migrations += 1;
    this.#enqueue(task, cpu);
    this.onWakeup?.(cx, task, cpu);
  }

  /** Where tracepoints hook in. */
  onWakeup: ((cx: Cx, task: Task, cpu: Cpu) => void) | undefined;
  onSwitch: ((cpu: Cpu, previous: Task, next: Task) => void) | undefined;

  #enqueue(task: Task, cpu: Cpu): void {
    task.onRunqueue = true;
    task.lastCpu = cpu;
    cpu.runqueue.push(task);
  }

  #selectCpu(task: Task): Cpu {
    const allowed = this.#kernel.cpus.filter((cpu) => ((task.cpusMask >> BigInt(cpu.id)) & 1n) === 1n);
    const load = (cpu: Cpu): number => cpu.runqueue.length + (cpu.current === cpu.idle ? 0 : 1);
    const least = Math.min(...allowed.map(load));
    const best = allowed.filter((cpu) => load(cpu) === least);
    if (best.length === 0) return task.lastCpu;
    return best.includes(task.lastCpu) ? task.lastCpu : best[this.#prng.below(best.length)]!;
  }

  /** Whether a task that reached a preemption point should let another run. */
  needsResched(task: Task): boolean {
    const cpu = task.cx.cpu;
    if (cpu.runqueue.length > 0 && this.#kernel.clock.nowNs() - cpu.sliceStartNs >= SLICE_NS) return true;
    if (!this.#kernel.cpus.some((other) => other !== cpu && other.runqueue.length > 0)) return false;
    this.#hostQuantum -= 1;
    return this.#hostQuantum <= 0;
  }

  /** Runs timers that are due, in interrupt context on the CPU of `cx`. */
  runTimers(): void {
    for (;;) {
      const now = this.#kernel.clock.nowNs();
      const timer = this.timers.takeExpired(now);
      if (timer === undefined) return;
      this.#kernel.clock.charge(INTERRUPT_NS);
      this.#kernel.observer.timer(timer.expiresNs);
      const cpu = this.#kernel.cpus[0]!;
      const interrupted = this.#kernel.current;
      this.#kernel.current = cpu.current.cx;
      cpu.irqDepth += 1;
      timer.callback(cpu.current.cx, timer);
      cpu.irqDepth -= 1;
      this.#kernel.current = interrupted;
    }
  }

  /** Steps tasks until user code is hosted or nothing can run. */
  run(): void {
    while (this.hosted === undefined && this.halted === undefined) {
      this.runTimers();
      const cpu = this.#pickCpu();
      if (cpu !== undefined) {
        this.#step(cpu);
        continue;
      }
      const next = this.timers.nextNs;
      if (next === undefined || !this.#kernel.clock.isVirtual) return;
      this.#kernel.clock.advanceTo(next);
    }
  }

  #pickCpu(): Cpu | undefined {
    const ready = this.#kernel.cpus.filter((cpu) => cpu.runqueue.length > 0);
    return ready.length < 2 ? ready[0] : ready[this.#prng.below(ready.length)];
  }

  #step(cpu: Cpu): void {
    const task = cpu.runqueue.shift()!;
    task.onRunqueue = false;
    this.#switchTo(cpu, task);
    const { work } = task;
    if (work !== undefined) {
      const step = work.next();
      if (step.done !== true) {
        this.deschedule(task);
        return;
      }
      task.work = undefined;
    }
    if (task.enterUser === undefined) throw new KernelBug(`task ${task.pid} has neither work nor a program`);
    this.hosted = task;
    this.#seenTraps = task.trapCount;
    this.#hostQuantum = 1 + this.#prng.below(HOST_QUANTUM_TRAPS);
    task.enterUser();
  }

  /** How long `cpu` has been idle, up to now. */
  idleNs(cpu: Cpu): number {
    return cpu.idleNs + (cpu.current === cpu.idle ? this.#kernel.clock.nowNs() - cpu.sliceStartNs : 0);
  }

  /** Steps the kernel work of the hosted task, in its own trap. */
  stepHosted(task: Task): void {
    const step = task.work!.next();
    if (step.done !== true) {
      this.deschedule(task);
      return;
    }
    task.work = undefined;
    task.enterUser?.();
  }

  /** The task leaves its CPU: to its queue when it is still runnable. */
  deschedule(task: Task): void {
    const cpu = task.cx.cpu;
    if (this.hosted === task) this.hosted = undefined;
    const now = this.#kernel.clock.nowNs();
    task.t.se.sum_exec_runtime += now - cpu.sliceStartNs;
    if (task.t.__state === TASK.RUNNING) {
      task.t.nivcsw += 1;
      this.#enqueue(task, cpu);
    } else task.t.nvcsw += 1;
    task.t.on_cpu = 0;
    this.#setCurrent(cpu, cpu.idle, task);
    this.#kernel.current = cpu.idle.cx;
  }

  #switchTo(cpu: Cpu, task: Task): void {
    const previous = cpu.current;
    if (previous !== task) this.#setCurrent(cpu, task, previous);
    task.cx.cpu = cpu;
    this.#kernel.current = task.cx;
    task.t.thread_info.cpu = cpu.id;
    task.t.on_cpu = 1;
  }

  /** A switch through the idle task on the way to another is one switch, as on Linux. */
  #setCurrent(cpu: Cpu, next: Task, previous: Task): void {
    const now = this.#kernel.clock.nowNs();
    if (cpu.current === cpu.idle) cpu.idleNs += now - cpu.sliceStartNs;
    cpu.current = next;
    cpu.sliceStartNs = now;
    if (next === cpu.idle && cpu.runqueue.length > 0) {
      this.#leaving.set(cpu, previous);
      return;
    }
    const from = this.#leaving.get(cpu) ?? previous;
    this.#leaving.delete(cpu);
    if (from === next) return;
    cpu.switches += 1;
    this.#kernel.clock.charge(CONTEXT_SWITCH_NS);
    this.#kernel.observer.contextSwitch(cpu.id, from.pid, next.pid, this.#kernel.clock.nowNs());
    this.onSwitch?.(cpu, from, next);
  }

  /** Tasks that left a CPU whose next task is not known yet. */
  readonly #leaving = new Map<Cpu, Task>();

  /**
   * The app's loop calls this once per macrotask. A hosted task that has not trapped since the last call waits on something
   * that is not this kernel: it is warned of once, and the others run.
   */
  turn(): TurnStatus {
    if (this.halted !== undefined) return { state: "halted", status: this.halted };
    const { hosted } = this;
    if (hosted !== undefined) {
      if (hosted.trapCount !== this.#seenTraps) {
        this.#seenTraps = hosted.trapCount;
        return { state: "running" };
      }
      this.#becomesForeign(hosted);
    }
    this.run();
    if (this.halted !== undefined) return { state: "halted", status: this.halted };
    if (this.hosted !== undefined) return { state: "running" };
    const next = this.timers.nextNs;
    return {
      state: "idle",
      wakeInNs: next === undefined ? undefined : Math.max(0, next - this.#kernel.clock.nowNs()),
    };
  }

  #becomesForeign(task: Task): void {
    const text =
      `task ${task.pid} (${task.t.comm}) waits on something that is not this kernel (a host promise or timer): ` +
      "the others go on, and the run is no longer deterministic; await system calls and the executor's futures only";
    if (this.strictTasks) throw new KernelBug(text);
    this.#kernel.log.once(`foreign:${task.pid}`, KERN.WARNING, text);
    task.isForeign = true;
    task.t.__state = TASK.INTERRUPTIBLE;
    this.deschedule(task);
  }

  /** Every task that can run or will: for a diagnosis of an idle machine. */
  get hasTimers(): boolean {
    return this.timers.nextNs !== undefined;
  }
}
