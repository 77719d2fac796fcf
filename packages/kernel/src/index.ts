/** The kernel: memory, tasks, scheduler, file systems, system calls, probes, BPF. */
export {};
