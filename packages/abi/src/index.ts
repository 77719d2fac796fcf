/** Numbers and byte layouts of the Linux UAPI: errno, syscall numbers, struct() declarations, kernel addresses, the trap interface. */
export * from "./errno.ts";
export * from "./memory.ts";
export * from "./syscall-numbers.ts";
export * from "./trap.ts";
export * from "./utf8.ts";
export * from "./ctype.ts";
export * from "./layout.ts";
export * from "./struct.ts";
export * from "./uapi/fcntl.ts";
export * from "./uapi/mman.ts";
export * from "./uapi/poll.ts";
export * from "./uapi/process.ts";
export * from "./uapi/signal.ts";
export * from "./uapi/socket.ts";
export * from "./uapi/stat.ts";
export * from "./uapi/time.ts";
export * from "./uapi/tty.ts";
