/**
 * Virtual memory areas: the ranges of an address space, sorted, never overlapping, merged where neighbours agree
 * (Linux: include/linux/mm.h, mm/vma.c). This file knows ranges only; pages are the business of address-space.ts.
 */
import { PAGE_SIZE, PROT, type UAddr } from "@alien-ts/abi";
import type { AddressSpace } from "./address-space.ts";
import type { Mappable } from "./mappable.ts";

/** vm_flags (include/linux/mm.h). */
export const VM = {
  READ: 0x1,
  WRITE: 0x2,
  EXEC: 0x4,
  SHARED: 0x8,
  MAYREAD: 0x10,
  MAYWRITE: 0x20,
  MAYEXEC: 0x40,
  MAYSHARE: 0x80,
  GROWSDOWN: 0x100,
  LOCKED: 0x2000,
  IO: 0x4000,
  DONTCOPY: 0x2_0000,
  DONTEXPAND: 0x4_0000,
  ACCOUNT: 0x10_0000,
  NORESERVE: 0x20_0000,
  DONTDUMP: 0x400_0000,
} as const;

export const VM_ACCESS_FLAGS = VM.READ | VM.WRITE | VM.EXEC;
export const VM_MAY_FLAGS = VM.MAYREAD | VM.MAYWRITE | VM.MAYEXEC;

/** PROT_* and VM_READ, VM_WRITE, VM_EXEC have the same numbers. */
export const vmFlagsOfProt = (prot: number): number => prot & (PROT.READ | PROT.WRITE | PROT.EXEC);

/** Pages below a growing stack that stay free (stack_guard_gap). */
export const STACK_GUARD_BYTES = 256 * PAGE_SIZE;

export interface VmaFields {
  readonly start: UAddr;
  readonly end: UAddr;
  readonly flags: number;
  /** Page of the object that `start` shows. */
  readonly pageOffset: number;
  readonly mappable: Mappable | undefined;
}

/** One area. Its fields change only through the address space that it belongs to. */
export class Vma {
  readonly mm: AddressSpace;
  start: UAddr;
  end: UAddr;
  flags: number;
  pageOffset: number;
  readonly mappable: Mappable | undefined;

  constructor(mm: AddressSpace, fields: VmaFields) {
    this.mm = mm;
    this.start = fields.start;
    this.end = fields.end;
    this.flags = fields.flags;
    this.pageOffset = fields.pageOffset;
    this.mappable = fields.mappable;
  }

  get pages(): number {
    return (this.end - this.start) / PAGE_SIZE;
  }

  /** Stores are seen by other mappings of the object. */
  get isShared(): boolean {
    return (this.flags & VM.MAYSHARE) !== 0;
  }

  /** Lowest address that must stay free above whatever lies below (vm_start_gap). */
  get startGap(): UAddr {
    return (this.flags & VM.GROWSDOWN) !== 0 ? Math.max(this.start - STACK_GUARD_BYTES, 0) : this.start;
  }

  /** Page of the object that `addr` shows. */
  indexOf(addr: UAddr): number {
    return this.pageOffset + Math.floor((addr - this.start) / PAGE_SIZE);
  }

  /** "rw-p", as /proc/<pid>/maps prints it. */
  get permissions(): string {
    const bit = (flag: number, letter: string): string => ((this.flags & flag) !== 0 ? letter : "-");
    return (
      bit(VM.READ, "r") +
      bit(VM.WRITE, "w") +
      bit(VM.EXEC, "x") +
      ((this.flags & VM.MAYSHARE) !== 0 ? "s" : "p")
    );
  }
}

/** Whether `next` continues `vma` so that one area can stand for both. */
export function canMerge(vma: Vma, next: VmaFields): boolean {
  return (
    vma.end === next.start &&
    vma.flags === next.flags &&
    (vma.flags & (VM.DONTEXPAND | VM.IO)) === 0 &&
    vma.mappable === next.mappable &&
    vma.pageOffset + vma.pages === next.pageOffset
  );
}

/** The sorted areas of an address space. */
export class VmaList {
  readonly items: Vma[] = [];

  /** Index of the first area that ends above `addr`; the length when there is none (find_vma). */
  indexAfter(addr: UAddr): number {
    let low = 0;
    let high = this.items.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.items[middle]!.end > addr) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  /** The first area that ends above `addr`; it need not contain it. */
  findAfter(addr: UAddr): Vma | undefined {
    return this.items[this.indexAfter(addr)];
  }

  /** The area that contains `addr`. */
  containing(addr: UAddr): Vma | undefined {
    const vma = this.findAfter(addr);
    return vma !== undefined && vma.start <= addr ? vma : undefined;
  }

  /** Whether any area has a byte in [start, end). */
  intersects(start: UAddr, end: UAddr): boolean {
    const vma = this.findAfter(start);
    return vma !== undefined && vma.start < end;
  }

  /** The areas that have a byte in [start, end), lowest first; a copy. */
  overlapping(start: UAddr, end: UAddr): Vma[] {
    const first = this.indexAfter(start);
    let last = first;
    while (last < this.items.length && this.items[last]!.start < end) last += 1;
    return this.items.slice(first, last);
  }

  insert(vma: Vma): void {
    this.items.splice(this.indexAfter(vma.start), 0, vma);
  }

  remove(vma: Vma): void {
    this.items.splice(this.items.indexOf(vma), 1);
  }

  /** The area just below `vma`. */
  before(vma: Vma): Vma | undefined {
    return this.items[this.indexAfter(vma.start) - 1];
  }
}
