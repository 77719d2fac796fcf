/**
 * The scheduler: N simulated CPUs in one host thread.
 *
 * Every CPU has a current task and a FIFO of runnable ones. `run` picks a busy CPU from the kernel's seed, steps its current
 * task's kernel work (a generator) and goes on until user code is on the host CPU, or nothing can run. Exactly one task's user
 * code is on the host at a time, the *hosted* one; it comes back by a trap. Preemption points are the end of a trap,
 * `condResched`, and sleeping.
 *
 * A task that only makes way for the other CPUs stays its CPU's current one: that is no context switch, since on a machine the
 * CPUs run at the same time. A task that sleeps, dies or has used its slice is switched from at once, while its state says why.
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
    /** When the current task was put on the CPU, or went on after the host had been another CPU's. */
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
    /** It is on a CPU that it may no longer use. */
    mustMove: boolean;
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
/** Jumps of virtual time in one call of `run`: with a periodic timer that wakes nobody it would never return. */
const JUMPS_PER_RUN = 10_000;

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
  /** The task whose kernel work is stepped, or the hosted one. */
  #running: Task | undefined;
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
    task.mustMove = false;
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
    this.#enqueue(task, cpu);
    this.onWakeup?.(cx, task, cpu);
  }

  /** Where tracepoints hook in. */
  onWakeup: ((cx: Cx, task: Task, cpu: Cpu) => void) | undefined;
  onSwitch: ((cpu: Cpu, previous: Task, next: Task) => void) | undefined;

  #enqueue(task: Task, cpu: Cpu): void {
    if (cpu !== task.lastCpu) task.t.se.nr_migrations += 1;
    task.onRunqueue = true;
    task.lastCpu = cpu;
    cpu.runqueue.push(task);
  }

  #selectCpu(task: Task): Cpu {
    const allowed = this.#kernel.cpus.filter((cpu) => mayRunOn(task, cpu));
    const load = (cpu: Cpu): number => cpu.runqueue.length + (cpu.current === cpu.idle ? 0 : 1);
    const least = Math.min(...allowed.map(load));
    const best = allowed.filter((cpu) => load(cpu) === least);
    if (best.length === 0) return task.lastCpu;
    return best.includes(task.lastCpu) ? task.lastCpu : best[this.#prng.below(best.length)]!;
  }

  /** Changes the CPUs that a task may run on. A running one moves when its step is over. Linux: __set_cpus_allowed_ptr(). */
  setAffinity(task: Task, mask: bigint): void {
    task.cpusMask = mask;
    task.t.nr_cpus_allowed = this.#kernel.cpus.filter((cpu) => mayRunOn(task, cpu)).length;
    const { lastCpu } = task;
    task.mustMove = !mayRunOn(task, task.cx.cpu) && task.cx.cpu.current === task;
    if (!task.onRunqueue || mayRunOn(task, lastCpu)) return;
    lastCpu.runqueue.splice(lastCpu.runqueue.indexOf(task), 1);
    this.#enqueue(task, this.#selectCpu(task));
  }

  /** Whether a task that reached a preemption point should let another run. */
  needsResched(task: Task): boolean {
    const { cpu } = task.cx;
    if (task.mustMove) return true;
    if (cpu.runqueue.length > 0 && this.#kernel.clock.nowNs() - cpu.sliceStartNs >= SLICE_NS) return true;
    if (!this.#isOtherBusy(cpu)) return false;
    this.#hostQuantum -= 1;
    return this.#hostQuantum <= 0;
  }

  #isOtherBusy(cpu: Cpu): boolean {
    for (const other of this.#kernel.cpus) if (other !== cpu && isBusy(other)) return true;
    return false;
  }

  /**
   * Runs the timers that are due, in interrupt context on CPU 0. Interrupts take time: what falls due meanwhile waits for the
   * next call, so that a short period leaves room for tasks.
   */
  runTimers(): void {
    const now = this.#kernel.clock.nowNs();
    for (;;) {
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

  /** Steps tasks until user code is hosted or nothing can run. Virtual time that only timers move is left to the next turn. */
  run(): void {
    let jumps = 0;
    while (this.hosted === undefined && this.halted === undefined) {
      this.runTimers();
      const cpu = this.#pickCpu();
      if (cpu !== undefined) {
        this.#step(cpu);
        continue;
      }
      const next = this.timers.nextNs;
      if (next === undefined || !this.#kernel.clock.isVirtual || jumps++ === JUMPS_PER_RUN) return;
      this.#kernel.clock.advanceTo(next);
    }
  }

  #pickCpu(): Cpu | undefined {
    const ready = this.#kernel.cpus.filter(isBusy);
    return ready.length < 2 ? ready[0] : ready[this.#prng.below(ready.length)];
  }

  #step(cpu: Cpu): void {
    if (cpu.current === cpu.idle) this.#switchTo(cpu, this.#takeNext(cpu));
    else cpu.sliceStartNs = this.#kernel.clock.nowNs();
    const task = cpu.current;
    this.#running = task;
    this.#kernel.current = task.cx;
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

  /** How long `task` has run, up to now. Linux: task_sched_runtime(). */
  runNs(task: Task): number {
    const now = this.#running === task ? this.#kernel.clock.nowNs() - task.cx.cpu.sliceStartNs : 0;
    return task.t.se.sum_exec_runtime + now;
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

  /** The running task stops: it sleeps, is dead, or is to let another run. */
  deschedule(task: Task): void {
    const { cpu } = task.cx;
    if (this.hosted === task) this.hosted = undefined;
    task.t.se.sum_exec_runtime = this.runNs(task);
    this.#running = undefined;
    const isRunnable = task.t.__state === TASK.RUNNING;
    if (isRunnable && cpu.runqueue.length === 0 && !task.mustMove) return;
    if (isRunnable) {
      task.t.nivcsw += 1;
      this.#enqueue(task, task.mustMove ? this.#selectCpu(task) : cpu);
    } else task.t.nvcsw += 1;
    task.mustMove = false;
    this.#switchTo(cpu, this.#takeNext(cpu));
    this.#kernel.current = cpu.current.cx;
  }

  /** The task that `cpu` runs next: its idle task when none is queued. */
  #takeNext(cpu: Cpu): Task {
    const next = cpu.runqueue.shift() ?? cpu.idle;
    next.onRunqueue = false;
    return next;
  }

  /** Linux: context_switch(). */
  #switchTo(cpu: Cpu, next: Task): void {
    const { clock, observer } = this.#kernel;
    const previous = cpu.current;
    const now = clock.nowNs();
    if (previous === cpu.idle) cpu.idleNs += now - cpu.sliceStartNs;
    previous.t.on_cpu = 0;
    next.t.on_cpu = 1;
    next.t.thread_info.cpu = cpu.id;
    next.cx.cpu = cpu;
    cpu.current = next;
    cpu.sliceStartNs = now;
    cpu.switches += 1;
    clock.charge(CONTEXT_SWITCH_NS);
    observer.contextSwitch(cpu.id, previous.pid, next.pid, clock.nowNs());
    this.onSwitch?.(cpu, previous, next);
  }

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
    if (next !== undefined && this.#kernel.clock.isVirtual) return { state: "running" };
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
}

/** It runs a task, or has one to run. */
const isBusy = (cpu: Cpu): boolean => cpu.current !== cpu.idle || cpu.runqueue.length > 0;

const mayRunOn = (task: Task, cpu: Cpu): boolean => ((task.cpusMask >> BigInt(cpu.id)) & 1n) === 1n;
