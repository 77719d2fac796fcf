/** The few bytes of WebAssembly that a compiler at run time emits: LEB128 numbers, instructions and module sections. */
export { ByteWriter } from "./bytes.ts";
export { ModuleBuilder, VALUE } from "./module.ts";
export type { FunctionBody, FunctionType, Limits, ValueType } from "./module.ts";
export { BLOCK_VOID, BULK, OP } from "./op.ts";
