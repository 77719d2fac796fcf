/** The host's `WebAssembly` for tests and fuzzers, which run where there is one: the only place that names the global. */
import type { JitHost } from "./case-engine.ts";
import type { WasmApi, WasmMemory } from "./jit/wasm-api.ts";

type Memory = WasmMemory & { readonly buffer: ArrayBuffer };

interface HostGlobals {
  readonly WebAssembly: WasmApi & { readonly Memory: new (limits: { initial: number }) => Memory };
}

export function testHost(): JitHost {
  const { WebAssembly } = globalThis as unknown as HostGlobals;
  return { wasm: WebAssembly, newMemory: (pages) => new WebAssembly.Memory({ initial: pages }) };
}
