/**
 * The kernel's side of the trap gate: one `Port` per task whose user code is a TypeScript program, and the system call entry
 * that all tasks share. Linux: arch/riscv/kernel/{entry.S,traps.c}.
 *
 * A trap writes the user registers, calls `do_trap_ecall_u` (a row: it can be probed), and then handles what is pending. When
 * nothing sleeps and nothing is pending, the result is returned at once. Otherwise the rest is the task's kernel work (a
 * generator), which the scheduler steps; the outcome then goes to `onResume`, or is the trap's own result when the task got
 * back to user mode before the trap returned.
 */
import {
  ENOSYS,
  Errno,
  type KAddr,
  NR,
  PENDING,
  ptr,
  SEGV_ACCERR,
  SEGV_MAPERR,
  SIG,
  SIG_DFL,
  SIG_IGN,
  type TrapOutcome,
  type TrapPort,
  type UAddr,
} from "@alien-ts/abi";
import type { Cx } from "../core/cx.ts";
import { NO_OBSERVER } from "../core/observer.ts";
import { KERN } from "../core/printk.ts";
import { voidType } from "../core/owner.ts";
import { type Blocking, blockingFn, isBlocking } from "../core/row.ts";
import type { SyscallResult, SyscallRow } from "../core/syscall.ts";
import { TASK, type Task } from "../core/task.ts";
import { FAULT } from "../mm/fault.ts";
import { TaskMemory } from "../mm/user-memory.ts";
import { ECALL_BYTES, exitToUser } from "./deliver.ts";
import { reapDeadTasks } from "./exit.ts";
import { outOfMemory } from "./oom.ts";
import { deliverable, forceSignal, siginfo, sigmask } from "./signal.ts";

declare module "../core/kernel.ts" {
  interface Kernel {
    /** By number; undefined answers ENOSYS. */
    syscallTable: (SyscallRow | undefined)[];
    /** A program came back from something foreign, maybe to an idle machine: the app's loop must call `turn` again. */
    onForeignTrap: (() => void) | undefined;
    /** At every trap, while a process has a timer on its CPU time. */
    onCpuTime: ((cx: Cx) => void) | undefined;
    /** Around every system call, for tracepoints; undefined costs one test. */
    onSyscallEnter: ((cx: Cx, regs: KAddr, nr: number) => void) | undefined;
    onSyscallExit: ((cx: Cx, regs: KAddr, nr: number, result: number) => void) | undefined;
  }
}
declare module "../core/task.ts" {
  interface Task {
    port: Port | undefined;
  }
}

/** Virtual cost of entering and leaving the kernel. */
export const TRAP_NS = 250;

const words = (value: number): [number, number] => [value | 0, Math.floor(value / 2 ** 32) | 0];

function setResult(cx: Cx, regs: KAddr, result: SyscallResult): void {
  const value = result instanceof Errno ? -result.number : result;
  const at = regs + cx.kernel.text.arch.roles.returnValue;
  const [lo, hi] = words(value);
  cx.kernel.mem.dv.setInt32(at, lo, true);
  cx.kernel.mem.dv.setInt32(at + 4, hi, true);
}

function* finishLater(cx: Cx, regs: KAddr, nr: number, work: Blocking<SyscallResult>): Blocking<undefined> {
  leave(cx, regs, nr, yield* work);
  return undefined;
}

function leave(cx: Cx, regs: KAddr, nr: number, result: SyscallResult): void {
  setResult(cx, regs, result);
  const { onSyscallExit } = cx.kernel;
  if (onSyscallExit !== undefined)
    onSyscallExit(cx, regs, nr, result instanceof Errno ? -result.number : result);
}

