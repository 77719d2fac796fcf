/** The linker of kernel text and the compressed kallsyms table. */
export {};
