/**
 * One call of bpf(2): the caller's `bpf_attr`, copied in and zero extended, as the slice of its command. Small objects for the
 * command's duration; memory taken by `withMemory` is given back whatever happens.
 */
import {
  BPF_ATTR_SIZE,
  type BpfAttrSlice,
  E2BIG,
  EBADF,
  EFAULT,
  EINVAL,
  ENOMEM,
  type Fields,
  isErr,
  type KAddr,
  PAGE_SIZE,
  type Result,
  type StructDecl,
  type UAddr,
  type View,
} from "@alien-ts/abi";
import type { BtfObject } from "../btf/btf-object.ts";
import type { BpfEngine } from "../engine.ts";
import type { MapFile } from "../maps/map-file.ts";
import type { MemoryOps } from "../ports.ts";

export interface BpfCall {
  readonly engine: BpfEngine;
  /** The attributes in kernel memory, `BPF_ATTR_SIZE` bytes. */
  readonly attr: KAddr;
  /** Where they are in the caller's memory, for commands that write back, and how many bytes it gave. */
  readonly userAttr: UAddr;
  readonly userSize: number;
}

/** The attributes as the fields of `decl`. */
export function attributesOf<F extends Fields>(call: BpfCall, decl: StructDecl<F>): View<F> {
  return new (call.engine.ports.layout.view(decl))(call.engine.m, call.attr);
}

/** Writes `sizeBytes` of the attributes from byte `at` on back to the caller; EFAULT. */
export function writeBack(call: BpfCall, at: number, sizeBytes: number): Result<0> {
  return call.engine.ports.copyToUser(call.userAttr + at, call.attr + at, sizeBytes) ? 0 : EFAULT;
}

/** `bpf_check_uarg_tail_zero` and the copy: what the kernel does not know must be zero, what the caller does not give is zero. */
export function copyAttributesIn(engine: BpfEngine, from: UAddr, sizeBytes: number, to: KAddr): Result<0> {
  const { ports, m } = engine;
  if (sizeBytes > PAGE_SIZE) return E2BIG;
  if (sizeBytes > BPF_ATTR_SIZE) {
    const tail = withMemory(ports, sizeBytes - BPF_ATTR_SIZE, (scratch) => {
      if (!ports.copyFromUser(scratch, from + BPF_ATTR_SIZE, sizeBytes - BPF_ATTR_SIZE)) return EFAULT;
      return isZero(m.u8, scratch, scratch + sizeBytes - BPF_ATTR_SIZE) ? 0 : E2BIG;
    });
    if (isErr(tail)) return tail;
  }
  return ports.copyFromUser(to, from, Math.min(sizeBytes, BPF_ATTR_SIZE)) ? 0 : EFAULT;
}

/** `CHECK_ATTR`: the bytes behind the last field that the command reads are zero. */
export function tailIsZero(engine: BpfEngine, attr: KAddr, slice: BpfAttrSlice): boolean {
  const last = engine.ports.layout.of(slice.decl).fields.get(slice.last);
  if (last === undefined) throw new Error(`${slice.decl.name} has no field ${slice.last}`);
  return isZero(engine.m.u8, attr + last.offset + last.size, attr + BPF_ATTR_SIZE);
}

export function isZero(bytes: Uint8Array, from: number, to: number): boolean {
  for (let at = from; at < to; at++) if (bytes[at] !== 0) return false;
  return true;
}

/** Zeroed memory for the time of `use`; ENOMEM where there is none. */
export function withMemory<T>(
  ports: MemoryOps,
  sizeBytes: number,
  use: (scratch: KAddr) => Result<T>,
): Result<T> {
  const scratch = ports.alloc(Math.max(8, sizeBytes));
  if (scratch === 0) return ENOMEM;
  const result = use(scratch);
  ports.free(scratch);
  return result;
}

/** The map file behind an fd: EBADF for none, EINVAL for another file. */
export function mapFileOf(engine: BpfEngine, fd: number): Result<MapFile> {
  const object = engine.ports.objectOf(fd | 0);
  if (isErr(object)) return EBADF;
  return object?.kind === "map" ? object : EINVAL;
}

/** The BTF behind an fd: EBADF for none, EINVAL for another file. Linux: btf_get_by_fd() */
export function btfOf(engine: BpfEngine, fd: number): Result<BtfObject> {
  const object = engine.ports.objectOf(fd | 0);
  if (isErr(object)) return EBADF;
  return object?.kind === "btf" ? object : EINVAL;
}

/** `bpf_obj_name_cpy`: letters, digits, `_` and `.`, ended by a NUL within 16 bytes; EINVAL. */
export function objectName(bytes: Uint8Array): Result<string> {
  const end = bytes.indexOf(0);
  if (end < 0) return EINVAL;
  const name = String.fromCharCode(...bytes.subarray(0, end));
  return /^[A-Za-z0-9_.]*$/.test(name) ? name : EINVAL;
}
