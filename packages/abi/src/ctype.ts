/**
 * C types: the one object that knows how a value of a type is written in memory, passed in a register and spelled in C.
 *
 * A type has three faces. *Memory*: `define` makes an accessor at an offset (a literal per kind, so that every getter is
 * monomorphic: measured 5 ns against 24 ns through a shared `read`). *Register*: `lo`, `hi` and `fromReg` convert between a
 * value and the two 32-bit words of a register, extended as the riscv64 ABI says (values below 64 bits are sign-extended
 * from 32 bits, u32 included). *C*: its spelling, for BTF, formats and manuals.
 */
import type { KAddr, LinearMemory, UAddr } from "./memory.ts";

/** What an accessor made by `define` finds in `this`. */
export interface ViewBase {
  readonly m: LinearMemory;
  readonly addr: KAddr;
}

export type Accessor = PropertyDescriptor & ThisType<ViewBase>;

export type PointerTag = "rcu" | "percpu";

export type CKind = "int" | "float" | "ptr" | "userptr" | "array" | "struct" | "void";

export interface CType<T = unknown> {
  readonly kind: CKind;
  /** C spelling: "unsigned int", "struct task_struct *". */
  readonly c: string;
  readonly size: number;
  readonly align: number;
  readonly signed: boolean;
  /** Pointers: the pointee's C spelling; arrays: the element's type and count. */
  readonly target?: string;
  /** Pointers: how the pointee is to be accessed (`__rcu`, `__percpu`), which BTF tells. */
  readonly tag?: PointerTag;
  readonly element?: CType;
  readonly length?: number;
  define(at: number): Accessor;
  lo(value: T): number;
  hi(value: T): number;
  fromReg(lo: number, hi: number, m: LinearMemory): T;
}

export type ValueOf<C> = C extends CType<infer T> ? T : never;

const extend = (lo: number): number => lo >> 31;

function int(c: string, size: 1 | 2 | 4, signed: boolean, define: (at: number) => Accessor): CType<number> {
  const bits = size * 8;
  const narrow = (v: number): number =>
    signed ? (v << (32 - bits)) >> (32 - bits) : size === 4 ? v >>> 0 : v & ((1 << bits) - 1);
  return {
    kind: "int",
    c,
    size,
    align: size,
    signed,
    define,
    lo: (v) => narrow(v) | 0,
    hi: (v) => extend(narrow(v) | 0),
    fromReg: (lo) => narrow(lo),
  };
}

/** An 8-bit unsigned integer. */
export const u8: CType<number> = int("u8", 1, false, (at) => ({
  get() {
    return this.m.u8[this.addr + at]!;
  },
  set(v: number) {
    this.m.u8[this.addr + at] = v;
  },
}));
export const s8: CType<number> = int("s8", 1, true, (at) => ({
  get() {
    return this.m.dv.getInt8(this.addr + at);
  },
  set(v: number) {
    this.m.dv.setInt8(this.addr + at, v);
  },
}));
export const u16: CType<number> = int("u16", 2, false, (at) => ({
  get() {
    return this.m.dv.getUint16(this.addr + at, true);
  },
  set(v: number) {
    this.m.dv.setUint16(this.addr + at, v, true);
  },
}));
export const s16: CType<number> = int("s16", 2, true, (at) => ({
  get() {
    return this.m.dv.getInt16(this.addr + at, true);
  },
  set(v: number) {
    this.m.dv.setInt16(this.addr + at, v, true);
  },
}));
export const u32: CType<number> = int("unsigned int", 4, false, (at) => ({
  get() {
    return this.m.dv.getUint32(this.addr + at, true);
  },
  set(v: number) {
    this.m.dv.setUint32(this.addr + at, v, true);
  },
}));
export const s32: CType<number> = int("int", 4, true, (at) => ({
  get() {
    return this.m.dv.getInt32(this.addr + at, true);
  },
  set(v: number) {
    this.m.dv.setInt32(this.addr + at, v, true);
  },
}));
/** An int whose value is 0 or 1 (C's bool). */
export const bool: CType<boolean> = {
  kind: "int",
  c: "bool",
  size: 1,
  align: 1,
  signed: false,
  define: (at) => ({
    get() {
      return this.m.u8[this.addr + at] !== 0;
    },
    set(v: boolean) {
      this.m.u8[this.addr + at] = v ? 1 : 0;
    },
  }),
  lo: (v) => (v ? 1 : 0),
  hi: () => 0,
  fromReg: (lo) => (lo & 0xff) !== 0,
};

