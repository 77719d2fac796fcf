/** BTF: parse, find, write. */
export { Btf, BTF_POINTER_SIZE, parseBtf } from "./btf.ts";
export * from "./error.ts";
export * from "./ext.ts";
export { formatDefinition, type FormatOptions, formatType, type Style } from "./format.ts";
export { formatHeader } from "./header-file.ts";
export { formatRaw } from "./raw-file.ts";
export * from "./types.ts";
export * from "./write.ts";
export { checkBtf } from "./load/check.ts";
export type { BtfVerdict } from "./load/check.ts";
export * from "./declared/types.ts";
export * from "./relocate/index.ts";
