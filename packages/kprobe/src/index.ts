/** Kprobes over trap frames, independent of any kernel. */
export * from "./arch/riscv64-host-call.ts";