/** The system call that the registers ask for. */
export const do_trap_ecall_u = blockingFn(
  "do_trap_ecall_u",
  [["regs", ptr("pt_regs")]],
  voidType,
  (cx, regs) => {
    const { kernel } = cx;
    const { dv } = kernel.mem;
    const { roles } = kernel.text.arch;
    const nr = dv.getInt32(regs + roles.syscallNumber, true);
    dv.setUint32(regs + roles.pc, dv.getUint32(regs + roles.pc, true) + ECALL_BYTES, true);
    const at = regs + roles.arguments[0]!;
    dv.setInt32(regs + roles.originalArgument, dv.getInt32(at, true), true);
    dv.setInt32(regs + roles.originalArgument + 4, dv.getInt32(at + 4, true), true);
    setResult(cx, regs, ENOSYS);
    if (kernel.onSyscallEnter !== undefined) kernel.onSyscallEnter(cx, regs, nr);
    const row = kernel.syscallTable[nr];
    if (row === undefined) {
      unknownSyscall(cx, nr);
      leave(cx, regs, nr, ENOSYS);
      return undefined;
    }
    const result = row.gate(cx, regs);
    if (isBlocking(result)) return finishLater(cx, regs, nr, result as Blocking<SyscallResult>);
    leave(cx, regs, nr, result as SyscallResult);
    return undefined;
  },
);

function unknownSyscall(cx: Cx, nr: number): void {
  cx.kernel.log.once(
    `syscall:${nr}`,
    KERN.INFO,
    `${cx.task.t.comm}[${cx.task.pid}]: system call ${nr} is not implemented: ENOSYS`,
  );
}

export class Port implements TrapPort {
  readonly memory: TaskMemory;
  sp: UAddr;
  onResume: (outcome: TrapOutcome) => void = () => {
    throw new Error("no program listens on this port");
  };
  readonly #task: Task;
  /** Address of the instruction that the task's traps count as. */
  readonly #ecallPc: UAddr;
  /** Where the registers that a trap uses lie: found once, since every trap writes eight of them. */
  readonly #registers: TrapRegisters;
  #isOutstanding = false;
  /** The trap function is still on the host's stack: an outcome is its result. */
  #isInside = false;
  #outcome: TrapOutcome | undefined;
  /** Exec'd or dead: nothing of the old program may enter. */
  #isClosed = false;
  /** Its own task, and children cloned from it that have not started: the host needs the port for both. */
  #users = 1;
  /** The port that this one was cloned from, until the host has started it. */
  #origin: Port | undefined;
  readonly #onGone: (port: Port) => void;

