/**
 * `compileModule`: prepared BPF programs as the bytes of a WebAssembly module.
 *
 * The module imports memory, `vm` functions and helpers (module-context.ts), and exports of each program, by its prefix and a number:
 * 0 the entry, 1 a function that repeats it, then those that helpers may call. Functions are emitted when the first call of them has
 * been; what is inlined everywhere is never emitted.
 */
import { BLOCK_VOID, ByteWriter, OP } from "@alien-ts/wasm-encoder";
import { Emitter } from "./emitter.ts";
import { FunctionCompiler } from "./function.ts";
import type { Shape } from "./function.ts";
import type { BpfFunction, FunctionTable } from "./functions.ts";
import { addCheckFunction } from "./memory.ts";
import { ModuleContext, REPEAT_TYPE, SharedModule } from "./module-context.ts";
import type { ProgramRequest } from "./module-context.ts";
import type { TypedHelper, WasmHelper } from "./options.ts";

/** What one program of a module imports. */
export interface ProgramImports {
  /** In front of the names of its imports and exports. */
  readonly prefix: string;
  /** Indices into `program.calls` that it imports as `calls`. */
  readonly machineCalls: readonly number[];
  /** Helpers that it imports as `typed`, by id. */
  readonly typed: ReadonlyMap<number, TypedHelper | WasmHelper>;
}

export interface CompiledModule {
  readonly bytes: Uint8Array;
  /** In the order of the programs. */
  readonly programs: readonly ProgramImports[];
}

/** Entries of the functions that helpers may call, in the order of their table slots. */
export function callbacksOf(functions: FunctionTable): number[] {
  return [...functions.byEntry.values()].filter(({ isCallback }) => isCallback).map(({ entry }) => entry);
}

export function compileModule(requests: readonly ProgramRequest[]): CompiledModule {
  const shared = new SharedModule(requests);
  const modules = requests.map((request) => new ModuleContext(shared, request));
  modules.forEach((module, i) => defineProgram(module, requests[i]!));
  const programs = modules.map((module) => ({
    prefix: module.prefix,
    machineCalls: module.machineCalls(),
    typed: module.typed,
  }));
  return { bytes: shared.builder.build(), programs };
}

function defineProgram(module: ModuleContext, { functions }: ProgramRequest): void {
  if (module.isChecked) defineCheck(module);
  const main = define(module, functions.byEntry.get(0)!, "main");
  const entries = [
    main,
    addRepeat(module, main),
    ...callbacksOf(functions).map((entry) => define(module, functions.byEntry.get(entry)!, "callback")),
  ];
  entries.forEach((index, i) => module.builder.export(`${module.prefix}${i}`, "function", index));
  for (let next = module.pending.pop(); next !== undefined; next = module.pending.pop()) {
    define(module, next.function, "function", next.index);
  }
}

/**
 * Adds `(context, stackTop, count) -> r0`, which runs the program `count` times. It stands in the program's module,
 * because a call within a module is half as dear as one through the table.
 */
function addRepeat({ builder }: ModuleContext, main: number): number {
  const [context, stackTop, count, result] = [0, 1, 2, 3];
  const code = new ByteWriter()
    .append([OP.loop, BLOCK_VOID, OP.local_get, context, OP.local_get, stackTop, OP.call])
    .u32(main)
    .append([OP.local_set, result, OP.local_get, count, OP.i32_const, 1, OP.i32_sub, OP.local_tee, count])
    .append([OP.br_if, 0, OP.end, OP.local_get, result])
    .bytes();
  return builder.addFunction({ ...REPEAT_TYPE, locals: ["i64"], code });
}

function define(module: ModuleContext, compiled: BpfFunction, shape: Shape, index?: number): number {
  const compiler = new FunctionCompiler(module, compiled, shape);
  compiler.compile();
  const number = index ?? module.builder.declareFunction(compiler.type);
  module.builder.defineFunction(number, { locals: compiler.e.locals, code: compiler.e.out.bytes() });
  return number;
}

function defineCheck(module: ModuleContext): void {
  const e = new Emitter(4, module.program.constants, module.target.high);
  const index = module.builder.declareFunction({ params: ["i64", "i32", "i32", "i32"], results: ["i32"] });
  module.checkIndex = index;
  addCheckFunction(module, e);
  module.builder.defineFunction(index, { locals: e.locals, code: e.out.bytes() });
}
