/**
 * `KprobeArch`: what differs between instruction sets. One object per architecture; arch/riscv64.ts is the model.
 */
import type { KAddr, Result } from "@alien-ts/abi";
import type { ProbeArgs } from "./probe-args.ts";

/**
 * How a displaced instruction is executed:
 *   step      a copy runs in an out-of-line slot, then the second trap comes
 *   simulate  `simulate` does its work on the frame, the pc included: nothing runs out of line
 *   hostCall  the pc moves past it and the kernel runs the body: nothing is held while it does
 */
export type Execution =
  | { readonly kind: "step" }
  | { readonly kind: "simulate"; readonly simulate: (args: ProbeArgs, addr: KAddr) => void }
  | { readonly kind: "hostCall"; readonly index: number };

export interface KprobeArch {
  /** Longest instruction. */
  readonly instructionBytesMax: number;
  /** Instructions start at multiples of it. */
  readonly alignmentBytes: number;
  /** True: a flag in the frame steps one instruction, and the second trap is a debug exception. False: a breakpoint follows the copy. */
  readonly hasSingleStep: boolean;
  /** Length of the instruction that `code` starts with; 0 if it cannot be told. */
  instructionLength(code: Uint8Array): number;
  /** The breakpoint to plant over an instruction of `length` bytes; not longer than it. */
  breakpoint(length: number): Uint8Array;
  /** How `instruction` is to be executed; EINVAL if it must not be probed. */
  prepare(instruction: Uint8Array): Result<Execution>;
}
