/** Decides whether a BPF program may run. */
export {};
