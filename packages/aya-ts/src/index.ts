/** Aya's API in TypeScript, over system calls only, with a single-threaded async runtime. */
export {};
