/**
 * `KprobeManager`: the probes of one kernel. All state is here, so that two kernels can live in one process.
 *
 * It knows points, slots, return hooks and what each CPU is handling; register.ts changes the points, handler.ts handles traps.
 */
import type { KAddr } from "@alien-ts/abi";
import type { KprobeArch } from "./arch.ts";
import type { Kprobe, KprobeType } from "./kprobe.ts";
import type { KprobeAuxiliaryOps } from "./ops.ts";
import { type KprobePoint, KprobePointList } from "./point.ts";
import { ReturnHooks } from "./return-hooks.ts";
import { SlotCache } from "./slots.ts";

/** Where a CPU is in the life of a hit (Linux: kprobe_status in struct kprobe_ctlblk). */
export type HitStatus = "active" | "stepping" | "stepDone" | "reentered";

/** Linux: struct kprobe_ctlblk and current_kprobe, both per CPU. */
export interface CpuHit {
  /** The point being handled (Linux: current_kprobe). */
  current: KprobePoint | undefined;
  status: HitStatus;
  /** What was current when a handler hit another point. */
  previous: KprobePoint | undefined;
  previousStatus: HitStatus;
}

/** One line of /sys/kernel/debug/kprobes/list. */
export interface KprobeListEntry {
  readonly addr: KAddr;
  readonly type: KprobeType;
  readonly symbol: string;
  readonly offset: number;
  readonly module: string | undefined;
  readonly isDisabled: boolean;
  readonly isGone: boolean;
  readonly probe: Kprobe;
}

export class KprobeManager {
  readonly ops: KprobeAuxiliaryOps;
  readonly arch: KprobeArch;
  readonly points = new KprobePointList();
  readonly slots: SlotCache;
  readonly returns: ReturnHooks;
  /** Registered probes whose text was unloaded. */
  readonly gone = new Set<Kprobe>();
  readonly #cpus: CpuHit[] = [];

  constructor(ops: KprobeAuxiliaryOps, arch: KprobeArch) {
    this.ops = ops;
    this.arch = arch;
    const breakpointBytes = arch.hasSingleStep ? 0 : arch.breakpoint(arch.instructionBytesMax).length;
    this.slots = new SlotCache(ops, arch.instructionBytesMax + breakpointBytes);
    this.returns = new ReturnHooks(ops, arch, this.slots);
  }

  /** The state of the CPU that runs now. */
  currentHit(): CpuHit {
    const cpu = this.ops.current_cpu();
    return (this.#cpus[cpu] ??= {
      current: undefined,
      status: "active",
      previous: undefined,
      previousStatus: "active",
    });
  }

  /** Whether a probe is being handled on the CPU that runs now (Linux: kprobe_running). */
  kprobe_running(): boolean {
    return this.currentHit().current !== undefined;
  }

  /** Frees what a point without probes and hits still holds. */
  releaseIfUnused(point: KprobePoint): void {
    if (point.probes.length === 0 && point.hits === 0 && point.slot !== 0) this.slots.free(point.slot);
  }

  /** Every registered probe, by address, then by registration; those that are gone come last. */
  *kprobes(): IterableIterator<KprobeListEntry> {
    for (const { probes } of this.points.sorted()) for (const probe of probes) yield this.#entry(probe);
    for (const probe of this.gone) yield this.#entry(probe);
  }

  #entry(probe: Kprobe): KprobeListEntry {
    const range = this.ops.lookup_address(probe.addr);
    return {
      addr: probe.addr,
      type: probe.type,
      symbol: range?.name ?? probe.symbol ?? "",
      offset: range === undefined ? probe.offset : probe.addr - range.addr,
      module: range?.module,
      isDisabled: !probe.isEnabled,
      isGone: probe.isGone,
      probe,
    };
  }
}

/** An entry as Linux prints it; `address` as the reader may see it (Linux: report_probe in kernel/kprobes.c). */
export function formatKprobe(entry: KprobeListEntry, address: string): string {
  const { type, symbol, offset, module = " ", isGone, isDisabled } = entry;
  const flag = isGone ? "[GONE]" : isDisabled ? "[DISABLED]" : "";
  return `${address}  ${type}  ${symbol}+0x${offset.toString(16)}  ${module} ${flag}\n`;
}
