/**
 * The smallest kernel that this package runs on, for tests: one flat user memory, a list allocator that counts and poisons, a
 * table of fds, probes that `hit` fires by hand. Not exported.
 */
import {
  EBADF,
  ENOENT,
  type KAddr,
  Layout,
  LinearMemory,
  NULL_GUARD_BYTES,
  PAGE_SIZE,
  type Result,
  type UAddr,
} from "@alien-ts/abi";
import type { Btf } from "@alien-ts/btf";
import type { WasmHost } from "@alien-ts/bpf-vm";
import { jitMemory } from "./jit-memory.ts";
import type { BpfObject } from "./objects.ts";
import type { PerfEvent } from "./perf/event.ts";
import type { KernelAuxiliaryOps, KernelFunction, KprobeHandle, KprobeOps } from "./ports.ts";

/** User addresses [USER_BASE, USER_BASE + USER_BYTES) exist. */
export const USER_BASE = 0x40_0000;
const USER_BYTES = 0x10_0000;

const { WebAssembly } = globalThis as unknown as { readonly WebAssembly: WasmHost };
const MEMORY_BYTES = 32 << 20;

export class FakeKernel implements KernelAuxiliaryOps {
  readonly #memory = jitMemory(WebAssembly, MEMORY_BYTES);
  readonly jit = this.#memory.jit;
  readonly memory = new LinearMemory(this.#memory.memory);
  readonly layout: Layout;
  readonly user = new Uint8Array(USER_BYTES);
  readonly fds: (BpfObject | "other file" | undefined)[] = [];
  readonly sizes = new Map<KAddr, number>();
  readonly trace: string[] = [];
  readonly log: string[] = [];
  readonly woken: PerfEvent[] = [];
  readonly probes = new Map<string, ((regs: KAddr) => void)[]>();
  readonly capabilities = new Set<number>();
  readonly ptRegsBytes = 36 * 8;
  readonly pmuTypes = { kprobe: 6 };
  kernelBtf: (() => Btf) | undefined = undefined;
  readonly functions = new Map<string, KernelFunction>();
  readonly possibleCpus: number;
  bpfJitEnable = 1;
  unprivilegedBpfDisabled = 2;
  perfEventParanoid = 2;
  cpu = 0;
  nowNs = 0;
  isRoot = true;
  /** Allocations that still succeed; then all fail. */
  allocationsLeft = Infinity;
  #brk: KAddr = NULL_GUARD_BYTES;
  readonly #free = new Map<number, KAddr[]>();

  constructor(possibleCpus = 2, layout: Layout = Layout.natural()) {
    this.possibleCpus = possibleCpus;
    this.layout = layout;
  }

  kernelFunction(name: string): KernelFunction | undefined {
    return this.functions.get(name);
  }
  symbolAddress(name: string): KAddr | undefined {
    return name.startsWith("no_") ? undefined : 0x1000 + name.length;
  }
  isErrorInjectable(name: string): boolean {
    return name.startsWith("sys_");
  }

  alloc(sizeBytes: number): KAddr {
    return this.#take(Math.ceil(sizeBytes / 16) * 16);
  }
  free(addr: KAddr): void {
    const size = this.sizes.get(addr);
    if (size === undefined) throw new Error(`bad free of ${addr}`);
    this.sizes.delete(addr);
    this.memory.u8.fill(0x6b, addr, addr + size);
    this.#free.set(size, [...(this.#free.get(size) ?? []), addr]);
  }
  allocPages(pages: number): KAddr {
    this.#brk = Math.ceil(this.#brk / PAGE_SIZE) * PAGE_SIZE;
    return this.#take(pages * PAGE_SIZE);
  }
  freePages(addr: KAddr, pages: number): void {
    if (this.sizes.get(addr) !== pages * PAGE_SIZE) throw new Error(`bad free of ${pages} pages at ${addr}`);
    this.free(addr);
  }
  #take(size: number): KAddr {
    if (this.allocationsLeft-- <= 0) return 0;
    const addr = this.#free.get(size)?.pop() ?? this.#brk;
    if (addr === this.#brk) {
      if (addr + size > this.memory.size) return 0;
      this.#brk += size;
    }
    this.memory.u8.fill(0, addr, addr + size);
    this.sizes.set(addr, size);
    return addr;
  }

  copyFromUser(to: KAddr, from: UAddr, sizeBytes: number): boolean {
    const at = from - USER_BASE;
    if (at < 0 || at + sizeBytes > USER_BYTES) return sizeBytes === 0;
    this.memory.u8.set(this.user.subarray(at, at + sizeBytes), to);
    return true;
  }
  copyToUser(to: UAddr, from: KAddr, sizeBytes: number): boolean {
    const at = to - USER_BASE;
    if (at < 0 || at + sizeBytes > USER_BYTES) return sizeBytes === 0;
    this.user.set(this.memory.bytes(from, sizeBytes), at);
    return true;
  }
  readUserNofault(to: KAddr, from: UAddr, sizeBytes: number): boolean {
    return this.copyFromUser(to, from, sizeBytes);
  }
  readKernelNofault(to: KAddr, from: KAddr, sizeBytes: number): boolean {
    if (from < NULL_GUARD_BYTES || from + sizeBytes > this.memory.size) return false;
    this.memory.u8.copyWithin(to, from, from + sizeBytes);
    return true;
  }

  ktimeNs(): number {
    return this.nowNs;
  }
  currentTask(): KAddr {
    return 0x40;
  }
  currentPid(): number {
    return 12;
  }
  currentTgid(): number {
    return 10;
  }
  currentUid(): number {
    return 1000;
  }
  currentGid(): number {
    return 100;
  }
  currentComm(to: KAddr): void {
    this.memory.u8.fill(0, to, to + 16);
    this.memory.u8.set([0x66, 0x61, 0x6b, 0x65], to);
  }
  capable(capability: number): boolean {
    return this.isRoot || this.capabilities.has(capability);
  }
  taskExists(pid: number): boolean {
    return pid === 0 || pid === 10;
  }
  currentCpu(): number {
    return this.cpu;
  }
  randomU32(): number {
    return 0x1234_5678;
  }
  tracePrintk(text: string): void {
    this.trace.push(text);
  }
  printk(line: string): void {
    this.log.push(line);
  }
  wakeReaders(event: PerfEvent): void {
    this.woken.push(event);
  }

  installFd(object: BpfObject): Result<number> {
    const fd = 3 + this.fds.length;
    this.fds.push(object);
    return fd;
  }
  objectOf(fd: number): Result<BpfObject | undefined> {
    const file = this.fds[fd - 3];
    if (file === undefined) return EBADF;
    return file === "other file" ? undefined : file;
  }
  /** close(2) */
  close(fd: number): void {
    const file = this.fds[fd - 3];
    this.fds[fd - 3] = undefined;
    if (file !== undefined && file !== "other file") file.release();
  }

  readonly kprobes: KprobeOps = {
    register: ({ symbol }, handler): Result<KprobeHandle> => {
      const handlers = this.probes.get(symbol ?? "");
      if (handlers === undefined) return ENOENT;
      handlers.push(handler);
      return { unregister: () => void handlers.splice(handlers.indexOf(handler), 1) };
    },
  };
  /** A hit of every probe on `symbol`. */
  hit(symbol: string, regs: KAddr): void {
    for (const handler of Array.from(this.probes.get(symbol) ?? [])) handler(regs);
  }
}
