/** Memory for a kernel whose programs are compiled. */
import type { MemoryBuffer } from "@alien-ts/abi";
import type { WasmHost } from "@alien-ts/bpf-vm";
import type { JitHost } from "./ports.ts";

const PAGE_BYTES = 0x1_0000;

export interface JitMemory {
  readonly memory: MemoryBuffer;
  readonly jit: JitHost;
}

/**
 * Zeroed memory that does not grow, and what compiles for it.
 *
 * @param wasm the host's `WebAssembly`; undefined where it has none.
 * @param sizeBytes a multiple of 64 KiB.
 */
export function jitMemory(wasm: WasmHost, sizeBytes: number): JitMemory;
export function jitMemory(
  wasm: WasmHost | undefined,
  sizeBytes: number,
): JitMemory | { readonly memory: MemoryBuffer };
export function jitMemory(
  wasm: WasmHost | undefined,
  sizeBytes: number,
): JitMemory | { readonly memory: MemoryBuffer } {
  if (wasm === undefined) return { memory: new ArrayBuffer(sizeBytes) };
  const pages = sizeBytes / PAGE_BYTES;
  const memory = new wasm.Memory({ initial: pages, maximum: pages });
  return { memory: memory.buffer, jit: { wasm, memory } };
}
