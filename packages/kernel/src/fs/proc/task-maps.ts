/**
 * The mappings of a process: maps, smaps, smaps_rollup (Linux: fs/proc/task_mmu.c), and mem, its memory as a file
 * (fs/proc/base.c). Readers need what ptrace needs; a kernel thread or a zombie has no memory: ESRCH.
 */
import { EACCES, EFAULT, EINVAL, EIO, ESRCH, PAGE_SIZE, type Result, SEEK } from "@alien-ts/abi";
import type { Cx } from "../../core/cx.ts";
import type { AddressSpace } from "../../mm/address-space.ts";
import { ACCESS } from "../../mm/fault.ts";
import { pageNumber, PTE } from "../../mm/page-table.ts";
import { VM, type Vma } from "../../mm/vma.ts";
import { MAJOR, MINOR } from "../../vfs/char-dev.ts";
import type { File, FileOperations } from "../../vfs/file.ts";
import { file, special } from "../simple.ts";
import { ptrace_may_access, PTRACE_MODE_ATTACH_FSCREDS, mayRead } from "./access.ts";
import { escapeBytes } from "./format.ts";
import type { PidEntry, Target } from "./target.ts";

/** Where the name starts: 25 + sizeof(void *) * 6 - 1, and a blank. */
const NAME_COLUMN = 72;

const hex = (value: number, width: number): string => value.toString(16).padStart(width, "0");

/** The name of an area that has no file (get_vma_name). */
function specialName(mm: AddressSpace, vma: Vma): string {
  const { t } = mm;
  if (vma.start < t.brk && vma.end > t.start_brk) return "[heap]";
  if (vma.start <= t.start_stack && vma.end >= t.start_stack) return "[stack]";
  return "";
}

function header(vma: Vma): string {
  const { mappable } = vma;
  const offset = mappable === undefined ? 0 : vma.pageOffset * PAGE_SIZE;
  const device = mappable?.device ?? 0;
  return `${hex(vma.start, 8)}-${hex(vma.end, 8)} ${vma.permissions} ${hex(offset, 8)} ${hex(MAJOR(device), 2)}:${hex(MINOR(device), 2)} ${mappable?.inode ?? 0} `;
}

/** One line of maps (show_map_vma). */
export function mapLine(mm: AddressSpace, vma: Vma): string {
  const line = header(vma);
  const { mappable } = vma;
  const name = mappable === undefined ? specialName(mm, vma) : escapeBytes(mappable.name, "\n");
  return name === "" ? `${line}\n` : `${line.padEnd(NAME_COLUMN)} ${name}\n`;
}

/** Pages of an area by kind (struct mem_size_stats). */
class PageCounts {
  resident = 0;
  /** Shares of pages that several mappings show, in pages. */
  proportional = 0;
  proportionalDirty = 0;
  sharedClean = 0;
  sharedDirty = 0;
  privateClean = 0;
  privateDirty = 0;
  anonymous = 0;
  locked = 0;

  add(mm: AddressSpace, vma: Vma): void {
    const { pages, zeroPage } = mm.manager;
    mm.table.update(pageNumber(vma.start), pageNumber(vma.end), (pte) => {
      const frame = pte & ~0xfff;
      if (frame === zeroPage) return pte;
      const isDirty = (pte & (PTE.D | PTE.ANON)) !== 0;
      // A page cache holds a reference of its own beside those of the mappings.
      const holders = (pte & PTE.COUNTED) === 0 ? 1 : pages.refs(frame) - ((pte & PTE.ANON) !== 0 ? 0 : 1);
      const share = 1 / Math.max(1, holders);
      this.resident += 1;
      this.proportional += share;
      if (isDirty) this.proportionalDirty += share;
      if ((pte & PTE.ANON) !== 0) this.anonymous += 1;
      if ((vma.flags & VM.LOCKED) !== 0) this.locked += share;
      if (holders > 1) this[isDirty ? "sharedDirty" : "sharedClean"] += 1;
      else this[isDirty ? "privateDirty" : "privateClean"] += 1;
      return pte;
    });
  }
}

const sizeLine = (name: string, pages: number): string =>
  `${`${name}:`.padEnd(16)}${String(Math.floor((pages * PAGE_SIZE) / 1024)).padStart(8)} kB\n`;

/** Linux: __show_smap(). */
const countLines = (counts: PageCounts): string =>
  [
    ["Rss", counts.resident],
    ["Pss", counts.proportional],
    ["Pss_Dirty", counts.proportionalDirty],
    ["Shared_Clean", counts.sharedClean],
    ["Shared_Dirty", counts.sharedDirty],
    ["Private_Clean", counts.privateClean],
    ["Private_Dirty", counts.privateDirty],
    ["Referenced", counts.resident],
    ["Anonymous", counts.anonymous],
    ["KSM", 0],
    ["LazyFree", 0],
    ["AnonHugePages", 0],
    ["ShmemPmdMapped", 0],
    ["FilePmdMapped", 0],
    ["Shared_Hugetlb", 0],
    ["Private_Hugetlb", 0],
    ["Swap", 0],
    ["SwapPss", 0],
    ["Locked", counts.locked],
  ]
    .map(([name, pages]) => sizeLine(name as string, pages as number))
    .join("");

