/** Kprobes over trap frames, independent of any kernel. */
export * from "./arch.ts";
export * from "./arch/riscv64-host-call.ts";
export { riscv64 } from "./arch/riscv64.ts";
export * from "./handler.ts";
export * from "./kprobe.ts";
export * from "./kretprobe.ts";
export * from "./manager.ts";
export * from "./ops.ts";
export * from "./point.ts";
export * from "./probe-args.ts";
export * from "./register.ts";
export { RetprobeInstance } from "./return-hooks.ts";
