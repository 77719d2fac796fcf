/** Memory in numbers: meminfo, vmstat, buddyinfo, slabinfo, swaps (Linux: fs/proc/meminfo.c, mm/vmstat.c, mm/slab_common.c). */
import { PAGE_SIZE } from "@alien-ts/abi";
import type { Kernel } from "../../core/kernel.ts";
import type { AddressSpace } from "../../mm/address-space.ts";
import { THREAD_SIZE } from "../../task/create.ts";
import { file, type SimpleNode } from "../simple.ts";
import { right } from "./format.ts";

const KB_PER_PAGE = PAGE_SIZE / 1024;
/** Share of RAM that strict overcommit lets be committed, without swap (vm.overcommit_ratio). */
const COMMIT_SHARE = 0.5;

/** What the address spaces and tasks of a kernel take, in pages. */
interface Usage {
  readonly total: number;
  readonly free: number;
  readonly anon: number;
  readonly mapped: number;
  readonly shmem: number;
  readonly locked: number;
  readonly committed: number;
  readonly pageTables: number;
  readonly stacks: number;
  readonly slab: number;
  readonly faults: number;
}

function usageOf(kernel: Kernel): Usage {
  const tasks = kernel.pids.tasks();
  const spaces = new Set<AddressSpace>();
  for (const { mm } of tasks) if (mm !== null) spaces.add(mm);
  const sum = (count: (mm: AddressSpace) => number): number =>
    [...spaces].reduce((all, mm) => all + count(mm), 0);
  return {
    total: kernel.pages.freePages + kernel.pages.usedPages,
    free: kernel.pages.freePages,
    anon: sum((mm) => mm.rss.anon),
    mapped: sum((mm) => mm.rss.file + mm.rss.shmem),
    shmem: sum((mm) => mm.rss.shmem),
    locked: sum((mm) => mm.t.locked_vm),
    committed: sum((mm) => mm.t.data_vm + mm.t.stack_vm),
    pageTables: sum((mm) => mm.table.tablePages),
    stacks: ((tasks.length + kernel.cpus.length) * THREAD_SIZE) / PAGE_SIZE,
    slab: Math.ceil(kernel.kmalloc.liveBytes / PAGE_SIZE),
    faults: sum((mm) => mm.faults),
  };
}

/** Linux: meminfo_proc_show(). There is no swap, no page cache with a device behind it, and no huge page. */
function showMeminfo(kernel: Kernel): string {
  const u = usageOf(kernel);
  const rows: readonly (readonly [string, number])[] = [
    ["MemTotal", u.total],
    ["MemFree", u.free],
    ["MemAvailable", u.free],
    ["Buffers", 0],
    ["Cached", u.shmem],
    ["SwapCached", 0],
    ["Active", u.anon],
    ["Inactive", 0],
    ["Active(anon)", u.anon],
    ["Inactive(anon)", 0],
    ["Active(file)", 0],
    ["Inactive(file)", 0],
    ["Unevictable", u.locked],
    ["Mlocked", u.locked],
    ["SwapTotal", 0],
    ["SwapFree", 0],
    ["Dirty", 0],
    ["Writeback", 0],
    ["AnonPages", u.anon],
    ["Mapped", u.mapped],
    ["Shmem", u.shmem],
    ["KReclaimable", 0],
    ["Slab", u.slab],
    ["SReclaimable", 0],
    ["SUnreclaim", u.slab],
    ["KernelStack", u.stacks],
    ["PageTables", u.pageTables],
    ["SecPageTables", 0],
    ["NFS_Unstable", 0],
    ["Bounce", 0],
    ["WritebackTmp", 0],
    ["CommitLimit", Math.floor(u.total * COMMIT_SHARE)],
    ["Committed_AS", u.committed],
    ["VmallocTotal", 0],
    ["VmallocUsed", 0],
    ["VmallocChunk", 0],
    ["Percpu", 0],
  ];
  return rows
    .map(([name, pages]) => `${`${name}:`.padEnd(16)}${right(pages * KB_PER_PAGE, 8)} kB\n`)
    .join("");
}

/** Linux: vmstat_show(), the counters that are kept. */
function showVmstat(kernel: Kernel): string {
  const u = usageOf(kernel);
  const rows: readonly (readonly [string, number])[] = [
    ["nr_free_pages", u.free],
    ["nr_mlock", u.locked],
    ["nr_anon_pages", u.anon],
    ["nr_mapped", u.mapped],
    ["nr_file_pages", u.shmem],
    ["nr_dirty", 0],
    ["nr_writeback", 0],
    ["nr_shmem", u.shmem],
    ["nr_slab_reclaimable", 0],
    ["nr_slab_unreclaimable", u.slab],
    ["nr_kernel_stack", u.stacks * KB_PER_PAGE],
    ["nr_page_table_pages", u.pageTables],
    ["pgpgin", 0],
    ["pgpgout", 0],
    ["pswpin", 0],
    ["pswpout", 0],
    ["pgfault", u.faults],
    ["pgmajfault", 0],
  ];
  return rows.map(([name, value]) => `${name} ${value}\n`).join("");
}

/** Linux: frag_show_print(). */
const showBuddyinfo = (kernel: Kernel): string =>
  `Node 0, zone ${right("Normal", 8)} ${kernel.pages
    .buddyInfo()
    .map((blocks) => `${right(blocks, 6)} `)
    .join("")}\n`;

const SLABINFO_HEAD =
  "slabinfo - version: 2.1\n" +
  "# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab>" +
  " : tunables <limit> <batchcount> <sharedfactor> : slabdata <active_slabs> <num_slabs> <sharedavail>\n";

/** Linux: cache_show(). */
function showSlabinfo(kernel: Kernel): string {
  const rows = kernel.kmalloc.slabInfo().map(({ name, active, total, size }) => {
    const perSlab = Math.max(1, Math.floor(PAGE_SIZE / size));
    const pages = Math.max(1, Math.ceil(size / PAGE_SIZE));
    const slabs = Math.ceil(total / perSlab);
    const objects = `${name.padEnd(17)} ${right(active, 6)} ${right(total, 6)} ${right(size, 6)} ${right(perSlab, 4)} ${right(pages, 4)}`;
    const tunables = ` : tunables ${[0, 0, 0].map((value) => right(value, 4)).join(" ")}`;
    return `${objects}${tunables} : slabdata ${[slabs, slabs, 0].map((value) => right(value, 6)).join(" ")}\n`;
  });
  return SLABINFO_HEAD + rows.join("");
}

export const MEMORY_NODES = (): Readonly<Record<string, SimpleNode>> => ({
  meminfo: file(({ kernel }) => showMeminfo(kernel)),
  vmstat: file(({ kernel }) => showVmstat(kernel)),
  buddyinfo: file(({ kernel }) => showBuddyinfo(kernel)),
  slabinfo: file(({ kernel }) => showSlabinfo(kernel), { mode: 0o400 }),
  swaps: file(() => "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"),
});
