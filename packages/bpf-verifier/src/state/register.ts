/**
 * What one register or spilled slot holds: a kind, flags, and for pointers where in the object they point.
 *
 * A `Register` never changes once it is in a state; `with` makes a changed copy. States share registers freely. For a scalar
 * `scalar` is the number, for a pointer the variable part of its offset, `off` the fixed part. The names of kinds are those
 * that Linux prints (reg_type_str() in kernel/bpf/log.c).
 */
import type { Btf } from "@alien-ts/btf";
import type { MapInfo } from "../env.ts";
import { SCALAR_UNKNOWN, SCALAR_ZERO, scalarConst, scalarOfWords } from "../scalar/scalar.ts";
import type { Scalar } from "../scalar/scalar.ts";

export type RegisterKind =
  | "?"
  | "scalar"
  | "ctx"
  | "map_ptr"
  | "map_value"
  | "map_key"
  | "fp"
  | "pkt"
  | "pkt_meta"
  | "pkt_end"
  | "flow_keys"
  | "sock"
  | "sock_common"
  | "tcp_sock"
  | "tp_buffer"
  | "xdp_sock"
  | "ptr_"
  | "mem"
  | "arena"
  | "buf"
  | "func"
  | "dynptr_ptr";

/** Bits of `flags` (`enum bpf_type_flag`). */
export const FLAG = {
  MAYBE_NULL: 1,
  RDONLY: 2,
  RINGBUF: 4,
  USER: 8,
  PERCPU: 16,
  RCU: 32,
  UNTRUSTED: 64,
  TRUSTED: 128,
  /** An object of the program's own types (bpf_obj_new()). */
  ALLOC: 256,
  /** A node of a list or tree that the program does not own. */
  NON_OWN_REF: 512,
  /** Slices of dynptrs, by what these are over. */
  DYNPTR_SKB: 1024,
  DYNPTR_XDP: 2048,
  DYNPTR_LOCAL: 4096,
  DYNPTR_RINGBUF: 8192,
  DYNPTR_SKB_META: 16384,
} as const;
export const DYNPTR_FLAGS =
  FLAG.DYNPTR_SKB | FLAG.DYNPTR_XDP | FLAG.DYNPTR_LOCAL | FLAG.DYNPTR_RINGBUF | FLAG.DYNPTR_SKB_META;

export type DynptrKind = "local" | "ringbuf" | "skb" | "xdp" | "skb_meta";
/** The flag of slices of a kind of dynptr. Linux: get_dynptr_type_flag() */
export const DYNPTR_FLAG: Record<DynptrKind, number> = {
  local: FLAG.DYNPTR_LOCAL,
  ringbuf: FLAG.DYNPTR_RINGBUF,
  skb: FLAG.DYNPTR_SKB,
  xdp: FLAG.DYNPTR_XDP,
  skb_meta: FLAG.DYNPTR_SKB_META,
};

export interface IteratorState {
  /** Type name after `bpf_iter_`. */
  readonly name: string;
  readonly state: "active" | "drained";
  readonly depth: number;
}

interface Fields {
  kind: RegisterKind;
  flags: number;
  scalar: Scalar;
  /** Fixed offset of a pointer; of a scalar with `hasDelta`, its distance to the others of its id. */
  off: number;
  /** Joins copies of one unknown: values that must be equal, or null together. 0: none. */
  id: number;
  hasDelta: boolean;
  /** Bits of the addition that made the distance. */
  deltaBits: 32 | 64;
  /** The reference that must be released; 0: none. */
  refId: number;
  /** The frame that a stack pointer points into. */
  frame: number;
  /** Bytes known to be inside the packet, from its start; -1 and -2 mark ends that were compared. */
  range: number;
  map: MapInfo | undefined;
  /** Tells inner maps of one outer map apart. */
  mapUid: number;
  memSize: number;
  btf: Btf | undefined;
  btfId: number;
  dynptr: DynptrKind | undefined;
  isFirstSlot: boolean;
  /** Of a slice: the dynptr that it came from. */
  dynptrId: number;
  iterator: IteratorState | undefined;
  /** Of saved interrupt flags: what saved them. */
  savedBy: "native" | "lock" | undefined;
  /** Of a function pointer. */
  subprogram: number;
  /** The exact value decided something: states that differ in it are different. */
  isPrecise: boolean;
}

export class Register {
  readonly kind: RegisterKind;
  readonly flags: number;
  readonly scalar: Scalar;
  readonly off: number;
  readonly id: number;
  readonly hasDelta: boolean;
  readonly deltaBits: 32 | 64;
  readonly refId: number;
  readonly frame: number;
  readonly range: number;
  readonly map: MapInfo | undefined;
  readonly mapUid: number;
  readonly memSize: number;
  readonly btf: Btf | undefined;
  readonly btfId: number;
  readonly dynptr: DynptrKind | undefined;
  readonly isFirstSlot: boolean;
  readonly dynptrId: number;
  readonly iterator: IteratorState | undefined;
  readonly savedBy: "native" | "lock" | undefined;
  readonly subprogram: number;
  readonly isPrecise: boolean;

