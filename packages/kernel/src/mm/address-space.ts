/**
 * An address space: areas, page tables and the `struct mm_struct` that guests see. Sv39: user addresses lie below 2^38, the
 * stack is at the top, mappings go down below it, the break area follows the image.
 *
 * `create`, `fork`, `get`/`put` (the last put frees everything); `translate(addr, access)` is the way to memory, faulting
 * pages in; `mapRange`, `unmapRange`, `protectRange` are the steps from which mmap.ts builds the system calls.
 *
 * Invariants: every page table entry lies in an area; a counted frame has one reference per entry; resident and virtual sizes
 * equal what the entries and areas say.
 */
import { ENOMEM, isErr, type KAddr, PAGE_SIZE, type Result, type UAddr, type ViewOf } from "@alien-ts/abi";
import { FAULT, handle_mm_fault, loadBits } from "./fault.ts";
import type { Mappable } from "./mappable.ts";
import type { MemoryManager, MmLimits, RandomSource } from "./memory-manager.ts";
import { mm_struct } from "./mm-struct.ts";
import { FRAME_MASK, PageTable, pageNumber, PTE } from "./page-table.ts";
import { canMerge, STACK_GUARD_BYTES, VM, Vma, type VmaFields, VmaList } from "./vma.ts";

/** End of user addresses: 2^38 (Sv39; Documentation/arch/riscv/vm-layout.rst). */
export const TASK_SIZE = 2 ** 38;
/** vm.mmap_min_addr: nothing is mapped below. */
export const MMAP_MIN_ADDR = 0x1_0000;
/** vm.max_map_count */
export const MAX_MAP_COUNT = 65_530;

const MIB = 0x10_0000;
/** Pages that a random gap may have: mmap_rnd_bits of Sv39. */
const RANDOM_PAGES = 1 << 18;

export interface AddressSpaceOptions {
  readonly limits: MmLimits;
  /** Draws the gaps of stack, mappings and break; without it there are none. */
  readonly random?: RandomSource;
}

/** Pages by kind, as /proc/<pid>/status counts them. */
export interface RssCounts {
  anon: number;
  file: number;
  shmem: number;
}

export class AddressSpace {
  readonly manager: MemoryManager;
  readonly addr: KAddr;
  readonly t: ViewOf<typeof mm_struct>;
  readonly table: PageTable;
  readonly vmas = new VmaList();
  readonly minAddr = MMAP_MIN_ADDR;
  readonly rss: RssCounts = { anon: 0, file: 0, shmem: 0 };
  limits: MmLimits;
  /** Faults that were resolved (minor faults). */
  faults = 0;

  private constructor(manager: MemoryManager, addr: KAddr, table: PageTable, limits: MmLimits) {
    this.manager = manager;
    this.addr = addr;
    this.table = table;
    this.limits = limits;
    this.t = new (manager.layout.view(mm_struct))(manager.pages.memory, addr);
  }

  /** An empty address space with one user. ENOMEM. */
  static create(manager: MemoryManager, options: AddressSpaceOptions): Result<AddressSpace> {
    const mm = AddressSpace.#allocate(manager, options.limits);
    if (isErr(mm)) return mm;
    mm.t.mm_count = 1;
    mm.t.mm_users = 1;
    mm.t.task_size = TASK_SIZE;
    mm.t.pgd = mm.table.root;
    const { random, limits } = options;
    const draw = (): number => (random?.below(RANDOM_PAGES) ?? 0) * PAGE_SIZE;
    const stackSpan =
      limits.stack + STACK_GUARD_BYTES + (random === undefined ? 0 : RANDOM_PAGES * PAGE_SIZE);
    mm.t.start_stack = TASK_SIZE - draw();
    mm.t.mmap_base = mmapBase(stackSpan, draw());
    return mm;
  }

