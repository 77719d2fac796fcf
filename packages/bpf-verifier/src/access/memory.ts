/**
 * One load or store of a program: alignment, then the rules of what the pointer points to. Linux: check_mem_access().
 */
import { EACCES } from "@alien-ts/abi";
import { assert } from "../assert.ts";
import type { Analysis } from "../analysis.ts";
import { tnumText } from "../print.ts";
import { located } from "../source.ts";
import { signExtend64, zeroExtend } from "../scalar/extend.ts";
import { FLAG, UNKNOWN, constRegister, kindName } from "../state/register.ts";
import type { Register } from "../state/register.ts";
import { Reject, reject } from "../verdict.ts";
import type { Check } from "../verdict.ts";
import { accessBtf } from "./btf-pointer.ts";
import { accessMapObject } from "./map-object.ts";
import type { ContextRow } from "../env.ts";
import { accessContext, allows } from "./context.ts";
import {
  checkMapPermission,
  checkMapValue,
  checkPacket,
  checkRegion,
  isReadOnlyMap,
  mayWritePacket,
} from "./region.ts";
import type { Access, AccessKind } from "./region.ts";
import { accessKptr } from "./kptr.ts";
import { checkContextPointer } from "./pointer-offset.ts";
import { checkStackBounds, readStack, writeStack } from "./stack.ts";
import type { Stored } from "./stack.ts";

export interface MemoryAccess {
  /** The register that points. */
  readonly number: number;
  readonly off: number;
  readonly size: number;
  readonly kind: AccessKind;
  /** Where a load goes; -1 for none. */
  readonly into: number;
  /** What a store stores. */
  readonly stored: Stored;
  readonly isStrict: boolean;
  readonly isSigned: boolean;
}

export function checkMemory(analysis: Analysis, access: MemoryAccess): Check {
  const register = analysis.register(access.number);
  const misaligned = checkAlignment(analysis, register, access.off, access.size, access.isStrict);
  if (misaligned !== undefined) return misaligned;
  const result = dispatch(analysis, register, access);
  if (result instanceof Reject) return result;
  if (access.kind !== "read" || access.into < 0) return undefined;
  if (result !== undefined) analysis.set(access.into, result);
  extend(analysis, access);
  return undefined;
}

/** A load of less than 8 bytes is extended. */
function extend(analysis: Analysis, { into, size, isSigned }: MemoryAccess): void {
  const loaded = analysis.register(into);
  if (size === 8 || !loaded.isScalar) return;
  const scalar = isSigned ? signExtend64(loaded.scalar, size) : zeroExtend(loaded.scalar, size);
  // Differs from Linux: a number that may become negative is no copy of the one in the slot any more.
  const isChanged = isSigned && loaded.id !== 0 && loaded.scalar.width >= size * 8;
  analysis.set(into, isChanged ? loaded.with({ scalar, id: 0, hasDelta: false }) : loaded.withScalar(scalar));
}

