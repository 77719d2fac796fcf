/** The eBPF instruction set (RFC 9669): decode, encode, disassemble. */
export {};
