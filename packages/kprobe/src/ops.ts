/**
 * `KprobeAuxiliaryOps`: all that the library asks of a kernel. About 50 lines on a kernel that can write its text
 * (kprobe.test.ts has one).
 */
import type { KAddr, Result } from "@alien-ts/abi";

/** The symbol that covers an address. */
export interface SymbolRange {
  readonly name: string;
  readonly addr: KAddr;
  /** Name of the module it belongs to; undefined for the kernel itself. */
  readonly module: string | undefined;
}

export interface KprobeAuxiliaryOps {
  /** A copy of at most `length` bytes of code; fewer where executable memory ends. */
  copy_text(addr: KAddr, length: number): Uint8Array;
  /**
   * Calls `write` with the writable bytes [addr, addr + length) of text or of a slot; afterwards every CPU's instruction cache
   * must agree with them.
   */
  set_writeable_for_address(addr: KAddr, length: number, write: (bytes: Uint8Array) => void): void;
  /** One page of executable memory, from which the library carves slots; ENOMEM. */
  alloc_executable_page(): Result<KAddr>;
  free_executable_page(page: KAddr): void;
  readonly executablePageBytes: number;

  /** The CPU that runs now, from 0. */
  current_cpu(): number;
  /** The task that runs now, by identity: kretprobes keep what a call returns to with it. */
  current_task(): object;

  /** Whether the address is in the text of the kernel or of a module (Linux: core_kernel_text, __module_text_address). */
  is_kernel_text(addr: KAddr): boolean;
  /** Whether the function at `addr` refuses probes (Linux: within_kprobe_blacklist). */
  is_blacklisted(addr: KAddr): boolean;
  lookup_name(symbol: string): KAddr | undefined;
  /** The symbol that covers `addr`, text or data. */
  lookup_address(addr: KAddr): SymbolRange | undefined;
}