/** An opaque 64-bit value. */
export const u64: CType<bigint> = wide("u64", false, (at) => ({
  get() {
    return this.m.dv.getBigUint64(this.addr + at, true);
  },
  set(v: bigint) {
    this.m.dv.setBigUint64(this.addr + at, v, true);
  },
}));
export const s64: CType<bigint> = wide("s64", true, (at) => ({
  get() {
    return this.m.dv.getBigInt64(this.addr + at, true);
  },
  set(v: bigint) {
    this.m.dv.setBigInt64(this.addr + at, v, true);
  },
}));

function wide(c: string, signed: boolean, define: (at: number) => Accessor): CType<bigint> {
  return {
    kind: "int",
    c,
    size: 8,
    align: 8,
    signed,
    define,
    lo: (v) => Number(BigInt.asIntN(32, v)),
    hi: (v) => Number(BigInt.asIntN(32, v >> 32n)),
    fromReg: (lo, hi) => {
      const bits = (BigInt(hi >>> 0) << 32n) | BigInt(lo >>> 0);
      return signed ? BigInt.asIntN(64, bits) : bits;
    },
  };
}

const TWO_32 = 0x1_0000_0000;

/** High word of an integer of up to 53 bits. */
export const hiWord = (v: number): number => Math.floor(v / TWO_32) | 0;
/** A signed 53-bit integer from its words; exact when |value| < 2^53. */
export const fromWords = (lo: number, hi: number): number => hi * TWO_32 + (lo >>> 0);

function number64(c: string, signed: boolean): CType<number> {
  const join = signed ? fromWords : (lo: number, hi: number): number => (hi >>> 0) * TWO_32 + (lo >>> 0);
  return {
    kind: "int",
    c,
    size: 8,
    align: 8,
    signed,
    define: (at) => ({
      get() {
        return join(this.m.dv.getInt32(this.addr + at, true), this.m.dv.getInt32(this.addr + at + 4, true));
      },
      set(v: number) {
        this.m.dv.setInt32(this.addr + at, v | 0, true);
        this.m.dv.setInt32(this.addr + at + 4, hiWord(v), true);
      },
    }),
    lo: (v) => lowWord(v),
    hi: (v) => hiWord(v),
    fromReg: (lo, hi) => join(lo, hi),
  };
}

/** Low word of an integer of up to 53 bits (ToInt32 is exact for them). */
export const lowWord = (v: number): number => v | 0;

/** Sizes, offsets and times: 64 bits wide in memory, a `number` in code, exact to 2^53. */
export const size_t: CType<number> = number64("size_t", false);
export const ssize_t: CType<number> = number64("ssize_t", true);
export const loff_t: CType<number> = number64("loff_t", true);
/** `unsigned long` and `long`: values that a guest may choose freely; exact below 2^53, rounded above. */
export const ulong: CType<number> = number64("unsigned long", false);
export const long: CType<number> = number64("long", true);
/** Nanoseconds or other counters that stay below 2^53. */
export const u64n: CType<number> = number64("u64", false);
export const s64n: CType<number> = number64("s64", true);

/** A type under another C name: `named("pid_t", s32)`. */
export const named = <T>(c: string, type: CType<T>): CType<T> => ({ ...type, c });

/** A pointer into kernel memory: reads and writes the low word, and keeps the high word that of the direct map. */
export function ptr(target: string, tag?: PointerTag): CType<KAddr> {
  return {
    kind: "ptr",
    c: `${spell(target)} *`,
    target,
    ...(tag === undefined ? {} : { tag }),
    size: 8,
    align: 8,
    signed: false,
    define: (at) => ({
      get() {
        const hi = this.m.dv.getUint32(this.addr + at + 4, true);
        if (hi !== this.m.baseHi && hi !== 0)
          throw new Error(`bad kernel pointer, high word 0x${hi.toString(16)}`);
        return this.m.dv.getUint32(this.addr + at, true);
      },
      set(v: KAddr) {
        this.m.dv.setUint32(this.addr + at, v, true);
        this.m.dv.setUint32(this.addr + at + 4, v === 0 ? 0 : this.m.baseHi, true);
      },
    }),
    lo: (v) => v | 0,
    hi: () => 0,
    fromReg: (lo) => lo >>> 0,
  };
}

