/** Boot a kernel inside a Vitest suite. */
export {};
