/**
 * Making tasks: the struct, the kernel stack, the context, credentials. What fork, kernel threads and idle tasks share.
 * Linux: dup_task_struct, copy_creds, kernel/cred.c.
 */
import { ENOMEM, type KAddr, PAGE_SIZE, type Result } from "@alien-ts/abi";
import { Cred, cred as credStruct, FULL_CAPABILITIES } from "../core/cred.ts";
import type { Cpu } from "../core/cpu.ts";
import { Cx } from "../core/cx.ts";
import type { Kernel } from "../core/kernel.ts";
import { PF, Task, TASK, task_struct } from "../core/task.ts";
import type { AddressSpace } from "../mm/address-space.ts";
import type { Kmalloc } from "../mm/kmalloc.ts";
import type { MemoryManager } from "../mm/memory-manager.ts";
import type { PageAllocator } from "../mm/pages.ts";
import { SigHand, SigPending } from "./process.ts";

declare module "../core/kernel.ts" {
  interface Kernel {
    kmalloc: Kmalloc;
    pages: PageAllocator;
    memoryManager: MemoryManager;
  }
}
declare module "../core/task.ts" {
  interface Task {
    /** User memory; null for a kernel thread. */
    mm: AddressSpace | null;
    /** The user registers at the top of the kernel stack: a pt_regs. */
    userRegs: KAddr;
    sighand: SigHand;
    pending: SigPending;
    blocked: bigint;
    /** The mask to restore when a signal's handler does not do it (rt_sigsuspend, ppoll). */
    savedBlocked: bigint | undefined;
    /** sigaltstack(2). */
    altStack: { sp: number; flags: number; size: number };
    clearChildTid: number;
    robustList: { head: number; length: number };
    /** Children by real_parent, in order of birth. */
    childTasks: Set<Task>;
    /** nanosleep and poll that restart: what restart_syscall does. */
    restartBlock: (() => unknown) | undefined;
    /** Someone waits for this child of vfork to exec or exit. */
    vforkDone: ((cx: Cx) => void) | undefined;
    timerSlackNs: number;
    noNewPrivs: boolean;
    /** prctl(PR_SET_PDEATHSIG). */
    parentDeathSignal: number;
    executable: string;
  }
}

/** Linux's THREAD_SIZE on riscv64. */
export const THREAD_SIZE = 4 * PAGE_SIZE;
export const DEFAULT_PRIO = 120;

/** Allocates a task with its kernel stack. Neither a pid nor a process yet. */
export function createTask(kernel: Kernel, cpu: Cpu, comm: string): Result<Task> {
  const addr = kernel.kmalloc.kzalloc(kernel.layout.size(task_struct), "task_struct");
  if (addr === 0) return ENOMEM;
  const stack = kernel.pages.alloc(THREAD_SIZE / PAGE_SIZE, "thread stack");
  if (stack === 0) {
    kernel.kmalloc.kfree(addr);
    return ENOMEM;
  }
  const task = new Task(kernel, addr);
  kernel.kmalloc.setOwner(addr, task);
  task.cx = new Cx(kernel, task, cpu, kernel.text.armed);
  task.userRegs = stack + THREAD_SIZE - ((kernel.text.arch.contextBytes + 15) & -16);
  task.cx.kstackBase = stack;
  task.cx.ksp = task.userRegs;
  task.t.stack = stack;
  task.t.comm = comm;
  task.t.prio = DEFAULT_PRIO;
  task.t.static_prio = DEFAULT_PRIO;
  task.t.normal_prio = DEFAULT_PRIO;
  task.t.nr_cpus_allowed = kernel.cpus.length;
  task.t.start_time = kernel.clock.nowNs();
  task.t.start_boottime = kernel.clock.nowNs();
  task.t.__state = TASK.NEW;
  task.t.rcu_users.refs = 1;
  kernel.sched.initTask(task, cpu);
  task.mm = null;
  task.sighand = new SigHand();
  task.pending = new SigPending();
  task.blocked = 0n;
  task.savedBlocked = undefined;
  task.altStack = { sp: 0, flags: 0, size: 0 };
  task.clearChildTid = 0;
  task.robustList = { head: 0, length: 0 };
  task.childTasks = new Set();
  task.restartBlock = undefined;
  task.vforkDone = undefined;
  task.timerSlackNs = 50_000;
  task.noNewPrivs = false;
  task.parentDeathSignal = 0;
  task.executable = "";
  return task;
}

