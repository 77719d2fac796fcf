/**
 * The software page tables of one address space: user page number → frame, in linear memory.
 *
 * Three levels of little-endian 32-bit words, so that a JIT compiler to WebAssembly can walk them with three loads:
 *
 *     vpn  = addr >> 12                              26 bits, since user addresses are below 2^38 (Sv39)
 *     mid  = u32[root + 4 * (vpn >> 20)]             64 words, covers 256 GiB
 *     leaf = u32[mid  + 4 * ((vpn >> 10) & 1023)]    one page, covers 4 GiB
 *     pte  = u32[leaf + 4 * (vpn & 1023)]            one page, covers 4 MiB
 *
 * A word of 0 is absent at every level. A PTE is the frame's kernel address (page-aligned: its upper 20 bits) and flags in the
 * lower 12, with the bit numbers of Sv39. `pte & access` (R, W or X) is the whole permission check of a fast path: W is set only
 * while a store may go ahead, that is on a page that is not shared copy-on-write and is marked dirty already. The first store
 * to a page always comes to the fault handler. A translation may be cached while `generation` stays the same.
 *
 * The tables hold no references: who writes a PTE counts its frame.
 */
import { type KAddr, type LinearMemory, PAGE_SHIFT } from "@alien-ts/abi";
import type { Kmalloc } from "./kmalloc.ts";

export const PTE = {
  V: 0x1,
  R: 0x2,
  W: 0x4,
  X: 0x8,
  U: 0x10,
  A: 0x40,
  D: 0x80,
  /** The frame is an anonymous page that belongs to private mappings only: one with a single reference may be written in place. */
  ANON: 0x100,
  /** The entry holds a reference to the frame, which is a page run of the page allocator. */
  COUNTED: 0x200,
} as const;

/** The frame's address in a PTE. */
export const FRAME_MASK = ~0xfff;

const LEAF_BITS = 10;
const TABLE_ENTRIES = 1024;
const INDEX_MASK = TABLE_ENTRIES - 1;
const ROOT_ENTRIES = 64;
const TABLE_TAG = "pgtable";

export class PageTable {
  /** Address of the root table; 0 after `destroy` and when memory was exhausted at the start. */
  root: KAddr;
  /** Grows whenever an entry is taken away or loses a right. */
  generation = 0;
  /** Pages of linear memory that the tables take, without the root (VmPTE). */
  tablePages = 0;
  readonly #kmalloc: Kmalloc;
  readonly #memory: LinearMemory;
  /** The leaf that was used last: walks are local. */
  #cachedIndex = -1;
  #cachedLeaf: KAddr = 0;

  constructor(kmalloc: Kmalloc) {
    this.#kmalloc = kmalloc;
    this.#memory = kmalloc.pages.memory;
    this.root = kmalloc.kzalloc(ROOT_ENTRIES * 4, TABLE_TAG);
  }

  /** The entry of a page, 0 when absent. */
  get(vpn: number): number {
    const leaf = this.#leaf(vpn >>> LEAF_BITS);
    return leaf === 0 ? 0 : this.#memory.u32[(leaf >>> 2) + (vpn & INDEX_MASK)]!;
  }

  /** Writes the entry of a page. False when a table could not be allocated. */
  set(vpn: number, pte: number): boolean {
    let leaf = this.#leaf(vpn >>> LEAF_BITS);
    if (leaf === 0) {
      if (pte === 0) return true;
      leaf = this.#makeLeaf(vpn >>> LEAF_BITS);
      if (leaf === 0) return false;
    }
    this.#memory.u32[(leaf >>> 2) + (vpn & INDEX_MASK)] = pte;
    return true;
  }

