/** BPF maps, helpers, programs, perf rings and the bpf(2) commands, on the ports that a kernel implements. */
export {};
