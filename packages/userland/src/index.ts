/** A libc over trap, init, a shell, coreutils and BPF demo programs. */
export * from "./host/program.ts";
export * from "./host/program-host.ts";
export * from "./host/task.ts";
export * from "./image.ts";
export * from "./libc/errors.ts";
export * from "./libc/process.ts";
export * from "./libc/tool.ts";
export * from "./programs.ts";