  /** @param onGone called once, when neither the task nor a child to be started needs the port. */
  constructor(task: Task, sp: UAddr, ecallPc: UAddr, onGone: (port: Port) => void) {
    this.#task = task;
    this.sp = sp;
    this.#ecallPc = ecallPc;
    this.#onGone = onGone;
    if (task.mm === null) throw new Error("a kernel thread has no trap port");
    this.#registers = trapRegisters(task);
    this.memory = new TaskMemory(task.mm, (addr, code) => this.#segfault(addr, code));
  }

  trap(nr: number, a0 = 0, a1 = 0, a2 = 0, a3 = 0, a4 = 0, a5 = 0): TrapOutcome | typeof PENDING {
    if (this.#isClosed) return PENDING;
    if (this.#isOutstanding)
      throw new Error(`task ${this.#task.pid}: a second system call while one is outstanding`);
    const task = this.#task;
    const { cx, kernel } = task;
    task.trapCount += 1;
    this.#setRegisters(nr, a0, a1, a2, a3, a4, a5);
    if (kernel.sched.hosted !== task) return this.#trapFromOutside();
    kernel.clock.charge(TRAP_NS);
    task.t.stime += TRAP_NS;
    const made = do_trap_ecall_u(cx, task.userRegs);
    const work = isBlocking(made) ? (made as Blocking<undefined>) : undefined;
    // Most calls that may sleep do not: they end here, without the scheduler.
    const sleeps = work !== undefined && work.next().done !== true;
    kernel.onCpuTime?.(cx);
    // A return from a handler may have to make the interrupted call again.
    if (!sleeps && nr !== NR.rt_sigreturn && !this.#isClosed && !task.hasPendingSignal && this.#isQuiet(cx)) {
      const result = this.#result();
      if (kernel.observer !== NO_OBSERVER) kernel.observer.trap(cx, nr, [a0, a1, a2, a3, a4, a5], result);
      return result;
    }
    this.#isOutstanding = true;
    task.work = this.#rest(cx, nr, [a0, a1, a2, a3, a4, a5], sleeps ? work : undefined);
    return this.#drive(sleeps);
  }

  /** A port for a clone of this one's task, which shares its memory. */
  forClone(child: Task, sp: UAddr): Port {
    const port = new Port(child, sp, this.#ecallPc, this.#onGone);
    port.#origin = this;
    this.#users += 1;
    return port;
  }

  /** The host has started the task: the port that it was cloned from may go. */
  started(): void {
    const origin = this.#origin;
    this.#origin = undefined;
    if (origin !== undefined) origin.#release();
  }

  /** The task's user code is gone (exec, exit). */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.started();
    this.#release();
  }

  #release(): void {
    this.#users -= 1;
    if (this.#users === 0) this.#onGone(this);
  }

  /** Nothing else wants the CPU at the end of this trap. */
  #isQuiet(cx: Cx): boolean {
    const { sched, clock } = cx.kernel;
    const next = sched.timers.nextNs;
    if (next !== undefined && next <= clock.nowNs()) sched.runTimers();
    if (cx.kernel.deadTasks.length > 0) reapDeadTasks(cx);
    return !cx.task.hasPendingSignal && !sched.needsResched(cx.task) && cx.task.savedBlocked === undefined;
  }

  /** Goes on with the task's work, after its sleep when it `sleeps`, and with whatever else can run. */
  #drive(sleeps: boolean): TrapOutcome | typeof PENDING {
    const { sched } = this.#task.kernel;
    this.#isInside = true;
    this.#outcome = undefined;
    if (sleeps) sched.deschedule(this.#task);
    else sched.stepHosted(this.#task);
    sched.run();
    this.#isInside = false;
    return this.#isClosed ? PENDING : (this.#outcome ?? PENDING);
  }

  /** A task that waited on something foreign is back: it queues up like any other, and runs at once when nothing else does. */
  #trapFromOutside(): TrapOutcome | typeof PENDING {
    const task = this.#task;
    const { sched, clock } = task.kernel;
    clock.charge(TRAP_NS);
    this.#isOutstanding = true;
    task.isForeign = false;
    task.work = this.#rest(task.cx, this.#words[this.#registers.number]!, [], undefined, true);
    task.t.__state = TASK.UNINTERRUPTIBLE;
    sched.activate(task.cx, task);
    task.kernel.onForeignTrap?.();
    this.#isInside = true;
    this.#outcome = undefined;
    sched.run();
    this.#isInside = false;
    return this.#isClosed ? PENDING : (this.#outcome ?? PENDING);
  }

  /** What is left of a trap once it cannot return at once. */
  *#rest(
    cx: Cx,
    nr: number,
    args: readonly number[],
    work: Blocking<undefined> | undefined,
    isNew = false,
  ): Blocking<void> {
    let call: Blocking<undefined> | undefined = work;
    if (isNew) call = enter(cx);
    for (;;) {
      if (call !== undefined) yield* call;
      cx.kernel.observer.trap(cx, nr, args, this.#result());
      const entry = yield* exitToUser(cx, true);
      reapDeadTasks(cx);
      if (entry !== undefined) {
        this.#outcome = { pc: entry.handler, a0: entry.signo, a1: entry.info, a2: entry.context };
        return;
      }
      if (!this.#isAtEcall()) break;
      call = enter(cx);
    }
    this.#outcome = this.#result();
  }

  /**
   * A task whose program waits on something foreign has been woken by a signal: default actions happen now. One with a handler
   * waits for the program's next trap, since there is no trap whose outcome the handler's call could be.
   */
  signalForeign(): void {
    const task = this.#task;
    if (!task.isForeign || task.work !== undefined || hasHandler(task)) return;
    task.work = this.#defaultActions(task.cx);
  }

  *#defaultActions(cx: Cx): Blocking<void> {
    yield* exitToUser(cx, false);
    reapDeadTasks(cx);
  }

  /** Called by the scheduler when the task is back in user mode. */
  enterUser(): void {
    this.#isOutstanding = false;
    if (this.#isInside || this.#isClosed) return;
    const outcome = this.#outcome;
    this.#outcome = undefined;
    if (outcome !== undefined) this.onResume(outcome);
  }

  #isAtEcall(): boolean {
    return this.#words[this.#registers.pc]! >>> 0 === this.#ecallPc % 2 ** 32;
  }

  #result(): number {
    const at = this.#registers.result;
    return this.#words[at + 1]! * 2 ** 32 + (this.#words[at]! >>> 0);
  }

  get #words(): Int32Array {
    return this.#task.kernel.mem.i32;
  }

