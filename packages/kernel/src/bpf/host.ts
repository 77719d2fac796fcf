/**
 * The kernel as bpf-basic sees it: every port it asks for. The only file that knows both.
 *
 * Ports get no context: who runs is `kernel.current`, which the scheduler and the text traps keep.
 */
import {
  CAP,
  EADDRNOTAVAIL,
  EBADF,
  ENOENT,
  isErr,
  type KAddr,
  NULL_GUARD_BYTES,
  PAGE_SIZE,
  POLL,
  type Result,
  type UAddr,
} from "@alien-ts/abi";
import {
  BpfEngine,
  type BpfObject,
  type JitHost,
  type KernelAuxiliaryOps,
  type KernelFunction,
  type KprobeHandle,
  type KprobeOps,
  type KprobeSpec,
  type PerfEvent,
} from "@alien-ts/bpf-basic";
import type { Btf } from "@alien-ts/btf";
import { KprobeBuilder } from "@alien-ts/kprobe";
import { capable } from "../core/cred.ts";
import type { Cx } from "../core/cx.ts";
import type { Kernel } from "../core/kernel.ts";
import { cell, intSysctl, registerSysctl, sysctlInt } from "../fs/proc/sysctl.ts";
import { ACCESS } from "../mm/fault.ts";
import { copy_from_user, copy_to_user } from "../mm/uaccess.ts";
import { type WaitQueue, wakeUpAll } from "../sched/wait.ts";
import { plantKprobe, removeKprobe } from "../trace/kprobes.ts";
import { fd_install, getUnusedFd } from "../vfs/fd-table.ts";
import { kernelFunctions } from "./kfunc-call.ts";
import { bpfObjectOf, EventQueues, fileOfBpfObject } from "./files.ts";

/** Types of the probe PMUs, as sysfs gives them (/sys/bus/event_source/devices). */
export const PMU_TYPES = { software: 1, tracepoint: 2, kprobe: 6, uprobe: 7 } as const;

/** BPF in this kernel. */
export interface BpfSubsystem {
  readonly engine: BpfEngine;
  /** Readers of an event sleep here. */
  queueOf(event: PerfEvent): WaitQueue;
}

declare module "../core/kernel.ts" {
  interface Kernel {
    bpf: BpfSubsystem;
    /** What BPF programs are compiled with; undefined where they are interpreted. Set by boot. */
    jitHost: JitHost | undefined;
  }
}

class KernelKprobes implements KprobeOps {
  readonly #kernel: Kernel;

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
  }

  register(spec: KprobeSpec, handler: (regs: KAddr) => void): Result<KprobeHandle> {
    const kernel = this.#kernel;
    const builder = new KprobeBuilder().with_offset(spec.offset).with_pre_handler((_, args) => {
      handler(args.frame);
      return 0;
    });
    if (spec.symbol === undefined) builder.with_symbol_addr(spec.address);
    else {
      const found = kernel.text.symbols.lookupNames(spec.symbol);
      if (found.length === 0) return ENOENT;
      if (found.length > 1) return EADDRNOTAVAIL;
      builder.with_symbol(spec.symbol);
    }
    const probe = plantKprobe(kernel.current, builder);
    if (isErr(probe)) return probe;
    return { unregister: () => removeKprobe(kernel.current, probe) };
  }
}

class KernelBpfHost implements KernelAuxiliaryOps {
  readonly kprobes: KprobeOps;
  readonly pmuTypes = { kprobe: PMU_TYPES.kprobe };
  readonly ptRegsBytes: number;
  readonly possibleCpus: number;
  readonly kernelBtf: () => Btf;
  #functions: Map<string, KernelFunction> | undefined;
  readonly #kernel: Kernel;
  readonly #queues: EventQueues;

  constructor(kernel: Kernel, queues: EventQueues) {
    this.#kernel = kernel;
    this.#queues = queues;
    this.kprobes = new KernelKprobes(kernel);
    this.ptRegsBytes = kernel.text.arch.ptRegsBytes;
    this.possibleCpus = kernel.cpus.length;
    this.kernelBtf = () => kernel.btf.btf;
  }

  get memory(): Kernel["mem"] {
    return this.#kernel.mem;
  }
  get layout(): Kernel["layout"] {
    return this.#kernel.layout;
  }

