/**
 * What the JIT is told about a program and its surroundings: `CompileOptions`, fast helpers, the shapes of maps.
 *
 * A helper without a row here is called through the machine, as in the interpreter: correct, and about twice as slow.
 */
import type { KAddr } from "@alien-ts/abi";

export interface CompileOptions {
  /**
   * "all" validates every access as the checked interpreter does, for programs that no verifier has seen. "none" trusts the
   * program, except for the loads that `isUntrusted` names.
   */
  readonly checks: "all" | "none";
  /** Whether the load at `slot` follows a pointer that may be bad (BTF pointers): it then reads 0 instead of faulting. */
  readonly isUntrusted?: (slot: number) => boolean;
  /** Whether each turn of a loop and each call costs a unit of the run's fuel. Without it, programs must end by themselves. */
  readonly hasFuel: boolean;
  /**
   * How helper `id` is called without the machine. JavaScript and WebAssembly helpers of a program with all checks must not
   * follow pointers: nothing has checked them.
   */
  readonly helper?: (id: number) => FastHelper | undefined;
  /** The map whose address a wide load put into r1. */
  readonly mapAt?: (address: KAddr) => MapShape | undefined;
  /** Arguments that helper `id` reads; five where it does not say. */
  readonly argumentCount?: (id: number) => number;
}

export type FastHelper =
  | TypedHelper
  | WasmHelper
  /** `void *map_lookup_elem(map, key)`: inlined or specialised where the map is known, else called through the machine. */
  | { readonly kind: "map_lookup" }
  /** A helper without arguments whose result stands in memory: a clock, the current task's ids. */
  | { readonly kind: "load_u64"; readonly address: KAddr }
  /** `long probe_read_kernel(dst, size, src)`. */
  | { readonly kind: "probe_read" };

/** A JavaScript function called with numbers, by its prototype. */
export interface TypedHelper {
  readonly kind: "typed";
  /** Low words of r1, r2, …; a u64 is two arguments, low and high. */
  readonly params: readonly ("u32" | "u64")[];
  /** A pointer is 0 for NULL. Of a u64 the low word is returned, and the high word left at `Jit.resultHigh`. */
  readonly result: "u32" | "s32" | "pointer" | "u64" | "none";
  readonly call: (...args: number[]) => number | void;
}

/** An exported function of a WebAssembly instance, with i64 parameters: called at a third of what JavaScript costs. */
export interface WasmHelper {
  readonly kind: "wasm";
  /** How many of r1 to r5 it takes. */
  readonly params: number;
  /** Its result is an i64, r0. */
  readonly function: unknown;
}

export type MapShape = ArrayShape | HashShape;

/** Values one after the other; the key is a u32 index. */
export interface ArrayShape {
  readonly kind: "array";
  readonly values: KAddr;
  /** Bytes from a value to the next. */
  readonly stride: number;
  readonly maxEntries: number;
}

/** Buckets of linked elements: a bucket is the address of its first link, or 0. */
export interface HashShape {
  readonly kind: "hash";
  readonly buckets: KAddr;
  /** A power of two. */
  readonly bucketCount: number;
  readonly seed: number;
  /** A multiple of 4, at most 64; others are looked up through the machine. */
  readonly keyBytes: number;
  /** From an element's data to its value. */
  readonly valueOffset: number;
}

/** Words of a hash link: the next link, the hash of the key, the address of key and value. */
export const HASH_LINK = { next: 0, hash: 4, data: 8 } as const;

/** The constants of MurmurHash3 for 32 bits (Austin Appleby, public domain), by which hash maps hash their keys. */
export const MURMUR = {
  c1: 0xcc9e_2d51 | 0,
  c2: 0x1b87_3593,
  add: 0xe654_6b64 | 0,
  final1: 0x85eb_ca6b | 0,
  final2: 0xc2b2_ae35 | 0,
} as const;
