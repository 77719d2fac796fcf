/**
 * Out-of-line slots: many in a page of executable memory. A page is asked for when all slots are taken, and given back when
 * its last slot is freed. The lowest free slot is taken first, so that a run is repeatable.
 */
import { isErr, type KAddr, type Result } from "@alien-ts/abi";
import type { KprobeAuxiliaryOps } from "./ops.ts";

interface SlotPage {
  readonly addr: KAddr;
  readonly isTaken: boolean[];
  taken: number;
}

export class SlotCache {
  readonly #ops: KprobeAuxiliaryOps;
  readonly #slotBytes: number;
  readonly #pages: SlotPage[] = [];

  constructor(ops: KprobeAuxiliaryOps, slotBytes: number) {
    this.#ops = ops;
    this.#slotBytes = slotBytes;
  }

  /** A free slot, whose bytes are not defined; ENOMEM. */
  alloc(): Result<KAddr> {
    const page = this.#pages.find(({ isTaken, taken }) => taken < isTaken.length) ?? this.#grow();
    if (isErr(page)) return page;
    const index = page.isTaken.indexOf(false);
    page.isTaken[index] = true;
    page.taken += 1;
    return page.addr + index * this.#slotBytes;
  }

  free(slot: KAddr): void {
    const page = this.#pageOf(slot);
    const index = page === undefined ? -1 : (slot - page.addr) / this.#slotBytes;
    if (page?.isTaken[index] !== true) throw new Error(`0x${slot.toString(16)} is not a slot in use`);
    page.isTaken[index] = false;
    page.taken -= 1;
    if (page.taken > 0) return;
    this.#pages.splice(this.#pages.indexOf(page), 1);
    this.#ops.free_executable_page(page.addr);
  }

  /** Whether `addr` is in a page of slots. */
  contains(addr: KAddr): boolean {
    return this.#pageOf(addr) !== undefined;
  }

  #pageOf(addr: KAddr): SlotPage | undefined {
    return this.#pages.find((page) => addr >= page.addr && addr < page.addr + this.#ops.executablePageBytes);
  }

  #grow(): Result<SlotPage> {
    const addr = this.#ops.alloc_executable_page();
    if (isErr(addr)) return addr;
    const slots = Math.floor(this.#ops.executablePageBytes / this.#slotBytes);
    const page = { addr, isTaken: Array.from({ length: slots }, () => false), taken: 0 };
    this.#pages.push(page);
    return page;
  }
}
