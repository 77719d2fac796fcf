/**
 * What this package needs of a kernel, as small interfaces split by need; `KernelAuxiliaryOps` is all of them. A kernel
 * implements them once (`kernel/src/bpf/host.ts`), the tests do so in about 50 lines (`fake-kernel.ts`).
 *
 * No port throws for what a guest can cause, none sleeps, and none returns a promise.
 */
import type { KAddr, Layout, LinearMemory, Result, UAddr } from "@alien-ts/abi";
import type { Btf } from "@alien-ts/btf";
import type { WasmApi, WasmMemory } from "@alien-ts/bpf-vm";
import type { BpfObject } from "./objects.ts";
import type { PerfEvent } from "./perf/event.ts";

export interface MemoryOps {
  readonly memory: LinearMemory;
  readonly layout: Layout;
  /** Zeroed bytes at a multiple of 8; 0 when there are none. Any size: large ones need not come from kmalloc. */
  alloc(sizeBytes: number): KAddr;
  free(addr: KAddr): void;
  /** Zeroed contiguous pages; 0 when there are none. */
  allocPages(pages: number): KAddr;
  freePages(addr: KAddr, pages: number): void;
}

/** Copies between kernel memory and the current task's; false on a fault. Any number is a valid user address to ask for. */
export interface UserCopyOps {
  copyFromUser(to: KAddr, from: UAddr, sizeBytes: number): boolean;
  copyToUser(to: UAddr, from: KAddr, sizeBytes: number): boolean;
}

/** Reads for programs, at addresses that may be anything. */
export interface SafeReadOps {
  /** Copies from [from, from + sizeBytes) of the direct map; false where that is not readable. */
  readKernelNofault(to: KAddr, from: KAddr, sizeBytes: number): boolean;
  /** Copies from the current task's memory without sleeping; false where a page is missing. */
  readUserNofault(to: KAddr, from: UAddr, sizeBytes: number): boolean;
}

export interface ClockOps {
  /** CLOCK_MONOTONIC in nanoseconds. */
  ktimeNs(): number;
}

/** The current task. */
export interface TaskOps {
  /** Address of its `task_struct`. */
  currentTask(): KAddr;
  currentPid(): number;
  currentTgid(): number;
  currentUid(): number;
  currentGid(): number;
  /** Writes `comm`: 16 bytes, NUL padded. */
  currentComm(to: KAddr): void;
  capable(capability: number): boolean;
  /** Whether a task with this pid (0: the current one) exists. */
  taskExists(pid: number): boolean;
}

/** Per-CPU data is an array with `possibleCpus` slots; this tells which slot is ours. */
export interface PerCpuVariantsOps {
  readonly possibleCpus: number;
  currentCpu(): number;
}

export interface RandomOps {
  /** 32 random bits, unsigned. */
  randomU32(): number;
}

export interface LogOps {
  /** One record of `trace_pipe`, without prefix. */
  tracePrintk(text: string): void;
  printk(line: string): void;
}

export interface FdOps {
  /** A new fd of the current task. On an error the object stays the caller's. */
  installFd(object: BpfObject, isCloexec: boolean): Result<number>;
  /** The object behind an fd; EBADF where it is not open, undefined where it is some other file. */
  objectOf(fd: number): Result<BpfObject | undefined>;
}

/** What the JIT compiles with and for. */
export interface JitHost {
  /** The host's `WebAssembly`. */
  readonly wasm: WasmApi;
  /** The memory whose buffer `MemoryOps.memory` is a view of. */
  readonly memory: WasmMemory;
}

export interface JitOps {
  /** Undefined where the host cannot compile: programs are interpreted then. */
  readonly jit: JitHost | undefined;
  /** net.core.bpf_jit_enable: 0 interpreter, 1 JIT, 2 JIT that prints what it made into the kernel log. */
  readonly bpfJitEnable: number;
}

export interface SysctlOps {
  /** kernel.unprivileged_bpf_disabled: 0, 1 or 2. */
  readonly unprivilegedBpfDisabled: number;
  /** kernel.perf_event_paranoid */
  readonly perfEventParanoid: number;
}

export interface WakeOps {
  /** Wakes the tasks that wait for `event` to become readable. */
  wakeReaders(event: PerfEvent): void;
}

/** What a kernel function that a program calls sees of the program's registers: those of `BpfMachine`. */
export interface CallRegisters {
  /** The words of r1 to r5, signed. */
  argLow(n: number): number;
  argHigh(n: number): number;
  setR0(low: number, high: number): void;
}

/** A kernel function that programs may call. */
export interface KernelFunction {
  /** Its KF_ flags, as the verifier names them. */
  readonly flags: readonly string[];
  call(registers: CallRegisters): void;
}

/** The kernel's own types, and what they name. */
export interface TypeOps {
  /** Undefined where the kernel has no types. Asked for when something first needs them. */
  readonly kernelBtf: (() => Btf) | undefined;
  /** The function called `name`, where programs may call it. */
  kernelFunction(name: string): KernelFunction | undefined;
  /** Low word of a symbol's address; undefined where there is none. */
  symbolAddress(name: string): KAddr | undefined;
  /** Whether programs may change what the function called `name` returns (ALLOW_ERROR_INJECTION). */
  isErrorInjectable(name: string): boolean;
}

/** Where a kprobe goes: a symbol and an offset, or an address. */
export interface KprobeSpec {
  readonly symbol: string | undefined;
  /** Low word of the address; used without a symbol. */
  readonly address: KAddr;
  readonly offset: number;
}

export interface KprobeHandle {
  /** Safe while a hit is in flight. */
  unregister(): void;
}

/**
 * Probes of kernel text, armed from `register` to `unregister`; the handler gets the address of the `pt_regs` of the hit. Errors
 * are Linux's: ENOENT for an unknown symbol, EADDRNOTAVAIL for an ambiguous one, EINVAL, EILSEQ for an unsafe address.
 */
export interface KprobeOps {
  register(spec: KprobeSpec, handler: (regs: KAddr) => void): Result<KprobeHandle>;
}

export interface KernelAuxiliaryOps
  extends
    MemoryOps,
    UserCopyOps,
    SafeReadOps,
    ClockOps,
    TaskOps,
    PerCpuVariantsOps,
    RandomOps,
    LogOps,
    FdOps,
    SysctlOps,
    JitOps,
    WakeOps,
    TypeOps {
  readonly kprobes: KprobeOps;
  /** Bytes of `struct pt_regs` that kprobe programs may read. */
  readonly ptRegsBytes: number;
  /** Types that the kernel's sysfs gives its PMUs. */
  readonly pmuTypes: { readonly kprobe: number };
}
