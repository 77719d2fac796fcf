/** What helper implementations see of their surroundings. */
import type { KAddr, LinearMemory } from "@alien-ts/abi";
import type { MapTable, Status } from "../maps/map.ts";
import type { KernelAuxiliaryOps } from "../ports.ts";
import type { BpfMachine } from "@alien-ts/bpf-vm";

/** Bytes of `HelperHost.scratch`. */
export const SCRATCH_BYTES = 64;

export interface HelperHost {
  readonly ports: KernelAuxiliaryOps;
  readonly m: LinearMemory;
  readonly maps: MapTable;
  /** For use within one helper that calls nothing. */
  readonly scratch: KAddr;
}

/** Puts an operation's outcome into r0: 0 or a negative errno. */
export function setStatus(machine: BpfMachine, status: Status): void {
  machine.setR0Signed(status === 0 ? 0 : -status.number);
}

/** A u64 argument as a number: exact below 2^53, and above that no small number. */
export const argU64 = (machine: BpfMachine, n: number): number =>
  (machine.argHigh(n) >>> 0) * 0x1_0000_0000 + (machine.argLow(n) >>> 0);

/** A number below 2^53 as result. */
export function setU64(machine: BpfMachine, value: number): void {
  machine.setR0(value | 0, Math.floor(value / 0x1_0000_0000) | 0);
}
