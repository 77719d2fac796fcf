/** `Site`: the instruction that is being emitted, for the files that emit memory accesses and calls. */
import type { Emitter } from "./emitter.ts";
import type { ModuleContext } from "./module-context.ts";

export interface Site {
  readonly e: Emitter;
  readonly module: ModuleContext;
  readonly slot: number;
  /** Whether the instruction stands in the module's entry itself, where a tail call can replace the function. */
  readonly isInMain: boolean;
  /** Leaves the current BPF function, with r0 as it is. */
  exit(): void;
  /** Writes the fuel back before something that may burn it, and reads it again. */
  flushFuel(): void;
  reloadFuel(): void;
  /** Calls the BPF function at `slot` with r1 to r5 as they are; r0 is its result. */
  callFunction(slot: number): void;
}
