/** The subsystems of the kernel, in boot order: an explicit list. A new one is one line. */
import type { Kernel } from "./core/kernel.ts";
import { initKprobes } from "./trace/kprobes.ts";

export interface Subsystem {
  readonly name: string;
  /** Runs once, at boot, in list order. Must not sleep. */
  init(kernel: Kernel): void;
}

export const SUBSYSTEMS: readonly Subsystem[] = [{ name: "kprobes", init: initKprobes }];
