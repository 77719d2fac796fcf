/**
 * The OOM killer: when memory does not allow an access of a process, the largest process is killed and its pages are taken at
 * once (Linux: mm/oom_kill.c; the oom_reaper's work is done on the spot, because an access cannot wait).
 *
 * Interface: `outOfMemory`, `oomBadness`, `OOM_SCORE_ADJ`.
 */
import { SIG } from "@alien-ts/abi";
import type { Cx } from "../core/cx.ts";
import type { Kernel } from "../core/kernel.ts";
import type { AddressSpace } from "../mm/address-space.ts";
import { VM } from "../mm/vma.ts";
import { panic } from "./exit.ts";
import type { Process } from "./process.ts";
import { sendToProcess, siginfo } from "./signal.ts";

/** Range of a process's own adjustment; the smallest one spares it. include/uapi/linux/oom.h */
export const OOM_SCORE_ADJ = { MIN: -1000, MAX: 1000 } as const;

/** si_code of signals that the kernel sends. */
const SI_KERNEL = 0x80;
const KIB_PER_PAGE = 4;

/**
 * How much would be gained by killing a process, in pages: what is resident and its page tables, with its adjustment in
 * thousandths of all memory. -Infinity: it may not be killed. Linux: oom_badness().
 */
export function oomBadness(process: Process): number {
  const mm = mmOf(process);
  if (process.oomScoreAdj === OOM_SCORE_ADJ.MIN) return -Infinity;
  const points = mm === undefined ? 0 : mm.rssPages + mm.table.tablePages;
  return points + Math.trunc((process.oomScoreAdj * totalPages(process.leader.kernel)) / 1000);
}

/** Pages that can be given to processes. */
export const totalPages = ({ pages }: Kernel): number => pages.freePages + pages.usedPages;

/**
 * Kills the process with the largest badness and gives back what it alone maps. Panics when there is none left.
 * @returns whether memory became free for the current task: false when the task itself was killed
 */
export function outOfMemory(cx: Cx): boolean {
  const { kernel, task } = cx;
  kernel.log.warn(
    `${task.t.comm} invoked oom-killer: gfp_mask=0x140dca(GFP_HIGHUSER_MOVABLE|__GFP_COMP|__GFP_ZERO), order=0, ` +
      `oom_score_adj=${task.process.oomScoreAdj}`,
  );
  const victim = selectVictim(kernel);
  const mm = victim === undefined ? undefined : mmOf(victim);
  if (victim === undefined || mm === undefined) panic(cx, "System is deadlocked on memory");
  kernel.log.err(
    `Out of memory: Killed process ${victim.pid} (${victim.leader.t.comm}) ${usage(victim, mm)}`,
  );
  const sharers = kernel.pids.processes().filter((process) => mmOf(process) === mm);
  for (const process of sharers.filter(mayKill)) {
    process.isOomVictim = true;
    sendToProcess(cx, process, siginfo(SIG.KILL, SI_KERNEL));
  }
  if (task.mm === mm) return false;
  // What init shares goes on living.
  if (sharers.every(mayKill)) reap(mm);
  return true;
}

function selectVictim(kernel: Kernel): Process | undefined {
  let victim: Process | undefined;
  let most = -Infinity;
  for (const process of kernel.pids.processes()) {
    if (!mayKill(process) || process.isOomVictim) continue;
    const badness = oomBadness(process);
    if (badness <= most) continue;
    victim = process;
    most = badness;
  }
  return victim;
}

/** Neither init nor a kernel thread (oom_unkillable_task). */
const mayKill = (process: Process): boolean => process.pid !== 1 && mmOf(process) !== undefined;

/** That of any thread which is not gone yet (find_lock_task_mm). */
function mmOf({ threads }: Process): AddressSpace | undefined {
  for (const { mm } of threads) if (mm !== null) return mm;
  return undefined;
}

/** Takes all private pages of an address space whose processes die (__oom_reap_task_mm). */
function reap(mm: AddressSpace): void {
  for (const vma of mm.vmas.items) if ((vma.flags & VM.SHARED) === 0) mm.zap(vma, vma.start, vma.end);
}

function usage({ leader, oomScoreAdj }: Process, mm: AddressSpace): string {
  const kib = (pages: number): string => `${pages * KIB_PER_PAGE}kB`;
  return (
    `total-vm:${kib(mm.t.total_vm)}, anon-rss:${kib(mm.rss.anon)}, file-rss:${kib(mm.rss.file)}, ` +
    `shmem-rss:${kib(mm.rss.shmem)}, UID:${leader.cred.uid} pgtables:${kib(mm.table.tablePages)} oom_score_adj:${oomScoreAdj}`
  );
}
