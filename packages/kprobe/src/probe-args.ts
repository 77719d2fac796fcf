/**
 * `ProbeArgs`: a trap frame, as handlers and the library see it. The kernel implements it per architecture.
 *
 * 64-bit registers are read as a low and a high 32-bit word and written as a pair; a kernel address is its low word
 * (`KAddr`). An implementation writes through: what a handler sets is what the interrupted code finds.
 */
import type { KAddr } from "@alien-ts/abi";

export interface ProbeArgs {
  /** Where the frame lies in kernel memory, as the architecture's `struct pt_regs`: the context of a BPF program. */
  readonly frame: KAddr;

  /** Address of the breakpoint instruction whose exception made the frame: pc, or before it where the pc has moved on. */
  break_address(): KAddr;
  /** Address at which the trap after the single step arrived. */
  debug_address(): KAddr;

  pc(): KAddr;
  /** High word of pc: that of every kernel address, unless a handler or wild code changed it. */
  pcHigh(): number;
  update_pc(pc: KAddr): void;
  /** Sets pc to any 64-bit value. */
  setPcWords(low: number, high: number): void;

  /** Register by the architecture's own number (riscv64: x0 … x31, x0 reads as zero and ignores writes). */
  registerLow(register: number): number;
  registerHigh(register: number): number;
  setRegister(register: number, low: number, high: number): void;

  /** The n-th integer argument by the C ABI, from 0, at a function's first instruction; only those passed in registers. */
  argumentLow(n: number): number;
  argumentHigh(n: number): number;
  setArgument(n: number, low: number, high: number): void;

  /** The first return value register. */
  returnValueLow(): number;
  returnValueHigh(): number;
  setReturnValue(low: number, high: number): void;

  stackPointer(): KAddr;
  /** Where the function returns to, at its first instruction. */
  returnAddress(): KAddr;
  setReturnAddress(addr: KAddr): void;

  /** Sets or clears the single-step flag. Called only where the architecture has one (`KprobeArch.hasSingleStep`). */
  set_single_step(isOn: boolean): void;
}

/** What an event (perf, BPF) hangs on a probe. Runs before the probed instruction, as in Linux. */
export interface CallBackFunc {
  /** Non-zero: the pc was changed (bpf_override_return), and the probed instruction must not run. */
  call(args: ProbeArgs): number;
}
