/**
 * The system calls that map and unmap: mmap, munmap, brk, mremap and the stack of exec, with Linux's order of checks
 * (Linux: mm/mmap.c, mm/vma.c, mm/mremap.c). What protects and advises is in mprotect.ts.
 *
 * All take the address space and answer a `Result`; the caller (the syscall row) has found the file. Lengths and addresses are
 * the raw arguments: any integer up to 2^64, rounded to a double.
 */
import {
  EACCES,
  EEXIST,
  EFAULT,
  EINVAL,
  ENODEV,
  ENOMEM,
  EOPNOTSUPP,
  EOVERFLOW,
  EPERM,
  type Errno,
  isErr,
  MAP,
  MREMAP_DONTUNMAP,
  MREMAP_FIXED,
  MREMAP_MAYMOVE,
  PAGE_SIZE,
  PROT,
  type Result,
  type UAddr,
} from "@alien-ts/abi";
import { type AddressSpace, MAX_MAP_COUNT, MMAP_MIN_ADDR, TASK_SIZE } from "./address-space.ts";
import { ACCESS } from "./fault.ts";
import type { Mappable } from "./mappable.ts";
import type { RandomSource } from "./memory-manager.ts";
import { VM, VM_MAY_FLAGS, type Vma, vmFlagsOfProt } from "./vma.ts";

/** What a file's mmap operation is asked; it may change `flags` (clear VM.MAYWRITE, set VM.DONTCOPY and the like). */
export interface MapRequest {
  readonly length: number;
  /** First page of the object. */
  readonly pageOffset: number;
  flags: number;
}

/** What mmap needs to know of a file. */
export interface MmapFile {
  readonly readable: boolean;
  readonly writable: boolean;
  /** The inode is append-only. */
  readonly appendOnly: boolean;
  /** The mount is noexec. */
  readonly noexec: boolean;
  /** The file operation; a file without one answers ENODEV. Any error is passed on. */
  readonly mmap: ((request: MapRequest) => Result<Mappable>) | undefined;
}

export interface MmapArguments {
  readonly addr: UAddr;
  readonly length: number;
  readonly prot: number;
  readonly flags: number;
  /** Offset in bytes; a multiple of the page size. */
  readonly offset: number;
  /** Undefined for MAP_ANONYMOUS. */
  readonly file: MmapFile | undefined;
}

const LEGACY_FLAGS =
  MAP.SHARED |
  MAP.PRIVATE |
  MAP.FIXED |
  MAP.ANONYMOUS |
  MAP.DENYWRITE |
  MAP.EXECUTABLE |
  MAP.GROWSDOWN |
  MAP.LOCKED |
  MAP.NORESERVE |
  MAP.POPULATE |
  MAP.NONBLOCK |
  MAP.STACK |
  MAP.HUGETLB |
  MAP.FIXED_NOREPLACE;
/** Initial size of the stack beyond what exec puts there (fs/exec.c, setup_arg_pages). */
const STACK_EXPAND_BYTES = 128 * 1024;

const BRK_RANDOM_PAGES = 1 << 18;

export const pageAlign = (bytes: number): number => Math.ceil(bytes / PAGE_SIZE) * PAGE_SIZE;
const isPageAligned = (value: number): boolean => value % PAGE_SIZE === 0;

/** mmap(2): gives the address of the mapping. */
export function do_mmap(mm: AddressSpace, args: MmapArguments): Result<UAddr> {
  if (!isPageAligned(args.offset) || args.length === 0) return EINVAL;
  const length = pageAlign(args.length);
  if (length >= 2 ** 64) return ENOMEM;
  if (args.offset + length >= 2 ** 64) return EOVERFLOW;
  if (mm.t.map_count > MAX_MAP_COUNT) return ENOMEM;
  // There is a huge page pool, and it is empty.
  if ((args.flags & MAP.HUGETLB) !== 0) return args.file === undefined ? ENOMEM : EINVAL;
  const isFixed = (args.flags & (MAP.FIXED | MAP.FIXED_NOREPLACE)) !== 0;
  const start = isFixed ? fixedAddress(args.addr, length) : get_unmapped_area(mm, args.addr, length);
  if (isErr(start)) return start;
  const end = start + length;
  if ((args.flags & MAP.FIXED_NOREPLACE) !== 0 && mm.vmas.intersects(start, end)) return EEXIST;
  const flags = args.file === undefined ? anonymousFlags(args) : fileFlags(args, args.file);
  if (isErr(flags)) return flags;
  return mmap_region(mm, { ...args, start, end, vmFlags: flags });
}

