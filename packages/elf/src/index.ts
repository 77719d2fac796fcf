/** ELF64 reader and writer, both byte orders. */
export {};
