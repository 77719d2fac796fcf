/**
 * Kinds of arguments and results: the words in which prototypes are written, parsed into rows.
 *
 * A kind says which registers may be passed (`accepts`), whether NULL may, and what the function does to the memory behind.
 * Linux: `enum bpf_arg_type`, compatible_reg_types[], `enum bpf_return_type`.
 */
import { FLAG } from "../state/register.ts";
import type { DynptrKind, RegisterKind } from "../state/register.ts";

/** A register type that an argument accepts: a kind with exactly these flags. */
export interface AcceptedType {
  readonly kind: RegisterKind;
  readonly flags: number;
}

export type ArgumentRole =
  | "any"
  | "ctx"
  | "map"
  | "key"
  | "value"
  | "memory"
  | "fixed memory"
  | "size"
  | "alloc size"
  | "spin lock"
  | "ringbuf memory"
  | "sock common"
  | "btf socket"
  | "btf"
  | "percpu"
  | "function"
  | "stack"
  | "string"
  | "timer"
  | "kptr"
  | "dynptr"
  | "kptr value";

export interface ArgumentKind {
  readonly role: ArgumentRole;
  readonly accepts: readonly AcceptedType[];
  readonly isNullable: boolean;
  readonly isZeroAllowed: boolean;
  /** The function writes the memory. */
  readonly isWritten: boolean;
  /** The memory need not be initialised. */
  readonly isUninitialised: boolean;
  readonly releases: boolean;
  /** Bytes of fixed memory. */
  readonly bytes: number;
  readonly mustBeAligned: boolean;
  /** Name of the kernel type of a BTF pointer. */
  readonly type: string | undefined;
  readonly dynptr: DynptrKind | undefined;
}

const type = (kind: RegisterKind, flags = 0): AcceptedType => ({ kind, flags });

const CTX = [type("ctx")];
const MEMORY = [
  type("fp"),
  type("pkt"),
  type("pkt_meta"),
  type("map_key"),
  type("map_value"),
  type("mem"),
  type("mem", FLAG.RINGBUF),
  type("buf"),
  type("ptr_", FLAG.TRUSTED),
];
const BTF_SOCKET = [
  type("sock_common"),
  type("sock"),
  type("tcp_sock"),
  type("xdp_sock"),
  type("ptr_"),
  type("ptr_", FLAG.TRUSTED),
];
const BTF = [type("ptr_"), type("ptr_", FLAG.TRUSTED), type("ptr_", FLAG.RCU)];

const BASE: ArgumentKind = {
  role: "any",
  accepts: [],
  isNullable: false,
  isZeroAllowed: false,
  isWritten: false,
  isUninitialised: false,
  releases: false,
  bytes: 0,
  mustBeAligned: false,
  type: undefined,
  dynptr: undefined,
};

