/** ELF64 reader and writer, both byte orders. */
export * from "./builder.ts";
export * from "./constants.ts";
export * from "./error.ts";
export * from "./image.ts";
export * from "./notes.ts";
export { ElfFile, parseElf } from "./reader.ts";
export { imageOf, writeElf } from "./writer.ts";
export type { ElfImage } from "./writer.ts";
