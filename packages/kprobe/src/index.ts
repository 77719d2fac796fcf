/** Kprobes over trap frames, independent of any kernel. */
export {};
