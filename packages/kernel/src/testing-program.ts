/**
 * What tests of system calls share: programs without a userland, which make system calls with pointers into memory of their
 * own, as a task would through the trap gate.
 */
import { Errno, isErr, MAP, PAGE_SIZE, PROT, type UAddr } from "@alien-ts/abi";
import { boot, type BootOptions } from "./boot.ts";
import type { Cx } from "./core/cx.ts";
import type { Kernel } from "./core/kernel.ts";
import type { Blocking } from "./core/row.ts";
import type { Task } from "./core/task.ts";
import { AddressSpace } from "./mm/address-space.ts";
import { difference } from "./mm/allocation-faults.ts";
import { DEFAULT_MM_LIMITS } from "./mm/memory-manager.ts";
import { do_mmap } from "./mm/mmap.ts";
import { readUserBytes, writeUserBytes } from "./mm/uaccess.ts";
import { startTask } from "./testing.ts";
import { setMm } from "./task/create.ts";
import { reapDeadTasks } from "./task/exit.ts";
import { settle } from "./vfs/blocking.ts";
import { FilesStruct } from "./vfs/fd-table.ts";
import { WaitQueue, waitEvent } from "./sched/wait.ts";
import { testVariant } from "./testing-variant.ts";

const TEST_MEMORY_BYTES = 16 * 1024 * 1024;
const HEAP_BYTES = 64 * PAGE_SIZE;

/** A kernel with all subsystems and an init that sleeps. */
export function ipcKernel(options: BootOptions = {}): Kernel {
  const kernel = boot({
    memory: new ArrayBuffer(TEST_MEMORY_BYTES),
    debugAllocations: true,
    ...testVariant(),
    ...options,
  });
  startTask(kernel, "init", function* (cx) {
    yield* waitEvent(cx, new WaitQueue(), () => false);
  });
  kernel.sched.run();
  return kernel;
}

/** A task with 256 KiB of user memory. */
export class Program {
  readonly cx: Cx;
  readonly #heap: UAddr;
  #used = 0;

  constructor(cx: Cx) {
    this.cx = cx;
    const mm = AddressSpace.create(cx.kernel.memoryManager, { limits: DEFAULT_MM_LIMITS });
    if (isErr(mm)) throw new Error("no memory for a program");
    setMm(cx.task, mm);
    const heap = do_mmap(mm, {
      addr: 0,
      length: HEAP_BYTES,
      prot: PROT.READ | PROT.WRITE,
      flags: MAP.PRIVATE | MAP.ANONYMOUS,
      offset: 0,
      file: undefined,
    });
    if (isErr(heap)) throw new Error("no heap");
    this.#heap = heap;
  }

  /** Makes a system call; a negative number is −errno. */
  *call(nr: number, ...args: number[]): Blocking<number> {
    const { kernel, task } = this.cx;
    const { roles } = kernel.text.arch;
    for (const [i, arg] of args.entries()) {
      const at = task.userRegs + (i === 0 ? roles.originalArgument : roles.syscallArguments[i]!);
      kernel.mem.dv.setInt32(at, arg | 0, true);
      kernel.mem.dv.setInt32(at + 4, Math.floor(arg / 2 ** 32) | 0, true);
    }
    const row = kernel.syscallTable[nr];
    if (row === undefined) throw new Error(`no system call ${nr}`);
    const result: unknown = yield* settle(row.gate(this.cx, task.userRegs));
    return result instanceof Errno ? -result.number : (result as number);
  }

  /** Room in user memory, zeroed at first use. */
  room(bytes: number): UAddr {
    const at = this.#heap + this.#used;
    this.#used += Math.ceil(bytes / 16) * 16;
    if (this.#used > HEAP_BYTES) throw new Error("the program's heap is full");
    return at;
  }
  put(bytes: Uint8Array | readonly number[]): UAddr {
    const at = this.room(bytes.length);
    this.write(at, Uint8Array.from(bytes));
    return at;
  }
  words(...values: number[]): UAddr {
    return this.put(new Uint8Array(Uint32Array.from(values).buffer));
  }
  write(at: UAddr, bytes: Uint8Array): void {
    if (isErr(writeUserBytes(this.cx.task.mm!, at, bytes))) throw new Error("bad address");
  }
  read(at: UAddr, length: number): Uint8Array {
    const bytes = readUserBytes(this.cx.task.mm!, at, length);
    if (isErr(bytes)) throw new Error("bad address");
    return bytes;
  }
  word(at: UAddr): number {
    return new DataView(this.read(at, 4).buffer).getUint32(0, true);
  }
  text(at: UAddr, length: number): string {
    return String.fromCharCode(...this.read(at, length));
  }
}

/** Starts a program; it ends with its body. `share` gives it the descriptors of another. */
export function startProgram(
  kernel: Kernel,
  name: string,
  body: (program: Program) => Blocking<void>,
  share?: Program,
): Task {
  return startTask(kernel, name, function* (cx) {
    const files = share === undefined ? FilesStruct.create(kernel) : share.cx.task.files.share();
    if (isErr(files)) throw new Error("no memory for descriptors");
    cx.task.files.put(cx);
    cx.task.files = files;
    cx.task.t.files = files.addr;
    yield* body(new Program(cx));
  });
}

/** Runs one program to its end, or until all sleep. */
export function runProgram(kernel: Kernel, body: (program: Program) => Blocking<void>): void {
  let failure: unknown;
  let isDone = false;
  startProgram(kernel, "test", function* (program) {
    try {
      yield* body(program);
    } catch (error) {
      failure = error;
    }
    isDone = true;
  });
  kernel.sched.run();
  if (failure !== undefined) throw failure;
  if (!isDone) throw new Error("the program sleeps for ever");
}

/** Allocations that `work` left behind, by tag. */
export function leaksOf(kernel: Kernel, work: () => void): Map<string, unknown> {
  const before = kernel.kmalloc.snapshot();
  work();
  reapDeadTasks(kernel.bootCx);
  return difference(before, kernel.kmalloc.snapshot());
}
