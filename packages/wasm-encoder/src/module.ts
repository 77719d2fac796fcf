/**
 * `ModuleBuilder`: the sections of a WebAssembly module in their order (core spec, section 5.5).
 *
 * Functions are numbered imports first, so all imports are declared before the first function; `addFunction` gives the index
 * that calls use. Function bodies are instruction bytes without the final `end`. Nothing is validated here: the engine that
 * instantiates the module does.
 */
import { ByteWriter } from "./bytes.ts";

/** Value types. */
export const VALUE = { i32: 0x7f, i64: 0x7e, f32: 0x7d, f64: 0x7c, funcref: 0x70 } as const;
export type ValueType = keyof typeof VALUE;

export interface FunctionType {
  readonly params: readonly ValueType[];
  readonly results: readonly ValueType[];
}

/** Pages of 64 KiB for memories, elements for tables. */
export interface Limits {
  readonly min: number;
  readonly max?: number;
}

export interface FunctionBody extends FunctionType {
  /** Types of the locals after the parameters. */
  readonly locals: readonly ValueType[];
  readonly code: Uint8Array | readonly number[];
}

const SECTION = {
  type: 1,
  import: 2,
  function: 3,
  table: 4,
  global: 6,
  export: 7,
  code: 10,
} as const;
const KIND = { function: 0, table: 1, memory: 2, global: 3 } as const;
const END = 0x0b;

export class ModuleBuilder {
  private readonly types: string[] = [];
  private readonly typeBytes = new ByteWriter();
  private readonly imports = new Section();
  private readonly functions = new Section();
  private readonly tables = new Section();
  private readonly globals = new Section();
  private readonly exports = new Section();
  private readonly bodies: Uint8Array[] = [];
  private importedFunctions = 0;

  /** Index of a function type; equal types share one. */
  typeIndex({ params, results }: FunctionType): number {
    const key = `${params.join()}>${results.join()}`;
    const known = this.types.indexOf(key);
    if (known >= 0) return known;
    this.typeBytes.u8(0x60);
    for (const list of [params, results]) {
      this.typeBytes.u32(list.length).append(list.map((type) => VALUE[type]));
    }
    return this.types.push(key) - 1;
  }

  /** Index of the imported function. */
  importFunction(module: string, name: string, type: FunctionType): number {
    if (this.functions.count > 0) throw new Error(`import ${module}.${name} comes after a function`);
    this.imports.entry().name(module).name(name).u8(KIND.function).u32(this.typeIndex(type));
    return this.importedFunctions++;
  }

  importMemory(module: string, name: string, limits: Limits): void {
    writeLimits(this.imports.entry().name(module).name(name).u8(KIND.memory), limits);
  }

  importTable(module: string, name: string, limits: Limits): void {
    writeLimits(this.imports.entry().name(module).name(name).u8(KIND.table).u8(VALUE.funcref), limits);
  }

  /** Index of the function. */
  addFunction(body: FunctionBody): number {
    const index = this.declareFunction(body);
    this.defineFunction(index, body);
    return index;
  }

  /** Index of a function whose body comes later, so that others can call it: `defineFunction` before `build`. */
  declareFunction(type: FunctionType): number {
    this.functions.entry().u32(this.typeIndex(type));
    return this.importedFunctions + this.functions.count - 1;
  }

  defineFunction(index: number, { locals, code }: Pick<FunctionBody, "locals" | "code">): void {
    const bytes = new ByteWriter(code.length + 16);
    const runs = localRuns(locals);
    bytes.u32(runs.length);
    for (const { count, type } of runs) bytes.u32(count).u8(VALUE[type]);
    bytes.append(code).u8(END);
    this.bodies[index - this.importedFunctions] = bytes.bytes();
  }

  /** Index of a table of functions. */
  addTable(limits: Limits): number {
    writeLimits(this.tables.entry().u8(VALUE.funcref), limits);
    return this.tables.count - 1;
  }

  /** Index of a mutable i32 global. */
  addGlobal(initial: number): number {
    this.globals.entry().u8(VALUE.i32).u8(1).u8(0x41).s32(initial).u8(END);
    return this.globals.count - 1;
  }

  export(name: string, kind: keyof typeof KIND, index: number): void {
    this.exports.entry().name(name).u8(KIND[kind]).u32(index);
  }

  /** The module's bytes. */
  build(): Uint8Array {
    const module = new ByteWriter(256).append([0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00]);
    writeSection(module, SECTION.type, this.types.length, this.typeBytes);
    this.imports.write(module, SECTION.import);
    this.functions.write(module, SECTION.function);
    this.tables.write(module, SECTION.table);
    this.globals.write(module, SECTION.global);
    this.exports.write(module, SECTION.export);
    this.writeBodies(module);
    return module.bytes().slice();
  }

  private writeBodies(module: ByteWriter): void {
    const total = this.bodies.reduce((sum, { length }) => sum + length + 5, 0);
    const entries = new ByteWriter(total);
    for (const body of this.bodies) entries.u32(body.length).append(body);
    writeSection(module, SECTION.code, this.functions.count, entries);
  }
}

/** Entries of one section, counted. */
class Section {
  count = 0;
  private readonly bytes = new ByteWriter();

  /** Where the next entry is written. */
  entry(): ByteWriter {
    this.count += 1;
    return this.bytes;
  }

  write(module: ByteWriter, id: number): void {
    writeSection(module, id, this.count, this.bytes);
  }
}

function writeSection(module: ByteWriter, id: number, count: number, entries: ByteWriter): void {
  if (count === 0) return;
  const header = new ByteWriter(8).u32(count);
  module
    .u8(id)
    .u32(header.length + entries.length)
    .append(header.bytes())
    .append(entries.bytes());
}

function writeLimits(writer: ByteWriter, { min, max }: Limits): void {
  writer.u8(max === undefined ? 0 : 1).u32(min);
  if (max !== undefined) writer.u32(max);
}

function localRuns(locals: readonly ValueType[]): { count: number; type: ValueType }[] {
  const runs: { count: number; type: ValueType }[] = [];
  for (const type of locals) {
    const last = runs.at(-1);
    if (last?.type === type) last.count += 1;
    else runs.push({ count: 1, type });
  }
  return runs;
}