/** Frees what `createTask` took. The task must be on no CPU. */
export function freeTask(task: Task): void {
  const { kernel } = task;
  kernel.pages.free(task.t.stack);
  putCred(kernel, task.cred);
  kernel.kmalloc.setOwner(task.addr, undefined);
  kernel.kmalloc.kfree(task.addr);
}

/** Drops a reference; the last one frees the task, which is dead and on no CPU then. Linux: put_task_struct_rcu_user(). */
export function putTask(task: Task): void {
  const users = task.t.rcu_users;
  users.refs -= 1;
  if (users.refs === 0) freeTask(task);
}

export function setMm(task: Task, mm: AddressSpace | null): void {
  task.mm = mm;
  task.t.mm = mm === null ? 0 : mm.addr;
  task.t.active_mm = mm === null ? 0 : mm.addr;
}

export const isKernelThread = (task: Task): boolean => (task.t.flags & PF.KTHREAD) !== 0;

/** The process that a wait, getppid and SIGCHLD mean. */
export function parentOf(task: Task): Task | undefined {
  const addr = task.t.real_parent;
  return addr === 0 ? undefined : (task.kernel.ownerOf(addr) as Task | undefined);
}

// Credentials.

export function initCred(kernel: Kernel): Result<Cred> {
  const made = allocateCred(kernel);
  if (!(made instanceof Cred)) return made;
  made.t.cap_permitted.val = FULL_CAPABILITIES;
  made.t.cap_effective.val = FULL_CAPABILITIES;
  made.t.cap_bset.val = FULL_CAPABILITIES;
  return made;
}

function allocateCred(kernel: Kernel): Result<Cred> {
  const addr = kernel.kmalloc.kzalloc(kernel.layout.size(credStruct), "cred");
  if (addr === 0) return ENOMEM;
  const cred = new Cred(kernel, addr);
  kernel.kmalloc.setOwner(addr, cred);
  cred.t.usage = 1n;
  return cred;
}

/** A private copy of `from`, to be changed and given to `commitCreds`. Linux: prepare_creds(). */
export function prepareCreds(kernel: Kernel, from: Cred): Result<Cred> {
  const made = allocateCred(kernel);
  if (!(made instanceof Cred)) return made;
  const size = kernel.layout.size(credStruct);
  kernel.mem.u8.copyWithin(made.addr, from.addr, from.addr + size);
  made.t.usage = 1n;
  made.groups = from.groups;
  return made;
}

/** Makes `cred` the task's, in place of its old one. Linux: commit_creds(). */
export function commitCreds(task: Task, cred: Cred): void {
  const old = task.cred;
  setCred(task, cred);
  putCred(task.kernel, old);
}

/** Shares the parent's credentials with a child. */
export function shareCred(child: Task, cred: Cred): void {
  cred.users += 1;
  cred.t.usage = BigInt(cred.users);
  setCred(child, cred);
}

export function setCred(task: Task, cred: Cred): void {
  task.cred = cred;
  task.t.cred = cred.addr;
  task.t.real_cred = cred.addr;
}

export function putCred(kernel: Kernel, cred: Cred): void {
  cred.users -= 1;
  cred.t.usage = BigInt(cred.users);
  if (cred.users > 0) return;
  kernel.kmalloc.setOwner(cred.addr, undefined);
  kernel.kmalloc.kfree(cred.addr);
}
