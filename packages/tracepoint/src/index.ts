/** Tracepoint definitions, formats and records. */
export { named } from "@alien-ts/abi";
export * from "./event.ts";
export * from "./format-file.ts";
export * from "./printf.ts";
export * from "./record.ts";
export * from "./registry.ts";
