/**
 * Boot: from a memory and a configuration to a kernel whose subsystems are up. What the app calls first.
 *
 * The order is the layers': text, allocators, scheduler, tasks, then the subsystems of subsystems.ts in their order. Boot
 * never sleeps; the first task that does is init's (init.ts).
 */
import {
  type Errno,
  isErr,
  Layout,
  LinearMemory,
  type MemoryBuffer,
  PAGE_SIZE,
  type ProgramHost,
} from "@alien-ts/abi";
import type { JitHost } from "@alien-ts/bpf-basic";
import type { Arch } from "./arch/arch.ts";
import { riscv64 } from "./arch/riscv64/arch.ts";
import { describeKernel, KernelBtf } from "./core/btf.ts";
import { btfBytesOf } from "./system-map.ts";
import { TYPES } from "./types.ts";
import { Clock } from "./core/clock.ts";
import { Cpu } from "./core/cpu.ts";
import { type KernelImage, linkKernel, type RowModule } from "./core/image.ts";
import { Kernel, type KernelConfig } from "./core/kernel.ts";
import { NO_OBSERVER, type Observer } from "./core/observer.ts";
import { KernelLog } from "./core/printk.ts";
import { Prng } from "./core/prng.ts";
import { PF, TASK, type Task } from "./core/task.ts";
import { KernelText } from "./core/text.ts";
import { type RootFile, startInit } from "./init.ts";
import { Kmalloc } from "./mm/kmalloc.ts";
import { MemoryManager } from "./mm/memory-manager.ts";
import { PageAllocator } from "./mm/pages.ts";
import { Scheduler } from "./sched/scheduler.ts";
import { createTask, initCred, setCred } from "./task/create.ts";
import { initialLimits, PidTable, Process } from "./task/process.ts";
import { SUBSYSTEMS, type Subsystem } from "./subsystems.ts";
import { TEXT } from "./text.ts";

export const DEFAULT_RELEASE = "6.18.0-alien";
export const DEFAULT_VERSION = "#1 SMP PREEMPT_DYNAMIC alien-ts";
export const DEFAULT_MEMORY_BYTES = 256 * 1024 * 1024;
export const MEMORY_BYTES_MIN = 16 * 1024 * 1024;
export const MEMORY_BYTES_MAX = 1024 * 1024 * 1024;
export const CPUS_MAX = 64;

export interface BootOptions extends Partial<KernelConfig> {
  /** Zeroed, a multiple of 64 KiB. */
  readonly memory?: MemoryBuffer;
  /** With what BPF programs are compiled: `memory` is then its memory's buffer. Without it they are interpreted. */
  readonly jit?: JitHost;
  readonly layout?: Layout;
  readonly clock?: Clock;
  readonly observer?: Observer;
  readonly arch?: Arch;
  /** The kallsyms table of a build; without it, or with more `text`, the image is linked until it is stable. */
  readonly kallsyms?: Uint8Array;
  /** Files with rows, and subsystems, beside the kernel's own: what an extension package brings. */
  readonly text?: readonly RowModule[];
  readonly subsystems?: readonly Subsystem[];
  /** Runs user programs. A kernel without one has no init: what tests of single subsystems boot. */
  readonly programHost?: ProgramHost;
  /** The root file system's files, parents before children. */
  readonly files?: readonly RootFile[];
  /** Path and arguments of the first program; by default Linux's list of inits is tried. */
  readonly init?: readonly string[];
  /** Poison and red zones in the allocator. */
  readonly debugAllocations?: boolean;
}

function configure(options: BootOptions): KernelConfig {
  const cpus = options.cpus ?? 2;
  if (!Number.isInteger(cpus) || cpus < 1 || cpus > CPUS_MAX)
    throw new RangeError(`cpus is ${cpus}, expected 1 to ${CPUS_MAX}`);
  return {
    release: options.release ?? DEFAULT_RELEASE,
    version: options.version ?? DEFAULT_VERSION,
    hostname: options.hostname ?? "alien",
    cpus,
    seed: options.seed ?? 1,
    commandLine: options.commandLine ?? "",
  };
}

/** Throws a RangeError for memory that a kernel cannot boot in. */
function checkMemory(memory: MemoryBuffer): MemoryBuffer {
  if (memory.byteLength < MEMORY_BYTES_MIN || memory.byteLength > MEMORY_BYTES_MAX)
    throw new RangeError(
      `memory has ${memory.byteLength} bytes, expected ${MEMORY_BYTES_MIN} to ${MEMORY_BYTES_MAX}`,
    );
  return memory;
}

