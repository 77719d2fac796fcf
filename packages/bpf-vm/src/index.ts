/** The eBPF virtual machine: prepared programs, the interpreter and the WebAssembly JIT over linear memory, checked regions. */
export { BpfMachine } from "./machine.ts";
export { FRAME } from "./core.ts";
export { RUN, describeFault, runOptions } from "./run.ts";
export type { BpfFault, FaultKind, PacketSource, RunOptions, RunStatus } from "./run.ts";
export { BpfProgram, prepare } from "./program.ts";
export type { CompiledProgram, Helper, PrepareOptions } from "./program.ts";
export { breakpoints, Coverage } from "./hooks.ts";
export type { RunHook } from "./hooks.ts";
export { MemoryRegions } from "./regions.ts";
export { Jit } from "./jit/jit.ts";
export type { JitOptions } from "./jit/jit.ts";
export { HASH_LINK, MURMUR, RING_RECORD } from "./jit/options.ts";
export type {
  ArrayShape,
  CompileOptions,
  FastHelper,
  HashShape,
  HashWrites,
  LoopHelper,
  MapHelper,
  MapShape,
  RingCommit,
  RingLayout,
  RingShape,
  TypedHelper,
  WasmHelper,
} from "./jit/options.ts";
export { SCRATCH_BYTES } from "./jit/scratch.ts";
export type { WasmApi, WasmHost, WasmInstance, WasmMemory, WasmTable } from "./jit/wasm-api.ts";
