/**
 * The permanent module that every call of a compiled program goes through: a table of functions and dispatchers over it.
 *
 * JavaScript calls only these exports, so that its call sites see one target each: a second target at a site takes a call from
 * 2.5 ns to 17 by measurement, the dispatcher's `call_indirect` to 5.
 */
import type { KAddr } from "@alien-ts/abi";
import { ByteWriter, ModuleBuilder, OP } from "@alien-ts/wasm-encoder";
import type { FunctionType } from "@alien-ts/wasm-encoder";
import { CALLBACK_TYPE, ENTER_TYPE, MAIN_TYPE, REPEAT_TYPE } from "./module-context.ts";
import type { Target } from "./module-context.ts";
import { SCRATCH } from "./scratch.ts";

/**
 * Exports `run(slot, context, stackTop) -> r0's low word`, `repeat(slot, context, stackTop, count)` for the slots of repeating
 * functions, `callback(slot, framePointer)`, and `enter` for tail calls; imports memory and table. r0's high word is left in the mailbox.
 */
export function runtimeModule({ memoryPages, scratch, hasTailCalls }: Target): Uint8Array {
  const builder = new ModuleBuilder();
  builder.importMemory("vm", "memory", { min: memoryPages });
  builder.importTable("vm", "table", { min: 1 });
  addDispatcher(builder, "run", MAIN_TYPE, scratch);
  addDispatcher(builder, "repeat", REPEAT_TYPE, scratch);
  const callback = builder.addFunction({
    params: ["i32", "i32"],
    results: [],
    locals: [],
    code: [OP.local_get, 1, OP.local_get, 0, OP.call_indirect, builder.typeIndex(CALLBACK_TYPE), 0],
  });
  builder.export("callback", "function", callback);
  addEntry(builder, hasTailCalls);
  return builder.build();
}

/** Exports a function that calls the one at the slot in its first parameter with the others, and splits r0. */
function addDispatcher(builder: ModuleBuilder, name: string, type: FunctionType, scratch: KAddr): void {
  const params = ["i32", ...type.params] as const;
  const result = params.length;
  const code = new ByteWriter();
  for (let parameter = 1; parameter < params.length; parameter++) code.u8(OP.local_get).u8(parameter);
  code.append([OP.local_get, 0, OP.call_indirect]).u32(builder.typeIndex(type)).u8(0);
  code.append([OP.local_set, result, OP.i32_const, 0, OP.local_get, result, OP.i64_const, 32, OP.i64_shr_u]);
  code.append([OP.i64_store32, 0]).u32(scratch + SCRATCH.registers + 4);
  code.append([OP.local_get, result, OP.i32_wrap_i64]);
  const index = builder.addFunction({ params, results: ["i32"], locals: ["i64"], code: code.bytes() });
  builder.export(name, "function", index);
}

/**
 * Exports `enter(context, stackTop, slot) -> r0` for programs that make tail calls. They import it and not the table, because the
 * host keeps each module that a table was given to, and goes through all of them whenever an entry is set.
 */
function addEntry(builder: ModuleBuilder, hasTailCalls: boolean): void {
  const call = hasTailCalls ? OP.return_call_indirect : OP.call_indirect;
  const code = new ByteWriter().append([OP.local_get, 0, OP.local_get, 1, OP.local_get, 2, call]);
  code.u32(builder.typeIndex(MAIN_TYPE)).u8(0);
  builder.export("enter", "function", builder.addFunction({ ...ENTER_TYPE, locals: [], code: code.bytes() }));
}

/** A module that an engine without tail calls does not accept. */
export function tailCallProbe(): Uint8Array {
  const builder = new ModuleBuilder();
  builder.addTable({ min: 1 });
  const type = { params: [], results: [] } as const;
  builder.addFunction({
    ...type,
    locals: [],
    code: [OP.i32_const, 0, OP.return_call_indirect, builder.typeIndex(type), 0],
  });
  return builder.build();
}
