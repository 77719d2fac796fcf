/**
 * The page allocator: contiguous runs of 4 KiB pages from a range of the linear memory, by a binary buddy system
 * (Linux: mm/page_alloc.c). A run is named by the address of its first page, its *head*.
 *
 * `alloc` gives a run of any count (what the power of two has too much goes back at once, as alloc_pages_exact does) with
 * reference count 1, or 0 when memory is exhausted; `get`/`put` count references to a run, and the last `put` frees it.
 *
 * Invariants: metadata lies in typed arrays beside the memory, where no guest can reach it, indexed by page frame number
 * (`addr >>> PAGE_SHIFT`) over the whole memory, so that a frame outside the managed range may be asked about too. The order
 * of addresses depends on the calls alone. Freeing what is not a live head is a kernel bug and throws. Unlike Linux's, a run
 * may be as large as the memory: kernel addresses cannot alias, so there is no vmalloc to fall back to.
 */
import { type KAddr, type LinearMemory, NULL_GUARD_BYTES, PAGE_SHIFT, PAGE_SIZE } from "@alien-ts/abi";
import { AllocationFaults, TagLedger } from "./allocation-faults.ts";

/** Byte that fills freed pages in debug mode (include/linux/poison.h, PAGE_POISON). */
export const PAGE_POISON = 0xaa;

const MAX_ORDER = 18;
const NONE = -1;

export interface PageRange {
  /** First byte of the managed range; rounded up to a page. The null guard is never managed. */
  readonly start: KAddr;
  /** First byte after it; rounded down to a page. */
  readonly end: KAddr;
}

export interface PageAllocatorOptions extends PageRange {
  /** Fills freed pages with `PAGE_POISON`. */
  readonly debug?: boolean;
  /** A shared fault injector; by default a new one. */
  readonly faults?: AllocationFaults;
}

export class PageAllocator {
  readonly memory: LinearMemory;
  readonly faults: AllocationFaults;
  readonly ledger = new TagLedger();
  readonly totalPages: number;
  readonly #debug: boolean;
  readonly #first: number;
  readonly #end: number;
  #freePages = 0;
  /** Pages of the run, at its head; 0 elsewhere. */
  readonly #count: Uint32Array;
  readonly #refs: Int32Array;
  readonly #tag: Uint16Array;
  /** Order of the free block that starts here, or NONE. */
  readonly #freeOrder: Int8Array;
  readonly #next: Int32Array;
  readonly #previous: Int32Array;
  readonly #heads = new Int32Array(MAX_ORDER + 1).fill(NONE);

