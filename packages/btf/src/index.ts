/** BTF: parse, find, write. */
export {};
