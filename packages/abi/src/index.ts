/** Numbers and byte layouts of the Linux UAPI: errno, syscall numbers, struct() declarations, kernel addresses, the trap interface. */
export {};