  constructor(memory: LinearMemory, options: PageAllocatorOptions) {
    const frames = memory.size >>> PAGE_SHIFT;
    this.memory = memory;
    this.faults = options.faults ?? new AllocationFaults();
    this.#debug = options.debug ?? false;
    this.#first = Math.ceil(Math.max(options.start, NULL_GUARD_BYTES) / PAGE_SIZE);
    this.#end = Math.min(Math.floor(options.end / PAGE_SIZE), frames);
    this.totalPages = Math.max(this.#end - this.#first, 0);
    this.#count = new Uint32Array(frames);
    this.#refs = new Int32Array(frames);
    this.#tag = new Uint16Array(frames);
    this.#freeOrder = new Int8Array(frames).fill(NONE);
    this.#next = new Int32Array(frames).fill(NONE);
    this.#previous = new Int32Array(frames).fill(NONE);
    this.#release(this.#first, this.totalPages);
  }

  get freePages(): number {
    return this.#freePages;
  }

  get usedPages(): number {
    return this.totalPages - this.#freePages;
  }

  /**
   * A run of `count` contiguous pages under `tag`, zeroed unless `zero` is false; 0 when no run is free or a failure was
   * injected. Its address is a multiple of its size rounded up to a power of two, up to the largest block.
   */
  alloc(count: number, tag: string, zero = true): KAddr | 0 {
    if (this.faults.shouldFail(tag)) return 0;
    return this.take(count, tag, zero);
  }

  /** `alloc` without fault injection: for an allocator above that has asked already. */
  take(count: number, tag: string, zero: boolean): KAddr | 0 {
    if (!Number.isInteger(count) || count <= 0) throw new Error(`page allocation of ${count} pages`);
    if (count > this.#freePages) return 0;
    const order = orderOf(count);
    if (order > MAX_ORDER) return 0;
    const pfn = this.#takeBlock(order);
    if (pfn === NONE) return 0;
    this.#release(pfn + count, (1 << order) - count);
    this.#count[pfn] = count;
    this.#refs[pfn] = 1;
    const tagId = this.ledger.id(tag);
    this.#tag[pfn] = tagId;
    this.ledger.add(tagId, 1, count * PAGE_SIZE);
    const addr = pfn << PAGE_SHIFT;
    if (zero) this.memory.u8.fill(0, addr, addr + count * PAGE_SIZE);
    return addr;
  }

  /** Frees the run at `addr`, to which nobody else may hold a reference. */
  free(addr: KAddr): void {
    const pfn = this.#headOf(addr, "free");
    if (this.#refs[pfn] !== 1)
      throw new Error(
        `page run ${this.memory.format(addr)} freed with ${this.#refs[pfn]} references (${this.tagOf(addr)})`,
      );
    this.#freeRun(pfn);
  }

  /** Takes one more reference to the run at `addr`. */
  get(addr: KAddr): void {
    this.#refs[this.#headOf(addr, "get")]! += 1;
  }

  /** Gives one reference back; the last one frees the run. */
  put(addr: KAddr): void {
    const pfn = this.#headOf(addr, "put");
    this.#refs[pfn]! -= 1;
    if (this.#refs[pfn] === 0) this.#freeRun(pfn);
  }

  /** References to the run whose head is at `addr`; 0 when there is none. */
  refs(addr: KAddr): number {
    return this.#refs[addr >>> PAGE_SHIFT] ?? 0;
  }

  /** Pages in the run whose head is at `addr`; 0 when there is none. */
  countOf(addr: KAddr): number {
    return this.#count[addr >>> PAGE_SHIFT] ?? 0;
  }

  /** The tag under which the run at `addr` was allocated. */
  tagOf(addr: KAddr): string {
    return this.ledger.name(this.#tag[addr >>> PAGE_SHIFT] ?? NONE);
  }

  /** Free blocks per order, as /proc/buddyinfo shows them. */
  buddyInfo(): number[] {
    const counts: number[] = [];
    for (let order = 0; order <= MAX_ORDER; order++) {
      let blocks = 0;
      for (let pfn = this.#heads[order]!; pfn !== NONE; pfn = this.#next[pfn]!) blocks += 1;
      counts.push(blocks);
    }
    return counts;
  }

  #headOf(addr: KAddr, what: string): number {
    const pfn = addr >>> PAGE_SHIFT;
    if ((addr & (PAGE_SIZE - 1)) !== 0 || !((this.#count[pfn] ?? 0) > 0))
      throw new Error(`${what} of ${this.memory.format(addr)}, which is not a live page run`);
    return pfn;
  }

  #freeRun(pfn: number): void {
    const count = this.#count[pfn]!;
    this.ledger.add(this.#tag[pfn]!, -1, -count * PAGE_SIZE);
    this.#count[pfn] = 0;
    this.#refs[pfn] = 0;
    const addr = pfn << PAGE_SHIFT;
    if (this.#debug) this.memory.u8.fill(PAGE_POISON, addr, addr + count * PAGE_SIZE);
    this.#release(pfn, count);
  }

  /** Splits the smallest block that is large enough; NONE when there is none. */
  #takeBlock(order: number): number {
    let have = order;
    while (have <= MAX_ORDER && this.#heads[have] === NONE) have += 1;
    if (have > MAX_ORDER) return NONE;
    const pfn = this.#heads[have]!;
    this.#unlink(pfn, have);
    this.#freePages -= 1 << order;
    while (have > order) {
      have -= 1;
      this.#link(pfn + (1 << have), have);
    }
    return pfn;
  }

  /** Gives any run of pages back, as the largest aligned blocks that it holds. */
  #release(start: number, count: number): void {
    let pfn = start;
    let left = count;
    while (left > 0) {
      let order = 0;
      while (order < MAX_ORDER && (pfn & ((1 << (order + 1)) - 1)) === 0 && 1 << (order + 1) <= left)
        order += 1;
      this.#freePages += 1 << order;
      this.#mergeBlock(pfn, order);
      pfn += 1 << order;
      left -= 1 << order;
    }
  }

  #mergeBlock(start: number, startOrder: number): void {
    let pfn = start;
    let order = startOrder;
    while (order < MAX_ORDER) {
      const buddy = pfn ^ (1 << order);
      if (buddy < this.#first || buddy >= this.#end || this.#freeOrder[buddy] !== order) break;
      this.#unlink(buddy, order);
      pfn = Math.min(pfn, buddy);
      order += 1;
    }
    this.#link(pfn, order);
  }

  #link(pfn: number, order: number): void {
    const head = this.#heads[order]!;
    this.#freeOrder[pfn] = order;
    this.#previous[pfn] = NONE;
    this.#next[pfn] = head;
    if (head !== NONE) this.#previous[head] = pfn;
    this.#heads[order] = pfn;
  }

  #unlink(pfn: number, order: number): void {
    const next = this.#next[pfn]!;
    const previous = this.#previous[pfn]!;
    if (next !== NONE) this.#previous[next] = previous;
    if (previous === NONE) this.#heads[order] = next;
    else this.#next[previous] = next;
    this.#freeOrder[pfn] = NONE;
  }
}

/** Smallest order whose block holds `count` pages. */
export function orderOf(count: number): number {
  return count <= 1 ? 0 : 32 - Math.clz32(count - 1);
}
