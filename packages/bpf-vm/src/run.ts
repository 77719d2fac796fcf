/**
 * What a run is given and what it answers with: `RunOptions`, `RunStatus`, `BpfFault`.
 */
import type { KAddr } from "@alien-ts/abi";
import type { RunHook } from "./hooks.ts";

export const RUN = {
  /** The program exited. */
  done: 0,
  /** It did what `fault` says. */
  fault: 1,
  /** Its instruction budget is spent. */
  outOfFuel: 2,
  /** Its hook stopped it. */
  stopped: 3,
} as const;
export type RunStatus = (typeof RUN)[keyof typeof RUN];

export type FaultKind =
  | "access"
  | "misaligned"
  | "call depth"
  | "unknown helper"
  | "no packet"
  | "bad instruction";

/** Where and why the last faulting run stopped. The address and size are those of "access" and "misaligned". */
export interface BpfFault {
  kind: FaultKind;
  /** Slot of the instruction; -1 for a trap of unchecked compiled code, which does not say where. */
  pc: number;
  addressLow: number;
  addressHigh: number;
  size: number;
  isWrite: boolean;
}

/** Bytes that packet-legacy loads read; `read` gives them in network order, or -1 outside the packet. */
export interface PacketSource {
  read(context: KAddr, offset: number, size: 1 | 2 | 4): number;
}

/** How to run. Keep one object per place that runs programs: all fields are always there, so that runs stay fast. */
export interface RunOptions {
  /** End of the highest stack frame; 8 frames of 512 bytes lie below it. */
  stackTop: KAddr;
  /** Bytes at the context that a checked run may read, and write if `contextIsWritable`. */
  contextBytes: number;
  contextIsWritable: boolean;
  /** Instructions that may be executed, at most 2^31 - 1. */
  fuel: number;
  /** Functions of the program that helpers may call back, on either engine. */
  turns: number;
  isChecked: boolean;
  /** r2 at entry, a 32-bit number: only test programs have one. */
  r2: number;
  packet: PacketSource | null;
  /** Called before every instruction. */
  hook: RunHook | null;
}

/** Options with the defaults of unverified code: checked, ten million instructions, no context access. */
export function runOptions(options: Partial<RunOptions> & Pick<RunOptions, "stackTop">): RunOptions {
  return {
    stackTop: options.stackTop,
    contextBytes: options.contextBytes ?? 0,
    contextIsWritable: options.contextIsWritable ?? false,
    fuel: options.fuel ?? 10_000_000,
    turns: options.turns ?? 0x7fff_ffff,
    isChecked: options.isChecked ?? true,
    r2: options.r2 ?? 0,
    packet: options.packet ?? null,
    hook: options.hook ?? null,
  };
}

/** One line for the kernel log: what the fault was and where. */
export function describeFault(fault: BpfFault): string {
  if (fault.pc < 0) return "invalid access outside the memory";
  if (fault.kind !== "access" && fault.kind !== "misaligned") return `${fault.kind} at insn ${fault.pc}`;
  const hex = (word: number): string => word.toString(16).padStart(8, "0");
  const address = `0x${hex(fault.addressHigh)}${hex(fault.addressLow)}`;
  const verb = fault.isWrite ? "write" : "read";
  return `${fault.kind === "access" ? "invalid" : "misaligned"} ${verb} of ${fault.size} bytes at ${address}, insn ${fault.pc}`;
}
