/** The special fields of what a register points to: of a map's value, or of an object of the program. Linux: reg_btf_record(). */
import type { ValueField } from "../env.ts";
import { objectFields } from "../value-fields.ts";
import { FLAG } from "./register.ts";
import type { Register } from "./register.ts";

const NONE: readonly ValueField[] = [];

export function fieldsOf(register: Register): readonly ValueField[] {
  const { kind, map, btf, btfId } = register;
  if (kind === "map_value" || kind === "map_ptr") return map?.fields ?? NONE;
  if (kind !== "ptr_" || !register.has(FLAG.ALLOC) || btf === undefined) return NONE;
  return objectFields(btf, btfId);
}

export const hasField = (register: Register, ...kinds: readonly ValueField["kind"][]): boolean =>
  fieldsOf(register).some(({ kind }) => kinds.includes(kind));

/** Its identity matters: two pointers to objects with a lock are not the same. Linux: reg_may_point_to_spin_lock() */
export const hasLock = (register: Register): boolean =>
  (register.kind === "map_value" || register.kind === "ptr_") &&
  hasField(register, "spin_lock", "res_spin_lock");

/** Exactly an object of the program, owned. Linux refuses one that nobody holds in words of its own, but no program has such a pointer. */
export const isOwn = ({ kind, flags, refId }: Register): boolean =>
  kind === "ptr_" && flags === FLAG.ALLOC && refId !== 0;

/** Flags with which a pointer may be trusted; all others take trust away. */
const TRUSTED = FLAG.ALLOC | FLAG.TRUSTED | FLAG.NON_OWN_REF;
export const isUnsafe = ({ flags }: Register): boolean => (flags & ~TRUSTED) !== 0;

/** Linux: is_trusted_reg() */
export function isTrustedPointer(register: Register): boolean {
  if (register.refId !== 0) return true;
  if (isConvertible(register) && !isUnsafe(register)) return true;
  return (register.flags & TRUSTED) !== 0 && !isUnsafe(register);
}

/** Pointers that are pointers to kernel structures under another name. Linux: reg2btf_ids[] */
export function structureOf({ kind }: Register): string | undefined {
  switch (kind) {
    case "sock":
      return "sock";
    case "sock_common":
      return "sock_common";
    case "tcp_sock":
      return "tcp_sock";
    case "map_ptr":
      return "bpf_map";
    default:
      return undefined;
  }
}
export const isConvertible = (register: Register): boolean => structureOf(register) !== undefined;
