/**
 * The system calls about mappings that exist: mprotect, madvise, msync, mlock, mincore (Linux: mm/mprotect.c, mm/madvise.c,
 * mm/msync.c, mm/mlock.c, mm/mincore.c), and the lines of /proc/<pid>/maps.
 */
import {
  EACCES,
  EBUSY,
  EINVAL,
  ENOMEM,
  EOPNOTSUPP,
  isErr,
  MADV,
  MSYNC,
  PAGE_SIZE,
  PROT,
  type Result,
  type UAddr,
} from "@alien-ts/abi";
import { type AddressSpace, TASK_SIZE } from "./address-space.ts";
import { pageAlign, populate } from "./mmap.ts";
import { pageNumber } from "./page-table.ts";
import { VM, VM_ACCESS_FLAGS, type Vma, vmFlagsOfProt } from "./vma.ts";

const PROT_SEM = 8;
const PROT_GROWSDOWN = 0x0100_0000;
const PROT_GROWSUP = 0x0200_0000;
const isPageAligned = (value: number): boolean => value % PAGE_SIZE === 0;

/** mprotect(2). Areas before a failing one keep their new protection, as in Linux. */
export function do_mprotect(mm: AddressSpace, addr: UAddr, length: number, prot: number): Result<0> {
  const grows = prot & (PROT_GROWSDOWN | PROT_GROWSUP);
  const wanted = prot & ~(PROT_GROWSDOWN | PROT_GROWSUP);
  if (grows === (PROT_GROWSDOWN | PROT_GROWSUP) || !isPageAligned(addr)) return EINVAL;
  if (length === 0) return 0;
  const end = addr + pageAlign(length);
  if (end >= 2 ** 64) return ENOMEM;
  if ((wanted & ~(PROT.READ | PROT.WRITE | PROT.EXEC | PROT_SEM)) !== 0) return EINVAL;
  const first = mm.vmas.findAfter(addr);
  if (first === undefined) return ENOMEM;
  let start = addr;
  if (grows === PROT_GROWSDOWN) {
    if (first.start >= end) return ENOMEM;
    if ((first.flags & VM.GROWSDOWN) === 0) return EINVAL;
    start = first.start;
  } else if (first.start > addr) return ENOMEM;
  else if (grows === PROT_GROWSUP) return EINVAL;
  return protectAreas(mm, { start, end, access: vmFlagsOfProt(wanted) });
}

function protectAreas(
  mm: AddressSpace,
  { start, end, access }: { start: UAddr; end: UAddr; access: number },
): Result<0> {
  let at = start;
  while (at < end) {
    const vma = mm.vmas.containing(at);
    if (vma === undefined) return ENOMEM;
    const flags = (vma.flags & ~VM_ACCESS_FLAGS) | access;
    if ((flags & ~(flags >> 4) & VM_ACCESS_FLAGS) !== 0) return EACCES;
    const stop = Math.min(vma.end, end);
    const pages = (stop - at) / PAGE_SIZE;
    const isNewlyWritable = (flags & VM.WRITE) !== 0 && (vma.flags & VM.WRITE) === 0;
    if (isNewlyWritable && !mm.mayExpand(flags, pages) && mm.mayExpand(vma.flags, pages)) return ENOMEM;
    mm.changeFlags(at, stop, () => flags);
    at = stop;
  }
  return 0;
}

/** Walks the areas of [start, end); ENOMEM when there is a hole, after all areas were visited; an error of `visit` stops. */
function eachArea(
  mm: AddressSpace,
  start: UAddr,
  end: UAddr,
  visit: (vma: Vma, from: UAddr, to: UAddr) => Result<void>,
): Result<0> {
  let at = start;
  let hasHole = false;
  while (at < end) {
    const vma = mm.vmas.findAfter(at);
    if (vma === undefined || vma.start >= end) return ENOMEM;
    if (vma.start > at) hasHole = true;
    const from = Math.max(at, vma.start);
    const to = Math.min(vma.end, end);
    const result = visit(vma, from, to);
    if (isErr(result)) return result;
    at = to;
  }
  return hasHole ? ENOMEM : 0;
}

const ADVICE: ReadonlySet<number> = new Set(Object.values(MADV));
const FLAG_CHANGE: ReadonlyMap<number, (flags: number) => number> = new Map<
  number,
  (flags: number) => number
>([
  [MADV.DONTFORK, (flags) => flags | VM.DONTCOPY],
  [MADV.DOFORK, (flags) => flags & ~VM.DONTCOPY],
  [MADV.DONTDUMP, (flags) => flags | VM.DONTDUMP],
  [MADV.DODUMP, (flags) => flags & ~VM.DONTDUMP],
]);

/** madvise(2). Advice about access patterns, huge pages and merging is accepted and has no effect. */
export function do_madvise(mm: AddressSpace, addr: UAddr, length: number, advice: number): Result<0> {
  if (!ADVICE.has(advice) || !isPageAligned(addr)) return EINVAL;
  const end = addr + pageAlign(length);
  if (end >= 2 ** 64) return EINVAL;
  if (end === addr) return 0;
  return eachArea(mm, addr, end, (vma, from, to) => advise(mm, vma, { from, to, advice }));
}

