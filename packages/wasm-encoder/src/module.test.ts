import { expect, test } from "vitest";
import { ByteWriter } from "./bytes.ts";
import { ModuleBuilder } from "./module.ts";
import { OP } from "./op.ts";

type Call = (...args: (number | bigint)[]) => number | bigint | undefined;
interface WasmApi {
  Module: new (bytes: Uint8Array) => object;
  Instance: new (module: object, imports: object) => { exports: Record<string, Call> };
  Memory: new (limits: { initial: number }) => { buffer: ArrayBuffer };
}
const { Module, Instance, Memory } = (globalThis as unknown as { WebAssembly: WasmApi }).WebAssembly;

function instantiate(builder: ModuleBuilder, env: object = {}): Record<string, Call> {
  return new Instance(new Module(builder.build()), { env }).exports;
}

test("a function adds its parameters", () => {
  const builder = new ModuleBuilder();
  const code = [0x20, 0, 0x20, 1, 0x7c];
  const add = builder.addFunction({ params: ["i64", "i64"], results: ["i64"], locals: [], code });
  builder.export("add", "function", add);
  expect(instantiate(builder)["add"]!(0x7fff_ffff_ffff_ffffn, 1n)).toBe(-0x8000_0000_0000_0000n);
});

test("imported functions are numbered first, and locals are grouped", () => {
  const builder = new ModuleBuilder();
  const twice = builder.importFunction("env", "twice", { params: ["i32"], results: ["i32"] });
  const code = new ByteWriter().u8(0x20).u32(0).u8(0x10).u32(twice).u8(0x21).u32(3).u8(0x20).u32(3).bytes();
  const run = builder.addFunction({ params: ["i32"], results: ["i32"], locals: ["i64", "i64", "i32"], code });
  builder.export("run", "function", run);
  expect({ twice, run }).toEqual({ twice: 0, run: 1 });
  expect(instantiate(builder, { twice: (value: number) => value * 2 })["run"]!(21)).toBe(42);
});

test("an imported memory is read, a global counts", () => {
  const builder = new ModuleBuilder();
  builder.importMemory("env", "memory", { min: 1 });
  const count = builder.addGlobal(-5);
  const code = [0x23, count, 0x41, 1, 0x6a, 0x24, count, 0x41, 16, 0x28, 2, 0, 0x23, count, 0x6a];
  builder.export("peek", "function", builder.addFunction({ params: [], results: ["i32"], locals: [], code }));
  const memory = new Memory({ initial: 1 });
  new Int32Array(memory.buffer)[4] = 1000;
  const { peek } = instantiate(builder, { memory });
  expect([peek!(), peek!()]).toEqual([996, 997]);
});

test("a table dispatches indirect calls", () => {
  const builder = new ModuleBuilder();
  const type = { params: [], results: ["i32"] } as const;
  for (const value of [7, 300]) {
    const code = new ByteWriter().u8(0x41).s32(value).bytes();
    builder.export(`give${value}`, "function", builder.addFunction({ ...type, locals: [], code }));
  }
  builder.export("table", "table", builder.addTable({ min: 4, max: 4 }));
  const code = [0x20, 0, 0x11, builder.typeIndex(type), 0];
  builder.export(
    "call",
    "function",
    builder.addFunction({ params: ["i32"], results: ["i32"], locals: [], code }),
  );
  const { call, table, give7, give300 } = instantiate(builder);
  const slots = table as unknown as { set(slot: number, value: unknown): void };
  slots.set(2, give7);
  slots.set(3, give300);
  expect([call!(2), call!(3)]).toEqual([7, 300]);
  expect(() => call!(0)).toThrow("function");
});

test("an import after a function is a mistake", () => {
  const builder = new ModuleBuilder();
  builder.addFunction({ params: [], results: [], locals: [], code: [] });
  expect(() => builder.importFunction("env", "late", { params: [], results: [] })).toThrow(
    "comes after a function",
  );
});

test("functions can call each other before their bodies are known", () => {
  const builder = new ModuleBuilder();
  const type = { params: ["i32"], results: ["i32"] } as const;
  const [isEven, isOdd] = [builder.declareFunction(type), builder.declareFunction(type)];
  const body = (atZero: number, other: number): number[] => [
    OP.local_get,
    0,
    OP.i32_eqz,
    OP.if,
    0x7f,
    OP.i32_const,
    atZero,
    OP.else,
    OP.local_get,
    0,
    OP.i32_const,
    1,
    OP.i32_sub,
    OP.call,
    other,
    OP.end,
  ];
  builder.defineFunction(isOdd, { locals: [], code: body(0, isEven) });
  builder.defineFunction(isEven, { locals: [], code: body(1, isOdd) });
  builder.export("isEven", "function", isEven);
  const exports = instantiate(builder);
  expect([exports["isEven"]!(10), exports["isEven"]!(7)]).toEqual([1, 0]);
});