/** A kernel with text, allocators, CPUs and idle tasks, and no subsystem yet. What tests of the low layers boot. */
export function bootCore(options: BootOptions = {}): Kernel {
  const config = configure(options);
  const arch = options.arch ?? riscv64;
  const mem = new LinearMemory(checkMemory(options.memory ?? new ArrayBuffer(DEFAULT_MEMORY_BYTES)));
  const clock = options.clock ?? Clock.virtual();
  const kernel = new Kernel({
    config,
    mem,
    layout: options.layout ?? Layout.natural(),
    clock,
    log: new KernelLog(() => clock.nowNs()),
    prng: new Prng(config.seed),
    observer: options.observer ?? NO_OBSERVER,
  });
  const extra = options.text ?? [];
  const table = extra.length === 0 ? options.kallsyms : undefined;
  const text = extra.length === 0 ? TEXT : [...TEXT, ...extra];
  const { baseHi } = mem;
  const image = linkKernel({ files: text, arch, baseHi, table, btfBytes: () => btfBytesOf(text, arch) });
  const { layout } = kernel;
  kernel.btf = new KernelBtf(mem, image.image, () => describeKernel({ text, types: TYPES, arch, layout }));
  initMemory(kernel, arch, image, options.debugAllocations ?? false);
  initTasks(kernel);
  return kernel;
}

function initMemory(kernel: Kernel, arch: Arch, image: KernelImage, debug: boolean): void {
  kernel.text = new KernelText(kernel.mem, arch, image);
  const start = Math.ceil((image.image.base + image.image.size) / PAGE_SIZE) * PAGE_SIZE;
  kernel.pages = new PageAllocator(kernel.mem, { start, end: kernel.mem.size });
  kernel.kmalloc = new Kmalloc(kernel.pages, { debug });
  kernel.memoryManager = new MemoryManager(kernel.kmalloc, kernel.layout);
  kernel.ownerOf = (addr) => kernel.kmalloc.ownerOf(addr);
}

function initTasks(kernel: Kernel): void {
  kernel.taskHooks = [];
  kernel.deadTasks = [];
  kernel.syscallTable = [];
  kernel.onSyscallEnter = undefined;
  kernel.onSyscallExit = undefined;
  kernel.cpus = Array.from({ length: kernel.config.cpus }, (_, id) => new Cpu(kernel, id));
  kernel.sched = new Scheduler(kernel);
  kernel.pids = new PidTable(kernel.log);
  const cred = must(initCred(kernel));
  for (const cpu of kernel.cpus) {
    const idle = must(createTask(kernel, cpu, `swapper/${cpu.id}`));
    idle.t.flags = PF.IDLE | PF.KTHREAD;
    idle.t.__state = TASK.RUNNING;
    idle.t.on_cpu = 1;
    cred.users += 1;
    setCred(idle, cred);
    idle.process = new Process(idle, 0, 0, initialLimits());
    idle.t.real_parent = idle.addr;
    idle.t.parent = idle.addr;
    idle.t.group_leader = idle.addr;
    cpu.idle = idle;
    cpu.current = idle;
  }
  kernel.bootCx = kernel.cpus[0]!.idle.cx;
  kernel.current = kernel.bootCx;
}

function must(made: Task | Errno): Task;
function must<T>(made: T | Errno): T;
function must<T>(made: T | Errno): T {
  if (isErr(made)) throw new Error(`no memory at boot: ${made.name}`);
  return made;
}

/** A whole kernel, ready to run init. */
export function boot(options: BootOptions = {}): Kernel {
  const kernel = bootCore(options);
  const { config, log, mem, text } = kernel;
  log.info(`Linux version ${config.release} (alien-ts) ${config.version}`);
  log.info(`Machine model: alien-ts,${text.arch.machine}`);
  log.info(`Kernel command line: ${config.commandLine}`);
  log.info(`Memory: ${kernel.pages.freePages * 4}K/${mem.size / 1024}K available`);
  log.info(`kallsyms: ${text.symbols.size} symbols, ${text.rows.length} functions`);
  log.info(`smp: Brought up 1 node, ${config.cpus} CPU${config.cpus === 1 ? "" : "s"}`);
  kernel.programHost = options.programHost;
  kernel.jitHost = options.jit;
  for (const subsystem of [...SUBSYSTEMS, ...(options.subsystems ?? [])]) subsystem.init(kernel);
  if (options.programHost !== undefined)
    startInit(kernel, {
      files: options.files ?? [],
      ...(options.init === undefined ? {} : { init: options.init }),
    });
  return kernel;
}