/** The loaded register, undefined where it was set already, or the refusal. */
function dispatch(analysis: Analysis, register: Register, access: MemoryAccess): Register | Check {
  const { number, size, kind } = access;
  const off = access.off + register.off;
  const region: Access = { number, off, size, isZeroAllowed: false };
  const isLeak = kind === "write" && leaks(analysis, access.stored);
  const isMaybeNull = register.isMaybeNull;
  switch (register.kind) {
    case "map_key":
      if (isMaybeNull) return invalid(register, number);
      if (kind === "write") return reject(EACCES, `write to change key R${number} not allowed`);
      return checkRegion(register, region, register.map!.keySize) ?? UNKNOWN;
    case "map_value":
      if (isMaybeNull) return invalid(register, number);
      return isLeak ? leak(access, "map") : mapValue(analysis, register, access, region);
    case "mem":
      if (isMaybeNull) return invalid(register, number);
      if (kind === "write" && register.has(FLAG.RDONLY)) return readOnly(register, number);
      if (isLeak) return leak(access, "mem");
      if (register.has(FLAG.RDONLY) && register.has(FLAG.UNTRUSTED)) return UNKNOWN;
      return checkRegion(register, region, register.memSize) ?? UNKNOWN;
    case "ctx": {
      if (isLeak) return leak(access, "ctx");
      const bad = checkContextPointer(register, number);
      if (bad !== undefined) return bad;
      const given = { off, size, isWrite: kind === "write", isSigned: access.isSigned };
      const found = accessContext(analysis, given);
      return found instanceof Reject ? located(analysis, found) : found;
    }
    case "fp":
      return stack(analysis, access, off);
    case "pkt":
    case "pkt_meta":
      if (kind === "write" && !mayWritePacket(analysis)) return reject(EACCES, "cannot write into packet");
      return isLeak ? leak(access, "packet") : (checkPacket(register, region) ?? UNKNOWN);
    case "flow_keys":
      if (isLeak) return leak(access, "flow keys");
      return off < 0 || off + size > 56
        ? reject(EACCES, `invalid access to flow keys off=${off} size=${size}`)
        : UNKNOWN;
    case "sock":
    case "sock_common":
    case "tcp_sock":
    case "xdp_sock":
      if (isMaybeNull) return invalid(register, number);
      if (kind === "write") return readOnly(register, number);
      return socket(register, region);
    case "tp_buffer":
      return traceBuffer(register, region);
    case "ptr_":
      if (isMaybeNull) return invalid(register, number);
      return accessBtf(analysis, register, { number, off, size, isWrite: kind === "write" });
    case "buf":
      if (isMaybeNull) return invalid(register, number);
      if (kind === "write" && register.has(FLAG.RDONLY)) return readOnly(register, number);
      return traceBuffer(register, region);
    case "arena":
      return UNKNOWN;
    case "map_ptr":
      return accessMapObject(analysis, register, { number, off, size, isWrite: kind === "write" });
    default:
      return invalid(register, number);
  }
}

const invalid = (register: Register, number: number): Reject =>
  reject(EACCES, `R${number} invalid mem access '${kindName(register)}'`);
const readOnly = (register: Register, number: number): Reject =>
  reject(EACCES, `R${number} cannot write into ${kindName(register)}`);

const leaks = (analysis: Analysis, stored: Stored): boolean =>
  stored !== undefined && "number" in stored && analysis.isLeak(stored.number);
const leak = ({ stored }: MemoryAccess, where: string): Reject =>
  reject(EACCES, `R${(stored as { number: number }).number} leaks addr into ${where}`);

function mapValue(
  analysis: Analysis,
  register: Register,
  access: MemoryAccess,
  region: Access,
): Register | Check {
  const map = register.map!;
  const bad = checkMapPermission(map, region, access.kind) ?? checkMapValue(register, region, true);
  if (bad !== undefined) return bad;
  const { scalar } = register;
  const at = scalar.isConst ? region.off + scalar.constantNumber : -1;
  const field = map.fields.find(({ kind, offset }) => kind === "kptr" && offset === at);
  if (field !== undefined) return accessKptr(analysis, field, access);
  if (access.kind === "read" && at >= 0 && isReadOnlyMap(map) && map.isFrozen) {
    const value = map.constantAt?.(at, access.size);
    if (value !== undefined) {
      const number = access.isSigned ? BigInt.asIntN(access.size * 8, value) : value;
      return constRegister(number);
    }
  }
  return UNKNOWN;
}

function stack(analysis: Analysis, access: MemoryAccess, off: number): Check {
  const { number, size, kind } = access;
  const bad = checkStackBounds(analysis, number, off, size, kind);
  if (bad !== undefined) return bad;
  return kind === "read"
    ? readStack(analysis, number, off, size, access.into)
    : writeStack(analysis, number, off, size, access.stored);
}