  static #allocate(manager: MemoryManager, limits: MmLimits): Result<AddressSpace> {
    const addr = manager.kmalloc.kzalloc(manager.layout.size(mm_struct), "mm_struct");
    if (addr === 0) return ENOMEM;
    const table = new PageTable(manager.kmalloc);
    if (table.root === 0) {
      manager.kmalloc.kfree(addr);
      return ENOMEM;
    }
    const mm = new AddressSpace(manager, addr, table, limits);
    manager.kmalloc.setOwner(addr, mm);
    return mm;
  }

  /** One more user: a thread, or a reader of /proc (mmget). */
  get(): void {
    this.t.mm_users += 1;
  }

  /** One user less; the last one frees every page, table and the struct (mmput, exit_mmap). */
  put(): void {
    this.t.mm_users -= 1;
    if (this.t.mm_users > 0) return;
    this.unmapRange(0, TASK_SIZE);
    this.table.destroy();
    this.manager.kmalloc.kfree(this.addr);
  }

  /**
   * Kernel address of the byte at `addr` for `access` (one of `ACCESS`), faulting its page in; a negative `FAULT` when the
   * access is not allowed. Any number may be asked for. The rest of the page follows contiguously.
   */
  translate(addr: UAddr, access: number): number {
    if (!(addr >= 0 && addr < TASK_SIZE)) return FAULT.MAPERR;
    const pte = this.table.get(pageNumber(addr));
    if ((pte & access) !== 0) return (pte & FRAME_MASK) | (addr & 0xfff);
    const frame = handle_mm_fault(this, addr, access);
    return frame < 0 ? frame : frame | (addr & 0xfff);
  }

  /** As `translate`, but a page that is not there stays away: for code that must not fault (pagefault_disable). */
  translatePresent(addr: UAddr, access: number): number {
    if (!(addr >= 0 && addr < TASK_SIZE)) return FAULT.MAPERR;
    const pte = this.table.get(pageNumber(addr));
    return (pte & access) === 0 ? FAULT.MAPERR : (pte & FRAME_MASK) | (addr & 0xfff);
  }

  /** Page fault entry: as `translate`, for a processor that faulted. */
  fault(addr: UAddr, access: number): number {
    return this.translate(addr, access);
  }

  /** Whether `pages` more of an area with `flags` stay within RLIMIT_AS and RLIMIT_DATA (may_expand_vm). */
  mayExpand(flags: number, pages: number): boolean {
    if ((this.t.total_vm + pages) * PAGE_SIZE > this.limits.addressSpace) return false;
    return !isData(flags) || (this.t.data_vm + pages) * PAGE_SIZE <= this.limits.data;
  }

  /** Adds `pages` (negative to take away) of an area with `flags` to the virtual sizes (vm_stat_account). */
  account(flags: number, pages: number): void {
    this.t.total_vm += pages;
    if ((flags & (VM.EXEC | VM.WRITE | VM.GROWSDOWN)) === VM.EXEC) this.t.exec_vm += pages;
    else if ((flags & VM.GROWSDOWN) !== 0) this.t.stack_vm += pages;
    else if (isData(flags)) this.t.data_vm += pages;
    if ((flags & VM.LOCKED) !== 0) this.t.locked_vm += pages;
    this.t.hiwater_vm = Math.max(this.t.hiwater_vm, this.t.total_vm);
  }

  /** Resident pages. */
  get rssPages(): number {
    return this.rss.anon + this.rss.file + this.rss.shmem;
  }

  get hiwaterRssPages(): number {
    return Math.max(this.t.hiwater_rss, this.rssPages);
  }

  /** Puts an entry where none is. False when a table could not be allocated: the frame's reference stays with the caller. */
  install(vpn: number, bits: number, isShmem = false): boolean {
    if (!this.table.set(vpn, bits | PTE.V | PTE.U | PTE.A)) return false;
    this.#countPage(bits, isShmem, 1);
    return true;
  }

  /** Gives back what an entry that leaves the table held. */
  dropPage(vma: Vma, pte: number): void {
    this.#countPage(pte, vma.mappable?.isShmem === true, -1);
    if ((pte & PTE.COUNTED) !== 0) this.manager.pages.put(pte & FRAME_MASK);
  }

  #countPage(pte: number, isShmem: boolean, by: number): void {
    if ((pte & PTE.ANON) !== 0) this.rss.anon += by;
    else if ((pte & FRAME_MASK) === this.manager.zeroPage) return;
    else if (isShmem) this.rss.shmem += by;
    else this.rss.file += by;
  }

  /** Inserts an area where nothing is mapped, merging it with its neighbours. The object is retained once per area. */
  mapRange(fields: VmaFields): Vma {
    const at = this.vmas.indexAfter(fields.start);
    const before = this.vmas.items[at - 1];
    let vma: Vma;
    if (before !== undefined && canMerge(before, fields)) {
      vma = before;
      vma.end = fields.end;
    } else {
      vma = new Vma(this, fields);
      this.#add(vma);
    }
    this.account(fields.flags, (fields.end - fields.start) / PAGE_SIZE);
    this.#mergeNext(vma);
    return vma;
  }

  /** Removes everything in [start, end): pages, areas, empty tables. */
  unmapRange(start: UAddr, end: UAddr): void {
    const touched = this.#isolate(start, end);
    if (touched.length === 0) return;
    this.t.hiwater_rss = this.hiwaterRssPages;
    for (const vma of touched) {
      this.zap(vma, vma.start, vma.end);
      this.account(vma.flags, -vma.pages);
      this.#drop(vma);
    }
    this.table.prune(pageNumber(start), pageNumber(end));
  }

  /** Takes the pages of [start, end) of `vma` away; the next access faults anew. `keepCopies` spares private copies. */
  zap(vma: Vma, start: UAddr, end: UAddr, keepCopies = false): void {
    this.table.update(pageNumber(start), pageNumber(end), (pte) => {
      if (keepCopies && (pte & PTE.ANON) !== 0) return pte;
      this.dropPage(vma, pte);
      return 0;
    });
  }

  /**
   * Takes the pages [firstIndex, endIndex) of `object` away wherever they are mapped here (unmap_mapping_range): its file was
   * truncated, or a hole was punched, which spares private copies.
   */
  zapObject(object: Mappable, firstIndex: number, endIndex: number, keepCopies = false): void {
    for (const vma of this.vmas.items) {
      if (vma.mappable !== object) continue;
      const first = Math.max(firstIndex - vma.pageOffset, 0);
      const end = Math.min(endIndex - vma.pageOffset, vma.pages);
      if (first < end) this.zap(vma, vma.start + first * PAGE_SIZE, vma.start + end * PAGE_SIZE, keepCopies);
    }
  }

  /** Sets the flags of all areas in [start, end) by `change`, splitting at the ends, and what pages there allow. */
  changeFlags(start: UAddr, end: UAddr, change: (flags: number) => number): void {
    for (const vma of this.#isolate(start, end)) {
      const flags = change(vma.flags);
      if (flags === vma.flags) continue;
      this.account(vma.flags, -vma.pages);
      this.account(flags, vma.pages);
      vma.flags = flags;
      const rights = loadBits(flags);
      this.table.update(
        pageNumber(vma.start),
        pageNumber(vma.end),
        (pte) => (pte & ~(PTE.R | PTE.W | PTE.X)) | rights,
      );
    }
    this.#mergeAround(start, end);
  }

  /** Moves the pages of [from, from + length) to `to`, which lies in an area that shows the same object. */
  movePages(from: UAddr, to: UAddr, length: number): Result<void> {
    const distance = pageNumber(to) - pageNumber(from);
    const moved: { vpn: number; pte: number }[] = [];
    this.table.update(pageNumber(from), pageNumber(from + length), (pte, vpn) => {
      moved.push({ vpn, pte });
      return 0;
    });
    for (let i = 0; i < moved.length; i++) {
      const { vpn, pte } = moved[i]!;
      if (this.table.set(vpn + distance, pte)) continue;
      for (let back = i; back < moved.length; back++) this.table.set(moved[back]!.vpn, moved[back]!.pte);
      this.#moveBack(moved.slice(0, i), distance);
      return ENOMEM;
    }
    return undefined;
  }

  #moveBack(moved: readonly { vpn: number; pte: number }[], distance: number): void {
    for (const { vpn, pte } of moved) {
      this.table.set(vpn + distance, 0);
      this.table.set(vpn, pte);
    }
  }

  /** A copy with copy-on-write private pages, as fork(2) needs it; MADV_DONTFORK areas stay behind. ENOMEM. */
  fork(): Result<AddressSpace> {
    const child = AddressSpace.#allocate(this.manager, this.limits);
    if (isErr(child)) return child;
    const { u8 } = this.manager.pages.memory;
    u8.copyWithin(child.addr, this.addr, this.addr + this.manager.layout.size(mm_struct));
    const { t } = child;
    t.mm_users = 1;
    t.pgd = child.table.root;
    t.owner = 0;
    t.exe_file = 0;
    t.map_count = t.total_vm = t.data_vm = t.exec_vm = t.stack_vm = t.locked_vm = 0;
    t.hiwater_rss = t.hiwater_vm = 0;
    for (const vma of this.vmas.items) {
      if ((vma.flags & VM.DONTCOPY) !== 0) continue;
      const copy = new Vma(child, { ...fieldsOf(vma), flags: vma.flags & ~VM.LOCKED });
      child.#add(copy);
      child.account(copy.flags, copy.pages);
      if (this.#sharePages(child, vma)) continue;
      child.put();
      return ENOMEM;
    }
    return child;
  }

  /** Anonymous pages of a private area become copy-on-write in both; all others fault again in the child. */
  #sharePages(child: AddressSpace, vma: Vma): boolean {
    let complete = true;
    this.table.update(pageNumber(vma.start), pageNumber(vma.end), (pte, vpn) => {
      if ((pte & PTE.ANON) === 0 || !complete) return pte;
      const shared = pte & ~PTE.W;
      if (!child.install(vpn, shared)) {
        complete = false;
        return pte;
      }
      this.manager.pages.get(pte & FRAME_MASK);
      return shared;
    });
    return complete;
  }

  #add(vma: Vma): void {
    this.vmas.insert(vma);
    this.t.map_count += 1;
    vma.mappable?.retain(vma);
  }

  #drop(vma: Vma): void {
    this.vmas.remove(vma);
    this.t.map_count -= 1;
    vma.mappable?.release(vma);
  }

  /** Splits areas so that no one crosses `start` or `end`, and gives those inside. */
  #isolate(start: UAddr, end: UAddr): Vma[] {
    this.#splitAt(start);
    this.#splitAt(end);
    return this.vmas.overlapping(start, end);
  }

  #splitAt(addr: UAddr): void {
    const vma = this.vmas.containing(addr);
    if (vma === undefined || vma.start === addr) return;
    const fields = fieldsOf(vma);
    vma.end = addr;
    this.#add(new Vma(this, { ...fields, start: addr, pageOffset: fields.pageOffset + vma.pages }));
  }

  #mergeAround(start: UAddr, end: UAddr): void {
    const before = Math.max(this.vmas.indexAfter(start) - 1, 0);
    let vma = this.vmas.items[before];
    while (vma !== undefined && vma.start < end) {
      this.#mergeNext(vma);
      vma = this.vmas.findAfter(vma.end);
    }
  }

  #mergeNext(vma: Vma): void {
    for (;;) {
      const next = this.vmas.findAfter(vma.end);
      if (next === undefined || !canMerge(vma, next)) return;
      this.#drop(next);
      vma.end = next.end;
    }
  }
}

const isData = (flags: number): boolean => (flags & (VM.WRITE | VM.SHARED | VM.GROWSDOWN)) === VM.WRITE;

const fieldsOf = ({ start, end, flags, pageOffset, mappable }: Vma): VmaFields => ({
  start,
  end,
  flags,
  pageOffset,
  mappable,
});

/** Linux: mm/util.c, mmap_base(): below all that the stack may take; at least 128 MiB, at most five sixths of the whole. */
function mmapBase(stackSpan: number, randomBytes: number): UAddr {
  const gap = Math.min(Math.max(stackSpan, 128 * MIB), Math.floor(TASK_SIZE / 6) * 5);
  return Math.floor((TASK_SIZE - gap - randomBytes) / PAGE_SIZE) * PAGE_SIZE;
}
