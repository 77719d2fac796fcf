/** What the command's thread and the kernel's thread tell each other. Output is not among it: the kernel's thread writes itself. */
import type { BootArguments } from "./arguments.ts";

/** Exit status after a kernel bug: EX_SOFTWARE of sysexits.h. */
export const STATUS_BUG = 70;

/** Given to the kernel's thread at its start. */
export interface WorkerData {
  readonly arguments: BootArguments;
  readonly isTerminal: boolean;
  readonly rows: number;
  readonly columns: number;
  readonly progress: SharedArrayBuffer;
  /** Print how long the boot took since this time of `process.hrtime`, in nanoseconds. */
  readonly startedNs: bigint | undefined;
}

export type ToKernel =
  | { readonly kind: "input"; readonly bytes: Uint8Array }
  | { readonly kind: "resize"; readonly rows: number; readonly columns: number }
  | { readonly kind: "hangup" };

export type FromKernel = { readonly kind: "ended"; readonly status: number };