const WORDS: Record<string, Partial<ArgumentKind>> = {
  any: {},
  ctx: { role: "ctx", accepts: CTX },
  map: { role: "map", accepts: [type("map_ptr")] },
  key: { role: "key", accepts: MEMORY },
  val: { role: "value", accepts: MEMORY },
  wval: { role: "value", accepts: MEMORY },
  uval: { role: "value", accepts: MEMORY, isUninitialised: true, isWritten: true },
  mem: { role: "memory", accepts: MEMORY },
  wmem: { role: "memory", accepts: MEMORY, isWritten: true },
  umem: { role: "memory", accepts: MEMORY, isUninitialised: true, isWritten: true },
  size: { role: "size", accepts: [type("scalar")] },
  size0: { role: "size", accepts: [type("scalar")], isZeroAllowed: true },
  allocsize: { role: "alloc size", accepts: [type("scalar")] },
  spin: { role: "spin lock", accepts: [type("map_value"), type("ptr_", FLAG.ALLOC)] },
  ringmem: { role: "ringbuf memory", accepts: [type("mem", FLAG.RINGBUF)], releases: true },
  skcommon: {
    role: "sock common",
    accepts: [type("sock_common"), type("sock"), type("tcp_sock"), type("xdp_sock")],
  },
  fullsock: { role: "sock common", accepts: [type("sock")] },
  sockbtf: { role: "btf socket", accepts: BTF_SOCKET, type: "sock_common" },
  sockrel: { role: "btf socket", accepts: BTF_SOCKET, type: "sock_common", releases: true },
  btf: { role: "btf", accepts: BTF },
  percpu: {
    role: "percpu",
    accepts: [
      type("ptr_", FLAG.PERCPU),
      type("ptr_", FLAG.PERCPU | FLAG.RCU),
      type("ptr_", FLAG.PERCPU | FLAG.TRUSTED),
    ],
  },
  func: { role: "function", accepts: [type("func")] },
  stack: { role: "stack", accepts: [type("fp")], isNullable: true },
  str: { role: "string", accepts: [type("map_value")] },
  timer: { role: "timer", accepts: [type("map_value")] },
  kptr: { role: "kptr", accepts: [type("map_value"), type("ptr_", FLAG.ALLOC)] },
  kptrrel: {
    role: "kptr value",
    accepts: BTF,
    releases: true,
  },
  dynptr: { role: "dynptr", accepts: [type("fp"), type("dynptr_ptr")] },
  udynptr: { role: "dynptr", accepts: [type("fp"), type("dynptr_ptr")], isUninitialised: true },
  dynptrrel: { role: "dynptr", accepts: [type("fp"), type("dynptr_ptr")], releases: true },
  long: {
    role: "fixed memory",
    accepts: MEMORY,
    isUninitialised: true,
    isWritten: true,
    bytes: 8,
    mustBeAligned: true,
  },
  wlong: {
    role: "fixed memory",
    accepts: MEMORY,
    isUninitialised: true,
    isWritten: true,
    bytes: 8,
    mustBeAligned: true,
  },
  wu32: { role: "fixed memory", accepts: MEMORY, isWritten: true, bytes: 4, mustBeAligned: true },
  fmem: { role: "fixed memory", accepts: MEMORY },
};

/** `word`, with `?` where NULL may be passed, and `:detail`: a type, a number of bytes, a kind of dynptr. */
export function parseArgument(text: string): ArgumentKind {
  const [word = "", detail] = text.split(":");
  const name = word.replace("?", "");
  const base = WORDS[name];
  if (base === undefined) throw new Error(`unknown kind of argument '${text}'`);
  const isDynptr = name.endsWith("dynptr") || name === "dynptrrel";
  return {
    ...BASE,
    ...base,
    isNullable: base.isNullable === true || word.endsWith("?"),
    ...(name === "fmem" ? { bytes: Number(detail) } : {}),
    ...(name === "btf" ? { type: detail } : {}),
    ...(isDynptr ? { dynptr: detail as DynptrKind | undefined } : {}),
  };
}

export type ReturnRole =
  | "integer"
  | "void"
  | "map value"
  | "sock"
  | "tcp sock"
  | "sock common"
  | "ringbuf memory"
  | "dynptr memory"
  | "btf"
  | "btf or memory"
  | "kptr";

export interface ReturnKind {
  readonly role: ReturnRole;
  readonly isNullable: boolean;
  readonly isTrusted: boolean;
  readonly type: string | undefined;
}

const RETURNS: Record<string, ReturnRole> = {
  int: "integer",
  void: "void",
  mapval: "map value",
  sock: "sock",
  tcpsock: "tcp sock",
  skcommon: "sock common",
  ringmem: "ringbuf memory",
  dynmem: "dynptr memory",
  btf: "btf",
  tbtf: "btf",
  btfmem: "btf or memory",
  kptr: "kptr",
};

export function parseReturn(text: string): ReturnKind {
  const [word = "", detail] = text.split(":");
  const name = word.replace("?", "");
  const role = RETURNS[name];
  if (role === undefined) throw new Error(`unknown kind of result '${text}'`);
  return { role, isNullable: word.endsWith("?"), isTrusted: name === "tbtf", type: detail };
}
