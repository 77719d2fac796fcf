/**
 * What the JIT is told about a program and its surroundings: `CompileOptions`, fast helpers, the shapes of maps.
 *
 * A helper without a row here is called through the machine, as in the interpreter: correct, and about twice as slow.
 */
import type { KAddr } from "@alien-ts/abi";

export interface CompileOptions {
  /**
   * "all" validates every access as the checked interpreter does, for programs that no verifier has seen. "none" trusts the
   * program, except for the loads that it was prepared to distrust (`PrepareOptions.isUntrusted`).
   */
  readonly checks: "all" | "none";
  /** Whether each turn of a loop and each call costs fuel: a unit, and one more for every 16 instructions. Without it, programs must end by themselves. */
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
  | MapHelper
  | LoopHelper
  | RingCommit
  /** A helper without arguments whose result stands in memory: a clock, the current task's ids. */
  | { readonly kind: "load_u64"; readonly address: KAddr }
  /** `long probe_read_kernel(dst, size, src)`. */
  | { readonly kind: "probe_read" };

/**
 * A helper that is WebAssembly for the maps that `CompileOptions.mapAt` describes, in programs that are trusted:
 * `void *map_lookup_elem(map, key)`, `long map_update_elem(map, key, value, flags)`, `long map_delete_elem(map, key)`,
 * `void *ringbuf_reserve(ring, size, flags)`. Lookups of checked programs are too, but for long keys.
 */
export interface MapHelper {
  readonly kind: "map_lookup" | "map_update" | "map_delete" | "ring_reserve";
  /** How it is called for other maps, and where the shape does not say what to do; through the machine by default. */
  readonly otherwise?: TypedHelper;
}

/** `long loop(count, function, context, flags)`, for functions that are known and programs that are trusted. */
export interface LoopHelper {
  readonly kind: "loop";
}

/** `void ringbuf_submit(record, flags)` and `ringbuf_discard`, but for those that must wake a reader. */
export interface RingCommit {
  readonly kind: "ring_submit" | "ring_discard";
  readonly layout: RingLayout;
  readonly otherwise?: TypedHelper;
}

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

export type MapShape = ArrayShape | HashShape | RingShape;

/** Values one after the other; the key is a u32 index. */
export interface ArrayShape {
  readonly kind: "array";
  readonly values: KAddr;
  /** Bytes from a value to the next. */
  readonly stride: number;
  readonly maxEntries: number;
  /** What an update copies; without it only lookups are WebAssembly. */
  readonly valueBytes?: number;
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
  /** What updates and deletions need; without it only lookups are WebAssembly. */
  readonly writes?: HashWrites;
}

/**
 * How a hash map is written: an update puts a new element in front of its bucket, and takes the key's old one out after that;
 * deleted elements become the first free one. Addresses are those of words.
 */
export interface HashWrites {
  /** The first free link; `HASH_LINK.next` leads to the others. An update that needs one where there is none is a call. */
  readonly free: KAddr;
  /** The link that the next update of an existing key takes, leaving the old one there; without it the old one is freed. */
  readonly spare?: KAddr;
  /** How many elements there are, at most `maxEntries`. */
  readonly count: KAddr;
  readonly maxEntries: number;
  readonly valueBytes: number;
}

/** A BPF ring buffer whose records never wrap: where one would, the call decides what to do. */
export interface RingShape {
  readonly kind: "ring";
  /** A multiple of the page size. */
  readonly base: KAddr;
  /** Of the data: a power of two. */
  readonly sizeBytes: number;
  readonly layout: RingLayout;
}

/**
 * Where a ring keeps what, from its base. Positions are u64 and count bytes since the ring was made. A record has a header of two
 * words: its size with the bits of `RING_RECORD`, and the page that the header is in, from the base.
 */
export interface RingLayout {
  readonly consumer: number;
  readonly producer: number;
  /** The position of the oldest record that is not committed, or one before it: calls move it on. */
  readonly pending: number;
  /** A word: the size of the data less one. */
  readonly mask: number;
  /** A multiple of the page size. */
  readonly data: number;
}

/** BPF_RINGBUF_BUSY_BIT, BPF_RINGBUF_DISCARD_BIT, BPF_RINGBUF_HDR_SZ. */
export const RING_RECORD = { busy: 0x8000_0000 | 0, discarded: 0x4000_0000, headerBytes: 8 } as const;

/** Words of a hash link: the next link, the hash of the key, the address of key and value. */
export const HASH_LINK = { next: 0, hash: 4, data: 8 } as const;

/** BPF_MAX_LOOPS */
export const MAX_LOOPS = 8 << 20;

/** The constants of MurmurHash3 for 32 bits (Austin Appleby, public domain), by which hash maps hash their keys. */
export const MURMUR = {
  c1: 0xcc9e_2d51 | 0,
  c2: 0x1b87_3593,
  add: 0xe654_6b64 | 0,
  final1: 0x85eb_ca6b | 0,
  final2: 0xc2b2_ae35 | 0,
} as const;
