/** Numbers and byte layouts of the Linux UAPI: errno, syscall numbers, struct() declarations, kernel addresses, the trap interface. */
export * from "./errno.ts";
export * from "./memory.ts";
export * from "./syscall-numbers.ts";
export * from "./trap.ts";
export * from "./utf8.ts";
