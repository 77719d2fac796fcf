/**
 * A probe point: one patched instruction, shared by all probes on it; and the list of points.
 *
 * A point lives as long as it has a probe or a hit is in flight. It keeps the displaced bytes, and a slot if the instruction is
 * stepped. `probes` is replaced, never changed, so that a hit walks the list that it found although handlers register and
 * unregister. `hits` counts the CPUs whose current probe it is: the slot goes when there is neither probe nor hit.
 */
import type { KAddr } from "@alien-ts/abi";
import type { Execution } from "./arch.ts";
import type { Kprobe } from "./kprobe.ts";

/** What became of a trap that a probe point owned. */
export interface Handled {
  /** The host call whose body the kernel must run now, with nothing held; undefined: resume at the frame's pc. */
  readonly hostCall: number | undefined;
}

export const HANDLED: Handled = { hostCall: undefined };

export class KprobePoint {
  readonly addr: KAddr;
  /** The displaced bytes: one whole instruction. */
  readonly instruction: Uint8Array;
  readonly execution: Execution;
  /** Where the copy lies; 0 if the instruction is not stepped. */
  readonly slot: KAddr;
  /** The result of a hit that ran to its end. */
  readonly handled: Handled;
  /** In order of registration. */
  probes: readonly Kprobe[] = [];
  /** Whether the breakpoint is in the text. */
  isArmed = false;
  hits = 0;

  constructor(addr: KAddr, instruction: Uint8Array, execution: Execution, slot: KAddr) {
    this.addr = addr;
    this.instruction = instruction;
    this.execution = execution;
    this.slot = slot;
    this.handled = execution.kind === "hostCall" ? { hostCall: execution.index } : HANDLED;
  }

  /** The instruction after the probed one. */
  get nextAddr(): KAddr {
    return this.addr + this.instruction.length;
  }

  /** Where the trap after the step arrives. */
  get slotEnd(): KAddr {
    return this.slot + this.instruction.length;
  }
}

/** The points of one kernel by address. */
export class KprobePointList {
  readonly #points = new Map<KAddr, KprobePoint>();

  get(addr: KAddr): KprobePoint | undefined {
    return this.#points.get(addr);
  }
  insert(point: KprobePoint): void {
    this.#points.set(point.addr, point);
  }
  remove(point: KprobePoint): void {
    this.#points.delete(point.addr);
  }
  /** By address. */
  sorted(): KprobePoint[] {
    return [...this.#points.values()].toSorted((a, b) => a.addr - b.addr);
  }
}