function advise(
  mm: AddressSpace,
  vma: Vma,
  { from, to, advice }: { from: UAddr; to: UAddr; advice: number },
): Result<void> {
  const change = FLAG_CHANGE.get(advice);
  if (change !== undefined) {
    if ((vma.flags & VM.IO) !== 0 && (advice === MADV.DOFORK || advice === MADV.DODUMP)) return EINVAL;
    mm.changeFlags(from, to, change);
    return undefined;
  }
  switch (advice) {
    case MADV.DONTNEED:
      if ((vma.flags & VM.LOCKED) !== 0) return EINVAL;
      return mm.zap(vma, from, to);
    case MADV.FREE:
      // Freeing at once is one of the moments at which Linux may do it.
      if (vma.mappable !== undefined || (vma.flags & VM.LOCKED) !== 0) return EINVAL;
      return mm.zap(vma, from, to);
    case MADV.REMOVE:
      return removePages(vma, from, to);
    default:
      return undefined;
  }
}

function removePages(vma: Vma, from: UAddr, to: UAddr): Result<void> {
  if ((vma.flags & VM.LOCKED) !== 0 || vma.mappable === undefined) return EINVAL;
  if ((vma.flags & (VM.SHARED | VM.WRITE)) !== (VM.SHARED | VM.WRITE)) return EACCES;
  if (vma.mappable.remove === undefined) return EOPNOTSUPP;
  return vma.mappable.remove(vma.indexOf(from), (to - from) / PAGE_SIZE);
}

/** msync(2). Mapped pages are the object's own, so there is nothing to write back. */
export function do_msync(mm: AddressSpace, addr: UAddr, length: number, flags: number): Result<0> {
  if ((flags & ~(MSYNC.ASYNC | MSYNC.INVALIDATE | MSYNC.SYNC)) !== 0 || !isPageAligned(addr)) return EINVAL;
  if ((flags & MSYNC.ASYNC) !== 0 && (flags & MSYNC.SYNC) !== 0) return EINVAL;
  const end = addr + pageAlign(length);
  if (end >= 2 ** 64) return ENOMEM;
  return eachArea(mm, addr, end, (vma) =>
    (flags & MSYNC.INVALIDATE) !== 0 && (vma.flags & VM.LOCKED) !== 0 ? EBUSY : undefined,
  );
}

/** mlock(2) and munlock(2): pages never leave memory here; locking faults them in. The caller checks RLIMIT_MEMLOCK. */
export function do_mlock(mm: AddressSpace, addr: UAddr, length: number, isLock: boolean): Result<0> {
  const start = Math.floor(addr / PAGE_SIZE) * PAGE_SIZE;
  const end = pageAlign(addr + length);
  if (end >= 2 ** 64) return EINVAL;
  const result = eachArea(mm, start, end, (_, from, to) =>
    mm.changeFlags(from, to, (flags) => (isLock ? flags | VM.LOCKED : flags & ~VM.LOCKED)),
  );
  if (isLock && result === 0) populate(mm, start, end);
  return result;
}

/** mincore(2): one byte per page, 1 when it is resident. EINVAL, ENOMEM. */
export function do_mincore(mm: AddressSpace, addr: UAddr, length: number): Result<Uint8Array> {
  if (!isPageAligned(addr)) return EINVAL;
  if (addr + length > TASK_SIZE) return ENOMEM;
  const pages = Math.ceil(length / PAGE_SIZE);
  const hole = eachArea(mm, addr, addr + pages * PAGE_SIZE, () => undefined);
  if (isErr(hole)) return hole;
  const resident = new Uint8Array(pages);
  mm.table.update(pageNumber(addr), pageNumber(addr) + pages, (pte, vpn) => {
    resident[vpn - pageNumber(addr)] = 1;
    return pte;
  });
  return resident;
}

/** One line of /proc/<pid>/maps. */
export interface MapsEntry {
  readonly start: UAddr;
  readonly end: UAddr;
  /** "rw-p" */
  readonly permissions: string;
  /** Bytes. */
  readonly offset: number;
  readonly device: number;
  readonly inode: number;
  /** "" when the area has none. */
  readonly name: string;
  readonly vma: Vma;
}

/** The areas, lowest first, as /proc/<pid>/maps shows them (fs/proc/task_mmu.c). */
export function* mapsEntries(mm: AddressSpace): Generator<MapsEntry> {
  for (const vma of mm.vmas.overlapping(0, TASK_SIZE))
    yield {
      start: vma.start,
      end: vma.end,
      permissions: vma.permissions,
      offset: vma.mappable === undefined ? 0 : vma.pageOffset * PAGE_SIZE,
      device: vma.mappable?.device ?? 0,
      inode: vma.mappable?.inode ?? 0,
      name: vma.mappable?.name ?? nameOf(mm, vma),
      vma,
    };
}

function nameOf({ t }: AddressSpace, vma: Vma): string {
  if (vma.start < t.brk && vma.end > t.start_brk) return "[heap]";
  return vma.start <= t.start_stack && vma.end >= t.start_stack ? "[stack]" : "";
}

/** /proc/<pid>/statm, in pages: size, resident, shared, text, lib (always 0), data and stack, dt (always 0). */
export function statm(mm: AddressSpace): readonly number[] {
  const { t, rss } = mm;
  const text = (pageAlign(t.end_code) - Math.floor(t.start_code / PAGE_SIZE) * PAGE_SIZE) / PAGE_SIZE;
  return [t.total_vm, mm.rssPages, rss.file + rss.shmem, text, 0, t.data_vm + t.stack_vm, 0];
}
