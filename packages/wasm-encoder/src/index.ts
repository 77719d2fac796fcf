/** The few bytes of WebAssembly that a BPF JIT emits. */
export {};