const PRIMITIVE =
  /^(void|char|int|unsigned|long|short|u8|u16|u32|u64|s8|s16|s32|s64|loff_t|size_t|const|pid_t|struct |union )/;
const spell = (target: string): string => (PRIMITIVE.test(target) ? target : `struct ${target}`);

/** A pointer into the user's address space (`char *` with __user). Below 2^47; larger values are kept and fault on use. */
export function userPtr(target: string): CType<UAddr> {
  return { ...number64(`${spell(target)} *`, false), kind: "userptr", target };
}

/** A C string in an array of `length` bytes: NUL-padded, cut at length - 1. */
export function chars(length: number): CType<string> {
  return {
    kind: "array",
    c: "char",
    element: s8,
    length,
    size: length,
    align: 1,
    signed: true,
    define: (at) => ({
      get() {
        let text = "";
        for (let i = 0; i < length; i++) {
          const byte = this.m.u8[this.addr + at + i]!;
          if (byte === 0) break;
          text += String.fromCharCode(byte);
        }
        return text;
      },
      set(v: string) {
        for (let i = 0; i < length; i++)
          this.m.u8[this.addr + at + i] = i < length - 1 && i < v.length ? v.charCodeAt(i) : 0;
      },
    }),
    ...aggregate("char array"),
  };
}

/** `length` bytes, read as the memory itself. */
export function bytes(length: number): CType<Uint8Array> {
  return {
    kind: "array",
    c: "u8",
    element: u8,
    length,
    size: length,
    align: 1,
    signed: false,
    define: (at) => ({
      get() {
        return this.m.bytes(this.addr + at, length);
      },
      set(v: Uint8Array) {
        this.m.u8.set(v.subarray(0, length), this.addr + at);
      },
    }),
    ...aggregate("byte array"),
  };
}

/** An array field: read as an indexable view. */
export interface ArrayView<T> {
  readonly length: number;
  get(index: number): T;
  set(index: number, value: T): void;
}

export function array<T>(element: CType<T>, length: number): CType<ArrayView<T>> {
  return {
    kind: "array",
    c: element.c,
    element,
    length,
    size: element.size * length,
    align: element.align,
    signed: element.signed,
    define: (at) => ({
      get() {
        return new ElementsView<T>(this.m, this.addr + at, element, length);
      },
    }),
    ...aggregate("array"),
  };
}

class ElementsView<T> implements ArrayView<T> {
  readonly length: number;
  readonly #m: LinearMemory;
  readonly #at: KAddr;
  readonly #type: CType<T>;
  readonly #accessor: { get?: () => unknown; set?: (v: unknown) => void };
  constructor(m: LinearMemory, at: KAddr, type: CType<T>, length: number) {
    this.#m = m;
    this.#at = at;
    this.#type = type;
    this.length = length;
    this.#accessor = type.define(0) as { get?: () => unknown; set?: (v: unknown) => void };
  }
  get(index: number): T {
    return this.#accessor.get?.call(this.#element(index)) as T;
  }
  set(index: number, value: T): void {
    this.#accessor.set?.call(this.#element(index), value);
  }
  #element(index: number): ViewBase {
    if (index < 0 || index >= this.length) throw new RangeError(`index ${index} of ${this.length}`);
    return { m: this.#m, addr: this.#at + index * this.#type.size };
  }
}

const aggregate = (what: string): Pick<CType<never>, "lo" | "hi" | "fromReg"> => {
  const refuse = (): never => {
    throw new Error(`a ${what} is not passed in a register`);
  };
  return { lo: refuse, hi: refuse, fromReg: refuse };
};

export const notInRegister = aggregate;
