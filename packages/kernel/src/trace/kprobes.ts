/**
 * Kprobes of this kernel: the ports that the kprobe library asks for, and the traps handed to it.
 * Linux: kernel/kprobes.c, arch/riscv/kernel/probes.
 */
import { isErr, type KAddr, PAGE_SIZE, ENOMEM, type Result } from "@alien-ts/abi";
import {
  type Kprobe,
  type KprobeAuxiliaryOps,
  type KprobeBuilder,
  kprobe_fault_handler,
  kprobe_flush_task,
  kprobe_handler_from_break,
  kprobe_handler_from_debug,
  KprobeManager,
  type ProbeArgs,
  register_kprobe,
  unregister_kprobe,
} from "@alien-ts/kprobe";
import type { Cx } from "../core/cx.ts";
import type { Kernel } from "../core/kernel.ts";
import type { TrapHandled } from "../core/text.ts";

declare module "../core/kernel.ts" {
  interface Kernel {
    kprobes: KprobeManager;
  }
}

class KernelKprobeOps implements KprobeAuxiliaryOps {
  readonly executablePageBytes = PAGE_SIZE;
  readonly #kernel: Kernel;

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
  }

  copy_text(addr: KAddr, length: number): Uint8Array {
    const { text, mem } = this.#kernel;
    let available = 0;
    while (available < length && text.isExecutable(addr + available, 1)) available += 1;
    return mem.bytes(addr, available).slice();
  }

  set_writeable_for_address(addr: KAddr, length: number, write: (bytes: Uint8Array) => void): void {
    this.#kernel.text.write(addr, length, write);
  }

  alloc_executable_page(): Result<KAddr> {
    const page = this.#kernel.pages.alloc(1, "kprobe slots");
    if (page === 0) return ENOMEM;
    this.#kernel.text.setExecutable(page, true);
    return page;
  }

  free_executable_page(page: KAddr): void {
    this.#kernel.text.setExecutable(page, false);
    this.#kernel.pages.free(page);
  }

  current_cpu(): number {
    return this.#kernel.current.cpu.id;
  }

  current_task(): object {
    return this.#kernel.current.task;
  }

  is_kernel_text(addr: KAddr): boolean {
    return this.#kernel.text.isKernelText(addr);
  }

  /** Rows that say so, and everything that is no row: the entry points written in assembly. */
  is_blacklisted(addr: KAddr): boolean {
    const row = this.#kernel.text.rowAt(addr);
    return row === undefined || row.options.noprobe === true;
  }

  lookup_name(symbol: string): KAddr | undefined {
    return this.#kernel.text.symbols.lookupName(symbol);
  }

  lookup_address(addr: KAddr): { name: string; addr: KAddr; module: string | undefined } | undefined {
    const hit = this.#kernel.text.lookup(addr);
    return hit === undefined ? undefined : { name: hit.name, addr: hit.address, module: hit.module };
  }
}

/** Needs text, pages and the boot context. */
export function initKprobes(kernel: Kernel): void {
  const ops = new KernelKprobeOps(kernel);
  kernel.kprobes = new KprobeManager(ops, kernel.text.arch.kprobe);
  // Probes know no context: what asks for the CPU or the task gets those of the trap.
  const handle = <T>(cx: Cx, context: KAddr, handler: (manager: KprobeManager, args: ProbeArgs) => T): T => {
    const outer = kernel.current;
    kernel.current = cx;
    const handled = handler(kernel.kprobes, kernel.text.arch.probeArgs(kernel.mem, context));
    kernel.current = outer;
    return handled;
  };
  kernel.text.onTrap = (cx, context, cause): TrapHandled | undefined =>
    handle(cx, context, cause === "break" ? kprobe_handler_from_break : kprobe_handler_from_debug);
  kernel.text.onFault = (cx, context) => handle(cx, context, kprobe_fault_handler);
  kernel.taskHooks.push({ name: "kprobes", exit: (_, task) => kprobe_flush_task(kernel.kprobes, task) });
}

/** Plants a probe. Linux: register_kprobe(). */
export function plantKprobe(cx: Cx, builder: KprobeBuilder): Result<Kprobe> {
  return register_kprobe(cx.kernel.kprobes, builder);
}

/** Removes a probe; a kernel bug when it is not planted. */
export function removeKprobe(cx: Cx, probe: Kprobe): void {
  const result = unregister_kprobe(cx.kernel.kprobes, probe);
  if (isErr(result)) throw new Error(`unregister_kprobe of ${probe.symbol ?? probe.addr}: ${result.name}`);
}
