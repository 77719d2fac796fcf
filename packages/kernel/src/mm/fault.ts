/**
 * The page fault handler (Linux: arch/riscv/mm/fault.c, mm/memory.c): makes an access to a user page possible, or says why
 * it is not. The result is a number, so that the fast path allocates nothing: a frame's byte address, or one of `FAULT`.
 *
 * An access is one of the bits PTE.R, PTE.W, PTE.X. Private pages are copied at the first store; a page of the kernel's own
 * page cache or ring is never written through a private mapping.
 */
import { ENOMEM, isErr, type KAddr, PAGE_SIZE, type UAddr } from "@alien-ts/abi";
import type { AddressSpace } from "./address-space.ts";
import { pageNumber, FRAME_MASK, PTE } from "./page-table.ts";
import { STACK_GUARD_BYTES, VM, VM_ACCESS_FLAGS, type Vma } from "./vma.ts";

/** Why an access failed. */
export const FAULT = {
  /** SIGSEGV, SEGV_MAPERR: nothing is mapped there. */
  MAPERR: -1,
  /** SIGSEGV, SEGV_ACCERR: the mapping does not allow it. */
  ACCERR: -2,
  /** SIGBUS, BUS_ADRERR: the object behind the mapping has no such page. */
  BUS: -3,
  /** No memory: the task is killed. */
  OOM: -4,
} as const;

/** The three accesses, as PTE bits. */
export const ACCESS = { READ: PTE.R, WRITE: PTE.W, EXEC: PTE.X } as const;

/** Resolves a fault at `addr` (below TASK_SIZE). Gives the frame's address, or a negative `FAULT`. */
export function handle_mm_fault(mm: AddressSpace, addr: UAddr, access: number): number {
  const vma = mm.vmas.findAfter(addr);
  if (vma === undefined) return FAULT.MAPERR;
  if (addr < vma.start && !expand_stack(mm, vma, addr)) return FAULT.MAPERR;
  if (!permits(vma, access)) return FAULT.ACCERR;
  const vpn = pageNumber(addr);
  const pte = mm.table.get(vpn);
  mm.faults += 1;
  if (pte !== 0 && access !== PTE.W) return pte & FRAME_MASK;
  if (access !== PTE.W)
    return vma.mappable === undefined ? mapZero(mm, vma, vpn) : mapObject(mm, vma, vpn, false);
  if (vma.isShared) return pte === 0 ? mapObject(mm, vma, vpn, true) : makeShareWritable(mm, vma, vpn, pte);
  return pte === 0 ? mapPrivate(mm, vma, vpn) : makePrivateWritable(mm, vma, vpn, pte);
}

/** Rights of a page in `vma` for loads and instruction fetches: a store implies the load (arch/riscv/mm/fault.c). */
export function loadBits(flags: number): number {
  return ((flags & (VM.READ | VM.WRITE)) !== 0 ? PTE.R : 0) | ((flags & VM.EXEC) !== 0 ? PTE.X : 0);
}

/** Linux: access_error(). */
function permits(vma: Vma, access: number): boolean {
  if (access === PTE.W) return (vma.flags & VM.WRITE) !== 0;
  return (loadBits(vma.flags) & access) !== 0;
}

/** Grows a stack down to `addr` where limits, the guard gap and neighbours allow it (mm/vma.c, acct_stack_growth). */
function expand_stack(mm: AddressSpace, vma: Vma, addr: UAddr): boolean {
  if ((vma.flags & VM.GROWSDOWN) === 0) return false;
  const start = Math.floor(addr / PAGE_SIZE) * PAGE_SIZE;
  const below = mm.vmas.before(vma);
  if (start < mm.minAddr || vma.end - start > mm.limits.stack) return false;
  const isGuarded =
    below !== undefined && (below.flags & VM.GROWSDOWN) === 0 && (below.flags & VM_ACCESS_FLAGS) !== 0;
  if (isGuarded && start - below.end < STACK_GUARD_BYTES) return false;
  const pages = (vma.start - start) / PAGE_SIZE;
  if (!mm.mayExpand(vma.flags, pages)) return false;
  vma.start = start;
  vma.pageOffset -= pages;
  mm.account(vma.flags, pages);
  return true;
}

