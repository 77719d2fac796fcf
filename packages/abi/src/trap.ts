/**
 * The trap gate: everything that a user program and the kernel know of each other.
 *
 * A task enters the kernel with `trap(nr, a0 … a5)`. Arguments and results are integers: pointers into the task's own
 * memory, sizes, flags; a result in [-4095, -1] is a negated errno. Exactly one trap is outstanding per task.
 *
 * A trap ends in one of three ways, its `TrapOutcome`: with a number; later (`PENDING`: the task sleeps or was preempted,
 * and `onResume` is called once with the outcome); or in a signal handler (`Upcall`), which the program runs and ends by
 * `rt_sigreturn`, whose own outcome is that of the interrupted trap. A task that was killed stays PENDING for ever.
 *
 * Nothing here knows promises: those live in userland's adapter alone.
 */
import type { UAddr } from "./memory.ts";

/** The trap is not over: `onResume` will be called. */
export const PENDING: unique symbol = Symbol("pending");

/** The kernel set the task's pc to a user function: a signal handler. The program calls it, then `rt_sigreturn`. */
export interface Upcall {
  /** Address of the function. */
  readonly pc: UAddr;
  /** Its first three arguments: signal number, siginfo, ucontext. */
  readonly a0: number;
  readonly a1: UAddr;
  readonly a2: UAddr;
}

export type TrapOutcome = number | Upcall;

/** One task's way into the kernel. */
export interface TrapPort {
  readonly memory: UserMemory;
  /** Stack pointer at the start: argc, argv, envp and the auxiliary vector lie there as the System V ABI says. */
  readonly sp: UAddr;
  /** A second trap while one is outstanding throws. */
  trap(
    nr: number,
    a0?: number,
    a1?: number,
    a2?: number,
    a3?: number,
    a4?: number,
    a5?: number,
  ): TrapOutcome | typeof PENDING;
  /** Set by the program host before the first trap. */
  onResume: (outcome: TrapOutcome) => void;
}

/**
 * A task's memory as its own code sees it. An access to an address that is not mapped, or not so, delivers SIGSEGV and
 * throws `UserFault`, which unwinds the program: a host must let it pass.
 */
export interface UserMemory {
  /** A copy of `length` bytes. */
  read(addr: UAddr, length: number): Uint8Array;
  write(addr: UAddr, bytes: Uint8Array): void;
  readU8(addr: UAddr): number;
  readU32(addr: UAddr): number;
  writeU32(addr: UAddr, value: number): void;
  /** An unsigned 64-bit word, exact up to 2^53. */
  readU64(addr: UAddr): number;
  /** A negative value is written in two's complement. */
  writeU64(addr: UAddr, value: number): void;
  /** The bytes before the first NUL. */
  readCString(addr: UAddr): Uint8Array;
  /**
   * The pages themselves, when [addr, addr + length) is contiguous in kernel memory (rings and map mappings are): what the
   * kernel writes later is seen through it. Undefined when it is not contiguous.
   */
  view(addr: UAddr, length: number): DataView | undefined;
}

export class UserFault extends Error {
  readonly address: UAddr;
  constructor(address: UAddr) {
    super(`segmentation fault at 0x${address.toString(16)}`);
    this.name = "UserFault";
    this.address = address;
  }
}

/** What exec found in an image whose code is a TypeScript program. */
export interface ProgramImage {
  /** Name in the image's `.note.alien` section: the host looks the program up by it. */
  readonly program: string;
  /** Path that was executed. */
  readonly path: string;
  /** Address of the first program header's segment; the image's symbols lie there. */
  readonly base: UAddr;
}

/** Runs user code. Passed to the kernel by the app, so that the kernel execs paths without importing userland. */
export interface ProgramHost {
  /** Whether `program` exists; exec of an image that names another answers ENOEXEC. */
  has(program: string): boolean;
  /** Starts a program in a fresh address space. Must not run user code before it returns. */
  start(image: ProgramImage, port: TrapPort): void;
  /**
   * Starts a task that shares `parent`'s address space (clone with CLONE_VM). As in glibc's clone, the words at `port.sp` are
   * the address of the function to run and its argument. Must not run user code before it returns.
   */
  startThread(parent: TrapPort, port: TrapPort): void;
  /** The task is gone: what the host holds for it may be freed. */
  exited(port: TrapPort): void;
}