  constructor(from: Readonly<Fields>, scalar = from.scalar, isPrecise = from.isPrecise, off = from.off) {
    this.kind = from.kind;
    this.flags = from.flags;
    this.scalar = scalar;
    this.off = off;
    this.id = from.id;
    this.hasDelta = from.hasDelta;
    this.deltaBits = from.deltaBits;
    this.refId = from.refId;
    this.frame = from.frame;
    this.range = from.range;
    this.map = from.map;
    this.mapUid = from.mapUid;
    this.memSize = from.memSize;
    this.btf = from.btf;
    this.btfId = from.btfId;
    this.dynptr = from.dynptr;
    this.isFirstSlot = from.isFirstSlot;
    this.dynptrId = from.dynptrId;
    this.iterator = from.iterator;
    this.savedBy = from.savedBy;
    this.subprogram = from.subprogram;
    this.isPrecise = isPrecise;
  }

  with(changes: Partial<Readonly<Fields>>): Register {
    return Object.assign(new Register(this), changes);
  }

  /** What most instructions change, without the detour over a list of changes. */
  withScalar(scalar: Scalar): Register {
    return scalar === this.scalar ? this : new Register(this, scalar);
  }
  withOffset(off: number): Register {
    return new Register(this, this.scalar, this.isPrecise, off);
  }
  withPrecision(isPrecise: boolean): Register {
    return isPrecise === this.isPrecise ? this : new Register(this, this.scalar, isPrecise);
  }

  get isScalar(): boolean {
    return this.kind === "scalar";
  }
  get isPointer(): boolean {
    return this.kind !== "scalar" && this.kind !== "?";
  }
  get isMaybeNull(): boolean {
    return (this.flags & FLAG.MAYBE_NULL) !== 0;
  }
  has(flag: number): boolean {
    return (this.flags & flag) !== 0;
  }
  /** The scalar 0, or a NULL pointer. */
  get isNull(): boolean {
    return this.kind === "scalar" && this.scalar.isZero;
  }
  get isPacket(): boolean {
    return this.kind === "pkt" || this.kind === "pkt_meta";
  }
}

const NONE: Fields = {
  kind: "?",
  flags: 0,
  scalar: SCALAR_UNKNOWN,
  off: 0,
  id: 0,
  hasDelta: false,
  deltaBits: 64,
  refId: 0,
  frame: 0,
  range: 0,
  map: undefined,
  mapUid: 0,
  memSize: 0,
  btf: undefined,
  btfId: 0,
  dynptr: undefined,
  isFirstSlot: false,
  dynptrId: 0,
  iterator: undefined,
  savedBy: undefined,
  subprogram: 0,
  isPrecise: false,
};

export const NOT_INIT = new Register(NONE);
const SCALAR_REGISTER = new Register({ ...NONE, kind: "scalar" });
export const UNKNOWN = SCALAR_REGISTER;

export const scalarRegister = (scalar: Scalar): Register => SCALAR_REGISTER.withScalar(scalar);
export const constRegister = (value: bigint): Register => scalarRegister(scalarConst(value));

const SMALL: Register[] = [];
/** The register of a 32-bit number, sign extended. Those of small numbers are made once. */
export function smallRegister(value: number): Register {
  if (value < -64 || value > 255) return scalarRegister(scalarOfWords(value >> 31, value));
  return (SMALL[value + 64] ??= scalarRegister(scalarOfWords(value >> 31, value)));
}
export const NULL_REGISTER = scalarRegister(SCALAR_ZERO);

const POINTER = new Register({ ...NONE, scalar: SCALAR_ZERO });
/** A pointer to the start of an object. */
export const pointer = (kind: RegisterKind, fields: Partial<Readonly<Fields>> = {}): Register =>
  POINTER.with({ kind, ...fields });

/** How Linux names the type in messages: "map_value_or_null", "rdonly_mem", "trusted_ptr_". */
export function kindName({ kind, flags }: { readonly kind: RegisterKind; readonly flags: number }): string {
  let prefix = "";
  for (const [flag, word] of PREFIXES) if ((flags & flag) !== 0) prefix += word;
  const suffix = (flags & FLAG.MAYBE_NULL) === 0 ? "" : kind === "ptr_" ? "or_null_" : "_or_null";
  return `${prefix}${kind}${suffix}`;
}

const PREFIXES: readonly (readonly [number, string])[] = [
  [FLAG.RDONLY, "rdonly_"],
  [FLAG.RINGBUF, "ringbuf_"],
  [FLAG.USER, "user_"],
  [FLAG.PERCPU, "percpu_"],
  [FLAG.RCU, "rcu_"],
  [FLAG.UNTRUSTED, "untrusted_"],
  [FLAG.TRUSTED, "trusted_"],
];
