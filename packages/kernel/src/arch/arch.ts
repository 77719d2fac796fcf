/**
 * What the kernel asks of an architecture. An architecture is one folder beside this file; `core` and everything above it
 * see only this interface, so that x86-64 or aarch64 are additions.
 */
import type { KAddr, LinearMemory, StructDecl } from "@alien-ts/abi";
import type { KprobeArch, ProbeArgs } from "@alien-ts/kprobe";

/** What ended a run of kernel text. */
export type TextEvent =
  /** The text asks for the body of row `index`; the pc is behind the host call. */
  | { readonly kind: "hostCall"; readonly index: number }
  /** A breakpoint instruction at the pc. */
  | { readonly kind: "break" }
  /** A single step is over (architectures that have one). */
  | { readonly kind: "debug" }
  /** The pc is the stop address, and the stack pointer that of the entry. */
  | { readonly kind: "stopped" }
  /** An exception that kernel text must not raise: `what` says which, with its address. */
  | { readonly kind: "fault"; readonly what: string; readonly address: KAddr };

/** Executes kernel text. Registers live in the context, in linear memory; the object holds only decoded instructions. */
export interface TextCpu {
  run(context: KAddr, stopPc: KAddr, stopSp: KAddr): TextEvent;
  /** Text in [addr, addr + length) was written (fence.i). */
  invalidate(addr: KAddr, length: number): void;
}

/** Registers of a context (a pt_regs in linear memory) by their role in the C ABI. */
export interface RegisterRoles {
  /** Byte offsets into pt_regs. */
  readonly pc: number;
  readonly sp: number;
  readonly returnAddress: number;
  readonly returnValue: number;
  /** The thread pointer, which holds the current task in the kernel. */
  readonly task: number;
  /** Arguments of a C function, in order. */
  readonly arguments: readonly number[];
  /** System calls: the number, the arguments, the result's original argument. */
  readonly syscallNumber: number;
  readonly syscallArguments: readonly number[];
  readonly originalArgument: number;
}

export interface RowText {
  readonly bytes: Uint8Array;
  /** Offset of the instruction behind the host call: the return address of calls that the body makes. */
  readonly returnOffset: number;
}

export interface Arch {
  /** As uname -m prints it. */
  readonly machine: "riscv64";
  /** ELF e_machine. */
  readonly elfMachine: number;
  /** Before the names of system call functions: "__riscv_sys_". */
  readonly syscallPrefix: string;
  readonly roles: RegisterRoles;
  /** Size of pt_regs, and of a context: pt_regs and what `TextCpu` keeps behind it. */
  readonly ptRegsBytes: number;
  readonly contextBytes: number;
  /** Structures of this architecture: `pt_regs`, and what perf events show of it. */
  readonly types: readonly StructDecl[];
  /** Typedefs of this architecture. */
  readonly typedefs: Readonly<Record<string, string>>;
  /** Names of the registers in pt_regs, in order, for oopses. */
  readonly registerNames: readonly string[];
  /** Machine code of a row; `index` is what its host call asks for. */
  rowText(index: number, name: string): RowText;
  /** Machine code of an entry point that no row owns: it must never be executed. */
  trapText(): Uint8Array;
  createTextCpu(mem: LinearMemory, isExecutable: (addr: KAddr, length: number) => boolean): TextCpu;
  /** Mechanics of probes. */
  readonly kprobe: KprobeArch;
  /** A trap frame at `context` as the probe library sees it. */
  probeArgs(mem: LinearMemory, context: KAddr): ProbeArgs;
}