interface Region extends MmapArguments {
  readonly start: UAddr;
  readonly end: UAddr;
  readonly vmFlags: number;
}

function fixedAddress(addr: UAddr, length: number): Result<UAddr> {
  if (length > TASK_SIZE || addr > TASK_SIZE - length) return ENOMEM;
  if (!isPageAligned(addr)) return EINVAL;
  return addr < MMAP_MIN_ADDR ? EPERM : addr;
}

function commonFlags({ prot, flags }: MmapArguments): number {
  return (
    vmFlagsOfProt(prot) |
    VM_MAY_FLAGS |
    ((flags & MAP.GROWSDOWN) !== 0 ? VM.GROWSDOWN : 0) |
    ((flags & MAP.LOCKED) !== 0 ? VM.LOCKED : 0) |
    ((flags & MAP.NORESERVE) !== 0 ? VM.NORESERVE : 0)
  );
}

function anonymousFlags(args: MmapArguments): Result<number> {
  const type = args.flags & MAP.TYPE;
  if (type === MAP.PRIVATE) return commonFlags(args);
  if (type !== MAP.SHARED || (args.flags & MAP.GROWSDOWN) !== 0) return EINVAL;
  return commonFlags(args) | VM.SHARED | VM.MAYSHARE;
}

function fileFlags(args: MmapArguments, file: MmapFile): Result<number> {
  const type = args.flags & MAP.TYPE;
  let flags = commonFlags(args);
  if (type === MAP.SHARED || type === MAP.SHARED_VALIDATE) {
    if (type === MAP.SHARED_VALIDATE && (args.flags & ~(LEGACY_FLAGS | MAP.SHARED_VALIDATE)) !== 0)
      return EOPNOTSUPP;
    if ((args.prot & PROT.WRITE) !== 0 && (!file.writable || file.appendOnly)) return EACCES;
    flags |= VM.SHARED | VM.MAYSHARE;
    if (!file.writable) flags &= ~(VM.MAYWRITE | VM.SHARED);
  } else if (type !== MAP.PRIVATE) return EINVAL;
  if (!file.readable) return EACCES;
  if (file.noexec) {
    if ((args.prot & PROT.EXEC) !== 0) return EPERM;
    flags &= ~VM.MAYEXEC;
  }
  if (file.mmap === undefined) return ENODEV;
  return (args.flags & MAP.GROWSDOWN) !== 0 ? EINVAL : flags;
}

function mmap_region(mm: AddressSpace, region: Region): Result<UAddr> {
  const { start, end, vmFlags } = region;
  const pages = (end - start) / PAGE_SIZE;
  const replaced = mm.vmas
    .overlapping(start, end)
    .reduce((sum, vma) => sum + (Math.min(vma.end, end) - Math.max(vma.start, start)) / PAGE_SIZE, 0);
  if (!mm.mayExpand(vmFlags, pages - replaced)) return ENOMEM;
  const isAccountable = (vmFlags & (VM.NORESERVE | VM.SHARED | VM.WRITE)) === VM.WRITE;
  if (isAccountable && pages > mm.manager.pages.totalPages) return ENOMEM;
  const request: MapRequest = {
    length: end - start,
    pageOffset: region.offset / PAGE_SIZE,
    flags: isAccountable ? vmFlags | VM.ACCOUNT : vmFlags,
  };
  // As in Linux, what was there is gone even if the file's operation refuses: a ring that is mapped over itself is released first.
  mm.unmapRange(start, end);
  const mappable = objectOf(mm, region, request);
  if (isErr(mappable)) return mappable;
  const isPrivateAnonymous = mappable === undefined;
  const pageOffset = isPrivateAnonymous
    ? start / PAGE_SIZE
    : region.file === undefined
      ? 0
      : request.pageOffset;
  mm.mapRange({ start, end, flags: request.flags, pageOffset, mappable });
  if ((region.flags & (MAP.POPULATE | MAP.LOCKED)) !== 0) populate(mm, start, end);
  return start;
}

