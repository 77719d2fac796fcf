/**
 * What the Cpu asks of memory: where the bytes of a virtual address lie in linear memory.
 *
 * `KernelSpace` answers for kernel text: the direct map, whose addresses have one high word, without the guarded first 64 KiB;
 * code is fetched only where the owner says so. A user address space will be a second implementation, over a process's software
 * page tables; what it must add is an answer for an access that crosses into a page that lies elsewhere.
 */
import { type KAddr, type LinearMemory, NULL_GUARD_BYTES } from "@alien-ts/abi";

/** Addresses are (high, low) words, high as int32. Each answer is an index into linear memory, or FAULT. */
export interface AddressSpace {
  load(high: number, low: number, sizeBytes: number): number;
  store(high: number, low: number, sizeBytes: number): number;
  /** Where the 16 bits of code at an address lie. Asked once per predecoded instruction, until `invalidate`. */
  fetch(high: number, low: number): number;
}

export const FAULT = -1;

export class KernelSpace implements AddressSpace {
  readonly #size: number;
  readonly #baseHi: number;
  readonly #isExecutable: (addr: KAddr) => boolean;

  /** @param isExecutable whether the 16 bits at an (even) address may be executed: kernel text, module text, probe slots. */
  constructor(mem: LinearMemory, isExecutable: (addr: KAddr) => boolean) {
    this.#size = mem.size;
    this.#baseHi = mem.baseHi | 0;
    this.#isExecutable = isExecutable;
  }

  load(high: number, low: number, sizeBytes: number): number {
    const addr = low >>> 0;
    return high === this.#baseHi && addr >= NULL_GUARD_BYTES && addr + sizeBytes <= this.#size ? addr : FAULT;
  }

  store(high: number, low: number, sizeBytes: number): number {
    return this.load(high, low, sizeBytes);
  }

  fetch(high: number, low: number): number {
    const addr = this.load(high, low, 2);
    return addr !== FAULT && this.#isExecutable(addr) ? addr : FAULT;
  }
}
