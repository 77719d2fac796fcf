/** The link step's command line: symbol list in, kallsyms table out. */
export type { GenerateOptions, Generated } from "./generate.ts";
export { generate, generateBlob } from "./generate.ts";
export type { NmListing } from "./nm.ts";
export { NmError, parseNm } from "./nm.ts";
export type { Outcome, Reader } from "./run.ts";
export { USAGE, run } from "./run.ts";
