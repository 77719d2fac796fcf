/**
 * The few parts of the host's `WebAssembly` object that the JIT uses, as interfaces: an app passes the object in, so that this
 * package names no global and runs the same in Node and in a worker.
 */

export interface WasmInstance {
  readonly exports: Readonly<Record<string, unknown>>;
}

export interface WasmMemory {
  readonly buffer: ArrayBufferLike;
}

export interface WasmTable {
  readonly length: number;
  grow(delta: number): number;
  set(index: number, value: unknown): void;
}

/** `WebAssembly`, as far as it is used. */
export interface WasmApi {
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object, imports: Record<string, Record<string, unknown>>) => WasmInstance;
  readonly Table: new (descriptor: { element: "anyfunc"; initial: number }) => WasmTable;
  /** What a trap throws. */
  readonly RuntimeError: new (message?: string) => Error;
  /** What an engine throws for a module beyond its limits. */
  readonly CompileError: new (message?: string) => Error;
  validate(bytes: Uint8Array): boolean;
}

/** The `WebAssembly` of a host that gives memories too. */
export interface WasmHost extends WasmApi {
  readonly Memory: new (limits: { initial: number; maximum?: number }) => WasmMemory & {
    readonly buffer: ArrayBuffer;
  };
}
