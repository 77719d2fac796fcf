/** What helper implementations see of their surroundings. */
import type { KAddr, LinearMemory } from "@alien-ts/abi";
import type { MapTable, Status } from "../maps/map.ts";
import type { KernelAuxiliaryOps } from "../ports.ts";

/** Bytes of `HelperHost.scratch`. */
export const SCRATCH_BYTES = 64;

export interface HelperHost {
  readonly ports: KernelAuxiliaryOps;
  readonly m: LinearMemory;
  readonly maps: MapTable;
  /** For use within one helper that calls nothing. */
  readonly scratch: KAddr;
  /** Where numeric helpers leave the high word of a u64 result. */
  readonly resultHigh: KAddr;
}

/** What a helper returns for an operation's outcome: 0 or a negative errno. */
export const statusOf = (status: Status): number => (status === 0 ? 0 : -status.number);

/** The two words of a u64 as a number: exact below 2^53, and above that no small number. */
export const u64 = (low: number, high: number): number => (high >>> 0) * 0x1_0000_0000 + (low >>> 0);

/** A number below 2^53 as the u64 result of a numeric helper: the low word, with the high one where the host wants it. */
export function giveU64(host: HelperHost, value: number): number {
  host.m.i32[host.resultHigh >> 2] = Math.floor(value / 0x1_0000_0000) | 0;
  return value | 0;
}