/** Linux: check_sock_access() */
function socket(register: Register, { number, off, size }: Access): Register | Check {
  const { scalar, kind } = register;
  assert(scalar.isConst, "sockets are not moved");
  const isAllowed = SOCKET_FIELDS[kind]?.some((row) => allows(row, { off, size, isWrite: false })) === true;
  return isAllowed ? UNKNOWN : reject(EACCES, `R${number} invalid ${kind} access off=${off} size=${size}`);
}

const field = (
  from: number,
  to: number,
  narrowBytes: number,
  reads: readonly number[],
  stride = 4,
): ContextRow => ({
  from,
  to,
  stride,
  reads,
  writes: [],
  narrowBytes,
});
const ANY = [1, 2, 4];
const COMMON_FIELDS: readonly ContextRow[] = [
  field(0, 4, 0, [4]),
  field(4, 8, 0, ANY),
  field(24, 44, 4, ANY),
  field(44, 48, 0, ANY),
  field(48, 52, 2, ANY),
  field(52, 72, 4, ANY),
  field(72, 80, 0, ANY),
];

/** struct bpf_sock, bpf_tcp_sock, bpf_xdp_sock of the UAPI. */
const SOCKET_FIELDS: Partial<Record<Register["kind"], readonly ContextRow[]>> = {
  sock_common: COMMON_FIELDS,
  sock: [...COMMON_FIELDS, field(8, 16, 0, ANY), field(16, 24, 0, [4])],
  tcp_sock: [field(0, 80, 0, [4]), field(80, 96, 0, [8], 8), field(96, 112, 0, [4])],
  xdp_sock: [field(0, 4, 0, [4])],
};

function traceBuffer(register: Register, { number, off, size }: Access): Register | Check {
  const buffer = register.has(FLAG.RDONLY) ? "rdonly buffer" : "rdwr buffer";
  const word = register.kind === "buf" ? buffer : "tracepoint buffer";
  if (off < 0) return reject(EACCES, `R${number} invalid ${word} access: off=${off}, size=${size}`);
  if (!register.scalar.isConst || !register.scalar.isZero) {
    return reject(
      EACCES,
      `R${number} invalid variable buffer offset: off=${off}, var_off=${tnumText(register.scalar.tnum)}`,
    );
  }
  return UNKNOWN;
}

const ALIGNMENT_NAMES: Partial<Record<Register["kind"], string>> = {
  map_value: "value ",
  map_key: "key ",
  ctx: "context ",
  flow_keys: "flow keys ",
  fp: "stack ",
  sock: "sock ",
  sock_common: "sock_common ",
  tcp_sock: "tcp_sock ",
  xdp_sock: "xdp_sock ",
};

/** Bytes before the packet's first header: NET_IP_ALIGN. */
const PACKET_ALIGNMENT = 2;

/** Linux: check_ptr_alignment() */
export function checkAlignment(
  analysis: Analysis,
  register: Register,
  off: number,
  size: number,
  isStrict: boolean,
): Check {
  const strict = isStrict || (analysis.env.isStrictAlignment && !analysis.env.isAnyAlignment);
  const { kind, scalar } = register;
  const at = (base: number): boolean => scalar.isAlignedAt(base, size);
  if (kind === "arena") return undefined;
  if (kind === "pkt" || kind === "pkt_meta") {
    if (!strict || size === 1 || at(PACKET_ALIGNMENT + register.off + off)) return undefined;
    return reject(
      EACCES,
      `misaligned packet access off ${PACKET_ALIGNMENT}+${tnumText(scalar.tnum)}+${register.off}+${off} size ${size}`,
    );
  }
  if ((!strict && kind !== "fp") || size === 1 || at(register.off + off)) return undefined;
  return reject(
    EACCES,
    `misaligned ${register.flags === 0 ? (ALIGNMENT_NAMES[kind] ?? "") : ""}access off ${tnumText(scalar.tnum)}+${register.off}+${off} size ${size}`,
  );
}