function objectOf(mm: AddressSpace, region: Region, request: MapRequest): Result<Mappable | undefined> {
  if (region.file !== undefined) return region.file.mmap?.(request) ?? ENODEV;
  return (region.vmFlags & VM.MAYSHARE) === 0 ? undefined : mm.manager.sharedAnonymous();
}

/** Faults every page of [start, end) in that can be; failures wait for the access (mm_populate). */
export function populate(mm: AddressSpace, start: UAddr, end: UAddr): void {
  for (const vma of mm.vmas.overlapping(start, end)) {
    const isPrivateStore = (vma.flags & (VM.WRITE | VM.SHARED)) === VM.WRITE;
    for (let at = Math.max(vma.start, start); at < Math.min(vma.end, end); at += PAGE_SIZE)
      if (mm.translate(at, isPrivateStore ? ACCESS.WRITE : ACCESS.READ) < 0) break;
  }
}

/**
 * A free range of `length` bytes: at the hint if it is free, else the highest one below mmap_base, else the lowest one
 * above a third of the space. Keeps the guard gap below growing stacks. ENOMEM.
 */
export function get_unmapped_area(mm: AddressSpace, hint: UAddr, length: number): Result<UAddr> {
  if (length > TASK_SIZE - MMAP_MIN_ADDR) return ENOMEM;
  if (hint !== 0) {
    const addr = Math.max(Math.floor(hint / PAGE_SIZE) * PAGE_SIZE, MMAP_MIN_ADDR);
    const next = mm.vmas.findAfter(addr);
    const isFree = next === undefined || addr + length <= next.startGap;
    if (addr <= TASK_SIZE - length && isFree && (next === undefined || next.start > addr)) return addr;
  }
  return gapBelow(mm, mm.t.mmap_base, length) ?? gapAbove(mm, pageAlign(TASK_SIZE / 3), length) ?? ENOMEM;
}

function gapBelow(mm: AddressSpace, top: UAddr, length: number): UAddr | undefined {
  const { items } = mm.vmas;
  let gapEnd = top;
  for (let i = items.length - 1; i >= -1; i--) {
    const vma = items[i];
    const gapStart = Math.max(vma?.end ?? 0, MMAP_MIN_ADDR);
    if (gapEnd - gapStart >= length) return gapEnd - length;
    if (vma !== undefined) gapEnd = Math.min(gapEnd, vma.startGap);
  }
  return undefined;
}

function gapAbove(mm: AddressSpace, bottom: UAddr, length: number): UAddr | undefined {
  let gapStart = bottom;
  for (const vma of mm.vmas.items) {
    if (vma.end <= gapStart) continue;
    if (vma.startGap - gapStart >= length) return gapStart;
    gapStart = vma.end;
  }
  return TASK_SIZE - gapStart >= length ? gapStart : undefined;
}

/** munmap(2). */
export function do_munmap(mm: AddressSpace, addr: UAddr, length: number): Result<0> {
  if (!isPageAligned(addr) || addr > TASK_SIZE || length > TASK_SIZE - addr) return EINVAL;
  const end = addr + pageAlign(length);
  if (end === addr) return EINVAL;
  const first = mm.vmas.findAfter(addr);
  const isHole = first !== undefined && first.start < addr && end < first.end;
  if (isHole && mm.t.map_count >= MAX_MAP_COUNT) return ENOMEM;
  mm.unmapRange(addr, end);
  return 0;
}