/** A load of an untouched anonymous page: everybody's zero page. */
function mapZero(mm: AddressSpace, vma: Vma, vpn: number): number {
  const { zeroPage } = mm.manager;
  return mm.install(vpn, zeroPage | loadBits(vma.flags)) ? zeroPage : FAULT.OOM;
}

/** The object's own frame: any fault of a shared mapping, a load of a private one. */
function mapObject(mm: AddressSpace, vma: Vma, vpn: number, isWrite: boolean): number {
  const object = vma.mappable!;
  const index = vma.indexOf(vpn * PAGE_SIZE);
  const frame = object.fault(index, isWrite);
  if (isErr(frame)) return frame === ENOMEM ? FAULT.OOM : FAULT.BUS;
  const counted = object.counted ? PTE.COUNTED : 0;
  const store = isWrite ? PTE.W | PTE.D : 0;
  if (!mm.install(vpn, frame | loadBits(vma.flags) | counted | store, object.isShmem)) {
    if (object.counted) mm.manager.pages.put(frame);
    return FAULT.OOM;
  }
  if (isWrite) object.dirtied?.(index);
  return frame;
}

/** The first store to a page of a shared mapping that was read before. */
function makeShareWritable(mm: AddressSpace, vma: Vma, vpn: number, pte: number): number {
  vma.mappable?.dirtied?.(vma.indexOf(vpn * PAGE_SIZE));
  mm.table.set(vpn, pte | PTE.W | PTE.D);
  return pte & FRAME_MASK;
}

/** A store to a private page that is not there yet. */
function mapPrivate(mm: AddressSpace, vma: Vma, vpn: number): number {
  const object = vma.mappable;
  if (object === undefined) {
    const fresh = mm.manager.pages.alloc(1, "anon");
    return fresh === 0 ? FAULT.OOM : installAnonymous(mm, vma, vpn, fresh);
  }
  const source = object.fault(vma.indexOf(vpn * PAGE_SIZE), false);
  if (isErr(source)) return source === ENOMEM ? FAULT.OOM : FAULT.BUS;
  const copy = copyOfFrame(mm, source);
  if (object.counted) mm.manager.pages.put(source);
  return copy === 0 ? FAULT.OOM : installAnonymous(mm, vma, vpn, copy);
}

/** A store to a private page that is mapped read-only: in place when nobody else has it, else copy (do_wp_page). */
function makePrivateWritable(mm: AddressSpace, vma: Vma, vpn: number, pte: number): number {
  const frame = pte & FRAME_MASK;
  if ((pte & PTE.ANON) !== 0 && mm.manager.pages.refs(frame) === 1) {
    mm.table.set(vpn, pte | PTE.W | PTE.D);
    return frame;
  }
  const copy = copyOfFrame(mm, frame);
  if (copy === 0) return FAULT.OOM;
  mm.dropPage(vma, pte);
  mm.table.set(vpn, 0);
  mm.table.generation += 1;
  return installAnonymous(mm, vma, vpn, copy);
}

function installAnonymous(mm: AddressSpace, vma: Vma, vpn: number, frame: KAddr): number {
  const bits = loadBits(vma.flags) | PTE.W | PTE.D | PTE.ANON | PTE.COUNTED;
  if (mm.install(vpn, frame | bits)) return frame;
  mm.manager.pages.put(frame);
  return FAULT.OOM;
}

function copyOfFrame(mm: AddressSpace, frame: KAddr): KAddr | 0 {
  const copy = mm.manager.pages.alloc(1, "anon", false);
  if (copy !== 0) mm.manager.pages.memory.u8.copyWithin(copy, frame, frame + PAGE_SIZE);
  return copy;
}
