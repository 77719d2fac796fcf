/**
 * The compressed table of the kernel's symbols. The build puts the table of its link in the place of this module
 * (scripts/build.mjs); from source there is none, and the kernel links until its own is stable.
 */
export const kallsyms: Uint8Array | undefined = undefined;
