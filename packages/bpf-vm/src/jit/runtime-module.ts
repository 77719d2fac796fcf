/**
 * The permanent module that every call of a compiled program goes through: a table of functions and dispatchers over it.
 *
 * JavaScript calls only these exports, so that its call sites see one target each: a second target at a site takes a call from
 * 2.5 ns to 17 by measurement, the dispatcher's `call_indirect` to 5.
 */
import { ModuleBuilder, OP } from "@alien-ts/wasm-encoder";
import { CALLBACK_TYPE, MAIN_TYPE, REPEAT_TYPE } from "./module-context.ts";

/**
 * Exports `run(slot, context, stackTop) -> r0's low word`, `repeat(slot, context, stackTop, count)` for the slots of repeating
 * functions, and `callback(slot, framePointer)`; imports `vm.table`.
 */
export function runtimeModule(): Uint8Array {
  const builder = new ModuleBuilder();
  builder.importTable("vm", "table", { min: 1 });
  const run = builder.addFunction({
    params: ["i32", "i32", "i32"],
    results: ["i32"],
    locals: [],
    code: [
      OP.local_get,
      1,
      OP.local_get,
      2,
      OP.local_get,
      0,
      OP.call_indirect,
      builder.typeIndex(MAIN_TYPE),
      0,
    ],
  });
  const callback = builder.addFunction({
    params: ["i32", "i32"],
    results: [],
    locals: [],
    code: [OP.local_get, 1, OP.local_get, 0, OP.call_indirect, builder.typeIndex(CALLBACK_TYPE), 0],
  });
  const repeat = builder.addFunction({
    params: ["i32", "i32", "i32", "i32"],
    results: ["i32"],
    locals: [],
    code: [
      OP.local_get,
      1,
      OP.local_get,
      2,
      OP.local_get,
      3,
      OP.local_get,
      0,
      OP.call_indirect,
      builder.typeIndex(REPEAT_TYPE),
      0,
    ],
  });
  builder.export("repeat", "function", repeat);
  builder.export("run", "function", run);
  builder.export("callback", "function", callback);
  return builder.build();
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
