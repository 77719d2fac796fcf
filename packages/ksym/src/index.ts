/** The linker of kernel text and the compressed kallsyms table. */
export { CorruptKallsyms } from "./blob-format.ts";
export { toAssembly, toModuleSource } from "./emit.ts";
export type { EncodeOptions } from "./encode.ts";
export { encodeKallsyms } from "./encode.ts";
export type { KallsymsFormat, KallsymsLine } from "./format.ts";
export { formatAddress, formatKallsymsLine, formatSystemMap } from "./format.ts";
export type { KallsymsParts } from "./kallsyms.ts";
export { Kallsyms } from "./kallsyms.ts";
export type { LinkOptions, LinkedSection, LinkedSymbol, Resolve, SectionSpec, SymbolSpec } from "./link.ts";
export { LINUX_BOUNDARIES, LinkError, LinkedImage, link } from "./link.ts";
export type { StableLink, StableLinkOptions, SymbolDifferences } from "./stable-link.ts";
export { InconsistentKallsyms, LINK_PASSES, checkKallsyms, linkUntilStable } from "./stable-link.ts";
export type { ModuleSymbol, ModuleSymbolHit } from "./symbol-table.ts";
export { SymbolTable } from "./symbol-table.ts";
export type { KernelSymbol, SymbolHit } from "./symbol.ts";
export { compareSymbols, sortSymbols } from "./symbol.ts";
