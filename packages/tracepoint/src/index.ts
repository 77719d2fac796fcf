/** Tracepoint definitions, formats and records. */
export {};