  /** Replaces every present entry of [first, end) by what `change` returns for it. */
  update(first: number, end: number, change: (pte: number, vpn: number) => number): void {
    const { u32 } = this.#memory;
    let vpn = first;
    while (vpn < end) {
      const leaf = this.#leaf(vpn >>> LEAF_BITS);
      const stop = Math.min(end, (vpn | INDEX_MASK) + 1);
      if (leaf !== 0)
        for (; vpn < stop; vpn++) {
          const at = (leaf >>> 2) + (vpn & INDEX_MASK);
          const pte = u32[at]!;
          if (pte !== 0) u32[at] = change(pte, vpn);
        }
      vpn = stop;
    }
    this.generation += 1;
  }

  /** Frees the tables of [first, end) that are empty now. */
  prune(first: number, end: number): void {
    const { u32 } = this.#memory;
    const firstLeaf = first >>> LEAF_BITS;
    const lastLeaf = (end - 1) >>> LEAF_BITS;
    for (let top = firstLeaf >>> LEAF_BITS; top <= lastLeaf >>> LEAF_BITS; top++) {
      const mid = u32[(this.root >>> 2) + top]!;
      if (mid === 0) continue;
      const low = Math.max(firstLeaf - top * TABLE_ENTRIES, 0);
      const high = Math.min(lastLeaf - top * TABLE_ENTRIES, INDEX_MASK);
      for (let at = (mid >>> 2) + low; at <= (mid >>> 2) + high; at++) {
        const leaf = u32[at]!;
        if (leaf === 0 || !this.#isEmpty(leaf)) continue;
        u32[at] = 0;
        this.#freeTable(leaf);
      }
      if (!this.#isEmpty(mid)) continue;
      u32[(this.root >>> 2) + top] = 0;
      this.#freeTable(mid);
    }
  }

  /** Frees all tables. Every entry must have been taken away. */
  destroy(): void {
    if (this.root === 0) return;
    this.prune(0, ROOT_ENTRIES * TABLE_ENTRIES * TABLE_ENTRIES);
    if (this.tablePages !== 0) throw new Error("page tables destroyed while entries are present");
    this.#kmalloc.kfree(this.root);
    this.root = 0;
  }

  #mid(index: number): KAddr {
    return this.#memory.u32[(this.root >>> 2) + (index >>> LEAF_BITS)]!;
  }

  #leaf(index: number): KAddr {
    if (index === this.#cachedIndex) return this.#cachedLeaf;
    const mid = this.#mid(index);
    if (mid === 0) return 0;
    const leaf = this.#memory.u32[(mid >>> 2) + (index & INDEX_MASK)]!;
    if (leaf !== 0) {
      this.#cachedIndex = index;
      this.#cachedLeaf = leaf;
    }
    return leaf;
  }

  #makeLeaf(index: number): KAddr | 0 {
    let mid = this.#mid(index);
    if (mid === 0) {
      mid = this.#newTable();
      if (mid === 0) return 0;
      this.#memory.u32[(this.root >>> 2) + (index >>> LEAF_BITS)] = mid;
    }
    const leaf = this.#newTable();
    if (leaf !== 0) this.#memory.u32[(mid >>> 2) + (index & INDEX_MASK)] = leaf;
    else if (this.#isEmpty(mid)) {
      this.#memory.u32[(this.root >>> 2) + (index >>> LEAF_BITS)] = 0;
      this.#freeTable(mid);
    }
    return leaf;
  }

  #newTable(): KAddr | 0 {
    const table = this.#kmalloc.pages.alloc(1, TABLE_TAG);
    if (table !== 0) this.tablePages += 1;
    return table;
  }

  #freeTable(table: KAddr): void {
    this.#cachedIndex = -1;
    this.tablePages -= 1;
    this.#kmalloc.pages.free(table);
  }

  #isEmpty(table: KAddr): boolean {
    const { u32 } = this.#memory;
    for (let i = table >>> 2; i < (table >>> 2) + TABLE_ENTRIES; i++) if (u32[i] !== 0) return false;
    return true;
  }
}

/** Page number of a user address below 2^38. */
export const pageNumber = (addr: number): number => (addr / (1 << PAGE_SHIFT)) | 0;