/** brk(2): gives the break, unchanged when it cannot be moved. */
export function do_brk(mm: AddressSpace, brk: UAddr): UAddr {
  const { t } = mm;
  const old = t.brk;
  if (!(brk >= t.start_brk && brk < TASK_SIZE)) return old;
  if (brk - t.start_brk + (t.end_data - t.start_data) > mm.limits.data) return old;
  const oldEnd = pageAlign(old);
  const newEnd = pageAlign(brk);
  if (newEnd < oldEnd) mm.unmapRange(newEnd, oldEnd);
  else if (newEnd > oldEnd) {
    const next = mm.vmas.findAfter(oldEnd);
    if (next !== undefined && newEnd + PAGE_SIZE > next.startGap) return old;
    const flags = VM.READ | VM.WRITE | VM_MAY_FLAGS | VM.ACCOUNT;
    const pages = (newEnd - oldEnd) / PAGE_SIZE;
    if (!mm.mayExpand(flags, pages) || mm.t.map_count > MAX_MAP_COUNT) return old;
    if (pages > mm.manager.pages.totalPages) return old;
    mm.mapRange({ start: oldEnd, end: newEnd, flags, pageOffset: oldEnd / PAGE_SIZE, mappable: undefined });
  }
  t.brk = brk;
  return brk;
}

/** Where exec puts the break: after the image, which ends at `imageEnd`, up to 1 GiB further if drawn (arch_randomize_brk). */
export function set_brk(mm: AddressSpace, imageEnd: UAddr, random?: RandomSource): void {
  mm.t.start_brk = pageAlign(imageEnd) + (random?.below(BRK_RANDOM_PAGES) ?? 0) * PAGE_SIZE;
  mm.t.brk = mm.t.start_brk;
}

/**
 * The stack of a fresh address space, with room for `usedBytes` and 128 KiB more; it grows down to RLIMIT_STACK. Gives its
 * upper end; `start_stack` is set to it until exec knows the stack pointer. ENOMEM.
 */
export function setup_arg_pages(mm: AddressSpace, usedBytes: number): Result<UAddr> {
  const end = mm.t.start_stack;
  const size = pageAlign(Math.min(usedBytes + STACK_EXPAND_BYTES, Math.max(mm.limits.stack, usedBytes)));
  const flags = VM.READ | VM.WRITE | VM_MAY_FLAGS | VM.GROWSDOWN | VM.ACCOUNT;
  if (!mm.mayExpand(flags, size / PAGE_SIZE)) return ENOMEM;
  const start = end - Math.max(size, PAGE_SIZE);
  mm.mapRange({ start, end, flags, pageOffset: start / PAGE_SIZE, mappable: undefined });
  return end;
}

export interface MremapArguments {
  readonly addr: UAddr;
  readonly oldLength: number;
  readonly newLength: number;
  readonly flags: number;
  readonly newAddr: UAddr;
}

/** mremap(2): gives the address of the mapping. */
export function do_mremap(mm: AddressSpace, args: MremapArguments): Result<UAddr> {
  const { addr, flags } = args;
  const known = MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP;
  if ((flags & ~known) !== 0 || ((flags & MREMAP_FIXED) !== 0 && (flags & MREMAP_MAYMOVE) === 0))
    return EINVAL;
  const keepsOld = (flags & MREMAP_DONTUNMAP) !== 0;
  if (keepsOld && ((flags & MREMAP_MAYMOVE) === 0 || args.oldLength !== args.newLength)) return EINVAL;
  const oldLength = pageAlign(args.oldLength);
  const newLength = pageAlign(args.newLength);
  if (!isPageAligned(addr) || newLength === 0) return EINVAL;
  const vma = mm.vmas.containing(addr);
  if (vma === undefined) return EFAULT;
  if ((flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) !== 0)
    return mremapTo(mm, { ...args, oldLength, newLength });
  if (newLength > TASK_SIZE) return ENOMEM;
  if (oldLength >= newLength) {
    if (oldLength > newLength) {
      const cut = do_munmap(mm, addr + newLength, oldLength - newLength);
      if (isErr(cut)) return cut;
    }
    return addr;
  }
  const refused = resizeError(mm, vma, { ...args, oldLength, newLength });
  if (refused !== undefined) return refused;
  if (addr + oldLength === vma.end && canGrow(mm, vma, newLength - oldLength)) {
    extend(mm, vma, newLength - oldLength);
    return addr;
  }
  if ((flags & MREMAP_MAYMOVE) === 0) return ENOMEM;
  const target = get_unmapped_area(mm, 0, newLength);
  return isErr(target) ? target : move(mm, vma, { ...args, oldLength, newLength, newAddr: target });
}

