/**
 * Accesses to memory of known size: map keys and values, packets, plain memory. Linux: check_mem_region_access().
 */
import { EACCES, EINVAL } from "@alien-ts/abi";
import type { Analysis } from "../analysis.ts";
import { MAX_VARIABLE_OFFSET } from "../analysis.ts";
import type { MapInfo, ValueField } from "../env.ts";
import type { Register } from "../state/register.ts";
import { reject } from "../verdict.ts";
import type { Check } from "../verdict.ts";

export type AccessKind = "read" | "write";

/** An access of `size` bytes at `off` from where register `number` points (its fixed offset is in `off`). */
export interface Access {
  readonly number: number;
  readonly off: number;
  readonly size: number;
  readonly isZeroAllowed: boolean;
}

const MOST_OFFSET = Number(MAX_VARIABLE_OFFSET);

/** Linux: __check_mem_access() */
function checkRange(register: Register, access: Access, at: bigint, bytes: number): Check {
  const { number, off, size } = access;
  const isSize = size > 0 || (size === 0 && access.isZeroAllowed);
  if (at >= 0n && isSize && at + BigInt(size) <= BigInt(bytes)) return undefined;
  switch (register.kind) {
    case "map_key":
      return reject(EACCES, `invalid access to map key, key_size=${bytes} off=${at} size=${size}`);
    case "map_value":
      return reject(EACCES, `invalid access to map value, value_size=${bytes} off=${at} size=${size}`);
    case "pkt":
    case "pkt_meta":
    case "pkt_end":
      return reject(
        EACCES,
        `invalid access to packet, off=${off} size=${size}, R${number}(id=${register.id},off=${off},r=${bytes})`,
      );
    default:
      return reject(EACCES, `invalid access to memory, mem_size=${bytes} off=${at} size=${size}`);
  }
}

export function checkRegion(register: Register, access: Access, bytes: number): Check {
  const { number, size } = access;
  const { sminNumber, umaxNumber } = register.scalar;
  const isInside = access.off + sminNumber >= 0 && access.off + umaxNumber + size <= bytes;
  if (isInside && size > 0 && umaxNumber < MOST_OFFSET) return undefined;
  const { smin, umax } = register.scalar;
  const off = BigInt(access.off);
  if (smin < 0n && off + smin < 0n) {
    return reject(
      EACCES,
      `R${number} min value is negative, either use unsigned index or do a if (index >=0) check.`,
    );
  }
  const low = checkRange(register, access, off + smin, bytes);
  if (low !== undefined)
    return reject(EACCES, `${low.message}\nR${number} min value is outside of the allowed memory range`);
  if (umax >= MAX_VARIABLE_OFFSET) {
    return reject(EACCES, `R${number} unbounded memory access, make sure to bounds check any such access`);
  }
  const high = checkRange(register, access, off + umax, bytes);
  if (high === undefined) return undefined;
  return reject(EACCES, `${high.message}\nR${number} max value is outside of the allowed memory range`);
}

/** Linux: check_packet_access(). The range is what comparisons with the packet's end have proven. */
export function checkPacket(register: Register, access: Access): Check {
  const { number, off } = access;
  if (register.scalar.smin < 0n) {
    return reject(
      EACCES,
      `R${number} min value is negative, either use unsigned index or do a if (index >=0) check.`,
    );
  }
  const bad =
    register.range < 0 ? reject(EINVAL, "") : checkRange(register, access, BigInt(off), register.range);
  if (bad === undefined) return undefined;
  const before = bad.message === "" ? "" : `${bad.message}\n`;
  return reject(bad.errno, `${before}R${number} offset is outside of the packet`);
}

export const FIELD_NAMES: Record<ValueField["kind"], string> = {
  spin_lock: "bpf_spin_lock",
  res_spin_lock: "bpf_res_spin_lock",
  timer: "bpf_timer",
  workqueue: "bpf_wq",
  kptr: "kptr",
  list_head: "bpf_list_head",
  rb_root: "bpf_rb_root",
  list_node: "bpf_list_node",
  rb_node: "bpf_rb_node",
  refcount: "bpf_refcount",
  task_work: "bpf_task_work",
};
const POINTER_NAMES = { untrusted: "kptr", referenced: "kptr", percpu: "percpu_kptr", user: "uptr" } as const;
export const fieldName = ({ kind, pointer }: ValueField): string =>
  pointer === undefined ? FIELD_NAMES[kind] : POINTER_NAMES[pointer.tag];

/** BPF_F_RDONLY_PROG, BPF_F_WRONLY_PROG */
const READ_ONLY = 0x80;
const WRITE_ONLY = 0x100;
export const isReadOnlyMap = (map: MapInfo): boolean => (map.flags & READ_ONLY) !== 0;

/** Linux: check_map_access_type() */
export function checkMapPermission(map: MapInfo, access: Access, kind: AccessKind): Check {
  const what = `value_size=${map.valueSize} off=${access.off} size=${access.size}`;
  if (kind === "write" && (map.flags & READ_ONLY) !== 0)
    return reject(EACCES, `write into map forbidden, ${what}`);
  if (kind === "read" && (map.flags & WRITE_ONLY) !== 0)
    return reject(EACCES, `read from map forbidden, ${what}`);
  return undefined;
}

/** Linux: check_map_access(). `isDirect`: by a load or store; helpers may not touch pointers at all. */
export function checkMapValue(register: Register, access: Access, isDirect: boolean): Check {
  const map = register.map!;
  return checkRegion(register, access, map.valueSize) ?? checkFields(map.fields, register, access, isDirect);
}

export function checkFields(
  fields: readonly ValueField[],
  register: Register,
  { off, size }: Access,
  isDirect: boolean,
): Check {
  for (const field of fields) {
    const from = register.scalar.smin + BigInt(off);
    const to = register.scalar.umax + BigInt(off + size);
    if (from >= BigInt(field.offset + field.size) || BigInt(field.offset) >= to) continue;
    const name = fieldName(field);
    if (field.kind !== "kptr") return reject(EACCES, `${name} cannot be accessed directly by load/store`);
    if (!isDirect) return reject(EACCES, `${name} cannot be accessed indirectly by helper`);
    if (!register.scalar.isConst) return reject(EACCES, `${name} access cannot have variable offset`);
    const at = BigInt(off) + register.scalar.constant;
    if (at !== BigInt(field.offset))
      return reject(EACCES, `${name} access misaligned expected=${field.offset} off=${at}`);
    if (size !== 8) return reject(EACCES, `${name} access size must be BPF_DW`);
  }
  return undefined;
}

/** Linux: may_access_direct_pkt_data() for loads and stores. */
export const mayWritePacket = (analysis: Analysis): boolean => analysis.env.programType.packet === "write";