  #setRegisters(nr: number, a0: number, a1: number, a2: number, a3: number, a4: number, a5: number): void {
    const words = this.#words;
    const at = this.#registers;
    putRegister(words, at.pc, this.#ecallPc);
    putRegister(words, at.number, nr);
    putRegister(words, at.a0, a0);
    putRegister(words, at.a1, a1);
    putRegister(words, at.a2, a2);
    putRegister(words, at.a3, a3);
    putRegister(words, at.a4, a4);
    putRegister(words, at.a5, a5);
  }

  /**
   * An access that the mappings do not allow: SIGSEGV, or SIGBUS behind the end of a mapped file. One that memory does not
   * allow: the OOM killer makes room. Returns whether the access may be tried again.
   */
  #segfault(addr: UAddr, code: number): boolean {
    const task = this.#task;
    if (code === FAULT.OOM) return outOfMemory(task.cx);
    const signo = code === FAULT.BUS ? SIG.BUS : SIG.SEGV;
    const si = code === FAULT.BUS ? BUS_ADRERR : code === FAULT.ACCERR ? SEGV_ACCERR : SEGV_MAPERR;
    if (task.sighand.actions[signo]!.handler === SIG_DFL)
      task.kernel.log.info(
        `${task.t.comm}[${task.pid}]: unhandled signal ${signo} code 0x${si.toString(16)} at 0x${addr.toString(16).padStart(16, "0")}`,
      );
    forceSignal(task.cx, task, { ...siginfo(signo, si), addr });
    return false;
  }
}

const BUS_ADRERR = 2;

/** Indices of words in kernel memory. */
interface TrapRegisters {
  readonly pc: number;
  readonly number: number;
  readonly result: number;
  readonly a0: number;
  readonly a1: number;
  readonly a2: number;
  readonly a3: number;
  readonly a4: number;
  readonly a5: number;
}

function trapRegisters({ kernel, userRegs }: Task): TrapRegisters {
  const { pc, syscallNumber, returnValue, arguments: offsets } = kernel.text.arch.roles;
  const word = (offset: number): number => (userRegs + offset) >>> 2;
  const [a0, a1, a2, a3, a4, a5] = offsets.map(word) as [number, number, number, number, number, number];
  return { pc: word(pc), number: word(syscallNumber), result: word(returnValue), a0, a1, a2, a3, a4, a5 };
}

function putRegister(words: Int32Array, at: number, value: number): void {
  words[at] = value;
  words[at + 1] = value >= 0 && value < 2 ** 31 ? 0 : Math.floor(value / 2 ** 32);
}

/**
 * Gives a task its program: `start` tells the program host, when the task is first on a CPU. The kernel's own way of saying
 * that user code may run.
 */
export function attachPort(task: Task, port: Port, start: () => void): void {
  task.port = port;
  task.enterUser = () => {
    task.enterUser = () => port.enterUser();
    start();
  };
}

/** Whether a signal that can be delivered to `task` has a handler. */
function hasHandler(task: Task): boolean {
  const pending = deliverable(task);
  return task.sighand.actions.some(
    ({ handler }, signo) => handler > SIG_IGN && signo > 0 && (pending & sigmask(signo)) !== 0n,
  );
}

function enter(cx: Cx): Blocking<undefined> | undefined {
  const made = do_trap_ecall_u(cx, cx.task.userRegs);
  return isBlocking(made) ? (made as Blocking<undefined>) : undefined;
}