function mremapTo(mm: AddressSpace, args: MremapArguments): Result<UAddr> {
  const { addr, oldLength, newLength, newAddr, flags } = args;
  const isFixed = (flags & MREMAP_FIXED) !== 0;
  if (!isPageAligned(newAddr) || newLength > TASK_SIZE || newAddr > TASK_SIZE - newLength) return EINVAL;
  if (isFixed && addr + oldLength > newAddr && newAddr + newLength > addr) return EINVAL;
  if (mm.t.map_count + 2 >= MAX_MAP_COUNT - 3) return ENOMEM;
  if (isFixed) {
    if (newAddr < MMAP_MIN_ADDR) return EPERM;
    mm.unmapRange(newAddr, newAddr + newLength);
  }
  if (oldLength > newLength) mm.unmapRange(addr + newLength, addr + oldLength);
  const vma = mm.vmas.containing(addr);
  if (vma === undefined) return EFAULT;
  const moved = Math.min(oldLength, newLength);
  const refused = resizeError(mm, vma, { ...args, oldLength: moved });
  if (refused !== undefined) return refused;
  const target = isFixed ? newAddr : get_unmapped_area(mm, newAddr, newLength);
  return isErr(target) ? target : move(mm, vma, { ...args, oldLength: moved, newAddr: target });
}

/** Linux: vma_to_resize(). */
function resizeError(mm: AddressSpace, vma: Vma, args: MremapArguments): Errno | undefined {
  const { addr, oldLength, newLength } = args;
  if (oldLength === 0 && (vma.flags & (VM.SHARED | VM.MAYSHARE)) === 0) return EINVAL;
  if ((args.flags & MREMAP_DONTUNMAP) !== 0 && (vma.flags & (VM.DONTEXPAND | VM.IO)) !== 0) return EINVAL;
  if (oldLength > vma.end - addr) return EFAULT;
  if (newLength === oldLength) return undefined;
  if ((vma.flags & (VM.DONTEXPAND | VM.IO)) !== 0) return EFAULT;
  const grownPages = (newLength - oldLength) / PAGE_SIZE;
  if (!mm.mayExpand(vma.flags, grownPages)) return ENOMEM;
  if ((vma.flags & VM.ACCOUNT) !== 0 && grownPages > mm.manager.pages.totalPages) return ENOMEM;
  return undefined;
}

function canGrow(mm: AddressSpace, vma: Vma, bytes: number): boolean {
  const next = mm.vmas.findAfter(vma.end);
  return vma.end + bytes <= TASK_SIZE && (next === undefined || vma.end + bytes <= next.start);
}

function extend(mm: AddressSpace, vma: Vma, bytes: number): void {
  const { flags, mappable, end } = vma;
  mm.mapRange({ start: end, end: end + bytes, flags, mappable, pageOffset: vma.pageOffset + vma.pages });
}

/** Linux: move_vma(). An old length of 0 duplicates a shared mapping. */
function move(mm: AddressSpace, vma: Vma, args: MremapArguments): Result<UAddr> {
  const { addr, oldLength, newLength, newAddr } = args;
  if (mm.t.map_count >= MAX_MAP_COUNT - 3) return ENOMEM;
  const { flags, mappable } = vma;
  const pageOffset = vma.indexOf(addr);
  mm.mapRange({ start: newAddr, end: newAddr + newLength, flags, mappable, pageOffset });
  const moved = mm.movePages(addr, newAddr, oldLength);
  if (isErr(moved)) {
    mm.unmapRange(newAddr, newAddr + newLength);
    return moved;
  }
  if ((args.flags & MREMAP_DONTUNMAP) === 0 && oldLength > 0) mm.unmapRange(addr, addr + oldLength);
  if ((flags & VM.LOCKED) !== 0) populate(mm, newAddr, newAddr + newLength);
  return newAddr;
}
