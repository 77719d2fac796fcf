/** The eBPF virtual machine: prepared programs, the interpreter over linear memory, checked memory regions. */
export { BpfMachine } from "./machine.ts";
export { RUN, describeFault, runOptions } from "./run.ts";
export type { BpfFault, FaultKind, PacketSource, RunOptions, RunStatus } from "./run.ts";
export { BpfProgram, prepare } from "./program.ts";
export type { Helper, PrepareOptions } from "./program.ts";
export { MemoryRegions } from "./regions.ts";
