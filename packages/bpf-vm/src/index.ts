/** eBPF interpreter over linear memory. */
export {};
