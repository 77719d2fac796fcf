/** The eBPF instruction set (RFC 9669): rows of instructions, decoding, encoding, building, disassembling, reference semantics. */
export * from "./assemble.ts";
export * from "./build.ts";
export * from "./constants.ts";
export * from "./disassemble.ts";
export * from "./instruction.ts";
export * from "./opcodes.ts";
export * from "./operations.ts";
export * from "./reference.ts";