  kernelFunction(name: string): KernelFunction | undefined {
    return (this.#functions ??= kernelFunctions(this.#kernel)).get(name);
  }
  symbolAddress(name: string): KAddr | undefined {
    return this.#kernel.text.symbols.lookupNames(name)[0];
  }
  isErrorInjectable(name: string): boolean {
    const address = this.symbolAddress(name);
    const row = address === undefined ? undefined : this.#kernel.text.rowAt(address);
    return row?.options.syscall === true;
  }

  alloc(sizeBytes: number): KAddr {
    return this.#kernel.kmalloc.kzalloc(sizeBytes, "bpf");
  }
  free(addr: KAddr): void {
    this.#kernel.kmalloc.kfree(addr);
  }
  allocPages(pages: number): KAddr {
    return this.#kernel.pages.alloc(pages, "bpf");
  }
  freePages(addr: KAddr): void {
    this.#kernel.pages.free(addr);
  }

  copyFromUser(to: KAddr, from: UAddr, sizeBytes: number): boolean {
    const { mm } = this.#kernel.current.task;
    return mm !== null && copy_from_user(mm, to, from, sizeBytes) === 0;
  }
  copyToUser(to: UAddr, from: KAddr, sizeBytes: number): boolean {
    const { mm } = this.#kernel.current.task;
    return mm !== null && copy_to_user(mm, to, from, sizeBytes) === 0;
  }

  readKernelNofault(to: KAddr, from: KAddr, sizeBytes: number): boolean {
    const { mem, btf } = this.#kernel;
    if (from < NULL_GUARD_BYTES || from + sizeBytes > mem.size) return false;
    btf.touch(from, sizeBytes);
    mem.u8.copyWithin(to, from, from + sizeBytes);
    return true;
  }

  /** Pages that are not present are not brought in: a program must not sleep. */
  readUserNofault(to: KAddr, from: UAddr, sizeBytes: number): boolean {
    const { mm } = this.#kernel.current.task;
    if (mm === null) return false;
    for (let done = 0; done < sizeBytes;) {
      const at = mm.translatePresent(from + done, ACCESS.READ);
      if (at < 0) return false;
      const chunk = Math.min(sizeBytes - done, PAGE_SIZE - (at % PAGE_SIZE));
      this.#kernel.mem.u8.copyWithin(to + done, at, at + chunk);
      done += chunk;
    }
    return true;
  }

  ktimeNs(): number {
    return this.#kernel.clock.nowNs();
  }
  currentTask(): KAddr {
    return this.#kernel.current.task.addr;
  }
  currentPid(): number {
    return this.#kernel.current.task.pid;
  }
  currentTgid(): number {
    return this.#kernel.current.task.tgid;
  }
  currentUid(): number {
    return this.#kernel.current.task.cred.uid;
  }
  currentGid(): number {
    return this.#kernel.current.task.cred.gid;
  }
  currentComm(to: KAddr): void {
    const { comm } = this.#kernel.current.task.t;
    for (let i = 0; i < 16; i++)
      this.#kernel.mem.u8[to + i] = i < 15 && i < comm.length ? comm.charCodeAt(i) : 0;
  }
  capable(capability: number): boolean {
    return capable(this.#kernel.current, capability);
  }
  taskExists(pid: number): boolean {
    return pid === 0 || this.#kernel.pids.find(pid) !== undefined;
  }
  currentCpu(): number {
    return this.#kernel.current.cpu.id;
  }
  randomU32(): number {
    return this.#kernel.prng.u32();
  }

  tracePrintk(text: string): void {
    this.#kernel.traceBuffer.append(this.#kernel.current, "bpf_trace_printk", text);
  }
  printk(line: string): void {
    this.#kernel.log.warn(line);
  }

  installFd(object: BpfObject, isCloexec: boolean): Result<number> {
    const { current } = this.#kernel;
    // The descriptor first: closing a file that got none would release the object, which on failure stays the caller's.
    const fd = getUnusedFd(current, isCloexec);
    if (isErr(fd)) return fd;
    const file = fileOfBpfObject(current, object);
    if (isErr(file)) current.task.files.freeFd(fd);
    else fd_install(current, fd, file);
    return isErr(file) ? file : fd;
  }

  objectOf(fd: number): Result<BpfObject | undefined> {
    const file = this.#kernel.current.task.files.get(fd);
    return file === undefined ? EBADF : bpfObjectOf(file);
  }

  get jit(): JitHost | undefined {
    return this.#kernel.jitHost;
  }
  get bpfJitEnable(): number {
    return sysctlInt(this.#kernel, JIT_ENABLE);
  }
  get unprivilegedBpfDisabled(): number {
    return this.#sysctl("sysctl_unprivileged_bpf_disabled");
  }
  get perfEventParanoid(): number {
    return this.#sysctl("sysctl_perf_event_paranoid");
  }
  #sysctl(symbol: string): number {
    return this.#kernel.mem.dv.getInt32(this.#kernel.text.image.addressOf(symbol), true);
  }

  wakeReaders(event: PerfEvent): void {
    wakeUpAll(this.#kernel.current, this.#queues.queueOf(event), POLL.IN | POLL.RDNORM);
  }
}

const JIT_ENABLE = "net/core/bpf_jit_enable";
const JIT_DUMP = 2;

/** Documentation/admin-guide/sysctl/net.rst. Without a compiler it is 0 and stays so. */
function registerJitEnable(kernel: Kernel): void {
  const canCompile = kernel.jitHost !== undefined;
  const warn = (_cx: Cx, value: number): Result<0> => {
    if (value === JIT_DUMP)
      kernel.log.warn("bpf_jit_enable = 2 was set! NEVER use this in production, only for JIT debugging!");
    return 0;
  };
  const bounds = { min: 0, max: canCompile ? JIT_DUMP : 0 };
  const row = intSysctl([cell(canCompile ? 1 : 0)], {
    ...bounds,
    writeCapability: CAP.SYS_ADMIN,
    check: warn,
  });
  registerSysctl(kernel, JIT_ENABLE, row);
}

/** Needs probes, files and the trace buffer. */
export function initBpf(kernel: Kernel): void {
  registerJitEnable(kernel);
  const queues = new EventQueues();
  const engine = new BpfEngine(new KernelBpfHost(kernel, queues));
  kernel.bpf = { engine, queueOf: (event) => queues.queueOf(event) };
}