/** Letters of VmFlags, in the order of the bits (show_smap_vma_flags). */
const FLAG_NAMES = [
  [VM.READ, "rd"],
  [VM.WRITE, "wr"],
  [VM.EXEC, "ex"],
  [VM.SHARED, "sh"],
  [VM.MAYREAD, "mr"],
  [VM.MAYWRITE, "mw"],
  [VM.MAYEXEC, "me"],
  [VM.MAYSHARE, "ms"],
  [VM.GROWSDOWN, "gd"],
  [VM.LOCKED, "lo"],
  [VM.IO, "io"],
  [VM.DONTCOPY, "dc"],
  [VM.DONTEXPAND, "de"],
  [VM.ACCOUNT, "ac"],
  [VM.NORESERVE, "nr"],
  [VM.DONTDUMP, "dd"],
] as const;

function smapLines(mm: AddressSpace, vma: Vma): string {
  const counts = new PageCounts();
  counts.add(mm, vma);
  const flags = FLAG_NAMES.map(([flag, name]) => ((vma.flags & flag) !== 0 ? `${name} ` : "")).join("");
  return (
    mapLine(mm, vma) +
    sizeLine("Size", vma.pages) +
    sizeLine("KernelPageSize", 1) +
    sizeLine("MMUPageSize", 1) +
    countLines(counts) +
    `THPeligible:    ${"0".padStart(8)}\nVmFlags: ${flags}\n`
  );
}

function rollup(mm: AddressSpace): string {
  const counts = new PageCounts();
  const areas = mm.vmas.items;
  for (const vma of areas) counts.add(mm, vma);
  const first = areas[0]?.start ?? 0;
  const last = areas.at(-1)?.end ?? 0;
  const line = `${hex(first, 8)}-${hex(last, 8)} ---p 00000000 00:00 0 `;
  return `${line.padEnd(NAME_COLUMN)} [rollup]\n${countLines(counts)}`;
}

/** A file about the memory of a process: the right to look is checked at open, the memory is that of the read. */
const memoryFile = (name: string, show: (mm: AddressSpace) => string): PidEntry => ({
  name,
  make: (target) =>
    file((): Result<string> => (target.mm === null ? ESRCH : show(target.mm)), {
      ...target.nodeOptions,
      open: (cx) => openMemory(cx, target),
    }),
});

/** Linux: proc_mem_open(). */
function openMemory(cx: Cx, target: Target): Result<0> {
  if (!target.isAlive) return ESRCH;
  if (!mayRead(cx, target.task)) return EACCES;
  return target.mm === null ? ESRCH : 0;
}

/**
 * mem: file offsets are addresses. EIO where nothing is mapped; 0 when the process has no memory any more.
 *
 * Differs from Linux: what the process itself may not write is not written (FOLL_FORCE).
 */
function memOperations(target: Target): FileOperations {
  return {
    name: "proc_mem_operations",
    open(cx) {
      if (!target.isAlive) return ESRCH;
      if (!ptrace_may_access(cx, target.task, PTRACE_MODE_ATTACH_FSCREDS)) return EACCES;
      return target.mm === null ? ESRCH : 0;
    },
    llseek(_cx, opened: File, offset, whence) {
      const base = whence === SEEK.SET ? 0 : whence === SEEK.CUR ? opened.pos : undefined;
      if (base === undefined || base + offset < 0) return EINVAL;
      opened.pos = base + offset;
      return opened.pos;
    },
    read_iter(_cx, iocb, to) {
      const { mm } = target;
      if (mm === null) return 0;
      return alongPages(mm, iocb, to, ACCESS.READ, (at, length) => to.copy_to_iter(at, length));
    },
    write_iter(_cx, iocb, from) {
      const { mm } = target;
      if (mm === null) return 0;
      return alongPages(mm, iocb, from, ACCESS.WRITE, (at, length) => from.copy_from_iter(at, length));
    },
  };
}

function alongPages(
  mm: AddressSpace,
  iocb: { pos: number },
  iter: { readonly count: number },
  access: number,
  copy: (at: number, length: number) => number,
): Result<number> {
  let done = 0;
  const start = iocb.pos;
  while (iter.count > 0) {
    const at = mm.translate(start + done, access);
    if (at < 0) {
      if (done === 0) return EIO;
      break;
    }
    const chunk = Math.min(PAGE_SIZE - (at & (PAGE_SIZE - 1)), iter.count);
    const copied = copy(at, chunk);
    done += copied;
    if (copied < chunk) {
      if (done === 0) return EFAULT;
      break;
    }
  }
  iocb.pos = start + done;
  return done;
}

export const MAPS_ENTRIES: readonly PidEntry[] = [
  memoryFile("maps", (mm) => mm.vmas.items.map((vma) => mapLine(mm, vma)).join("")),
  { name: "mem", make: (target) => special(memOperations(target), { ...target.nodeOptions, mode: 0o600 }) },
  memoryFile("smaps", (mm) => mm.vmas.items.map((vma) => smapLines(mm, vma)).join("")),
  { ...memoryFile("smaps_rollup", rollup), only: "process" },
];
